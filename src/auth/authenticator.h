#pragma once

#include <string>
#include <vector>

#include "auth/user.h"
#include "http/http.h"
#include "token/verifier.h"

namespace podpass::auth {

struct Authenticated {
  User user;
  std::vector<std::string> warnings = {};  // for Warning headers
};

// Order: client certificate (CN = user, O = groups), bearer token, WebSocket subprotocol bearer, anonymous (spec tokens.md §3.1).
// A bad bearer token is Unauthorized and never falls through to anonymous. system:authenticated is added. Thread-safe; may verify a
// signature (30 µs for RSA), so hot callers run it where that is fine.
class Authenticator {
 public:
  explicit Authenticator(const token::Verifier& verifier, bool anonymous = true) : verifier_(verifier), anonymous_(anonymous) {}
  [[nodiscard]] Result<Authenticated> authenticate(const http::Request& request) const;

 private:
  const token::Verifier& verifier_;
  bool anonymous_;
};

}  // namespace podpass::auth
