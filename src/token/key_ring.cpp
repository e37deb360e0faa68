#include "token/key_ring.h"

#include "base/text.h"

namespace podpass::token {
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

std::string jwks(const KeyRing& ring) {
  json::array keys;
  for (const auto& key : ring.keys())
    if (ring.isPublished(key->kid)) keys.push_back(jose::toJwk(*key));
  return json::serialize(json::object{{"keys", std::move(keys)}});
}

std::string openidConfiguration(std::string_view issuer, std::string_view jwksUri, const KeyRing& ring) {
  std::set<std::string> algorithms;
  for (const auto& key : ring.keys())
    if (ring.isPublished(key->kid)) algorithms.insert(key->alg);
  return json::serialize(json::object{{"issuer", issuer},
                                      {"jwks_uri", jwksUri},
                                      {"response_types_supported", {"id_token"}},
                                      {"subject_types_supported", {"public"}},
                                      {"id_token_signing_alg_values_supported", json::array(algorithms.begin(), algorithms.end())}});
}

}  // namespace podpass::token
