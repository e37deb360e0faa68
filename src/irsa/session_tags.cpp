#include "irsa/session_tags.h"

#include <algorithm>
#include <boost/spirit/home/support/char_encoding/unicode.hpp>  // the categories of Unicode, header-only
#include <set>

#include "api/trust_policy.h"

namespace podpass::irsa {

bool isTagText(std::string_view utf8) {
  using Unicode = boost::spirit::char_encoding::unicode;
  const std::u32string points = api::codePoints(utf8);
  return std::all_of(points.begin(), points.end(), [](char32_t point) {
    return std::u32string_view(U"_.:/=+-@").find(point) != std::u32string_view::npos || Unicode::is_letter(point) ||
           Unicode::is_separator(point) || Unicode::is_number(point);
  });
}

std::size_t characters(std::string_view utf8) {
  const auto begins = [](char c) { return (static_cast<unsigned char>(c) & 0xc0u) != 0x80u; };
  return static_cast<std::size_t>(std::count_if(utf8.begin(), utf8.end(), begins));
}

std::optional<std::string> problemOf(const std::vector<SessionTag>& tags, const std::vector<std::string>& transitiveKeys) {
  std::set<std::string_view, api::CaselessLess> keys;
  for (const SessionTag& tag : tags)
    if (!keys.insert(tag.key).second) return "Duplicate tag keys found. Please note that Tag keys are case insensitive.";
  for (const std::string& key : transitiveKeys)
    if (!keys.contains(key)) return "The specified transitive tag key must be included in the requested tags.";
  return std::nullopt;
}

}  // namespace podpass::irsa
