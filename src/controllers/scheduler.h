#pragma once

#include <set>

#include "controllers/control_loop.h"
#include "controllers/informer.h"

namespace podpass::controllers {

// Binds each pending pod to the node with the fewest pods among those that can take it, or says in an event and in the pod's PodScheduled
// condition why there is none; then the next change of a node brings the pod back.
class Scheduler {
 public:
  Scheduler(api::Client& client, const Clock& clock, Informers& informers);
  [[nodiscard]] ControlLoop& loop() { return loop_; }

 private:
  void podChanged(const DocumentPtr& before, const DocumentPtr& now);
  void nodeChanged(const DocumentPtr& before, const DocumentPtr& now);
  Result<void> visit(const std::string& key);
  Result<void> bind(const json::object& pod, const std::string& node);
  Result<void> refuse(const json::object& pod, const std::string& why);

  api::Client& client_;
  const Clock& clock_;
  Informer& nodes_;
  std::mutex mutex_;
  std::set<std::string> unbound_;            // pods that wait for a node
  std::map<std::string, std::size_t> load_;  // node → pods on it
  ControlLoop loop_;
};

}  // namespace podpass::controllers
