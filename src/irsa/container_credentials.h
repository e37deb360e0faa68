#pragma once

#include <atomic>
#include <boost/asio/thread_pool.hpp>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "http/http.h"
#include "irsa/credentials.h"
#include "irsa/pod_identity.h"
#include "irsa/sts_directory.h"
#include "irsa/sts_refusal_log.h"
#include "token/verifier.h"

namespace podpass::irsa {

constexpr const char* kPodCredentialsAddress = "169.254.170.23";

// As the agent words what EKS Auth refused.
http::Response podCredentialsRefusal(const Refusal& refusal, const std::string& requestId);

struct ContainerCredentialsOptions {
  std::string clusterName = "podpass", region = "us-east-1";  // as the session tags and the conditions name the cluster
  // Who the token proves to be when it is for kPodAudience. Unauthorized: the token is bad. Called on a pool.
  std::function<Result<token::Identity>(std::string_view token)> verify;
  // Under which addresses clients may call: the Host header must be one of them, or a web page whose name was bound anew to the
  // endpoint's address could ask as well.
  std::vector<std::string> hosts = {kPodCredentialsAddress};
};

// Credentials for containers, as the agent of EKS Pod Identity gives them (spec irsa.md §5): a token for kPodAudience, bound to a pod, in
// the header Authorization is exchanged for a session of the role that the PodIdentityAssociation of its service account names. The role's
// trust policy must allow the Service pods.eks.amazonaws.com to do sts:AssumeRole and sts:TagSession. Texts of refusals are the agent's;
// why somebody was refused stands in the refusal log.
// Nothing is kept: every answer is judged anew, so it ends with the pod, the association and the role.
// handle() is called on the connections' event loops and is thread-safe. All that is referred to outlives this object.
class ContainerCredentials {
 public:
  ContainerCredentials(api::Client& client, std::shared_ptr<const CredentialKeys> keys, const StsDirectory& directory,
                       StsRefusalLog& refusals, const Clock& clock, ContainerCredentialsOptions options)
      : client_(client), keys_(std::move(keys)), directory_(directory), refusals_(refusals), clock_(clock), options_(std::move(options)) {}
  ~ContainerCredentials() { stop(); }
  // Waits for what is on the pool. Called when no more requests come, and while the loops that wait for answers are still there.
  void stop() { pool_.join(); }

  http::asio::awaitable<http::Response> handle(std::shared_ptr<const http::Request> request);

 private:
  struct Call;  // one request on its way
  http::Response answer(const http::Request& request);
  Outcome<Session> assume(Call& call) const;
  Outcome<Session> assumeTarget(Call& call, const Session& first, const json::object& association) const;

  api::Client& client_;
  std::shared_ptr<const CredentialKeys> keys_;
  const StsDirectory& directory_;
  StsRefusalLog& refusals_;
  const Clock& clock_;
  ContainerCredentialsOptions options_;
  std::atomic<int> running_ = 0;
  boost::asio::thread_pool pool_{2};
};

}  // namespace podpass::irsa
