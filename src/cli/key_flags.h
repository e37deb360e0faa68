#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "cli/command.h"
#include "token/signing_keys.h"

namespace podpass::cli {

// The flags of `podpass up` that say which keys sign and verify, and what they are kept under.
struct KeyFlags {
  std::string algorithm = "RS256";
  std::vector<std::string> algorithmForAudience = {};  // AUDIENCE=ALGORITHM
  std::string rotation = "0", jwksMaxAge = "1h";
  std::string kekFile = {};    // empty: systemd's credential podpass-kek, or DIR/kek
  std::string kekPkcs11 = {};  // a PKCS#11 URI: the AES key that wraps the key-encryption key
  std::string signingKeyFile = {};
  std::string signingKeyPkcs11 = {};  // a PKCS#11 URI: the token that holds the signing keys, or a key in it
  std::string signingEndpoint = {};   // the socket of an external signer
  std::vector<std::string> keyFiles = {};
  std::vector<std::string> issuers = {};  // the first signs
  std::string jwksUri = {};

  void addTo(Command verb);
  void addKeysTo(Command verb);  // those about the keys themselves, without issuers
  // BadRequest: an algorithm that does not exist, a duration that is none, an issuer twice, a key file that cannot be read. With a PKCS#11
  // URI its token is opened: what that says comes through.
  [[nodiscard]] Result<token::SigningKeys::Settings> settings() const;
  [[nodiscard]] Result<std::unique_ptr<token::KeyEncryption>> openKeyEncryption(const std::filesystem::path& dataDirectory) const;
  // The keys of the flags' files, and of an older podpass that kept its keys in the clear: those files are removed once their keys are
  // kept.
  Result<void> open(token::SigningKeys& keys, const std::filesystem::path& dataDirectory) const;
  // Every accepted `iss`; `own` when no flag names one.
  [[nodiscard]] Result<std::vector<std::string>> acceptedIssuers(const std::string& own) const;
};

// The token of a flag's PKCS#11 URI; an error says which flag.
Result<std::shared_ptr<crypto::Pkcs11Token>> openPkcs11Token(const std::string& flag, const std::string& uri);

// "90s", "1h30m", "30d"; "0": none.
Result<std::chrono::seconds> parseDuration(std::string_view text);

}  // namespace podpass::cli
