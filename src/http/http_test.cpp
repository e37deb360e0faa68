#include "http/http.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/use_future.hpp>
#include <condition_variable>
#include <future>
#include <mutex>
#include <sstream>

#include "http/client.h"
#include "http/test_certificates.h"

namespace podpass::http {
namespace {

using namespace std::chrono_literals;
using std::chrono::steady_clock;

constexpr std::chrono::seconds kPatience{20};  // for what must happen; never waited for when it does

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

std::shared_ptr<const std::string> shared(std::string text) { return std::make_shared<const std::string>(std::move(text)); }

Response textResponse(std::string text, int status = 200) {
  Response response;
  response.status = status;
  response.headers.add("Content-Type", "text/plain");
  response.body = shared(std::move(text));
  return response;
}

std::string describe(const Request& request) {
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
asio::awaitable<void> pour(Journal& journal, BodyWriter& writer) {
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
asio::awaitable<void> watch(Journal& journal, BodyWriter& writer) {
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

asio::awaitable<void> echoRaw(Journal& journal, std::shared_ptr<ByteStream> stream) {
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

asio::awaitable<Response> handle(Journal& journal, std::shared_ptr<const Request> request) {
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
    const auto byte = [](std::size_t value, int shift) { return static_cast<char>((value >> shift) & 0xff); };
    std::string bytes{byte(payload.size(), 16), byte(payload.size(), 8), byte(payload.size(), 0), type, flags};
    for (int shift : {24, 16, 8, 0}) bytes += byte(stream, shift);
    return bytes + payload;
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

struct Wire {
  const char* why;
  bool tls;
  const char* curl;
  const char* version;
};
const Wire kWires[] = {
    {"plain HTTP/1.1", false, "--http1.1", "v1"}, {"HTTP/1.1 over TLS", true, "--http1.1", "v1"}, {"HTTP/2", true, "--http2", "v2"}};

TEST(Http, CurlGetsTheSameAnswersWhateverTheProtocol) {
  for (const Wire& wire : kWires) {
    SCOPED_TRACE(wire.why);
    const Running server(wire.tls);
    const std::string host = "127.0.0.1:" + std::to_string(server.port());
    const std::string as = wire.curl;
    EXPECT_EQ(server.curl(as, "/a%20b?x=1&y=%2F"), "GET /a b ?x=1&y=%2F " + std::string(wire.version) + " host=" + host + " body=0");
    EXPECT_EQ(server.curl(as + " -d hello", "/body"), "hello");
    EXPECT_EQ(server.curl(as + " -X DELETE -o /dev/null -w '%{http_code}'", "/empty"), "204");
    EXPECT_EQ(server.curl(as, "/three"), "line 0\nline 1\nline 2\n");
    EXPECT_EQ(server.curl(as + " -w ' %{http_code}'", "/throw"), "Internal Server Error\n 500");
    EXPECT_EQ(server.curl(as + " -o /dev/null -w '%{size_download}'", "/large"), std::to_string(5 << 20));
    const std::string head = server.curl(as + " -I", "/large");
    EXPECT_NE(head.find(": 5242880"), std::string::npos) << head;
    EXPECT_NE(head.find("ate: "), std::string::npos) << head;
    const std::string split = server.curl(as + " -D -", "/header");
    EXPECT_EQ(split.find("\nX-Injected"), std::string::npos) << split;
    EXPECT_EQ(split.find("\nx-injected"), std::string::npos) << split;
  }
}

TEST(Http, EachAnswerHasOneDateTheHandlersOrTheServers) {
  const Running server(true);
  for (const char* protocol : {"--http1.1", "--http2"}) {
    SCOPED_TRACE(protocol);
    const auto datesOf = [&](const char* path) {
      std::istringstream head(server.curl(std::string("-D - -o /dev/null ") + protocol, path));
      std::vector<std::string> dates;
      for (std::string line; std::getline(head, line);)
        if (line.starts_with("Date: ") || line.starts_with("date: ")) dates.push_back(line.substr(6, 25));
      return dates;
    };
    const std::vector<std::string> longAgo{"Sat, 04 Mar 2023 09:28:03"};
    EXPECT_EQ(datesOf("/dated"), longAgo);
    EXPECT_EQ(datesOf("/empty").size(), 1u);
    EXPECT_NE(datesOf("/empty"), longAgo);
  }
}

TEST(Http, LargeBodiesArriveWholeAndTooLargeOnesAreNamed) {
  Limits limits;
  limits.body = 1 << 20;
  const std::string file = Certificates::get().path("upload");
  for (const Wire& wire : kWires) {
    SCOPED_TRACE(wire.why);
    const Running server(wire.tls, limits);
    const std::string as = std::string(wire.curl) + " --data-binary @" + file + " -w ' %{http_code}'";
    std::ofstream(file) << std::string(1 << 20, 'u');
    EXPECT_EQ(server.curl(as + " -o /dev/null -w ' %{size_download}'", "/body"), " 1048576");
    std::ofstream(file) << std::string((1 << 20) + 1, 'u');
    EXPECT_EQ(server.curl(as, "/body"), "too large 413");
    std::ofstream(file) << std::string(4 << 20, 'u');
    EXPECT_EQ(server.curl(as + " -H 'Transfer-Encoding: chunked' -H 'Expect:'", "/body"), "too large 413");
    EXPECT_EQ(server.curl(as + " -H 'Expect:'", "/body"), "too large 413");
  }
}

TEST(Http, HeadersOverTheLimitAreRefusedWith431) {
  for (const Wire& wire : kWires) {
    SCOPED_TRACE(wire.why);
    Limits limits;
    limits.header = 16 << 10;
    const Running server(wire.tls, limits);
    const std::string file = Certificates::get().path("headers");
    std::ofstream headers(file);
    for (int i = 0; i < 20; ++i) headers << "X-Long-" << i << ": " << std::string(1000, 'h') << "\n";
    headers.close();
    EXPECT_EQ(server.curl(std::string(wire.curl) + " -o /dev/null -w '%{http_code}' -H @" + file, "/"), "431");
  }
}

TEST(Http, MalformedRequestsAreRefusedAndTheConnectionEnds) {
  struct Case {
    const char* why;
    std::string request;
    const char* status;
  };
  const Case cases[] = {
      {"not HTTP at all", "\x16\x03\x01\x02garbage\r\n\r\n", "HTTP/1.1 400 "},
      {"no Host", "GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 400 "},
      {"two Hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "HTTP/1.1 400 "},
      {"an escape that is none", "GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 400 "},
      {"a target without a slash", "GET a HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 400 "},
      {"two framings: request smuggling", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
       "HTTP/1.1 400 "},
      {"two lengths", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc", "HTTP/1.1 400 "},
      {"a negative length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", "HTTP/1.1 400 "},
      {"a coding that hides the end of the body", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n",
       "HTTP/1.1 501 "},
      {"a chunk size that is no number", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", "HTTP/1.1 400 "},
      {"a space before the colon", "GET / HTTP/1.1\r\nHost : a\r\n\r\n", "HTTP/1.1 400 "},
      {"a version from the future", "GET / HTTP/3.0\r\nHost: a\r\n\r\n", "HTTP/1.1 400 "},
  };
  const Running server(false);
  for (const Case& c : cases) {
    SCOPED_TRACE(c.why);
    RawClient client(server.port());
    client.send(c.request);
    const std::string answer = client.readAll();
    EXPECT_TRUE(answer.starts_with(c.status)) << answer;
    EXPECT_NE(answer.find("Connection: close"), std::string::npos) << answer;
  }
}

TEST(Http, PipelinedRequestsAreAnsweredInOrderOnOneConnection) {
  const Running server(false);
  RawClient client(server.port());
  std::string requests;
  constexpr int kCount = 500;
  for (int i = 0; i < kCount; ++i) requests += "POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n" + std::to_string(1000 + i);
  requests += "GET /three HTTP/1.1\r\nHost: a\r\n\r\nGET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
  client.send(requests);
  for (int i = 0; i < kCount; ++i)
    ASSERT_TRUE(client.readUntil("\r\n\r\n" + std::to_string(1000 + i)).starts_with("HTTP/1.1 200 OK\r\n")) << i;
  EXPECT_TRUE(client.readUntil("0\r\n\r\n").find("7\r\nline 2\n\r\n") != std::string::npos);
  EXPECT_NE(client.readAll().find("GET /last"), std::string::npos);
}

TEST(Http, RequestsThatArriveByteByByteAreUnderstood) {
  const Running server(false);
  const std::string request =
      "\r\nPOST /body HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;ext=1\r\nhello\r\n6\r\n world\r\n0\r\nHost: "
      "trailer\r\n\r\n";
  for (int round = 0; round < 50; ++round) {  // where the server sees the bytes apart differs from round to round
    RawClient client(server.port());
    for (char c : request) client.send(std::string_view(&c, 1));
    const std::string answer = client.readUntil("hello world");
    ASSERT_NE(answer.find("Content-Length: 11\r\n"), std::string::npos) << "round " << round << ": " << answer;
  }
}

TEST(Http, AClientThatExpects100IsAskedForTheBody) {
  const Running server(false);
  RawClient client(server.port());
  client.send("POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
  EXPECT_EQ(client.readUntil("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
  client.send("ok");
  EXPECT_TRUE(client.readUntil("\r\n\r\nok").starts_with("HTTP/1.1 200 OK\r\n"));
}

TEST(Http, Http10GetsABodyThatEndsWithTheConnection) {
  const Running server(false);
  RawClient client(server.port());
  client.send("GET /three HTTP/1.0\r\n\r\n");
  const std::string answer = client.readAll();
  EXPECT_TRUE(answer.ends_with("\r\n\r\nline 0\nline 1\nline 2\n")) << answer;
  EXPECT_EQ(answer.find("chunked"), std::string::npos);
}

TEST(Http, SilentClientsAreClosed) {
  Limits limits;
  limits.headerTime = 1s;
  limits.idle = 1s;
  const Running server(false, limits);
  RawClient silent(server.port());
  RawClient halfway(server.port());
  RawClient idle(server.port());
  halfway.send("GET / HTTP/1.1\r\nHo");
  idle.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_EQ(silent.readAll(), "");
  EXPECT_EQ(halfway.readAll(), "");
  EXPECT_TRUE(idle.readAll().ends_with(" body=0"));
}

TEST(Http, AHandlerWaitsForASlowClient) {
  Running server(false);
  RawClient client(server.port(), 16 << 10);
  client.send("GET /pour HTTP/1.1\r\nHost: a\r\n\r\n");
  ASSERT_TRUE(server.journal.waitFor("poured"));
  // The client reads nothing: what the kernel's buffers hold is all that is ever poured. Ten times in a row without progress is a stop.
  std::ptrdiff_t poured = 0;
  for (int quiet = 0; quiet < 10;) {
    std::this_thread::yield();
    RawClient probe(server.port());  // a round trip through the same loops instead of a sleep
    probe.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    probe.readAll();
    const std::ptrdiff_t now = server.journal.count("poured");
    quiet = now == poured ? quiet + 1 : 0;
    poured = now;
    ASSERT_LT(poured, 4096) << "128 MB are in nobody's hands";
  }
  client.close();
  EXPECT_TRUE(server.journal.waitFor("pour ended"));
}

// `rounds` exchanges with the server, each through both of its loops: what it can do without us, it has done then.
void exchangeOften(const Running& server, int rounds) {
  FetchOptions options;
  options.insecure = true;
  for (int i = 0; i < rounds; ++i) EXPECT_TRUE(fetch(server.url("/"), options));
}

TEST(Http, AHandlerWaitsForTheWindowOfItsStream) {
  Running server(true);
  FrameClient client(server.port());
  client.send(FrameClient::get(1, "/pour"));
  ASSERT_TRUE(client.receive(FrameClient::kData));
  exchangeOften(server, 20);
  EXPECT_LE(server.journal.count("poured"), 4) << "64 kB of window and 64 kB that wait for it";
  client.send(FrameClient::frame(FrameClient::kReset, 0, 1, std::string("\0\0\0\x08", 4)));
  EXPECT_TRUE(server.journal.waitFor("pour ended"));
}

TEST(Http, FloodsAreToldToCalmDown) {
  struct Case {
    const char* why;
    std::function<std::string(std::uint32_t)> nuisance;
  };
  const std::string cancel("\0\0\0\x08", 4);
  const Case cases[] = {
      {"rapid reset, CVE-2023-44487",
       [&](std::uint32_t i) { return FrameClient::get(2 * i + 1, "/") + FrameClient::frame(FrameClient::kReset, 0, 2 * i + 1, cancel); }},
      {"pings, CVE-2019-9512", [](std::uint32_t) { return FrameClient::frame(FrameClient::kPing, 0, 0, "12345678"); }},
      {"settings, CVE-2019-9515", [](std::uint32_t) { return FrameClient::frame(FrameClient::kSettings, 0, 0, ""); }},
      {"empty data, CVE-2019-9518",
       [](std::uint32_t i) {
         const std::string post =
             "\x83\x87\x84\x41\x01"
             "a";
         return (i == 0 ? FrameClient::frame(FrameClient::kHeaders, 0x4, 1, post) : "") + FrameClient::frame(FrameClient::kData, 0, 1, "");
       }},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.why);
    const Running server(true);
    FrameClient client(server.port());
    std::string flood;
    for (std::uint32_t i = 0; i < 3000; ++i) flood += c.nuisance(i);
    client.send(flood);
    const std::optional<std::string> farewell = client.receive(FrameClient::kGoAway);
    ASSERT_TRUE(farewell);
    EXPECT_EQ(farewell->at(7), '\x0b') << "ENHANCE_YOUR_CALM";
    exchangeOften(server, 1);
  }
}

TEST(Http, AWatchLearnsThatItsClientHasGone) {
  for (const Wire& wire : kWires) {
    SCOPED_TRACE(wire.why);
    Running server(wire.tls);
    const std::string got = server.curl(std::string(wire.curl) + " -N --max-time 0.3", "/watch");
    EXPECT_TRUE(got.starts_with("first event\n")) << got;
    EXPECT_TRUE(server.journal.waitFor("watch closed"));
  }
}

TEST(Http, AResetStreamEndsThePourOfThatStreamOnly) {
  Running server(true);
  const std::string got = server.curl(
      "--http2 -Z --limit-rate 64k --max-filesize 1000000000 --max-time 0.5 -o /dev/null -o /dev/null '" + server.url("/pour") + "'",
      "/pour");
  EXPECT_TRUE(server.journal.waitFor("pour ended", 2)) << got;
}

TEST(Http, AHandlerTakesTheConnectionOverWithTheBytesAlreadyReceived) {
  Running server(false);
  RawClient client(server.port());
  client.send("GET /upgrade HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nearly");
  EXPECT_TRUE(client.readUntil("\r\n\r\n").starts_with("HTTP/1.1 101 "));
  EXPECT_EQ(client.readUntil("early"), "early");
  client.send("late");
  EXPECT_EQ(client.readUntil("late"), "late");
  client.close();
  EXPECT_TRUE(server.journal.waitFor("echo ended"));
}

TEST(Http, RelayedConnectionsCarryBytesBothWays) {
  Running echo(false);
  std::unique_ptr<Server> relaying = makeServer({}, [&echo](std::shared_ptr<const Request>) -> asio::awaitable<Response> {
    Response response;
    response.takeOver = [&echo](std::shared_ptr<ByteStream> client) -> asio::awaitable<void> {
      Result<std::shared_ptr<ByteStream>> server = co_await connectTcp("127.0.0.1", echo.port());
      EXPECT_TRUE(server);
      if (!server) co_return;
      const std::string request = "GET /upgrade HTTP/1.1\r\nHost: a\r\n\r\n";
      const Result<void> sent = co_await (*server)->write(request);
      EXPECT_TRUE(sent);
      co_await relay(client, *server);
    };
    co_return response;
  });
  ASSERT_TRUE(relaying->start());
  RawClient client(relaying->port());
  client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_TRUE(client.readUntil("\r\n\r\n").starts_with("HTTP/1.1 101 "));
  client.send("through two servers");
  EXPECT_EQ(client.readUntil("servers"), "through two servers");
  client.close();
  EXPECT_TRUE(echo.journal.waitFor("echo ended"));
  relaying->stop(1s);
}

TEST(Http, NobodyListeningIsUnavailable) {
  asio::io_context loop;
  unsigned short port = 0;
  {
    const Running server(false);
    port = server.port();
  }
  auto connected = asio::co_spawn(loop, connectTcp("127.0.0.1", port), asio::use_future);
  loop.run();
  const Result<std::shared_ptr<ByteStream>> stream = connected.get();
  ASSERT_FALSE(stream);
  EXPECT_EQ(stream.error().reason, Reason::Unavailable);
}

TEST(Http, AHundredStreamsShareOneConnection) {
  Running server(true);
  std::string urls;
  for (int i = 0; i < 100; ++i) urls += " '" + server.url("/stream" + std::to_string(i)) + "'";
  const std::string got =
      server.curl("--http2 -Z --parallel-max 100 -w '%{http_code} %{num_connects}\\n' -o /dev/null --remove-on-error" + urls, "/last");
  std::size_t answers = 0;
  for (std::size_t at = got.find(" v2 "); at != std::string::npos; at = got.find(" v2 ", at + 1)) ++answers;
  EXPECT_GE(answers, 100u) << got.substr(0, 500);
}

TEST(Http, OnlyAClientCertificateOfOurAuthorityMakesAPeer) {
  const Running server(true);
  const Certificates& certificates = Certificates::get();
  for (const char* as : {"--http1.1", "--http2"}) {
    SCOPED_TRACE(as);
    const auto with = [&](const std::string& name) {
      return server.curl(std::string(as) + " --cert " + certificates.path(name + ".crt") + " --key " + certificates.path(name + ".key"),
                         "/");
    };
    EXPECT_TRUE(with("client").ends_with(" cn=admin o=system:masters o=team:a sha=64")) << with("client");
    EXPECT_TRUE(with("stranger").ends_with(" body=0")) << with("stranger");
    EXPECT_TRUE(with("server").ends_with(" body=0")) << "a certificate for servers is none for clients: " << with("server");
    EXPECT_TRUE(server.curl(as, "/").ends_with(" body=0"));
  }
}

TEST(Http, ResumedSessionsKeepThePeerAndOldProtocolsAreRefused) {
  const Running server(true);
  const Certificates& certificates = Certificates::get();
  const std::string connect =
      "openssl s_client -connect 127.0.0.1:" + std::to_string(server.port()) + " -CAfile " + certificates.path("ca.crt");
  const std::string session = certificates.path("session");
  const std::string printed =
      "printf 'GET / HTTP/1.1\\r\\nHost: a\\r\\nConnection: close\\r\\n\\r\\n' | timeout 20 " + connect + " -ign_eof ";
  const std::string client = " -cert " + certificates.path("client.crt") + " -key " + certificates.path("client.key");
  const std::string first = outputOf(printed + client + " -sess_out " + session + " 2>&1");
  EXPECT_NE(first.find("New, TLSv1.3"), std::string::npos) << first;
  const std::string second = outputOf(printed + " -sess_in " + session + " 2>&1");
  EXPECT_NE(second.find("Reused, TLSv1.3"), std::string::npos) << second;
  EXPECT_NE(second.find("cn=admin o=system:masters"), std::string::npos) << second;
  const std::string old = outputOf("timeout 20 " + connect + " -tls1_1 -cipher ALL:@SECLEVEL=0 2>&1 </dev/null");
  EXPECT_EQ(old.find("New, TLSv1.1"), std::string::npos) << old;
}

TEST(Http, StopEndsWatchesAtOnceAndFinishesThem) {
  for (const Wire& wire : kWires) {
    SCOPED_TRACE(wire.why);
    Running server(wire.tls);
    auto got = std::async(std::launch::async, [&] { return server.curl(std::string(wire.curl) + " -N -w '%{exitcode}'", "/watch"); });
    ASSERT_TRUE(server.journal.waitFor("watching"));
    const auto before = steady_clock::now();
    server.stop(10s);
    EXPECT_LT(steady_clock::now() - before, 8s);
    EXPECT_EQ(got.get(), "first event\n0");
    EXPECT_EQ(server.journal.count("watch closed"), 1);
  }
}

TEST(Http, StopClosesIdleAndTakenOverConnections) {
  Running server(false);
  RawClient idle(server.port());
  RawClient taken(server.port());
  idle.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  taken.send("GET /upgrade HTTP/1.1\r\nHost: a\r\n\r\n");
  idle.readUntil("body=0");
  taken.readUntil("\r\n\r\n");
  server.stop(0ms);
  EXPECT_EQ(idle.readAll(), "");
  EXPECT_EQ(taken.readAll(), "");
  EXPECT_EQ(server.journal.count("echo ended"), 1);
}

TEST(Http, ConnectionsOverTheLimitWaitForTheirTurn) {
  Limits limits;
  limits.connections = 2;
  const Running server(false, limits);
  auto first = std::make_unique<RawClient>(server.port());
  RawClient second(server.port());
  first->send("GET /1 HTTP/1.1\r\nHost: a\r\n\r\n");
  second.send("GET /2 HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_NE(first->readUntil("body=0").find("/1"), std::string::npos);
  EXPECT_NE(second.readUntil("body=0").find("/2"), std::string::npos);
  RawClient third(server.port());
  third.send("GET /3 HTTP/1.1\r\nHost: a\r\n\r\n");
  first.reset();
  EXPECT_NE(third.readUntil("body=0").find("/3"), std::string::npos);
}

TEST(Http, AServerThatCannotStartSaysWhy) {
  const Running server(false);
  ServerOptions taken;
  taken.port = server.port();
  const Result<void> second = makeServer(taken, nullptr)->start();
  ASSERT_FALSE(second);
  EXPECT_NE(second.error().sentence.find("Address already in use"), std::string::npos) << second.error().sentence;
  ServerOptions keyless;
  keyless.tls = Certificates::get().files();
  keyless.tls->key = Certificates::get().path("client.key");
  const Result<void> mismatched = makeServer(keyless, nullptr)->start();
  ASSERT_FALSE(mismatched);
  EXPECT_NE(mismatched.error().sentence.find("client.key"), std::string::npos) << mismatched.error().sentence;
}

TEST(Http, AReplacedCertificateIsShownFromTheNextHandshakeOn) {
  const Certificates& certificates = Certificates::get();
  const Handler handler = [](std::shared_ptr<const Request>) -> asio::awaitable<Response> { co_return Response{}; };
  ServerOptions serving;
  serving.tls = certificates.files();
  serving.threads = 1;
  const std::unique_ptr<Server> server = makeServer(serving, handler);
  ASSERT_TRUE(server->start());
  const std::string url = "https://127.0.0.1:" + std::to_string(server->port()) + "/";
  FetchOptions options;
  options.caPem = certificates.text("ca.crt");
  EXPECT_TRUE(fetch(url, options));
  TlsFiles mismatched = certificates.files();
  mismatched.key = certificates.path("client.key");
  EXPECT_FALSE(server->useTls(mismatched));
  EXPECT_TRUE(fetch(url, options)) << "a certificate that cannot be used leaves the old one";
  TlsFiles inMemory;
  inMemory.certificatePem = certificates.text("stranger.crt");
  inMemory.keyPem = Secret(certificates.text("stranger.key"));
  ASSERT_TRUE(server->useTls(inMemory));
  EXPECT_FALSE(fetch(url, options));
  server->stop(0ms);
}

TEST(Http, ProtocolsAndCiphersAreWhatWasChosen) {
  ServerOptions serving;
  serving.tls = Certificates::get().files();
  serving.tls->ciphers = {"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"};
  const Handler handler = [](std::shared_ptr<const Request>) -> asio::awaitable<Response> { co_return Response{}; };
  const std::unique_ptr<Server> server = makeServer(serving, handler);
  ASSERT_TRUE(server->start());
  const std::string connect = "timeout 20 openssl s_client -connect 127.0.0.1:" + std::to_string(server->port()) + " ";
  EXPECT_NE(outputOf(connect + "-tls1_2 2>&1 </dev/null").find("Cipher is ECDHE-ECDSA-AES128-GCM-SHA256"), std::string::npos);
  EXPECT_EQ(outputOf(connect + "-tls1_2 -cipher ECDHE-ECDSA-AES256-GCM-SHA384 2>&1 </dev/null").find("Cipher is ECDHE"), std::string::npos);
  TlsFiles newest = *serving.tls;
  newest.minimumVersion = "1.3";
  ASSERT_TRUE(server->useTls(newest));
  EXPECT_EQ(outputOf(connect + "-tls1_2 2>&1 </dev/null").find("Cipher is ECDHE"), std::string::npos);
  newest.minimumVersion = "2";
  EXPECT_EQ(server->useTls(newest).error().sentence, "unsupported version 2");
  newest.minimumVersion = "";
  newest.ciphers = {"TLS_NULL"};
  EXPECT_EQ(server->useTls(newest).error().sentence, "unsupported cipher suite: TLS_NULL");
  server->stop(0ms);
}

TEST(Query, ParametersAreDecodedAndMalformedOnesLeftOut) {
  Request request;
  request.query = "a=1&b=x%20y&c+d=%2B+&a=2&bad=%zz&empty=&flag&=nameless";
  EXPECT_EQ(request.parameter("a"), "1");
  EXPECT_EQ(request.parameter("b"), "x y");
  EXPECT_EQ(request.parameter("c d"), "+ ");
  EXPECT_EQ(request.parameter("bad"), std::nullopt);
  EXPECT_EQ(request.parameter("empty"), "");
  EXPECT_EQ(request.parameter("flag"), "");
  EXPECT_EQ(request.parameter("absent"), std::nullopt);
  EXPECT_EQ(request.parameters("a"), (std::vector<std::string>{"1", "2"}));
}

}  // namespace
}  // namespace podpass::http
