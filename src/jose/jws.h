#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/document.h"
#include "base/result.h"
#include "crypto/key.h"

// JWS compact serialisation and JWKs (RFC 7515, 7517, 7518), strict as RFC 8725 asks. Nothing of Kubernetes in here.
namespace podpass::jose {

// A key with its JOSE names. `alg` follows from the key: RSA → RS256, P-256/384/521 → ES256/384/512, Ed25519 → EdDSA. Only the JWK of an
// RSA key may say another: RS384 or RS512, which are verified and never signed with.
struct Key {
  std::string kid;
  std::string alg;
  crypto::KeyPair key;    // may hold only the public half
  bool algStated = true;  // false: the JWK names none, and an RSA key verifies RS256, RS384 and RS512
};

// Whether the key is for signatures of this alg. The key decides the algorithm, never the token (RFC 8725 §3.1).
bool isFor(const Key& key, std::string_view alg);

// kid = base64url(SHA-256(DER SubjectPublicKeyInfo)), as Kubernetes derives it.
Result<Key> makeKey(crypto::KeyPair key);

// A parsed but NOT verified compact JWS.
struct UnverifiedJws {
  std::string alg, kid;  // from the header; kid may be empty
  std::string typ;       // "" when the header has none
  json::object header;
  json::object payload;
  std::string signingInput;  // header '.' payload as received
  std::string signature;     // raw bytes
};
// Refuses: not three parts, padding or surplus bits in base64url, duplicate members, unknown `crit`, `alg` none or missing, non-object
// header or payload, no signature, a header of more than 4 KiB, a token of more than 64 KiB. The sentence says which.
Result<UnverifiedJws> parseCompactJws(std::string_view compact);

// True when `signature` is the key's over the input AND the header's alg is one that the key is for.
bool verifies(const Key& key, const UnverifiedJws& jws);

// header {"alg":…,"kid":…} (in that order), payload as given (already serialised JSON). CPU-bound.
Result<std::string> signCompact(const Key& key, std::string_view payload);

std::string thumbprint(const Key& key);  // RFC 7638 §3, SHA-256, base64url: what others name keys by that come without a kid

json::object toJwk(const Key& key);                         // use, kty, kid, alg, then the public members
Result<Key> fromJwk(const json::object& jwk);               // public keys only; kid kept as given
Result<std::vector<Key>> parseJwks(std::string_view text);  // keys of unknown type are skipped

// Parses JSON strictly: duplicate members, trailing text, depth > 32 are errors.
Result<json::object> parseStrictObject(std::string_view text);

}  // namespace podpass::jose
