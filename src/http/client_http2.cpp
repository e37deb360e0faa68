#include "http/client_http2.h"

#include <openssl/crypto.h>

#include <boost/asio/co_spawn.hpp>
#include <charconv>
#include <cstring>

#include "http/message.h"

namespace podpass::http {
namespace {

using boost::system::error_code;
using std::chrono::steady_clock;

constexpr std::size_t kStreams = 100;  // more than the server allows are not begun, nor more than this
constexpr std::int32_t kStreamWindow = 256 << 10;
constexpr std::int32_t kConnectionWindow = 1 << 20;
constexpr std::size_t kReadSize = 16u << 10;
constexpr std::size_t kWriteSize = 64u << 10;  // frames gathered for one write
constexpr std::size_t kMaxHead = 256u << 10;   // of an answer, as for HTTP/1.1
constexpr std::size_t kHeldAnswers = 16;       // of the largest size
constexpr std::chrono::seconds kPatience{1};   // a server that lives answers a PING at once: without an answer, requests go elsewhere

Error unavailable(std::string sentence) { return Error{Reason::Unavailable, std::move(sentence)}; }

}  // namespace

class Http2Connection::Call {
 public:
  Call(const FetchOptions& asked, const asio::any_io_executor& executor) : options(&asked), ended(executor) {}

  const FetchOptions* options;  // null once it is done: whoever asked may be gone
  std::int32_t id = -1;
  Fetched fetched;
  std::optional<Error> failed;
  std::size_t headSize = 0;
  std::size_t sent = 0;  // of the body
  bool headDone = false;
  bool heard = false;      // a header of the answer was received
  bool untouched = false;  // the server has certainly not begun with it
  const SteadyTime begun = steady_clock::now();
  Wakeup ended;

  [[nodiscard]] bool done() const { return options == nullptr; }

  // The next piece of the body (nghttp2_data_source_read_callback).
  ssize_t fill(std::uint8_t* out, std::size_t room, std::uint32_t& flags) {
    if (done()) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;  // its RST_STREAM is on the way
    const std::size_t count = std::min(room, options->body.size() - sent);
    std::memcpy(out, options->body.data() + sent, count);
    sent += count;
    if (sent == options->body.size()) flags |= NGHTTP2_DATA_FLAG_EOF;
    return static_cast<ssize_t>(count);
  }
};

Http2Connection::Http2Connection(std::shared_ptr<Transport> transport, const asio::ip::address& peer, std::string where,
                                 const ClientOptions& options, std::function<void()> changed)
    : transport_(std::move(transport)),
      peer_(peer),
      where_(std::move(where)),
      idle_(options.idle),
      probeAfter_(options.probeAfter),
      probeAnswer_(options.probeAnswer),
      changed_(std::move(changed)),
      toWrite_(transport_->executor()),
      timer_(transport_->executor()) {}

Http2Connection::~Http2Connection() = default;

bool Http2Connection::start() {
  if (!open()) return false;
  const auto keepAlive = [self = shared_from_this()](std::exception_ptr) {};
  asio::co_spawn(transport_->executor(), readFrames(), keepAlive);
  asio::co_spawn(transport_->executor(), writeFrames(), keepAlive);
  watch();
  return true;
}

bool Http2Connection::open() {
  const Http2Callbacks callbacks = http2Callbacks<Http2Connection>();
  if (!callbacks) return false;
  nghttp2_option* rawOption = nullptr;
  if (nghttp2_option_new(&rawOption) != 0) return false;
  const Http2Option option(rawOption);
  nghttp2_option_set_no_closed_streams(rawOption, 1);
  nghttp2_session* session = nullptr;
  if (nghttp2_session_client_new2(&session, callbacks.get(), this, rawOption) != 0) return false;
  session_.reset(session);
  const nghttp2_settings_entry settings[] = {{NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
                                             {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, static_cast<std::uint32_t>(kStreamWindow)},
                                             {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, static_cast<std::uint32_t>(kMaxHead)}};
  return nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, settings, std::size(settings)) == 0 &&
         nghttp2_session_set_local_window_size(session, NGHTTP2_FLAG_NONE, 0, kConnectionWindow) == 0;
}

bool Http2Connection::hasRoom() const {
  if (draining_ || (probed_ && steady_clock::now() > *probed_ + kPatience)) return false;
  if (!greeted_) return calls_.empty();
  const std::size_t allowed = nghttp2_session_get_remote_settings(session_.get(), NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
  return calls_.size() < std::min(allowed, kStreams);
}

std::shared_ptr<Http2Connection::Call> Http2Connection::begin(const Url& url, const FetchOptions& options) {
  auto call = std::make_shared<Call>(options, transport_->executor());
  if (!submit(*call, url)) {
    draining_ = true;  // it has no stream ids left
    call->untouched = true;
    call->options = nullptr;
    call->failed = unavailable("the connection to " + where_ + " takes no further requests");
    return call;
  }
  calls_.emplace(call->id, call);
  heldAtMost_ = std::max(heldAtMost_, kHeldAnswers * options.maxBody);
  toWrite_.wake();
  return call;
}

bool Http2Connection::submit(Call& call, const Url& url) {
  const FetchOptions& options = *call.options;
  std::vector<Header> headers{
      {":method", headerSafe(options.method)}, {":scheme", "https"}, {":authority", url.authority}, {":path", url.target}};
  for (const Header& header : options.headers.all()) {
    if (isFraming(header.name)) continue;
    std::string name = lowerCase(headerSafe(header.name));
    if (name == "host")
      headers[2].value = headerSafe(header.value);
    else
      headers.push_back({std::move(name), headerSafe(header.value)});
  }
  const bool carries = !options.body.empty();
  if (carries) headers.push_back({"content-length", std::to_string(options.body.size())});
  std::vector<nghttp2_nv> pairs;
  pairs.reserve(headers.size() + 1);
  for (const Header& header : headers) pairs.push_back(http2Header(header.name, header.value));
  std::string bearer = options.bearer.empty() ? std::string() : "Bearer " + headerSafe(options.bearer.reveal());
  if (!bearer.empty()) {
    pairs.push_back(http2Header("authorization", bearer));
    pairs.back().flags = NGHTTP2_NV_FLAG_NO_INDEX;
  }
  nghttp2_data_provider body{};
  body.source.ptr = &call;  // in `calls_` as long as the session may ask
  body.read_callback = [](nghttp2_session*, std::int32_t, std::uint8_t* out, std::size_t room, std::uint32_t* flags,
                          nghttp2_data_source* source, void*) { return static_cast<Call*>(source->ptr)->fill(out, room, *flags); };
  call.id = nghttp2_submit_request(session_.get(), nullptr, pairs.data(), pairs.size(), carries ? &body : nullptr, nullptr);
  OPENSSL_cleanse(bearer.data(), bearer.size());
  return call.id > 0;
}

asio::awaitable<Result<Fetched>> Http2Connection::answerOf(std::shared_ptr<Call> call, Exchange& exchange) const {
  while (!call->done()) co_await call->ended.wait();
  exchange.answered = call->heard;
  exchange.untouched = call->untouched;
  if (call->failed) co_return *call->failed;
  call->fetched.from = peer_;
  co_return std::move(call->fetched);
}

void Http2Connection::giveUp(const CallPtr& call) {
  if (call->done()) return;
  fail(call, unavailable("the request was given up"));
  if (heard_ < call->begun) probe();
}

int Http2Connection::beginHeaders(const nghttp2_frame& frame) {
  const CallPtr call = find(frame.hd.stream_id);
  if (!call || call->headDone) return 0;
  call->fetched.headers = {};  // those before were informational
  call->headSize = 0;
  call->heard = true;
  return 0;
}

int Http2Connection::header(const nghttp2_frame& frame, std::string_view name, std::string_view value) {
  const CallPtr call = find(frame.hd.stream_id);
  if (!call || call->headDone || call->done()) return 0;  // a trailer must not pass for a header
  call->headSize += name.size() + value.size() + 32;      // as RFC 9113 §6.5.2 counts
  if (call->headSize > kMaxHead)
    fail(call, unavailable("the headers of the answer of " + where_ + " are larger than " + std::to_string(kMaxHead) + " bytes"));
  else if (name == ":status")
    std::from_chars(value.data(), value.data() + value.size(), call->fetched.status);  // nghttp2 let three digits pass
  else
    call->fetched.headers.add(std::string(name), std::string(value));
  return 0;
}

int Http2Connection::data(std::int32_t id, std::string_view bytes) {
  const CallPtr call = find(id);
  if (!call || call->done()) return 0;
  std::string& body = call->fetched.body;
  if (body.size() + bytes.size() > call->options->maxBody) {
    fail(call, Error{Reason::RequestTooLarge,
                     "the answer of " + where_ + " is larger than " + std::to_string(call->options->maxBody) + " bytes"});
    return 0;
  }
  body += bytes;
  held_ += bytes.size();
  if (held_ > heldAtMost_) failLargest();
  return 0;
}

int Http2Connection::received(const nghttp2_frame& frame) {
  const bool acknowledges = (frame.hd.flags & NGHTTP2_FLAG_ACK) != 0;
  const bool ends = (frame.hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
  switch (frame.hd.type) {
    case NGHTTP2_HEADERS:
      return headersReceived(frame.hd.stream_id, ends);
    case NGHTTP2_DATA:
      if (const CallPtr call = find(frame.hd.stream_id); call && ends) finish(call, std::nullopt);
      return ends || frame.hd.length > 0 ? 0 : nuisance();
    case NGHTTP2_RST_STREAM:
      return resetReceived(frame.hd.stream_id, frame.rst_stream.error_code);
    case NGHTTP2_GOAWAY:
      goaway_ = draining_ = true;  // nghttp2 closes the streams that the server will not look at
      if (frame.goaway.error_code != NGHTTP2_NO_ERROR) fault_ = nghttp2_http2_strerror(frame.goaway.error_code);
      changed_();
      return 0;
    case NGHTTP2_SETTINGS:
      if (acknowledges) return 0;
      greeted_ = true;
      changed_();  // it may allow more streams
      return nuisance();
    case NGHTTP2_PING:
      return acknowledges ? 0 : nuisance();
    case NGHTTP2_PRIORITY:
      return nuisance();
    default:
      return 0;
  }
}

int Http2Connection::headersReceived(std::int32_t id, bool ends) {
  const CallPtr call = find(id);
  if (!call) return 0;
  if (!call->headDone && call->fetched.status / 100 == 1) return nuisance();  // the answer follows
  call->headDone = true;
  if (ends) finish(call, std::nullopt);
  return 0;
}

int Http2Connection::resetReceived(std::int32_t id, std::uint32_t code) {
  const CallPtr call = find(id);
  if (!call) return nuisance();
  call->untouched = code == NGHTTP2_REFUSED_STREAM && !call->heard;
  finish(call, unavailable(where_ + " reset the stream: " + nghttp2_http2_strerror(code)));
  return 0;
}

// The reason that nghttp2 gives the server for ending the connection is the one that we give.
int Http2Connection::sent(const nghttp2_frame& frame) {
  if (frame.hd.type != NGHTTP2_GOAWAY) return 0;
  const std::string_view why(reinterpret_cast<const char*>(frame.goaway.opaque_data), frame.goaway.opaque_data_len);
  fault_ = nghttp2_http2_strerror(frame.goaway.error_code) + (why.empty() ? "" : ", " + std::string(why));
  return 0;
}

int Http2Connection::closed(std::int32_t id, std::uint32_t code) {
  const CallPtr call = find(id);
  if (!call) return 0;
  if (!call->done()) {  // the server did not reset it: nghttp2 did, or there was a GOAWAY
    call->untouched = code == NGHTTP2_REFUSED_STREAM && !call->heard;
    finish(call, unavailable(call->untouched ? where_ + " closes the connection (GOAWAY) and did not take the request"
                                             : "the answer of " + where_ + " breaks HTTP/2: " + nghttp2_http2_strerror(code)));
  }
  calls_.erase(id);
  if (calls_.empty()) {
    rested_ = steady_clock::now();
    watch();
  }
  changed_();
  return 0;
}

int Http2Connection::nuisance() {
  if (!nuisances_.spend()) end(where_ + " sent a flood of frames that carry nothing");
  return 0;
}

Http2Connection::CallPtr Http2Connection::find(std::int32_t id) const {
  const auto found = calls_.find(id);
  return found == calls_.end() ? nullptr : found->second;
}

void Http2Connection::finish(const CallPtr& call, std::optional<Error> failure) {
  if (call->done()) return;
  held_ -= call->fetched.body.size();
  if (!failure) {
    used_ = true;
    if (call->sent < call->options->body.size()) reset(call->id, NGHTTP2_NO_ERROR);  // the rest of the request is not wanted
  }
  call->failed = std::move(failure);
  call->options = nullptr;
  call->ended.wake();
}

void Http2Connection::fail(const CallPtr& call, Error failure) {
  reset(call->id, NGHTTP2_CANCEL);
  finish(call, std::move(failure));
}

void Http2Connection::reset(std::int32_t id, std::uint32_t code) {
  nghttp2_submit_rst_stream(session_.get(), NGHTTP2_FLAG_NONE, id, code);
  toWrite_.wake();
}

void Http2Connection::failLargest() {
  const auto heldBy = [](const CallPtr& call) { return call->done() ? 0 : call->fetched.body.size(); };
  const auto largest =
      std::max_element(calls_.begin(), calls_.end(), [&](const auto& a, const auto& b) { return heldBy(a.second) < heldBy(b.second); });
  fail(largest->second, Error{Reason::RequestTooLarge, "the answers of " + where_ + " that are under way are larger than " +
                                                           std::to_string(heldAtMost_) + " bytes together"});
}

void Http2Connection::end(const std::string& why) {
  if (std::exchange(dead_, true)) return;
  draining_ = true;
  timer_.cancel();
  const std::map<std::int32_t, CallPtr> left = std::exchange(calls_, {});
  for (const auto& [id, call] : left) finish(call, unavailable(why));
  transport_->close();
  toWrite_.wake();
  changed_();
}

// When silence, if it lasts, means something.
SteadyTime Http2Connection::due() const {
  if (probed_) return *probed_ + probeAnswer_;
  const SteadyTime probing = heard_ + probeAfter_;
  return calls_.empty() ? std::min(probing, rested_ + idle_) : probing;
}

void Http2Connection::watch() {
  timer_.expires_at(due());
  timer_.async_wait([weak = weak_from_this()](error_code cancelled) {
    const std::shared_ptr<Http2Connection> still = weak.lock();
    if (still && !cancelled && !still->dead_) still->silent();
  });
}

void Http2Connection::silent() {
  const SteadyTime now = steady_clock::now();
  if (now < due()) return watch();  // something was heard meanwhile
  if (probed_) return end(where_ + " did not answer a PING within " + std::to_string(probeAnswer_.count()) + " ms");
  if (calls_.empty() && now >= rested_ + idle_) return end("the connection was not used");
  probe();
}

void Http2Connection::probe() {
  if (probed_ || dead_) return;
  probed_ = steady_clock::now();
  nghttp2_submit_ping(session_.get(), NGHTTP2_FLAG_NONE, nullptr);
  toWrite_.wake();
  watch();
}

asio::awaitable<void> Http2Connection::readFrames() {
  std::vector<std::uint8_t> buffer(kReadSize);
  while (!dead_) {
    const auto [failed, count] = co_await transport_->read(reinterpret_cast<char*>(buffer.data()), buffer.size());
    if (dead_) co_return;
    if (failed && goaway_)
      co_return end(where_ + " sent GOAWAY" + (fault_.empty() ? "" : " (" + fault_ + ")") + " and closed the connection");
    if (failed) co_return end(where_ + " closed the connection: " + failed.message());
    heard_ = steady_clock::now();
    if (std::exchange(probed_, std::nullopt)) {
      watch();
      changed_();
    }
    const ssize_t parsed = nghttp2_session_mem_recv(session_.get(), buffer.data(), count);
    if (parsed < 0) co_return end(where_ + " breaks HTTP/2: " + nghttp2_strerror(static_cast<int>(parsed)));
    toWrite_.wake();
  }
}

asio::awaitable<void> Http2Connection::writeFrames() {
  std::string out;
  while (!dead_) {
    out.clear();
    while (out.size() < kWriteSize) {
      const std::uint8_t* bytes = nullptr;
      const ssize_t count = nghttp2_session_mem_send(session_.get(), &bytes);
      if (count < 0) co_return end("the connection to " + where_ + " failed: " + nghttp2_strerror(static_cast<int>(count)));
      if (count == 0) break;
      out.append(reinterpret_cast<const char*>(bytes), static_cast<std::size_t>(count));
    }
    if (!out.empty()) {
      const auto [failed, count] = co_await transport_->write(out.data(), out.size());
      if (failed) co_return end("sending to " + where_ + " failed: " + failed.message());
    } else if (nghttp2_session_want_read(session_.get()) == 0 && nghttp2_session_want_write(session_.get()) == 0) {
      co_return end(goaway_ ? where_ + " closed the connection" : where_ + " breaks HTTP/2: " + fault_);
    } else {
      co_await toWrite_.wait();
    }
  }
}

}  // namespace podpass::http
