#pragma once

#include <memory>
#include <mutex>
#include <utility>

namespace podpass {

// How rarely changed, always read things are shared: key ring, trust policies, discovery documents. Thread-safe.
template <class T>
class Snapshot {  // a mutex and a pointer: libstdc++ 12's std::atomic<std::shared_ptr> trips ThreadSanitizer
 public:
  Snapshot() = default;
  explicit Snapshot(std::shared_ptr<const T> first) : current_(std::move(first)) {}
  // Take it once per request and keep it to the end, so that a change half-way cannot mix two versions.
  [[nodiscard]] std::shared_ptr<const T> load() const {
    std::lock_guard lock(mutex_);
    return current_;
  }
  void store(std::shared_ptr<const T> next) {
    std::lock_guard lock(mutex_);
    current_.swap(next);
  }

 private:
  mutable std::mutex mutex_;
  std::shared_ptr<const T> current_;
};

}  // namespace podpass
