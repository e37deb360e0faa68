#pragma once

#include <string>

#include "base/result.h"
#include "cli/control_plane.h"
#include "cli/sts.h"

namespace podpass::cli {

struct UpOptions {
  ControlPlaneFlags control = {};
  std::string node = "auto";  // auto, off
  std::string nodeName = "podpass";
  std::string containerd = {};            // socket of an existing containerd
  int webhookPort = 0;                    // of the pod identity webhook; 0: a free one, negative: no webhook
  StsFlags sts = {};                      // its bind and account are the control plane's
  std::string containers = {};            // ADDRESS:PORT of the endpoint for container credentials; empty: none
  bool serveFaults = false;               // rehearsals: the kind Fault
  std::vector<json::object> faults = {};  // to begin with
};

// Everything in one process, until SIGTERM or SIGINT. Prints where the kubeconfig is, a first command to try and how to stop.
Result<void> up(const UpOptions& options);

}  // namespace podpass::cli
