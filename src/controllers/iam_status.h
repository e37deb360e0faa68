#pragma once

#include <string>

#include "controllers/control_loop.h"
#include "controllers/informer.h"

namespace podpass::controllers {

// Writes the ARNs into the status of each Role and OIDCProvider of iam.podpass.dev: only the server knows the account. Of several
// providers with one URL the oldest has the ARN; the others have the condition Used, which is False, until they are the oldest.
class IamStatus {
 public:
  IamStatus(api::Client& client, const Clock& clock, Informers& informers, std::string account);
  [[nodiscard]] ControlLoop& loop() { return loop_; }

 private:
  Result<void> visit(const std::string& key);  // "roles/NAME", "oidcproviders/NAME"
  [[nodiscard]] json::object providerStatus(const json::object& provider) const;
  api::Client& client_;
  const Clock& clock_;
  Informer& roles_;
  Informer& providers_;
  std::string account_;
  ControlLoop loop_;
};

}  // namespace podpass::controllers
