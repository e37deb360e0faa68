#include "http/client.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/use_future.hpp>
#include <future>
#include <thread>

#include "base/text.h"
#include "http/test_certificates.h"
#include "http/test_listener.h"

namespace podpass::http {
namespace {

using namespace std::chrono_literals;
using std::chrono::steady_clock;

constexpr std::chrono::seconds kPatience{20};  // for what must happen; never waited for when it does

// A server that does what the test says with each connection, on one thread, one after the other. The last behaviour is repeated.
class Scripted {
 public:
  using Behaviour = std::function<void(int socket)>;
  explicit Scripted(std::vector<Behaviour> behaviours) : behaviours_(std::move(behaviours)) {
    thread_ = std::thread([this] { run(); });
  }
  ~Scripted() {
    stopping_ = true;
    ::shutdown(listener_.socket, SHUT_RDWR);
    thread_.join();
    ::close(listener_.socket);
  }
  [[nodiscard]] std::string url(const std::string& path = "/") const { return "http://127.0.0.1:" + std::to_string(listener_.port) + path; }
  [[nodiscard]] int connections() const { return connections_; }

  // Until the blank line of a request's head; "" when the client went.
  static std::string readHead(int socket) {
    std::string head;
    char byte = 0;
    while (!head.ends_with("\r\n\r\n")) {
      pollfd asked{socket, POLLIN, 0};
      if (::poll(&asked, 1, static_cast<int>(kPatience.count() * 1000)) <= 0 || ::recv(socket, &byte, 1, 0) <= 0) return {};
      head += byte;
    }
    return head;
  }
  static void send(int socket, std::string_view text) { static_cast<void>(::send(socket, text.data(), text.size(), MSG_NOSIGNAL)); }
  // Returns when the client closes.
  static void hang(int socket) {
    while (!readHead(socket).empty()) continue;
  }

 private:
  void run() {
    while (!stopping_) {
      const int socket = ::accept4(listener_.socket, nullptr, nullptr, SOCK_CLOEXEC);
      if (socket < 0) continue;
      const std::size_t number = static_cast<std::size_t>(connections_++);
      behaviours_[std::min(number, behaviours_.size() - 1)](socket);
      ::close(socket);
    }
  }

  std::vector<Behaviour> behaviours_;
  const Listener listener_ = listenOnLoopback();
  std::atomic<int> connections_{0};
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

constexpr std::string_view kOk = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

Scripted::Behaviour once(std::string answer) {
  return [answer = std::move(answer)](int socket) {
    Scripted::readHead(socket);
    Scripted::send(socket, answer);
  };
}

std::shared_ptr<const std::string> shared(std::string text) { return std::make_shared<const std::string>(std::move(text)); }

asio::awaitable<void> threeEvents(BodyWriter& writer) {
  for (int i = 0; i < 3; ++i) {
    const auto line = shared("event " + std::to_string(i) + "\n");
    const bool taken = co_await writer.write(line);
    if (!taken) co_return;
  }
}

// Says something and then nothing for ever.
asio::awaitable<void> silentWatch(BodyWriter& writer) {
  asio::steady_timer until(co_await asio::this_coro::executor, steady_clock::time_point::max());
  writer.onClosed([&until] { until.cancel(); });
  const auto line = shared("event 0\n");
  const bool taken = co_await writer.write(line);
  if (!taken) co_return;
  boost::system::error_code ended;
  co_await until.async_wait(asio::redirect_error(asio::use_awaitable, ended));
}

asio::awaitable<void> pause(std::chrono::milliseconds time) {
  asio::steady_timer timer(co_await asio::this_coro::executor, time);
  co_await timer.async_wait(asio::use_awaitable);
}

asio::awaitable<Response> handle(std::shared_ptr<const Request> request) {
  Response response;
  std::string text = request->method + " " + request->target + " from " + request->remote + " body=" + request->body;
  if (request->peer) text += " cn=" + request->peer->commonName;
  text += " auth=" + std::string(request->headers.find("Authorization"));
  if (request->path == "/large") text = std::string(5 << 20, 'L');
  if (request->path == "/moved") {
    response.status = 302;
    response.headers.add("Location", "/moved");
  }
  if (request->path == "/slow") co_await pause(100ms);
  if (request->path == "/silent") co_await pause(1500ms);
  if (request->path == "/three") {
    response.stream = threeEvents;
  } else if (request->path == "/watch") {
    response.stream = silentWatch;
  } else {
    response.body = shared(std::move(text));
  }
  co_return response;
}

class Running {
 public:
  explicit Running(bool tls) : tls_(tls) {
    ServerOptions options;
    if (tls) options.tls = Certificates::get().files();
    options.threads = 1;
    server_ = makeServer(options, handle);
    const Result<void> started = server_->start();
    EXPECT_TRUE(started) << (started ? "" : started.error().sentence);
  }
  ~Running() { server_->stop(0ms); }
  [[nodiscard]] std::string url(const std::string& path, const std::string& host = "127.0.0.1") const {
    return std::string(tls_ ? "https" : "http") + "://" + host + ":" + std::to_string(server_->port()) + path;
  }
  [[nodiscard]] unsigned short port() const { return server_->port(); }
  void stop() { server_->stop(0ms); }

 private:
  bool tls_;
  std::unique_ptr<Server> server_;
};

FetchOptions trusting() {
  FetchOptions options;
  options.caPem = Certificates::get().text("ca.crt");
  return options;
}

std::string bodyOf(const Result<Fetched>& fetched) { return fetched ? fetched->body : "error: " + fetched.error().sentence; }

// SHA-1 or SHA-256 of a certificate as openssl prints it, with colons.
std::string thumbprintOf(const std::string& certificate, const std::string& algorithm) {
  const std::string line = outputOf("openssl x509 -noout -fingerprint -" + algorithm + " -in " + Certificates::get().path(certificate));
  const std::string after = line.substr(line.find('=') + 1);
  return after.substr(0, after.find('\n'));
}

TEST(Client, VerifiesTheServerAndShowsTheClientCertificate) {
  const Running server(true);
  const Certificates& certificates = Certificates::get();
  FetchOptions options = trusting();
  options.clientCertificatePem = certificates.text("client.crt");
  options.clientKeyPem = Secret(certificates.text("client.key"));
  options.bearer = Secret("abc");
  options.method = "POST";
  options.body = "12345";
  const Result<Fetched> fetched = fetch(server.url("/x?y=1"), options);
  ASSERT_TRUE(fetched) << fetched.error().sentence;
  EXPECT_EQ(fetched->status, 200);
  EXPECT_TRUE(fetched->body.starts_with("POST /x?y=1 from ")) << fetched->body;
  EXPECT_TRUE(fetched->body.ends_with(" body=12345 cn=admin auth=Bearer abc")) << fetched->body;
}

TEST(Client, BelievesOnlyWhatItWasTold) {
  const Running server(true);
  const Certificates& certificates = Certificates::get();
  const std::string sha1 = thumbprintOf("server.crt", "sha1");
  struct Case {
    const char* why;
    std::function<void(FetchOptions&)> change;
    std::string host;
    std::string refusal;  // a part of the sentence; "": it is accepted
  };
  const Case cases[] = {
      {"the right authority", [](FetchOptions&) {}, "127.0.0.1", ""},
      {"by name", [](FetchOptions&) {}, "localhost", ""},
      {"a stranger's authority", [&](FetchOptions& o) { o.caPem = certificates.text("stranger-ca.crt"); }, "127.0.0.1", "was not accepted"},
      {"the system's roots", [](FetchOptions& o) { o.caPem.clear(); }, "127.0.0.1", "was not accepted"},
      {"no verification", [](FetchOptions& o) { o.caPem.clear(), o.insecure = true; }, "127.0.0.1", ""},
      {"another name", [](FetchOptions& o) { o.serverName = "issuer.example"; }, "127.0.0.1",
       "is for localhost, 127.0.0.1, not for issuer.example"},
      {"the name that is in the certificate", [](FetchOptions& o) { o.serverName = "localhost"; }, "127.0.0.1", ""},
      {"a pinned leaf, SHA-1", [&](FetchOptions& o) { o.caPem.clear(), o.thumbprints = {sha1}; }, "127.0.0.1", ""},
      {"a pinned leaf, SHA-256", [](FetchOptions& o) { o.caPem.clear(), o.thumbprints = {thumbprintOf("server.crt", "sha256")}; },
       "127.0.0.1", ""},
      {"a pin of another certificate", [](FetchOptions& o) { o.caPem.clear(), o.thumbprints = {thumbprintOf("client.crt", "sha1")}; },
       "127.0.0.1", "SHA-1 thumbprints of its chain"},
      {"a pin does not excuse the name", [&](FetchOptions& o) { o.caPem.clear(), o.thumbprints = {sha1}, o.serverName = "other"; },
       "127.0.0.1", "not for other"},
      {"a thumbprint of a wrong length", [](FetchOptions& o) { o.thumbprints = {"abcd"}; }, "127.0.0.1", "40 hex digits"},
      {"a thumbprint that is not hex", [](FetchOptions& o) { o.thumbprints = {"zz"}; }, "127.0.0.1", "not a thumbprint"},
      {"an authority that is not PEM", [](FetchOptions& o) { o.caPem = "certainly"; }, "127.0.0.1", "not a PEM certificate"},
      {"a client key of another certificate",
       [&](FetchOptions& o) {
         o.clientCertificatePem = certificates.text("client.crt");
         o.clientKeyPem = Secret(certificates.text("stranger.key"));
       },
       "127.0.0.1", "cannot use the client key"}};
  for (const Case& c : cases) {
    SCOPED_TRACE(c.why);
    FetchOptions options = trusting();
    c.change(options);
    const Result<Fetched> fetched = fetch(server.url("/", c.host), options);
    EXPECT_EQ(bool(fetched), c.refusal.empty()) << bodyOf(fetched);
    EXPECT_NE(bodyOf(fetched).find(c.refusal), std::string::npos) << bodyOf(fetched);
  }
}

TEST(Client, UsesItsConnectionsAgain) {
  for (const bool tls : {false, true}) {
    SCOPED_TRACE(tls);
    const Running server(tls);
    Client client;
    const std::string first = bodyOf(fetch(client, server.url("/a"), trusting()));
    const std::string second = bodyOf(fetch(client, server.url("/a"), trusting()));
    EXPECT_EQ(first, second);  // it holds the client's port
    FetchOptions others = trusting();
    others.insecure = true;  // who believes otherwise has connections of their own
    EXPECT_NE(bodyOf(fetch(client, server.url("/a"), others)), tls ? first : "");
    EXPECT_EQ(bodyOf(fetch(client, server.url("/large"), trusting())).size(), 5u << 20);
    EXPECT_EQ(bodyOf(fetch(client, server.url("/a"), trusting())), first);
  }
}

TEST(Client, IdleConnectionsAreClosedInTime) {
  const Running server(false);
  ClientOptions options;
  options.idle = 1ms;
  Client client(options);
  const std::string first = bodyOf(fetch(client, server.url("/"), {}));
  std::this_thread::sleep_for(50ms);  // the passing of time is what is tested
  EXPECT_NE(bodyOf(fetch(client, server.url("/"), {})), first);
}

TEST(Client, MoreRequestsThanConnectionsWaitForTheirTurn) {
  const Running server(false);
  ClientOptions few;
  few.connectionsPerHost = 2;
  few.waitingPerHost = 6;
  Client client(few);
  asio::io_context here(1);
  std::vector<std::future<Result<Fetched>>> all;
  for (int i = 0; i < 9; ++i) all.push_back(asio::co_spawn(here, client.send(server.url("/slow"), {}), asio::use_future));
  here.run();
  std::set<std::string> answers;
  int refused = 0;
  for (auto& one : all) {
    const Result<Fetched> fetched = one.get();
    if (fetched) answers.insert(fetched->body);
    refused += !fetched && fetched.error().reason == Reason::TooManyRequests;
  }
  EXPECT_EQ(answers.size(), 2u) << "two ports served all";
  EXPECT_EQ(refused, 1);
}

TEST(Client, SendsAgainOnlyWhatIsSafeWhenAKeptConnectionIsDead) {
  // The first connection answers once, reads the next request, and closes without a word.
  const Scripted::Behaviour fickle = [](int socket) {
    Scripted::readHead(socket);
    Scripted::send(socket, kOk);
    Scripted::readHead(socket);
  };
  for (const bool safe : {true, false}) {
    SCOPED_TRACE(safe);
    const Scripted server({fickle, once(std::string(kOk))});
    Client client;
    FetchOptions options;
    if (!safe) options.method = "POST";
    EXPECT_EQ(bodyOf(fetch(client, server.url(), options)), "ok");
    const Result<Fetched> second = fetch(client, server.url(), options);
    EXPECT_EQ(bool(second), safe);
    EXPECT_EQ(bodyOf(second).starts_with("error: "), !safe) << bodyOf(second);
    EXPECT_EQ(server.connections(), safe ? 2 : 1);
  }
  const Scripted server({fickle, once(std::string(kOk))});
  Client client;
  FetchOptions options;
  options.method = "POST";
  options.repeatable = true;
  EXPECT_EQ(bodyOf(fetch(client, server.url(), options)), "ok");
  EXPECT_EQ(bodyOf(fetch(client, server.url(), options)), "ok");
}

TEST(Client, AConnectionThatTheServerClosedIsNotUsedAgain) {
  std::promise<void> closed;
  const Scripted server({[&](int socket) {
                           Scripted::readHead(socket);
                           Scripted::send(socket, kOk);
                           ::shutdown(socket, SHUT_RDWR);
                           closed.set_value();
                         },
                         once(std::string(kOk))});
  Client client;
  FetchOptions options;
  options.method = "POST";  // would not be repeated
  EXPECT_EQ(bodyOf(fetch(client, server.url(), options)), "ok");
  ASSERT_EQ(closed.get_future().wait_for(kPatience), std::future_status::ready);
  EXPECT_EQ(bodyOf(fetch(client, server.url(), options)), "ok");
}

TEST(Client, NamesWhatIsWrongWithAnAnswer) {
  struct Case {
    const char* why;
    std::string answer;
    Reason reason;
    const char* says;
  };
  const Case cases[] = {
      {"nothing at all", "", Reason::Unavailable, "closed the connection"},
      {"cut off in the head", "HTTP/1.1 200 OK\r\nContent-Le", Reason::Unavailable, "cut off"},
      {"cut off in the body", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", Reason::Unavailable, "cut off"},
      {"cut off in a chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nabc", Reason::Unavailable, "cut off"},
      {"another protocol", "SSH-2.0-OpenSSH_9.2\r\n\r\n", Reason::Unavailable, "not HTTP"},
      {"a head without end", "HTTP/1.1 200 OK\r\nX: " + std::string(300 << 10, 'x'), Reason::Unavailable, "not HTTP"},
      {"a body that is announced too large", "HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n" + std::string(2000, 'x'),
       Reason::RequestTooLarge, "larger than 1000 bytes"},
      {"a body without end", "HTTP/1.1 200 OK\r\n\r\n" + std::string(5000, 'x'), Reason::RequestTooLarge, "larger than 1000 bytes"}};
  for (const Case& c : cases) {
    SCOPED_TRACE(c.why);
    const Scripted server({once(c.answer)});
    FetchOptions options;
    options.maxBody = 1000;
    const Result<Fetched> fetched = fetch(server.url(), options);
    ASSERT_FALSE(fetched) << fetched->body;
    EXPECT_EQ(fetched.error().reason, c.reason);
    EXPECT_NE(fetched.error().sentence.find(c.says), std::string::npos) << fetched.error().sentence;
  }
}

TEST(Client, NeitherHangingNorAbsentServersTakeLongerThanTheDeadline) {
  const Scripted hanging({Scripted::hang});
  const Running silent(true);
  FetchOptions options = trusting();
  options.timeout = 200ms;
  for (const std::string& url : {hanging.url(), silent.url("/silent"), "https" + hanging.url().substr(4)}) {
    SCOPED_TRACE(url);
    const auto before = steady_clock::now();
    const Result<Fetched> fetched = fetch(url, options);
    ASSERT_FALSE(fetched);
    EXPECT_EQ(fetched.error().reason, Reason::Timeout) << fetched.error().sentence;
    EXPECT_LT(steady_clock::now() - before, 1400ms);
  }
  std::string gone;
  {
    const Running server(false);
    gone = server.url("/");
  }
  const Result<Fetched> fetched = fetch(gone, options);
  ASSERT_FALSE(fetched);
  EXPECT_NE(fetched.error().sentence.find("cannot connect to 127.0.0.1:"), std::string::npos) << fetched.error().sentence;
  EXPECT_NE(fetched.error().sentence.find("Connection refused"), std::string::npos) << fetched.error().sentence;
}

TEST(Client, DoesNotFollowRedirects) {
  const Running server(false);
  const Result<Fetched> fetched = fetch(server.url("/moved"), {});
  ASSERT_TRUE(fetched);
  EXPECT_EQ(fetched->status, 302);
  EXPECT_EQ(fetched->headers.find("location"), "/moved");
}

TEST(Client, ConnectsToNoAddressThatIsExcluded) {
  const Running server(false);
  ClientOptions options;
  options.allowed = [](const asio::ip::address& address) { return !address.is_loopback(); };
  Client client(options);
  for (const char* host : {"127.0.0.1", "localhost"}) {
    const Result<Fetched> fetched = fetch(client, server.url("/", host), {});
    ASSERT_FALSE(fetched) << host;
    EXPECT_EQ(fetched.error().reason, Reason::Forbidden);
    EXPECT_NE(fetched.error().sentence.find("is excluded"), std::string::npos) << fetched.error().sentence;
  }
}

// A connection that another request made is no way around what this one is allowed.
TEST(Client, AsksOfKeptConnectionsToo) {
  const Running server(false);
  Client client;
  const Result<Fetched> first = fetch(client, server.url("/"), {});
  ASSERT_TRUE(first);
  EXPECT_EQ(first->from, asio::ip::make_address("127.0.0.1"));
  FetchOptions careful;
  careful.allowed = [](const asio::ip::address& address) { return !address.is_loopback(); };
  const Result<Fetched> refused = fetch(client, server.url("/"), careful);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().reason, Reason::Forbidden);
  EXPECT_TRUE(fetch(client, server.url("/"), {}));
}

TEST(Client, HandsAStreamOverAsItArrives) {
  const Running server(true);
  Client client;
  FetchOptions options = trusting();
  std::string seen;
  int status = 0;
  options.consume = [&](const Fetched& head, std::string_view bytes) {
    status = head.status;
    seen += bytes;
    return true;
  };
  Result<Fetched> fetched = fetch(client, server.url("/three"), options);
  ASSERT_TRUE(fetched) << fetched.error().sentence;
  EXPECT_EQ(seen, "event 0\nevent 1\nevent 2\n");
  EXPECT_EQ(status, 200);
  EXPECT_EQ(fetched->body, "");

  options.timeout = 100ms;  // only to the end of the headers: the watch goes on until it is told to end
  seen.clear();
  const auto before = steady_clock::now();
  options.consume = [&](const Fetched&, std::string_view bytes) {
    seen += bytes;
    return false;
  };
  fetched = fetch(client, server.url("/watch"), options);
  EXPECT_TRUE(fetched) << fetched.error().sentence;
  EXPECT_EQ(seen, "event 0\n");
  EXPECT_LT(steady_clock::now() - before, 1400ms);

  options.consume = [&](const Fetched&, std::string_view) { return true; };
  fetched = fetch(client, server.url("/moved"), options);
  ASSERT_TRUE(fetched);
  EXPECT_NE(fetched->body, "") << "what is not a success is kept";
}

TEST(Client, CancellingEndsAnExchangeAtOnce) {
  const Running server(false);
  Client client;
  for (const char* path : {"/silent", "/watch"}) {
    SCOPED_TRACE(path);
    asio::io_context here(1);
    asio::cancellation_signal cancel;
    std::optional<Result<Fetched>> outcome;
    FetchOptions options;
    if (path == std::string("/watch"))
      options.consume = [&](const Fetched&, std::string_view) {
        asio::post(here, [&] { cancel.emit(asio::cancellation_type::terminal); });
        return true;
      };
    auto done = [&](std::exception_ptr, Result<Fetched> fetched) { outcome = std::move(fetched); };
    asio::co_spawn(here, client.send(server.url(path), options), asio::bind_cancellation_slot(cancel.slot(), done));
    asio::steady_timer timer(here, 50ms);
    timer.async_wait([&](boost::system::error_code) { cancel.emit(asio::cancellation_type::terminal); });
    here.run_for(kPatience);
    ASSERT_TRUE(outcome);
    ASSERT_FALSE(*outcome);
    EXPECT_NE(outcome->error().sentence.find("cancelled"), std::string::npos) << outcome->error().sentence;
  }
}

TEST(Client, DestroyingItEndsWhatIsUnderWay) {
  const Running server(false);
  asio::io_context here(1);
  auto client = std::make_unique<Client>();
  auto waiting = asio::co_spawn(here, client->send(server.url("/silent"), {}), asio::use_future);
  here.poll();
  client.reset();
  here.run_for(kPatience);
  ASSERT_EQ(waiting.wait_for(0s), std::future_status::ready);
  const Result<Fetched> fetched = waiting.get();
  ASSERT_FALSE(fetched);
  EXPECT_EQ(fetched.error().sentence, "the client was stopped");
}

TEST(Client, KeepsHeadersApartFromWhatIsPutIntoThem) {
  const Running server(false);
  FetchOptions options;
  options.headers.add("X-A", "a\r\nAuthorization: Bearer stolen");
  options.method = "HEAD";
  Result<Fetched> fetched = fetch(server.url("/large"), options);
  ASSERT_TRUE(fetched) << fetched.error().sentence;
  EXPECT_EQ(fetched->headers.find("content-length"), "5242880");
  options.method = "GET";
  EXPECT_TRUE(bodyOf(fetch(server.url("/"), options)).ends_with(" auth="));
  for (const char* url : {"", "127.0.0.1:80", "ftp://127.0.0.1/", "http://", "http://user@127.0.0.1/", "http://a b/"}) {
    SCOPED_TRACE(url);
    fetched = fetch(url, {});
    ASSERT_FALSE(fetched);
    EXPECT_EQ(fetched.error().reason, Reason::BadRequest);
  }
}

}  // namespace
}  // namespace podpass::http
