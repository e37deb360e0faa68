#pragma once

#include <functional>

#include "irsa/diagnosis.h"
#include "irsa/iam_view.h"
#include "irsa/trust_policy_verdict.h"

// The end of doctor's way: the role, whoever asks for it.
namespace podpass::irsa {

// How to ask for the role with this ARN instead; the ARN may be empty when none is near.
using RoleMend = std::function<Mend(const std::string& arn)>;

// "role-arn": whether `arn` has the form that STS asks for.
void examineRoleArn(const std::string& arn, const IamView& iam, const RoleMend& correct, Diagnosis& diagnosis);
// "role" and "trust-policy".
void examineTrust(const std::string& arn, const TrustRequest& request, const IamView& iam, const RoleMend& correct, Diagnosis& diagnosis);
// "identity", at the end: what the sessions are called, when nothing before it is broken, or unknown but for the check `besides`.
void concludeIdentity(Diagnosis& diagnosis, std::string_view besides = {});

}  // namespace podpass::irsa
