#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/secret.h"

struct evp_pkey_st;

// OpenSSL behind RAII. Its types stay out of every other header. All CPU-bound calls are thread-safe on one KeyPair.
namespace podpass::crypto {

enum class KeyType { Rsa2048, Rsa3072, Rsa4096, P256, P384, P521, Ed25519 };

// What operators call them: "RS256" (2048 bits), "RS256-3072", "RS256-4096", "ES256", "ES384", "ES512", "EdDSA".
std::string_view nameOf(KeyType type);
Result<KeyType> keyTypeNamed(std::string_view name);
const std::vector<std::string_view>& keyTypeNames();

class KeyPair;
// Every key in a file of the operator's: PKCS#1, SEC 1 and PKCS#8 private keys, SubjectPublicKeyInfo and PKCS#1 public keys and
// certificates; other blocks (EC PARAMETERS) are skipped. Private keys come with their private half. BadRequest: no usable key, or one that
// needs a pass phrase or another format; the fix is the command that converts it.
Result<std::vector<KeyPair>> readPemKeys(std::string_view text);

class KeyPair {
 public:
  KeyPair() = default;  // holds no key, and must get one before it is used
  static Result<KeyPair> generate(KeyType type);
  static Result<KeyPair> fromPrivatePem(std::string_view pem);  // PKCS#1, SEC1, PKCS#8
  static Result<KeyPair> fromPublicPem(std::string_view pem);   // SPKI, PKCS#1 RSA, or a certificate
  static Result<KeyPair> fromPublicDer(std::string_view spki);
  static Result<KeyPair> fromRsaComponents(std::string_view n, std::string_view e);                    // big-endian
  static Result<KeyPair> fromEcPoint(std::string_view curve, std::string_view x, std::string_view y);  // "P-256", …
  static Result<KeyPair> fromEd25519(std::string_view x);
  // Makes the signature of a digest (of the key's own hash) in the form that sign() gives. Thread-safe.
  using SignDigest = std::function<Result<std::string>(std::string_view digest)>;
  // An RSA or EC key whose private half is in other hands: `heldBy` says whose, for people.
  static KeyPair heldElsewhere(const KeyPair& publicHalf, std::string heldBy, SignDigest sign);

  [[nodiscard]] bool hasPrivate() const;            // it can sign, here or elsewhere
  [[nodiscard]] const std::string& heldBy() const;  // "" when the private half is here, or nowhere
  [[nodiscard]] std::string algorithm() const;      // JOSE: RS256, ES256, ES384, ES512, EdDSA; "" for others
  [[nodiscard]] int bits() const;
  [[nodiscard]] std::optional<KeyType> type() const;  // nullopt: a size that podpass verifies with, but does not make (RSA 8192)
  [[nodiscard]] std::string publicDer() const;        // SubjectPublicKeyInfo
  [[nodiscard]] std::string publicPem() const;
  [[nodiscard]] Secret privatePem() const;  // PKCS#8; empty when it is held elsewhere

  // JOSE signature forms: RSA PKCS#1 v1.5 with SHA-256; ECDSA as fixed-width r‖s with the curve's hash; Ed25519 as is. What was signed
  // elsewhere has been verified. Unavailable: who holds the key does not answer.
  [[nodiscard]] Result<std::string> sign(std::string_view message) const;
  [[nodiscard]] bool verify(std::string_view message, std::string_view signature) const;
  // RSA PKCS#1 v1.5 with SHA-384 or SHA-512 (`bits`), as issuers elsewhere may sign; false for keys that are not RSA.
  [[nodiscard]] bool verifyRsa(std::string_view message, std::string_view signature, int bits) const;

  // Components for a JWK, raw big-endian.
  [[nodiscard]] Result<std::pair<std::string, std::string>> rsaComponents() const;  // n, e (minimal)
  [[nodiscard]] Result<std::pair<std::string, std::string>> ecPoint() const;        // x, y (curve width)
  [[nodiscard]] std::string curve() const;                                          // "P-256", … or ""
  [[nodiscard]] evp_pkey_st* native() const { return key_.get(); }

 private:
  friend Result<std::vector<KeyPair>> readPemKeys(std::string_view text);
  class Contexts;
  struct Elsewhere;
  explicit KeyPair(std::shared_ptr<evp_pkey_st> key);
  std::shared_ptr<evp_pkey_st> key_;
  std::shared_ptr<Contexts> contexts_;  // ready for the next signature
  std::shared_ptr<const Elsewhere> elsewhere_;
};

}  // namespace podpass::crypto
