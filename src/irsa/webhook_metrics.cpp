#include "irsa/webhook_metrics.h"

namespace podpass::irsa {
namespace {

constexpr std::uint64_t kFirstBucket = 125000;  // µs
constexpr std::int64_t kHour = 3600, kDay = 24 * kHour;
constexpr std::array<std::int64_t, 10> kRotationBuckets{60,        kHour,     4 * kHour,  kDay,       7 * kDay,
                                                        30 * kDay, 90 * kDay, 180 * kDay, 360 * kDay, 1440 * kDay};  // s, as a kubelet's

void describe(std::string& out, std::string_view name, std::string_view type, std::string_view help) {
  out += "# HELP " + std::string(name) + " " + std::string(help) + "\n# TYPE " + std::string(name) + " " + std::string(type) + "\n";
}

void sample(std::string& out, std::string_view name, std::string_view labels, std::uint64_t value) {
  out += name;
  if (!labels.empty()) out += "{" + std::string(labels) + "}";
  out += " " + std::to_string(value) + "\n";
}

std::string_view knownVerb(std::string_view verb) {
  for (const std::string_view known : {"GET", "POST", "PUT", "HEAD", "PATCH", "DELETE"})
    if (verb == known) return known;
  return "other";
}

}  // namespace

void WebhookMetrics::countRequest(std::string_view verb, std::string_view path, int code, std::chrono::microseconds took) {
  const auto micros = static_cast<std::uint64_t>(took.count());
  const std::lock_guard lock(mutex_);
  Latencies& latencies = requests_[{std::string(knownVerb(verb)), std::string(path)}];
  for (std::size_t i = 0; i < latencies.upTo.size(); ++i)
    if (micros <= kFirstBucket << i) ++latencies.upTo[i];
  ++latencies.count;
  latencies.sum += micros;
  ++latencies.codes[code];
}

void WebhookMetrics::countRotation(std::chrono::seconds lived) {
  const std::lock_guard lock(mutex_);
  for (std::size_t i = 0; i < kRotationBuckets.size(); ++i)
    if (lived.count() <= kRotationBuckets[i]) ++rotations_.upTo[i];
  ++rotations_.count;
  rotations_.sum += lived.count();
}

std::string WebhookMetrics::text() const {
  std::string out;
  describe(out, "pod_identity_webhook_used", "gauge", "Indicator to know if the webhook is being used");
  sample(out, "pod_identity_webhook_used", "", used ? 1 : 0);
  describe(out, "pod_identity_webhook_pod_count", "counter", "Pods that were given an identity, by method");
  sample(out, "pod_identity_webhook_pod_count", R"(method="sts_web_identity")", webIdentityPods);
  sample(out, "pod_identity_webhook_pod_count", R"(method="container_credentials")", containerCredentialsPods);
  sample(out, "pod_identity_webhook_pod_count", R"(method="token_injection")", injectedPods);
  describe(out, "pod_identity_webhook_missing_sa_count", "counter", "Requests whose service account was not in the cache");
  sample(out, "pod_identity_webhook_missing_sa_count", "", missingAccounts);
  describe(out, "podpass_webhook_unknown_denied_total", "counter", "Pods refused because their service account could not be read");
  sample(out, "podpass_webhook_unknown_denied_total", "", deniedUnknown);
  describe(out, "podpass_webhook_unmutated_pods", "gauge", "Pods found without the identity that their service account promises");
  sample(out, "podpass_webhook_unmutated_pods", "", unmutatedPods);
  describe(out, "podpass_webhook_evictions_total", "counter", "Evictions of such pods that were asked for, by outcome");
  sample(out, "podpass_webhook_evictions_total", R"(outcome="evicted")", evictedPods);
  sample(out, "podpass_webhook_evictions_total", R"(outcome="refused")", refusedEvictions);

  const std::lock_guard lock(mutex_);
  const auto labels = [](const auto& key) { return "path=\"" + key.second + "\",verb=\"" + key.first + "\""; };
  describe(out, "http_request_count", "counter", "Counter of requests broken out for each verb, path, and response code.");
  for (const auto& [key, latencies] : requests_)
    for (const auto& [code, count] : latencies.codes)
      sample(out, "http_request_count", "code=\"" + std::to_string(code) + "\"," + labels(key), count);
  describe(out, "http_request_latencies", "histogram", "Response latency distribution in microseconds for each verb and path");
  for (const auto& [key, latencies] : requests_) {
    for (std::size_t i = 0; i < latencies.upTo.size(); ++i)
      sample(out, "http_request_latencies_bucket", labels(key) + ",le=\"" + std::to_string(kFirstBucket << i) + "\"", latencies.upTo[i]);
    sample(out, "http_request_latencies_bucket", labels(key) + ",le=\"+Inf\"", latencies.count);
    sample(out, "http_request_latencies_sum", labels(key), latencies.sum);
    sample(out, "http_request_latencies_count", labels(key), latencies.count);
  }
  describe(out, "http_request_duration_microseconds", "summary", "Response latency summary in microseconds for each verb and path.");
  for (const auto& [key, latencies] : requests_) {
    sample(out, "http_request_duration_microseconds_sum", labels(key), latencies.sum);
    sample(out, "http_request_duration_microseconds_count", labels(key), latencies.count);
  }
  constexpr std::string_view kRotations = "certificate_manager_server_rotation_seconds";
  describe(out, kRotations, "histogram", "Histogram of the number of seconds the previous certificate lived before being rotated.");
  for (std::size_t i = 0; i < kRotationBuckets.size(); ++i)
    sample(out, std::string(kRotations) + "_bucket", "le=\"" + std::to_string(kRotationBuckets[i]) + "\"", rotations_.upTo[i]);
  sample(out, std::string(kRotations) + "_bucket", "le=\"+Inf\"", rotations_.count);
  sample(out, std::string(kRotations) + "_sum", "", static_cast<std::uint64_t>(rotations_.sum));
  sample(out, std::string(kRotations) + "_count", "", rotations_.count);
  return out;
}

}  // namespace podpass::irsa
