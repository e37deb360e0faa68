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
  DocumentPtr role;       // null: there is none of that ARN
  bool verified = false;  // the caller proved who it is: the token or the signature is good
};

// Tells why a request was refused: a line in the log at once, and an Event on the Role from a thread of its own. Refusals cost an
// attacker nothing, so texts are cut, Events are limited to some a second, what waits is bounded, and only the newest are kept: of callers
// who proved who they are 192, of others 64, so that garbage does not push out what somebody looks for. Thread-safe.
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
  struct Shelf {
    std::size_t most;                // that are kept
    std::deque<Event> waiting = {};  // with the two below under the mutex
    double tokens = 64;              // of the bucket that limits Events
    SteadyTime filled{};
    std::deque<std::string> kept = {};  // names, oldest first; the thread's own
  };
  void run();
  void findOld();
  void write(Shelf& shelf, Event event);

  api::Client& client_;
  const Clock& clock_;
  std::mutex mutex_;
  std::condition_variable wake_;
  Shelf verified_{.most = 192}, others_{.most = 64};
  bool over_ = false;
  std::thread thread_;
};

// Texts are cut to what a log line bears.
// {"request", "action", "code", "message", "check", "reason", "fix", "role", "caller", "time", "trustPolicy"}
json::object verdictOf(const RefusedRequest& request, const Refusal& refusal, WallTime now);

}  // namespace podpass::irsa
