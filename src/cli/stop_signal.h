#pragma once

#include <pthread.h>
#include <signal.h>

#include <chrono>
#include <ctime>
#include <initializer_list>

#include "base/memory.h"

namespace podpass::cli {

// Waits for SIGTERM, SIGINT or those that are given besides. The signals are blocked in every thread before any is made.
class StopSignal {
 public:
  explicit StopSignal(std::initializer_list<int> more = {}) {
    sigemptyset(&set_);
    for (const int each : more) sigaddset(&set_, each);
    sigaddset(&set_, SIGTERM);
    sigaddset(&set_, SIGINT);
    pthread_sigmask(SIG_BLOCK, &set_, nullptr);
    ::signal(SIGPIPE, SIG_IGN);
  }
  // For a process that has started: what its start needed is given back a second later, when the last of it has come to rest.
  int wait() const {  // which signal came
    constexpr timespec kRest{.tv_sec = 1, .tv_nsec = 0};
    if (const int early = sigtimedwait(&set_, nullptr, &kRest); early > 0) return early;
    releaseUnusedMemory();
    int number = 0;
    sigwait(&set_, &number);
    return number;
  }
  // Waits for one more, but no longer than that: whether it came.
  [[nodiscard]] bool within(std::chrono::milliseconds time) const {
    const timespec limit{.tv_sec = time.count() / 1000, .tv_nsec = time.count() % 1000 * 1'000'000};
    return sigtimedwait(&set_, nullptr, &limit) > 0;
  }

 private:
  sigset_t set_;
};

}  // namespace podpass::cli
