#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "base/snapshot.h"
#include "jose/jws.h"

namespace podpass::token {

// The keys that sign and verify service account tokens: the first signs, all verify and are published. Immutable; shared as a Snapshot.
class KeyRing {
 public:
  explicit KeyRing(std::vector<std::shared_ptr<const jose::Key>> keys) : keys_(std::move(keys)) {}
  [[nodiscard]] const jose::Key& signer() const { return *keys_.front(); }
  [[nodiscard]] const jose::Key* find(std::string_view kid) const;  // null when the ring does not hold it
  [[nodiscard]] const std::vector<std::shared_ptr<const jose::Key>>& keys() const { return keys_; }

 private:
  std::vector<std::shared_ptr<const jose::Key>> keys_;
};

// Reads `directory`/signing.key (PEM, 0600), or makes an RSA 2048 key there on first use.
Result<std::shared_ptr<const KeyRing>> openKeyRing(const std::filesystem::path& directory);

// {"keys":[…]} of RFC 7517, member order as kube-apiserver's (spec tokens.md §5).
std::string jwks(const KeyRing& ring);
// The discovery document, one line, in kube-apiserver's member order.
std::string openidConfiguration(std::string_view issuer, std::string_view jwksUri, const KeyRing& ring);

}  // namespace podpass::token
