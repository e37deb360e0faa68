#include "cli/access_flags.h"

namespace podpass::cli {

void addAccessFlags(Command verb, client::AccessChoice& choice) {
  verb.option("--kubeconfig", choice.kubeconfig,
              "how to reach the API server; default: $KUBECONFIG, ~/.kube/config, or the pod's service account");
  verb.option("--context", choice.context, "context of the kubeconfig; default: its current-context");
}

}  // namespace podpass::cli
