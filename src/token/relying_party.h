#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/thread_pool.hpp>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "http/address_rules.h"
#include "http/client.h"
#include "token/presented_token.h"

namespace podpass::token {

// Verifies tokens of other people's issuers: what STS, the HTTP verifier and OIDC authentication have in common.
// Nothing is fetched but the discovery document and the JWKS of registered issuers: over TLS, without redirects, at most 1 MiB each, within
// five seconds, kept for as long as Cache-Control says (one minute to one hour). An unknown kid fetches them again, at most every ten
// seconds for each issuer; who asks meanwhile waits for the same fetch. While an issuer cannot be reached its last keys serve, up to a day.
// Thread-safe: verify may be awaited on any executor. The pool and the clock outlive it, and nobody awaits it when it is destroyed.
class RelyingParty {
 public:
  // `rules`: what may be fetched from, asked of the address that is connected to. Besides, the document of an issuer elsewhere cannot lead
  // to keys on this machine or in private networks (http::Reach), unless a given rule allows them.
  RelyingParty(boost::asio::thread_pool& pool, const Clock& clock, http::AddressRules rules = {});
  ~RelyingParty();  // stops
  RelyingParty(const RelyingParty&) = delete;
  RelyingParty& operator=(const RelyingParty&) = delete;

  // Ends the fetches that are under way, and all later ones at once. Whoever verifies on loops of its own calls this and joins the pool
  // before the loops go.
  void stop();

  // Replaces the set of issuers. Keys of those that stay as they were are kept. BadRequest, and no change: a URL or JWKS that cannot be
  // used, or one URL twice.
  Result<void> trust(std::vector<TrustedIssuer> issuers);

  // Drops the keys that were fetched: the next token of an issuer fetches them again, however soon.
  void forget();

  // What the token proves. Checks, the first that fails being named by refusalOf(error): form, claims, issuer (NotFound: it is not
  // registered), audience, time, algorithm, discovery (Unavailable: the keys could not be had), key id, signature. All others are
  // Unauthorized. The signature is checked on the pool.
  boost::asio::awaitable<Result<VerifiedToken>> verify(std::string token);

 private:
  class Issuers;
  std::shared_ptr<Issuers> issuers_;
};

}  // namespace podpass::token
