#pragma once

#include "irsa/credentials.h"
#include "irsa/sts_directory.h"
#include "irsa/sts_request.h"
#include "irsa/trust_policy_verdict.h"

// What AssumeRole and AssumeRoleWithWebIdentity have in common once it is known who asks.
namespace podpass::irsa {

// The request's circumstances as condition keys: time, address, user agent, session name, tags.
ConditionKeys requestKeys(const http::Request& request, const AssumeRequest& assume, WallTime now);
void addTagKeys(const AssumeRequest& assume, ConditionKeys& keys);

// Transitive tags go on to the next session, and none can be replaced. InvalidParameterValue: one would be. ValidationError: the session
// would have more than kMostTags.
std::optional<Refusal> inheritTags(const Session& caller, AssumeRequest& assume);

// ValidationError: the ARN is none of a role.
std::optional<Refusal> checkRoleArn(const std::string& arn);
// MalformedPolicyDocument, PackedPolicyTooLarge; else the percentage used, nullopt without policy and tags.
Outcome<std::optional<int>> packedPolicySize(const AssumeRequest& assume);
// The role's limit, and one hour for a session that another session asks for.
Outcome<std::int64_t> sessionSeconds(const AssumeRequest& assume, const Role& role, bool chained);
// AccessDenied with this message; the verdict says why.
Refusal accessDenied(std::string message, std::string check, std::string reason, std::string fix = {},
                     const TrustVerdict* verdict = nullptr);
// Whether the role's trust policy lets the caller in.
std::optional<Refusal> checkTrust(const Role& role, const TrustRequest& trust, const std::string& message);

Session sessionOf(const std::string& account, const Role& role, const AssumeRequest& assume, std::int64_t seconds, WallTime now);

}  // namespace podpass::irsa
