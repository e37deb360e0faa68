#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/secret.h"

// Symmetric cryptography: what only the holder of a key can read or make. Thread-safe.
namespace podpass::crypto {

constexpr std::size_t kAeadKey = 32;  // bytes

// AES-256-GCM (NIST SP 800-38D) with a random nonce: nonce ‖ ciphertext ‖ tag. `place` is not in the result, but must be the same to
// decrypt it.
std::string encrypted(std::string_view key, std::string_view plain, std::string_view place);
// nullopt: it was not encrypted with this key for this place, or was changed since.
std::optional<Secret> decrypted(std::string_view key, std::string_view sealed, std::string_view place);

std::string hmacSha256(std::string_view key, std::string_view message);  // 32 raw bytes (RFC 2104)

}  // namespace podpass::crypto
