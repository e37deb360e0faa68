#pragma once

#include <functional>
#include <memory>
#include <string>

#include "api/client.h"
#include "base/clock.h"
#include "base/result.h"
#include "base/secret.h"
#include "token/issuer.h"

namespace podpass::controllers {

struct Options {
  std::string rootCaPem;                 // for kube-root-ca.crt and ca.crt in token Secrets; empty: neither is kept
  std::string account = "000000000000";  // of the ARNs of roles and OIDC providers
  bool legacyTokenSecrets = true;        // every service account gets a token Secret, as Kubernetes did up to 1.23
  // Signs the token of a token Secret; without it no Secret is made or filled. Called from a control loop's thread.
  std::function<Result<Secret>(const token::LegacyClaims&)> signLegacy = nullptr;
  std::chrono::hours legacyTokenPeriod{8760};  // --legacy-service-account-token-clean-up-period
};

// The control loops (spec tokens.md §8, api.md §2.3, §2.4): default service accounts, token Secrets, the root CA's ConfigMaps, the end of
// namespaces, garbage collection, scheduling, node health, aggregated cluster roles, ARNs. One thread each, all asleep until a watch or a
// due time wakes them. `client` has the rights of system:kube-controller-manager or more; it and the clock outlive this object.
class Controllers {
 public:
  Controllers(api::Client& client, const Clock& clock, Options options);
  ~Controllers();  // stops
  Controllers(const Controllers&) = delete;
  Controllers& operator=(const Controllers&) = delete;
  // Lists and watches every kind, then starts the loops. The first list or watch that fails ends it, and nothing runs.
  Result<void> start();
  // Ends the watches, then the loops; waits for the visits that are under way. The client must still answer meanwhile.
  void stop();
  // A token Secret's token was used (token::Verifier::onLegacyUse). Thread-safe; does not wait.
  void legacyTokenUsed(const std::string& ns, const std::string& secret);

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace podpass::controllers
