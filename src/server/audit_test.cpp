#include "server/audit.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/text.h"
#include "server/test_server.h"

namespace podpass::server::test {
namespace {

// A file that goes with the test.
struct AuditFile {
  AuditFile() { std::filesystem::remove(path); }
  ~AuditFile() { std::filesystem::remove(path); }
  std::filesystem::path path = std::filesystem::temp_directory_path() / ("podpass-audit-" + std::to_string(::getpid()) + "-" +
                                                                         testing::UnitTest::GetInstance()->current_test_info()->name());
  [[nodiscard]] std::vector<json::object> events() const {
    std::vector<json::object> all;
    const std::string text = *readFile(path);
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t end = text.find('\n', at);
      all.push_back(json::parse(text.substr(at, end - at)).as_object());
      at = end + 1;
    }
    return all;
  }
};

TEST(Audit, SaysWhoAskedWhatAndNeverTheToken) {
  const AuditFile file;
  std::unique_ptr<AuditLog> log = *AuditLog::open(file.path);
  std::string token;
  {
    TestServer server({.serverAddress = "", .jwksUri = "", .audit = log.get()});
    token = server.token();
    server.ask("GET", "/api/v1/namespaces/default/secrets/s", "",
               headers({{"Authorization", "Bearer " + token}, {"Audit-Id", "mine"}, {"User-Agent", "kubectl/v1"}}));
    server.ask("GET", "/api/v1/namespaces/default/pods/p", "",
               headers({{"Impersonate-User", "bob"}, {"Impersonate-Group", "system:masters"}}));
    server.ask("GET", "/version", "", headers({{"Authorization", "Bearer " + token + "x"}}));
  }
  log = nullptr;  // written out
  struct stat status {};
  ASSERT_EQ(::stat(file.path.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
  EXPECT_EQ(readFile(file.path)->find(token.substr(0, 40)), std::string::npos);

  const std::vector<json::object> events = file.events();
  ASSERT_EQ(events.size(), 6u);  // the fixture's two, the token, and these
  const json::object& made = events[2];
  EXPECT_EQ(textAt(made, {"objectRef", "subresource"}), "token");
  EXPECT_TRUE(textAt(made, {"annotations", "authentication.kubernetes.io/issued-credential-id"}).starts_with("JTI="));
  const json::object& refused = events[3];
  EXPECT_EQ(textAt(refused, {"apiVersion"}), "audit.k8s.io/v1");
  EXPECT_EQ(textAt(refused, {"level"}), "Metadata");
  EXPECT_EQ(textAt(refused, {"auditID"}), "mine");
  EXPECT_EQ(textAt(refused, {"stage"}), "ResponseComplete");
  EXPECT_EQ(textAt(refused, {"verb"}), "get");
  EXPECT_EQ(textAt(refused, {"user", "username"}), "system:serviceaccount:default:default");
  EXPECT_EQ(textAt(refused, {"userAgent"}), "kubectl/v1");
  EXPECT_EQ(json::serialize(refused.at("sourceIPs")), R"(["127.0.0.1"])");
  EXPECT_EQ(json::serialize(refused.at("objectRef")), R"({"resource":"secrets","namespace":"default","name":"s","apiVersion":"v1"})");
  EXPECT_EQ(integerAt(refused, {"responseStatus", "code"}), 403);
  EXPECT_EQ(textAt(refused, {"responseStatus", "reason"}), "Forbidden");
  EXPECT_EQ(textAt(refused, {"annotations", "authorization.k8s.io/decision"}), "forbid");
  EXPECT_EQ(textAt(events[4], {"user", "username"}), "admin");
  EXPECT_EQ(textAt(events[4], {"impersonatedUser", "username"}), "bob");
  EXPECT_EQ(integerAt(events[5], {"responseStatus", "code"}), 401);
  EXPECT_TRUE(events[5].at("user").as_object().empty());
}

TEST(Audit, AFileThatCannotBeOpenedIsAnError) { EXPECT_FALSE(AuditLog::open("/proc/none/audit.log")); }

TEST(Audit, AStaleTokenIsWarnedAboutAndCounted) {
  const AuditFile file;
  std::unique_ptr<AuditLog> log = *AuditLog::open(file.path);
  {
    TestServer server({.serverAddress = "", .jwksUri = "", .audit = log.get()});
    const std::string pods = "/api/v1/namespaces/default/pods";
    const Answer pod = server.ask("POST", pods, R"({"metadata":{"name":"p"},"spec":{"containers":[{"name":"c","image":"i"}]}})");
    ASSERT_EQ(pod.status, 201) << pod.text;
    const Answer made = server.ask("POST", "/api/v1/namespaces/default/serviceaccounts/default/token",
                                   R"({"spec":{"expirationSeconds":3607,"boundObjectRef":{"kind":"Pod","apiVersion":"v1","name":"p"}}})");
    const http::Headers bearer = headers({{"Authorization", "Bearer " + std::string(textAt(made.body, {"status", "token"}))}});
    EXPECT_FALSE(server.ask("GET", pods, "", bearer).headers.has("warning"));
    server.clock.advance(std::chrono::seconds(3607 + 5));
    EXPECT_EQ(server.ask("GET", pods, "", bearer).headers.find("warning"),
              "299 - \"this service account token should have been read again from its file 5 seconds ago: the program keeps an old one\"");
    const std::string metrics = server.ask("GET", "/metrics").text;
    EXPECT_NE(metrics.find("\nserviceaccount_valid_tokens_total 1\n"), std::string::npos);
    EXPECT_NE(metrics.find("\nserviceaccount_stale_tokens_total 1\n"), std::string::npos);
  }
  log = nullptr;
  const std::vector<json::object> events = file.events();
  EXPECT_EQ(textAt(events.at(events.size() - 2), {"annotations", "authentication.k8s.io/stale-token"}),
            "subject: system:serviceaccount:default:default, seconds after warning threshold: 5");
}

TEST(Audit, SaysWhichLegacyTokenWasUsedEvenWhenItIsRefused) {
  const AuditFile file;
  std::unique_ptr<AuditLog> log = *AuditLog::open(file.path);
  {
    TestServer server({.serverAddress = "", .jwksUri = "", .audit = log.get()});
    const std::string account = "/api/v1/namespaces/default/serviceaccounts/default", secrets = "/api/v1/namespaces/default/secrets";
    const std::string uid(textAt(server.ask("GET", account).body, {"metadata", "uid"}));
    const Secret token = *server.issuer.issueLegacy({.ns = "default", .secretName = "s", .serviceAccount = {"default", uid}});
    json::object secret{{"type", "kubernetes.io/service-account-token"}};
    secret["metadata"] = json::object{{"name", "s"}, {"annotations", json::object{{"kubernetes.io/service-account.name", "default"}}}};
    secret["data"] = json::object{{"token", base64Encode(token.reveal())}};
    ASSERT_EQ(server.ask("POST", secrets, json::serialize(secret)).status, 201);
    const http::Headers bearer = headers({{"Authorization", "Bearer " + std::string(token.reveal())}});
    EXPECT_EQ(server.ask("GET", account, "", bearer).status, 403);
    ASSERT_EQ(server
                  .ask("PATCH", secrets + "/s", R"({"metadata":{"labels":{"kubernetes.io/legacy-token-invalid-since":"2023-01-01"}}})",
                       headers({{"Content-Type", "application/merge-patch+json"}}))
                  .status,
              200);
    const Answer refused = server.ask("GET", account, "", bearer);
    EXPECT_EQ(refused.status, 401);
    EXPECT_FALSE(refused.body.contains("details")) << "a 401 says nothing of the Secret";
  }
  log = nullptr;
  const std::vector<json::object> events = file.events();
  const json::object& used = events.at(events.size() - 3);
  EXPECT_EQ(textAt(used, {"annotations", "authentication.k8s.io/legacy-token"}), "system:serviceaccount:default:default");
  EXPECT_EQ(textAt(used, {"annotations", "authentication.k8s.io/legacy-token-manual-secret"}), "s");
  EXPECT_EQ(textAt(events.back(), {"annotations", "authentication.k8s.io/legacy-token-invalidated"}), "s/default");
}

TEST(Metrics, CountWhoCameAndTheCheckThatATokenFailed) {
  TestServer server;
  const std::string token = server.token(), other = server.token("vault"), self = "/api/v1/namespaces/default/serviceaccounts/default";
  const auto use = [&](const std::string& bearer) {
    return server.ask("GET", self, "", headers({{"Authorization", "Bearer " + bearer}})).status;
  };
  EXPECT_EQ(use(token), 403);
  EXPECT_EQ(use(token), 403);
  EXPECT_EQ(use(other), 401);
  EXPECT_EQ(use("nonsense"), 401);
  EXPECT_EQ(use(token.substr(0, token.size() - 8) + "AAAAAAAA"), 401);
  server.clock.advance(std::chrono::hours(2));
  EXPECT_EQ(use(token), 401);
  const std::string text = server.ask("GET", "/metrics").text;
  for (const char* line :
       {"authenticated_user_requests{username=\"other\"} 2", "authentication_attempts{result=\"failure\"} 4",
        "authentication_duration_seconds_count{result=\"failure\"} 4",
        "authentication_duration_seconds_bucket{result=\"failure\",le=\"0.001\"} 4",
        "authentication_duration_seconds_bucket{result=\"failure\",le=\"16.384\"} 4",
        "authentication_token_cache_request_total{status=\"hit\"} 1", "authentication_token_cache_request_total{status=\"miss\"} 5",
        "authentication_token_cache_fetch_total{status=\"ok\"} 3", "authentication_token_cache_fetch_total{status=\"error\"} 2",
        "podpass_token_refusals_total{check=\"form\"} 1", "podpass_token_refusals_total{check=\"signature\"} 1",
        "podpass_token_refusals_total{check=\"audience\"} 1", "podpass_token_refusals_total{check=\"time\"} 1",
        "podpass_token_refusals_total{check=\"revoked\"} 0"})
    EXPECT_NE(text.find("\n" + std::string(line) + "\n"), std::string::npos) << line << " in\n" << text;
  EXPECT_NE(text.find("authenticated_user_requests{username=\"admin\"}"), std::string::npos);
}

TEST(Audit, TheUseOfALegacyTokenIsToldOnceADay) {
  TestServer server;
  std::vector<std::string> told;
  server.verifier.onLegacyUse([&](const std::string& ns, const std::string& secret) { told.push_back(ns + "/" + secret); });
  const std::string account = "/api/v1/namespaces/default/serviceaccounts/default", secrets = "/api/v1/namespaces/default/secrets";
  const std::string uid(textAt(server.ask("GET", account).body, {"metadata", "uid"}));
  const Secret token = *server.issuer.issueLegacy({.ns = "default", .secretName = "s", .serviceAccount = {"default", uid}});
  json::object secret{{"type", "kubernetes.io/service-account-token"}};
  secret["metadata"] = json::object{{"name", "s"}, {"annotations", json::object{{"kubernetes.io/service-account.name", "default"}}}};
  secret["data"] = json::object{{"token", base64Encode(token.reveal())}};
  ASSERT_EQ(server.ask("POST", secrets, json::serialize(secret)).status, 201);
  const auto use = [&] { return server.ask("GET", account, "", headers({{"Authorization", "Bearer " + std::string(token.reveal())}})); };
  const auto merge = [&](const std::string& target, const std::string& patch) {
    ASSERT_EQ(server.ask("PATCH", target, patch, headers({{"Content-Type", "application/merge-patch+json"}})).status, 200);
  };
  const auto counted = [&](const std::string& name) {
    return server.ask("GET", "/metrics").text.find("\n" + name + "_total 1\n") != std::string::npos;
  };

  EXPECT_EQ(use().status, 403);  // known, and without rights
  EXPECT_EQ(told, std::vector<std::string>{"default/s"});
  EXPECT_TRUE(counted("serviceaccount_legacy_manual_token_uses"));
  merge(secrets + "/s",
        R"({"metadata":{"labels":{"kubernetes.io/legacy-token-last-used":")" + rfc3339(server.clock.now()).substr(0, 10) + "\"}}}");
  use();
  EXPECT_EQ(told.size(), 1u);
  server.clock.advance(std::chrono::hours(24));
  merge(account, R"({"secrets":[{"name":"s"}]})");
  EXPECT_TRUE(use().headers.find("warning").find("instead of auto-generated secret-based tokens.") != std::string_view::npos);
  EXPECT_EQ(told.size(), 2u);
  EXPECT_TRUE(counted("serviceaccount_legacy_auto_token_uses"));
  merge(secrets + "/s", R"({"metadata":{"labels":{"kubernetes.io/legacy-token-invalid-since":"2023-01-01"}}})");
  EXPECT_EQ(use().status, 401);
  EXPECT_EQ(told.size(), 3u) << "that somebody still uses it is what the operator wants to know";
  EXPECT_TRUE(counted("serviceaccount_invalid_legacy_auto_token_uses"));
}

TEST(Metrics, CountRequestsByKindVerbAndCode) {
  TestServer server;
  const std::string maps = "/api/v1/namespaces/default/configmaps";
  server.ask("GET", maps + "/a");
  server.ask("POST", maps, R"({"metadata":{"name":"a"}})");
  server.ask("GET", maps + "/a");
  server.ask("BREW", "/coffee");
  server.ask("GET", "/api/v1/namespaces/default/pods/p/%22%0aevil");
  const Answer answer = server.ask("GET", "/metrics");
  EXPECT_EQ(answer.status, 200);
  EXPECT_TRUE(answer.headers.find("content-type").starts_with("text/plain"));
  const auto has = [&](const std::string& line) { return answer.text.find(line + "\n") != std::string::npos; };
  const std::string labels = R"(component="apiserver",group="",resource="configmaps",subresource="",verb=")";
  EXPECT_TRUE(has("apiserver_request_total{code=\"404\"," + labels + "GET\",version=\"v1\"} 1"));
  EXPECT_TRUE(has("apiserver_request_total{code=\"200\"," + labels + "GET\",version=\"v1\"} 1"));
  EXPECT_TRUE(has("apiserver_request_total{code=\"201\"," + labels + "POST\",version=\"v1\"} 1"));
  EXPECT_TRUE(has("apiserver_request_duration_seconds_count{" + labels + "GET\",version=\"v1\"} 2"));
  EXPECT_TRUE(has("apiserver_request_duration_seconds_bucket{" + labels + "GET\",version=\"v1\",le=\"+Inf\"} 2"));
  EXPECT_TRUE(has("apiserver_storage_objects{resource=\"configmaps\"} 1"));
  EXPECT_TRUE(has("authentication_attempts{result=\"failure\"} 0"));
  EXPECT_EQ(answer.text.find("evil"), std::string::npos) << "what clients send makes no series";
  EXPECT_EQ(server.ask("POST", "/metrics").status, 405);
  EXPECT_EQ(server.ask("GET", "/metrics", "", headers({{"Authorization", "Bearer " + server.token()}})).status, 403);
}

TEST(Registry, AVersionChangesWithItsOwnKindOnly) {
  TestServer server;
  const api::Kind &maps = *api::findKind("", "v1", "configmaps"),
                  &roles = *api::findKind("rbac.authorization.k8s.io", "v1", "clusterroles");
  const std::uint64_t map = server.registry.version(maps), role = server.registry.version(roles);
  server.ask("POST", "/api/v1/namespaces/default/configmaps", R"({"metadata":{"name":"a"}})");
  EXPECT_NE(server.registry.version(maps), map);
  EXPECT_EQ(server.registry.version(roles), role);
  server.ask("POST", "/apis/rbac.authorization.k8s.io/v1/clusterroles", R"({"metadata":{"name":"r"},"rules":[]})");
  EXPECT_NE(server.registry.version(roles), role);
}

}  // namespace
}  // namespace podpass::server::test
