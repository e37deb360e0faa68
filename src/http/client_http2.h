#pragma once

#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "http/client_exchange.h"
#include "http/http2_session.h"

namespace podpass::http {

// One HTTP/2 connection to a server (RFC 9113) that many requests share. What the server does wrong on a stream ends that request alone;
// what it does wrong on the connection ends them all. A server that was silent for `probeAfter`, or for as long as a request was waited
// for in vain, gets a PING, and is given up when it does not answer within `probeAnswer`. Answers that are not complete hold sixteen times
// the largest body that is wanted; beyond that the largest of them ends. Everything here belongs to one event loop.
class Http2Connection : public std::enable_shared_from_this<Http2Connection> {
 public:
  class Call;  // one request, as whoever waits for its answer and the connection share it

  // `peer` is what `transport` is connected to; `where` names the server in errors. `changed` is called when there may be room for another
  // request, or the connection is over. Of `options` the times are used.
  Http2Connection(std::shared_ptr<Transport> transport, const asio::ip::address& peer, std::string where, const ClientOptions& options,
                  std::function<void()> changed);
  ~Http2Connection();
  Http2Connection(const Http2Connection&) = delete;
  Http2Connection& operator=(const Http2Connection&) = delete;

  // Begins to read and to write, which keeps it alive until it is over. False: nghttp2 has no memory.
  [[nodiscard]] bool start();
  // It takes another request: the server allows one more, has not said goodbye, and does not owe us the answer to a PING.
  [[nodiscard]] bool hasRoom() const;
  // The server has not said yet how many requests it allows at once: until then it gets one.
  [[nodiscard]] bool opening() const { return !greeted_ && !draining_; }
  [[nodiscard]] const asio::ip::address& peer() const { return peer_; }
  [[nodiscard]] bool used() const { return used_; }  // it has answered before
  [[nodiscard]] bool over() const { return dead_; }
  [[nodiscard]] bool lost() const { return dead_ && !goaway_; }  // over, and the server did not say which requests it had begun

  // Sends a request. `options` outlives the call, or its giveUp.
  std::shared_ptr<Call> begin(const Url& url, const FetchOptions& options);
  // Waits for its answer. Sets `exchange`; its `onHead` is not called.
  asio::awaitable<Result<Fetched>> answerOf(std::shared_ptr<Call> call, Exchange& exchange) const;
  // Ends one request (RST_STREAM with CANCEL); the others go on.
  void giveUp(const std::shared_ptr<Call>& call);
  // Ends all.
  void close() { end("the client was stopped"); }

 private:
  using CallPtr = std::shared_ptr<Call>;

  [[nodiscard]] bool open();
  bool submit(Call& call, const Url& url);

  // What nghttp2 tells.
  friend Http2Callbacks http2Callbacks<Http2Connection>();
  int beginHeaders(const nghttp2_frame& frame);
  int header(const nghttp2_frame& frame, std::string_view name, std::string_view value);
  int data(std::int32_t id, std::string_view bytes);
  int received(const nghttp2_frame& frame);
  int headersReceived(std::int32_t id, bool ends);
  int resetReceived(std::int32_t id, std::uint32_t code);
  int sent(const nghttp2_frame& frame);
  int closed(std::int32_t id, std::uint32_t code);
  int nuisance();

  [[nodiscard]] CallPtr find(std::int32_t id) const;
  void finish(const CallPtr& call, std::optional<Error> failure);
  void fail(const CallPtr& call, Error failure);
  void reset(std::int32_t id, std::uint32_t code);
  void failLargest();
  void end(const std::string& why);

  // Silence.
  [[nodiscard]] SteadyTime due() const;
  void watch();
  void silent();
  void probe();

  asio::awaitable<void> readFrames();
  asio::awaitable<void> writeFrames();

  const std::shared_ptr<Transport> transport_;
  const asio::ip::address peer_;
  const std::string where_;
  const std::chrono::milliseconds idle_, probeAfter_, probeAnswer_;
  const std::function<void()> changed_;
  Wakeup toWrite_;
  asio::steady_timer timer_;
  Http2Session session_;
  std::map<std::int32_t, CallPtr> calls_;
  NuisanceBudget nuisances_;
  SteadyTime heard_ = std::chrono::steady_clock::now();   // the last bytes
  SteadyTime rested_ = std::chrono::steady_clock::now();  // the last request ended
  std::optional<SteadyTime> probed_;                      // a PING was sent, and nothing has been heard since
  std::size_t held_ = 0;                                  // bytes of answers that are not complete
  std::size_t heldAtMost_ = 0;
  std::string fault_;      // what the server did wrong, as our own GOAWAY says
  bool greeted_ = false;   // the server has told its settings
  bool draining_ = false;  // no further requests
  bool goaway_ = false;    // the server said so
  bool used_ = false;
  bool dead_ = false;
};

}  // namespace podpass::http
