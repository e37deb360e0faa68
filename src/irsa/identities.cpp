#include "irsa/identities.h"

#include <algorithm>

#include "api/json_reader.h"

namespace podpass::irsa {
namespace {

bool sameWord(std::string_view a, std::string_view b) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; };
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [lower](char x, char y) { return lower(x) == lower(y); });
}

// Go matches member names without case.
const json::value* member(const json::object& object, std::string_view name) {
  for (const json::key_value_pair& each : object)
    if (sameWord(each.key(), name) && !each.value().is_null()) return &each.value();
  return nullptr;
}

Result<RoleSettings> entryOf(const json::object& object, const AwsSettings& settings) {
  RoleSettings role{{}, settings.audience, false, std::max(settings.expirationSeconds, kMinExpiration)};
  const json::value *arn = member(object, "RoleARN"), *audience = member(object, "Audience"), *regional = member(object, "UseRegionalSTS"),
                    *expiration = member(object, "TokenExpiration");
  if ((arn && !arn->is_string()) || (audience && !audience->is_string()) || (regional && !regional->is_bool()) ||
      (expiration && !expiration->is_int64()))
    return Error{Reason::BadRequest,
                 "RoleARN and Audience are strings, UseRegionalSTS is true or false, TokenExpiration a number of seconds"};
  if (arn) role.roleArn = arn->get_string();
  if (audience && !audience->get_string().empty()) role.audience = audience->get_string();
  if (regional) role.regionalSts = regional->get_bool();
  if (expiration && expiration->get_int64() != 0) role.expirationSeconds = expiration->get_int64();
  return role;
}

}  // namespace

std::string accountKey(std::string_view ns, std::string_view name) {
  std::string key;
  key.reserve(ns.size() + 1 + name.size());
  key += ns;
  key += '/';
  key += name;
  return key;
}

Account accountOf(const json::object& serviceAccount, const AwsSettings& settings) {
  const json::object* annotations = objectAt(serviceAccount, {"metadata", "annotations"});
  Account account{roleSettings(annotations, settings)};
  json::object others;
  if (annotations != nullptr)
    for (const json::key_value_pair& each : *annotations)
      if (!std::string_view(each.key()).starts_with("kubectl.kubernetes.io/")) others[each.key()] = each.value();
  if (!others.empty()) account.annotations = json::serialize(others);
  return account;
}

Result<ParsedIdentityMap> parseIdentityMap(std::string_view config, const AwsSettings& settings) {
  Result<api::Read> read = api::readJson(config);
  if (!read) return read.error();
  if (!read->value.is_object()) return Error{Reason::BadRequest, "a JSON object with an entry for each service account is expected"};
  ParsedIdentityMap parsed;
  for (const json::key_value_pair& each : read->value.get_object()) {
    const std::string key(each.key());
    const std::size_t slash = key.find('/');
    if (slash == 0 || slash == std::string::npos || slash + 1 == key.size()) {
      parsed.skipped.push_back("\"" + key + "\" does not name a service account as namespace/name");
    } else if (!each.value().is_object()) {
      parsed.skipped.push_back("the entry of " + key + " is no object");
    } else if (Result<RoleSettings> entry = entryOf(each.value().get_object(), settings); !entry) {
      parsed.skipped.push_back("the entry of " + key + ": " + entry.error().sentence);
    } else {
      parsed.entries.insert_or_assign(key, *std::move(entry));
    }
  }
  return parsed;
}

const RoleSettings* findIdentity(const IdentityMap& map, std::string_view ns, std::string_view name) {
  if (map.empty()) return nullptr;
  auto found = map.find(accountKey(ns, name));
  if (found == map.end()) found = map.find(accountKey("*", name));
  return found == map.end() ? nullptr : &found->second;
}

Result<CredentialsAccounts> parseCredentialsFile(std::string_view text) {
  Result<api::Read> read = api::readJson(text);
  if (!read) return read.error();
  const json::object* root = read->value.if_object();
  if (root == nullptr)
    return Error{Reason::BadRequest,
                 "json: cannot unmarshal " + std::string(read->value.is_array() ? "array" : "value") + " into an object"};
  const json::value* identities = member(*root, "identities");
  if (identities != nullptr && !identities->is_array()) return Error{Reason::BadRequest, "identities is no list"};
  CredentialsAccounts accounts;
  if (identities == nullptr) return accounts;
  for (const json::value& each : identities->get_array()) {
    const json::object* identity = each.if_object();
    if (identity == nullptr) return Error{Reason::BadRequest, "an entry of identities is no object"};
    const json::value *ns = member(*identity, "namespace"), *account = member(*identity, "serviceAccount");
    if ((ns && !ns->is_string()) || (account && !account->is_string()))
      return Error{Reason::BadRequest, "namespace and serviceAccount are strings"};
    if (ns && account) accounts.insert(accountKey(ns->get_string(), account->get_string()));
  }
  return accounts;
}

}  // namespace podpass::irsa
