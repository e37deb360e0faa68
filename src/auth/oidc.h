#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "auth/user.h"
#include "token/relying_party.h"

namespace podpass::auth {

// What kube-apiserver's --oidc-* flags say.
struct OidcOptions {
  std::string issuerUrl;
  std::string clientId;  // the audience that tokens must have
  std::string usernameClaim = "sub";
  std::string usernamePrefix;  // "-": none; empty: ISSUER# , but none for the claim email
  std::string groupsClaim;     // empty: no groups
  std::string groupsPrefix;
  std::map<std::string, std::string> requiredClaims;
  std::vector<std::string> signingAlgorithms = {"RS256"};
  std::string caPem;              // empty: the system's roots
  std::chrono::seconds skew{0};   // how far the provider's clock may be off
  http::AddressRules rules = {};  // from where its documents may be fetched
};

// Users whom an OpenID Connect provider vouches for. Thread-safe; the pool and the clock outlive it.
// Unlike kube-apiserver it never makes a user or group whose name begins with "system:": a provider vouches for people, and whoever can
// choose a claim there must not become system:masters here.
class Oidc {
 public:
  // BadRequest: an issuer URL that is not https, no client id, an algorithm that is unknown.
  static Result<std::unique_ptr<Oidc>> make(OidcOptions options, boost::asio::thread_pool& pool, const Clock& clock);
  // nullopt: the token is of another issuer, or none. Unauthorized: it is bad. Unavailable: the provider's keys could not be had.
  boost::asio::awaitable<std::optional<Result<User>>> authenticate(std::string token);

 private:
  Oidc(OidcOptions options, boost::asio::thread_pool& pool, const Clock& clock)
      : options_(std::move(options)), party_(pool, clock, options_.rules) {}
  [[nodiscard]] Result<User> userOf(const token::VerifiedToken& token) const;

  const OidcOptions options_;
  token::RelyingParty party_;
};

}  // namespace podpass::auth
