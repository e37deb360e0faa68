#include "irsa/trust_policy_condition.h"

#include <algorithm>
#include <optional>

#include "api/iam_names.h"
#include "api/policy_value.h"
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

bool isDate(Comparison comparison) { return comparison >= Comparison::DateEquals && comparison <= Comparison::DateGreaterThanEquals; }
bool isNumeric(Comparison comparison) {
  return comparison >= Comparison::NumericEquals && comparison <= Comparison::NumericGreaterThanEquals;
}

// A number, or a date as one.
std::optional<double> quantity(Comparison comparison, std::string_view text) {
  return isDate(comparison) ? api::policyDate(text) : api::policyNumber(text);
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
  const std::optional<api::PolicyNetwork> expected = api::policyNetwork(network), found = api::policyNetwork(text);
  return expected && found && expected->holds(*found);
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
    default: {
      const std::optional<double> a = quantity(comparison, expected), b = quantity(comparison, found);
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
  const bool measures = isDate(test.comparison) || isNumeric(test.comparison);
  const auto fits = [&](const std::string& found) {
    if (measures && !quantity(test.comparison, found)) return false;  // neither equal nor unequal to a number
    const auto same = [&](const std::string& expected) { return matches(test.comparison, expected, found, keys, variables); };
    return std::any_of(condition.values.begin(), condition.values.end(), same) != test.negated;
  };
  const std::vector<std::string>& found = key->second;
  const bool every = test.set == SetOperator::ForAllValues || (test.set == SetOperator::None && test.negated);
  return every ? std::all_of(found.begin(), found.end(), fits) : std::any_of(found.begin(), found.end(), fits);
}

}  // namespace podpass::irsa
