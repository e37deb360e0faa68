#pragma once

#include "api/client.h"
#include "irsa/doctor_containers.h"
#include "irsa/doctor_token.h"
#include "irsa/pod_identity.h"

// The whole way of a pod's identity: from the annotation of its service account to the role.
namespace podpass::irsa {

// What came of reading a file in a container.
struct FileRead {
  enum class Outcome { Read, Missing, Denied, Unknown } outcome = Outcome::Unknown;
  std::string text = {};  // Read
  std::string why = {};   // else: in one sentence
};

struct PodCase {
  std::string ns, pod;
  std::string container = {};                    // only this one; empty: all
  std::optional<json::object> manifest = {};     // instead of a pod of the cluster: what would become of it
  std::string manifestFile = {};                 // where it was read from
  AwsSettings settings = {};                     // of the webhook
  std::string webhookNamespace = "kube-system";  // where its ConfigMap is
  std::string webhookConfiguration = "pod-identity-webhook";
  EksCluster cluster = {};  // for container credentials
  std::string sts = {};     // URL of podpass's STS for the pods; empty: not known
  std::function<FileRead(const std::string& container, const std::string& path)> readFile = {};
  std::function<Result<IamView>(const std::string& role)> iam = {};
  std::function<Result<std::string>(const std::string& issuer)> issuerCa = {};
};

// Checks: pod, annotation, role-arn, webhook, env, static-keys, mount, token; those of examineToken; endpoint, region, identity. A pod of
// container credentials (EKS Pod Identity) skips what only issuers have, and asks the cluster for the signature. Reads with the rights of
// `client`; for a pod that does not run it asks the cluster for a token like the kubelet's (ten minutes, bound to the pod). The token is in
// nothing that is returned. Unavailable: the API server does not answer.
Result<Diagnosis> examinePod(api::Client& client, const PodCase& about, const Clock& clock);

}  // namespace podpass::irsa
