#pragma once

#include <chrono>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "jose/jws.h"
#include "token/refusal.h"

// The checks that a relying party makes of somebody else's token, as functions without state. Each refusal is a token::Refusal.
namespace podpass::token {

// An issuer that somebody registered, and what its tokens must be like.
struct TrustedIssuer {
  std::string url;                     // equals the claim `iss` byte for byte
  std::vector<std::string> audiences;  // a token must be for one of these; empty: the caller judges the audience itself
  // RFC 8725 §3.1: decided here and by the key, never by the token.
  std::vector<std::string> algorithms = {"RS256", "RS384", "RS512", "ES256", "ES384", "ES512"};
  std::chrono::seconds skew{0};  // how far the issuer's clock may be off
  // Who is believed when its documents are fetched: http::FetchOptions. Neither given: the system's roots.
  std::string caPem;
  std::vector<std::string> thumbprints;
  bool plainLoopback = false;  // http:// may be used when the host is a loopback address or localhost
  std::string jwks;            // not empty: these are its keys, and nothing is ever fetched
  friend bool operator==(const TrustedIssuer&, const TrustedIssuer&) = default;
};

// Parsed, with the claims that every ID token has (OpenID Connect Core §2); NOT verified.
struct PresentedToken {
  jose::UnverifiedJws jws;
  std::string issuer, subject;
  std::vector<std::string> audiences;
  std::int64_t expires = 0, issuedAt = 0, notBefore = 0;  // seconds since the epoch; notBefore 0: absent
};

// What a token proves once all checks passed.
struct VerifiedToken {
  std::string issuer, subject;
  std::vector<std::string> audiences;  // all that it is for
  std::string alg, kid;
  std::int64_t expires = 0, issuedAt = 0;
  json::object claims;
};

// Checks "form" and "claims": iss, sub, aud, exp and iat must be there.
Result<PresentedToken> parseToken(std::string_view compact);
// Checks "issuer", "audience", "time", "algorithm", in this order.
Result<void> checkClaims(const PresentedToken& token, const TrustedIssuer& issuer, WallTime now);
// Checks "key id" and "signature". A token without kid needs a key without. CPU-bound.
Result<VerifiedToken> checkSignature(PresentedToken token, std::span<const jose::Key> keys);

}  // namespace podpass::token
