#include <gtest/gtest.h>

#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <set>

#include "http/test_frame_server.h"
#include "http/test_together.h"

// Requests that share connections: when they do, and when they wait.
namespace podpass::http {
namespace {

using namespace std::chrono_literals;
using std::chrono::steady_clock;

asio::awaitable<void> pause(std::chrono::milliseconds time) {
  asio::steady_timer timer(co_await asio::this_coro::executor, time);
  co_await timer.async_wait(asio::use_awaitable);
}

// Our own server, which says who asked and how.
asio::awaitable<Response> handle(std::shared_ptr<const Request> request) {
  if (request->path == "/slow") co_await pause(100ms);
  if (request->path == "/silent") co_await pause(1500ms);
  Response response;
  std::string text = request->remote + " v" + std::to_string(request->versionMajor);
  if (request->path == "/what")
    text = request->method + " " + request->target + " " + request->body + " " + std::string(request->headers.find("x-name")) + " " +
           std::string(request->headers.find("authorization")) + " " + std::string(request->headers.find("host"));
  if (request->path == "/large") text = std::string(5 << 20, 'L');
  response.body = std::make_shared<const std::string>(std::move(text));
  co_return response;
}

class Serving {
 public:
  Serving() {
    ServerOptions options;
    options.tls = Certificates::get().files();
    options.threads = 1;
    server_ = makeServer(options, handle);
    EXPECT_TRUE(server_->start());
  }
  ~Serving() { server_->stop(0ms); }
  [[nodiscard]] std::string url(const std::string& path) const { return "https://127.0.0.1:" + std::to_string(server_->port()) + path; }
  void stop(std::chrono::milliseconds grace) { server_->stop(grace); }

 private:
  std::unique_ptr<Server> server_;
};

void serve(Peer& peer) {
  peer.greet();
  peer.answerAll();
}

TEST(Http2Client, ManyRequestsAtOnceShareOneConnection) {
  const Serving server;
  Client client;
  Together together(client);
  for (int i = 0; i < 50; ++i) together.add(server.url("/slow"));
  const auto began = steady_clock::now();
  std::set<std::string> peers;
  for (const Result<Fetched>& each : together.answers()) peers.insert(textOf(each));
  EXPECT_EQ(peers.size(), 1u);
  EXPECT_TRUE(peers.begin()->ends_with(" v2")) << *peers.begin();
  EXPECT_LT(steady_clock::now() - began, 3s) << "they did not wait for each other";
  FetchOptions alone = multiplexing();
  alone.multiplex = false;
  EXPECT_TRUE(textOf(fetch(client, server.url("/"), alone)).ends_with(" v1")) << "only who asks for it gets HTTP/2";
}

TEST(Http2Client, SendsWhatItIsTold) {
  const Serving server;
  FetchOptions options = multiplexing("a body");
  options.headers.add("X-Name", "a\r\nb");
  options.headers.add("Connection", "close");
  options.bearer = Secret("secret");
  const std::string host = server.url("").substr(8);
  EXPECT_EQ(textOf(fetch(server.url("/what?a=b"), options)), "POST /what?a=b a body a  b Bearer secret " + host);
  options = multiplexing(std::string(2 << 20, 'b'));  // larger than every window
  EXPECT_EQ(textOf(fetch(server.url("/what"), options)).size(), std::string("POST /what    ").size() + (2u << 20) + host.size());
}

TEST(Http2Client, LargeAnswersGetOnTogetherAndOneThatIsTooLargeEndsAlone) {
  const Serving server;
  Client client;
  const std::string before = textOf(fetch(client, server.url("/"), multiplexing()));
  Together together(client);
  for (int i = 0; i < 8; ++i) together.add(server.url("/large"));
  FetchOptions small = multiplexing();
  small.maxBody = 1 << 20;
  together.add(server.url("/large"), small);
  const std::vector<Result<Fetched>> answers = together.answers();
  for (std::size_t i = 0; i < 8; ++i) EXPECT_EQ(textOf(answers[i]).size(), 5u << 20) << i;
  ASSERT_FALSE(answers[8]);
  EXPECT_EQ(answers[8].error().reason, Reason::RequestTooLarge);
  EXPECT_EQ(textOf(fetch(client, server.url("/"), multiplexing())), before);
}

void answerInHttp1(Peer& peer) {
  std::string head;
  while (!head.ends_with("\r\n\r\n")) {
    const std::string byte = peer.read(1);
    if (byte.empty()) return;
    head += byte;
  }
  EXPECT_TRUE(head.starts_with("GET / HTTP/1.1\r\n")) << head;
  peer.write("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\none");
  peer.hang();
}

TEST(Http2Client, SpeaksHttp1ToWhoeverDoesNotKnowBetter) {
  FrameServer server({answerInHttp1}, "http/1.1");
  Client client;
  Together together(client);
  for (int i = 0; i < 3; ++i) together.add(server.url());
  for (const Result<Fetched>& each : together.answers()) EXPECT_EQ(textOf(each), "one");
}

TEST(Http2Client, WhatIsConsumedAsItArrivesHasAConnectionToItself) {
  const Serving server;
  Client client;
  const std::string shared = textOf(fetch(client, server.url("/"), multiplexing()));
  std::string consumed;
  FetchOptions options = multiplexing();
  options.consume = [&consumed](const Fetched&, std::string_view bytes) {
    consumed += bytes;
    return true;
  };
  ASSERT_TRUE(fetch(client, server.url("/"), options));
  EXPECT_TRUE(consumed.ends_with(" v1")) << consumed;
  EXPECT_EQ(textOf(fetch(client, server.url("/"), multiplexing())), shared);
}

TEST(Http2Client, OpensAnotherConnectionWhenTheServerAllowsNoMoreStreams) {
  std::atomic<int> asked = 0;
  FrameServer server([&asked](Peer& peer) {
    peer.greet(1);
    while (const std::uint32_t stream = peer.request()) {
      ++asked;
      const auto deadline = steady_clock::now() + 10s;
      while (asked < 2 && steady_clock::now() < deadline) std::this_thread::yield();  // the first waits for the second
      peer.answer(stream);
    }
  });
  Client client({.connectionsPerHost = 2, .allowed = {}});
  Together together(client);
  for (int i = 0; i < 6; ++i) together.add(server.url());
  for (const Result<Fetched>& each : together.answers()) EXPECT_EQ(textOf(each), "ok");
  EXPECT_EQ(server.connections(), 2) << "no more than it may have; the rest waited for their turn";
}

TEST(Http2Client, NeverHasMoreStreamsOpenThanTheServerAllows) {
  int most = 0;
  FrameServer server([&most](Peer& peer) {
    peer.greet(2);
    std::vector<std::uint32_t> open;
    for (int answered = 0; answered < 7;) {
      if (answered + static_cast<int>(open.size()) < 7 && open.size() < 2) {
        const std::uint32_t stream = peer.request();
        if (stream == 0) return;
        open.push_back(stream);
        continue;
      }
      peer.send({kPing, 0, 0, "12345678"});  // whatever was sent too early comes before the answer
      std::optional<Frame> frame = peer.next();
      for (; frame && frame->type != kPing; frame = peer.next())
        if (frame->type == kHeaders) open.push_back(frame->stream);
      most = std::max(most, static_cast<int>(open.size()));
      for (const std::uint32_t stream : open) peer.answer(stream);
      answered += static_cast<int>(open.size());
      open.clear();
    }
    peer.hang();
  });
  Client client({.connectionsPerHost = 1, .allowed = {}});
  Together together(client);
  for (int i = 0; i < 7; ++i) together.add(server.url());
  for (const Result<Fetched>& each : together.answers()) EXPECT_EQ(textOf(each), "ok");
  EXPECT_EQ(most, 2);
}

TEST(Http2Client, TooManyThatWaitAreRefused) {
  FrameServer server([](Peer& peer) {
    peer.greet(1);
    peer.request();
    peer.hang();
  });
  Client client({.connectionsPerHost = 1, .waitingPerHost = 1, .allowed = {}});
  Together together(client);
  FetchOptions options = multiplexing();
  options.timeout = 300ms;
  for (int i = 0; i < 3; ++i) together.add(server.url(), options);
  int refused = 0, late = 0;
  for (const Result<Fetched>& each : together.answers()) {
    ASSERT_FALSE(each);
    refused += each.error().reason == Reason::TooManyRequests;
    late += each.error().reason == Reason::Timeout;
  }
  EXPECT_EQ(refused, 1);
  EXPECT_EQ(late, 2);
}

TEST(Http2Client, ARequestThatHangsCostsItsTimeoutAndNothingElse) {
  const Serving server;
  Client client;
  const std::string before = textOf(fetch(client, server.url("/"), multiplexing()));
  Together together(client);
  FetchOptions impatient = multiplexing();
  impatient.timeout = 700ms;
  together.add(server.url("/silent"), impatient);
  for (int i = 0; i < 10; ++i) together.add(server.url("/slow"));
  const std::vector<Result<Fetched>> answers = together.answers();
  ASSERT_FALSE(answers[0]);
  EXPECT_EQ(answers[0].error().reason, Reason::Timeout);
  for (std::size_t i = 1; i < answers.size(); ++i) EXPECT_EQ(textOf(answers[i]), before) << "the same connection";
  EXPECT_EQ(textOf(fetch(client, server.url("/"), multiplexing())), before);
}

TEST(Http2Client, AServerThatStopsIsReplacedByTheNext) {
  auto server = std::make_unique<Serving>();
  Client client;
  ASSERT_TRUE(fetch(client, server->url("/"), multiplexing()));
  server->stop(100ms);
  const Result<Fetched> gone = fetch(client, server->url("/"), multiplexing());
  ASSERT_FALSE(gone);
  EXPECT_NE(gone.error().sentence.find("cannot connect"), std::string::npos) << gone.error().sentence;
}

// A connection that others share is no way around what a request is allowed.
TEST(Http2Client, IsOnlySharedByThoseWhoMayGoToItsAddress) {
  FrameServer server(serve);
  Client client({.connectionsPerHost = 1, .allowed = {}});
  const Result<Fetched> first = fetch(client, server.url(), multiplexing());
  ASSERT_TRUE(first) << textOf(first);
  EXPECT_EQ(first->from, asio::ip::address_v4::loopback());
  FetchOptions careful = multiplexing();
  careful.allowed = [](const asio::ip::address& address) { return !address.is_loopback(); };
  const Result<Fetched> refused = fetch(client, server.url(), careful);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().reason, Reason::Forbidden) << refused.error().sentence;
  careful.allowed = [](const asio::ip::address& address) { return address.is_loopback(); };
  EXPECT_EQ(textOf(fetch(client, server.url(), careful)), "ok");
  EXPECT_EQ(server.connections(), 1);
}

TEST(Http2Client, IsOnlySharedByThoseWhoBelieveAndShowTheSame) {
  FrameServer server(serve);
  Client client;
  ASSERT_EQ(textOf(fetch(client, server.url(), multiplexing())), "ok");
  FetchOptions strange = multiplexing();
  strange.caPem = Certificates::get().text("stranger-ca.crt");
  const Result<Fetched> refused = fetch(client, server.url(), strange);
  ASSERT_FALSE(refused);
  ASSERT_EQ(refused.error().causes.size(), 1u) << refused.error().sentence;
  EXPECT_EQ(refused.error().causes.front().reason, kCertificateRefused);
  FetchOptions misnamed = multiplexing();
  misnamed.serverName = "hook.tools.svc";
  EXPECT_EQ(textOf(fetch(client, server.url(), misnamed)),
            "error: the certificate of " + server.url("").substr(8) + " is for localhost, 127.0.0.1, not for hook.tools.svc");
  const int before = server.connections();
  FetchOptions named = multiplexing();
  named.clientCertificatePem = Certificates::get().text("client.crt");
  named.clientKeyPem = Secret(Certificates::get().text("client.key"));
  EXPECT_EQ(textOf(fetch(client, server.url(), named)), "ok");
  EXPECT_EQ(server.connections(), before + 1) << "another identity has another connection";
  EXPECT_EQ(textOf(fetch(client, server.url(), multiplexing())), "ok");
  EXPECT_EQ(server.connections(), before + 1) << "and the first is kept";
}

TEST(Http2Client, DestroyingItEndsWhatIsUnderWay) {
  FrameServer server([](Peer& peer) {
    peer.greet();
    peer.hang();
  });
  asio::io_context loop(1);
  auto client = std::make_unique<Client>();
  std::future<Result<Fetched>> answer = asio::co_spawn(loop, client->send(server.url(), multiplexing()), asio::use_future);
  std::thread running([&loop] { loop.run(); });
  while (server.connections() == 0) std::this_thread::yield();
  client.reset();
  running.join();
  const Result<Fetched> ended = answer.get();
  ASSERT_FALSE(ended);
  EXPECT_EQ(ended.error().sentence, "the client was stopped");
}

}  // namespace
}  // namespace podpass::http
