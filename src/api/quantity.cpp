#include "api/quantity.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
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

constexpr std::string_view kDecimalSuffixes[] = {"n", "u", "m", "", "k", "M", "G", "T", "P", "E"};
constexpr std::string_view kBinarySuffixes[] = {"", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"};
__extension__ typedef __int128 Mantissa;  // with -Wpedantic

std::string decimalText(Mantissa mantissa) {
  std::string digits;
  for (; mantissa > 0; mantissa /= 10) digits.insert(digits.begin(), static_cast<char>('0' + static_cast<int>(mantissa % 10)));
  return digits;
}

// mantissa * 10^exponent with a multiple of three as exponent; nothing when no suffix fits.
std::optional<std::string> decimalForm(Mantissa mantissa, int exponent, bool scientific) {
  for (; exponent < -9; ++exponent) mantissa = mantissa / 10 + (mantissa % 10 != 0 ? 1 : 0);  // nothing is finer than nano: rounded up
  for (; mantissa % 10 == 0; ++exponent) mantissa /= 10;
  for (; exponent % 3 != 0; --exponent) mantissa *= 10;
  if (scientific) return decimalText(mantissa) + (exponent == 0 ? "" : "e" + std::to_string(exponent));
  if (exponent > 18) return std::nullopt;
  return decimalText(mantissa) + std::string(kDecimalSuffixes[exponent / 3 + 3]);
}

// mantissa * 10^exponent, where exponent is not positive, in powers of 1024 if that is exact.
std::optional<std::string> binaryForm(Mantissa mantissa, int exponent) {
  for (; exponent < 0 && mantissa % 10 == 0; ++exponent) mantissa /= 10;
  if (exponent < 0 || mantissa < 1024) return decimalForm(mantissa, exponent, false);
  std::size_t power = 0;
  for (; mantissa % 1024 == 0 && power + 1 < std::size(kBinarySuffixes); ++power) mantissa /= 1024;
  return decimalText(mantissa) + std::string(kBinarySuffixes[power]);
}

std::optional<std::string> canonical(std::string_view text) {
  if (!parse(text)) return std::nullopt;
  const bool negative = text[0] == '-';
  if (text[0] == '-' || text[0] == '+') text.remove_prefix(1);
  const std::size_t end = std::min(text.find_first_not_of("0123456789."), text.size());
  const std::string_view suffix = text.substr(end);
  Mantissa mantissa = 0;
  int exponent = 0, digits = 0;
  bool point = false;
  for (const char c : text.substr(0, end)) {
    if (c == '.') {
      point = true;
      continue;
    }
    mantissa = mantissa * 10 + (c - '0');
    if (mantissa > 0 && ++digits > 18) return std::nullopt;
    if (point) --exponent;
  }
  if (mantissa == 0) return "0";
  std::optional<std::string> form;
  for (std::size_t i = 1; i < std::size(kBinarySuffixes); ++i)
    if (suffix == kBinarySuffixes[i]) form = binaryForm(mantissa << (10 * i), exponent);
  for (int i = 0; i < static_cast<int>(std::size(kDecimalSuffixes)); ++i)
    if (suffix == kDecimalSuffixes[i]) form = decimalForm(mantissa, exponent + 3 * i - 9, false);
  if (!form && suffix.size() > 1 && (suffix[0] == 'e' || suffix[0] == 'E'))
    form = decimalForm(mantissa, exponent + std::atoi(std::string(suffix.substr(1)).c_str()), true);
  if (form && negative) form->insert(0, "-");
  return form;
}

}  // namespace

std::string_view quantityProblem(std::string_view text) {
  return parse(text) ? std::string_view{} : "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
}

long double quantityValue(std::string_view text) { return parse(text).value_or(0); }

std::string canonicalQuantity(std::string_view text) { return canonical(text).value_or(std::string(text)); }

}  // namespace podpass::api
