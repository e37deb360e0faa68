#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "server/request_info.h"
#include "store/store.h"
#include "token/inventory.h"
#include "token/verifier.h"

namespace podpass::server {

// What /metrics says, under Kubernetes' names (Prometheus text format 0.0.4). Counting is a look-up and a few relaxed additions; a series
// is made when its first request comes, and their number is bounded by the kinds, not by what clients send. Thread-safe.
class Metrics {
 public:
  Metrics();
  ~Metrics();
  Metrics(const Metrics&) = delete;
  Metrics& operator=(const Metrics&) = delete;

  // A request was answered; `took` is not counted for streams, which last as long as the client likes.
  void count(const RequestInfo& info, int code, std::chrono::nanoseconds took, bool isStream);
  enum class Attempt { Success, Failure, Error };
  // `user`: who it was; "" when it was nobody.
  void countAuthentication(Attempt attempt, std::chrono::nanoseconds took, std::string_view user);
  // Alive as long as the stream: apiserver_longrunning_requests.
  [[nodiscard]] std::shared_ptr<void> longRunning(const RequestInfo& info);

  [[nodiscard]] std::string text(const token::TokenUses& uses, const Store& store, std::uint64_t auditDropped,
                                 const token::Inventory* inventory) const;  // inventory null: nothing is said of it

 private:
  struct Series;
  Series& seriesOf(const RequestInfo& info);

  std::unordered_map<const api::Kind*, std::size_t> firstOf_;  // by kind: where its series begin
  std::vector<std::atomic<Series*>> series_;
  struct Authentications {
    std::array<std::atomic<std::uint64_t>, 16> buckets{};  // each its own, summed when shown
    std::atomic<std::uint64_t> nanoseconds = 0;
  };
  std::array<Authentications, 3> authentications_{};  // by Attempt
  std::array<std::atomic<std::uint64_t>, 7> users_{};
  const std::chrono::system_clock::time_point started_ = std::chrono::system_clock::now();
};

}  // namespace podpass::server
