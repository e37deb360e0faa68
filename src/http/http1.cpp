#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <boost/beast/http/basic_parser.hpp>
#include <charconv>
#include <cstring>

#include "http/connection.h"
#include "http/message.h"

// HTTP/1.1 on one connection: requests in order, one at a time (RFC 9112). Beast parses; reading and writing are done here, so
// that a small answer leaves in one write and a client that has gone is noticed while an answer streams.
namespace podpass::http {
namespace {

namespace beast = boost::beast;
using boost::system::error_code;
using std::chrono::steady_clock;

constexpr std::size_t kReadSize = 16u << 10;
constexpr std::size_t kWatchSize = 1u << 10;   // a watching client is silent
constexpr std::size_t kCoalesce = 64u << 10;   // a larger body is not copied behind its headers
constexpr std::size_t kReadAhead = 64u << 10;  // pipelined bytes kept while an answer streams

// Received and not yet parsed.
class Inbox {
 public:
  [[nodiscard]] std::string_view bytes() const { return {data_.data() + begin_, end_ - begin_}; }
  [[nodiscard]] bool empty() const { return begin_ == end_; }
  [[nodiscard]] std::size_t size() const { return end_ - begin_; }
  void consume(std::size_t count) {
    begin_ += count;
    if (begin_ == end_) begin_ = end_ = 0;
  }
  // Room for `size` more bytes behind those that are there.
  char* room(std::size_t size) {
    if (begin_ > 0) {
      std::memmove(data_.data(), data_.data() + begin_, end_ - begin_);
      end_ -= begin_;
      begin_ = 0;
    }
    if (data_.size() < end_ + size) data_.resize(end_ + size);
    return data_.data() + end_;
  }
  void grow(std::size_t count) { end_ += count; }

 private:
  std::vector<char> data_;
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
};

// Beast's parser, filling a Request directly.
class RequestParser final : public beast::http::basic_parser<true> {
 public:
  RequestParser(Request& request, const Limits& limits) : request_(request), bodyLimit_(limits.body) {
    header_limit(static_cast<std::uint32_t>(std::min<std::size_t>(limits.header, UINT32_MAX)));
    body_limit(boost::none);  // counted here: Beast would forget what was read
  }

  // "" or why the head is refused although it parsed.
  [[nodiscard]] const char* objection() const {
    if (!targetUsable_) return "malformed request target";
    if (hosts_ > 1 || (hosts_ == 0 && version_ >= 11)) return "exactly one Host header is required";  // RFC 9112 §3.2
    if (chunked() && version_ < 11) return "Transfer-Encoding in HTTP/1.0";
    return "";
  }
  [[nodiscard]] int version() const { return version_; }  // 10 or 11
  // A coding other than "chunked" alone: where the body ends could be read in two ways.
  [[nodiscard]] bool strangeCoding() const { return strangeCoding_; }
  [[nodiscard]] bool expectsContinue() const { return expectsContinue_; }

 private:
  void on_request_impl(beast::http::verb, beast::string_view method, beast::string_view target, int version, error_code&) override {
    version_ = version;
    request_.method.assign(method.data(), method.size());
    targetUsable_ = setTarget(request_, std::string_view(target.data(), target.size()));
  }
  void on_response_impl(int, beast::string_view, int, error_code&) override {}
  void on_field_impl(beast::http::field field, beast::string_view name, beast::string_view value, error_code&) override {
    if (headDone_) return;  // a trailer: nobody asked for it, and it must not pass for a header
    if (field == beast::http::field::host) ++hosts_;
    if (field == beast::http::field::transfer_encoding) strangeCoding_ |= !beast::iequals(value, "chunked");
    if (field == beast::http::field::expect) expectsContinue_ |= beast::iequals(value, "100-continue");
    request_.headers.add(std::string(name), std::string(value));
  }
  void on_header_impl(error_code&) override { headDone_ = true; }
  void on_body_init_impl(const boost::optional<std::uint64_t>& length, error_code&) override {
    if (length && *length <= bodyLimit_) request_.body.reserve(static_cast<std::size_t>(std::min<std::uint64_t>(*length, 1u << 20)));
  }
  std::size_t on_body_impl(beast::string_view bytes, error_code&) override { return take(bytes); }
  void on_chunk_header_impl(std::uint64_t, beast::string_view, error_code&) override {}
  std::size_t on_chunk_body_impl(std::uint64_t, beast::string_view bytes, error_code&) override { return take(bytes); }
  void on_finish_impl(error_code&) override {}

  std::size_t take(beast::string_view bytes) {
    const std::size_t fits = std::min(bytes.size(), bodyLimit_ - request_.body.size());
    request_.body.append(bytes.data(), fits);
    request_.bodyTooLarge |= fits < bytes.size();
    return bytes.size();
  }

  Request& request_;
  std::size_t bodyLimit_;
  int version_ = 11;
  int hosts_ = 0;
  bool targetUsable_ = false;
  bool strangeCoding_ = false;
  bool expectsContinue_ = false;
  bool headDone_ = false;
};

void addHex(std::string& out, std::size_t value) {
  char digits[16];
  const auto [end, error] = std::to_chars(digits, digits + sizeof digits, value, 16);
  out.append(digits, end);
}

// A connection that a handler took over.
class TakenStream final : public ByteStream {
 public:
  TakenStream(std::shared_ptr<Transport> transport, std::string received)
      : transport_(std::move(transport)), received_(std::move(received)) {}

  asio::awaitable<Result<std::size_t>> readSome(char* data, std::size_t size) override {
    if (given_ < received_.size()) {
      const std::size_t count = received_.copy(data, size, given_);
      given_ += count;
      co_return count;
    }
    if (closed_) co_return gone();
    const auto [failed, count] = co_await transport_->read(data, size);
    if (closed_) co_return gone();
    // Every end is an end: TLS clients seldom say close_notify, and the protocols on top frame themselves.
    co_return failed ? 0 : count;
  }
  asio::awaitable<Result<void>> write(std::string_view bytes) override {
    if (closed_) co_return gone();
    const auto [failed, count] = co_await transport_->write(bytes.data(), bytes.size());
    if (failed) co_return Error{Reason::Unavailable, "the client's connection failed: " + failed.message()};
    co_return Result<void>();
  }
  void close() override {
    if (closed_) return;
    closed_ = true;
    transport_->cancel();  // serveHttp1 says goodbye once the handler has returned
  }

 private:
  static Error gone() { return Error{Reason::Unavailable, "the connection is closed"}; }

  std::shared_ptr<Transport> transport_;
  std::string received_;
  std::size_t given_ = 0;
  bool closed_ = false;
};

class Http1 {
 public:
  explicit Http1(Link& link) : link_(link), transport_(*link.transport), readEnded_(transport_.executor()) {}

  asio::awaitable<void> serve() {
    link_.onStop = [this] { stop(); };
    bool more = true;
    while (more) more = co_await exchange();
    link_.deadline = steady_clock::now() + kFarewell;
    link_.writeDeadline = kNever;
    if (watching_) transport_.cancel();
    while (watching_) co_await readEnded_.wait();
    link_.onStop = nullptr;
    co_await transport_.finish(linger_);
  }

 private:
  // Chunks towards one client. Lives as long as the answer.
  class Chunks final : public BodyWriter {
   public:
    Chunks(Http1& connection, bool chunked) : connection_(connection), chunked_(chunked) {}

    asio::awaitable<bool> write(std::shared_ptr<const std::string> bytes) override {
      if (closed_) co_return false;
      if (bytes->empty()) co_return true;  // an empty chunk would end the body
      std::string& frame = connection_.out_;
      frame.clear();
      if (chunked_) {
        addHex(frame, bytes->size());
        frame += "\r\n";
      }
      frame += *bytes;
      if (chunked_) frame += "\r\n";
      const bool sent = co_await connection_.send(frame);
      if (!sent) leave();
      co_return !closed_;
    }
    void onClosed(std::function<void()> gone) override {
      if (closed_)
        asio::post(connection_.transport_.executor(), std::move(gone));
      else
        gone_ = std::move(gone);
    }
    [[nodiscard]] bool closed() const override { return closed_; }
    void leave() {
      if (std::exchange(closed_, true)) return;
      if (gone_) std::exchange(gone_, nullptr)();
    }

   private:
    Http1& connection_;
    bool chunked_;
    bool closed_ = false;
    std::function<void()> gone_;
  };

  void stop() {
    if (idle_) transport_.cancel();
    if (chunks_ != nullptr) chunks_->leave();
  }

  // One request and its answer; true when another may follow.
  asio::awaitable<bool> exchange() {
    auto request = std::make_shared<Request>();
    request->peer = link_.peer;
    request->remote = link_.remote;
    RequestParser parser(*request, link_.limits);
    const bool headRead = co_await readHead(parser);
    if (!headRead) co_return false;
    const bool bodyRead = co_await readBody(parser, *request);
    if (!bodyRead) co_return false;
    link_.deadline = kNever;
    Response response = co_await answer(link_.handler, request);
    if (response.takeOver) {
      co_await handOver(response);
      co_return false;
    }
    keepAlive_ =
        parser.keep_alive() && parser.is_done() && !link_.stopping && !equalIgnoringCase(response.headers.find("Connection"), "close");
    linger_ = !parser.is_done() || !inbox_.empty();
    const bool headOnly = request->method == "HEAD";
    request.reset();
    if (response.stream) co_return co_await respondStreaming(response, headOnly, parser.version());
    co_return co_await respond(response, headOnly, parser.version());
  }

  asio::awaitable<bool> readHead(RequestParser& parser) {
    std::size_t parsed = 0;
    idle_ = inbox_.empty();
    // The first request counts from the connection's start, like the handshake.
    if (served_ || !idle_) link_.deadline = steady_clock::now() + (idle_ ? link_.limits.idle : link_.limits.headerTime);
    served_ = true;
    while (!parser.is_header_done()) {
      if (parsed == 0)
        while (inbox_.bytes().starts_with("\r\n")) inbox_.consume(2);  // RFC 9112 §2.2
      if (!inbox_.empty() && (parsed > 0 || inbox_.bytes() != "\r")) {
        error_code failed;
        const std::size_t count = parser.put(asio::buffer(inbox_.bytes()), failed);
        inbox_.consume(count);
        parsed += count;
        if (parsed > link_.limits.header || failed == beast::http::error::header_limit)
          co_return co_await refuse(431, "the request's headers are larger than " + std::to_string(link_.limits.header) + " bytes");
        if (parser.is_header_done()) break;
        if (failed && failed != beast::http::error::need_more) co_return co_await refuse(400, "malformed HTTP request");
        if (parsed + inbox_.size() > link_.limits.header)
          co_return co_await refuse(431, "the request's headers are larger than " + std::to_string(link_.limits.header) + " bytes");
      }
      if (idle_ && link_.stopping) co_return false;
      const bool more = co_await fill();
      if (!more) co_return false;
      if (std::exchange(idle_, false)) link_.deadline = steady_clock::now() + link_.limits.headerTime;
    }
    idle_ = false;
    if (parser.strangeCoding()) co_return co_await refuse(501, "the only transfer coding understood is chunked");
    if (*parser.objection() != '\0') co_return co_await refuse(400, parser.objection());
    co_return true;
  }

  // False: the client left, or its framing made no sense and was answered.
  asio::awaitable<bool> readBody(RequestParser& parser, Request& request) {
    if (parser.is_done()) co_return true;
    const boost::optional<std::uint64_t> length = parser.content_length();
    request.bodyTooLarge = length && *length > link_.limits.body;  // not even begun: it would be thrown away
    if (request.bodyTooLarge) co_return true;
    if (parser.expectsContinue() && inbox_.empty()) {
      out_ = "HTTP/1.1 100 Continue\r\n\r\n";
      const bool sent = co_await send(out_);
      if (!sent) co_return false;
    }
    parser.eager(true);
    while (!parser.is_done() && !request.bodyTooLarge) {
      if (!inbox_.empty()) {
        error_code failed;
        inbox_.consume(parser.put(asio::buffer(inbox_.bytes()), failed));
        if (failed && failed != beast::http::error::need_more) co_return co_await refuse(400, "malformed HTTP request body");
        if (parser.is_done() || request.bodyTooLarge) break;
        // What is left is the head of a chunk: it has no business to be long.
        if (inbox_.size() > link_.limits.header) co_return co_await refuse(400, "malformed HTTP request body");
      }
      link_.deadline = steady_clock::now() + link_.limits.headerTime;  // slow is fine, silent is not
      const bool more = co_await fill();
      if (!more) co_return false;
    }
    co_return true;
  }

  asio::awaitable<bool> refuse(int status, std::string sentence) {
    keepAlive_ = false;
    linger_ = true;
    const Response response = plainText(status, std::to_string(status) + " " + std::string(reasonPhrase(status)) + ": " + sentence + "\n");
    co_return co_await respond(response, false, 11);
  }

  void writeHead(const Response& response, int version) {
    out_ = "HTTP/1.1 ";
    out_ += std::to_string(response.status);
    out_ += ' ';
    out_ += reasonPhrase(response.status);
    out_ += "\r\nDate: ";
    out_ += headerSafe(dateOf(response));
    for (const Header& header : response.headers.all()) {
      if (isFraming(header.name)) continue;
      out_ += "\r\n";
      appendHeaderSafe(out_, header.name);
      out_ += ": ";
      appendHeaderSafe(out_, header.value);
    }
    if (!keepAlive_)
      out_ += "\r\nConnection: close";
    else if (version < 11)
      out_ += "\r\nConnection: keep-alive";
    out_ += "\r\n";
  }

  asio::awaitable<bool> respond(const Response& response, bool headOnly, int version) {
    writeHead(response, version);
    const std::size_t size = response.body ? response.body->size() : 0;
    if (hasBody(response.status)) out_ += "Content-Length: " + std::to_string(size) + "\r\n";
    out_ += "\r\n";
    const bool withBody = size > 0 && !headOnly && hasBody(response.status);
    const bool together = withBody && size <= kCoalesce;
    if (together) out_ += *response.body;
    const bool sent = co_await send(out_);
    if (!sent) co_return false;
    if (withBody && !together) {
      const bool bodySent = co_await send(*response.body);
      if (!bodySent) co_return false;
    }
    co_return keepAlive_;
  }

  asio::awaitable<bool> respondStreaming(const Response& response, bool headOnly, int version) {
    const bool chunked = version >= 11;
    if (!chunked) keepAlive_ = false;  // HTTP/1.0: the end of the connection is the end of the body
    writeHead(response, version);
    if (chunked && hasBody(response.status)) out_ += "Transfer-Encoding: chunked\r\n";
    out_ += "\r\n";
    const bool sent = co_await send(out_);
    if (!sent || headOnly || !hasBody(response.status)) co_return sent&& keepAlive_;
    Chunks chunks(*this, chunked);
    chunks_ = &chunks;
    watchClient();
    if (link_.stopping) chunks.leave();
    const bool complete = co_await streamed(response, chunks);
    chunks_ = nullptr;
    if (gone_ || !complete) co_return false;
    if (chunked) {
      out_ = "0\r\n\r\n";
      const bool ended = co_await send(out_);
      if (!ended) co_return false;
    }
    co_return keepAlive_ && !link_.stopping;
  }

  asio::awaitable<void> handOver(Response& response) {
    auto stream = std::make_shared<TakenStream>(link_.transport, std::string(inbox_.bytes()));
    inbox_.consume(inbox_.size());
    linger_ = true;
    try {
      co_await response.takeOver(stream);
    } catch (...) {  // there is no answer left to give
    }
    stream->close();  // a copy that the handler kept must not reach the transport any more
  }

  // Reads more into the inbox; false at the end of the connection.
  asio::awaitable<bool> fill() {
    if (watching_) {  // the read begun while the last answer streamed is still under way
      const std::size_t before = inbox_.size();
      while (watching_) co_await readEnded_.wait();
      if (gone_) co_return false;
      if (inbox_.size() > before) co_return true;
    }
    if (gone_) co_return false;
    const auto [failed, count] = co_await transport_.read(inbox_.room(kReadSize), kReadSize);
    inbox_.grow(count);
    gone_ = failed.failed();
    co_return !gone_;
  }

  // A client that goes while an answer streams is only noticed by reading.
  void watchClient() {
    if (watching_) return;
    watching_ = true;
    asio::co_spawn(transport_.executor(), readWhileStreaming(), [this](std::exception_ptr) {
      watching_ = false;
      if (gone_ && chunks_ != nullptr) chunks_->leave();
      readEnded_.wake();
    });
  }

  asio::awaitable<void> readWhileStreaming() {
    std::vector<char> buffer(kWatchSize);  // its own: the answer may end and the inbox be parsed while this read waits
    while (chunks_ != nullptr && inbox_.size() < kReadAhead) {
      const auto [failed, count] = co_await transport_.read(buffer.data(), buffer.size());
      if (count > 0) std::memcpy(inbox_.room(count), buffer.data(), count);
      inbox_.grow(count);
      gone_ = failed.failed();
      if (gone_) co_return;
    }
  }

  asio::awaitable<bool> send(const std::string& bytes) {
    link_.writeDeadline = steady_clock::now() + link_.limits.idle;
    const auto [failed, count] = co_await transport_.write(bytes.data(), bytes.size());
    link_.writeDeadline = kNever;
    if (failed) gone_ = true;
    co_return !failed;
  }

  Link& link_;
  Transport& transport_;
  Wakeup readEnded_;
  Inbox inbox_;
  std::string out_;
  Chunks* chunks_ = nullptr;
  bool idle_ = true;
  bool served_ = false;
  bool keepAlive_ = true;
  bool linger_ = false;
  bool watching_ = false;
  bool gone_ = false;
};

}  // namespace

asio::awaitable<void> serveHttp1(Link& link) {
  Http1 connection(link);
  co_await connection.serve();
}

}  // namespace podpass::http
