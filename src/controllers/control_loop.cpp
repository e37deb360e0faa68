#include "controllers/control_loop.h"

#include "base/log.h"

namespace podpass::controllers {

void ControlLoop::start() {
  thread_ = std::thread([this] { run(); });
}

void ControlLoop::stop() {
  queue_.shutDown();
  if (thread_.joinable()) thread_.join();
}

void ControlLoop::run() {
  while (std::optional<std::string> name = queue_.take()) {
    const Result<void> done = visit_(*name);
    if (done) {
      queue_.forget(*name);
      continue;
    }
    // a lost race is everyday work, the rest is worth an operator's look
    if (isRace(done.error()))
      log::debug("control loop lost a race", {{"loop", title_}, {"name", *name}, {"err", log::chain(done.error())}});
    else
      log::warn("control loop failed", {{"loop", title_}, {"name", *name}, {"err", log::chain(done.error())}});
    queue_.retry(*name);
  }
}

}  // namespace podpass::controllers
