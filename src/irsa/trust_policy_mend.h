#pragma once

#include <optional>

#include "irsa/trust_policy_verdict.h"

namespace podpass::irsa {

// The policy's document (an object, or a string that holds its JSON text) with the least change that allows the request, as an object; for
// a person to judge, as nobody knows whether the caller was meant to be refused. The Allow statement that comes closest is changed: actions
// and values are added, a wildcard under StringEquals moves to StringLike, keys of another issuer become this one's, and a provider's ARN
// is replaced. A statement for other kinds of callers is left alone, because it may have no condition that would hold for us: another
// statement, for exactly this caller, is added then.
// nullopt: a Deny statement refuses it, or no such change is known (times, addresses, negations). Pure.
std::optional<json::object> mendedPolicy(const json::value& document, const TrustRequest& request);
// A policy that allows exactly this request: the subject and the audience of a token are demanded.
json::object policyFor(const TrustRequest& request);

}  // namespace podpass::irsa
