#include "api/quantity.h"

#include <cmath>
#include <optional>

namespace podpass::api {
namespace {

// The factor of a suffix: "Gi", "k", "e3", …; nothing when there is no such suffix.
std::optional<long double> factorOf(std::string_view suffix) {
  constexpr std::string_view kBinary[] = {"Ki", "Mi", "Gi", "Ti", "Pi", "Ei"};
  constexpr std::string_view kDecimal[] = {"n", "u", "m", "", "k", "M", "G", "T", "P", "E"};
  for (std::size_t i = 0; i < std::size(kBinary); ++i)
    if (suffix == kBinary[i]) return std::pow(1024.0L, static_cast<long double>(i + 1));
  for (std::size_t i = 0; i < std::size(kDecimal); ++i)
    if (suffix == kDecimal[i]) return std::pow(1000.0L, static_cast<long double>(i) - 3.0L);
  if (suffix.size() < 2 || suffix.size() > 4 || (suffix[0] != 'e' && suffix[0] != 'E')) return std::nullopt;
  suffix.remove_prefix(1);
  const bool negative = suffix[0] == '-';
  if (suffix[0] == '-' || suffix[0] == '+') suffix.remove_prefix(1);
  if (suffix.empty()) return std::nullopt;
  int exponent = 0;
  for (const char c : suffix) {
    if (c < '0' || c > '9') return std::nullopt;
    exponent = exponent * 10 + (c - '0');
  }
  return std::pow(10.0L, static_cast<long double>(negative ? -exponent : exponent));
}

std::optional<long double> parse(std::string_view text) {
  std::size_t end = !text.empty() && (text[0] == '+' || text[0] == '-') ? 1 : 0;
  long double value = 0, scale = 1;
  bool point = false, digits = false;
  for (; end < text.size() && end < 64; ++end) {
    const char c = text[end];
    if (c == '.' && !point) {
      point = true;
    } else if (c >= '0' && c <= '9') {
      digits = true;
      value = value * 10 + (c - '0');
      if (point) scale *= 10;
    } else {
      break;
    }
  }
  const std::optional<long double> factor = factorOf(text.substr(end));
  if (!digits || !factor) return std::nullopt;
  return (text[0] == '-' ? -1 : 1) * value / scale * *factor;
}

}  // namespace

std::string_view quantityProblem(std::string_view text) {
  return parse(text) ? std::string_view{} : "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
}

long double quantityValue(std::string_view text) { return parse(text).value_or(0); }

}  // namespace podpass::api
