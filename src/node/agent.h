#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "api/client.h"
#include "api/node_access.h"
#include "base/clock.h"

namespace podpass::node {

struct AgentOptions {
  std::string nodeName;
  std::filesystem::path directory;     // everything the agent writes: kubelet root, private containerd, logs
  std::string containerdSocket = {};   // empty: start a private containerd under `directory`
  std::string apiHost, apiPort;        // told to containers as KUBERNETES_SERVICE_HOST/PORT
  unsigned short credentialsPort = 0;  // of the pods' gateway, reached at 169.254.170.23; private containerd only; 0: none
};

// The node agent: registers the node, keeps its lease and status, watches the pods bound to it and runs them on containerd through CRI
// (spec node.md §5). start() returns once the node is registered and the loops run; the runtime may still be coming up, or be missing
// on this machine: the node is NotReady then and says why. stop() ends all that was started: pods, the private containerd, network,
// mounts. What lies in `directory` stays, and a start there goes on: pods that should run are run again.
class Agent : public api::NodeAccess {
 public:
  virtual Result<void> start() = 0;
  virtual void stop() = 0;
};
std::unique_ptr<Agent> makeAgent(AgentOptions options, api::Client& client, const Clock& clock);

}  // namespace podpass::node
