#include "token/issuer.h"

#include <boost/json.hpp>

#include "token/inventory.h"

namespace podpass::token {
namespace {

namespace json = boost::json;

constexpr int kTries = 3;  // rotations that one token may meet

// Go's encoding/json writes <, >, &, U+2028 and U+2029 as escapes; the same bytes come out here.
std::string text(std::string_view value) {
  const std::string plain = json::serialize(json::string(value));
  if (plain.find_first_of("<>&\xe2") == std::string::npos) return plain;
  std::string out;
  for (std::size_t at = 0; at < plain.size(); ++at) {
    const std::string_view rest = std::string_view(plain).substr(at);
    const bool separator = rest.starts_with("\xe2\x80\xa8") || rest.starts_with("\xe2\x80\xa9");
    switch (plain[at]) {
      case '<':
        out += "\\u003c";
        break;
      case '>':
        out += "\\u003e";
        break;
      case '&':
        out += "\\u0026";
        break;
      default:
        out += separator ? (rest[2] == '\xa8' ? "\\u2028" : "\\u2029") : std::string(1, plain[at]);
    }
    if (separator) at += 2;
  }
  return out;
}

std::string subject(const std::string& ns, const ObjectRef& account) { return "system:serviceaccount:" + ns + ":" + account.name; }

// ,"pod":{"name":…,"uid":…}; nothing for an empty reference
std::string member(std::string_view name, const ObjectRef& ref) {
  if (ref.empty()) return {};
  std::string out = ",\"" + std::string(name) + "\":{\"name\":" + text(ref.name);
  if (!ref.uid.empty()) out += ",\"uid\":" + text(ref.uid);
  return out + "}";
}

Result<Secret> sign(const jose::Key& key, const std::string& payload) {
  Result<std::string> compact = jose::signCompact(key, payload);
  if (!compact) return compact.error();
  return Secret(*compact);
}

}  // namespace

// Members in bytewise order at each level: the bytes that kube-apiserver signs (it marshals a Go map).
Result<Secret> Issuer::issue(const BoundClaims& claims, std::string_view requester) const {
  std::string audiences;
  for (const std::string& audience : claims.audiences) audiences += (audiences.empty() ? "" : ",") + text(audience);
  const std::string issued = std::to_string(claims.issuedAt);
  std::string payload =
      "{\"aud\":[" + audiences + "],\"exp\":" + std::to_string(claims.expires) + ",\"iat\":" + issued + ",\"iss\":" + text(url_);
  if (!claims.jti.empty()) payload += ",\"jti\":" + text(claims.jti);
  payload += ",\"kubernetes.io\":{\"namespace\":" + text(claims.ns) + member("node", claims.node) + member("pod", claims.pod) +
             member("secret", claims.secret) + member("serviceaccount", claims.serviceAccount);
  if (claims.warnAfter != 0) payload += ",\"warnafter\":" + std::to_string(claims.warnAfter);
  payload += "},\"nbf\":" + issued + ",\"sub\":" + text(subject(claims.ns, claims.serviceAccount)) + "}";
  if (sign_) {
    Result<Secret> token = sign_(payload);
    const Result<jose::UnverifiedJws> jws =
        token && inventory_ != nullptr ? jose::parseCompactJws(token->reveal()) : Result<jose::UnverifiedJws>();
    if (jws) inventory_->add(claims, {url_, jws->kid, requester});
    return token;
  }
  for (int attempt = 1;; ++attempt) {
    const std::shared_ptr<const KeyRing> ring = ring_->load();
    const jose::Key& key = ring->signerFor(claims.audiences);
    const Result<void> kept = keep_ ? keep_(key, claims.expires) : Result<void>();
    if (kept) {
      Result<Secret> token = sign(key, payload);
      if (token && inventory_ != nullptr) inventory_->add(claims, {url_, key.kid, requester});
      return token;
    }
    if (kept.error().reason != Reason::Conflict || attempt == kTries) return kept.error();
  }
}

Result<Secret> Issuer::issueLegacy(const LegacyClaims& claims) const {
  if (sign_)
    return Error{Reason::Unavailable, "an external signer signs no tokens that never expire", "use TokenRequest: kubectl create token"};
  const std::string prefix = ",\"kubernetes.io/serviceaccount/";
  const std::string payload =
      "{\"iss\":\"kubernetes/serviceaccount\"" + prefix + "namespace\":" + text(claims.ns) + prefix +
      "secret.name\":" + text(claims.secretName) + prefix + "service-account.name\":" + text(claims.serviceAccount.name) + prefix +
      "service-account.uid\":" + text(claims.serviceAccount.uid) + ",\"sub\":" + text(subject(claims.ns, claims.serviceAccount)) + "}";
  const std::shared_ptr<const KeyRing> ring = ring_->load();
  return sign(ring->signer(), payload);
}

}  // namespace podpass::token
