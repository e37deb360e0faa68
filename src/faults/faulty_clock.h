#pragma once

#include <atomic>

#include "base/clock.h"

namespace podpass::faults {

// A clock that shows the right time until it is told otherwise. Thread-safe; the right clock outlives it.
class FaultyClock final : public Clock {
 public:
  explicit FaultyClock(const Clock& right) : right_(right) {}
  [[nodiscard]] WallTime now() const override { return right_.now() + skew(); }
  [[nodiscard]] SteadyTime steady() const override { return right_.steady(); }
  // Ten years on for what was issued until `expireUntil`: beyond the life of every token.
  [[nodiscard]] WallTime nowFor(std::chrono::seconds issued) const override {
    return issued.count() <= expired_.load() ? now() + std::chrono::hours(24 * 3653) : now();
  }
  [[nodiscard]] std::chrono::seconds skew() const { return std::chrono::seconds(skew_.load()); }
  void setSkew(std::chrono::seconds ahead) { skew_ = ahead.count(); }
  void expireUntil(std::chrono::seconds sinceEpoch) { expired_ = sinceEpoch.count(); }

 private:
  const Clock& right_;
  std::atomic<std::int64_t> skew_{0}, expired_{-1};
};

}  // namespace podpass::faults
