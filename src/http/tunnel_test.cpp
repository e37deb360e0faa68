#include "http/tunnel.h"

#include <gtest/gtest.h>

#include <boost/asio/buffer.hpp>
#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/write.hpp>

#include "http/endpoint.h"

namespace podpass::http {
namespace {

using namespace std::chrono_literals;
using asio::ip::tcp;

// A proxy that leads every connection to `port`.
std::unique_ptr<Server> proxyTo(unsigned short port, std::chrono::milliseconds idle) {
  Handler handler = [port, idle](std::shared_ptr<const Request>) -> asio::awaitable<Response> {
    Response response;
    response.takeOver = [port, idle](std::shared_ptr<ByteStream> client) -> asio::awaitable<void> {
      Result<Tunnel> tunnel = co_await openTunnel("127.0.0.1", port);
      EXPECT_TRUE(tunnel);
      if (!tunnel) co_return;
      const std::string mine = tunnel->local + "\n";
      const Result<void> told = co_await client->write(mine);
      EXPECT_TRUE(told);
      co_await relay(client, tunnel->stream, idle);
    };
    co_return response;
  };
  return makeServer({.tls = std::nullopt, .threads = 1, .limits = {}}, std::move(handler));
}

struct Ends {
  asio::io_context loop;
  tcp::acceptor acceptor{loop, tcp::endpoint(asio::ip::address_v4::loopback(), 0)};
  tcp::socket client{loop}, server{loop};
  std::string local;  // of the proxy's connection

  void connectThrough(const Server& proxy) {
    client.connect(tcp::endpoint(asio::ip::address_v4::loopback(), proxy.port()));
    asio::write(client, asio::buffer(std::string_view("GET / HTTP/1.1\r\nHost: a\r\n\r\n")));
    acceptor.accept(server);
    asio::read_until(client, asio::dynamic_buffer(local), '\n');
    local.pop_back();
  }
};

TEST(Tunnel, KnowsItsOwnEndAsTheServerSeesIt) {
  Ends ends;
  const std::unique_ptr<Server> proxy = proxyTo(ends.acceptor.local_endpoint().port(), 1h);
  ASSERT_TRUE(proxy->start());
  ends.connectThrough(*proxy);
  EXPECT_EQ(ends.local, textOf(ends.server.remote_endpoint()));
  asio::write(ends.client, asio::buffer(std::string_view("there")));
  asio::write(ends.server, asio::buffer(std::string_view("back")));
  char got[5] = {};
  asio::read(ends.server, asio::buffer(got, 5));
  EXPECT_EQ(std::string_view(got, 5), "there");
  asio::read(ends.client, asio::buffer(got, 4));
  EXPECT_EQ(std::string_view(got, 4), "back");
  ends.client.close();
  boost::system::error_code ended;
  EXPECT_EQ(ends.server.read_some(asio::buffer(got), ended), 0u);
  EXPECT_EQ(ended, asio::error::eof);
  proxy->stop(1s);
}

TEST(Tunnel, EndsWhenNobodyUsesIt) {
  Ends ends;
  const std::unique_ptr<Server> proxy = proxyTo(ends.acceptor.local_endpoint().port(), 50ms);
  ASSERT_TRUE(proxy->start());
  ends.connectThrough(*proxy);
  char got[1];
  boost::system::error_code ended;
  ends.server.read_some(asio::buffer(got), ended);
  EXPECT_EQ(ended, asio::error::eof);
  ends.client.read_some(asio::buffer(got), ended);
  EXPECT_TRUE(ended) << "both sides are closed";
  proxy->stop(1s);
}

TEST(Endpoint, IsToldAsTheIpv4ThatItIs) {
  EXPECT_EQ(textOf({asio::ip::make_address("127.0.0.1"), 5}), "127.0.0.1:5");
  EXPECT_EQ(textOf({asio::ip::make_address("::ffff:10.1.2.3"), 5}), "10.1.2.3:5");
  EXPECT_EQ(textOf({asio::ip::make_address("fd00::5"), 5}), "[fd00::5]:5");
}

TEST(Endpoint, OfAnIpv4ClientIsNotMappedByAServerOnEveryAddress) {
  Handler handler = [](std::shared_ptr<const Request> request) -> asio::awaitable<Response> {
    Response response;
    response.body = std::make_shared<const std::string>("from " + request->remote + ".");
    co_return response;
  };
  const std::unique_ptr<Server> server = makeServer({.bind = "::", .tls = std::nullopt, .threads = 1, .limits = {}}, std::move(handler));
  if (const Result<void> started = server->start(); !started) GTEST_SKIP() << "no IPv6 here: " << started.error().sentence;
  Ends ends;
  ends.client.connect(tcp::endpoint(asio::ip::address_v4::loopback(), server->port()));
  asio::write(ends.client, asio::buffer(std::string_view("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")));
  std::string answer;
  boost::system::error_code ended;
  asio::read(ends.client, asio::dynamic_buffer(answer), ended);
  EXPECT_NE(answer.find("from " + textOf(ends.client.local_endpoint()) + "."), std::string::npos) << answer;
  server->stop(1s);
}

}  // namespace
}  // namespace podpass::http
