#include "server/oidc_discovery.h"

#include <gtest/gtest.h>

#include "server/test_server.h"

namespace podpass::server {
namespace {

using test::Answer;
using test::headers;

constexpr const char* kConfiguration = "/.well-known/openid-configuration";
constexpr const char* kOldConfiguration = "/id/1/.well-known/openid-configuration";
constexpr const char* kJwks = "/openid/v1/jwks";
constexpr const char* kPaths[] = {kConfiguration, kOldConfiguration, kJwks, "/openid/v1/jwks/"};

struct Discovery : testing::TestWithParam<const char*> {
  test::TestServer server{{.serverAddress = "127.0.0.1:6443",
                           .jwksUri = "https://issuer.example/openid/v1/jwks",
                           .issuers = {test::kIssuer, test::kOldIssuer},
                           .jwksMaxAge = [] { return std::chrono::seconds(900); }}};
  Answer ask(const char* method, http::Headers sent = {}) { return server.ask(method, GetParam(), "", std::move(sent)); }
};
INSTANTIATE_TEST_SUITE_P(Paths, Discovery, testing::ValuesIn(kPaths));

TEST_P(Discovery, IsSentAgainOnlyWhenItHasChanged) {
  const Answer first = ask("GET");
  ASSERT_EQ(first.status, 200) << first.text;
  const std::string tag(first.headers.find("etag"));
  ASSERT_TRUE(tag.size() > 2 && tag.front() == '"' && tag.back() == '"') << tag;
  for (const std::string& held : {tag, "W/" + tag, "\"x\", " + tag, std::string("*")}) {
    const Answer again = ask("GET", headers({{"If-None-Match", held}}));
    EXPECT_EQ(again.status, 304) << held;
    EXPECT_TRUE(again.text.empty());
    EXPECT_EQ(again.headers.find("etag"), tag);
    EXPECT_EQ(again.headers.find("cache-control"), "public, max-age=900");
    EXPECT_EQ(again.headers.find("access-control-allow-origin"), "*");
  }
  EXPECT_EQ(ask("GET", headers({{"If-None-Match", "\"x\""}})).status, 200);
  server.ring.store(test::testRing(jose::test::kRsaPem));
  const Answer rotated = ask("GET", headers({{"If-None-Match", tag}}));
  EXPECT_EQ(rotated.status, 200);
  EXPECT_NE(rotated.headers.find("etag"), tag);
}

TEST_P(Discovery, IsForPagesToo) {
  const Answer read = ask("GET", headers({{"Origin", "https://page.example"}}));
  EXPECT_EQ(read.headers.find("access-control-allow-origin"), "*");
  EXPECT_FALSE(read.headers.has("access-control-allow-credentials"));
  const Answer asked = ask("OPTIONS", headers({{"Origin", "https://page.example"}, {"Access-Control-Request-Method", "GET"}}));
  EXPECT_EQ(asked.status, 204);
  EXPECT_TRUE(asked.text.empty());
  EXPECT_EQ(asked.headers.find("access-control-allow-origin"), "*");
  EXPECT_EQ(asked.headers.find("access-control-allow-methods"), "GET, HEAD, OPTIONS");
  EXPECT_EQ(asked.headers.find("access-control-max-age"), "86400");
}

TEST_P(Discovery, HasHeadersAlone) {
  const Answer read = ask("GET"), head = ask("HEAD");
  EXPECT_EQ(head.status, 200);
  for (const char* name : {"etag", "content-type", "cache-control"}) EXPECT_EQ(head.headers.find(name), read.headers.find(name)) << name;
  EXPECT_EQ(head.text, read.text);  // whose length is told; the wire leaves it out
}

TEST_P(Discovery, ChangesForNobody) {
  for (const char* method : {"POST", "PUT", "PATCH", "DELETE", "TRACE", "head"}) {
    const Answer refused = ask(method);
    EXPECT_EQ(refused.status, 405) << method;
    EXPECT_EQ(refused.reason(), "MethodNotAllowed");
    EXPECT_EQ(refused.headers.find("allow"), "GET, HEAD, OPTIONS");
  }
}

TEST_P(Discovery, AllMethodsAreForThoseWhoMayRead) {
  const http::Headers stranger = headers({{"Authorization", "Bearer " + server.token()}});  // no role is bound here
  for (const char* method : {"GET", "HEAD", "OPTIONS", "POST"}) EXPECT_EQ(ask(method, stranger).status, 403) << method;
}

TEST_P(Discovery, IsAllThatItsOwnListenerServes) {
  const auto discover = [&](const char* method, const char* path) {
    return server.api().discover(*test::TestServer::request(method, path, "", headers({{"Authorization", "Bearer none"}})));
  };
  const http::Response read = discover("GET", GetParam());
  EXPECT_EQ(read.status, 200);
  EXPECT_EQ(*read.body, ask("GET").text);
  EXPECT_EQ(discover("OPTIONS", GetParam()).status, 204);
  EXPECT_EQ(discover("DELETE", GetParam()).status, 405);
  EXPECT_EQ(*discover("GET", "/healthz").body, "ok");
  EXPECT_EQ(discover("POST", "/healthz").status, 405);
  for (const char* path : {"/", "/api", "/api/v1/namespaces", "/version", "/metrics", "/readyz", "/healthz/ping", "/openid/v1/revocations",
                           "/openid/v1", "/id/2/.well-known/openid-configuration"}) {
    const http::Response refused = discover("GET", path);
    EXPECT_EQ(refused.status, 404) << path;
    EXPECT_NE(refused.body->find(R"("kind":"Status")"), std::string::npos) << path;
  }
}

}  // namespace
}  // namespace podpass::server
