#pragma once

#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/snapshot.h"
#include "irsa/aws.h"

// What the webhook knows of service accounts, from three sources: the accounts themselves (kept by a watch), the ConfigMap
// pod-identity-webhook, and the list of those that use container credentials (EKS Pod Identity). Thread-safe.
namespace podpass::irsa {

// "namespace/name", the key of all three.
std::string accountKey(std::string_view ns, std::string_view name);

struct Account {
  RoleSettings role;
  // Its other annotations as a JSON object, for TokenInjections; "" when there are none.
  std::string annotations = {};
};
// Of a ServiceAccount. What AWS's annotations say is in `role`, and what only kubectl reads is not kept.
Account accountOf(const json::object& serviceAccount, const AwsSettings& settings);

// "ns/name" or "*/name" → what that account gets.
using IdentityMap = std::map<std::string, RoleSettings, std::less<>>;
struct ParsedIdentityMap {
  IdentityMap entries;
  std::vector<std::string> skipped;  // sentences about entries that could not be used
};
// From the ConfigMap's data.config: {"ns/name": {"RoleARN", "Audience", "UseRegionalSTS", "TokenExpiration"}}, member names in any case.
// BadRequest when it is no JSON object. Absent audiences are the flag's: without one the token would be for the API server, not for STS.
Result<ParsedIdentityMap> parseIdentityMap(std::string_view config, const AwsSettings& settings);
// The entry of that account, else the wildcard's; null: none.
const RoleSettings* findIdentity(const IdentityMap& map, std::string_view ns, std::string_view name);

// The accounts of a container-credentials file: {"identities":[{"namespace","serviceAccount"}]}.
using CredentialsAccounts = std::set<std::string, std::less<>>;
Result<CredentialsAccounts> parseCredentialsFile(std::string_view text);

}  // namespace podpass::irsa
