#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <map>
#include <mutex>
#include <string>

// The webhook's metrics under the names of the Amazon EKS pod identity webhook, in the text format of Prometheus. Thread-safe.
namespace podpass::irsa {

class WebhookMetrics {
 public:
  std::atomic<bool> used{false};  // a service account was seen
  std::atomic<std::uint64_t> webIdentityPods{0}, containerCredentialsPods{0}, injectedPods{0};
  std::atomic<std::uint64_t> missingAccounts{0};
  std::atomic<std::uint64_t> deniedUnknown{0};  // pods refused because nothing could be found out
  std::atomic<std::uint64_t> unmutatedPods{0};  // pods that run without what their service account promises, at the last look
  std::atomic<std::uint64_t> evictedPods{0}, refusedEvictions{0};

  // `path` is one of those that are served, or "other": a stranger must not make labels.
  void countRequest(std::string_view verb, std::string_view path, int code, std::chrono::microseconds took);
  // A certificate was replaced that had been valid for so long.
  void countRotation(std::chrono::seconds lived);
  [[nodiscard]] std::string text() const;

 private:
  struct Latencies {
    std::array<std::uint64_t, 7> upTo{};  // 125 ms doubled six times; cumulative
    std::uint64_t count = 0;
    std::uint64_t sum = 0;  // µs
    std::map<int, std::uint64_t> codes;
  };
  struct Rotations {
    std::array<std::uint64_t, 10> upTo{};  // of kRotationBuckets; cumulative
    std::uint64_t count = 0;
    std::int64_t sum = 0;  // s
  };
  mutable std::mutex mutex_;
  Rotations rotations_;
  std::map<std::pair<std::string, std::string>, Latencies, std::less<>> requests_;  // by verb and path
};

}  // namespace podpass::irsa
