#include <gtest/gtest.h>

#include "base/text.h"
#include "server/test_server.h"

namespace podpass::server::test {
namespace {

constexpr const char* kConfigMaps = "/api/v1/namespaces/default/configmaps";
constexpr const char* kConfigMap = R"({"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"a"},"data":{"k":"v"}})";

TEST(Server, CreatesReadsChangesAndDeletesAnObject) {
  TestServer server;
  const Answer made = server.ask("POST", kConfigMaps, kConfigMap);
  ASSERT_EQ(made.status, 201) << made.text;
  EXPECT_FALSE(textAt(made.body, {"metadata", "uid"}).empty());
  EXPECT_EQ(server.ask("POST", kConfigMaps, kConfigMap).message(), "configmaps \"a\" already exists");

  const std::string one = std::string(kConfigMaps) + "/a";
  EXPECT_EQ(server.ask("GET", one).text, made.text);
  const Answer patched = server.ask("PATCH", one, R"({"data":{"k":"w"}})", headers({{"Content-Type", "application/merge-patch+json"}}));
  EXPECT_EQ(textAt(patched.body, {"data", "k"}), "w");
  const Answer stale = server.ask("PUT", one, made.text);
  EXPECT_EQ(stale.status, 409);
  EXPECT_EQ(stale.reason(), "Conflict");
  EXPECT_EQ(server.ask("GET", kConfigMaps).body.at("items").as_array().size(), 1u);

  EXPECT_EQ(textAt(server.ask("DELETE", one).body, {"status"}), "Success");
  EXPECT_EQ(server.ask("GET", one).message(), "configmaps \"a\" not found");
}

TEST(Server, AppliesAndRecordsWhoSetWhat) {
  TestServer server;
  const std::string one = std::string(kConfigMaps) + "/a";
  const auto apply = [&](const std::string& query, const std::string& data, http::Headers more = {}) {
    more.add("Content-Type", "application/apply-patch+yaml");
    return server.ask("PATCH", one + query, "apiVersion: v1\nkind: ConfigMap\ndata: " + data, std::move(more));
  };
  EXPECT_EQ(apply("", "{k: v}").message(),
            "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch");
  const Answer made = apply("?fieldManager=m", "{k: v, gone: v}");
  EXPECT_EQ(made.status, 201) << made.text;
  EXPECT_EQ(textAt(made.body, {"metadata", "name"}), "a");
  EXPECT_EQ(apply("?fieldManager=m", "{k: v, gone: v}").text, made.text) << "the same again changes nothing";
  const Answer changed = apply("?fieldManager=m", "{k: w}");
  EXPECT_EQ(changed.status, 200);
  EXPECT_EQ(json::serialize(changed.body.at("data")), R"({"k":"w"})");

  http::Headers agent = headers({{"Content-Type", "application/merge-patch+json"}, {"User-Agent", "curl/7.88"}});
  EXPECT_EQ(server.ask("PATCH", one, R"({"data":{"k":"x"}})", std::move(agent)).status, 200);
  const Answer refused = apply("?fieldManager=m", "{k: w}");
  EXPECT_EQ(refused.status, 409);
  EXPECT_EQ(refused.message(), "Apply failed with 1 conflict: conflict with \"curl\" using v1: .data.k");
  EXPECT_EQ(json::serialize(refused.body.at("details").at("causes")),
            R"([{"reason":"FieldManagerConflict","message":"conflict with \"curl\" using v1","field":".data.k"}])");
  EXPECT_EQ(apply("?fieldManager=m&force=true&dryRun=All", "{k: w}").status, 200);
  EXPECT_EQ(apply("?fieldManager=m", "{k: w}").status, 409) << "a dry run took nothing";
  EXPECT_EQ(apply("?fieldManager=m&force=true", "{k: w}").status, 200);
  EXPECT_EQ(json::serialize(server.ask("GET", one).body.at("metadata").at_pointer("/managedFields/0/fieldsV1")),
            R"({"f:data":{"f:k":{}}})");
}

TEST(Server, PatchesGiveNoRightsThatTheirWriterLacks) {
  TestServer server;
  const std::string roles = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles", maps = kConfigMaps;
  EXPECT_EQ(server
                .ask("POST", roles, R"({"metadata":{"name":"weak"},"rules":[{"apiGroups":["rbac.authorization.k8s.io",""],
      "resources":["roles","configmaps"],"verbs":["patch","get"]}]})")
                .status,
            201);
  EXPECT_EQ(server
                .ask("POST", "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings",
                     R"({"metadata":{"name":"weak"},"roleRef":{"kind":"Role","name":"weak"},
      "subjects":[{"kind":"ServiceAccount","name":"default","namespace":"default"}]})")
                .status,
            201);
  const std::string bearer = "Bearer " + server.token();
  const Answer grab = server.ask("PATCH", roles + "/weak", R"({"rules":[{"apiGroups":["*"],"resources":["*"],"verbs":["*"]}]})",
                                 headers({{"Authorization", bearer}, {"Content-Type", "application/merge-patch+json"}}));
  EXPECT_EQ(grab.status, 403) << grab.text;
  const Answer make = server.ask("PATCH", maps + "/new?fieldManager=m", R"({"apiVersion":"v1","kind":"ConfigMap"})",
                                 headers({{"Authorization", bearer}, {"Content-Type", "application/apply-patch+yaml"}}));
  EXPECT_EQ(make.status, 403);
  EXPECT_NE(make.message().find("cannot create resource \"configmaps\""), std::string::npos) << make.text;
}

TEST(Server, RefusesInKubernetesWords) {
  TestServer server;
  struct Case {
    const char* why;
    const char* method;
    std::string target;
    std::string body;
    int status;
    const char* message;
  };
  const std::string maps = kConfigMaps;
  const Case cases[] = {
      {"a resource that the group does not have", "GET", "/api/v1/gadgets", "", 404, "the server could not find the requested resource"},
      {"a method that no resource has", "POST", maps + "/a", kConfigMap, 405,
       "the server does not allow this method on the requested resource"},
      {"a subresource that the kind lacks", "GET", maps + "/a/status", "", 404, "the server could not find the requested resource"},
      {"a bad dry run", "POST", maps + "?dryRun=Some", kConfigMap, 422,
       "CreateOptions.meta.k8s.io \"\" is invalid: dryRun: Unsupported value: []string{\"Some\"}: supported values: \"All\""},
      {"another namespace than the URL's", "POST", maps, R"({"metadata":{"name":"a","namespace":"other"}})", 400,
       "the namespace of the provided object does not match the namespace sent on the request"},
      {"an exact match of nothing", "GET", maps + "?resourceVersion=0&resourceVersionMatch=Exact", "", 422,
       "ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: Forbidden: resourceVersionMatch \"exact\" is forbidden for "
       "resourceVersion \"0\""},
      {"a revision with a continue token", "GET", maps + "?resourceVersion=5&continue=x", "", 400,
       "specifying resource version is not allowed when using continue"},
      {"a propagation policy that is none", "DELETE", maps + "/a?propagationPolicy=Sideways", "", 422,
       "DeleteOptions.meta.k8s.io \"\" is invalid: propagationPolicy: Unsupported value: \"Sideways\": supported values: \"Foreground\", "
       "\"Background\", \"Orphan\", \"nil\""},
      {"an update without a name", "PUT", maps + "/a", "{}", 422,
       "ConfigMap \"\" is invalid: metadata.name: Required value: name must be provided"},
      {"a pod whose service account does not exist", "POST", "/api/v1/namespaces/default/pods",
       R"({"metadata":{"name":"p"},"spec":{"serviceAccountName":"ghost","containers":[{"name":"c","image":"i"}]}})", 403,
       "pods \"p\" is forbidden: error looking up service account default/ghost: serviceaccount \"ghost\" not found"},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.why);
    const Answer answer = server.ask(c.method, c.target, c.body);
    EXPECT_EQ(answer.status, c.status);
    EXPECT_EQ(answer.message(), c.message);
  }
}

TEST(Server, RefusesABodyThatIsTooLargeMalformedOrUnknown) {
  TestServer server;
  EXPECT_EQ(server.ask("POST", kConfigMaps, std::string((3u << 20) + 1, ' ')).status, 413);
  EXPECT_EQ(server.ask("POST", kConfigMaps, R"({"metadata":)").status, 400);
  EXPECT_EQ(server.ask("POST", kConfigMaps, kConfigMap, headers({{"Content-Type", "text/html"}})).status, 415);
  const std::string odd = R"({"metadata":{"name":"b"},"dada":{}})";
  const Answer strict = server.ask("POST", std::string(kConfigMaps) + "?fieldValidation=Strict", odd);
  EXPECT_EQ(strict.message(),
            "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: strict decoding error: unknown field \"dada\"");
  const Answer warned = server.ask("POST", kConfigMaps, odd);
  EXPECT_EQ(warned.status, 201);
  EXPECT_EQ(warned.headers.find("warning"), "299 - \"unknown field \\\"dada\\\"\"");
}

TEST(Server, ADryRunStoresNothing) {
  TestServer server;
  const Answer made = server.ask("POST", std::string(kConfigMaps) + "?dryRun=All", kConfigMap);
  EXPECT_EQ(made.status, 201);
  EXPECT_FALSE(textAt(made.body, {"metadata", "uid"}).empty());
  EXPECT_EQ(server.ask("GET", std::string(kConfigMaps) + "/a").status, 404);
}

TEST(Server, ATokenProvesItsServiceAccountAndNoMoreThanThat) {
  TestServer server;
  const http::Headers bearer = headers({{"Authorization", "Bearer " + server.token()}});
  const Answer self = server.ask("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", "{}", bearer);
  EXPECT_EQ(self.status, 403);  // no role is bound in this store
  EXPECT_EQ(self.message(),
            "selfsubjectreviews.authentication.k8s.io is forbidden: User \"system:serviceaccount:default:default\" cannot create resource "
            "\"selfsubjectreviews\" in API group \"authentication.k8s.io\" at the cluster scope");
  EXPECT_EQ(server.ask("GET", kConfigMaps, "", headers({{"Authorization", "Bearer " + server.token("sts.amazonaws.com")}})).status, 401);
  const Answer bad = server.ask("GET", kConfigMaps, "", headers({{"Authorization", "Bearer nonsense"}}));
  EXPECT_EQ(
      bad.text.substr(0, bad.text.find('\n')),
      R"({"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"Unauthorized","reason":"Unauthorized","code":401})");
}

TEST(Server, TakesATokenThatABrowserOffersAsASubprotocol) {
  TestServer server;
  const auto ask = [&](const std::string& token) {
    return server.ask("GET", kConfigMaps, "",
                      headers({{"Authorization", "Basic eDp5"},  // no bearer, and no certificate
                               {"Upgrade", "websocket"},
                               {"Connection", "Upgrade"},
                               {"Sec-WebSocket-Protocol", "base64url.bearer.authorization.k8s.io." + base64UrlEncode(token)},
                               {"Sec-WebSocket-Protocol", "v4.channel.k8s.io"}}));
  };
  const Answer known = ask(server.token());
  EXPECT_EQ(known.status, 403);
  EXPECT_NE(known.message().find("User \"system:serviceaccount:default:default\" cannot list"), std::string::npos) << known.text;
  EXPECT_EQ(ask(server.token("vault")).status, 401);
}

TEST(Server, TokenReviewNamesTheAudiencesOrTheReason) {
  TestServer server;
  const auto review = [&](const std::string& token, const std::string& audience) {
    json::object spec{{"token", token}};
    if (!audience.empty()) spec["audiences"] = json::array{audience};
    return server.ask("POST", "/apis/authentication.k8s.io/v1/tokenreviews", json::serialize(json::object{{"spec", spec}})).body;
  };
  const std::string token = server.token("vault");
  const json::object good = review(token, "vault");
  EXPECT_TRUE(booleanAt(good, {"status", "authenticated"}));
  EXPECT_EQ(textAt(good, {"status", "user", "username"}), "system:serviceaccount:default:default");
  EXPECT_EQ(good.at("status").as_object().at("audiences"), json::array{"vault"});
  EXPECT_EQ(textAt(review(token, ""), {"status", "error"}),
            "token audiences [\"vault\"] is invalid for the target audiences [\"https://kubernetes.default.svc\"]");
  EXPECT_EQ(server.ask("POST", "/apis/authentication.k8s.io/v1/tokenreviews", R"({"spec":{}})").message(),
            "token is required for TokenReview in authentication");
  EXPECT_EQ(
      server.ask("POST", "/apis/authentication.k8s.io/v1/tokenreviews", R"({"metadata":{"namespace":"x"},"spec":{"token":"t"}})").message(),
      "namespace is not allowed on this type: x");
  EXPECT_TRUE(booleanAt(review(token + " more", "vault"), {"status", "authenticated"})) << "as in a header, it ends at a space";
  EXPECT_FALSE(booleanAt(review(" " + token, "vault"), {"status", "authenticated"}));
  server.clock.advance(std::chrono::hours(2));
  EXPECT_EQ(textAt(review(token, "vault"), {"status", "error"}), "service account token has expired");
}

TEST(Server, AnAccessReviewAsksOneThingOfOneSubject) {
  TestServer server;
  struct Case {
    const char* why;
    const char* path;
    const char* spec;
    int status;
    std::string message;
  };
  constexpr const char* kGroup = "/apis/authorization.k8s.io/v1/";
  const std::string self = "SelfSubjectAccessReview.authorization.k8s.io \"\" is invalid: ",
                    subject = "SubjectAccessReview.authorization.k8s.io \"\" is invalid: ",
                    local = "LocalSubjectAccessReview.authorization.k8s.io \"\" is invalid: ";
  const char* nothing =
      "spec.resourceAttributes: Invalid value: \"null\": exactly one of nonResourceAttributes or resourceAttributes must be specified";
  const Case cases[] = {
      {"nothing", "selfsubjectaccessreviews", "{}", 422, self + nothing},
      {"nothing, of a subject", "subjectaccessreviews", R"({"user":"bob"})", 422, subject + nothing},
      {"two things", "subjectaccessreviews",
       R"({"user":"bob","resourceAttributes":{"verb":"get","resource":"pods"},"nonResourceAttributes":{"path":"/x","verb":"get"}})", 422,
       subject + "spec.nonResourceAttributes: Invalid value: {\"path\":\"/x\",\"verb\":\"get\"}: cannot be specified in combination with "
                 "resourceAttributes"},
      {"nobody", "subjectaccessreviews", R"({"resourceAttributes":{}})", 422,
       subject + "spec.user: Invalid value: \"\": at least one of user or group must be specified"},
      {"everything wrong at once", "subjectaccessreviews", "{}", 422,
       subject + "[" + nothing + ", spec.user: Invalid value: \"\": at least one of user or group must be specified]"},
      {"a path of nobody's namespace", "namespaces/default/localsubjectaccessreviews",
       R"({"user":"bob","nonResourceAttributes":{"path":"/x"}})", 422,
       local + "spec.nonResourceAttributes: Invalid value: {\"path\":\"/x\"}: disallowed on this kind of request"},
      {"no namespace, which is all of them", "namespaces/default/localsubjectaccessreviews",
       R"({"user":"bob","resourceAttributes":{"verb":"get","resource":"secrets"}})", 422,
       local + "spec.resourceAttributes.namespace: Invalid value: \"\": must match metadata.namespace"},
      {"another namespace than the one that the asker may ask about", "namespaces/default/localsubjectaccessreviews",
       R"({"user":"bob","resourceAttributes":{"namespace":"kube-system","verb":"get","resource":"secrets"}})", 422,
       local + "spec.resourceAttributes.namespace: Invalid value: \"kube-system\": must match metadata.namespace"},
      {"its own namespace", "namespaces/default/localsubjectaccessreviews",
       R"({"user":"bob","resourceAttributes":{"namespace":"default","verb":"get","resource":"secrets"}})", 201, ""},
      {"the rules of no namespace", "selfsubjectrulesreviews", "{}", 400, "no namespace on request"},
      {"all namespaces", "selfsubjectaccessreviews", R"({"resourceAttributes":{"verb":"*","resource":"*"}})", 201, ""},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.why);
    const Answer answer = server.ask("POST", std::string(kGroup) + c.path, std::string(R"({"spec":)") + c.spec + "}");
    EXPECT_EQ(answer.status, c.status);
    EXPECT_EQ(answer.message(), c.message);
  }
  const Answer elsewhere = server.ask("POST", std::string(kGroup) + "namespaces/default/localsubjectaccessreviews",
                                      R"({"metadata":{"namespace":"other"},"spec":{}})");
  EXPECT_EQ(elsewhere.status, 400);
  EXPECT_EQ(elsewhere.message(), "the namespace of the provided object does not match the namespace sent on the request");
}

TEST(Server, ATokenRequestIsHeldToItsLimits) {
  TestServer server({.serverAddress = "", .jwksUri = "", .maxTokenLife = std::chrono::hours(1)});
  const auto ask = [&](const std::string& body) {
    return server.ask("POST", "/api/v1/namespaces/default/serviceaccounts/default/token", body);
  };
  EXPECT_EQ(ask(R"({"spec":{"expirationSeconds":599}})").message(),
            "TokenRequest.authentication.k8s.io \"\" is invalid: spec.expirationSeconds: Invalid value: 599: may not specify a duration "
            "less than "
            "10 minutes");
  EXPECT_EQ(ask(R"({"spec":{"expirationSeconds":600}})").status, 201);
  const Answer cut = ask(R"({"spec":{"expirationSeconds":7200}})");
  EXPECT_EQ(integerAt(cut.body, {"spec", "expirationSeconds"}), 3600);
  EXPECT_EQ(cut.headers.find("warning"), "299 - \"requested expiration of 7200 seconds shortened to 3600 seconds\"");
  EXPECT_EQ(ask(R"({"spec":{"boundObjectRef":{"kind":"Pod","apiVersion":"v1","name":"gone"}}})").message(), "pods \"gone\" not found");
}

TEST(Server, ImpersonationNeedsTheRightForEachPart) {
  TestServer server;
  EXPECT_EQ(textAt(server
                       .ask("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", "{}",
                            headers({{"Impersonate-User", "bob"}, {"Impersonate-Group", "system:masters"}}))
                       .body,
                   {"status", "userInfo", "username"}),
            "bob");
  const Answer refused =
      server.ask("GET", kConfigMaps, "", headers({{"Authorization", "Bearer " + server.token()}, {"Impersonate-User", "joe"}}));
  EXPECT_EQ(refused.status, 403);
  EXPECT_EQ(refused.message(),
            "users \"joe\" is forbidden: User \"system:serviceaccount:default:default\" cannot impersonate resource \"users\" in API group "
            "\"\" at "
            "the cluster scope");
}

TEST(Server, ServesTheDocumentsBesideTheKinds) {
  TestServer server;
  EXPECT_EQ(server.ask("GET", "/readyz").text, "ok");
  EXPECT_EQ(server.ask("GET", "/readyz/shutdown").text, "ok");
  server.api().beginShutdown();
  EXPECT_EQ(server.ask("GET", "/readyz").status, 500);
  EXPECT_EQ(server.ask("GET", "/readyz?exclude=shutdown").status, 200);
  EXPECT_EQ(server.ask("GET", "/livez").status, 200);
  EXPECT_EQ(textAt(server.ask("GET", "/.well-known/openid-configuration").body, {"issuer"}), kIssuer);
  EXPECT_EQ(server.ask("GET", "/openid/v1/jwks").body.at("keys").as_array().size(), 1u);
  EXPECT_EQ(server.ask("GET", "/nothing/here").status, 404);
  EXPECT_EQ(server.ask("POST", "/version").status, 405);

  const http::Headers discovery = headers({{"Accept", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"}});
  const Answer first = server.ask("GET", "/apis", "", discovery);
  ASSERT_EQ(first.status, 200);
  http::Headers again = discovery;
  again.add("If-None-Match", std::string(first.headers.find("etag")));
  const Answer second = server.ask("GET", "/apis", "", again);
  EXPECT_EQ(second.status, 304);
  EXPECT_FALSE(second.headers.has("content-type"));
}

TEST(Server, RefusesARevokedTokenAtOnce) {
  TestServer server;
  const std::string token = server.token(), kind = "/apis/identity.podpass.dev/v1/tokenrevocations";
  const http::Headers bearer = headers({{"Authorization", "Bearer " + token}});
  const auto review = [&] {
    return server.ask("POST", "/apis/authentication.k8s.io/v1/tokenreviews",
                      json::serialize(json::object{{"spec", json::object{{"token", token}}}}));
  };
  EXPECT_NE(server.ask("GET", kConfigMaps, "", bearer).status, 401);
  EXPECT_EQ(server.ask("GET", "/openid/v1/revocations").body.at("revocations").as_array().size(), 0u);
  ASSERT_EQ(
      server.ask("POST", kind, R"({"metadata":{"name":"r"},"spec":{"serviceAccount":{"namespace":"default","name":"default"}}})").status,
      201);
  EXPECT_EQ(server.ask("GET", kConfigMaps, "", bearer).status, 401);
  const Answer refused = review();
  EXPECT_FALSE(booleanAt(refused.body, {"status", "authenticated"}));
  EXPECT_EQ(textAt(refused.body, {"status", "error"}), "service account token has been revoked (TokenRevocation \"r\")");
  const Answer told = server.ask("GET", "/openid/v1/revocations");
  EXPECT_EQ(textAt(told.body.at("revocations").as_array().at(0).as_object(), {"sub"}), "system:serviceaccount:default:default");
  EXPECT_EQ(told.headers.find("cache-control"), "public, max-age=10");
  EXPECT_EQ(server.ask("DELETE", kind + "/r").status, 200);
  EXPECT_TRUE(booleanAt(review().body, {"status", "authenticated"}));
}

TEST(Server, TakesOnlyRevocationsOfOneSubject) {
  TestServer server;
  const std::string kind = "/apis/identity.podpass.dev/v1/tokenrevocations";
  struct Case {
    std::string spec, message;
  };
  const Case cases[] = {
      {R"({})", "spec: Required value"},
      {R"({"jti":"a","node":{"name":"n"}})", "only one of jti, serviceAccount, pod and node may be given"},
      {R"({"serviceAccount":{"name":"a"}})", "spec.serviceAccount.namespace: Required value"},
      {R"({"pod":{"namespace":"../x","name":"a"}})", "spec.pod.namespace: Invalid value"},
      {R"({"jti":""})", "spec: Required value"},
      {R"({"jti":"a","issuedBefore":"yesterday"})", "yesterday"},
  };
  for (const Case& c : cases) {
    const Answer refused = server.ask("POST", kind, R"({"metadata":{"name":"r"},"spec":)" + c.spec + "}");
    EXPECT_GE(refused.status, 400) << c.spec;
    EXPECT_NE(refused.message().find(c.message), std::string::npos) << c.spec << ": " << refused.message();
  }
  ASSERT_EQ(server.ask("POST", kind, R"({"metadata":{"name":"r"},"spec":{"jti":"a"}})").status, 201);
  const http::Headers merge = headers({{"Content-Type", "application/merge-patch+json"}});
  EXPECT_EQ(server.ask("PATCH", kind + "/r", R"({"spec":{"jti":"b"}})", merge).status, 422);
  EXPECT_EQ(server.ask("PATCH", kind + "/r", R"({"spec":{"reason":"lost"}})", merge).status, 200);
}

TEST(Server, EchoesTheAuditId) {
  TestServer server;
  EXPECT_EQ(server.ask("GET", "/version", "", headers({{"Audit-ID", "abc"}})).headers.find("audit-id"), "abc");
  EXPECT_EQ(server.ask("GET", "/version").headers.find("audit-id").size(), 36u);
}

}  // namespace
}  // namespace podpass::server::test
