#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/thread_pool.hpp>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "irsa/identities.h"

// Reads of service accounts that the cache does not know (yet): each account once at a time whoever asks, on a few threads, and at most
// so many at once. Thread-safe.
namespace podpass::irsa {

namespace asio = boost::asio;

class LiveReads {
 public:
  // Blocking. nullopt: there is no such account; Unavailable and the like: it could not be found out.
  using Read = std::function<Result<std::optional<Account>>(const std::string& ns, const std::string& name)>;
  explicit LiveReads(Read read);
  ~LiveReads() { stop(); }
  LiveReads(const LiveReads&) = delete;
  LiveReads& operator=(const LiveReads&) = delete;

  // Waits for the answer no longer than `patience`: Timeout. TooManyRequests when too many are under way.
  asio::awaitable<Result<std::optional<Account>>> read(std::string ns, std::string name, std::chrono::milliseconds patience);
  // Waits for the reads under way. The event loops of those who wait must still exist.
  void stop();

 private:
  struct Waiter;
  void run(const std::string& ns, const std::string& name);

  Read read_;
  asio::thread_pool pool_;
  std::mutex mutex_;
  std::map<std::string, std::vector<std::shared_ptr<Waiter>>> pending_;
  bool stopped_ = false;
};

}  // namespace podpass::irsa
