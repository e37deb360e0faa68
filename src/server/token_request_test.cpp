#include <gtest/gtest.h>

#include "base/text.h"
#include "server/test_server.h"

// TokenRequest as spec tokens.md §2 has it: the order and texts of its checks, and what the token says.
namespace podpass::server::test {
namespace {

constexpr const char* kToken = "/api/v1/namespaces/default/serviceaccounts/default/token";
constexpr const char* kPods = "/api/v1/namespaces/default/pods";

Answer makePod(TestServer& server, const std::string& name, const std::string& node = "", const std::string& account = "default",
               const std::string& volumes = "[]") {
  Answer pod = server.ask("POST", kPods,
                          R"({"metadata":{"name":")" + name + R"("},"spec":{"serviceAccountName":")" + account +
                              R"(","containers":[{"name":"c","image":"i"}],"volumes":)" + volumes + "}}");
  EXPECT_EQ(pod.status, 201) << pod.text;
  if (node.empty()) return pod;
  const Answer bound =
      server.ask("POST", std::string(kPods) + "/" + name + "/binding", R"({"target":{"kind":"Node","name":")" + node + R"("}})");
  EXPECT_EQ(bound.status, 201) << bound.text;
  return pod;
}
std::string uidOf(const Answer& answer) { return std::string(textAt(answer.body, {"metadata", "uid"})); }

json::object claimsIn(const Answer& answer) {
  const Result<jose::UnverifiedJws> jws = jose::parseCompactJws(textAt(answer.body, {"status", "token"}));
  EXPECT_TRUE(jws) << answer.text;
  return jws ? jws->payload : json::object();
}

TEST(TokenRequest, IsCheckedInTheOrderAndWordsOfKubernetes) {
  TestServer server;
  ASSERT_EQ(server.ask("POST", "/api/v1/namespaces/default/serviceaccounts", R"({"metadata":{"name":"other"}})").status, 201);
  ASSERT_EQ(server.ask("POST", "/api/v1/namespaces/default/secrets", R"({"metadata":{"name":"s"}})").status, 201);
  const std::string podUid = uidOf(makePod(server, "p"));
  makePod(server, "others", "", "other");
  const std::string accountUid = uidOf(server.ask("GET", "/api/v1/namespaces/default/serviceaccounts/default"));
  const std::string invalid = "TokenRequest.authentication.k8s.io \"default\" is invalid: ";
  const std::string badLife = "TokenRequest.authentication.k8s.io \"\" is invalid: spec.expirationSeconds: Invalid value: ";
  const std::string uidDiffers = " does not match the UID in record. The object might have been deleted and then recreated";
  const auto ref = [](const std::string& members) { return R"({"spec":{"boundObjectRef":{)" + members + "}}}"; };
  struct Case {
    const char* why;
    std::string body;
    int status;
    std::string message;
  };
  const Case cases[] = {
      {"another name", R"({"metadata":{"name":"x"}})", 422,
       invalid + "metadata.name: Invalid value: \"x\": must match the service account name if specified"},
      {"another namespace", R"({"metadata":{"namespace":"x"}})", 422,
       invalid + "metadata.namespace: Invalid value: \"x\": must match the service account namespace if specified"},
      {"another account of that name, before the limits", R"({"metadata":{"uid":"x"},"spec":{"expirationSeconds":1}})", 409,
       "Operation cannot be fulfilled on TokenRequest.authentication.k8s.io \"default\": the UID in the token request (x) does not match "
       "the UID of the service account (" +
           accountUid + ")"},
      {"zero is not the default", R"({"spec":{"expirationSeconds":0}})", 422,
       badLife + "0: may not specify a duration less than 10 minutes"},
      {"too short", R"({"spec":{"expirationSeconds":599}})", 422, badLife + "599: may not specify a duration less than 10 minutes"},
      {"too long", R"({"spec":{"expirationSeconds":4294967297}})", 422,
       badLife + "4294967297: may not specify a duration larger than 2^32 seconds"},
      {"the longest", R"({"spec":{"expirationSeconds":4294967296}})", 201, ""},
      {"no pod", ref(R"("kind":"Pod","apiVersion":"v1","name":"gone")"), 404, "pods \"gone\" not found"},
      {"no secret", ref(R"("kind":"Secret","apiVersion":"v1","name":"gone")"), 404, "secrets \"gone\" not found"},
      {"no node", ref(R"("kind":"Node","apiVersion":"v1","name":"gone")"), 404, "nodes \"gone\" not found"},
      {"another's pod", ref(R"("kind":"Pod","apiVersion":"v1","name":"others")"), 400,
       "cannot bind token for serviceaccount \"default\" to pod running with different serviceaccount name."},
      {"another pod of that name", ref(R"("kind":"Pod","apiVersion":"v1","name":"p","uid":"x")"), 409,
       "Operation cannot be fulfilled on Pod \"p\": the UID in the bound object reference (x)" + uidDiffers},
      {"another secret of that name", ref(R"("kind":"Secret","apiVersion":"v1","name":"s","uid":"x")"), 409,
       "Operation cannot be fulfilled on Secret \"s\": the UID in the bound object reference (x)" + uidDiffers},
      {"a kind that nothing is bound to", ref(R"("kind":"ConfigMap","apiVersion":"v1","name":"c")"), 400,
       "cannot bind token to object of type /v1, Kind=ConfigMap"},
      {"another group", ref(R"("kind":"Deployment","apiVersion":"apps/v1","name":"d")"), 400,
       "cannot bind token to object of type apps/v1, Kind=Deployment"},
      {"a pod of another group", ref(R"("kind":"Pod","apiVersion":"apps/v1","name":"p")"), 400,
       "cannot bind token to object of type apps/v1, Kind=Pod"},
      {"no apiVersion", ref(R"("kind":"Foo")"), 400, "cannot bind token to object of type /, Kind=Foo"},
      {"no version at all", ref(R"("kind":"Foo","apiVersion":"a/b/c")"), 400, "cannot bind token to object of type /, Kind=Foo"},
      {"a reference to nothing", ref(""), 400, "cannot bind token to object of type /, Kind="},
      {"the version is not looked at", ref(R"("kind":"Pod","apiVersion":"v2","name":"p")"), 201, ""},
      {"nor needed", ref(R"("kind":"Pod","name":"p")"), 201, ""},
      {"with its uid", ref(R"("kind":"Pod","apiVersion":"v1","name":"p","uid":")" + podUid + "\""), 201, ""},
      {"all that is right", R"({"metadata":{"name":"default","namespace":"default","uid":")" + accountUid + R"("}})", 201, ""},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.why);
    const Answer answer = server.ask("POST", kToken, c.body);
    EXPECT_EQ(answer.status, c.status) << answer.text;
    EXPECT_EQ(answer.message(), c.message);
  }
  EXPECT_EQ(server.ask("POST", "/api/v1/namespaces/default/serviceaccounts/ghost/token", R"({"spec":{"expirationSeconds":1}})").message(),
            "serviceaccounts \"ghost\" not found");
}

TEST(TokenRequest, IsAnsweredWithWhatWasAskedAndDefaulted) {
  TestServer server;
  const Answer plain = server.ask("POST", kToken, "{}");
  ASSERT_EQ(plain.status, 201) << plain.text;
  EXPECT_NE(plain.text.find(R"("spec":{"audiences":["https://kubernetes.default.svc"],"expirationSeconds":3600,"boundObjectRef":null})"),
            std::string::npos)
      << plain.text;
  EXPECT_EQ(textAt(plain.body, {"metadata", "creationTimestamp"}), rfc3339(server.clock.now()));
  const Answer labelled = server.ask("POST", std::string(kToken) + "?dryRun=All",
                                     R"({"metadata":{"generateName":"g-","labels":{"a":"b"},"annotations":{"c":"d"},"finalizers":["e"]},
                                         "spec":{"audiences":["x","","x"]},"status":{"token":"mine"}})");
  ASSERT_EQ(labelled.status, 201) << labelled.text;
  json::object metadata = *objectAt(labelled.body, {"metadata"});
  EXPECT_EQ(metadata["labels"], (json::object{{"a", "b"}}));
  EXPECT_EQ(metadata["annotations"], (json::object{{"c", "d"}}));
  EXPECT_EQ(metadata["generateName"], "g-");
  EXPECT_FALSE(metadata.contains("finalizers"));
  EXPECT_EQ(claimsIn(labelled)["aud"], (json::array{"x", "", "x"})) << "a dry run gives a token, too, and audiences are as they were sent";
}

TEST(TokenRequest, OnlyAPodsTokenForTheApiServerIsExtended) {
  constexpr std::int64_t kYear = 31'536'000;
  struct Case {
    bool extend;
    int longest;
    bool pod, foreign;
    std::int64_t life, warns, told;
  };
  const Case cases[] = {
      {true, 0, true, false, kYear, 3607, 3607},    {true, 0, true, true, 3607, 0, 3607},      {true, 0, false, false, 3607, 0, 3607},
      {true, 0, false, true, 3607, 0, 3607},        {false, 0, true, false, 3607, 0, 3607},    {false, 0, true, true, 3607, 0, 3607},
      {false, 0, false, false, 3607, 0, 3607},      {false, 0, false, true, 3607, 0, 3607},    {true, 3600, true, false, 3600, 0, 3600},
      {true, 3600, true, true, 3600, 0, 3600},      {true, 3600, false, false, 3600, 0, 3600}, {true, 3600, false, true, 3600, 0, 3600},
      {true, 7200, true, false, kYear, 3607, 3607},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(std::string(c.extend ? "extended" : "not extended") + ", at most " + std::to_string(c.longest) +
                 (c.pod ? ", of a pod" : "") + (c.foreign ? ", for another" : ""));
    TestServer server({.serverAddress = "", .jwksUri = "", .maxTokenLife = std::chrono::seconds(c.longest), .extendTokens = c.extend});
    json::object spec{{"expirationSeconds", 3607}};
    if (c.foreign) spec["audiences"] = json::array{kApiAudience, "vault"};
    if (c.pod) {
      makePod(server, "p");
      spec["boundObjectRef"] = {{"kind", "Pod"}, {"apiVersion", "v1"}, {"name", "p"}};
    }
    const Answer made = server.ask("POST", kToken, json::serialize(json::object{{"spec", spec}}));
    ASSERT_EQ(made.status, 201) << made.text;
    const json::object claims = claimsIn(made);
    const std::int64_t issued = integerAt(claims, {"iat"});
    EXPECT_EQ(integerAt(claims, {"exp"}) - issued, c.life);
    EXPECT_EQ(integerAt(claims, {"kubernetes.io", "warnafter"}), c.warns == 0 ? 0 : issued + c.warns);
    EXPECT_EQ(integerAt(made.body, {"spec", "expirationSeconds"}), c.told);
    EXPECT_EQ(textAt(made.body, {"status", "expirationTimestamp"}), rfc3339(server.clock.now() + std::chrono::seconds(c.told)));
    EXPECT_EQ(made.headers.has("warning"), c.told != 3607);
  }
}

TEST(TokenRequest, ATokenOfAPodNamesItsNode) {
  TestServer server;
  const Answer node = server.ask("POST", "/api/v1/nodes", R"({"metadata":{"name":"n1"}})");
  ASSERT_EQ(node.status, 201) << node.text;
  makePod(server, "here", "n1");
  makePod(server, "lost", "ghost");
  makePod(server, "waiting");
  const auto nodeIn = [&](const std::string& pod) {
    const json::object claims =
        claimsIn(server.ask("POST", kToken, R"({"spec":{"boundObjectRef":{"kind":"Pod","apiVersion":"v1","name":")" + pod + R"("}}})"));
    const json::object* claimed = objectAt(claims, {"kubernetes.io", "node"});
    return claimed != nullptr ? json::serialize(*claimed) : "";
  };
  EXPECT_EQ(nodeIn("here"), R"({"name":"n1","uid":")" + uidOf(node) + "\"}");
  EXPECT_EQ(nodeIn("lost"), R"({"name":"ghost"})");
  EXPECT_EQ(nodeIn("waiting"), "");
}

// NodeRestriction, spec tokens.md §9.2.
TEST(TokenRequest, ANodeGetsTokensOfItsPodsForTheAudiencesOfTheirVolumes) {
  TestServer server;
  ASSERT_EQ(server.ask("POST", "/api/v1/nodes", R"({"metadata":{"name":"n1"}})").status, 201);
  const std::string uid =
      uidOf(makePod(server, "mine", "n1", "default",
                    R"([{"name":"t","projected":{"sources":[{"serviceAccountToken":{"audience":"sts.amazonaws.com","path":"token"}}]}}])"));
  const std::string othersUid = uidOf(makePod(server, "others", "n2"));
  const auto ref = [](const std::string& members, const std::string& audiences = "[]") {
    return R"({"spec":{"audiences":)" + audiences + R"(,"boundObjectRef":{)" + members + "}}}";
  };
  const std::string pod = R"("kind":"Pod","apiVersion":"v1",)", mine = pod + R"("name":"mine","uid":")" + uid + "\"";
  const std::string forbidden = "serviceaccounts \"default\" is forbidden: ",
                    unbound = forbidden + "node requested token not bound to a pod";
  struct Case {
    const char* why;
    std::string body;
    int status;
    std::string message;
  };
  const Case cases[] = {
      {"bound to nothing", "{}", 403, unbound},
      {"another version", ref(R"("kind":"Pod","apiVersion":"v2","name":"mine","uid":"x")"), 403, unbound},
      {"bound to a Secret", ref(R"("kind":"Secret","apiVersion":"v1","name":"mine","uid":"x")"), 403, unbound},
      {"no name", ref(pod + R"("uid":"x")"), 403, unbound},
      {"no uid", ref(pod + R"("name":"mine")"), 403, forbidden + "node requested token with a pod binding without a uid"},
      {"no such pod", ref(pod + R"("name":"gone","uid":"x")"), 404, "pods \"gone\" not found"},
      {"a pod of before", ref(pod + R"("name":"mine","uid":"x")"), 403,
       forbidden +
           "the UID in the bound object reference (x) does not match the UID in record. The object might have been deleted and then "
           "recreated"},
      {"on another node", ref(pod + R"("name":"others","uid":")" + othersUid + "\""), 403,
       forbidden + "node requested token bound to a pod scheduled on a different node"},
      {"two audiences", ref(mine, R"(["a","b"])"), 403, forbidden + "node may only request 0 or 1 audiences"},
      {"an audience that the pod does not have", ref(mine, R"(["vault"])"), 403,
       forbidden + "audience \"vault\" not found in pod spec volume, system:node:n1 is not authorized to request tokens for this audience"},
      {"the API server, named", ref(mine, R"(["https://kubernetes.default.svc"])"), 403,
       forbidden + "audience \"https://kubernetes.default.svc\" not found in pod spec volume, system:node:n1 is not authorized to request "
                   "tokens for this audience"},
      {"the audience of a volume", ref(mine, R"(["sts.amazonaws.com"])"), 201, ""},
      {"the injected volume's", ref(mine), 201, ""},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.why);
    const Answer answer =
        server.ask("POST", kToken, c.body, headers({{"Impersonate-User", "system:node:n1"}, {"Impersonate-Group", "system:nodes"}}));
    EXPECT_EQ(answer.status, c.status) << answer.text;
    EXPECT_EQ(answer.message(), c.message);
  }
  const Answer stranger =
      server.ask("POST", kToken, ref(mine), headers({{"Impersonate-User", "system:node:n3"}, {"Impersonate-Group", "system:nodes"}}));
  EXPECT_EQ(stranger.status, 403) << "the node authorizer: nothing of the account runs there";
}

}  // namespace
}  // namespace podpass::server::test
