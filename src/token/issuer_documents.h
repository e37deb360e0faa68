#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "http/client.h"
#include "token/presented_token.h"

// What an issuer publishes, and what a relying party takes from it (OpenID Connect Discovery §4, RFC 7517).
namespace podpass::token {

constexpr std::size_t kMaxIssuerDocument = 1u << 20;  // bytes
constexpr std::size_t kMaxIssuerKeys = 100;           // as AWS

// False for the addresses at which clouds give whoever asks the machine's own credentials (169.254.169.254 and its like): nobody's issuer.
bool mayBeAnIssuer(const boost::asio::ip::address& address);

// BadRequest: not https (plain is for loopback, when asked for), a query, a fragment, or no URL at all.
Result<void> checkIssuerUrl(const std::string& url, bool plainLoopback);

// https://host/path → https://host/path/.well-known/openid-configuration
std::string discoveryUrl(const std::string& issuer);

// The jwks_uri of the document. Errors name what was found: a status, HTML, JSON that is none, another issuer, a URL that is not to be
// used.
Result<std::string> jwksUriOf(const http::Fetched& document, const TrustedIssuer& issuer);

// Its keys. Errors: a status, HTML, no JWKS, more than kMaxIssuerKeys.
Result<std::vector<jose::Key>> keysOf(const http::Fetched& jwks);

// How long an answer may be kept: max-age of Cache-Control, between one minute and one hour; five minutes when nothing is said.
std::chrono::seconds cacheLife(const http::Headers& headers);

}  // namespace podpass::token
