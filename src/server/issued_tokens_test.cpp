#include "server/issued_tokens.h"

#include <gtest/gtest.h>

#include "base/text.h"
#include "server/test_server.h"

namespace podpass::server {
namespace {

using namespace std::chrono_literals;
using test::Answer;
using test::headers;
using test::TestServer;

constexpr const char* kTokens = "/apis/identity.podpass.dev/v1/namespaces/default/issuedtokens";
constexpr const char* kAllTokens = "/apis/identity.podpass.dev/v1/issuedtokens";
constexpr const char* kAccount = "/api/v1/namespaces/default/serviceaccounts/default";

std::string jtiOf(const std::string& token) { return std::string(textAt(jose::parseCompactJws(token)->payload, {"jti"})); }

std::vector<std::string> namesIn(const Answer& list) {
  std::vector<std::string> names;
  for (const json::value& each : *arrayAt(list.body, {"items"})) names.emplace_back(textAt(each.get_object(), {"metadata", "name"}));
  return names;
}

std::vector<std::string> listed(TestServer& server, const std::string& target = kTokens) {
  const Answer list = server.ask("GET", target);
  EXPECT_EQ(list.status, 200) << list.text;
  return list.status == 200 ? namesIn(list) : std::vector<std::string>();
}

TEST(IssuedTokens, SayForWhomAndBoundToWhatButNeverTheToken) {
  TestServer server;
  ASSERT_EQ(server
                .ask("POST", "/api/v1/namespaces/default/pods",
                     R"({"metadata":{"name":"web"},"spec":{"nodeName":"n1","containers":[{"name":"c","image":"i"}]}})")
                .status,
            201);
  const Answer made =
      server.ask("POST", std::string(kAccount) + "/token",
                 R"({"spec":{"audiences":["vault","api"],"boundObjectRef":{"kind":"Pod","apiVersion":"v1","name":"web"}}})");
  ASSERT_EQ(made.status, 201) << made.text;
  const std::string token(textAt(made.body, {"status", "token"})), jti = jtiOf(token);
  const Answer got = server.ask("GET", std::string(kTokens) + "/" + jti);
  ASSERT_EQ(got.status, 200) << got.text;
  const auto at = [&](std::initializer_list<std::string_view> path) { return textAt(got.body, path); };
  EXPECT_EQ(at({"metadata", "name"}), jti);
  EXPECT_EQ(at({"metadata", "namespace"}), "default");
  EXPECT_EQ(at({"spec", "subject"}), "system:serviceaccount:default:default");
  EXPECT_EQ(*arrayAt(got.body, {"spec", "audiences"}), (json::array{"vault", "api"}));
  EXPECT_EQ(at({"spec", "boundObjectRef", "kind"}), "Pod");
  EXPECT_EQ(at({"spec", "boundObjectRef", "uid"}),
            textAt(server.ask("GET", "/api/v1/namespaces/default/pods/web").body, {"metadata", "uid"}));
  EXPECT_EQ(at({"spec", "nodeName"}), "n1");
  EXPECT_EQ(at({"spec", "requestedBy"}), "admin");
  EXPECT_EQ(at({"spec", "issuer"}), test::kIssuer);
  EXPECT_EQ(at({"spec", "keyID"}), jose::parseCompactJws(token)->kid);
  EXPECT_EQ(at({"spec", "expirationTimestamp"}), at({"spec", "expirationTimestamp"}));
  EXPECT_EQ(got.text.find(token.substr(token.rfind('.'))), std::string::npos);
  const Answer table = server.ask("GET", kTokens, "", headers({{"Accept", "application/json;as=Table;g=meta.k8s.io;v=v1"}}));
  const json::array& cells = *arrayAt((*arrayAt(table.body, {"rows"}))[0].get_object(), {"cells"});
  EXPECT_EQ(cells[0], json::value(jti));
  EXPECT_EQ(cells[2], "vault,api");
  EXPECT_EQ(cells[3], "pod/web");
  EXPECT_EQ(cells[6], "60m");
}

TEST(IssuedTokens, AreSelectedByTheirFields) {
  TestServer server;
  const std::string both = jtiOf(server.token("vault")), api = jtiOf(server.token());
  EXPECT_EQ(listed(server, std::string(kTokens) + "?fieldSelector=spec.audiences%3Dvault"), std::vector{both});
  EXPECT_EQ(listed(server, std::string(kTokens) + "?fieldSelector=spec.audiences%21%3Dvault"), std::vector{api});
  EXPECT_EQ(listed(server, std::string(kTokens) + "?fieldSelector=spec.serviceAccountName%3Dother").size(), 0u);
  EXPECT_EQ(listed(server, std::string(kTokens) + "?fieldSelector=spec.serviceAccountName%3Ddefault,spec.requestedBy%3Dadmin").size(), 2u);
  EXPECT_EQ(listed(server, std::string(kTokens) + "?fieldSelector=metadata.name%3D" + api), std::vector{api});
  EXPECT_EQ(listed(server, std::string(kTokens) + "?labelSelector=a%3Db").size(), 0u);
  EXPECT_EQ(listed(server, "/apis/identity.podpass.dev/v1/namespaces/kube-system/issuedtokens").size(), 0u);
  EXPECT_EQ(server.ask("GET", std::string("/apis/identity.podpass.dev/v1/namespaces/kube-system/issuedtokens/") + api).status, 404);
  EXPECT_EQ(server.ask("GET", std::string(kTokens) + "?fieldSelector=spec.token%3Dx").status, 400);
}

TEST(IssuedTokens, ComeInPages) {
  TestServer server;
  std::set<std::string> all, seen;
  for (int i = 0; i < 7; ++i) all.insert(jtiOf(server.token()));
  std::string next;
  for (int page = 0; page == 0 || !next.empty(); ++page) {
    ASSERT_LT(page, 4);
    const Answer list = server.ask("GET", std::string(kAllTokens) + "?limit=3" + (next.empty() ? "" : "&continue=" + next));
    ASSERT_EQ(list.status, 200) << list.text;
    EXPECT_LE(namesIn(list).size(), 3u);
    for (const std::string& name : namesIn(list)) EXPECT_TRUE(seen.insert(name).second);
    next = textAt(list.body, {"metadata", "continue"});
  }
  EXPECT_EQ(seen, all);
  EXPECT_EQ(server.ask("GET", std::string(kAllTokens) + "?continue=nonsense").status, 400);
  const std::string stale = base64UrlEncode(R"({"run":1,"after":1})");
  EXPECT_EQ(server.ask("GET", std::string(kAllTokens) + "?continue=" + stale).status, 410);
}

TEST(IssuedTokens, AreOnlyThoseThatLive) {
  TestServer server;
  const std::string token = server.token(), jti = jtiOf(token);
  const Answer deleted = server.ask("DELETE", std::string(kTokens) + "/" + jti);
  EXPECT_EQ(deleted.status, 200) << deleted.text;
  EXPECT_EQ(listed(server).size(), 0u);
  EXPECT_EQ(server.ask("GET", std::string(kTokens) + "/" + jti).status, 404);
  const auto who = [&] { return server.ask("GET", "/api", "", headers({{"Authorization", "Bearer " + token}})).status; };
  EXPECT_EQ(who(), 401) << "to delete it is to revoke it";
  const std::string revocation = "/apis/identity.podpass.dev/v1/tokenrevocations/issuedtoken-" + jti;
  EXPECT_EQ(textAt(server.ask("GET", revocation).body, {"spec", "reason"}), "the IssuedToken was deleted by admin");
  EXPECT_EQ(server.ask("DELETE", revocation).status, 200);
  EXPECT_EQ(listed(server), std::vector{jti});
  EXPECT_EQ(who(), 403) << "known again";
  server.clock.advance(3601s);
  EXPECT_EQ(listed(server).size(), 0u);
}

TEST(IssuedTokens, ADryRunRevokesNothing) {
  TestServer server;
  const std::string jti = jtiOf(server.token());
  EXPECT_EQ(server.ask("DELETE", std::string(kTokens) + "/" + jti + "?dryRun=All").status, 200);
  EXPECT_EQ(server.ask("DELETE", std::string(kTokens) + "/" + jti, R"({"preconditions":{"uid":"other"}})").status, 409);
  EXPECT_EQ(listed(server), std::vector{jti});
}

TEST(IssuedTokens, AreNoneOfAKeyThatIsGone) {
  TestServer server;
  (void)server.token();
  server.ring.store(test::testRing(jose::test::kRsaPem));
  EXPECT_EQ(listed(server).size(), 0u);
}

TEST(IssuedTokens, AreWrittenByTheServerOnly) {
  TestServer server;
  const std::string jti = jtiOf(server.token());
  EXPECT_EQ(server.ask("POST", kTokens, R"({"metadata":{"name":"x"}})").status, 405);
  EXPECT_EQ(server.ask("PUT", std::string(kTokens) + "/" + jti, R"({"metadata":{"name":"x"}})").status, 405);
  EXPECT_EQ(server.ask("PATCH", std::string(kTokens) + "/" + jti, "{}", headers({{"Content-Type", "application/merge-patch+json"}})).status,
            405);
  EXPECT_EQ(server.ask("DELETE", kTokens).status, 405);
  for (const std::string& watch :
       {std::string(kTokens) + "?watch=1", std::string(kTokens) + "?watch=true&fieldSelector=metadata.name=" + jti,
        std::string("/apis/identity.podpass.dev/v1/watch/issuedtokens")}) {
    const Answer refused = server.ask("GET", watch);
    EXPECT_EQ(refused.status, 405) << watch;
    EXPECT_EQ(refused.reason(), "MethodNotAllowed");
    EXPECT_EQ(refused.message(), "watch is not supported on resources of kind \"issuedtokens.identity.podpass.dev\"");
    EXPECT_EQ(textAt(refused.body, {"details", "kind"}), "issuedtokens");
  }
  EXPECT_EQ(server.ask("DELETE", std::string(kTokens) + "/" + randomUuid()).status, 404);
  EXPECT_EQ(server.ask("GET", std::string(kTokens) + "/..%2f").status, 404);
}

TEST(IssuedTokens, NeedRightsAsAnyKind) {
  TestServer server;
  const std::string token = server.token();
  const http::Headers theirs = headers({{"Authorization", "Bearer " + token}});
  EXPECT_EQ(server.ask("GET", kTokens, "", theirs).status, 403);
  EXPECT_EQ(server.ask("DELETE", std::string(kTokens) + "/" + jtiOf(token), "", theirs).status, 403);
  const std::string rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/";
  server.ask("POST", rbac + "roles",
             R"({"metadata":{"name":"r"},"rules":[{"apiGroups":["identity.podpass.dev"],"resources":["issuedtokens"],"verbs":["list"]}]})");
  server.ask("POST", rbac + "rolebindings",
             R"({"metadata":{"name":"r"},"roleRef":{"kind":"Role","name":"r"},
                 "subjects":[{"kind":"ServiceAccount","name":"default","namespace":"default"}]})");
  EXPECT_EQ(server.ask("GET", kTokens, "", theirs).status, 200);
  EXPECT_EQ(server.ask("GET", kAllTokens, "", theirs).status, 403) << "of its namespace only";
  EXPECT_EQ(server.ask("DELETE", std::string(kTokens) + "/" + jtiOf(token), "", theirs).status, 403);
}

}  // namespace
}  // namespace podpass::server
