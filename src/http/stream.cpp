#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/connect.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>

#include "http/connection.h"
#include "http/endpoint.h"
#include "http/tunnel.h"

namespace podpass::http {
namespace {

using asio::ip::tcp;
using boost::system::error_code;
constexpr std::chrono::seconds kConnectTime{10};

class TcpStream final : public ByteStream {
 public:
  explicit TcpStream(tcp::socket socket) : socket_(std::move(socket)) {}

  asio::awaitable<Result<std::size_t>> readSome(char* data, std::size_t size) override {
    const auto [failed, count] = co_await socket_.async_read_some(asio::buffer(data, size), asio::as_tuple(asio::use_awaitable));
    if (failed == asio::error::eof) co_return std::size_t{0};
    if (failed) co_return Error{Reason::Unavailable, "reading failed: " + failed.message()};
    co_return count;
  }
  asio::awaitable<Result<void>> write(std::string_view bytes) override {
    const auto [failed, count] = co_await asio::async_write(socket_, asio::buffer(bytes), asio::as_tuple(asio::use_awaitable));
    if (failed) co_return Error{Reason::Unavailable, "writing failed: " + failed.message()};
    co_return Result<void>();
  }
  void close() override {
    error_code ignored;
    socket_.shutdown(tcp::socket::shutdown_both, ignored);
    socket_.close(ignored);
  }

 private:
  tcp::socket socket_;
};

// Closes both streams when nothing was read from either for a while.
class Quiet : public std::enable_shared_from_this<Quiet> {
 public:
  Quiet(const asio::any_io_executor& executor, std::shared_ptr<ByteStream> a, std::shared_ptr<ByteStream> b, std::chrono::milliseconds idle)
      : timer_(executor), a_(std::move(a)), b_(std::move(b)), idle_(idle) {}
  void broken() { last_ = std::chrono::steady_clock::now(); }
  void watch() {
    timer_.expires_at(last_ + idle_);
    timer_.async_wait([self = shared_from_this()](error_code cancelled) {
      if (cancelled || self->over_) return;
      if (std::chrono::steady_clock::now() < self->last_ + self->idle_) return self->watch();
      self->a_->close();
      self->b_->close();
    });
  }
  void stop() {
    over_ = true;
    timer_.cancel();
  }

 private:
  asio::steady_timer timer_;
  std::shared_ptr<ByteStream> a_, b_;
  std::chrono::milliseconds idle_;
  SteadyTime last_ = std::chrono::steady_clock::now();
  bool over_ = false;
};

asio::awaitable<void> copy(std::shared_ptr<ByteStream> from, std::shared_ptr<ByteStream> to, std::shared_ptr<Quiet> quiet) {
  std::vector<char> buffer(32u << 10);
  for (;;) {
    const Result<std::size_t> count = co_await from->readSome(buffer.data(), buffer.size());
    if (!count || *count == 0) break;
    if (quiet) quiet->broken();
    const Result<void> written = co_await to->write(std::string_view(buffer.data(), *count));
    if (!written) break;
  }
  from->close();
  to->close();
}

asio::awaitable<void> relayBoth(std::shared_ptr<ByteStream> a, std::shared_ptr<ByteStream> b, std::shared_ptr<Quiet> quiet) {
  const asio::any_io_executor executor = co_await asio::this_coro::executor;
  Wakeup ended(executor);
  bool running = true;
  auto end = [&](std::exception_ptr) {
    running = false;
    ended.wake();
  };
  asio::co_spawn(executor, copy(b, a, quiet), std::move(end));
  co_await copy(a, b, quiet);
  while (running) co_await ended.wait();
}

}  // namespace

asio::awaitable<Result<Tunnel>> openTunnel(std::string host, unsigned short port) {
  const asio::any_io_executor executor = co_await asio::this_coro::executor;
  const auto socket = std::make_shared<tcp::socket>(executor);
  const auto resolver = std::make_shared<tcp::resolver>(executor);
  const auto late = std::make_shared<bool>(false);
  asio::steady_timer timer(executor, kConnectTime);
  timer.async_wait([socket, resolver, late](error_code cancelled) {
    if (cancelled) return;
    *late = true;
    resolver->cancel();
    error_code ignored;
    socket->close(ignored);
  });
  const std::string where = host + ":" + std::to_string(port);
  auto [unresolved, endpoints] = co_await resolver->async_resolve(host, std::to_string(port), asio::as_tuple(asio::use_awaitable));
  if (unresolved) co_return Error{Reason::Unavailable, "cannot resolve " + where + ": " + unresolved.message()};
  if (*late) co_return Error{Reason::Timeout, "no connection to " + where + " in time"};
  const auto [failed, endpoint] = co_await asio::async_connect(*socket, endpoints, asio::as_tuple(asio::use_awaitable));
  timer.cancel();
  if (*late) co_return Error{Reason::Timeout, "no connection to " + where + " in time"};
  if (failed) co_return Error{Reason::Unavailable, "cannot connect to " + where + ": " + failed.message()};
  error_code ignored;
  socket->set_option(tcp::no_delay(true), ignored);
  std::string local = textOf(socket->local_endpoint(ignored));
  Tunnel tunnel{std::make_shared<TcpStream>(std::move(*socket)), std::move(local)};
  co_return tunnel;
}

asio::awaitable<Result<std::shared_ptr<ByteStream>>> connectTcp(std::string host, unsigned short port) {
  Result<Tunnel> tunnel = co_await openTunnel(std::move(host), port);
  if (!tunnel) co_return tunnel.error();
  co_return std::move(tunnel->stream);
}

asio::awaitable<void> relay(std::shared_ptr<ByteStream> a, std::shared_ptr<ByteStream> b) {
  co_await relayBoth(std::move(a), std::move(b), nullptr);
}

asio::awaitable<void> relay(std::shared_ptr<ByteStream> a, std::shared_ptr<ByteStream> b, std::chrono::milliseconds idle) {
  const asio::any_io_executor executor = co_await asio::this_coro::executor;
  const auto quiet = std::make_shared<Quiet>(executor, a, b, idle);
  quiet->watch();
  co_await relayBoth(std::move(a), std::move(b), quiet);
  quiet->stop();
}

}  // namespace podpass::http
