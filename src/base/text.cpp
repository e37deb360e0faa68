#include "base/text.h"

#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/sha.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <span>

namespace podpass {
namespace {

constexpr std::string_view kStandard = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr std::string_view kUrlSafe = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
constexpr std::string_view kNameAlphabet = "bcdfghjklmnpqrstvwxz2456789";

constexpr std::array<std::int8_t, 256> reversed(std::string_view alphabet) {
  std::array<std::int8_t, 256> table{};
  table.fill(-1);
  for (std::size_t i = 0; i < alphabet.size(); ++i) table[static_cast<unsigned char>(alphabet[i])] = static_cast<std::int8_t>(i);
  return table;
}
constexpr auto kStandardValues = reversed(kStandard);
constexpr auto kUrlSafeValues = reversed(kUrlSafe);

std::string encode(std::string_view bytes, std::string_view alphabet) {
  std::string text((bytes.size() * 4 + 2) / 3, '\0');
  const auto byteAt = [bytes](std::size_t at) { return std::uint32_t{static_cast<unsigned char>(bytes[at])}; };
  char* out = text.data();
  std::size_t at = 0;
  for (; at + 3 <= bytes.size(); at += 3) {
    const std::uint32_t bits = byteAt(at) << 16 | byteAt(at + 1) << 8 | byteAt(at + 2);
    for (int shift = 18; shift >= 0; shift -= 6) *out++ = alphabet[bits >> shift & 63];
  }
  const std::size_t left = bytes.size() - at;
  if (left == 0) return text;
  const std::uint32_t bits = byteAt(at) << 16 | (left > 1 ? byteAt(at + 1) << 8 : 0);
  for (int shift = 18; out != text.data() + text.size(); shift -= 6) *out++ = alphabet[bits >> shift & 63];
  return text;
}

Result<std::string> decode(std::string_view text, const std::array<std::int8_t, 256>& values) {
  if (text.size() % 4 == 1) return Error{Reason::BadRequest, "base64 text has an impossible length"};
  std::string bytes(text.size() * 3 / 4, '\0');
  const auto valueAt = [text, &values](std::size_t at) { return int{values[static_cast<unsigned char>(text[at])]}; };
  char* out = bytes.data();
  std::size_t at = 0;
  for (; at + 4 <= text.size(); at += 4) {
    const int a = valueAt(at), b = valueAt(at + 1), c = valueAt(at + 2), d = valueAt(at + 3);
    if ((a | b | c | d) < 0) break;  // it is named below
    const auto four = static_cast<std::uint32_t>(a << 18 | b << 12 | c << 6 | d);
    for (int shift = 16; shift >= 0; shift -= 8) *out++ = static_cast<char>(four >> shift & 255);
  }
  std::uint32_t bits = 0;
  int count = 0;
  for (; at < text.size(); ++at) {
    const int value = valueAt(at);
    if (value < 0) return Error{Reason::BadRequest, "illegal base64 data at input byte " + std::to_string(at)};
    bits = bits << 6 | static_cast<std::uint32_t>(value);
    if ((count += 6) >= 8) *out++ = static_cast<char>(bits >> (count -= 8) & 255);
  }
  // RFC 4648 §3.5: set surplus bits would give one value several spellings
  if ((bits & ((1u << count) - 1)) != 0) return Error{Reason::BadRequest, "base64 text has surplus bits at its end"};
  return bytes;
}

std::string formatted(WallTime time, bool micro) {
  const auto sinceEpoch = std::chrono::floor<std::chrono::microseconds>(time.time_since_epoch());
  const auto seconds = std::chrono::floor<std::chrono::seconds>(sinceEpoch);
  const std::time_t clock = static_cast<std::time_t>(seconds.count());
  std::tm parts{};
  gmtime_r(&clock, &parts);
  char text[48];
  std::size_t length = std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &parts);
  if (micro)
    length += static_cast<std::size_t>(
        std::snprintf(text + length, sizeof text - length, ".%06d", static_cast<int>((sinceEpoch - seconds).count())));
  return std::string(text, length) + "Z";
}

// Reads exactly `width` digits at `position`; -1 when they are not digits.
int digits(std::string_view text, std::size_t position, std::size_t width) {
  if (position + width > text.size()) return -1;
  int value = 0;
  for (std::size_t i = position; i < position + width; ++i) {
    if (text[i] < '0' || text[i] > '9') return -1;
    value = value * 10 + (text[i] - '0');
  }
  return value;
}

// For what need not be secret: OpenSSL makes a system call each time that it is asked, so it is asked for many at once.
void fillFromPool(std::span<unsigned char> out) {
  thread_local std::array<unsigned char, 1024> pool;
  thread_local std::size_t used = pool.size();
  if (out.size() > pool.size() - used) {
    if (RAND_bytes(pool.data(), static_cast<int>(pool.size())) != 1) std::abort();
    used = 0;
  }
  std::copy_n(pool.begin() + static_cast<std::ptrdiff_t>(used), out.size(), out.begin());
  used += out.size();
}

}  // namespace

std::string base64Encode(std::string_view bytes) {
  std::string text = encode(bytes, kStandard);
  text.append((4 - text.size() % 4) % 4, '=');
  return text;
}

Result<std::string> base64Decode(std::string_view text) {
  if (text.size() % 4 != 0) return Error{Reason::BadRequest, "illegal base64 data at input byte " + std::to_string(text.size() / 4 * 4)};
  for (int pad = 0; pad < 2 && text.ends_with('='); ++pad) text.remove_suffix(1);
  return decode(text, kStandardValues);
}

std::string base64UrlEncode(std::string_view bytes) { return encode(bytes, kUrlSafe); }
Result<std::string> base64UrlDecode(std::string_view text) { return decode(text, kUrlSafeValues); }

std::string rfc3339(WallTime time) { return formatted(time, false); }
std::string rfc3339Micro(WallTime time) { return formatted(time, true); }

Result<WallTime> parseRfc3339(std::string_view text) {
  const Error bad{Reason::BadRequest, "not an RFC 3339 time: " + quoted(text.substr(0, 64))};
  const int year = digits(text, 0, 4), month = digits(text, 5, 2), day = digits(text, 8, 2);
  const int hour = digits(text, 11, 2), minute = digits(text, 14, 2), second = digits(text, 17, 2);
  if (text.size() < 20 || text[4] != '-' || text[7] != '-' || (text[10] != 'T' && text[10] != 't') || text[13] != ':' || text[16] != ':')
    return bad;
  const std::chrono::year_month_day date{std::chrono::year(year), std::chrono::month(static_cast<unsigned>(month)),
                                         std::chrono::day(static_cast<unsigned>(day))};
  // a clock that counts nanoseconds in 64 bits begins in 1677 and ends in 2262
  if (year < 1678 || year > 2261 || month < 1 || day < 1 || !date.ok() || hour < 0 || hour > 23 || minute < 0 || minute > 59 ||
      second < 0 || second > 60)
    return bad;
  std::size_t at = 19;
  std::int64_t nanos = 0;
  if (text[at] == '.') {
    std::int64_t scale = 100'000'000;
    const std::size_t first = ++at;
    for (; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at, scale /= 10) nanos += (text[at] - '0') * scale;
    if (at == first) return bad;
  }
  std::chrono::minutes offset{0};
  if (at < text.size() && (text[at] == 'Z' || text[at] == 'z')) {
    ++at;
  } else {
    const int offsetHours = digits(text, at + 1, 2), offsetMinutes = digits(text, at + 4, 2);
    if (at + 6 > text.size() || (text[at] != '+' && text[at] != '-') || text[at + 3] != ':' || offsetHours < 0 || offsetMinutes < 0)
      return bad;
    offset = std::chrono::minutes(offsetHours * 60 + offsetMinutes) * (text[at] == '-' ? -1 : 1);
    at += 6;
  }
  if (at != text.size()) return bad;
  return WallTime(std::chrono::sys_days(date)) + std::chrono::hours(hour) + std::chrono::minutes(minute) + std::chrono::seconds(second) +
         std::chrono::duration_cast<WallTime::duration>(std::chrono::nanoseconds(nanos)) - offset;
}

std::string randomBytes(std::size_t count) {
  std::string bytes(count, '\0');
  // no randomness, no identity: there is nothing sane to go on with
  if (RAND_bytes(reinterpret_cast<unsigned char*>(bytes.data()), static_cast<int>(count)) != 1) std::abort();
  return bytes;
}

std::string randomUuid() {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::array<unsigned char, 16> bytes;
  fillFromPool(bytes);
  bytes[6] = static_cast<unsigned char>((bytes[6] & 0x0f) | 0x40);
  bytes[8] = static_cast<unsigned char>((bytes[8] & 0x3f) | 0x80);
  std::string text(36, '-');
  std::size_t at = 0;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) ++at;
    text[at++] = kDigits[bytes[i] >> 4];
    text[at++] = kDigits[bytes[i] & 15];
  }
  return text;
}

std::string randomSuffix(std::size_t length) {
  std::string suffix;
  while (suffix.size() < length) {
    for (char c : randomBytes(length * 2)) {
      const auto value = static_cast<unsigned char>(c);
      // 243 = 9 × 27: the rest of the byte's range would favour the first letters
      if (value < 243 && suffix.size() < length) suffix += kNameAlphabet[value % kNameAlphabet.size()];
    }
  }
  return suffix;
}

std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\t') {
      out += "\\t";
    } else if (c == '\r') {
      out += "\\r";
    } else if (byte < 0x20 || byte == 0x7f) {
      char hex[8];
      std::snprintf(hex, sizeof hex, "\\x%02x", byte);
      out += hex;
    } else {
      out += c;
    }
  }
  return out + "\"";
}

std::string hexLower(std::string_view bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string hex;
  hex.reserve(bytes.size() * 2);
  for (char c : bytes) {
    hex += kDigits[static_cast<unsigned char>(c) >> 4];
    hex += kDigits[static_cast<unsigned char>(c) & 15];
  }
  return hex;
}

std::string sha256(std::string_view bytes) {
  static const EVP_MD* const hash = EVP_MD_fetch(nullptr, "SHA256", nullptr);  // once: SHA256() looks it up by name each time
  std::string digest(SHA256_DIGEST_LENGTH, '\0');
  EVP_Digest(bytes.data(), bytes.size(), reinterpret_cast<unsigned char*>(digest.data()), nullptr, hash, nullptr);
  return digest;
}

std::string humanDuration(std::chrono::seconds duration) {
  const std::int64_t s = duration.count();
  if (s < -1) return "<invalid>";
  if (s < 0) return "0s";
  const std::int64_t minutes = s / 60, hours = s / 3600, days = s / 86400;
  const auto pair = [](std::int64_t big, const char* bigUnit, std::int64_t small, const char* smallUnit) {
    return std::to_string(big) + bigUnit + (small == 0 ? "" : std::to_string(small) + smallUnit);
  };
  if (s < 120) return std::to_string(s) + "s";
  if (minutes < 10) return pair(minutes, "m", s % 60, "s");
  if (minutes < 180) return std::to_string(minutes) + "m";
  if (hours < 8) return pair(hours, "h", minutes % 60, "m");
  if (hours < 48) return std::to_string(hours) + "h";
  if (days < 8) return pair(days, "d", hours % 24, "h");
  if (days < 365 * 2) return std::to_string(days) + "d";
  if (days < 365 * 8) return pair(days / 365, "y", days % 365, "d");
  return std::to_string(days / 365) + "y";
}

}  // namespace podpass
