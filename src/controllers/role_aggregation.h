#pragma once

#include "controllers/control_loop.h"
#include "controllers/informer.h"

namespace podpass::controllers {

// Writes into the `rules` of each ClusterRole with an aggregationRule what the roles that it selects grant, so that kubectl shows it.
class RoleAggregation {
 public:
  RoleAggregation(api::Client& client, const Clock& clock, Informers& informers);
  [[nodiscard]] ControlLoop& loop() { return loop_; }

 private:
  Result<void> visit(const std::string& name);
  api::Client& client_;
  Informer& roles_;
  ControlLoop loop_;
};

}  // namespace podpass::controllers
