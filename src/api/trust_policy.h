#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/document.h"
#include "base/result.h"

// AWS's role trust policies: the grammar (IAM User Guide, "Grammar of the IAM JSON policy language"), parsed once. Evaluation is
// irsa/trust_policy_verdict.h.
namespace podpass::api {

enum class Comparison {
  StringEquals,
  StringEqualsIgnoreCase,
  StringLike,
  ArnLike,  // ArnEquals is the same
  NumericEquals,
  NumericLessThan,
  NumericLessThanEquals,
  NumericGreaterThan,
  NumericGreaterThanEquals,
  DateEquals,
  DateLessThan,
  DateLessThanEquals,
  DateGreaterThan,
  DateGreaterThanEquals,
  Bool,
  BinaryEquals,
  IpAddress,
  Null,
};

enum class SetOperator { None, ForAllValues, ForAnyValue };

// "ForAnyValue:StringNotLikeIfExists" and its kin, as one type.
struct ConditionOperator {
  Comparison comparison = Comparison::StringEquals;
  SetOperator set = SetOperator::None;
  bool negated = false;
  bool ifExists = false;
  std::string text;  // as written
};

struct PolicyCondition {
  ConditionOperator test;
  std::string key;                  // as written; keys are compared without case
  std::vector<std::string> values;  // any of them; numbers and booleans as their JSON text
};

enum class PrincipalType { Everyone, Federated, Aws, Service, CanonicalUser };

struct PolicyPrincipal {
  PrincipalType type = PrincipalType::Everyone;
  std::string value;  // "*" for Everyone
};

struct PolicyStatement {
  std::string sid;
  bool allows = false;            // else it denies
  bool exceptPrincipals = false;  // NotPrincipal
  bool exceptActions = false;     // NotAction
  std::vector<PolicyPrincipal> principals;
  std::vector<std::string> actions;  // with * and ?, compared without case
  std::vector<PolicyCondition> conditions;
};

struct TrustPolicy {
  bool variables = false;  // Version 2012-10-17; before it "${…}" is plain text
  std::vector<PolicyStatement> statements;
};

// The document as an object, or as a string that holds its JSON text. What IAM would refuse with MalformedPolicyDocument is Invalid: the
// sentence is AWS's, followed by where: "Has prohibited field Resource (at /Statement/0/Resource, line 7)"; lines only for a string.
// causes[0].field is the JSON pointer alone.
Result<TrustPolicy> parseTrustPolicy(const json::value& document);

// A session policy, which narrows what a session may do: Statements with Resource and without Principal. Refused as above; nothing is kept,
// because podpass has no actions that it could allow.
Result<void> checkSessionPolicy(std::string_view text);

// A text with `*` (any run, even an empty one) and `?` (one character), as code points in which these two are no characters.
using Pattern = std::u32string;
constexpr char32_t kAnyRun = 0x110000, kAnyOne = 0x110001;
std::u32string codePoints(std::string_view utf8);
// Whole-text match; time is bounded by the product of the lengths.
bool matchesPattern(std::u32string_view pattern, std::u32string_view text);
Pattern wildcardPattern(std::string_view utf8);                         // `*` and `?` as wildcards
bool matchesAction(std::string_view pattern, std::string_view action);  // "sts:*", without case

}  // namespace podpass::api
