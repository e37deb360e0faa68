#pragma once

#include <map>
#include <string>
#include <vector>

#include "auth/user.h"
#include "http/http.h"
#include "token/verifier.h"

namespace podpass::auth {

class Oidc;

struct Authenticated {
  User user;
  std::vector<std::string> warnings = {};               // for Warning headers
  std::map<std::string, std::string> annotations = {};  // for the audit event
};

// Order: client certificate (CN = user, O = groups), bearer token, WebSocket subprotocol bearer, anonymous (spec tokens.md §3.1).
// A bad bearer token is Unauthorized and never falls through to anonymous. system:authenticated is added. Thread-safe; may verify a
// signature (30 µs for RSA), so hot callers run it where that is fine.
class Authenticator {
 public:
  // `oidc`: null, or whose users are known beside our own.
  explicit Authenticator(const token::Verifier& verifier, bool anonymous = true, Oidc* oidc = nullptr)
      : verifier_(verifier), anonymous_(anonymous), oidc_(oidc) {}
  [[nodiscard]] Result<Authenticated> authenticate(const http::Request& request) const;
  // The same, and tokens of the OIDC provider, whose keys may have to be fetched. The request outlives the call.
  [[nodiscard]] http::asio::awaitable<Result<Authenticated>> identify(const http::Request& request) const;
  [[nodiscard]] Oidc* oidc() const { return oidc_; }

 private:
  const token::Verifier& verifier_;
  bool anonymous_;
  Oidc* oidc_;
};

}  // namespace podpass::auth
