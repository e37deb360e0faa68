#pragma once

#include "base/secret.h"
#include "controllers/control_loop.h"
#include "controllers/informer.h"
#include "token/issuer.h"

namespace podpass::controllers {

struct TokenSecretOptions {
  std::string rootCaPem;
  bool makeSecrets = true;  // for every service account; otherwise only those that somebody made are filled
  std::function<Result<Secret>(const token::LegacyClaims&)> sign;
};

// Secrets of type kubernetes.io/service-account-token (spec tokens.md §8.2): makes one NAME-token-xxxxx for each service account and lists
// it in the account's `secrets`, fills the ones that people make, mends what is missing, and removes what belongs to no account.
class TokenSecret {
 public:
  TokenSecret(api::Client& client, const Clock& clock, Informers& informers, TokenSecretOptions options);
  [[nodiscard]] ControlLoop& loop() { return loop_; }

 private:
  Result<void> visit(const std::string& task);
  Result<void> visitAccount(const api::ObjectName& name);
  Result<void> visitSecret(const api::ObjectName& name);
  Result<void> dropReference(const api::ObjectName& account, const std::string& secret);
  Result<bool> hasTokenSecret(const json::object& account);
  Result<void> makeSecretFor(const json::object& account);
  Result<bool> fill(json::object& secret, const json::object& account);
  Result<void> removeOwnerless(const api::ObjectName& account);

  api::Client& client_;
  Informer& accounts_;
  Informer& secrets_;
  TokenSecretOptions options_;
  ControlLoop loop_;
};

}  // namespace podpass::controllers
