#include "irsa/webhook_role.h"

#include "base/log.h"
#include "base/text.h"
#include "crypto/certificate.h"

namespace podpass::irsa {
namespace {

using namespace std::chrono_literals;

constexpr std::chrono::seconds kRound = 30s;  // between looks at certificate and registration

}  // namespace

WebhookRole::WebhookRole(WebhookRoleOptions options, api::Client& client, const Clock& clock)
    : options_(std::move(options)),
      client_(client),
      clock_(clock),
      server_(options_.listeners, options_.webhook, sources_, ClusterWatch::reader(client, options_.webhook.aws)) {
  server_.webhook().readyWhen([this] { return watch_ == nullptr || watch_->synced(); });
}

Result<void> WebhookRole::start() {
  watch_ = std::make_unique<ClusterWatch>(client_, sources_, options_.webhook.aws, options_.configMapNamespace, options_.ownKinds);
  Result<void> started = options_.registration ? lookAtRegistration() : server_.start(options_.listeners.tls);
  if (!started) return started;
  maintenance_ = std::thread([this] { maintain(); });
  return {};
}

void WebhookRole::stop(std::chrono::milliseconds grace) {
  {
    const std::lock_guard lock(mutex_);
    over_ = true;
  }
  wake_.notify_all();
  if (maintenance_.joinable()) maintenance_.join();
  server_.stop(grace);
  watch_.reset();
}

std::string WebhookRole::url() const {
  const std::string& bind = options_.listeners.bind;
  const std::string host = bind.find(':') != std::string::npos ? "[" + bind + "]" : bind;
  return "https://" + host + ":" + std::to_string(server_.port()) + "/mutate";
}

void WebhookRole::maintain() {
  SteadyTime nextLook = clock_.steady() + options_.scanEvery;
  for (;;) {
    if (options_.registration)
      if (const Result<void> kept = lookAtRegistration(); !kept)
        log::warn("the certificate could not be looked at; the old one is kept", {{"err", log::chain(kept.error())}});
    if (options_.scanEvery > 0s && clock_.steady() >= nextLook && watch_->synced()) {
      lookAtPods();
      nextLook = clock_.steady() + options_.scanEvery;
    }
    std::unique_lock lock(mutex_);
    const auto pause = options_.scanEvery > 0s ? std::min(kRound, options_.scanEvery) : kRound;
    if (wake_.wait_for(lock, pause, [this] { return over_; })) return;
  }
}

Result<void> WebhookRole::lookAtRegistration() {
  Result<RegistrationLook> look = keepRegistered(client_, *options_.registration, shown_ ? &*shown_ : nullptr, clock_.now());
  if (!look) return look.error();
  if (!look->step.empty()) log::info("certificate " + look->step, {{"secret", options_.registration->secret}});
  if (look->notRenewed) log::warn("the webhook's certificate could not be renewed", {{"err", log::chain(*look->notRenewed)}});
  const std::string& configuration = options_.registration->configuration;
  if (look->registered) log::info("caBundle written", {{"name", configuration}});
  if (look->notRegistered)
    log::warn("the MutatingWebhookConfiguration could not be kept", {{"name", configuration}, {"err", log::chain(*look->notRegistered)}});

  http::TlsFiles tls = look->certificate.tls;
  tls.minimumVersion = options_.listeners.tls.minimumVersion;
  tls.ciphers = options_.listeners.tls.ciphers;
  const bool isNew = !shown_ || shown_->tls.certificatePem != tls.certificatePem;
  if (isNew) {
    if (Result<void> used = shown_ ? server_.useTls(tls) : server_.start(tls); !used) return used;
    if (shown_) {
      log::info("certificate reloaded");
      if (const Result<WallTime> since = crypto::validFrom(shown_->tls.certificatePem))
        server_.webhook().metrics().countRotation(std::chrono::duration_cast<std::chrono::seconds>(clock_.now() - *since));
    }
  }
  shown_ = std::move(look->certificate);
  return {};
}

void WebhookRole::lookAtPods() {
  const Result<std::vector<UnmutatedPod>> pods = findUnmutatedPods(client_, server_.webhook(), sources_);
  if (!pods) return log::warn("pods without their identity could not be looked for", {{"err", log::chain(pods.error())}});
  server_.webhook().metrics().unmutatedPods = pods->size();
  std::set<std::string> still;
  for (const UnmutatedPod& pod : *pods) {
    still.insert(pod.uid);
    if (!reported_.contains(pod.uid)) report(pod);
  }
  reported_ = std::move(still);
  if (options_.evictUnmutated) evictSome(*pods);
}

void WebhookRole::evictSome(const std::vector<UnmutatedPod>& pods) {
  const Evictions::Outcome outcome = evictions_.round(client_, pods, clock_.steady());
  for (const UnmutatedPod& pod : outcome.evicted)
    log::info("pod evicted: it ran without its identity", {{"ns", pod.ns}, {"name", pod.name}, {"uid", pod.uid}});
  for (const auto& [pod, error] : outcome.refused)
    log::warn("pod without its identity not evicted", {{"ns", pod.ns}, {"name", pod.name}, {"err", log::chain(error)}});
  for (const UnmutatedPod& pod : outcome.hopeless)
    log::warn("a new pod came without its identity, too: pods of its controller are not evicted for an hour; is the webhook asked?",
              {{"ns", pod.ns}, {"name", pod.name}, {"uid", pod.uid}});
  server_.webhook().metrics().evictedPods += outcome.evicted.size();
  server_.webhook().metrics().refusedEvictions += outcome.refused.size();
}

void WebhookRole::report(const UnmutatedPod& pod) {
  const std::string message = "service account " + pod.serviceAccount +
                              " promises credentials, but the pod was created without the volume " + pod.missing +
                              ": the webhook was not asked, or the service account was annotated later. Create the pod again.";
  log::warn("pod runs without its identity", {{"ns", pod.ns}, {"name", pod.name}, {"uid", pod.uid}});
  const std::string now = rfc3339(clock_.now());
  json::object event{{"apiVersion", "v1"},          {"kind", "Event"},    {"type", "Warning"},
                     {"reason", "IdentityMissing"}, {"message", message}, {"count", 1}};
  event["metadata"] = json::object{{"name", pod.name + "." + randomSuffix(16)}, {"namespace", pod.ns}};
  event["involvedObject"] =
      json::object{{"apiVersion", "v1"}, {"kind", "Pod"}, {"namespace", pod.ns}, {"name", pod.name}, {"uid", pod.uid}};
  event["source"] = json::object{{"component", "pod-identity-webhook"}};
  event["firstTimestamp"] = now;
  event["lastTimestamp"] = now;
  if (const Result<DocumentPtr> made = client_.create(*api::findKind("", "v1", "events"), pod.ns, std::move(event)); !made)
    log::debug("event not written", {{"err", log::chain(made.error())}});
}

}  // namespace podpass::irsa
