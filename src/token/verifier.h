#pragma once

#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "base/document.h"
#include "token/issuer.h"

namespace podpass::token {

// Who a token proves to be: user info as spec tokens.md §3.8 lists it (without system:authenticated, which authn adds).
struct Identity {
  std::string username;
  std::string uid;
  std::vector<std::string> groups;
  std::map<std::string, std::vector<std::string>> extra;
  std::vector<std::string> audiences;  // those of the token that were asked for
  std::vector<std::string> warnings;   // Warning headers to send
  bool stale = false;                  // used after its warnafter
};

// Finds the live object a token is bound to: resource "serviceaccounts", "secrets", "pods", "nodes".
// NotFound: it does not exist. Unavailable: could not find out. Thread-safe, called while verifying.
using BoundObjects = std::function<Result<DocumentPtr>(std::string_view resource, const std::string& ns, const std::string& name)>;

// Decides whether a bearer token is a service account token that this issuer stands for.
// Checks run in this order, and a refusal names the one that failed: form, issuer, key id, signature, issuer again, audience, time, bound
// objects (RFC 7519 §4.1, KEP-1205, RFC 8725; texts of spec tokens.md §3). Legacy and bound tokens both. A good answer is cached for
// at most 10 s of the signature work only: bound objects and times are checked on every call.
// Thread-safe: one Verifier serves every event loop. The ring and the clock outlive it.
class Verifier {
 public:
  // `issuers`: accepted `iss` values of bound tokens. `apiAudiences`: the API server's own; the default when none are asked.
  Verifier(std::vector<std::string> issuers, std::vector<std::string> apiAudiences, const Snapshot<KeyRing>& ring, BoundObjects objects,
           const Clock& clock);
  ~Verifier();
  Verifier(const Verifier&) = delete;
  Verifier& operator=(const Verifier&) = delete;
  // Who the token proves to be, for at least one of `audiences` (empty: the API server's own).
  // Unauthorized: the token is bad; the sentence is Kubernetes' text. Unavailable: we could not find out; never a bad token.
  [[nodiscard]] Result<Identity> verify(std::string_view compactToken, std::span<const std::string> audiences) const;
  [[nodiscard]] const std::vector<std::string>& apiAudiences() const;

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace podpass::token
