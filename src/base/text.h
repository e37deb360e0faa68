#pragma once

#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/result.h"

// Small texts of the field: base64, RFC 3339 times, object names' random parts, UUIDs.
namespace podpass {

std::string base64Encode(std::string_view bytes);            // RFC 4648 §4, padded
Result<std::string> base64Decode(std::string_view text);     // strict: padding required, no surplus bits, no white space
std::string base64UrlEncode(std::string_view bytes);         // RFC 4648 §5, no padding
Result<std::string> base64UrlDecode(std::string_view text);  // strict: no padding, no surplus bits

std::string rfc3339(WallTime time);                    // "2006-01-02T15:04:05Z"
std::string rfc3339Micro(WallTime time);               // "2006-01-02T15:04:05.000000Z"
Result<WallTime> parseRfc3339(std::string_view text);  // fractions and offsets accepted

std::string randomUuid();  // UUIDv4, lower case
// `length` characters of "bcdfghjklmnpqrstvwxz2456789": Kubernetes' alphabet for generated names.
std::string randomSuffix(std::size_t length = 5);
std::string randomBytes(std::size_t count);  // from the operating system's generator

// Go's %q: quoted, with " and \ escaped and control characters as \n, \t, \x00.
std::string quoted(std::string_view text);
// Exact matches, or argument-dependent lookup would prefer std::quoted's templates.
inline std::string quoted(const std::string& text) { return quoted(std::string_view(text)); }
inline std::string quoted(std::string& text) { return quoted(std::string_view(text)); }
inline std::string quoted(const char* text) { return quoted(std::string_view(text)); }
std::string hexLower(std::string_view bytes);
std::string sha256(std::string_view bytes);  // 32 raw bytes

// "45s", "5m3s", "12m", "3h5m", "40d": Kubernetes' duration.HumanDuration. Negative: "<invalid>".
std::string humanDuration(std::chrono::seconds duration);

}  // namespace podpass
