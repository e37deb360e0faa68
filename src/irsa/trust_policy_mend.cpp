#include "irsa/trust_policy_mend.h"

#include <algorithm>

#include "api/json_reader.h"

namespace podpass::irsa {
namespace {

using api::PrincipalType;

constexpr int kMostRounds = 16;  // each mends one thing

std::string_view suffixOf(std::string_view key) { return key.substr(key.rfind(':') + 1); }

// A member that is one text or a list of texts, with one more.
void addText(json::value& value, const std::string& text) {
  if (!value.is_array()) value = value.is_null() ? json::array{} : json::array{value};
  json::array& list = value.get_array();
  if (std::none_of(list.begin(), list.end(), [&](const json::value& each) { return each == json::value(text); })) list.emplace_back(text);
}

const char* memberOf(PrincipalType type) {
  switch (type) {
    case PrincipalType::Federated:
      return "Federated";
    case PrincipalType::Service:
      return "Service";
    default:
      return "AWS";
  }
}

// For exactly this caller: what a provider's token says of subject and audience is demanded.
json::object statementFor(const TrustRequest& request) {
  json::object equals;
  for (const auto& [key, values] : request.keys)
    if (request.callerType == PrincipalType::Federated && values.size() == 1 && (key.ends_with(":sub") || key.ends_with(":aud")))
      equals[key] = values.front();
  json::array actions;
  for (const std::string& action : request.actions) actions.emplace_back(action);
  json::object statement{{"Effect", "Allow"},
                         {"Principal", json::object{{memberOf(request.callerType), request.callerNames.front()}}},
                         {"Action", actions.size() == 1 ? json::value(actions.front()) : json::value(actions)}};
  if (!equals.empty()) statement["Condition"] = json::object{{"StringEquals", std::move(equals)}};
  return statement;
}

bool namesASubject(const StatementVerdict& statement) {
  return std::any_of(statement.conditions.begin(), statement.conditions.end(),
                     [](const ConditionVerdict& each) { return suffixOf(each.key) == "sub"; });
}

// One key of one operator, as written in the statement.
struct Place {
  json::object& conditions;
  json::object& keys;  // of the operator
  std::string test, key;

  void moveTo(const std::string& otherTest, const std::string& otherKey) {
    json::value values = keys.at(key);
    keys.erase(key);
    if (keys.empty() && otherTest != test) conditions.erase(test);
    json::object& target = makeObjectAt(conditions, {otherTest});
    const json::value* held = target.if_contains(otherKey);
    if (held == nullptr || held->is_null()) {
      target[otherKey] = std::move(values);
      return;
    }
    const json::array more = values.is_array() ? values.get_array() : json::array{values};
    for (const json::value& each : more)
      if (each.is_string()) addText(target[otherKey], std::string(each.get_string()));
  }
};

bool mendCondition(json::object& statement, const ConditionVerdict& broken, const TrustRequest& request) {
  json::value* conditions = statement.if_contains("Condition");
  json::value* keys = conditions != nullptr && conditions->is_object() ? conditions->get_object().if_contains(broken.test) : nullptr;
  if (keys == nullptr || !keys->is_object() || !keys->get_object().contains(broken.key)) return false;
  Place place{conditions->get_object(), keys->get_object(), broken.test, broken.key};
  if (!broken.present) {
    for (const auto& [key, values] : request.keys)
      if (broken.key.find(':') != std::string::npos && suffixOf(key) == suffixOf(broken.key)) {
        place.moveTo(broken.test, key);
        return true;
      }
    return false;
  }
  const bool wild = std::any_of(broken.expected.begin(), broken.expected.end(),
                                [](const std::string& value) { return value.find_first_of("*?") != std::string::npos; });
  if (broken.test == "StringEquals" && wild) {
    place.moveTo("StringLike", broken.key);
    return true;
  }
  if ((broken.test != "StringEquals" && broken.test != "StringLike" && broken.test != "StringEqualsIgnoreCase") || broken.found.size() != 1)
    return false;
  addText(place.keys[broken.key], broken.found.front());
  return true;
}

// Mends one thing; false: it does not know how.
bool mendOnce(json::array& statements, const TrustVerdict& verdict, const TrustRequest& request) {
  if (!verdict.nearest) {
    if (std::any_of(verdict.statements.begin(), verdict.statements.end(),
                    [](const StatementVerdict& each) { return !each.allows && each.matches; }))
      return false;
    statements.emplace_back(statementFor(request));
    return true;
  }
  const StatementVerdict& nearest = verdict.statements[*verdict.nearest];
  json::object* statement = statements.at(nearest.index).if_object();
  if (statement == nullptr) return false;
  if (!nearest.principalMatches) {
    json::value* principal = statement->if_contains("Principal");
    json::object* named = principal != nullptr ? principal->if_object() : nullptr;
    if (named != nullptr && named->contains("Federated") && request.callerType == PrincipalType::Federated && namesASubject(nearest))
      (*named)["Federated"] = request.callerNames.front();
    else
      statements.emplace_back(statementFor(request));
    return true;
  }
  if (!nearest.actionMatches) {
    if (!statement->contains("Action")) return false;
    addText((*statement)["Action"], verdict.action);
    return true;
  }
  for (const ConditionVerdict& each : nearest.conditions)
    if (!each.holds) return mendCondition(*statement, each, request);
  return false;
}

}  // namespace

json::object policyFor(const TrustRequest& request) {
  return {{"Version", "2012-10-17"}, {"Statement", json::array{statementFor(request)}}};
}

std::optional<json::object> mendedPolicy(const json::value& document, const TrustRequest& request) {
  json::value parsed = document;
  if (document.is_string()) {
    Result<api::Read> read = api::readJson(document.get_string());
    if (!read) return std::nullopt;
    parsed = std::move((*read).value);
  }
  json::object* policy = parsed.if_object();
  if (policy == nullptr || !policy->contains("Statement")) return std::nullopt;
  if (policy->at("Statement").is_object()) policy->at("Statement") = json::array{policy->at("Statement")};
  if (!policy->at("Statement").is_array()) return std::nullopt;
  for (int round = 0; round < kMostRounds; ++round) {
    const Result<api::TrustPolicy> read = api::parseTrustPolicy(parsed);
    if (!read) return std::nullopt;
    const TrustVerdict verdict = judge(*read, request);
    if (verdict.allowed) return *policy;
    if (!mendOnce(policy->at("Statement").get_array(), verdict, request)) return std::nullopt;
  }
  return std::nullopt;
}

}  // namespace podpass::irsa
