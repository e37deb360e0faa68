#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <cstring>

#include "base/log.h"
#include "http/connection.h"
#include "http/http2_session.h"
#include "http/message.h"

// HTTP/2 on one connection: nghttp2 does the framing, each stream runs the handler in a coroutine of its own (RFC 9113).
// One coroutine reads, one writes, so that a client that does not read can still be heard, and noticed when it leaves.
namespace podpass::http {
namespace {

using boost::system::error_code;
using std::chrono::steady_clock;

constexpr std::uint32_t kStreams = 250;
constexpr std::int32_t kStreamWindow = 256 << 10;
constexpr std::int32_t kConnectionWindow = 1 << 20;
constexpr std::size_t kReadSize = 16u << 10;
constexpr std::size_t kWriteSize = 64u << 10;     // frames gathered for one write
constexpr std::size_t kStreamBuffer = 64u << 10;  // a streaming handler waits when so much is not yet in frames
constexpr std::size_t kDiscard = 16u << 20;       // of a request body that is not wanted
constexpr std::size_t kBodiesInFlight = 16;       // request bodies held at once by one connection, in units of Limits::body

// Handlers of reset streams run on, so the number of open streams does not bound the work (CVE-2023-44487): this does.
constexpr std::size_t kHandlers = 4 * kStreams;

class Http2;

// One request and its answer. Shared by the session, which forgets it when the stream closes, and its handler.
class Stream final : public BodyWriter {
 public:
  Stream(Http2& session, std::int32_t number, asio::any_io_executor executor)
      : id(number), request(std::make_shared<Request>()), session_(session), executor_(executor), room_(executor) {}

  asio::awaitable<bool> write(std::shared_ptr<const std::string> bytes) override;
  void onClosed(std::function<void()> gone) override {
    if (closed_)
      asio::post(executor_, std::move(gone));
    else
      gone_ = std::move(gone);
  }
  [[nodiscard]] bool closed() const override { return closed_; }

  // The client, or the server, ends it. `gone` is posted: it may do anything, and nghttp2 may be above us on the stack.
  void leave() {
    if (std::exchange(closed_, true)) return;
    if (gone_) asio::post(executor_, std::exchange(gone_, nullptr));
    room_.wake();
  }

  // Fills one DATA frame (nghttp2_data_source_read_callback).
  ssize_t fill(std::uint8_t* out, std::size_t room, std::uint32_t& flags) {
    std::size_t filled = 0;
    while (!pieces_.empty() && filled < room) {
      const std::string& piece = *pieces_.front();
      const std::size_t count = std::min(room - filled, piece.size() - taken_);
      std::memcpy(out + filled, piece.data() + taken_, count);
      filled += count;
      taken_ += count;
      if (taken_ < piece.size()) break;
      pieces_.pop_front();
      taken_ = 0;
    }
    waiting_ -= filled;
    if (waiting_ < kStreamBuffer) room_.wake();
    if (pieces_.empty() && ended_) flags |= NGHTTP2_DATA_FLAG_EOF;
    if (filled == 0 && !ended_) return NGHTTP2_ERR_DEFERRED;
    return static_cast<ssize_t>(filled);
  }
  void append(std::shared_ptr<const std::string> bytes) {
    waiting_ += bytes->size();
    pieces_.push_back(std::move(bytes));
  }
  void end() { ended_ = true; }

  const std::int32_t id;
  std::shared_ptr<Request> request;
  std::string target;
  std::string authority;
  std::string cookies;
  std::size_t headerSize = 0;
  bool headerTooLarge = false;
  bool headersDone = false;
  bool expectsContinue = false;
  bool handed = false;        // to the handler
  bool clientEnded = false;   // the request is complete
  bool answered = false;      // all of the answer was sent
  std::size_t discarded = 0;  // of the body, after it was handed
  bool reset = false;         // the stream is closed in the session: nothing can be sent

 private:
  Http2& session_;
  asio::any_io_executor executor_;
  Wakeup room_;
  std::deque<std::shared_ptr<const std::string>> pieces_;
  std::size_t taken_ = 0;    // of the first piece
  std::size_t waiting_ = 0;  // bytes in pieces_
  bool ended_ = false;
  bool closed_ = false;
  std::function<void()> gone_;
};

class Http2 {
 public:
  explicit Http2(Link& link) : link_(link), transport_(*link.transport), toWrite_(transport_.executor()), ended_(transport_.executor()) {}

  asio::awaitable<void> serve() {
    if (!open()) co_return;
    link_.onStop = [this] { stop(); };
    if (link_.stopping) stop();
    writing_ = true;
    asio::co_spawn(transport_.executor(), writeFrames(), [this](std::exception_ptr) {
      writing_ = false;
      ended_.wake();
    });
    co_await readFrames();
    dead_ = true;
    for (auto& [id, stream] : streams_) {
      stream->reset = true;
      stream->leave();
    }
    streams_.clear();
    toWrite_.wake();
    link_.deadline = steady_clock::now() + kFarewell;
    while (writing_) co_await ended_.wait();
    co_await transport_.finish(true);
    link_.deadline = kNever;  // what remains are handlers whose client has gone
    while (handlers_ > 0) co_await ended_.wait();
    link_.onStop = nullptr;
  }

  // More to send: the writing coroutine takes it up.
  void flush() { toWrite_.wake(); }
  void resume(const Stream& stream) {
    if (stream.reset || dead_) return;
    nghttp2_session_resume_data(session_.get(), stream.id);
    flush();
  }

 private:
  friend Http2Callbacks http2Callbacks<Http2>();

  bool open() {
    const Http2Callbacks callbacks = http2Callbacks<Http2>();
    if (!callbacks) return false;
    nghttp2_option* rawOption = nullptr;
    if (nghttp2_option_new(&rawOption) != 0) return false;
    const Http2Option option(rawOption);
    nghttp2_option_set_no_closed_streams(rawOption, 1);
    // nghttp2 counts resets too, but fewer than a busy informer's: out of the way of our own budget, which tells the client why.
    nghttp2_option_set_stream_reset_rate_limit(rawOption, 10 * static_cast<std::uint64_t>(kNuisanceBurst),
                                               10 * static_cast<std::uint64_t>(kNuisancePerSecond));
    nghttp2_session* session = nullptr;
    if (nghttp2_session_server_new2(&session, callbacks.get(), this, rawOption) != 0) return false;
    session_.reset(session);

    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, kStreams},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, static_cast<std::uint32_t>(kStreamWindow)},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, static_cast<std::uint32_t>(std::min<std::size_t>(link_.limits.header, UINT32_MAX))},
    };
    return nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, settings, std::size(settings)) == 0 &&
           nghttp2_session_set_local_window_size(session, NGHTTP2_FLAG_NONE, 0, kConnectionWindow) == 0;
  }

  // ---- what nghttp2 tells ----

  int beginHeaders(const nghttp2_frame& frame) {
    if (frame.hd.type != NGHTTP2_HEADERS || frame.headers.cat != NGHTTP2_HCAT_REQUEST) return 0;  // trailers
    streams_.emplace(frame.hd.stream_id, std::make_shared<Stream>(*this, frame.hd.stream_id, transport_.executor()));
    return 0;
  }

  int header(const nghttp2_frame& frame, std::string_view name, std::string_view value) {
    Stream* stream = find(frame.hd.stream_id);
    if (stream == nullptr || stream->headersDone) return 0;  // a trailer must not pass for a header
    stream->headerSize += name.size() + value.size() + 32;   // as RFC 9113 §6.5.2 counts
    if (stream->headerSize > link_.limits.header) stream->headerTooLarge = true;
    if (stream->headerTooLarge) return 0;
    Request& request = *stream->request;
    if (name == ":method")
      request.method = value;
    else if (name == ":path")
      stream->target = value;
    else if (name == ":authority")
      stream->authority = value;
    else if (name == "cookie")
      stream->cookies += (stream->cookies.empty() ? "" : "; ") + std::string(value);  // sent in crumbs (RFC 9113 §8.2.3)
    else if (!name.starts_with(':'))
      request.headers.add(std::string(name), std::string(value));
    if (name == "expect") stream->expectsContinue = equalIgnoringCase(value, "100-continue");
    return 0;
  }

  int data(std::int32_t id, std::string_view bytes) {
    Stream* stream = find(id);
    if (stream == nullptr) return 0;
    if (stream->handed) return discard(*stream, bytes.size());
    Request& request = *stream->request;
    if (request.body.size() + bytes.size() > link_.limits.body) {
      request.bodyTooLarge = true;
      hand(*stream);
      return 0;
    }
    bodies_ += bytes.size();
    if (bodies_ > kBodiesInFlight * link_.limits.body) {
      nghttp2_submit_rst_stream(session_.get(), NGHTTP2_FLAG_NONE, id, NGHTTP2_ENHANCE_YOUR_CALM);
      bodies_ -= bytes.size();
      return 0;
    }
    request.body += bytes;
    return 0;
  }

  // The rest of a body that was too large. curl takes a stream that is reset before it has sent all for a failure and shows no
  // answer, so that a moderate rest is let in.
  int discard(Stream& stream, std::size_t count) {
    stream.discarded += count;
    if (stream.answered && stream.discarded > kDiscard) reset(stream);
    return 0;
  }

  // RFC 9113 §8.1: the client shall not send the rest.
  void reset(const Stream& stream) { nghttp2_submit_rst_stream(session_.get(), NGHTTP2_FLAG_NONE, stream.id, NGHTTP2_NO_ERROR); }

  int received(const nghttp2_frame& frame) {
    const bool acknowledges = (frame.hd.flags & NGHTTP2_FLAG_ACK) != 0;
    const bool ends = (frame.hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    switch (frame.hd.type) {
      case NGHTTP2_HEADERS:
        return headersReceived(frame.hd.stream_id, ends);
      case NGHTTP2_DATA:
        if (frame.hd.length == 0 && !ends) return nuisance();
        if (ends) requestEnded(frame.hd.stream_id);
        return 0;
      case NGHTTP2_PING:
      case NGHTTP2_SETTINGS:
        return acknowledges ? 0 : nuisance();
      case NGHTTP2_RST_STREAM:
      case NGHTTP2_PRIORITY:
        return nuisance();
      default:
        return 0;
    }
  }

  int headersReceived(std::int32_t id, bool ends) {
    Stream* stream = find(id);
    if (stream == nullptr) return 0;
    stream->headersDone = true;
    if (ends)
      requestEnded(id);
    else if (stream->headerTooLarge)
      hand(*stream);
    else if (bodyAnnouncedTooLarge(*stream)) {
      stream->request->bodyTooLarge = true;
      hand(*stream);
    } else if (stream->expectsContinue) {
      const std::string name = ":status";
      const std::string value = "100";
      const nghttp2_nv status = http2Header(name, value);
      nghttp2_submit_headers(session_.get(), NGHTTP2_FLAG_NONE, id, nullptr, &status, 1, nullptr);
    }
    return 0;
  }

  bool bodyAnnouncedTooLarge(const Stream& stream) const {
    const std::string_view length = stream.request->headers.find("content-length");  // nghttp2 let only digits pass
    return !length.empty() && (length.size() > 18 || std::stoull(std::string(length)) > link_.limits.body);
  }

  void requestEnded(std::int32_t id) {
    Stream* stream = find(id);
    if (stream == nullptr) return;
    stream->clientEnded = true;
    hand(*stream);
  }

  int sent(const nghttp2_frame& frame) {
    const bool ends = (frame.hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    if (!ends || (frame.hd.type != NGHTTP2_HEADERS && frame.hd.type != NGHTTP2_DATA)) return 0;
    Stream* stream = find(frame.hd.stream_id);
    if (stream == nullptr || stream->clientEnded) return 0;
    stream->answered = true;
    if (stream->discarded > kDiscard) reset(*stream);
    return 0;
  }

  int closed(std::int32_t id, std::uint32_t) {
    const auto found = streams_.find(id);
    if (found == streams_.end()) return 0;
    const std::shared_ptr<Stream> stream = found->second;
    streams_.erase(found);
    if (!stream->handed) bodies_ -= stream->request->body.size();
    stream->reset = true;
    stream->leave();
    return 0;
  }

  int nuisance() {
    if (calming_ || nuisances_.spend()) return 0;
    calming_ = true;
    log::warn("HTTP/2 client flooded the connection with control frames", {{"remote", link_.remote}});
    nghttp2_session_terminate_session(session_.get(), NGHTTP2_ENHANCE_YOUR_CALM);
    return 0;
  }

  Stream* find(std::int32_t id) {
    const auto found = streams_.find(id);
    return found == streams_.end() ? nullptr : found->second.get();
  }

  // ---- requests ----

  // The handler is started after nghttp2 has returned: it may answer at once.
  void hand(Stream& stream) {
    if (std::exchange(stream.handed, true)) return;
    ready_.push_back(streams_.at(stream.id));
  }

  void startHandlers() {
    for (std::shared_ptr<Stream>& stream : ready_) {
      bodies_ -= std::min(bodies_, stream->request->body.size());
      if (stream->reset) continue;
      if (handlers_ >= kHandlers) {
        nghttp2_submit_rst_stream(session_.get(), NGHTTP2_FLAG_NONE, stream->id, NGHTTP2_REFUSED_STREAM);
        continue;
      }
      ++handlers_;
      asio::co_spawn(transport_.executor(), run(std::move(stream)), [this](std::exception_ptr) {
        --handlers_;
        if (handlers_ == 0 && !dead_) link_.deadline = steady_clock::now() + link_.limits.idle;
        ended_.wake();
      });
    }
    ready_.clear();
  }

  asio::awaitable<void> run(std::shared_ptr<Stream> stream) {
    if (!complete(*stream)) {
      const int status = stream->headerTooLarge ? 431 : 400;
      const Response refusal = plainText(status, std::to_string(status) + " " + std::string(reasonPhrase(status)) + "\n");
      submit(*stream, refusal);
      co_return;
    }
    const bool headOnly = stream->request->method == "HEAD";
    const Response response = co_await answer(link_.handler, std::move(stream->request));
    if (response.takeOver) {
      submit(*stream, plainText(400, "this request needs an upgraded HTTP/1.1 connection\n"), headOnly);
      co_return;
    }
    submit(*stream, response, headOnly);
    if (!response.stream || headOnly || !hasBody(response.status) || stream->reset || dead_) co_return;
    if (link_.stopping) stream->leave();
    const bool whole = co_await streamed(response, *stream);
    stream->end();
    if (!whole && !stream->reset && !dead_)
      nghttp2_submit_rst_stream(session_.get(), NGHTTP2_FLAG_NONE, stream->id, NGHTTP2_INTERNAL_ERROR);
    resume(*stream);
  }

  bool complete(Stream& stream) const {
    Request& request = *stream.request;
    if (stream.headerTooLarge || !setTarget(request, stream.target)) return false;
    request.versionMajor = 2;
    request.peer = link_.peer;
    request.remote = link_.remote;
    if (!stream.cookies.empty()) request.headers.add("cookie", std::move(stream.cookies));
    if (!stream.authority.empty() && !request.headers.has("host")) request.headers.add("host", std::move(stream.authority));
    return true;
  }

  void submit(Stream& stream, const Response& response, bool headOnly = false) {
    if (stream.reset || dead_) return;
    std::vector<Header> headers;
    headers.reserve(response.headers.all().size() + 3);
    headers.push_back({":status", std::to_string(response.status)});
    headers.push_back({"date", headerSafe(dateOf(response))});
    for (const Header& header : response.headers.all()) {
      if (isFraming(header.name)) continue;
      headers.push_back({lowerCase(headerSafe(header.name)), headerSafe(header.value)});
    }
    const bool streams = static_cast<bool>(response.stream);
    const std::size_t size = response.body ? response.body->size() : 0;
    if (!streams && hasBody(response.status)) headers.push_back({"content-length", std::to_string(size)});
    std::vector<nghttp2_nv> pairs;
    pairs.reserve(headers.size());
    for (const Header& header : headers) pairs.push_back(http2Header(header.name, header.value));

    const bool withBody = (streams || size > 0) && !headOnly && hasBody(response.status);
    if (withBody && !streams) {
      stream.append(response.body);
      stream.end();
    }
    nghttp2_data_provider provider{};
    provider.source.ptr = &stream;  // the session calls it only between here and closed()
    provider.read_callback = [](nghttp2_session*, std::int32_t, std::uint8_t* out, std::size_t room, std::uint32_t* flags,
                                nghttp2_data_source* source, void*) { return static_cast<Stream*>(source->ptr)->fill(out, room, *flags); };
    nghttp2_submit_response(session_.get(), stream.id, pairs.data(), pairs.size(), withBody ? &provider : nullptr);
    flush();
  }

  // ---- the connection ----

  void stop() {
    if (dead_) return;
    // New streams are refused and the client opens another connection for them; those begun are answered.
    nghttp2_submit_goaway(session_.get(), NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(session_.get()), NGHTTP2_NO_ERROR,
                          nullptr, 0);
    for (auto& [id, stream] : streams_) stream->leave();
    flush();
  }

  [[nodiscard]] bool finished() const {
    if (nghttp2_session_want_read(session_.get()) == 0 && nghttp2_session_want_write(session_.get()) == 0) return true;
    return link_.stopping && streams_.empty() && nghttp2_session_want_write(session_.get()) == 0;
  }

  asio::awaitable<void> readFrames() {
    std::vector<std::uint8_t> buffer(kReadSize);
    for (;;) {
      const auto [failed, count] = co_await transport_.read(reinterpret_cast<char*>(buffer.data()), buffer.size());
      if (failed || dead_) co_return;
      const ssize_t parsed = nghttp2_session_mem_recv(session_.get(), buffer.data(), count);
      if (parsed < 0) {
        log::debug("HTTP/2 connection failed", {{"remote", link_.remote}, {"err", nghttp2_strerror(static_cast<int>(parsed))}});
        co_return;
      }
      startHandlers();
      link_.deadline = handlers_ > 0 ? kNever : steady_clock::now() + link_.limits.idle;
      flush();
    }
  }

  asio::awaitable<void> writeFrames() {
    std::string out;
    for (;;) {
      out.clear();
      while (out.size() < kWriteSize && !dead_) {
        const std::uint8_t* bytes = nullptr;
        const ssize_t count = nghttp2_session_mem_send(session_.get(), &bytes);
        if (count <= 0) break;
        out.append(reinterpret_cast<const char*>(bytes), static_cast<std::size_t>(count));
      }
      if (dead_) co_return;
      if (!out.empty()) {
        link_.writeDeadline = steady_clock::now() + link_.limits.idle;
        const auto [failed, count] = co_await transport_.write(out.data(), out.size());
        link_.writeDeadline = kNever;
        if (failed) break;
        if (out.capacity() > 2 * kWriteSize) out.shrink_to_fit();
      } else if (finished()) {
        break;
      } else {
        co_await toWrite_.wait();
      }
    }
    dead_ = true;
    transport_.cancel();  // wakes the reader, which ends the connection
  }

  Link& link_;
  Transport& transport_;
  Wakeup toWrite_;
  Wakeup ended_;
  Http2Session session_;
  std::map<std::int32_t, std::shared_ptr<Stream>> streams_;
  std::vector<std::shared_ptr<Stream>> ready_;
  NuisanceBudget nuisances_;
  std::size_t bodies_ = 0;  // bytes of request bodies that no handler has yet
  std::size_t handlers_ = 0;
  bool calming_ = false;  // a flood was answered with GOAWAY
  bool writing_ = false;
  bool dead_ = false;  // nothing more is given to the session
};

asio::awaitable<bool> Stream::write(std::shared_ptr<const std::string> bytes) {
  if (closed_) co_return false;
  if (bytes->empty()) co_return true;
  append(std::move(bytes));
  session_.resume(*this);
  while (!closed_ && waiting_ >= kStreamBuffer) co_await room_.wait();
  co_return !closed_;
}

}  // namespace

asio::awaitable<void> serveHttp2(Link& link) {
  Http2 session(link);
  co_await session.serve();
}

}  // namespace podpass::http
