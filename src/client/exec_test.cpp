#include <gtest/gtest.h>

#include "client/remote_client.h"
#include "http/test_web_socket.h"

namespace podpass::client {
namespace {

using namespace std::chrono_literals;
using http::Request;
using http::Response;

// An API server that answers an exec with these messages; by the first byte each belongs to a channel.
struct Bench {
  explicit Bench(std::function<Response(const Request&)> answer) {
    http::ServerOptions options{.tls = std::nullopt, .threads = 1, .limits = {}};
    server = http::makeServer(
        options, [answer](std::shared_ptr<const Request> request) -> http::asio::awaitable<Response> { co_return answer(*request); });
    EXPECT_TRUE(server->start());
  }
  ~Bench() { server->stop(0ms); }
  Result<Executed> exec() {
    Access access;
    access.server = "http://127.0.0.1:" + std::to_string(server->port());
    RemoteClient client(std::move(access));
    return client.exec({"shop", "cart"}, "main", {"cat", "/a b"});
  }
  std::unique_ptr<http::Server> server;
};

Response said(const Request& request, std::vector<std::string> messages) {
  return http::webSocketOf(request, "v4.channel.k8s.io", std::move(messages));
}

TEST(Exec, GathersWhatACommandSays) {
  std::string target;
  Bench bench([&target](const Request& request) {
    target = request.target;
    return said(request, {std::string("\1", 1), "\1he", "\1llo", "\2warn", "\3{\"status\":\"Success\"}", "\7what"});
  });
  const Result<Executed> done = bench.exec();
  ASSERT_TRUE(done) << done.error().sentence;
  EXPECT_EQ(done->out.reveal(), "hello");
  EXPECT_EQ(done->err, "warn");
  EXPECT_EQ(done->exitCode, 0);
  EXPECT_EQ(target, "/api/v1/namespaces/shop/pods/cart/exec?stdout=true&stderr=true&container=main&command=cat&command=%2Fa%20b");
}

TEST(Exec, TellsTheExitCode) {
  Bench bench([](const Request& request) {
    return said(
        request,
        {"\2cat: no", R"(%{"status":"Failure","reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"7"}]}})"});
  });
  EXPECT_FALSE(bench.exec()) << "the status must come on its own channel";
  Bench good([](const Request& request) {
    return said(request, {"\2cat: no",
                          "\3"
                          R"({"status":"Failure","reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"7"}]}})"});
  });
  const Result<Executed> done = good.exec();
  ASSERT_TRUE(done);
  EXPECT_EQ(done->exitCode, 7);
  EXPECT_EQ(done->err, "cat: no");
}

TEST(Exec, TellsWhyNothingWasRun) {
  Bench none([](const Request& request) {
    return said(request, {"\3"
                          R"({"status":"Failure","reason":"InternalError","message":"executable file not found in $PATH","code":500})"});
  });
  EXPECT_EQ(none.exec().error().sentence, "executable file not found in $PATH");
  Bench forbidden([](const Request&) {
    Response response;
    response.status = 403;
    response.headers.add("Content-Type", "application/json");
    response.body =
        std::make_shared<const std::string>(R"({"kind":"Status","status":"Failure","reason":"Forbidden","message":"not you","code":403})");
    return response;
  });
  EXPECT_EQ(forbidden.exec().error().reason, Reason::Forbidden);
  for (const char* status : {"\3", "\3{", "\3[]", "\3\"x\""}) {
    Bench broken([status](const Request& request) { return said(request, {status}); });
    EXPECT_FALSE(broken.exec()) << status;
  }
}

}  // namespace
}  // namespace podpass::client
