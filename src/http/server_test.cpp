#include <gtest/gtest.h>

#include <future>

#include "http/client.h"
#include "http/test_http_server.h"

// The server itself: its certificates and its clients', its limits, its end.
namespace podpass::http::test {
namespace {

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

}  // namespace
}  // namespace podpass::http::test
