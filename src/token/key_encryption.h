#pragma once

#include <filesystem>
#include <memory>

#include "base/result.h"
#include "base/snapshot.h"
#include "crypto/envelope.h"
#include "crypto/pkcs11.h"
#include "store/store.h"

namespace podpass::token {

// The key-encryption keys, from a file that can be replaced while podpass runs. The file holds one key of 32 bytes as it is, or keys as
// text, one a line (64 hexadecimal digits or base64; # begins a comment): the first seals, the others only open what they sealed before.
// A line that begins with "wrapped:" holds its key encrypted under an AES key that a PKCS#11 token keeps: without the token the file opens
// nothing. Thread-safe.
class KeyEncryption {
 public:
  // `make`: a file that does not exist is made with one new key, 0600. NotFound without. BadRequest: it holds no key, or others may read
  // it. `token`: unwraps wrapped lines and wraps the key that is made; its Unavailable and Forbidden come through.
  static Result<std::unique_ptr<KeyEncryption>> open(std::filesystem::path file, bool make,
                                                     std::shared_ptr<crypto::Pkcs11Token> token = nullptr);
  // Keys of this process only, for tests.
  static std::unique_ptr<KeyEncryption> of(crypto::Envelope envelope);

  [[nodiscard]] std::shared_ptr<const crypto::Envelope> envelope() const { return current_->load(); }
  // Reads the file again when it was changed: true when everything has to be sealed anew, as another key seals now, or one has left the
  // file. Such a key goes on opening until settle(). What cannot be read is an error, and the old keys stay. One thread reloads and
  // settles.
  Result<bool> reload();
  // Everything is sealed under the current key: those that are not in the file any more are forgotten.
  void settle();
  // Secrets are sealed on their way to the disk.
  [[nodiscard]] AtRest atRest() const;

 private:
  std::filesystem::path file_;
  std::shared_ptr<crypto::Pkcs11Token> token_;
  std::string seen_;                                // a digest of the file's bytes
  std::shared_ptr<const crypto::Envelope> inFile_;  // null: what is current is what the file holds
  std::shared_ptr<Snapshot<crypto::Envelope>> current_;
};

// What such a file says. BadRequest: no key, or a line that is none.
Result<crypto::Envelope> readKeks(std::string_view text, crypto::Pkcs11Token* token = nullptr);
// A new key as a line of such a file: in the clear, or wrapped when there is a token.
Result<Secret> newKekLine(crypto::Pkcs11Token* token = nullptr);

}  // namespace podpass::token
