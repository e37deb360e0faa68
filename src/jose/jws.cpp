#include "jose/jws.h"

#include "base/text.h"

namespace podpass::jose {
namespace {

constexpr std::size_t kMaxToken = 64u << 10;
constexpr std::size_t kMaxHeader = 4u << 10;  // alg, typ and a kid of at most 1 KiB; the rest would be someone else's certificates
constexpr std::size_t kMaxDepth = 32;

Error malformed(std::string sentence) { return Error{Reason::BadRequest, std::move(sentence)}; }

// How many members a JSON text has that was found well-formed: as many as colons outside of its strings.
std::size_t membersIn(std::string_view text) {
  std::size_t count = 0;
  bool quoted = false;
  for (std::size_t at = 0; at < text.size(); ++at) {
    const char c = text[at];
    if (c == '"') quoted = !quoted;
    if (quoted && c == '\\') ++at;
    if (!quoted && c == ':') ++count;
  }
  return count;
}

std::size_t membersOf(const json::value& value) {  // no deeper than kMaxDepth
  std::size_t count = 0;
  if (const json::object* object = value.if_object()) {
    count = object->size();
    for (const auto& member : *object) count += membersOf(member.value());
  } else if (const json::array* array = value.if_array()) {
    for (const json::value& each : *array) count += membersOf(each);
  }
  return count;
}

}  // namespace

Result<json::object> parseStrictObject(std::string_view text) {
  json::parse_options options;
  options.max_depth = kMaxDepth;
  json::error_code failed;
  json::value value = json::parse(text, failed, {}, options);
  if (failed || !value.is_object()) return malformed("not a JSON object");
  // Boost.JSON keeps the last of two equal members, and the DOM then has fewer than the text: a verifier and a consumer that choose
  // differently can be played against each other (RFC 7515 §10.12).
  if (membersOf(value) != membersIn(text)) return malformed("a JSON member occurs twice");
  return std::move(value.get_object());
}

Result<Key> makeKey(crypto::KeyPair key) {
  std::string alg = key.algorithm();
  if (alg.empty()) return malformed("no JOSE algorithm fits this key");
  return Key{base64UrlEncode(sha256(key.publicDer())), std::move(alg), std::move(key)};
}

Result<UnverifiedJws> parseCompactJws(std::string_view compact) {
  if (compact.size() > kMaxToken) return malformed("the token is larger than 64 KiB");
  const std::size_t first = compact.find('.');
  const std::size_t second = first == std::string_view::npos ? first : compact.find('.', first + 1);
  if (second == std::string_view::npos || compact.find('.', second + 1) != std::string_view::npos)
    return malformed("the token does not have three parts separated by dots");
  Result<std::string> header = base64UrlDecode(compact.substr(0, first));
  Result<std::string> payload = base64UrlDecode(compact.substr(first + 1, second - first - 1));
  Result<std::string> signature = base64UrlDecode(compact.substr(second + 1));
  if (!header) return malformed("the token's header is not base64url: " + header.error().sentence);
  if (!payload) return malformed("the token's payload is not base64url: " + payload.error().sentence);
  if (!signature) return malformed("the token's signature is not base64url: " + signature.error().sentence);
  if (header->size() > kMaxHeader) return malformed("the token's header is larger than 4 KiB");
  Result<json::object> head = parseStrictObject(*header);
  Result<json::object> body = parseStrictObject(*payload);
  if (!head) return malformed("the token's header is " + head.error().sentence);
  if (!body) return malformed("the token's payload is " + body.error().sentence);

  UnverifiedJws jws{.alg = std::string(textAt(*head, {"alg"})),
                    .kid = std::string(textAt(*head, {"kid"})),
                    .typ = std::string(textAt(*head, {"typ"})),
                    .header = *std::move(head),
                    .payload = *std::move(body),
                    .signingInput = std::string(compact.substr(0, second)),
                    .signature = *std::move(signature)};
  const json::object& says = jws.header;
  const auto isNone = [](std::string_view alg) {
    return alg.size() == 4 && (alg[0] | 32) == 'n' && (alg[1] | 32) == 'o' && (alg[2] | 32) == 'n' && (alg[3] | 32) == 'e';
  };
  if (jws.alg.empty()) return malformed("the token's header names no algorithm");
  if (isNone(jws.alg)) return malformed("the token is unsigned (alg none)");
  if (const json::value* typ = says.if_contains("typ"); typ != nullptr && !typ->is_string())
    return malformed("the token's header has a typ that is not a string");
  if (says.contains("crit")) return malformed("the token's header has critical extensions, and none is known");
  if (says.contains("b64")) return malformed("the token's header asks for an unencoded payload");
  if (const json::value* kid = says.if_contains("kid"); kid != nullptr && !kid->is_string())
    return malformed("the token's header has a kid that is not a string");
  if (jws.signature.empty()) return malformed("the token has no signature");
  return jws;
}

bool isFor(const Key& key, std::string_view alg) {
  return alg == key.alg || (!key.algStated && key.alg == "RS256" && (alg == "RS384" || alg == "RS512"));
}

bool verifies(const Key& key, const UnverifiedJws& jws) {
  if (!isFor(key, jws.alg)) return false;
  if (jws.alg == "RS384" || jws.alg == "RS512") return key.key.verifyRsa(jws.signingInput, jws.signature, jws.alg == "RS384" ? 384 : 512);
  return key.key.verify(jws.signingInput, jws.signature);
}

Result<std::string> signCompact(const Key& key, std::string_view payload) {
  const std::string header =
      "{\"alg\":" + json::serialize(json::string(key.alg)) + ",\"kid\":" + json::serialize(json::string(key.kid)) + "}";
  std::string input = base64UrlEncode(header) + "." + base64UrlEncode(payload);
  if (key.alg == "RS384" || key.alg == "RS512") return malformed("keys for " + key.alg + " verify only");
  Result<std::string> signature = key.key.sign(input);
  if (!signature) return signature.error();
  return input + "." + base64UrlEncode(*signature);
}

std::string thumbprint(const Key& key) {
  const json::object jwk = toJwk(key);
  std::string members;  // the required ones, in lexicographic order
  for (const char* name : {"crv", "e", "kty", "n", "x", "y"})
    if (const std::string_view value = textAt(jwk, {name}); !value.empty())
      members += (members.empty() ? "{\"" : ",\"") + std::string(name) + "\":" + json::serialize(json::string(value));
  return base64UrlEncode(sha256(members + "}"));
}

json::object toJwk(const Key& key) {
  json::object jwk{{"use", "sig"}};
  if (key.alg.starts_with("RS")) {
    const auto parts = key.key.rsaComponents();
    jwk["kty"] = "RSA";
    jwk["kid"] = key.kid;
    jwk["alg"] = key.alg;
    jwk["n"] = base64UrlEncode(parts->first);
    jwk["e"] = base64UrlEncode(parts->second);
    return jwk;
  }
  const auto point = key.key.ecPoint();
  const std::string curve = key.key.curve();
  jwk["kty"] = curve.empty() ? "OKP" : "EC";
  jwk["kid"] = key.kid;
  jwk["crv"] = curve.empty() ? "Ed25519" : curve;
  jwk["alg"] = key.alg;
  jwk["x"] = base64UrlEncode(point->first);
  if (!curve.empty()) jwk["y"] = base64UrlEncode(point->second);
  return jwk;
}

Result<Key> fromJwk(const json::object& jwk) {
  const std::string_view type = textAt(jwk, {"kty"});
  if (jwk.contains("use") && textAt(jwk, {"use"}) != "sig") return malformed("the JWK is not for signatures (use is not sig)");
  const auto member = [&](std::string_view name) -> Result<std::string> {
    if (textAt(jwk, {name}).empty()) return malformed("the JWK has no member " + std::string(name));
    return base64UrlDecode(textAt(jwk, {name}));
  };
  Result<crypto::KeyPair> pair = malformed("unknown key type " + quoted(type.substr(0, 32)));
  if (type == "RSA") {
    Result<std::string> n = member("n"), e = member("e");
    if (!n) return n.error();
    if (!e) return e.error();
    pair = crypto::KeyPair::fromRsaComponents(*n, *e);
  } else if (type == "EC") {
    Result<std::string> x = member("x"), y = member("y");
    if (!x) return x.error();
    if (!y) return y.error();
    pair = crypto::KeyPair::fromEcPoint(textAt(jwk, {"crv"}), *x, *y);
  } else if (type == "OKP") {
    if (textAt(jwk, {"crv"}) != "Ed25519") return malformed("unknown curve: need Ed25519");  // X25519 keys agree, they do not sign
    Result<std::string> x = member("x");
    if (!x) return x.error();
    pair = crypto::KeyPair::fromEd25519(*x);
  }
  if (!pair) return pair.error();
  Key key{std::string(textAt(jwk, {"kid"})), pair->algorithm(), *std::move(pair)};
  const std::string_view alg = textAt(jwk, {"alg"});
  key.algStated = !alg.empty();
  if (type == "RSA" && (alg == "RS384" || alg == "RS512")) key.alg = alg;
  if (!alg.empty() && alg != key.alg) return malformed("the JWK says alg " + quoted(alg) + ", its key is for " + key.alg);
  return key;
}

Result<std::vector<Key>> parseJwks(std::string_view text) {
  if (text.size() > 1u << 20) return malformed("the JWKS is larger than 1 MiB");
  Result<json::object> set = parseStrictObject(text);
  if (!set) return malformed("the JWKS is " + set.error().sentence);
  const json::array* all = arrayAt(*set, {"keys"});
  if (all == nullptr) return malformed("the JWKS has no member keys");
  std::vector<Key> keys;
  for (const json::value& value : *all) {
    if (!value.is_object()) continue;
    Result<Key> key = fromJwk(value.get_object());
    if (key) keys.push_back(*std::move(key));  // RFC 7517 §5: what is not understood is ignored
  }
  return keys;
}

}  // namespace podpass::jose
