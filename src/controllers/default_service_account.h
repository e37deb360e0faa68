#pragma once

#include "controllers/control_loop.h"
#include "controllers/informer.h"

namespace podpass::controllers {

// Every active namespace has a service account `default` (spec tokens.md §8.1).
class DefaultServiceAccount {
 public:
  DefaultServiceAccount(api::Client& client, const Clock& clock, Informers& informers);
  [[nodiscard]] ControlLoop& loop() { return loop_; }

 private:
  Result<void> visit(const std::string& ns);
  api::Client& client_;
  Informer& namespaces_;
  Informer& accounts_;
  ControlLoop loop_;
};

}  // namespace podpass::controllers
