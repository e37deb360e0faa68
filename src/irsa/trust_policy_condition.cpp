#include "irsa/trust_policy_condition.h"

#include <algorithm>
#include <boost/asio/ip/address.hpp>
#include <charconv>
#include <optional>

#include "api/iam_names.h"
#include "base/text.h"

namespace podpass::irsa {
namespace {

using api::Comparison;
using api::lowered;
using api::Pattern;
using api::SetOperator;

// ---- variables

// "key, 'default'" or "key": its one value in this request. Several values cannot stand in one text.
std::optional<std::string> variable(std::string_view inside, const ConditionKeys& keys) {
  const auto trim = [](std::string_view text) {
    while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
    while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
    return text;
  };
  const std::size_t comma = inside.find(',');
  const auto found = keys.find(std::string(trim(inside.substr(0, comma))));
  if (found != keys.end() && found->second.size() == 1) return found->second.front();
  if (comma == std::string_view::npos) return std::nullopt;
  const std::string_view fallback = trim(inside.substr(comma + 1));
  if (fallback.size() < 2 || fallback.front() != '\'' || fallback.back() != '\'') return std::nullopt;
  return std::string(fallback.substr(1, fallback.size() - 2));
}

// A policy's value as a pattern. What a variable brings in is never a wildcard. nullopt: a variable has no value.
std::optional<Pattern> expand(std::string_view value, const ConditionKeys& keys, bool wildcards, bool variables) {
  const auto plain = [&](std::string_view text) { return wildcards ? api::wildcardPattern(text) : api::codePoints(text); };
  Pattern pattern;
  while (variables) {
    const std::size_t start = value.find("${"), end = start == std::string_view::npos ? start : value.find('}', start);
    if (end == std::string_view::npos) break;
    pattern += plain(value.substr(0, start));
    const std::string_view inside = value.substr(start + 2, end - start - 2);
    if (inside == "*" || inside == "?" || inside == "$") {
      pattern += static_cast<char32_t>(inside.front());
    } else {
      const std::optional<std::string> text = variable(inside, keys);
      if (!text) return std::nullopt;
      pattern += api::codePoints(*text);
    }
    value.remove_prefix(end + 1);
  }
  return pattern + plain(value);
}

// ---- one value against one value

std::vector<std::u32string_view> sixParts(std::u32string_view arn) {
  std::vector<std::u32string_view> parts;
  for (std::size_t colon; parts.size() < 5 && (colon = arn.find(U':')) != std::u32string_view::npos; arn.remove_prefix(colon + 1))
    parts.push_back(arn.substr(0, colon));
  parts.push_back(arn);
  return parts;
}

// A wildcard does not cross the first five colons.
bool arnLike(const Pattern& pattern, std::string_view value) {
  const std::u32string text = api::codePoints(value);
  const std::vector<std::u32string_view> expected = sixParts(pattern), found = sixParts(text);
  if (expected.size() != 6 || found.size() != 6) return false;
  for (std::size_t i = 0; i < 6; ++i)
    if (!api::matchesPattern(expected[i], found[i])) return false;
  return true;
}

std::optional<double> number(std::string_view text) {
  double value = 0;
  if (text.find_first_not_of("0123456789+-.eE") != std::string_view::npos) return std::nullopt;  // no "inf", no "nan"
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failed != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// ISO 8601 with or without a time of day, or seconds since the epoch.
std::optional<double> date(std::string_view text) {
  const bool epoch = !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
  if (epoch && text.size() > 4) return number(text);
  const Result<WallTime> time = parseRfc3339(text.size() == 10 ? std::string(text) + "T00:00:00Z" : std::string(text));
  if (!time) return std::nullopt;
  return std::chrono::duration<double>(time->time_since_epoch()).count();
}

bool ordered(Comparison comparison, double found, double expected) {
  switch (comparison) {
    case Comparison::NumericLessThan:
    case Comparison::DateLessThan:
      return found < expected;
    case Comparison::NumericLessThanEquals:
    case Comparison::DateLessThanEquals:
      return found <= expected;
    case Comparison::NumericGreaterThan:
    case Comparison::DateGreaterThan:
      return found > expected;
    case Comparison::NumericGreaterThanEquals:
    case Comparison::DateGreaterThanEquals:
      return found >= expected;
    default:
      return found == expected;
  }
}

bool inNetwork(std::string_view network, std::string_view text) {
  boost::system::error_code failed;
  const auto address = boost::asio::ip::make_address(std::string(text), failed);
  const std::size_t slash = network.find('/');
  const auto base = failed ? boost::asio::ip::address() : boost::asio::ip::make_address(std::string(network.substr(0, slash)), failed);
  if (failed || address.is_v4() != base.is_v4()) return false;
  const auto bitsOf = [](const boost::asio::ip::address& each) {
    std::vector<unsigned char> bytes;
    if (each.is_v4())
      for (const unsigned char byte : each.to_v4().to_bytes()) bytes.push_back(byte);
    else
      for (const unsigned char byte : each.to_v6().to_bytes()) bytes.push_back(byte);
    return bytes;
  };
  const std::vector<unsigned char> a = bitsOf(address), b = bitsOf(base);
  std::size_t length = a.size() * 8;
  if (slash != std::string_view::npos) {
    const std::string_view digits = network.substr(slash + 1);
    const auto [end, wrong] = std::from_chars(digits.data(), digits.data() + digits.size(), length);
    if (wrong != std::errc() || end != digits.data() + digits.size() || length > a.size() * 8) return false;
  }
  for (std::size_t bit = 0; bit < length; ++bit)
    if (((a[bit / 8] ^ b[bit / 8]) >> (7 - bit % 8)) & 1u) return false;
  return true;
}

bool isTrueOrFalse(std::string_view text) { return text == "true" || text == "false"; }

bool matches(Comparison comparison, std::string_view expected, std::string_view found, const ConditionKeys& keys, bool variables) {
  const auto pattern = [&](bool wildcards) { return expand(expected, keys, wildcards, variables); };
  switch (comparison) {
    case Comparison::StringEquals: {
      const std::optional<Pattern> text = pattern(false);
      return text && *text == api::codePoints(found);
    }
    case Comparison::StringEqualsIgnoreCase: {
      std::optional<Pattern> text = pattern(false);
      if (text)
        for (char32_t& point : *text) point = point >= U'A' && point <= U'Z' ? point + 32 : point;
      return text && *text == api::codePoints(lowered(found));
    }
    case Comparison::StringLike: {
      const std::optional<Pattern> text = pattern(true);
      return text && api::matchesPattern(*text, api::codePoints(found));
    }
    case Comparison::ArnLike: {
      const std::optional<Pattern> text = pattern(true);
      return text && arnLike(*text, found);
    }
    case Comparison::Bool:
      return lowered(expected) == lowered(found) && isTrueOrFalse(lowered(found));
    case Comparison::BinaryEquals: {
      const Result<std::string> a = base64Decode(expected), b = base64Decode(found);
      return a && b && *a == *b;
    }
    case Comparison::IpAddress:
      return inNetwork(expected, found);
    case Comparison::Null:
      return false;  // judged by presence alone, in holds()
    case Comparison::DateEquals:
    case Comparison::DateLessThan:
    case Comparison::DateLessThanEquals:
    case Comparison::DateGreaterThan:
    case Comparison::DateGreaterThanEquals: {
      const std::optional<double> a = date(expected), b = date(found);
      return a && b && ordered(comparison, *b, *a);
    }
    default: {
      const std::optional<double> a = number(expected), b = number(found);
      return a && b && ordered(comparison, *b, *a);
    }
  }
}

}  // namespace

bool holds(const api::PolicyCondition& condition, const ConditionKeys& keys, bool variables) {
  const api::ConditionOperator& test = condition.test;
  const auto key = keys.find(condition.key);
  const bool present = key != keys.end() && !key->second.empty();
  if (test.comparison == Comparison::Null) {
    const auto wanted = [&](const std::string& value) { return lowered(value) == (present ? "false" : "true"); };
    return std::any_of(condition.values.begin(), condition.values.end(), wanted);
  }
  if (!present) return test.ifExists || test.set == SetOperator::ForAllValues || (test.set == SetOperator::None && test.negated);
  // The values of one key are alternatives; of a negated operator none may match.
  const auto fits = [&](const std::string& found) {
    const auto same = [&](const std::string& expected) { return matches(test.comparison, expected, found, keys, variables); };
    return std::any_of(condition.values.begin(), condition.values.end(), same) != test.negated;
  };
  const std::vector<std::string>& found = key->second;
  const bool every = test.set == SetOperator::ForAllValues || (test.set == SetOperator::None && test.negated);
  return every ? std::all_of(found.begin(), found.end(), fits) : std::any_of(found.begin(), found.end(), fits);
}

}  // namespace podpass::irsa
