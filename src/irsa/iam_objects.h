#pragma once

#include <string>
#include <vector>

#include "api/trust_policy.h"
#include "token/presented_token.h"

// Roles and OIDC providers of the group iam.podpass.dev as STS and doctor understand them. Pure.
namespace podpass::irsa {

struct Role {
  std::string name, arn, id;
  Result<api::TrustPolicy> trust;
  std::int64_t maxSession = 3600;  // seconds
  std::int64_t revokedBefore = 0;  // sessions that began before are over; seconds since the epoch
  DocumentPtr object;
};

struct Provider {
  std::string name, url, arn;
  std::vector<std::string> clientIds;
};

Role roleOf(const DocumentPtr& object, const std::string& account);
// The policy as it was written: an object, or a string that holds its JSON text; null when there is none.
const json::value& trustPolicyOf(const Role& role);
Provider providerOf(const json::object& object, const std::string& account);
// The issuer that a provider registers, and who is believed when its documents are fetched.
token::TrustedIssuer issuerOf(const json::object& provider);
// The account in "arn:aws:iam::ACCOUNT:role/NAME"; empty when it is none of IAM's.
std::string accountOfRole(std::string_view arn);

}  // namespace podpass::irsa
