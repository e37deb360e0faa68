#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/secret.h"
#include "crypto/key.h"
#include "crypto/pkcs11_uri.h"

// Keys that a PKCS#11 token holds (an HSM, a smart card, SoftHSM): they are used there, and never leave it.
namespace podpass::crypto {

class Pkcs11Sessions;

// An object of a token; what is empty may be anything.
struct Pkcs11Object {
  std::string label = {};
  std::string id = {};  // raw bytes
};

// One token, logged in. It may go away and come back: what is asked meanwhile is Unavailable. Thread-safe; as many operations run at once
// as the token has sessions, each for as long as the module takes (a network HSM's own time limits count).
class Pkcs11Token {
 public:
  // Unavailable: the token is not there. Forbidden: its PIN is wrong or locked. NotFound, BadRequest: the module, the PIN's file or the
  // URI.
  static Result<std::shared_ptr<Pkcs11Token>> open(const Pkcs11Uri& uri);
  [[nodiscard]] const Pkcs11Uri& uri() const;

  // The RSA or EC key pair of that name; its private half signs in the token, and has just shown that it fits the public one. `publicDer`
  // not empty: the one of several that has this public half. NotFound: there is none. BadRequest: several; no public half beside the
  // private one; a type that podpass does not sign with.
  Result<KeyPair> keyPair(const Pkcs11Object& name, std::string_view publicDer = {});
  // A new one, made in the token: sensitive, and not to be extracted. BadRequest: not RSA or EC.
  Result<KeyPair> generate(KeyType type, const Pkcs11Object& name);
  // Destroys the key pair with this label and this id, both of which are needed; none is no failure.
  Result<void> destroy(const Pkcs11Object& name);

  // What only the holder of the token's AES key (the URI's object) can read: nonce ‖ ciphertext ‖ tag of AES-GCM, bound to `place`.
  // NotFound: the token has no such key.
  Result<std::string> wrap(const Secret& plain, std::string_view place);
  // BadRequest: it was wrapped with another key or for another place, or was damaged.
  Result<Secret> unwrap(std::string_view wrapped, std::string_view place);

 private:
  explicit Pkcs11Token(std::shared_ptr<Pkcs11Sessions> sessions) : sessions_(std::move(sessions)) {}
  Result<std::string> gcm(bool seals, std::string nonce, std::string_view text, std::string_view place);
  std::shared_ptr<Pkcs11Sessions> sessions_;
};

}  // namespace podpass::crypto
