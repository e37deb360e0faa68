#pragma once

#include <cstdint>
#include <string>

// Frames of HTTP/2 (RFC 9113 §4.1) for tests.
namespace podpass::http {

constexpr std::uint8_t kData = 0, kHeaders = 1, kReset = 3, kSettings = 4, kPing = 6, kGoaway = 7, kContinuation = 9;
constexpr std::uint8_t kEndStream = 1, kAck = 1, kEndHeaders = 4;

struct Frame {
  std::uint8_t type = 0, flags = 0;
  std::uint32_t stream = 0;
  std::string payload = {};
};

// Big-endian.
inline std::string number(std::uint32_t value, int bytes) {
  std::string text;
  for (int shift = 8 * (bytes - 1); shift >= 0; shift -= 8) text += static_cast<char>(value >> shift & 255);
  return text;
}

inline std::string bytesOf(const Frame& frame) {
  return number(static_cast<std::uint32_t>(frame.payload.size()), 3) + static_cast<char>(frame.type) + static_cast<char>(frame.flags) +
         number(frame.stream, 4) + frame.payload;
}

// A header in HPACK, as a literal of at most 126 bytes each.
inline std::string literal(const std::string& name, const std::string& value) {
  return std::string(1, '\0') + static_cast<char>(name.size()) + name + static_cast<char>(value.size()) + value;
}

}  // namespace podpass::http
