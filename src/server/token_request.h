#pragma once

#include <boost/asio/thread_pool.hpp>
#include <chrono>
#include <string>

#include "server/registry.h"
#include "token/issuer.h"
#include "token/verifier.h"

namespace podpass::server {

struct TokenLimits {
  std::chrono::seconds longest{0};  // --service-account-max-token-expiration; 0: no limit
  bool extend = true;               // --service-account-extend-token-expiration
  std::chrono::seconds extended{31'536'000};
};

// Answers POST …/serviceaccounts/NAME/token: checks, defaults, webhooks, bound object, lifetime, signature, in this order (spec tokens.md
// §2.3). Kubernetes' mutating webhooks see the request as it was sent; here they see it complete, as the validating ones do.
// Thread-safe; everything it refers to outlives it. Signatures are made on the pool.
class TokenRequests {
 public:
  TokenRequests(TokenLimits limits, const Registry& registry, const Admission& admission, const token::Issuer& issuer,
                const token::Verifier& verifier, const Clock& clock, asio::thread_pool& signers)
      : limits_(limits),
        registry_(registry),
        admission_(admission),
        issuer_(issuer),
        verifier_(verifier),
        clock_(clock),
        signers_(signers) {}
  // What comes before the webhooks: refuses what is wrong with a decoded TokenRequest, and fills in what it left out.
  [[nodiscard]] Result<void> prepare(const auth::User& user, const std::string& ns, const std::string& account, json::object& asked) const;
  // `asked` is a prepared TokenRequest that the webhooks have admitted; the answer is one with its status. Warnings go into the context.
  asio::awaitable<Result<json::object>> answer(Context& context, std::string ns, std::string account, json::object asked);

 private:
  Result<void> complete(const std::string& ns, const std::string& account, json::object& asked) const;
  Result<void> bind(const std::string& ns, const std::string& account, const json::object& spec, token::BoundClaims& claims) const;

  TokenLimits limits_;
  const Registry& registry_;
  const Admission& admission_;
  const token::Issuer& issuer_;
  const token::Verifier& verifier_;
  const Clock& clock_;
  asio::thread_pool& signers_;
};

}  // namespace podpass::server
