#include "token/external_signer_answers.h"

#include <set>

#include "base/text.h"

namespace podpass::token {
namespace {

constexpr std::size_t kMaxHeader = 4u << 10;
constexpr std::size_t kMaxKeys = 1000;
constexpr std::int64_t kMaxHint = 86'400;  // seconds: however long the signer says, a day is enough

Error bad(std::string sentence) { return Error{Reason::Unavailable, std::move(sentence), "look at the external signer"}; }
Error badHeader(const std::string& sentence) { return bad("while validating header: " + sentence); }

}  // namespace

Result<KeyRing> ringOf(const std::vector<OfferedKey>& offered) {
  if (offered.empty()) return bad("found no keys");
  if (offered.size() > kMaxKeys)
    return bad("found " + std::to_string(offered.size()) + " keys, " + std::to_string(kMaxKeys) + " are accepted");
  std::vector<KeyPtr> keys;
  std::set<std::string> seen, unpublished;
  for (const OfferedKey& each : offered) {
    if (each.id.empty()) return bad("found a key without an id");
    if (each.id.size() > kMaxExternalKeyId) return bad("found a key id longer than 1 kb");
    if (!seen.insert(each.id).second) return bad("found the key id " + quoted(each.id) + " twice");
    if (each.der.empty()) return bad("found empty public key");
    Result<crypto::KeyPair> pair = crypto::KeyPair::fromPublicDer(each.der);
    if (!pair) return bad("the key " + quoted(each.id) + " cannot be used: " + pair.error().sentence);
    std::string algorithm = pair->algorithm();
    if (algorithm == "EdDSA")
      return bad("the key " + quoted(each.id) + " is an Ed25519 key, with which no service account token is signed");
    keys.push_back(std::make_shared<const jose::Key>(jose::Key{each.id, std::move(algorithm), *std::move(pair)}));
    if (each.excluded) unpublished.insert(each.id);
  }
  return KeyRing(std::move(keys), {}, std::move(unpublished));
}

Result<std::chrono::seconds> checkRefreshHint(std::int64_t seconds) {
  if (seconds <= 0) return bad("found invalid refresh hint (" + std::to_string(seconds) + "s)");
  return std::chrono::seconds(std::min(seconds, kMaxHint));
}

Result<std::chrono::seconds> checkMaxTokenLife(std::int64_t seconds) {
  if (seconds < kMinExternalLife)
    return bad("max token life supported by external-jwt-signer (" + std::to_string(seconds) + "s) is less than acceptable (min " +
               std::to_string(kMinExternalLife) + "s)");
  return std::chrono::seconds(std::min(seconds, std::int64_t{1} << 32));
}

Result<std::string> keyIdOfHeader(std::string_view header) {
  if (header.size() > kMaxHeader) return badHeader("it is larger than 4 KiB");
  const Result<std::string> text = base64UrlDecode(header);
  if (!text) return badHeader("while unwrapping header: " + text.error().sentence);
  const Result<json::object> parsed = jose::parseStrictObject(*text);
  if (!parsed) return badHeader("while parsing header JSON: " + parsed.error().sentence);
  for (const auto& [name, value] : *parsed) {
    if (name != "alg" && name != "kid" && name != "typ")
      return badHeader("while parsing header JSON: json: unknown field " + quoted(std::string_view(name)));
    if (!value.is_string()) return badHeader("while parsing header JSON: " + std::string(name) + " is not a string");
  }
  const std::string_view kid = textAt(*parsed, {"kid"}), algorithm = textAt(*parsed, {"alg"});
  if (kid.empty()) return badHeader("key id missing");
  if (kid.size() > kMaxExternalKeyId) return badHeader("key id longer than 1 kb");
  if (algorithm != "RS256" && algorithm != "ES256" && algorithm != "ES384" && algorithm != "ES512")
    return badHeader("bad signing algorithm " + quoted(algorithm));
  if (textAt(*parsed, {"typ"}) != "JWT") return badHeader("bad type");
  return std::string(kid);
}

Result<Secret> assembleToken(const KeyRing& ring, std::string_view header, std::string_view claims, std::string_view signature) {
  const Result<std::string> kid = keyIdOfHeader(header);
  if (!kid) return kid.error();
  const jose::Key* const key = ring.find(*kid);
  if (key == nullptr) return badHeader("the key " + quoted(*kid) + " is not among those that the signer offers");
  if (!ring.isPublished(*kid)) return badHeader("key used for signing JWT (kid: " + *kid + ") is excluded from OIDC discovery docs");
  if (signature.empty()) return bad("empty signature returned");
  const std::string compact = std::string(header) + "." + std::string(claims) + "." + std::string(signature);
  const Result<jose::UnverifiedJws> jws = jose::parseCompactJws(compact);
  if (!jws) return bad("what the signer returned is no token: " + jws.error().sentence);
  if (!jose::verifies(*key, *jws)) return bad("the signature that the signer returned is not one of the key " + quoted(*kid));
  return Secret(compact);
}

}  // namespace podpass::token
