#include "http/web_socket.h"

#include <gtest/gtest.h>

#include "http/message.h"
#include "http/test_certificates.h"
#include "http/test_web_socket.h"

namespace podpass::http {
namespace {

using namespace std::chrono_literals;

struct Bench {
  explicit Bench(std::function<Response(const Request&)> answer, bool tls = true) {
    ServerOptions options;
    if (tls) options.tls = Certificates::get().files();
    options.threads = 1;
    server =
        makeServer(options, [answer](std::shared_ptr<const Request> request) -> asio::awaitable<Response> { co_return answer(*request); });
    EXPECT_TRUE(server->start());
    url = std::string(tls ? "https" : "http") + "://127.0.0.1:" + std::to_string(server->port()) + "/there?a=b";
    asked.caPem = Certificates::get().text("ca.crt");
    asked.timeout = 5s;
  }
  ~Bench() { server->stop(0ms); }
  Result<Fetched> listen() {
    return listenToWebSocket(url, "v4.channel.k8s.io", asked, [this](std::string_view message) { heard.emplace_back(message); });
  }
  std::unique_ptr<Server> server;
  std::string url;
  FetchOptions asked;
  std::vector<std::string> heard;
};

TEST(WebSocket, HandsOverMessagesUntilTheServerCloses) {
  for (const bool tls : {true, false}) {
    std::string target, protocol, bearer;
    Bench bench(
        [&](const Request& request) {
          target = request.target;
          protocol = request.headers.find("Sec-WebSocket-Protocol");
          bearer = request.headers.find("Authorization");
          return webSocketOf(request, protocol, {"one", std::string(70'000, 'x'), ""});
        },
        tls);
    bench.asked.bearer = Secret("t");
    const Result<Fetched> answer = bench.listen();
    ASSERT_TRUE(answer) << answer.error().sentence;
    EXPECT_EQ(answer->status, 101);
    EXPECT_EQ(bench.heard, (std::vector<std::string>{"one", std::string(70'000, 'x'), ""}));
    EXPECT_EQ(target, "/there?a=b");
    EXPECT_EQ(protocol, "v4.channel.k8s.io");
    EXPECT_EQ(bearer, "Bearer t");
  }
}

TEST(WebSocket, GivesARefusalAsItIs) {
  Bench bench([](const Request&) { return plainText(403, "no"); });
  const Result<Fetched> answer = bench.listen();
  ASSERT_TRUE(answer) << answer.error().sentence;
  EXPECT_EQ(answer->status, 403);
  EXPECT_EQ(answer->body, "no");
}

TEST(WebSocket, IsBounded) {
  Bench large([](const Request& request) { return webSocketOf(request, "p", {std::string(600, 'x'), std::string(600, 'x')}); });
  large.asked.maxBody = 1000;
  EXPECT_EQ(large.listen().error().reason, Reason::RequestTooLarge);
  Bench silent([](const Request& request) { return webSocketOf(request, "p", {}, false); });
  silent.asked.timeout = 200ms;
  EXPECT_EQ(silent.listen().error().reason, Reason::Timeout);
}

TEST(WebSocket, SaysWhyItCannotConnect) {
  Bench bench([](const Request& request) { return webSocketOf(request, "p", {}); });
  bench.asked.caPem = Certificates::get().text("stranger-ca.crt");
  EXPECT_NE(bench.listen().error().sentence.find("was not accepted"), std::string::npos);
  bench.asked.caPem = "none";
  EXPECT_EQ(bench.listen().error().reason, Reason::BadRequest);
  bench.url = "http://127.0.0.1:1/";
  EXPECT_NE(bench.listen().error().sentence.find("cannot connect to 127.0.0.1:1"), std::string::npos);
  bench.url = "ftp://x";
  EXPECT_EQ(bench.listen().error().reason, Reason::BadRequest);
}

}  // namespace
}  // namespace podpass::http
