#pragma once

#include "irsa/iam_objects.h"
#include "irsa/sts_request.h"
#include "irsa/trust_policy_verdict.h"

namespace podpass::irsa {

// What AssumeRoleWithWebIdentity asks of a role's trust policy for a token with these claims: the actions, the provider as the caller, and
// the condition keys that claims become (spec irsa.md §3.4), added to `circumstances`. Session tags and source identity, which AWS reads
// from claims of its own, are put into `assume`. InvalidIdentityToken: sub, tags or source identity have not AWS's form. Claims are taken
// as they are: who gives something for them has verified the token.
Outcome<TrustRequest> webIdentityTrust(const json::object& claims, const Provider& provider, ConditionKeys circumstances,
                                       AssumeRequest& assume);

}  // namespace podpass::irsa
