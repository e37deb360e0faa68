#pragma once

#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

#include "base/clock.h"
#include "crypto/pkcs11.h"
#include "store/store.h"
#include "token/key_encryption.h"
#include "token/key_ring.h"
#include "token/key_rotation.h"

namespace podpass::token {

// The key ring as it is kept in the store: a SigningKey object for each key, and the key itself, sealed, where no API serves it. A key is
// trusted because it lies sealed under its object's uid, where only a server can put it; what the object says of it is for people. With a
// PKCS#11 token keys are made there, and what is sealed is their public half and their name in the token; a key that was made there is
// destroyed there when it ends. Any number of servers over one store hold the same ring: each step of a rotation is one conditional write,
// and who loses the race goes on from what the winner wrote. Thread-safe. The store, the encryption and the clock outlive it.
class SigningKeys {
 public:
  struct Settings {
    Algorithms algorithms = {};
    std::chrono::seconds every{0};                    // --signing-key-rotation; 0: only when asked
    std::chrono::seconds cacheLife{3600};             // --jwks-max-age
    bool signs = true;                                // false: an external signer does; no key is made, and the ring stays empty
    std::shared_ptr<crypto::Pkcs11Token> token = {};  // --signing-key-pkcs11: where private halves are; null: sealed in the store
  };
  SigningKeys(Store& store, KeyEncryption& encryption, const Clock& clock, Settings settings);
  ~SigningKeys();  // stops
  SigningKeys(const SigningKeys&) = delete;
  SigningKeys& operator=(const SigningKeys&) = delete;

  // Asks for a rotation to a new key of the ring's first algorithm: what creating a SigningKey does. Conflict: one is under way.
  Result<void> rotate();
  // Takes over a key that others use already: one with a private half signs, at once when no key of the ring did before, else when it has
  // been published for long enough; one without only verifies, until it is revoked. A key that the ring knows stays as it is, so that a
  // flag given at every start does not undo a rotation; only one that verified gets its private half.
  Result<void> adopt(const crypto::KeyPair& pair);
  // Makes sure that there is a key to sign with (on the first start: makes it), and fills the ring. Keys that a crash left sealed are
  // removed.
  Result<void> open();
  // Follows the store and the clock on a thread of its own until stop().
  Result<void> start();
  void stop();

  [[nodiscard]] const Snapshot<KeyRing>& ring() const { return ring_; }
  [[nodiscard]] const std::shared_ptr<crypto::Pkcs11Token>& token() const { return settings_.token; }
  [[nodiscard]] std::chrono::seconds cacheLife() const { return settings_.cacheLife; }
  // To be called before a token that expires at `expires` (seconds since the epoch) is handed out: the key will not leave the ring sooner.
  // What is promised is durable, and promised a little ahead, so that few tokens wait for the disk. Conflict: the key has just left, sign
  // with the ring's new one.
  Result<void> keepUntil(const jose::Key& key, std::int64_t expires);
  // No token that podpass signed until now is valid after this. nullopt: a key signs or verifies that others used, too, or the keys cannot
  // be read, and nobody knows.
  [[nodiscard]] std::optional<WallTime> tokensUntil() const;
  // Does the next step of the rotation, if one is due, and says which. `start` does this by itself.
  Result<RotationStep> advance();
  // Seals every key under the current key-encryption key: how many it was.
  Result<std::size_t> rewrap();

 private:
  struct Kept;  // a SigningKey object, read
  struct Shared;
  Result<std::vector<Kept>> read() const;
  Result<void> reload();
  Result<void> adoptAgain(const Kept& kept, const crypto::KeyPair& pair);
  Result<void> apply(const RotationStep& step, const std::vector<Kept>& keys);
  Result<void> create(const std::string& name, const std::string& algorithm);
  Result<void> generate(const Kept& key);
  Result<void> moveLegacyTokens(Kept key);
  Result<void> drop(Kept key);
  Result<void> write(Kept key);
  Result<void> promise(const jose::Key& key, std::int64_t expires);
  Result<void> unseal(const std::string& uid);
  Result<void> unsealLeftovers();
  Result<Secret> sealedText(const std::string& uid) const;
  Result<crypto::KeyPair> sealedKey(const std::string& uid, bool signs) const;
  Result<crypto::KeyPair> keyInToken(std::string_view text, bool signs) const;
  Result<crypto::KeyPair> makePair(const Kept& key, const std::vector<Kept>& all) const;
  Result<void> destroyInToken(const std::string& uid) const;
  void explain(const Kept& key, const Error& why);
  Result<std::string> seal(const std::string& uid, const crypto::KeyPair& pair, std::optional<std::uint64_t> expected = 0,
                           bool made = false);
  Result<KeyPtr> keyOf(const Kept& key);
  void run();
  [[nodiscard]] RotationPolicy policy() const;

  Store& store_;
  KeyEncryption& encryption_;
  const Clock& clock_;
  const Settings settings_;
  std::mutex steps_;                      // one step or reload at a time
  std::optional<bool> signedBefore_;      // whether a key signed before the first was adopted; guarded by steps_
  std::map<std::string, KeyPtr> loaded_;  // by uid and whether it is private; guarded by steps_
  Snapshot<KeyRing> ring_;
  std::mutex promises_;
  std::map<std::string, std::int64_t, std::less<>> promised_;  // kid → seconds; guarded by promises_
  std::shared_ptr<Shared> shared_;                             // with callbacks that may come after the end
  std::unique_ptr<Subscription> subscription_;
  std::thread thread_;
};

}  // namespace podpass::token
