#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/use_future.hpp>
#include <future>

#include "http/client.h"
#include "http/test_http_server.h"

// What lasts: streamed answers, floods, connections that are taken over.
namespace podpass::http::test {
namespace {

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

}  // namespace
}  // namespace podpass::http::test
