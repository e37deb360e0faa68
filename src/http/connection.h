#pragma once

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/system/error_code.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <tuple>

#include "base/clock.h"
#include "http/http.h"

// What the protocols (HTTP/1.1, HTTP/2) know of the connection that they run on. Everything here belongs to one event loop.
namespace podpass::http {

constexpr SteadyTime kNever = SteadyTime::max();
constexpr std::chrono::seconds kFarewell{2};  // for a client to read the last answer before the socket closes

// The bytes of one client, with TLS removed. One read and one write may be under way at a time.
class Transport {
 public:
  using Moved = std::tuple<boost::system::error_code, std::size_t>;
  virtual ~Transport() = default;
  virtual asio::awaitable<Moved> read(char* data, std::size_t size) = 0;         // some
  virtual asio::awaitable<Moved> write(const char* data, std::size_t size) = 0;  // all
  // Says goodbye (TLS close_notify, FIN) and closes. `linger`: first discards what the client still sends, or the kernel
  // answers it with RST and the client loses what it has not read yet. Nothing else may be under way.
  virtual asio::awaitable<void> finish(bool linger) = 0;
  virtual void cancel() = 0;  // what is under way ends with operation_aborted
  virtual void close() = 0;   // at once; what is under way fails
  [[nodiscard]] virtual asio::any_io_executor executor() = 0;
};

// One connection, as shared between the protocol that serves it and the server that watches over it.
struct Link {
  std::shared_ptr<Transport> transport;
  const Handler& handler;
  const Limits& limits;
  std::shared_ptr<const PeerCertificate> peer;
  std::string remote;
  SteadyTime deadline = kNever;       // the server closes the transport after it: nothing useful was received
  SteadyTime writeDeadline = kNever;  // the same: nothing could be sent
  bool stopping = false;
  std::function<void()> onStop;  // set by the protocol: end when the running requests are over
};

// Serve the connection to its end. All that they spawned is over when they return; the transport is closed.
asio::awaitable<void> serveHttp1(Link& link);
asio::awaitable<void> serveHttp2(Link& link);

// One coroutine sleeps until another, on the same event loop, wakes it. A wake without a sleeper is lost: test the
// condition, then wait, without a co_await between.
class Wakeup {
 public:
  explicit Wakeup(asio::any_io_executor executor) : timer_(std::move(executor), kNever) {}
  asio::awaitable<std::tuple<boost::system::error_code>> wait() { return timer_.async_wait(asio::as_tuple(asio::use_awaitable)); }
  void wake() { timer_.cancel(); }

 private:
  asio::steady_timer timer_;
};

}  // namespace podpass::http
