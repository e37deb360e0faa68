#pragma once

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "http/test_certificates.h"
#include "http/test_frames.h"
#include "http/test_listener.h"

// A server of HTTP/2 for tests that says what no library would say.
namespace podpass::http {

// The server's end of one TLS connection, frame by frame.
class Peer {
 public:
  Peer(SSL_CTX* context, int socket) : ssl_(SSL_new(context)), socket_(socket) {
    SSL_set_fd(ssl_, socket);
    good_ = SSL_accept(ssl_) == 1;
  }
  ~Peer() {
    SSL_free(ssl_);
    ::close(socket_);
  }
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;

  [[nodiscard]] bool good() const { return good_; }
  std::string read(std::size_t size) {
    std::string bytes(size, '\0');
    for (std::size_t got = 0; good_ && got < size;) {
      const int count = SSL_read(ssl_, bytes.data() + got, static_cast<int>(size - got));
      good_ = count > 0;
      got += good_ ? static_cast<std::size_t>(count) : 0;
    }
    return good_ ? bytes : std::string();
  }
  void write(std::string_view bytes) { good_ = good_ && SSL_write(ssl_, bytes.data(), static_cast<int>(bytes.size())) > 0; }
  void send(const Frame& frame) { write(bytesOf(frame)); }
  std::optional<Frame> next() {
    const std::string head = read(9);
    if (head.empty()) return std::nullopt;
    const auto byte = [&head](std::size_t at) { return std::uint32_t{static_cast<unsigned char>(head[at])}; };
    Frame frame{static_cast<std::uint8_t>(byte(3)), static_cast<std::uint8_t>(byte(4)),
                byte(5) << 24 | byte(6) << 16 | byte(7) << 8 | byte(8)};
    const std::size_t size = byte(0) << 16 | byte(1) << 8 | byte(2);
    if (size > 0) frame.payload = read(size);
    return good_ ? std::optional(frame) : std::nullopt;
  }
  // Reads the preface and says what it allows; streams 0: no limit.
  void greet(std::uint32_t streams = 0) {
    read(24);
    send({kSettings, 0, 0, streams > 0 ? number(3, 2) + number(streams, 4) : std::string()});
  }
  // The same, with what a good server answers to SETTINGS and PING at once.
  std::optional<Frame> polite() {
    const std::optional<Frame> frame = next();
    if (frame && frame->type == kSettings && frame->flags == 0) send({kSettings, kAck, 0});
    if (frame && frame->type == kPing && frame->flags == 0) send({kPing, kAck, 0, frame->payload});
    return frame;
  }
  // The next of this type. Nothing when the client went.
  std::optional<Frame> await(std::uint8_t type) {
    std::optional<Frame> frame = polite();
    while (frame && frame->type != type) frame = polite();
    return frame;
  }
  // The stream of the next request that is complete; 0 when the client went.
  std::uint32_t request() {
    while (const std::optional<Frame> frame = polite())
      if ((frame->type == kHeaders || frame->type == kData) && (frame->flags & kEndStream) != 0) return frame->stream;
    return 0;
  }
  void head(std::uint32_t stream, const std::string& more = "") { send({kHeaders, kEndHeaders, stream, "\x88" + more}); }  // :status 200
  void answer(std::uint32_t stream, const std::string& body = "ok") {
    head(stream);
    send({kData, kEndStream, stream, body});
  }
  void answerAll() {
    while (const std::uint32_t stream = request()) answer(stream);
  }
  void goAway(std::uint32_t last, std::uint32_t code = 0) { send({kGoaway, 0, 0, number(last, 4) + number(code, 4)}); }
  // Says nothing more until the client goes.
  void hang() {
    while (next()) continue;
  }

 private:
  SSL* ssl_;
  int socket_;
  bool good_ = false;
};

// A TLS server that does with each connection, on a thread of its own, what the test says. The last behaviour is repeated.
// The client goes first: connections end when it does.
class FrameServer {
 public:
  using Behaviour = std::function<void(Peer&)>;
  explicit FrameServer(std::vector<Behaviour> behaviours, std::string protocol = "h2")
      : behaviours_(std::move(behaviours)), protocol_(std::move(protocol)), context_(SSL_CTX_new(TLS_server_method())) {
    ::signal(SIGPIPE, SIG_IGN);  // OpenSSL writes to connections that the client has closed
    const TlsFiles files = Certificates::get().files();
    EXPECT_EQ(SSL_CTX_use_certificate_chain_file(context_, files.certificate.c_str()), 1);
    EXPECT_EQ(SSL_CTX_use_PrivateKey_file(context_, files.key.c_str(), SSL_FILETYPE_PEM), 1);
    SSL_CTX_set_alpn_select_cb(context_, choose, &protocol_);
    accepting_ = std::thread([this] { accept(); });
  }
  explicit FrameServer(Behaviour behaviour) : FrameServer(std::vector{std::move(behaviour)}) {}
  ~FrameServer() {
    stopping_ = true;
    ::shutdown(listener_.socket, SHUT_RDWR);
    accepting_.join();
    for (std::thread& each : serving_) each.join();
    ::close(listener_.socket);
    SSL_CTX_free(context_);
  }
  FrameServer(const FrameServer&) = delete;
  FrameServer& operator=(const FrameServer&) = delete;
  [[nodiscard]] std::string url(const std::string& path = "/") const {
    return "https://127.0.0.1:" + std::to_string(listener_.port) + path;
  }
  [[nodiscard]] int connections() const { return connections_; }

 private:
  static int choose(SSL*, const unsigned char** chosen, unsigned char* size, const unsigned char*, unsigned, void* protocol) {
    const auto& name = *static_cast<const std::string*>(protocol);
    *chosen = reinterpret_cast<const unsigned char*>(name.data());
    *size = static_cast<unsigned char>(name.size());
    return SSL_TLSEXT_ERR_OK;
  }
  void accept() {
    while (!stopping_) {
      const int socket = ::accept4(listener_.socket, nullptr, nullptr, SOCK_CLOEXEC);
      if (socket < 0) continue;
      const auto count = static_cast<std::size_t>(connections_++);
      serving_.emplace_back([this, socket, &behaviour = behaviours_[std::min(count, behaviours_.size() - 1)]] {
        Peer peer(context_, socket);
        behaviour(peer);
      });
    }
  }

  std::vector<Behaviour> behaviours_;
  std::string protocol_;
  SSL_CTX* context_;
  const Listener listener_ = listenOnLoopback();
  std::atomic<int> connections_{0};
  std::atomic<bool> stopping_{false};
  std::thread accepting_;
  std::vector<std::thread> serving_;
};

}  // namespace podpass::http
