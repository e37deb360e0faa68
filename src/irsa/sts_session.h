#pragma once

#include "irsa/credentials.h"
#include "irsa/sts_directory.h"
#include "irsa/sts_request.h"
#include "irsa/trust_policy_verdict.h"

// What AssumeRole and AssumeRoleWithWebIdentity have in common once it is known who asks.
namespace podpass::irsa {

// How a request came here, which it does not know itself.
struct Arrival {
  std::string remote = {};  // "10.1.2.3:5123": who asks when it is not Request::remote but somebody behind it; else empty
  bool secure = true;       // over TLS
};

// The request as condition keys: time, session name, duration.
ConditionKeys requestKeys(const AssumeRequest& assume, WallTime now);
// And the way on which it came: address, transport, user agent. An address that cannot be told is no key.
void addArrivalKeys(const http::Request& request, const Arrival& arrival, ConditionKeys& keys);
// The region that a client names by the host that it calls: sts.eu-west-1.amazonaws.com; us-east-1 of the global sts.amazonaws.com; "" for
// hosts that are not AWS's.
std::string regionOfHost(std::string_view host);
void addTagKeys(const AssumeRequest& assume, ConditionKeys& keys);
// The actions that tags and a source identity need besides.
void askForMore(const AssumeRequest& assume, std::vector<std::string>& actions);

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
