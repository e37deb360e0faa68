#include "irsa/pod_identity.h"

#include "base/text.h"
#include "irsa/sts_session.h"

namespace podpass::irsa {
namespace {

constexpr std::size_t kLongestSessionName = 64;

std::string sessionName(const std::string& cluster, const std::string& pod) {
  const std::string suffix = "-" + randomUuid();
  std::string name = "eks-" + cluster + "-" + pod;
  return name.substr(0, kLongestSessionName - suffix.size()) + suffix;
}

}  // namespace

std::string EksCluster::arn() const { return "arn:aws:eks:" + region + ":" + account + ":cluster/" + name; }

Result<DocumentPtr> associationOf(api::Client& client, const std::string& ns, const std::string& account) {
  const api::Kind& kind = *api::findKind("identity.podpass.dev", "v1", "podidentityassociations");
  const Result<api::Listing> listing = client.list(kind, ns, {});
  if (!listing) return listing.error();
  DocumentPtr oldest;
  const auto age = [](const Document& each) {
    return std::pair(textAt(each.value, {"metadata", "creationTimestamp"}), textAt(each.value, {"metadata", "name"}));
  };
  for (const DocumentPtr& each : listing->items)
    if (textAt(each->value, {"spec", "serviceAccountName"}) == account && textAt(each->value, {"metadata", "namespace"}) == ns)
      if (!oldest || age(*each) < age(*oldest)) oldest = each;
  if (oldest) return oldest;
  return Error{Reason::NotFound, "no PodIdentityAssociation in " + ns + " names the service account " + account,
               "create one whose spec.serviceAccountName is " + account};
}

AssumeRequest podIdentityRequest(const json::object& association, const PodIdentityCaller& caller, const EksCluster& cluster) {
  AssumeRequest assume;
  assume.roleArn = textAt(association, {"spec", "roleArn"});
  assume.sessionName = sessionName(cluster.name, caller.pod);
  if (booleanAt(association, {"spec", "disableSessionTags"})) return assume;
  assume.tags = {{"eks-cluster-arn", cluster.arn()},  {"eks-cluster-name", cluster.name},
                 {"kubernetes-namespace", caller.ns}, {"kubernetes-service-account", caller.serviceAccount},
                 {"kubernetes-pod-name", caller.pod}, {"kubernetes-pod-uid", caller.podUid}};
  for (const SessionTag& tag : assume.tags) assume.transitiveTagKeys.push_back(tag.key);
  return assume;
}

TrustRequest podIdentityTrust(const AssumeRequest& assume, ConditionKeys circumstances, const EksCluster& cluster) {
  TrustRequest trust;
  trust.actions = {"sts:AssumeRole"};
  askForMore(assume, trust.actions);
  trust.callerType = api::PrincipalType::Service;
  trust.callerNames = {kPodAudience};
  trust.keys = std::move(circumstances);
  trust.keys["aws:SourceAccount"] = {cluster.account};
  trust.keys["aws:SourceArn"] = {cluster.arn()};
  addTagKeys(assume, trust.keys);
  return trust;
}

}  // namespace podpass::irsa
