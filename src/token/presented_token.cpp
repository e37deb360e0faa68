#include "token/presented_token.h"

#include <algorithm>
#include <cmath>

#include "base/text.h"

namespace podpass::token {
namespace {

constexpr double kLastSecond = 253402300799;  // of the year 9999: later ones have no RFC 3339 text

std::string listed(std::span<const std::string> all) {
  std::string text;
  for (const std::string& one : all) text += (text.empty() ? "" : ", ") + quoted(one);
  return text.empty() ? "none" : text;
}

Error missing(const std::string& claim, const char* form) {
  return refusal({"claims", claim + " " + form, "none of that form"}, "the token has no claim " + claim + " that is " + form);
}

// A NumericDate of RFC 7519 §2: seconds, a fraction is cut off.
Result<std::int64_t> numericDate(const json::object& claims, const std::string& name) {
  const json::value* value = claims.if_contains(name);
  double seconds = NAN;
  if (value != nullptr && value->is_number()) seconds = value->to_number<double>();
  if (!(seconds >= 0 && seconds <= kLastSecond)) return missing(name, "a time in seconds");
  return static_cast<std::int64_t>(seconds);
}

Result<std::vector<std::string>> audiencesOf(const json::object& claims) {
  const json::value* aud = claims.if_contains("aud");
  if (aud != nullptr && aud->is_string() && !aud->get_string().empty()) return std::vector{std::string(aud->get_string())};
  std::vector<std::string> all;
  if (aud != nullptr && aud->is_array())
    for (const json::value& one : aud->get_array()) {
      if (!one.is_string()) return missing("aud", "a string or a list of strings");
      all.emplace_back(one.get_string());
    }
  if (all.empty()) return missing("aud", "a string or a list of strings");
  return all;
}

std::string timeText(std::int64_t seconds) { return rfc3339(WallTime(std::chrono::seconds(seconds))); }

Error untimely(const char* claim, const char* trouble, const char* relation, std::int64_t when, std::int64_t now, std::chrono::seconds skew,
               std::string fix) {
  const std::string apart = humanDuration(std::chrono::seconds(std::abs(now - when)));
  const std::string allowed = skew.count() == 0 ? "" : "; " + std::to_string(skew.count()) + " s of skew are allowed";
  return refusal({"time", std::string(claim) + " " + relation + " " + timeText(now), timeText(when)},
                 std::string("the token ") + trouble + ": " + claim + " is " + timeText(when) + ", the clock here says " + timeText(now) +
                     ", " + apart + (now > when ? " later" : " earlier") + allowed,
                 std::move(fix));
}

Result<void> checkTimes(const PresentedToken& token, const TrustedIssuer& issuer, WallTime wall) {
  const std::int64_t now = std::chrono::duration_cast<std::chrono::seconds>(wall.time_since_epoch()).count();
  const std::int64_t skew = issuer.skew.count();
  if (now - skew >= token.expires)
    return untimely("exp", "has expired", "after", token.expires, now, issuer.skew,
                    "get a new token; if this one is new, compare the clocks");
  if (token.notBefore > now + skew)
    return untimely("nbf", "is not valid yet", "not after", token.notBefore, now, issuer.skew,
                    "compare the clocks of the issuer and of this machine");
  if (token.issuedAt > now + skew)
    return untimely("iat", "was issued in the future", "not after", token.issuedAt, now, issuer.skew,
                    "compare the clocks of the issuer and of this machine");
  return {};
}

}  // namespace

Result<PresentedToken> parseToken(std::string_view compact) {
  Result<jose::UnverifiedJws> jws = jose::parseCompactJws(compact);
  if (!jws) return refusal({"form", "a signed JWT", ""}, jws.error().sentence);
  PresentedToken token;
  const json::object& claims = jws->payload;
  token.issuer = textAt(claims, {"iss"});
  token.subject = textAt(claims, {"sub"});
  if (token.issuer.empty()) return missing("iss", "a string");
  if (token.subject.empty()) return missing("sub", "a string");
  Result<std::vector<std::string>> audiences = audiencesOf(claims);
  if (!audiences) return audiences.error();
  token.audiences = *std::move(audiences);
  for (auto [name, into] : {std::pair{"exp", &token.expires}, std::pair{"iat", &token.issuedAt}, std::pair{"nbf", &token.notBefore}}) {
    if (into == &token.notBefore && !claims.contains("nbf")) continue;
    Result<std::int64_t> seconds = numericDate(claims, name);
    if (!seconds) return seconds.error();
    *into = *seconds;
  }
  token.jws = *std::move(jws);
  return token;
}

Result<void> checkClaims(const PresentedToken& token, const TrustedIssuer& issuer, WallTime now) {
  if (token.issuer != issuer.url)
    return refusal({"issuer", issuer.url, token.issuer},
                   "the token is of the issuer " + quoted(token.issuer) + ", expected " + quoted(issuer.url));
  const bool forUs = std::find_first_of(token.audiences.begin(), token.audiences.end(), issuer.audiences.begin(), issuer.audiences.end()) !=
                     token.audiences.end();
  if (!forUs && !issuer.audiences.empty())
    return refusal(
        {"audience", listed(issuer.audiences), listed(token.audiences)},
        "the token is not for this audience: expected " + listed(issuer.audiences) + ", the token says " + listed(token.audiences),
        "ask the issuer for a token with the audience " + quoted(issuer.audiences.front()));
  if (Result<void> inTime = checkTimes(token, issuer, now); !inTime) return inTime;
  if (std::find(issuer.algorithms.begin(), issuer.algorithms.end(), token.jws.alg) == issuer.algorithms.end())
    return refusal({"algorithm", listed(issuer.algorithms), quoted(token.jws.alg)},
                   "the token is signed with " + quoted(token.jws.alg) + ", accepted are " + listed(issuer.algorithms));
  return {};
}

Result<VerifiedToken> checkSignature(PresentedToken token, std::span<const jose::Key> keys) {
  const jose::Key* found = nullptr;
  int same = 0;
  std::string others;
  for (const jose::Key& key : keys) {
    if (key.kid != token.jws.kid) continue;
    if (!jose::isFor(key, token.jws.alg)) {
      others += (others.empty() ? "" : ", ") + key.alg;
      continue;
    }
    found = &key;
    ++same;
  }
  const std::string kid = token.jws.kid.empty() ? "no kid" : "kid " + quoted(token.jws.kid);
  if (same > 1)
    return refusal({"key id", "one key", std::to_string(same) + " keys"},
                   "the issuer publishes " + std::to_string(same) + " keys for " + kid + " and " + token.jws.alg,
                   "the issuer must give each key a kid of its own");
  if (found == nullptr && !others.empty())
    return refusal({"algorithm", others, token.jws.alg},
                   "the token is signed with " + token.jws.alg + ", the issuer's key for " + kid + " is for " + others);
  if (found == nullptr) {
    std::vector<std::string> published;
    for (const jose::Key& key : keys) published.push_back(key.kid);
    return refusal({"key id", listed(published), token.jws.kid}, "the issuer publishes no key for " + kid + " of the token",
                   "the key was retired or not yet published: get a new token, or look at the issuer's JWKS");
  }
  if (!jose::verifies(*found, token.jws))
    return refusal({"signature", "made by the key " + token.jws.kid, "another"},
                   "the signature is not the one that the issuer's key for " + kid + " makes");
  VerifiedToken verified;
  verified.issuer = std::move(token.issuer);
  verified.subject = std::move(token.subject);
  verified.audiences = std::move(token.audiences);
  verified.alg = token.jws.alg;
  verified.kid = token.jws.kid;
  verified.expires = token.expires;
  verified.issuedAt = token.issuedAt;
  verified.claims = std::move(token.jws.payload);
  return verified;
}

}  // namespace podpass::token
