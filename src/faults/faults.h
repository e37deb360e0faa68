#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "api/client.h"
#include "base/snapshot.h"
#include "faults/fault.h"
#include "faults/faulty_clock.h"
#include "store/store.h"

namespace podpass::faults {

// The Fault objects of the store, let loose: what `podpass up --faults` puts between its parts, and nobody else has. The parts know nothing
// of it: they are given a clock and a handler around theirs. A fault is in force before who created it has the answer, and over before who
// deleted it has; each beginning and end is a line in the log and an Event, each strike a line in the log, and status says how many.
// Thread-safe. The clock outlives it.
class Faults {
 public:
  explicit Faults(const Clock& clock) : apiServerClock_(clock), stsClock_(clock) {}
  ~Faults() { stop(); }
  Faults(const Faults&) = delete;
  Faults& operator=(const Faults&) = delete;

  // The clock of the API server, or else of STS. They are right until start().
  [[nodiscard]] const Clock& clock(Place place) const { return place == Place::APIServer ? apiServerClock_ : stsClock_; }
  // To be put around a handler; this object outlives the handler.
  [[nodiscard]] http::Wrap around(Place place);
  // Follows the store's Faults until stop(). `forgetKeys`: lets relying parties of this process fetch keys anew; must not block.
  // Store and client outlive the stop.
  Result<void> start(Store& store, api::Client& client, std::function<void()> forgetKeys);
  // Nothing is wrong any more; slow answers come at once. Idempotent.
  void stop();

 private:
  using FaultPtr = std::shared_ptr<Fault>;
  http::asio::awaitable<http::Response> serve(Place place, std::shared_ptr<const http::Handler> inner,
                                              std::shared_ptr<const http::Request> request);
  http::asio::awaitable<void> hold() const;
  FaultPtr striking(Place place, const http::Request& request) const;
  void apply(const Change& change);
  void begin(const json::object& object);
  void end(const FaultPtr& fault);
  void putInForce();
  void run();
  void write(const FaultPtr& fault);
  void revokeKey(const FaultPtr& fault);
  bool pause(std::chrono::milliseconds time);  // false: stopping

  FaultyClock apiServerClock_, stsClock_;
  Snapshot<std::vector<FaultPtr>> inForce_{std::make_shared<const std::vector<FaultPtr>>()};
  std::function<void()> forgetKeys_;
  api::Client* client_ = nullptr;
  std::unique_ptr<Subscription> subscription_;
  std::atomic<bool> over_ = false;
  std::thread writer_;
  std::map<std::string, std::pair<std::string, std::string>> written_;  // uid → condition's message and requests; the writer's own
  std::mutex mutex_;                                                    // for all below
  std::condition_variable wake_;
  std::map<std::string, FaultPtr> all_;  // by name
  std::deque<json::object> events_;      // to be written
};

// Creates these objects, in place of those of the same name.
Result<void> putFaults(api::Client& client, std::vector<json::object> faults);

}  // namespace podpass::faults
