#include "token/key_ring.h"

#include <openssl/crypto.h>

#include <set>

#include "base/file.h"

namespace podpass::token {

const jose::Key* KeyRing::find(std::string_view kid) const {
  for (const auto& key : keys_)
    if (key->kid == kid) return key.get();
  return nullptr;
}

Result<std::shared_ptr<const KeyRing>> openKeyRing(const std::filesystem::path& directory) {
  const std::filesystem::path path = directory / "signing.key";
  Result<std::string> pem = readFile(path);
  if (!pem && pem.error().reason != Reason::NotFound) return pem.error();
  Result<crypto::KeyPair> pair = pem ? crypto::KeyPair::fromPrivatePem(*pem) : crypto::KeyPair::generate(crypto::KeyType::Rsa2048);
  if (!pair) return Error{pair.error().reason, path.string() + ": " + pair.error().sentence, "restore the signing key from a backup"};
  if (pem) OPENSSL_cleanse(pem->data(), pem->size());
  if (!pem) {
    if (Result<void> made = makeDirectories(directory); !made) return made.error();
    if (Result<void> written = writeFileAtomically(path, pair->privatePem().reveal(), 0600); !written) return written.error();
  }
  Result<jose::Key> key = jose::makeKey(*std::move(pair));
  if (!key) return key.error();
  if (key->alg == "EdDSA")  // no Kubernetes verifier takes it
    return Error{Reason::BadRequest, path.string() + ": an Ed25519 key cannot sign service account tokens",
                 "use an RSA key, or P-256, P-384 or P-521"};
  return std::make_shared<const KeyRing>(std::vector{std::make_shared<const jose::Key>(*std::move(key))});
}

std::string jwks(const KeyRing& ring) {
  json::array keys;
  for (const auto& key : ring.keys()) keys.push_back(jose::toJwk(*key));
  return json::serialize(json::object{{"keys", std::move(keys)}});
}

std::string openidConfiguration(std::string_view issuer, std::string_view jwksUri, const KeyRing& ring) {
  std::set<std::string> algorithms;
  for (const auto& key : ring.keys()) algorithms.insert(key->alg);
  return json::serialize(json::object{{"issuer", issuer},
                                      {"jwks_uri", jwksUri},
                                      {"response_types_supported", {"id_token"}},
                                      {"subject_types_supported", {"public"}},
                                      {"id_token_signing_alg_values_supported", json::array(algorithms.begin(), algorithms.end())}});
}

}  // namespace podpass::token
