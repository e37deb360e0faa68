#pragma once

#include <pthread.h>
#include <signal.h>

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
  void wait() const {
    int number = 0;
    sigwait(&set_, &number);
  }

 private:
  sigset_t set_;
};

}  // namespace podpass::cli
