#pragma once

#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "base/snapshot.h"
#include "jose/jws.h"

namespace podpass::token {

using KeyPtr = std::shared_ptr<const jose::Key>;

// The keys that sign and verify service account tokens: all verify and are published, the first signs, unless a token's audience has a
// signer of its own (RS256 where a cloud needs it, ES256 elsewhere). Immutable; shared as a Snapshot.
class KeyRing {
 public:
  // `signers`: audience → one of `keys`. `unpublished`: key ids of those that only verify here, as an external signer may ask.
  explicit KeyRing(std::vector<KeyPtr> keys, std::map<std::string, KeyPtr> signers = {}, std::set<std::string> unpublished = {})
      : keys_(std::move(keys)), signers_(std::move(signers)), unpublished_(std::move(unpublished)) {}
  [[nodiscard]] const jose::Key& signer() const { return *keys_.front(); }
  // Of a token for several audiences the first that has a signer decides.
  [[nodiscard]] const jose::Key& signerFor(std::span<const std::string> audiences) const;
  [[nodiscard]] const jose::Key* find(std::string_view kid) const;  // null when the ring does not hold it
  [[nodiscard]] const std::vector<KeyPtr>& keys() const { return keys_; }
  [[nodiscard]] bool isPublished(const std::string& kid) const { return !unpublished_.contains(kid); }

 private:
  std::vector<KeyPtr> keys_;
  std::map<std::string, KeyPtr> signers_;
  std::set<std::string> unpublished_;
};

// Which algorithms sign. EdDSA is an opt-in: neither Kubernetes nor the clouds verify it.
struct Algorithms {
  crypto::KeyType standard = crypto::KeyType::Rsa2048;
  std::map<std::string, crypto::KeyType> forAudience = {};
};
// "AUDIENCE=ALGORITHM"; the audience may itself hold '='.
Result<std::pair<std::string, crypto::KeyType>> parseAudienceAlgorithm(std::string_view text);

// {"keys":[…]} of RFC 7517, member order as kube-apiserver's (spec tokens.md §5).
std::string jwks(const KeyRing& ring);
// The discovery document, one line, in kube-apiserver's member order.
std::string openidConfiguration(std::string_view issuer, std::string_view jwksUri, const KeyRing& ring);

}  // namespace podpass::token
