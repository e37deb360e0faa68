#include <openssl/err.h>
#include <openssl/x509v3.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/error.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/http/basic_parser.hpp>
#include <boost/url/parse.hpp>
#include <boost/url/url_view.hpp>

#include "http/connection.h"
#include "http/message.h"
#include "http/tls.h"

namespace podpass::http {
namespace {

namespace beast = boost::beast;
using asio::ip::tcp;
using boost::system::error_code;
using TlsStream = asio::ssl::stream<tcp::socket>;

constexpr std::size_t kReadSize = 16u << 10;
constexpr std::size_t kMaxHead = 256u << 10;

struct Endpoint {
  bool secure = false;
  std::string host;  // without the brackets of IPv6
  std::string port;
  std::string authority;  // for the Host header
  std::string target;
};

Result<Endpoint> parseUrl(const std::string& text) {
  const auto parsed = boost::urls::parse_uri(text);
  if (!parsed) return Error{Reason::BadRequest, "not a URL: " + text};
  const boost::urls::url_view& url = *parsed;
  Endpoint endpoint;
  endpoint.secure = url.scheme_id() == boost::urls::scheme::https;
  if (!endpoint.secure && url.scheme_id() != boost::urls::scheme::http)
    return Error{Reason::BadRequest, "only http:// and https:// can be fetched, not " + text};
  if (url.encoded_host().empty()) return Error{Reason::BadRequest, "the URL has no host: " + text};
  if (url.has_userinfo()) return Error{Reason::BadRequest, "a URL with a user name in it cannot be fetched"};
  endpoint.host = url.host_address();
  endpoint.port = url.has_port() && !url.port().empty() ? std::string(url.port()) : (endpoint.secure ? "443" : "80");
  endpoint.authority = std::string(url.encoded_host_and_port());
  endpoint.target = std::string(url.encoded_path().empty() ? "/" : url.encoded_path());
  if (url.has_query()) endpoint.target += "?" + std::string(url.encoded_query());
  return endpoint;
}

class ResponseParser final : public beast::http::basic_parser<false> {
 public:
  ResponseParser(Fetched& fetched, std::size_t limit, bool headOnly) : fetched_(fetched), limit_(limit) {
    header_limit(kMaxHead);
    body_limit(boost::none);
    eager(true);
    skip(headOnly);
  }
  [[nodiscard]] bool tooLarge() const { return tooLarge_; }
  [[nodiscard]] bool informational() const { return fetched_.status / 100 == 1 && fetched_.status != 101; }

 private:
  void on_request_impl(beast::http::verb, beast::string_view, beast::string_view, int, error_code&) override {}
  void on_response_impl(int code, beast::string_view, int, error_code&) override { fetched_.status = code; }
  void on_field_impl(beast::http::field, beast::string_view name, beast::string_view value, error_code&) override {
    if (!headDone_) fetched_.headers.add(std::string(name), std::string(value));
  }
  void on_header_impl(error_code&) override { headDone_ = true; }
  void on_body_init_impl(const boost::optional<std::uint64_t>&, error_code&) override {}
  std::size_t on_body_impl(beast::string_view bytes, error_code& failed) override { return take(bytes, failed); }
  void on_chunk_header_impl(std::uint64_t, beast::string_view, error_code&) override {}
  std::size_t on_chunk_body_impl(std::uint64_t, beast::string_view bytes, error_code& failed) override { return take(bytes, failed); }
  void on_finish_impl(error_code&) override {}

  std::size_t take(beast::string_view bytes, error_code& failed) {
    tooLarge_ = fetched_.body.size() + bytes.size() > limit_;
    if (tooLarge_)
      failed = beast::http::error::body_limit;
    else
      fetched_.body.append(bytes.data(), bytes.size());
    return bytes.size();
  }

  Fetched& fetched_;
  std::size_t limit_;
  bool tooLarge_ = false;
  bool headDone_ = false;
};

std::string requestText(const Endpoint& endpoint, const FetchOptions& options) {
  std::string text = options.method + " " + endpoint.target + " HTTP/1.1\r\n";
  if (!options.headers.has("Host")) text += "Host: " + endpoint.authority + "\r\n";
  for (const Header& header : options.headers.all())
    if (!isFraming(header.name)) text += headerSafe(header.name) + ": " + headerSafe(header.value) + "\r\n";
  const bool carries = !options.body.empty() || options.method == "POST" || options.method == "PUT" || options.method == "PATCH";
  if (carries) text += "Content-Length: " + std::to_string(options.body.size()) + "\r\n";
  text += "Connection: close\r\n\r\n";
  return text + options.body;
}

Result<std::unique_ptr<asio::ssl::context>> clientContext(const FetchOptions& options) {
  ERR_clear_error();
  auto context = std::make_unique<asio::ssl::context>(asio::ssl::context::tls_client);
  SSL_CTX* raw = context->native_handle();
  SSL_CTX_set_min_proto_version(raw, TLS1_2_VERSION);
  error_code failed;
  if (!options.caPem.empty())
    context->add_certificate_authority(asio::buffer(options.caPem), failed);
  else if (!options.caFile.empty())
    context->load_verify_file(options.caFile, failed);
  else
    context->set_default_verify_paths(failed);
  if (failed) return Error{Reason::BadRequest, "cannot use the certificate authority " + options.caFile + ": " + failed.message()};
  if (!options.clientCertificatePem.empty()) {
    context->use_certificate_chain(asio::buffer(options.clientCertificatePem), failed);
    if (!failed) context->use_private_key(asio::buffer(options.clientKeyPem), asio::ssl::context::pem, failed);
    if (failed) return Error{Reason::BadRequest, "cannot use the client certificate: " + failed.message()};
  }
  SSL_CTX_set_verify(raw, options.insecure ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, nullptr);
  return context;
}

// The server's certificate must be for this name or address.
bool expectHost(SSL* connection, const std::string& host) {
  error_code notAnAddress;
  const asio::ip::address address = asio::ip::make_address(host, notAnAddress);
  static_cast<void>(address);
  if (!notAnAddress) return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(connection), host.c_str()) == 1;
  SSL_set_hostflags(connection, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
  return SSL_set_tlsext_host_name(connection, host.c_str()) == 1 && SSL_set1_host(connection, host.c_str()) == 1;
}

Error handshakeFailure(SSL* connection, const std::string& where, const error_code& failed) {
  const long verdict = SSL_get_verify_result(connection);
  if (verdict == X509_V_OK) return Error{Reason::Unavailable, "the TLS handshake with " + where + " failed: " + failed.message()};
  return Error{Reason::Unavailable,
               "the certificate of " + where + " was not accepted: " + std::string(X509_verify_cert_error_string(verdict)),
               "give the certificate authority that issued it"};
}

// Reads until the answer is complete.
template <class Connection>
asio::awaitable<Result<Fetched>> receive(Connection& connection, std::string where, std::size_t limit, bool headOnly) {
  Fetched fetched;
  auto parser = std::make_unique<ResponseParser>(fetched, limit, headOnly);
  std::string received;
  std::vector<char> buffer(kReadSize);
  for (;;) {
    error_code failed;
    while (!received.empty() && !parser->is_done()) {
      received.erase(0, parser->put(asio::buffer(received), failed));
      if (parser->tooLarge())
        co_return Error{Reason::RequestTooLarge, "the answer of " + where + " is larger than " + std::to_string(limit) + " bytes"};
      if (failed == beast::http::error::need_more) break;
      if (failed) co_return Error{Reason::Unavailable, "the answer of " + where + " is not HTTP: " + failed.message()};
    }
    if (parser->is_done() && parser->informational()) {  // 100 Continue: the answer follows
      fetched = {};
      parser = std::make_unique<ResponseParser>(fetched, limit, headOnly);
      continue;
    }
    if (parser->is_done()) co_return fetched;
    const auto [ended, count] = co_await connection.async_read_some(asio::buffer(buffer), asio::as_tuple(asio::use_awaitable));
    received.append(buffer.data(), count);
    if (!ended) continue;
    if (ended != asio::error::eof || !parser->got_some())
      co_return Error{Reason::Unavailable, where + " closed the connection: " + ended.message()};
    parser->put_eof(failed);
    if (failed) co_return Error{Reason::Unavailable, "the answer of " + where + " was cut off"};
    co_return fetched;
  }
}

template <class Connection>
asio::awaitable<Result<Fetched>> exchange(Connection& connection, Endpoint endpoint, const FetchOptions& options, std::string where) {
  const std::string text = requestText(endpoint, options);
  // A server that refuses a large body may answer and close before it was all sent: its answer counts.
  const auto [unsent, count] = co_await asio::async_write(connection, asio::buffer(text), asio::as_tuple(asio::use_awaitable));
  Result<Fetched> fetched = co_await receive(connection, where, options.maxBody, options.method == "HEAD");
  if (!fetched && unsent) co_return Error{Reason::Unavailable, "sending to " + where + " failed: " + unsent.message()};
  co_return fetched;
}

asio::awaitable<Result<Fetched>> fetchFrom(Endpoint endpoint, const FetchOptions& options, asio::ssl::context* tls) {
  const asio::any_io_executor executor = co_await asio::this_coro::executor;
  const std::string where = endpoint.authority;
  tcp::resolver resolver(executor);
  auto [unresolved, addresses] = co_await resolver.async_resolve(endpoint.host, endpoint.port, asio::as_tuple(asio::use_awaitable));
  if (unresolved) co_return Error{Reason::Unavailable, "cannot resolve " + endpoint.host + ": " + unresolved.message()};
  tcp::socket socket(executor);
  const auto [unconnected, address] = co_await asio::async_connect(socket, addresses, asio::as_tuple(asio::use_awaitable));
  if (unconnected) co_return Error{Reason::Unavailable, "cannot connect to " + where + ": " + unconnected.message()};
  if (tls == nullptr) co_return co_await exchange(socket, endpoint, options, where);
  TlsStream stream(std::move(socket), *tls);
  if (!options.insecure && !expectHost(stream.native_handle(), endpoint.host))
    co_return Error{Reason::BadRequest, "not a host name: " + endpoint.host};
  const auto [refused] = co_await stream.async_handshake(asio::ssl::stream_base::client, asio::as_tuple(asio::use_awaitable));
  if (refused) co_return handshakeFailure(stream.native_handle(), where, refused);
  co_return co_await exchange(stream, endpoint, options, where);
}

Result<Fetched> fetchInTime(const std::string& url, const FetchOptions& options) {
  Result<Endpoint> endpoint = parseUrl(url);
  if (!endpoint) return endpoint.error();
  std::unique_ptr<asio::ssl::context> tls;
  if ((*endpoint).secure) {
    Result<std::unique_ptr<asio::ssl::context>> context = clientContext(options);
    if (!context) return context.error();
    tls = *std::move(context);
  }
  std::optional<Result<Fetched>> outcome;
  asio::io_context loop(1);
  asio::co_spawn(loop, fetchFrom(*endpoint, options, tls.get()), [&outcome](std::exception_ptr thrown, Result<Fetched> fetched) {
    if (!thrown) outcome = std::move(fetched);
  });
  loop.run_for(options.timeout);
  if (outcome) return *std::move(outcome);
  return Error{Reason::Timeout, "no answer from " + (*endpoint).authority + " within " + std::to_string(options.timeout.count()) + " s"};
}

}  // namespace

Result<Fetched> fetch(const std::string& url, const FetchOptions& options) {
  try {
    return fetchInTime(url, options);
  } catch (const std::bad_alloc&) {
    throw;
  } catch (const std::exception& thrown) {
    return Error{Reason::Internal, "fetching " + url + " failed: " + thrown.what()};
  }
}

}  // namespace podpass::http
