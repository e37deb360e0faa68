#pragma once

#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "node/handler.h"

namespace podpass::node {

// What a container's probes say of one instance of it.
struct Probed {
  bool started = true;   // no startup probe, or it has succeeded
  bool ready = true;     // no readiness probe, or it holds
  std::string failed{};  // "liveness" or "startup": it is to be killed for that
};

// The counting of one probe (spec node.md §5.14): thresholds, and what holds before the first answer.
class ProbeState {
 public:
  enum class Kind { Startup, Liveness, Readiness };
  ProbeState(Kind kind, const json::object& spec);
  // True when the result has changed. An Error changes nothing.
  bool take(Answer::Kind answer);
  [[nodiscard]] bool good() const { return good_; }
  [[nodiscard]] bool failed() const { return failed_; }  // a startup or liveness probe passed its failureThreshold

 private:
  Kind kind_;
  std::int64_t successThreshold_, failureThreshold_, successes_ = 0, failures_ = 0;
  bool good_, failed_ = false;
};

// Runs the probes of one pod's containers, one after the other, on a thread of its own that exists only when there are any. Thread-safe.
class Prober {
 public:
  // `changed`: a verdict did. `unhealthy(container, "Readiness probe failed: …")`: for the event. Both are called on the prober's thread.
  Prober(Runtime& runtime, const Clock& clock, std::function<void()> changed,
         std::function<void(const std::string&, const std::string&)> unhealthy);
  ~Prober();  // stops
  Prober(const Prober&) = delete;
  Prober& operator=(const Prober&) = delete;
  // Probes these running instances from now on, and no others; those that are known keep their counts.
  void follow(const json::object& pod, const std::vector<Container>& containers, const std::string& podIp);
  [[nodiscard]] Probed verdict(const std::string& containerId) const;
  void stop();  // waits for the probe that runs

 private:
  struct Probe;
  void run();
  std::shared_ptr<Probe> nextDue();  // null: none; the lock is held
  void ask(const std::shared_ptr<Probe>& probe);

  Runtime& runtime_;
  const Clock& clock_;
  std::function<void()> changed_;
  std::function<void(const std::string&, const std::string&)> unhealthy_;
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::map<std::string, std::vector<std::shared_ptr<Probe>>> probes_;  // by container id
  std::string podIp_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace podpass::node
