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
  std::filesystem::path directory;    // everything the agent writes: kubelet root, private containerd, logs
  std::string containerdSocket = {};  // empty: start a private containerd under `directory`
  std::string apiHost, apiPort;       // told to containers as KUBERNETES_SERVICE_HOST/PORT
};

// The node agent: registers the node, keeps its lease and status, watches the pods bound to it and runs them on containerd through CRI
// (spec node.md §5). start() returns once the node is registered and the loops run; the runtime may still be coming up (node NotReady).
// stop() ends the loops and the private containerd; containers and pod directories stay unless `up` says otherwise.
class Agent : public api::NodeAccess {
 public:
  virtual Result<void> start() = 0;
  virtual void stop() = 0;
};
std::unique_ptr<Agent> makeAgent(AgentOptions options, api::Client& client, const Clock& clock);

}  // namespace podpass::node
