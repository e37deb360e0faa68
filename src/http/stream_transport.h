#pragma once

#include <boost/asio/basic_stream_socket.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/write.hpp>

#include "http/connection.h"

// The transport over a real socket, plain or TLS, for the server and the client. Heavy: few .cpp include it.
namespace podpass::http {

using LoopExecutor = asio::io_context::executor_type;
using Socket = asio::basic_stream_socket<asio::ip::tcp, LoopExecutor>;
using TlsStream = asio::ssl::stream<Socket>;

inline Socket& socketOf(Socket& stream) { return stream; }
inline Socket& socketOf(TlsStream& stream) { return stream.next_layer(); }

template <class Stream>
class StreamTransport final : public Transport {
 public:
  template <class... Arguments>
  explicit StreamTransport(Arguments&&... arguments) : stream_(std::forward<Arguments>(arguments)...) {}

  Stream& stream() { return stream_; }

  asio::awaitable<Moved> read(char* data, std::size_t size) override {
    return stream_.async_read_some(asio::buffer(data, size), asio::as_tuple(asio::use_awaitable));
  }
  asio::awaitable<Moved> write(const char* data, std::size_t size) override {
    return asio::async_write(stream_, asio::buffer(data, size), asio::as_tuple(asio::use_awaitable));
  }
  asio::awaitable<void> finish(bool linger) override {
    Socket& socket = socketOf(stream_);
    if constexpr (std::is_same_v<Stream, TlsStream>) {
      if (socket.is_open()) {
        // Ours is sent; the client's is not waited for, as most never send one.
        SSL_set_shutdown(stream_.native_handle(), SSL_get_shutdown(stream_.native_handle()) | SSL_RECEIVED_SHUTDOWN);
        co_await stream_.async_shutdown(asio::as_tuple(asio::use_awaitable));
      }
    }
    boost::system::error_code failed;
    socket.shutdown(asio::ip::tcp::socket::shutdown_send, failed);
    if (linger && !failed) co_await discard(socket);
    socket.close(failed);
  }
  void cancel() override {
    boost::system::error_code ignored;
    socketOf(stream_).cancel(ignored);
  }
  void close() override {
    boost::system::error_code ignored;
    socketOf(stream_).close(ignored);
  }
  [[nodiscard]] asio::any_io_executor executor() override { return socketOf(stream_).get_executor(); }

 private:
  static asio::awaitable<void> discard(Socket& socket) {
    std::vector<char> sink(16u << 10);
    for (;;) {
      const auto [failed, count] = co_await socket.async_read_some(asio::buffer(sink), asio::as_tuple(asio::use_awaitable));
      if (failed) co_return;
    }
  }

  Stream stream_;
};

// Dead peers are noticed although nothing is sent: an idle watch would wait for ever.
inline void keepAlive(Socket& socket) {
  boost::system::error_code ignored;
  socket.set_option(asio::ip::tcp::no_delay(true), ignored);
  socket.set_option(asio::socket_base::keep_alive(true), ignored);
  socket.set_option(asio::detail::socket_option::integer<IPPROTO_TCP, TCP_KEEPIDLE>(30), ignored);
  socket.set_option(asio::detail::socket_option::integer<IPPROTO_TCP, TCP_KEEPINTVL>(10), ignored);
  socket.set_option(asio::detail::socket_option::integer<IPPROTO_TCP, TCP_KEEPCNT>(3), ignored);
}

}  // namespace podpass::http
