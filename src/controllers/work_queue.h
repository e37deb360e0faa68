#pragma once

#include <condition_variable>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>

#include "base/clock.h"

namespace podpass::controllers {

// What a control loop should look at: a set of names, so that a thousand changes of one thing are one visit. Thread-safe; the waiter
// sleeps.
class WorkQueue {
 public:
  explicit WorkQueue(const Clock& clock) : clock_(clock) {}
  void add(const std::string& name);
  // Adds it when `delay` has passed on the steady clock; the earliest of several due times counts.
  void addAfter(std::chrono::nanoseconds delay, const std::string& name);
  // Adds it after a back-off: 5 ms, doubled for each retry since forget(), at most 60 s, with jitter.
  void retry(const std::string& name);
  void forget(const std::string& name);  // it went well
  // The next name, in the order in which they came; waits for one. nullopt once the queue is shut down.
  std::optional<std::string> take();
  void shutDown();

 private:
  void addLocked(const std::string& name);
  void addAfterLocked(std::chrono::nanoseconds delay, const std::string& name);
  void ripen();

  const Clock& clock_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::map<std::uint64_t, std::string> ready_;  // by number of arrival
  std::set<std::string> waiting_;               // the names in ready_
  std::uint64_t arrivals_ = 0;
  std::multimap<SteadyTime, std::string> later_;
  std::unordered_map<std::string, SteadyTime> due_;
  std::unordered_map<std::string, unsigned> retries_;
  bool over_ = false;
};

}  // namespace podpass::controllers
