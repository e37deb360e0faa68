#pragma once

#include <condition_variable>
#include <deque>
#include <mutex>
#include <set>
#include <string>
#include <thread>

#include "api/client.h"
#include "base/clock.h"
#include "irsa/sts_refusal.h"

namespace podpass::irsa {

// The annotation of an Event that holds the whole verdict as JSON; `podpass doctor request ID` reads the Event sts.ID in `default`.
constexpr std::string_view kVerdictAnnotation = "sts.podpass.dev/verdict";
constexpr std::string_view kRefusalEventPrefix = "sts.";

struct RefusedRequest {
  std::string id, action, roleArn;
  std::string caller;  // who asked, as far as it is known: the token's subject, or the session's ARN
  std::string remote;
  DocumentPtr role;  // null: there is none of that ARN
};

// Tells why a request was refused: a line in the log at once, and an Event on the Role from a thread of its own. Refusals cost an
// attacker nothing, so Events are limited to some a second, what waits is bounded, and only the newest are kept. Thread-safe.
class StsRefusalLog {
 public:
  StsRefusalLog(api::Client& client, const Clock& clock) : client_(client), clock_(clock) {}
  ~StsRefusalLog() { stop(); }
  StsRefusalLog(const StsRefusalLog&) = delete;
  StsRefusalLog& operator=(const StsRefusalLog&) = delete;
  void start();
  void stop();  // writes what waits
  void record(const RefusedRequest& request, const Refusal& refusal);

 private:
  struct Event {
    std::string name;
    json::object object;
  };
  void run();
  void findOld();
  void write(Event event);

  api::Client& client_;
  const Clock& clock_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Event> waiting_;
  double tokens_ = 64;  // of the bucket that limits Events
  SteadyTime filled_{};
  bool over_ = false;
  std::deque<std::string> kept_;  // names, oldest first; the thread's own
  std::thread thread_;
};

// {"request", "action", "code", "message", "check", "reason", "fix", "role", "caller", "time", "trustPolicy"}
json::object verdictOf(const RefusedRequest& request, const Refusal& refusal, WallTime now);

}  // namespace podpass::irsa
