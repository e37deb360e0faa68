#pragma once

#include <chrono>
#include <vector>

#include "http/http.h"
#include "irsa/account_cache.h"
#include "irsa/admission_review.h"
#include "irsa/identities.h"
#include "irsa/live_reads.h"
#include "irsa/token_injection.h"
#include "irsa/webhook_metrics.h"

// The admission webhook itself, without sockets: AdmissionReviews in, AdmissionReviews out. It answers as the Amazon EKS pod identity
// webhook does, with two differences on purpose: a service account that the cache does not know is read live, and when that fails the pod
// is refused rather than started without its credentials.
namespace podpass::irsa {

struct WebhookOptions {
  AwsSettings aws;
  bool denyUnknown = true;                   // when a service account cannot be read; else the pod is admitted as it is
  std::chrono::milliseconds patience{1000};  // for a live read
  bool warn = true;                          // say in an admission warning what was done
  bool debugHandlers = false;
  // Container credentials are served to pods with a network of their own only; others are warned. (The agent of Amazon EKS serves both.)
  bool credentialsNeedPodNetwork = false;
};

// What decisions are made from; filled by watches and file readers. Thread-safe.
struct WebhookSources {
  AccountCache accounts;
  Snapshot<IdentityMap> identityMap{std::make_shared<const IdentityMap>()};
  Snapshot<CredentialsAccounts> credentials{std::make_shared<const CredentialsAccounts>()};   // of the file
  Snapshot<CredentialsAccounts> associations{std::make_shared<const CredentialsAccounts>()};  // of PodIdentityAssociations
  Snapshot<std::vector<TokenInjection>> injections{std::make_shared<const std::vector<TokenInjection>>()};
};

class Webhook {
 public:
  // `read` reads a service account that is not among the sources.
  Webhook(WebhookOptions options, WebhookSources& sources, LiveReads::Read read);

  // The HTTPS listener: /mutate, /healthz (it lives), /readyz (it should be asked) and, for debugging, /debug/alpha/deny and
  // /debug/alpha/500.
  asio::awaitable<http::Response> serve(std::shared_ptr<const http::Request> request);
  // The plain listener: /metrics and, for debugging, /debug/alpha/cache and /debug/alpha/cache/clear.
  asio::awaitable<http::Response> serveMetrics(std::shared_ptr<const http::Request> request);

  // What a pod of that service account is given now, from the sources alone; empty: nothing. For the look at pods that run already.
  [[nodiscard]] std::vector<Injection> injectionsFor(std::string_view ns, const PodView& pod) const;
  [[nodiscard]] WebhookMetrics& metrics() { return metrics_; }
  // Ready once `synced` says that the sources are filled; without it from the start. Before the listeners start.
  void readyWhen(std::function<bool()> synced) { synced_ = std::move(synced); }
  // From now on not ready, so that no more callers are sent here; who comes all the same is served, and told to come back elsewhere.
  void drain() { draining_ = true; }
  [[nodiscard]] const WebhookOptions& options() const { return options_; }
  // Ends the live reads; after the listeners have stopped, before they are destroyed.
  void stop() { reads_.stop(); }

 private:
  struct Decision;
  asio::awaitable<std::string> review(std::shared_ptr<const http::Request> request);
  [[nodiscard]] Decision decide(std::string_view ns, const PodView& pod, const std::optional<Account>& account) const;
  [[nodiscard]] Decision decideForAws(std::string_view ns, const PodView& pod, const std::optional<Account>& account) const;
  void inject(Decision& decision, std::string_view ns, const PodView& pod, const std::optional<Account>& account) const;
  // Whether a pod of an account that is not known cannot be decided without it.
  [[nodiscard]] bool needsAccount(std::string_view ns, const PodView& pod) const;
  struct Answer;
  [[nodiscard]] Answer answer(const AdmissionReview& review, const Decision& decision);
  [[nodiscard]] Answer unknown(const AdmissionReview& review, const Error& why);
  [[nodiscard]] std::string cachePage() const;
  [[nodiscard]] http::Response readiness() const;

  WebhookOptions options_;
  WebhookSources& sources_;
  WebhookMetrics metrics_;
  LiveReads reads_;
  std::function<bool()> synced_;
  std::atomic<bool> draining_{false};
};

}  // namespace podpass::irsa
