#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <condition_variable>
#include <mutex>

#include "http/http.h"
#include "http/test_certificates.h"
#include "http/test_frames.h"

// A running server with handlers for every case, and clients that no library would be.
namespace podpass::http::test {

using namespace std::chrono_literals;
using std::chrono::steady_clock;

inline constexpr std::chrono::seconds kPatience{20};  // for what must happen; never waited for when it does

// What the handlers of a test tell the test.
class Journal {
 public:
  void note(std::string event) {
    const std::lock_guard lock(mutex_);
    events_.push_back(std::move(event));
    changed_.notify_all();
  }
  // True once `event` was noted `times` times.
  bool waitFor(const std::string& event, std::ptrdiff_t times = 1) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, kPatience, [&] { return std::count(events_.begin(), events_.end(), event) >= times; });
  }
  std::ptrdiff_t count(const std::string& event) {
    const std::lock_guard lock(mutex_);
    return std::count(events_.begin(), events_.end(), event);
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::string> events_;
};

inline std::shared_ptr<const std::string> shared(std::string text) { return std::make_shared<const std::string>(std::move(text)); }

inline Response textResponse(std::string text, int status = 200) {
  Response response;
  response.status = status;
  response.headers.add("Content-Type", "text/plain");
  response.body = shared(std::move(text));
  return response;
}

inline std::string describe(const Request& request) {
  std::string text = request.method + " " + request.path + " ?" + request.query + " v" + std::to_string(request.versionMajor) +
                     " host=" + std::string(request.headers.find("HOST")) + " body=" + std::to_string(request.body.size());
  if (request.peer) {
    text += " cn=" + request.peer->commonName;
    for (const std::string& organization : request.peer->organizations) text += " o=" + organization;
    text += " sha=" + std::to_string(request.peer->sha256Hex.size());
  }
  return text;
}

// Writes for ever, in pieces of 32 kB, and notes when it is told to stop.
inline asio::awaitable<void> pour(Journal& journal, BodyWriter& writer) {
  const auto piece = shared(std::string(32 << 10, 'x'));
  journal.note("pouring");
  while (true) {
    const bool taken = co_await writer.write(piece);
    if (!taken) break;
    journal.note("poured");
  }
  journal.note("pour ended");
}

// Writes one line, then waits until the client leaves: a watch.
inline asio::awaitable<void> watch(Journal& journal, BodyWriter& writer) {
  asio::steady_timer until(co_await asio::this_coro::executor, steady_clock::time_point::max());
  bool gone = false;
  writer.onClosed([&] {
    gone = true;
    until.cancel();
  });
  const bool taken = co_await writer.write(shared("first event\n"));
  journal.note("watching");
  boost::system::error_code cancelled;
  while (taken && !gone) co_await until.async_wait(asio::redirect_error(asio::use_awaitable, cancelled));
  journal.note(writer.closed() ? "watch closed" : "watch still open");
}

inline asio::awaitable<void> echoRaw(Journal& journal, std::shared_ptr<ByteStream> stream) {
  static constexpr std::string_view kHead = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n";
  const Result<void> begun = co_await stream->write(kHead);
  char buffer[256];
  while (begun) {
    const Result<std::size_t> count = co_await stream->readSome(buffer, sizeof buffer);
    if (!count || *count == 0) break;
    const Result<void> written = co_await stream->write(std::string_view(buffer, *count));
    if (!written) break;
  }
  journal.note("echo ended");
  stream->close();
}

inline asio::awaitable<Response> handle(Journal& journal, std::shared_ptr<const Request> request) {
  Response response;
  if (request->bodyTooLarge) {
    response = textResponse("too large", 413);
  } else if (request->path == "/body") {
    response = textResponse(request->body);
  } else if (request->path == "/large") {
    response = textResponse(std::string(5 << 20, 'L'));
  } else if (request->path == "/empty") {
    response.status = 204;
  } else if (request->path == "/throw") {
    throw std::runtime_error("on purpose");
  } else if (request->path == "/header") {
    response = textResponse("split");
    response.headers.add("X-Copied", "a\r\nX-Injected: b");
  } else if (request->path == "/dated") {
    response = textResponse("long ago");
    response.headers.add("Date", "Sat, 04 Mar 2023 09:28:03 GMT");
  } else if (request->path == "/three") {
    response.stream = [](BodyWriter& writer) -> asio::awaitable<void> {
      for (int i = 0; i < 3; ++i) {
        const bool taken = co_await writer.write(shared("line " + std::to_string(i) + "\n"));
        if (!taken) co_return;
      }
    };
  } else if (request->path == "/pour") {
    response.stream = [&journal](BodyWriter& writer) { return pour(journal, writer); };
  } else if (request->path == "/watch") {
    response.stream = [&journal](BodyWriter& writer) { return watch(journal, writer); };
  } else if (request->path == "/upgrade") {
    response.takeOver = [&journal](std::shared_ptr<ByteStream> stream) { return echoRaw(journal, std::move(stream)); };
  } else {
    response = textResponse(describe(*request));
  }
  co_return response;
}

// A running server with the handlers above.
class Running {
 public:
  explicit Running(bool tls, Limits limits = {}) : tls_(tls) {
    ServerOptions options;
    if (tls) options.tls = Certificates::get().files();
    options.threads = 2;
    options.limits = limits;
    server_ = makeServer(options, [this](std::shared_ptr<const Request> request) { return handle(journal, std::move(request)); });
    const Result<void> started = server_->start();
    EXPECT_TRUE(started) << (started ? "" : started.error().sentence);
  }
  ~Running() { server_->stop(0ms); }

  [[nodiscard]] std::string url(const std::string& path) const {
    return std::string(tls_ ? "https" : "http") + "://127.0.0.1:" + std::to_string(port()) + path;
  }
  [[nodiscard]] unsigned short port() const { return server_->port(); }
  void stop(std::chrono::milliseconds grace) { server_->stop(grace); }
  // curl's output for this path; `arguments` as on the command line.
  [[nodiscard]] std::string curl(const std::string& arguments, const std::string& path) const {
    return outputOf("curl -sS --max-time 20 --cacert " + Certificates::get().path("ca.crt") + " " + arguments + " '" + url(path) +
                    "' 2>&1");
  }

  Journal journal;

 private:
  bool tls_;
  std::unique_ptr<Server> server_;
};

// A plain TCP connection that sends what it is told.
class RawClient {
 public:
  explicit RawClient(unsigned short port, int receiveBuffer = 0) : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    const int on = 1;
    setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (receiveBuffer > 0) setsockopt(socket_, SOL_SOCKET, SO_RCVBUF, &receiveBuffer, sizeof receiveBuffer);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  }
  ~RawClient() { close(); }
  RawClient(const RawClient&) = delete;
  RawClient& operator=(const RawClient&) = delete;

  [[nodiscard]] int descriptor() const { return socket_; }
  void close() {
    if (socket_ >= 0) ::close(socket_);
    socket_ = -1;
  }
  void send(std::string_view bytes) const {
    EXPECT_EQ(::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL), static_cast<ssize_t>(bytes.size()));
  }
  // Reads until `end` was seen, or the server closed.
  std::string readUntil(std::string_view end) {
    while (received_.find(end) == std::string::npos && more()) {
    }
    const std::size_t at = received_.find(end);
    const std::size_t size = at == std::string::npos ? received_.size() : at + end.size();
    std::string taken = received_.substr(0, size);
    received_.erase(0, size);
    return taken;
  }
  std::string readAll() {
    while (more()) {
    }
    return std::exchange(received_, {});
  }

 private:
  bool more() {
    pollfd waiting{socket_, POLLIN, 0};
    if (::poll(&waiting, 1, static_cast<int>(std::chrono::milliseconds(kPatience).count())) <= 0) {
      ADD_FAILURE() << "the server neither answered nor closed";
      return false;
    }
    char buffer[16 << 10];
    const ssize_t count = ::recv(socket_, buffer, sizeof buffer, 0);
    if (count <= 0) return false;
    received_.append(buffer, static_cast<std::size_t>(count));
    return true;
  }

  int socket_;
  std::string received_;
};

// Speaks HTTP/2 frame by frame, as no honest client would.
class FrameClient {
 public:
  explicit FrameClient(unsigned short port) : context_(SSL_CTX_new(TLS_client_method())), tls_(SSL_new(context_)), tcp_(port) {
    static constexpr unsigned char kH2[] = "\x02h2";
    SSL_set_alpn_protos(tls_, kH2, sizeof kH2 - 1);
    SSL_set_fd(tls_, tcp_.descriptor());
    EXPECT_EQ(SSL_connect(tls_), 1);
    send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(kSettings, 0, 0, ""));
  }
  ~FrameClient() {
    SSL_free(tls_);
    SSL_CTX_free(context_);
  }
  FrameClient(const FrameClient&) = delete;
  FrameClient& operator=(const FrameClient&) = delete;

  static constexpr char kData = 0, kHeaders = 1, kReset = 3, kSettings = 4, kPing = 6, kGoAway = 7;

  static std::string frame(char type, char flags, std::uint32_t stream, const std::string& payload) {
    return bytesOf({static_cast<std::uint8_t>(type), static_cast<std::uint8_t>(flags), stream, payload});
  }
  static std::string get(std::uint32_t stream, const std::string& path) {
    const std::string head =
        "\x82\x87\x41\x01"
        "a"
        "\x04" +
        std::string(1, static_cast<char>(path.size())) + path;  // HPACK: GET https a
    return frame(kHeaders, 0x5, stream, head);
  }
  // False once the server has closed.
  bool send(const std::string& bytes) { return SSL_write(tls_, bytes.data(), static_cast<int>(bytes.size())) > 0; }
  // The payload of the first frame of this type; nullopt when the connection ended without.
  std::optional<std::string> receive(char type) {
    for (;;) {
      const std::string head = read(9);
      if (head.size() < 9) return std::nullopt;
      const auto at = [&head](std::size_t i) { return static_cast<std::size_t>(static_cast<unsigned char>(head[i])); };
      std::string payload = read(at(0) << 16 | at(1) << 8 | at(2));
      if (head[3] == type) return payload;
    }
  }

 private:
  std::string read(std::size_t size) {
    std::string bytes(size, '\0');
    std::size_t filled = 0;
    while (filled < size) {
      const int count = SSL_read(tls_, bytes.data() + filled, static_cast<int>(size - filled));
      if (count <= 0) break;
      filled += static_cast<std::size_t>(count);
    }
    bytes.resize(filled);
    return bytes;
  }

  SSL_CTX* context_;
  SSL* tls_;
  RawClient tcp_;
};

// Every way in which a request arrives.
struct Wire {
  const char* why;
  bool tls;
  const char* curl;
  const char* version;
};
inline const Wire kWires[] = {
    {"plain HTTP/1.1", false, "--http1.1", "v1"}, {"HTTP/1.1 over TLS", true, "--http1.1", "v1"}, {"HTTP/2", true, "--http2", "v2"}};

}  // namespace podpass::http::test
