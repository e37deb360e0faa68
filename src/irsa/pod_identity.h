#pragma once

#include "api/client.h"
#include "irsa/sts_request.h"
#include "irsa/trust_policy_verdict.h"

// EKS Pod Identity (spec irsa.md §5): which role a service account's pods may be, and what is asked of that role's trust policy.
namespace podpass::irsa {

constexpr const char* kPodAudience = "pods.eks.amazonaws.com";

struct EksCluster {
  std::string name = "podpass", region = "us-east-1", account;
  [[nodiscard]] std::string arn() const;
};

struct PodIdentityCaller {
  std::string ns, serviceAccount, pod, podUid;
};

// The association of that service account; the oldest one counts: a second one for the same account changes nothing, where EKS would not
// have let it in. NotFound: none.
Result<DocumentPtr> associationOf(api::Client& client, const std::string& ns, const std::string& account);

// The session that EKS Auth asks STS for: role, session name, and the session tags unless the association disables them.
AssumeRequest podIdentityRequest(const json::object& association, const PodIdentityCaller& caller, const EksCluster& cluster);
// For `assume`, with the condition keys of the request but for the way on which it came: that is the service's, not the pod's.
TrustRequest podIdentityTrust(const AssumeRequest& assume, ConditionKeys circumstances, const EksCluster& cluster);

}  // namespace podpass::irsa
