#pragma once

#include <functional>
#include <string>
#include <thread>

#include "base/result.h"
#include "controllers/work_queue.h"

namespace podpass::controllers {

// A thread that visits the names in its queue one by one. A visit that fails comes back later, alone, after a back-off.
class ControlLoop {
 public:
  using Visit = std::function<Result<void>(const std::string& name)>;
  ControlLoop(std::string title, const Clock& clock, Visit visit) : title_(std::move(title)), queue_(clock), visit_(std::move(visit)) {}
  ~ControlLoop() { stop(); }
  ControlLoop(const ControlLoop&) = delete;
  ControlLoop& operator=(const ControlLoop&) = delete;
  [[nodiscard]] WorkQueue& queue() { return queue_; }
  void start();
  void stop();  // waits for the visit that is under way

 private:
  void run();
  std::string title_;
  WorkQueue queue_;
  Visit visit_;
  std::thread thread_;
};

// What is wrong only for now: somebody else was quicker, and the event of their change brings us back.
inline bool isRace(const Error& error) { return error.reason == Reason::Conflict || error.reason == Reason::NotFound; }

}  // namespace podpass::controllers
