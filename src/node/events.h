#pragma once

#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <string>
#include <thread>

#include "api/client.h"
#include "base/clock.h"

namespace podpass::node {

// Events about pods, as kubelet words them. The same event again raises its count instead of making another. Events are told, never waited
// for: a thread of their own writes them in order, more than kWaiting at once are dropped, and a failure to write one is logged and
// forgotten. Thread-safe.
class Events {
 public:
  static constexpr std::size_t kWaiting = 1024;
  Events(api::Client& client, const Clock& clock, std::string nodeName);
  ~Events() { stop(); }
  Events(const Events&) = delete;
  Events& operator=(const Events&) = delete;
  void normal(const json::object& pod, const std::string& container, const std::string& reason, const std::string& message);
  void warning(const json::object& pod, const std::string& container, const std::string& reason, const std::string& message);
  // Writes what waits, and nothing later. Idempotent.
  void stop();

 private:
  struct Event {
    const char* type;
    std::string ns, pod, uid, field, reason, message;
    WallTime time;
  };
  struct Told {
    std::string name;
    int count = 0;
  };
  void tell(const char* type, const json::object& pod, const std::string& container, const std::string& reason, const std::string& message);
  void run();
  void write(const Event& event);

  api::Client& client_;
  const Clock& clock_;
  std::string nodeName_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Event> waiting_;
  bool stopping_ = false;
  std::map<std::string, Told> told_;  // the writer's alone
  std::thread writer_;
};

}  // namespace podpass::node
