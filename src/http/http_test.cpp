#include "http/http.h"

#include <gtest/gtest.h>

#include "http/test_http_server.h"

// Messages: what is understood, and what is answered, in each protocol.
namespace podpass::http::test {
namespace {

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
}  // namespace podpass::http::test
