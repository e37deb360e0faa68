#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "api/iam_names.h"
#include "api/trust_policy.h"

// Whether a role's trust policy lets a caller assume the role, and the whole reckoning behind the answer: AWS tells the client one
// sentence for every cause (on purpose), the log and `podpass doctor` show this.
namespace podpass::irsa {

// Condition keys and their values in this request. A key that is not in the map, or has no values, is absent.
using ConditionKeys = std::map<std::string, std::vector<std::string>, api::CaselessLess>;

struct TrustRequest {
  std::vector<std::string> actions;  // "sts:AssumeRoleWithWebIdentity", …; every one must be allowed
  // Who asks, under every name that a policy may call it: a provider's ARN; or session ARN, role ARN, root ARN and account id.
  api::PrincipalType callerType = api::PrincipalType::Federated;
  std::vector<std::string> callerNames = {};
  ConditionKeys keys = {};
};

struct ConditionVerdict {
  std::string test = {}, key = {};         // as written in the policy
  std::vector<std::string> expected = {};  // the policy's values
  bool present = false;                    // the request has the key
  std::vector<std::string> found = {};
  bool holds = false;
  std::string note = {};  // what is probably meant, when it does not hold; often empty
};

struct StatementVerdict {
  std::size_t index = 0;
  std::string sid;
  bool allows = false;  // its Effect
  std::vector<std::string> expectedActions, expectedPrincipals;
  bool actionMatches = false, principalMatches = false;
  std::vector<ConditionVerdict> conditions;
  bool matches = false;  // action, principal and all conditions
};

struct TrustVerdict {
  bool allowed = false;
  std::string action;  // that these statements were judged for: the first that is not allowed, else the first
  std::vector<std::string> callerNames = {};
  std::vector<StatementVerdict> statements;
  std::optional<std::size_t> nearest =
      {};              // of the statements: the Allow that comes closest to matching; none when it is allowed or denied
  std::string reason;  // one sentence: which statement, which condition, expected, found
  std::string fix;     // empty when nothing better than the reason can be said
};

// Default deny; a matching Deny beats every Allow (spec irsa.md §3.3–3.5). Pure.
TrustVerdict judge(const api::TrustPolicy& policy, const TrustRequest& request);
json::object toJson(const TrustVerdict& verdict);

}  // namespace podpass::irsa
