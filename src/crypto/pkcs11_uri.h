#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace podpass::crypto {

// What a PKCS#11 URI (RFC 7512) says of a module, a token in it and an object in that:
// `pkcs11:token=T;object=O?module-path=M&pin-source=P`. Texts are decoded; one that is empty was not given, and anything fits.
struct Pkcs11Uri {
  std::string token = {}, serial = {}, manufacturer = {}, model = {};  // of the token
  std::optional<unsigned long> slot = {};
  std::string object = {}, id = {};  // CKA_LABEL; CKA_ID, raw bytes
  std::string type = {};             // "private", "secret-key", …
  std::string modulePath = {};       // absolute
  std::string pinSource = {};        // a file with the user's PIN, and nothing else but a newline

  [[nodiscard]] bool namesObject() const { return !object.empty() || !id.empty(); }
};

// BadRequest: no such URI, an attribute that is not known or twice, a PIN in the URI itself (whoever lists processes would read it).
Result<Pkcs11Uri> parsePkcs11Uri(std::string_view text);
bool isPkcs11Uri(std::string_view text);

// The path attributes alone, percent-encoded, for people and status fields: never where a PIN lies.
std::string pkcs11Path(const Pkcs11Uri& uri);

}  // namespace podpass::crypto
