#include "irsa/trust_policy_verdict.h"

#include <algorithm>

#include "base/text.h"
#include "irsa/trust_policy_condition.h"

namespace podpass::irsa {
namespace {

using api::Comparison;
using api::PrincipalType;

std::string listed(const std::vector<std::string>& texts) {
  std::string result;
  for (const std::string& each : texts) result += (result.empty() ? "" : " or ") + quoted(each);
  return result.empty() ? "nothing" : result;
}

std::string shown(const api::PolicyPrincipal& principal) {
  switch (principal.type) {
    case PrincipalType::Everyone:
      return "*";
    case PrincipalType::Federated:
      return "Federated " + principal.value;
    case PrincipalType::Aws:
      return "AWS " + principal.value;
    case PrincipalType::Service:
      return "Service " + principal.value;
    case PrincipalType::CanonicalUser:
      return "CanonicalUser " + principal.value;
  }
  return principal.value;
}

// "*" means every AWS principal: it lets no federated caller in, but it does keep everybody out.
bool isCaller(const api::PolicyPrincipal& principal, const TrustRequest& request, bool allows) {
  if (principal.type == PrincipalType::Everyone) return !allows || request.callerType == PrincipalType::Aws;
  return principal.type == request.callerType &&
         std::find(request.callerNames.begin(), request.callerNames.end(), principal.value) != request.callerNames.end();
}

// ---- what was probably meant (the failure catalogue, spec irsa.md §4)

std::string prefixOf(std::string_view key) {
  const std::size_t colon = key.rfind(':');
  return colon == std::string_view::npos ? "" : std::string(key.substr(0, colon));
}

std::string suffixOf(std::string_view key) {
  const std::size_t colon = key.rfind(':');
  return colon == std::string_view::npos ? std::string(key) : std::string(key.substr(colon + 1));
}

std::string noteOn(const api::PolicyCondition& condition, const TrustRequest& request) {
  const bool literal =
      condition.test.comparison == Comparison::StringEquals || condition.test.comparison == Comparison::StringEqualsIgnoreCase;
  const auto wild = [](const std::string& value) { return value.find_first_of("*?") != std::string::npos; };
  if (literal && !condition.test.negated && std::any_of(condition.values.begin(), condition.values.end(), wild))
    return condition.test.text + " takes * and ? literally: write StringLike";
  if (request.keys.find(condition.key) != request.keys.end()) return {};
  for (const auto& [key, values] : request.keys)
    if (!prefixOf(condition.key).empty() && suffixOf(key) == suffixOf(condition.key))
      return "the condition names " + prefixOf(condition.key) + ", this token comes from " + prefixOf(key) + ": write " + key;
  return "the request has no key " + condition.key;
}

// ---- one statement

StatementVerdict judgeStatement(const api::PolicyStatement& statement, const std::string& action, const TrustRequest& request,
                                bool variables) {
  StatementVerdict verdict;
  verdict.sid = statement.sid;
  verdict.allows = statement.allows;
  verdict.expectedActions = statement.actions;
  const auto covers = [&](const std::string& pattern) { return api::matchesAction(pattern, action); };
  verdict.actionMatches = std::any_of(statement.actions.begin(), statement.actions.end(), covers) != statement.exceptActions;
  for (const api::PolicyPrincipal& each : statement.principals) verdict.expectedPrincipals.push_back(shown(each));
  const auto names = [&](const api::PolicyPrincipal& each) { return isCaller(each, request, statement.allows); };
  verdict.principalMatches = std::any_of(statement.principals.begin(), statement.principals.end(), names) != statement.exceptPrincipals;
  verdict.matches = verdict.actionMatches && verdict.principalMatches;
  for (const api::PolicyCondition& condition : statement.conditions) {
    ConditionVerdict each{.test = condition.test.text, .key = condition.key, .expected = condition.values};
    if (const auto key = request.keys.find(condition.key); key != request.keys.end() && !key->second.empty()) {
      each.present = true;
      each.found = key->second;
    }
    each.holds = holds(condition, request.keys, variables);
    if (!each.holds && statement.allows) each.note = noteOn(condition, request);
    verdict.matches = verdict.matches && each.holds;
    verdict.conditions.push_back(std::move(each));
  }
  return verdict;
}

// ---- the sentence

std::string nameOf(const StatementVerdict& statement) {
  return "statement " + std::to_string(statement.index) + (statement.sid.empty() ? "" : " (" + statement.sid + ")");
}

std::size_t failures(const StatementVerdict& statement) {
  const auto failed =
      std::count_if(statement.conditions.begin(), statement.conditions.end(), [](const ConditionVerdict& each) { return !each.holds; });
  return static_cast<std::size_t>(failed) + (statement.actionMatches ? 0u : 1u) + (statement.principalMatches ? 0u : 1u);
}

// What keeps an Allow statement from matching, and the mend.
void explain(const StatementVerdict& statement, TrustVerdict& verdict) {
  if (!statement.actionMatches) {
    verdict.reason = nameOf(statement) + " allows the action " + listed(statement.expectedActions) + ", asked is " + quoted(verdict.action);
    verdict.fix = "add " + verdict.action + " to the statement's Action";
    return;
  }
  if (!statement.principalMatches) {
    verdict.reason = nameOf(statement) + " trusts the principal " + listed(statement.expectedPrincipals) + ", the caller is " +
                     quoted(verdict.callerNames.front());
    verdict.fix = "set the statement's Principal to the caller: " + verdict.callerNames.front();
    return;
  }
  for (const ConditionVerdict& each : statement.conditions) {
    if (each.holds) continue;
    verdict.reason = nameOf(statement) + ": the condition " + each.test + " on " + each.key + " expected " + listed(each.expected) +
                     ", found " + (each.present ? listed(each.found) : "no such key");
    verdict.fix = each.note;
    if (verdict.fix.empty() && each.test == "StringEquals" && each.found.size() == 1)
      verdict.fix = "if it may have the role, add " + quoted(each.found.front()) + " to " + each.test + " on " + each.key +
                    " in the role's trust policy; if not, come with a token that says " + listed(each.expected);
    return;
  }
}

void judgeAction(const api::TrustPolicy& policy, const std::string& action, const TrustRequest& request, TrustVerdict& verdict) {
  verdict.action = action;
  verdict.allowed = false;
  verdict.statements.clear();
  verdict.nearest.reset();
  for (std::size_t i = 0; i < policy.statements.size(); ++i) {
    verdict.statements.push_back(judgeStatement(policy.statements[i], action, request, policy.variables));
    verdict.statements.back().index = i;
  }
  const StatementVerdict *allow = nullptr, *nearest = nullptr;
  for (const StatementVerdict& each : verdict.statements) {
    if (!each.allows && each.matches) {
      verdict.reason = nameOf(each) + " denies " + action + " to this caller";
      return;
    }
    if (each.allows && each.matches && allow == nullptr) allow = &each;
    if (each.allows && (nearest == nullptr || failures(each) < failures(*nearest))) nearest = &each;
  }
  verdict.allowed = allow != nullptr;
  if (allow != nullptr) {
    verdict.reason = nameOf(*allow) + " allows it";
  } else if (nearest == nullptr) {
    verdict.reason = "no statement of the trust policy allows anything";
  } else {
    verdict.nearest = nearest->index;
    explain(*nearest, verdict);
  }
}

json::array texts(const std::vector<std::string>& all) {
  json::array list;
  for (const std::string& each : all) list.emplace_back(each);
  return list;
}

}  // namespace

TrustVerdict judge(const api::TrustPolicy& policy, const TrustRequest& request) {
  TrustVerdict verdict;
  verdict.callerNames = request.callerNames;
  for (auto action = request.actions.rbegin(); action != request.actions.rend();
       ++action) {  // so that the first one stays when all are allowed
    judgeAction(policy, *action, request, verdict);
    if (!verdict.allowed) break;
  }
  return verdict;
}

json::object toJson(const TrustVerdict& verdict) {
  json::array statements;
  for (const StatementVerdict& each : verdict.statements) {
    json::array conditions;
    for (const ConditionVerdict& condition : each.conditions) {
      json::object one{{"operator", condition.test}, {"key", condition.key}, {"expected", texts(condition.expected)}};
      if (condition.present)
        one["found"] = texts(condition.found);
      else
        one["found"] = nullptr;
      one["holds"] = condition.holds;
      if (!condition.note.empty()) one["note"] = condition.note;
      conditions.push_back(std::move(one));
    }
    json::object statement{{"index", each.index}, {"effect", each.allows ? "Allow" : "Deny"}, {"matches", each.matches}};
    if (!each.sid.empty()) statement["sid"] = each.sid;
    statement["action"] = json::object{{"expected", texts(each.expectedActions)}, {"found", verdict.action}, {"holds", each.actionMatches}};
    statement["principal"] =
        json::object{{"expected", texts(each.expectedPrincipals)}, {"found", texts(verdict.callerNames)}, {"holds", each.principalMatches}};
    statement["conditions"] = std::move(conditions);
    statements.push_back(std::move(statement));
  }
  json::object result{{"allowed", verdict.allowed}, {"action", verdict.action}, {"reason", verdict.reason}};
  if (!verdict.fix.empty()) result["fix"] = verdict.fix;
  result["statements"] = std::move(statements);
  return result;
}

}  // namespace podpass::irsa
