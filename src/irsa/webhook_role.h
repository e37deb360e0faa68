#pragma once

#include <condition_variable>
#include <thread>

#include "irsa/cluster_watch.h"
#include "irsa/unmutated_pods.h"
#include "irsa/webhook_registration.h"
#include "irsa/webhook_server.h"

// The whole webhook beside one API server: the listeners, the watches, its own certificate, and the look at pods that it missed.
namespace podpass::irsa {

struct WebhookRoleOptions {
  WebhookListeners listeners;
  WebhookOptions webhook;
  std::string configMapNamespace = {};  // empty: no ConfigMap
  bool ownKinds = true;                 // TokenInjections and PodIdentityAssociations
  // Set: the certificate is made and kept in the cluster, and listeners.tls is not used.
  std::optional<WebhookRegistration> registration = {};
  std::chrono::seconds scanEvery{300};  // 0: pods are not looked at
  bool evictUnmutated = false;
  std::size_t evictLimit = 10;  // of one look
};

class WebhookRole {
 public:
  WebhookRole(WebhookRoleOptions options, api::Client& client, const Clock& clock);
  ~WebhookRole() { stop(std::chrono::milliseconds(0)); }
  WebhookRole(const WebhookRole&) = delete;
  WebhookRole& operator=(const WebhookRole&) = delete;

  Result<void> start();
  // Says "not ready" from now on and goes on serving; for the time between the signal to stop and stop() itself.
  void drain() { server_.webhook().drain(); }
  // Gives calls in flight `grace`.
  void stop(std::chrono::milliseconds grace);
  // With a registration, what start() begins with and then repeats: serves the certificate of the Secret, and keeps both and the
  // configuration. An error: there is none, or it cannot be used; what is served already goes on.
  Result<void> lookAtRegistration();
  [[nodiscard]] WebhookServer& server() { return server_; }
  [[nodiscard]] std::string url() const;  // of /mutate at the address that it is bound to

 private:
  void maintain();
  void lookAtPods();
  void report(const UnmutatedPod& pod);
  void evictSome(const std::vector<UnmutatedPod>& pods);

  WebhookRoleOptions options_;
  api::Client& client_;
  const Clock& clock_;
  WebhookSources sources_;
  WebhookServer server_;
  std::unique_ptr<ClusterWatch> watch_;
  std::optional<WebhookCertificate> shown_;  // of the registration
  std::set<std::string> reported_;           // uids
  Evictions evictions_{options_.evictLimit};
  std::mutex mutex_;
  std::condition_variable wake_;
  bool over_ = false;
  std::thread maintenance_;
};

}  // namespace podpass::irsa
