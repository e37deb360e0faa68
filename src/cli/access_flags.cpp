#include "cli/access_flags.h"

#include <CLI/CLI.hpp>

namespace podpass::cli {

void addAccessFlags(CLI::App& verb, client::AccessChoice& choice) {
  verb.add_option("--kubeconfig", choice.kubeconfig,
                  "how to reach the API server; default: $KUBECONFIG, ~/.kube/config, or the pod's service account");
  verb.add_option("--context", choice.context, "context of the kubeconfig; default: its current-context");
}

}  // namespace podpass::cli
