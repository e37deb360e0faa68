#pragma once

#include <pthread.h>
#include <signal.h>

#include <ctime>

#include "base/memory.h"

namespace podpass::cli {

// Waits for SIGTERM or SIGINT. The signals are blocked in every thread before any is made.
class StopSignal {
 public:
  StopSignal() {
    sigemptyset(&set_);
    sigaddset(&set_, SIGTERM);
    sigaddset(&set_, SIGINT);
    pthread_sigmask(SIG_BLOCK, &set_, nullptr);
    ::signal(SIGPIPE, SIG_IGN);
  }
  // For a process that has started: what its start needed is given back a second later, when the last of it has come to rest.
  void wait() const {
    constexpr timespec kRest{.tv_sec = 1, .tv_nsec = 0};
    if (sigtimedwait(&set_, nullptr, &kRest) > 0) return;
    releaseUnusedMemory();
    int number = 0;
    sigwait(&set_, &number);
  }

 private:
  sigset_t set_;
};

}  // namespace podpass::cli
