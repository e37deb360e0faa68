#include "irsa/webhook_metrics.h"

namespace podpass::irsa {
namespace {

constexpr std::uint64_t kFirstBucket = 125000;  // µs

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
  return out;
}

}  // namespace podpass::irsa
