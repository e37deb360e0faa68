#include "token/http_verifier.h"

#include <boost/asio/thread_pool.hpp>

#include "token/test_issuer.h"

namespace podpass::token {
namespace {

class HttpVerifier : public testing::Test {
 protected:
  HttpVerifier() {
    TrustedIssuer trusted;
    trusted.url = issuer.url();
    trusted.audiences = {"api"};
    trusted.caPem = http::Certificates::get().text("ca.crt");
    EXPECT_TRUE(party.trust({trusted}));
  }
  [[nodiscard]] std::int64_t now() const { return std::chrono::floor<std::chrono::seconds>(clock.now().time_since_epoch()).count(); }

  FakeClock clock;
  SomebodysIssuer issuer;
  asio::thread_pool pool{1};
  RelyingParty party{pool, clock};
};

TEST_F(HttpVerifier, AnswersProxiesBeforeTheyLetARequestThrough) {
  const std::unique_ptr<http::Server> server = http::makeServer({}, httpVerifier(party));
  ASSERT_TRUE(server->start());
  const auto ask = [&](const std::string& path, const std::vector<std::string>& authorizations) {
    http::FetchOptions options;
    options.headers.add("X-Podpass-Pod", "forged");
    for (const std::string& authorization : authorizations) options.headers.add("Authorization", authorization);
    return *http::fetch("http://127.0.0.1:" + std::to_string(server->port()) + path, options);
  };
  json::object claims{{"iss", issuer.url()},
                      {"sub", "system:serviceaccount:default:reader"},
                      {"aud", json::array{"api", "other"}},
                      {"exp", now() + 600},
                      {"iat", now()}};
  claims["kubernetes.io"] = json::object{{"namespace", "default"}, {"serviceaccount", json::object{{"name", "reader"}}}};
  const std::string good = "Bearer " + *jose::signCompact(ec(), json::serialize(claims));
  claims["aud"] = "else\r\nwhere\"";
  const std::string foreign = "bearer  " + *jose::signCompact(ec(), json::serialize(claims));

  http::Fetched answer = ask("/verify", {good});
  EXPECT_EQ(answer.status, 200) << answer.body;
  EXPECT_EQ(answer.headers.find("x-podpass-issuer"), issuer.url());
  EXPECT_EQ(answer.headers.find("x-podpass-subject"), "system:serviceaccount:default:reader");
  EXPECT_EQ(answer.headers.find("x-podpass-audience"), "api,other");
  EXPECT_EQ(answer.headers.find("x-podpass-key-id"), ec().kid);
  EXPECT_EQ(answer.headers.find("x-podpass-expires"), "2023-03-04T09:38:03Z");
  EXPECT_EQ(answer.headers.find("x-podpass-namespace"), "default");
  EXPECT_EQ(answer.headers.find("x-podpass-service-account"), "reader");
  EXPECT_TRUE(answer.headers.has("x-podpass-pod")) << "so that the proxy overwrites what a client sent";
  EXPECT_EQ(ask("/verify/any/path?of=the-request", {good}).status, 200) << "Envoy puts the request's path behind its prefix";

  answer = ask("/verify", {foreign});
  EXPECT_EQ(answer.status, 401);
  EXPECT_TRUE(
      answer.headers.find("www-authenticate")
          .starts_with(
              "Bearer realm=\"podpass\", error=\"invalid_token\", error_description=\"the token is not for this audience: expected 'api'"))
      << answer.headers.find("www-authenticate");
  EXPECT_EQ(answer.headers.findAll("www-authenticate").size(), 1u);
  EXPECT_NE(answer.body.find(R"("failedCheck":"audience","expected":"\"api\"")"), std::string::npos) << answer.body;

  struct Case {
    const char* why;
    std::vector<std::string> authorizations;
  };
  for (const Case& c : {Case{"none", {}}, Case{"another scheme", {"Basic YTpi"}}, Case{"an empty one", {"Bearer "}},
                        Case{"two, of which another server may read the other", {good, foreign}}}) {
    SCOPED_TRACE(c.why);
    answer = ask("/verify", c.authorizations);
    EXPECT_EQ(answer.status, 401);
    EXPECT_EQ(answer.headers.find("www-authenticate"), "Bearer realm=\"podpass\"");
  }
  EXPECT_EQ(ask("/verify", {"Bearer a.b.c"}).status, 401);
  EXPECT_EQ(ask("/verifyx", {good}).status, 404);
  EXPECT_EQ(ask("/healthz", {}).status, 200);

  issuer.change([&] { issuer.document = answerOf("", 503); });
  clock.advance(25h);
  claims["aud"] = "api";
  claims["exp"] = now() + 48 * 3600;
  answer = ask("/verify", {"Bearer " + *jose::signCompact(ec(), json::serialize(claims))});
  EXPECT_EQ(answer.status, 503) << "an outage is not a bad token";
  EXPECT_NE(answer.body.find(R"("failedCheck":"discovery")"), std::string::npos) << answer.body;
  server->stop(0ms);
  party.stop();
  pool.join();
}

TEST_F(HttpVerifier, LetsThroughWhomItWasTold) {
  const json::object claims{
      {"iss", issuer.url()}, {"sub", "system:serviceaccount:default:reader"}, {"aud", "api"}, {"exp", now() + 600}, {"iat", now()}};
  const std::string token = *jose::signCompact(ec(), json::serialize(claims));
  struct Case {
    const char* why;
    std::vector<std::string> subjects;
    int status;
  };
  const Case cases[] = {{"all may", {}, 200},
                        {"it alone", {"system:serviceaccount:default:reader"}, 200},
                        {"its namespace", {"nobody", "system:serviceaccount:default:*"}, 200},
                        {"another one", {"system:serviceaccount:default:writer"}, 403},
                        {"the beginning of its name", {"system:serviceaccount:default:read"}, 403},
                        {"a namespace whose name goes on", {"system:serviceaccount:default-2:*"}, 403},
                        {"a star elsewhere", {"*:reader"}, 403},
                        {"nobody", {""}, 403}};
  for (const Case& c : cases) {
    SCOPED_TRACE(c.why);
    const std::unique_ptr<http::Server> server = http::makeServer({}, httpVerifier(party, c.subjects));
    ASSERT_TRUE(server->start());
    http::FetchOptions options;
    options.headers.add("Authorization", "Bearer " + token);
    const http::Fetched answer = *http::fetch("http://127.0.0.1:" + std::to_string(server->port()) + "/verify", options);
    EXPECT_EQ(answer.status, c.status);
    if (c.status == 403) {
      EXPECT_TRUE(answer.headers.find("www-authenticate").starts_with("Bearer realm=\"podpass\", error=\"insufficient_scope\""));
      EXPECT_NE(answer.body.find(R"("failedCheck":"subject")"), std::string::npos) << answer.body;
      EXPECT_FALSE(answer.headers.has("x-podpass-subject"));
    }
    server->stop(0ms);
  }
}

}  // namespace
}  // namespace podpass::token
