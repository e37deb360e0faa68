#include "http/client_exchange.h"

#include <openssl/crypto.h>

#include <boost/asio/error.hpp>
#include <boost/beast/http/basic_parser.hpp>

#include "http/message.h"

namespace podpass::http {
namespace {

namespace beast = boost::beast;
using boost::system::error_code;

constexpr std::size_t kReadSize = 16u << 10;
constexpr std::size_t kMaxHead = 256u << 10;

class ResponseParser final : public beast::http::basic_parser<false> {
 public:
  ResponseParser(Fetched& fetched, const FetchOptions& options) : fetched_(fetched), options_(options) {
    header_limit(kMaxHead);
    body_limit(boost::none);
    eager(true);
    skip(options.method == "HEAD");
  }
  [[nodiscard]] bool tooLarge() const { return tooLarge_; }
  [[nodiscard]] bool enough() const { return enough_; }  // the consumer wants no more
  [[nodiscard]] bool informational() const { return fetched_.status / 100 == 1 && fetched_.status != 101; }

 private:
  void on_request_impl(beast::http::verb, beast::string_view, beast::string_view, int, error_code&) override {}
  void on_response_impl(int code, beast::string_view, int, error_code&) override { fetched_.status = code; }
  void on_field_impl(beast::http::field, beast::string_view name, beast::string_view value, error_code&) override {
    if (!headDone_) fetched_.headers.add(std::string(name), std::string(value));  // a trailer must not pass for a header
  }
  void on_header_impl(error_code&) override { headDone_ = true; }
  void on_body_init_impl(const boost::optional<std::uint64_t>&, error_code&) override {}
  std::size_t on_body_impl(beast::string_view bytes, error_code& failed) override { return take(bytes, failed); }
  void on_chunk_header_impl(std::uint64_t, beast::string_view, error_code&) override {}
  std::size_t on_chunk_body_impl(std::uint64_t, beast::string_view bytes, error_code& failed) override { return take(bytes, failed); }
  void on_finish_impl(error_code&) override {}

  std::size_t take(beast::string_view bytes, error_code& failed) {
    if (options_.consume && fetched_.status / 100 == 2) {
      enough_ = !options_.consume(fetched_, std::string_view(bytes.data(), bytes.size()));
    } else {
      tooLarge_ = fetched_.body.size() + bytes.size() > options_.maxBody;
      if (!tooLarge_) fetched_.body.append(bytes.data(), bytes.size());
    }
    if (tooLarge_ || enough_) failed = beast::http::error::body_limit;
    return bytes.size();
  }

  Fetched& fetched_;
  const FetchOptions& options_;
  bool tooLarge_ = false;
  bool enough_ = false;
  bool headDone_ = false;
};

std::string requestText(const Url& url, const FetchOptions& options) {
  std::string text = headerSafe(options.method) + " " + url.target + " HTTP/1.1\r\n";
  if (!options.headers.has("Host")) text += "Host: " + url.authority + "\r\n";
  for (const Header& header : options.headers.all())
    if (!isFraming(header.name)) text += headerSafe(header.name) + ": " + headerSafe(header.value) + "\r\n";
  if (!options.bearer.empty()) text += "Authorization: Bearer " + headerSafe(options.bearer.reveal()) + "\r\n";
  const bool carries = !options.body.empty() || options.method == "POST" || options.method == "PUT" || options.method == "PATCH";
  if (carries) text += "Content-Length: " + std::to_string(options.body.size()) + "\r\n";
  return text + "\r\n" + options.body;
}

asio::awaitable<Result<Fetched>> receive(std::shared_ptr<Transport> transport, std::string where, const FetchOptions& options,
                                         Exchange& exchange) {
  Fetched fetched;
  auto parser = std::make_unique<ResponseParser>(fetched, options);
  std::string received;
  std::vector<char> buffer(kReadSize);
  bool headSeen = false;
  for (;;) {
    error_code failed;
    while (!received.empty() && !parser->is_done()) {
      received.erase(0, parser->put(asio::buffer(received), failed));
      if (parser->enough()) co_return fetched;
      if (parser->tooLarge())
        co_return Error{Reason::RequestTooLarge,
                        "the answer of " + where + " is larger than " + std::to_string(options.maxBody) + " bytes"};
      if (failed == beast::http::error::need_more) break;
      if (failed) co_return Error{Reason::Unavailable, "the answer of " + where + " is not HTTP: " + failed.message()};
    }
    if (parser->is_done() && parser->informational()) {  // 100 Continue: the answer follows
      fetched = {};
      parser = std::make_unique<ResponseParser>(fetched, options);
      continue;
    }
    if (parser->is_header_done() && !std::exchange(headSeen, true) && exchange.onHead) exchange.onHead(fetched.status);
    if (parser->is_done()) {
      exchange.reusable = parser->keep_alive() && received.empty();
      co_return fetched;
    }
    const auto [ended, count] = co_await transport->read(buffer.data(), buffer.size());
    exchange.answered |= count > 0;
    received.append(buffer.data(), count);
    if (!ended) continue;
    if (ended != asio::error::eof || !parser->got_some())
      co_return Error{Reason::Unavailable, where + " closed the connection: " + ended.message()};
    parser->put_eof(failed);
    if (failed) co_return Error{Reason::Unavailable, "the answer of " + where + " was cut off"};
    co_return fetched;
  }
}

}  // namespace

asio::awaitable<Result<Fetched>> converse(std::shared_ptr<Transport> transport, Url url, const FetchOptions& options, Exchange& exchange) {
  std::string text = requestText(url, options);
  // A server that refuses a large body may answer and close before it was all sent: its answer counts.
  const auto [unsent, count] = co_await transport->write(text.data(), text.size());
  if (!options.bearer.empty()) OPENSSL_cleanse(text.data(), text.size());
  Result<Fetched> fetched = co_await receive(transport, url.authority, options, exchange);
  if (!fetched && unsent) co_return Error{Reason::Unavailable, "sending to " + url.authority + " failed: " + unsent.message()};
  co_return fetched;
}

}  // namespace podpass::http
