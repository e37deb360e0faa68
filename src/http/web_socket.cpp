#include "http/web_socket.h"

#include <boost/asio/any_completion_handler.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/connect.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/ssl/error.hpp>
#include <boost/beast/core/buffers_prefix.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/websocket/stream.hpp>

#include "base/text.h"
#include "http/client_tls.h"
#include "http/message.h"
#include "http/stream_transport.h"
#include "http/url.h"

namespace podpass::http {
namespace {

namespace websocket = boost::beast::websocket;
using asio::ip::tcp;
using boost::system::error_code;

struct Listening {
  const Url& url;
  const std::string& protocol;
  const FetchOptions& options;
  const std::function<void(std::string_view)>& consume;
};

// A connection with or without TLS, so that Beast's WebSocket, which is dear to compile, is compiled for one kind of stream and of handler.
class EitherStream {
 public:
  using executor_type = LoopExecutor;
  using Handler = asio::any_completion_handler<void(error_code, std::size_t)>;

  explicit EitherStream(Socket socket) : plain_(std::move(socket)) {}
  EitherStream(Socket socket, SSL* ssl) : secure_(std::in_place, std::move(socket), ssl) {}

  executor_type get_executor() { return socket().get_executor(); }
  TlsStream& secure() { return *secure_; }
  Socket& socket() { return secure_ ? secure_->next_layer() : *plain_; }

  template <class Buffers, class Completion>
  void async_read_some(const Buffers& buffers, Completion&& completion) {
    readSome(boost::beast::buffers_front(buffers), Handler(std::forward<Completion>(completion)));
  }
  template <class Buffers, class Completion>
  void async_write_some(const Buffers& buffers, Completion&& completion) {
    writeSome(boost::beast::buffers_front(buffers), Handler(std::forward<Completion>(completion)));
  }

 private:
  void readSome(asio::mutable_buffer into, Handler handler) {
    secure_ ? secure_->async_read_some(into, std::move(handler)) : plain_->async_read_some(into, std::move(handler));
  }
  void writeSome(asio::const_buffer from, Handler handler) {
    secure_ ? secure_->async_write_some(from, std::move(handler)) : plain_->async_write_some(from, std::move(handler));
  }

  std::optional<Socket> plain_;
  std::optional<TlsStream> secure_;
};

// What Beast asks for where a connection ends. Nothing is left to say then: the owner closes the socket.
void beast_close_socket(EitherStream& stream) {
  error_code ignored;
  stream.socket().close(ignored);
}
template <class Completion>
void async_teardown(boost::beast::role_type, EitherStream& stream, Completion&& completion) {
  asio::post(stream.get_executor(), [completion = std::forward<Completion>(completion)]() mutable { completion(error_code()); });
}

// Without compression, which nobody here asks for.
using WebSocket = websocket::stream<EitherStream, false>;

asio::awaitable<Result<Fetched>> listen(WebSocket& socket, const Listening& what) {
  const auto decorate = [&what](websocket::request_type& request) {
    request.set("Sec-WebSocket-Protocol", what.protocol);
    for (const Header& header : what.options.headers.all()) request.set(headerSafe(header.name), headerSafe(header.value));
    if (!what.options.bearer.empty()) request.set("Authorization", "Bearer " + headerSafe(what.options.bearer.reveal()));
  };
  socket.set_option(websocket::stream_base::decorator(decorate));
  socket.read_message_max(what.options.maxBody);
  websocket::response_type answer;
  const auto [declined] = co_await socket.async_handshake(answer, what.url.authority, what.url.target, asio::as_tuple(asio::use_awaitable));
  Fetched fetched;
  fetched.status = static_cast<int>(answer.result_int());
  fetched.body = std::move(answer.body());
  if (declined == websocket::error::upgrade_declined) co_return fetched;
  if (declined) co_return Error{Reason::Unavailable, what.url.authority + " did not open a WebSocket: " + declined.message()};
  boost::beast::flat_buffer buffer;
  for (std::size_t total = 0;;) {
    const auto [ended, count] = co_await socket.async_read(buffer, asio::as_tuple(asio::use_awaitable));
    if (ended == websocket::error::closed || ended == asio::error::eof || ended == asio::ssl::error::stream_truncated) co_return fetched;
    total += count;
    if (ended == websocket::error::message_too_big || ended == websocket::error::buffer_overflow || total > what.options.maxBody)
      co_return Error{Reason::RequestTooLarge,
                      "the answer of " + what.url.authority + " is larger than " + std::to_string(what.options.maxBody) + " bytes"};
    if (ended) co_return Error{Reason::Unavailable, what.url.authority + " ended the WebSocket: " + ended.message()};
    what.consume({static_cast<const char*>(buffer.data().data()), buffer.size()});
    buffer.consume(buffer.size());
  }
}

asio::awaitable<Result<Fetched>> connectAndListen(asio::io_context& loop, const Listening& what) {
  const Url& url = what.url;
  tcp::resolver resolver(loop);
  const auto [unresolved, found] = co_await resolver.async_resolve(url.host, url.port, asio::as_tuple(asio::use_awaitable));
  if (unresolved) co_return Error{Reason::Unavailable, "cannot resolve " + url.host + ": " + unresolved.message()};
  Socket socket(loop);
  const auto [unconnected, endpoint] = co_await asio::async_connect(socket, found, asio::as_tuple(asio::use_awaitable));
  if (unconnected) co_return Error{Reason::Unavailable, "cannot connect to " + url.authority + ": " + unconnected.message()};
  if (!url.secure) {
    WebSocket plain(std::move(socket));
    co_return co_await listen(plain, what);
  }
  Result<std::shared_ptr<const ClientTls>> tls = makeClientTls(what.options);
  if (!tls) co_return tls.error();
  WebSocket secure(std::move(socket), SSL_new((*tls)->context.get()));
  TlsStream& stream = secure.next_layer().secure();
  SSL* ssl = stream.native_handle();
  const std::string& name = what.options.serverName.empty() ? url.host : what.options.serverName;
  ChainVerdict verdict;
  if (!expectServer(ssl, name, verdict)) co_return Error{Reason::BadRequest, "not a host name: " + quoted(name)};
  const auto [failed] = co_await stream.async_handshake(asio::ssl::stream_base::client, asio::as_tuple(asio::use_awaitable));
  if (failed) co_return handshakeFailure(ssl, url.authority, name, verdict, failed.message());
  co_return co_await listen(secure, what);
}

}  // namespace

Result<Fetched> listenToWebSocket(const std::string& url, const std::string& protocol, const FetchOptions& options,
                                  const std::function<void(std::string_view message)>& consume) {
  const Result<Url> parsed = parseUrl(url);
  if (!parsed) return parsed.error();
  Result<Fetched> result =
      Error{Reason::Timeout, "no answer from " + parsed->authority + " within " + std::to_string(options.timeout.count()) + " ms"};
  const Listening what{*parsed, protocol, options, consume};
  asio::io_context loop(1);
  asio::co_spawn(loop, connectAndListen(loop, what), [&result](std::exception_ptr thrown, Result<Fetched> got) {
    result = thrown ? Result<Fetched>(Error{Reason::Internal, "the WebSocket ended with an exception"}) : std::move(got);
  });
  loop.run_for(options.timeout);
  return result;
}

}  // namespace podpass::http
