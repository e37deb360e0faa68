#include "token/key_ring.h"

#include <openssl/crypto.h>

#include <set>

#include "base/file.h"
#include "base/text.h"

namespace podpass::token {
namespace {

std::filesystem::path keyFile(const std::filesystem::path& directory, crypto::KeyType type) {
  return directory / (type == crypto::KeyType::Rsa2048 ? "signing.key" : "signing-" + std::string(nameOf(type)) + ".key");
}

Result<KeyPtr> openKey(const std::filesystem::path& path, crypto::KeyType type) {
  Result<std::string> pem = readFile(path);
  if (!pem && pem.error().reason != Reason::NotFound) return pem.error();
  Result<crypto::KeyPair> pair = pem ? crypto::KeyPair::fromPrivatePem(*pem) : crypto::KeyPair::generate(type);
  if (!pair) return Error{pair.error().reason, path.string() + ": " + pair.error().sentence, "restore the signing key from a backup"};
  if (pem) OPENSSL_cleanse(pem->data(), pem->size());
  if (!pem) {
    if (Result<void> made = makeDirectories(path.parent_path()); !made) return made.error();
    if (Result<void> written = writeFileAtomically(path, pair->privatePem().reveal(), 0600); !written) return written.error();
  }
  Result<jose::Key> key = jose::makeKey(*std::move(pair));
  if (!key) return key.error();
  return std::make_shared<const jose::Key>(*std::move(key));
}

}  // namespace

const jose::Key* KeyRing::find(std::string_view kid) const {
  for (const auto& key : keys_)
    if (key->kid == kid) return key.get();
  return nullptr;
}

const jose::Key& KeyRing::signerFor(std::span<const std::string> audiences) const {
  for (const std::string& audience : audiences)
    if (const auto found = signers_.find(audience); found != signers_.end()) return *found->second;
  return signer();
}

Result<std::pair<std::string, crypto::KeyType>> parseAudienceAlgorithm(std::string_view text) {
  const std::size_t split = text.rfind('=');
  if (split == std::string_view::npos || split == 0)
    return Error{Reason::BadRequest, "not an audience and an algorithm: " + quoted(text.substr(0, 256)), "write AUDIENCE=ALGORITHM"};
  Result<crypto::KeyType> type = crypto::keyTypeNamed(text.substr(split + 1));
  if (!type) return type.error();
  return std::pair(std::string(text.substr(0, split)), *type);
}

Result<std::shared_ptr<const KeyRing>> openKeyRing(const std::filesystem::path& directory, const Algorithms& algorithms) {
  std::map<crypto::KeyType, KeyPtr> keys;
  std::set<crypto::KeyType> wanted{algorithms.standard};
  for (const auto& [audience, type] : algorithms.forAudience) wanted.insert(type);
  for (const std::string_view name : crypto::keyTypeNames()) {
    const crypto::KeyType type = *crypto::keyTypeNamed(name);
    std::error_code ignored;
    if (!wanted.contains(type) && !std::filesystem::exists(keyFile(directory, type), ignored)) continue;
    Result<KeyPtr> key = openKey(keyFile(directory, type), type);
    if (!key) return key.error();
    keys[type] = *std::move(key);
  }
  std::vector<KeyPtr> all{keys.at(algorithms.standard)};
  for (const auto& [type, key] : keys)
    if (type != algorithms.standard) all.push_back(key);
  std::map<std::string, KeyPtr> signers;
  for (const auto& [audience, type] : algorithms.forAudience) signers[audience] = keys.at(type);
  return std::make_shared<const KeyRing>(std::move(all), std::move(signers));
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
