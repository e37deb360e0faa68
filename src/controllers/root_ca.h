#pragma once

#include "controllers/control_loop.h"
#include "controllers/informer.h"

namespace podpass::controllers {

// Every active namespace has a ConfigMap `kube-root-ca.crt`, which pods mount beside their token (spec tokens.md §8.3).
class RootCa {
 public:
  RootCa(api::Client& client, const Clock& clock, Informers& informers, std::string pem);
  [[nodiscard]] ControlLoop& loop() { return loop_; }

 private:
  Result<void> visit(const std::string& ns);
  api::Client& client_;
  Informer& namespaces_;
  Informer& configMaps_;
  std::string pem_;
  ControlLoop loop_;
};

}  // namespace podpass::controllers
