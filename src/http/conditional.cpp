#include "http/conditional.h"

#include <algorithm>

#include "base/text.h"

namespace podpass::http {
namespace {

constexpr std::string_view kBetween = ", \t";  // empty elements are to be ignored (RFC 9110 §5.6.1.2)

// Takes one entity tag off the front of `list`, without what marks it as weak; "" when there is none, or it is malformed.
std::string_view nextTag(std::string_view& list) {
  list.remove_prefix(std::min(list.find_first_not_of(kBetween), list.size()));
  if (list.starts_with("W/")) list.remove_prefix(2);
  const std::size_t end = list.starts_with('"') ? list.find('"', 1) : std::string_view::npos;
  if (end == std::string_view::npos) return {};
  const std::string_view tag = list.substr(0, end + 1);
  list.remove_prefix(end + 1);
  const std::size_t next = list.find_first_not_of(" \t");
  return next == std::string_view::npos || list[next] == ',' ? tag : std::string_view();
}

}  // namespace

bool holdsCurrent(const Headers& headers, std::string_view tag) {
  for (std::string_view list : headers.findAll("If-None-Match")) {
    if (list == "*") return true;
    for (std::string_view each = nextTag(list); !each.empty(); each = nextTag(list))
      if (each == tag) return true;
  }
  return false;
}

std::string entityTag(std::string_view body) { return "\"" + hexLower(sha256(body)) + "\""; }

}  // namespace podpass::http
