#pragma once

#include "controllers/control_loop.h"
#include "controllers/informer.h"

namespace podpass::controllers {

// Keeps a node's NoSchedule taints (not-ready, unreachable, unschedulable) in step with its Ready condition and its cordon, and declares
// the conditions Unknown when nobody has renewed the node's lease for 40 s on our own clock: after a restart every node gets that time
// anew.
class NodeLifecycle {
 public:
  NodeLifecycle(api::Client& client, const Clock& clock, Informers& informers);
  [[nodiscard]] ControlLoop& loop() { return loop_; }

 private:
  struct Heartbeat {
    std::string renewTime;
    SteadyTime seen;
  };
  Result<void> visit(const std::string& name);
  Result<void> declareUnknown(const json::object& node);
  Result<void> keepTaints(const json::object& node);

  api::Client& client_;
  const Clock& clock_;
  Informer& nodes_;
  Informer& leases_;
  std::map<std::string, Heartbeat> heartbeats_;  // of the loop's thread only
  ControlLoop loop_;
};

}  // namespace podpass::controllers
