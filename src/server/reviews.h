#pragma once

#include <boost/asio/thread_pool.hpp>

#include "server/registry.h"
#include "token/verifier.h"

namespace podpass::auth {
class Oidc;
}

namespace podpass::server {

// The kinds that are only asked and never stored: TokenReview, SelfSubjectReview and the access reviews (spec tokens.md §4).
// Thread-safe; everything it refers to outlives it. Tokens are verified on the pool.
class Reviews {
 public:
  // `oidc`: null, or whose tokens are good as well.
  Reviews(const token::Verifier& verifier, auth::Oidc* oidc, const auth::Authorizer& authorizer, const Clock& clock,
          asio::thread_pool& verifiers)
      : verifier_(verifier), oidc_(oidc), authorizer_(authorizer), clock_(clock), verifiers_(verifiers) {}
  // `object` is the decoded review of this kind, `ns` the URL's namespace; it comes back with its status. BadRequest, Invalid: it asks
  // nothing that can be answered, or about another namespace than its own.
  asio::awaitable<Result<json::object>> answer(const Context& context, const api::Kind& reviewed, std::string ns, json::object object);

 private:
  [[nodiscard]] json::object accessStatus(const auth::Attributes& attributes) const;
  [[nodiscard]] asio::awaitable<json::object> tokenReview(const json::object& spec) const;  // spec outlives it

  asio::awaitable<std::optional<json::object>> foreignTokenReview(json::object spec) const;

  const token::Verifier& verifier_;
  auth::Oidc* oidc_;
  const auth::Authorizer& authorizer_;
  const Clock& clock_;
  asio::thread_pool& verifiers_;
};

}  // namespace podpass::server
