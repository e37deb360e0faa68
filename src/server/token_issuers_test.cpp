#include "server/token_issuers.h"

#include <gtest/gtest.h>

#include <future>

#include "server/test_server.h"

namespace podpass::server {
namespace {

using namespace std::chrono_literals;
using test::Answer;
using test::TestServer;

constexpr const char* kIssuers = "/apis/identity.podpass.dev/v1/tokenissuers";

json::object statusOf(TestServer& server, std::string_view url) {
  const Answer list = server.ask("GET", kIssuers);
  for (const json::value& each : *arrayAt(list.body, {"items"}))
    if (textAt(each.get_object(), {"spec", "url"}) == url) return *objectAt(each.get_object(), {"status"});
  return {};
}

TEST(TokenIssuers, CountWhatLivesUnderEach) {
  TestServer server;
  const token::Issuer old(test::kOldIssuer, server.ring, nullptr, &server.inventory);
  token::BoundClaims claims{.ns = "default", .serviceAccount = {"default", "u"}, .audiences = {"api"}, .expires = 1'677'922'083 + 600};
  claims.jti = "8b6dd34c-8d5f-4a5f-8b0e-0d7c2d5c5f01";
  ASSERT_TRUE(old.issue(claims));
  (void)server.token();
  (void)server.token();
  const json::object fresh = statusOf(server, test::kIssuer), before = statusOf(server, test::kOldIssuer);
  EXPECT_EQ(textAt(fresh, {"state"}), "Signing");
  EXPECT_EQ(integerAt(fresh, {"liveTokens"}), 2);
  EXPECT_EQ(textAt(before, {"state"}), "Accepted");
  EXPECT_EQ(integerAt(before, {"liveTokens"}), 1);
  EXPECT_EQ(textAt(before, {"lastExpirationTime"}), "2023-03-04T09:38:03Z");
  EXPECT_TRUE(booleanAt(before, {"complete"}));
  server.clock.advance(601s);
  EXPECT_EQ(integerAt(statusOf(server, test::kOldIssuer), {"liveTokens"}, -1), 0);
}

TEST(TokenIssuers, CountTokenSecretsToo) {
  TestServer server;
  ASSERT_EQ(server
                .ask("POST", "/api/v1/namespaces/default/secrets",
                     R"({"metadata":{"name":"s","annotations":{"kubernetes.io/service-account.name":"default"},
                         "labels":{"kubernetes.io/legacy-token-last-used":"2023-03-01"}},
                         "type":"kubernetes.io/service-account-token","data":{"token":"eA=="}})")
                .status,
            201);
  const json::object legacy = statusOf(server, "kubernetes/serviceaccount");
  EXPECT_EQ(textAt(legacy, {"state"}), "Legacy");
  EXPECT_EQ(integerAt(legacy, {"liveTokens"}), 1);
  EXPECT_EQ(textAt(legacy, {"lastUsedTime"}), "2023-03-01T00:00:00Z");
  EXPECT_EQ(server.ask("GET", std::string(kIssuers) + "/legacy").status, 200);
  EXPECT_EQ(server.ask("GET", std::string(kIssuers) + "/none").status, 404);
  EXPECT_EQ(server.ask("DELETE", std::string(kIssuers) + "/legacy").status, 405);
}

TEST(SigningKeys, AreShownWithTheirLiveTokens) {
  TestServer server;
  const std::string kid = server.ring.load()->signer().kid, keys = "/apis/identity.podpass.dev/v1/signingkeys";
  ASSERT_EQ(server.ask("POST", keys, R"({"metadata":{"name":"k"},"spec":{"algorithm":"ES256"}})").status, 201);
  json::object object = server.registry.get(api::signingKeyKind(), "", "k")->value;
  makeObjectAt(object, {"status"})["kid"] = kid;
  std::promise<void> written;
  server.store->commit({"/registry/signingkeys.identity.podpass.dev/k", std::move(object), std::nullopt}, [&](const Result<Entry>& done) {
    EXPECT_TRUE(done);
    written.set_value();
  });
  written.get_future().get();
  (void)server.token();
  EXPECT_EQ(integerAt(server.ask("GET", keys + "/k").body, {"status", "liveTokens"}), 1);
  const Answer list = server.ask("GET", keys);
  EXPECT_EQ(integerAt((*arrayAt(list.body, {"items"}))[0].get_object(), {"status", "liveTokens"}), 1);
  EXPECT_EQ(server.registry.get(api::signingKeyKind(), "", "k")->text.find("liveTokens"), std::string::npos) << "it is not stored";
}

}  // namespace
}  // namespace podpass::server
