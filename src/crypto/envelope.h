#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/secret.h"

// Envelope encryption of what is kept on disk: AES-256-GCM under a data key of its own for each value, and the data key under a
// key-encryption key (KEK). A sealed value is text, "podpass:sealed:v1:KEK:DATAKEY:VALUE": KEK names the key without telling anything
// of it, the other two are base64url of nonce ‖ ciphertext ‖ tag (NIST SP 800-38D; 96-bit random nonces).
namespace podpass::crypto {

// Immutable and thread-safe.
class Envelope {
 public:
  // `keks`: 32 bytes each; the first seals, all of them open, so that a key can be replaced while values under the old one exist.
  // BadRequest: none, or one of another size.
  static Result<Envelope> of(const std::vector<Secret>& keks);

  // This one, which opens also what `older` opens.
  [[nodiscard]] Envelope opening(const Envelope& older) const;
  [[nodiscard]] std::size_t size() const { return keks_.size(); }

  // `place` is bound to the value: it opens only under the same one, so that a value cannot be moved onto another's place.
  [[nodiscard]] std::string seal(std::string_view plain, std::string_view place) const;
  // Unavailable: sealed with a key that is not here. Internal: the value was damaged, or moved from another place.
  [[nodiscard]] Result<Secret> open(std::string_view sealed, std::string_view place) const;

  // The first KEK's name: 16 hex digits.
  [[nodiscard]] const std::string& current() const;
  // The KEK's name that a sealed value carries; "" when the text is not sealed.
  static std::string_view kekOf(std::string_view text);
  static bool isSealed(std::string_view text) { return !kekOf(text).empty(); }

 private:
  struct Kek {
    std::string name;
    Secret key;
  };
  std::vector<Kek> keks_;
};

}  // namespace podpass::crypto
