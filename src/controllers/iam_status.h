#pragma once

#include <string>

#include "controllers/control_loop.h"
#include "controllers/informer.h"

namespace podpass::controllers {

// Writes the ARNs into the status of each Role and OIDCProvider of iam.podpass.dev: only the server knows the account.
class IamStatus {
 public:
  IamStatus(api::Client& client, const Clock& clock, Informers& informers, std::string account);
  [[nodiscard]] ControlLoop& loop() { return loop_; }

 private:
  Result<void> visit(const std::string& key);  // "roles/NAME", "oidcproviders/NAME"
  api::Client& client_;
  Informer& roles_;
  Informer& providers_;
  std::string account_;
  ControlLoop loop_;
};

}  // namespace podpass::controllers
