#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/thread_pool.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "http/client_tls.h"
#include "http/connection.h"
#include "http/url.h"

// How the client gets to a server: name, address, TCP, TLS.
namespace podpass::http {

// A connection, as the client keeps it.
struct PooledConnection {
  explicit PooledConnection(asio::io_context& loop) : timer(loop) {}
  std::shared_ptr<Transport> transport;
  std::shared_ptr<const ClientTls> tls;
  int socket = -1;  // owned by the transport
  asio::ip::address to;
  bool used = false;         // an answer came over it before
  bool http2 = false;        // the server chose it
  asio::steady_timer timer;  // while idle

  // The server has neither closed nor said anything unasked.
  [[nodiscard]] bool quiet() const;
};
using ConnectionPtr = std::shared_ptr<PooledConnection>;

// What one `send` is doing right now, and how to end it. Lives on the client's loop.
struct Sending {
  explicit Sending(asio::io_context& loop) : wakeup(loop.get_executor()), timer(loop) {}
  Wakeup wakeup;                // it waits for a place or for a name
  asio::steady_timer timer;     // the deadline, or of one attempt to connect
  std::function<void()> close;  // it waits for the network
  SteadyTime deadline = kNever;
  bool retried = false;  // after an HTTP/2 connection did not do it
  std::optional<Error> ended;

  void end(Error why) {
    if (ended) return;
    ended = std::move(why);
    wakeup.wake();
    if (close) close();
  }
};
using SendingPtr = std::shared_ptr<Sending>;

// Makes connections, on the client's event loop; names are resolved on threads of its own. The loop and `allowed` outlive it.
class Connector {
 public:
  using Allowed = std::function<bool(const asio::ip::address&)>;
  Connector(asio::io_context& loop, const Allowed& allowed) : loop_(loop), allowed_(allowed) {}
  ~Connector() {
    if (lookups_) lookups_->stop();
  }
  Connector(const Connector&) = delete;
  Connector& operator=(const Connector&) = delete;

  // `tls` is null for plain HTTP. Unavailable: nobody answers, or whoever does is not believed. Forbidden: no address is allowed.
  asio::awaitable<Result<ConnectionPtr>> connect(SendingPtr sending, std::shared_ptr<const ClientTls> tls, Url url,
                                                 const FetchOptions& options);

 private:
  using Addresses = std::vector<asio::ip::address>;
  asio::awaitable<Result<Addresses>> resolve(SendingPtr sending, std::string host, const FetchOptions& options);
  [[nodiscard]] Result<Addresses> allowedOf(Addresses addresses, const std::string& host, const FetchOptions& options) const;

  asio::io_context& loop_;
  const Allowed& allowed_;
  std::optional<asio::thread_pool> lookups_;
};

}  // namespace podpass::http
