#include "token/issuer_report.h"

#include "base/text.h"
#include "token/test_issuer.h"

namespace podpass::token {
namespace {

const Finding* findingOf(const IssuerReport& report, const std::string& check, const std::string& says) {
  for (const Finding& finding : report.findings)
    if (finding.check == check && finding.sentence.find(says) != std::string::npos) return &finding;
  return nullptr;
}

std::string documentOf(const SomebodysIssuer& issuer) {
  return json::serialize(json::object{{"issuer", issuer.url()},
                                      {"jwks_uri", issuer.url() + "/keys"},
                                      {"response_types_supported", json::array{"id_token"}},
                                      {"subject_types_supported", json::array{"public"}},
                                      {"id_token_signing_alg_values_supported", json::array{"RS256"}}});
}

TEST(IssuerReport, NamesEachThingThatRelyingPartiesStumbleOver) {
  SomebodysIssuer issuer;
  const std::string ca = http::Certificates::get().text("ca.crt");
  const auto with = [](const jose::Key& key, const std::function<void(json::object&)>& change) {
    json::object jwk = jose::toJwk(key);
    change(jwk);
    return json::serialize(json::object{{"keys", json::array{std::move(jwk)}}});
  };
  const auto document = [&](std::string_view member, json::value value) {
    json::object changed = json::parse(documentOf(issuer)).get_object();
    changed[member] = std::move(value);
    issuer.document = answerOf(json::serialize(changed));
  };
  const auto jwks = [&](std::string text) { issuer.jwks = answerOf(std::move(text)); };
  struct Case {
    const char* why;
    std::function<void()> spoil;
    const char* check;
    const char* says;
    std::vector<std::string> refusedBy;
    bool warning = false;
  };
  std::string many = R"({"keys":[{})";
  for (int i = 0; i < 100; ++i) many += ",{}";
  const Case cases[] = {
      {"the document is away", [&] { issuer.document = answerOf("", 404); }, "discovery", "status 404", {}},
      {"a redirect", [&] { issuer.document = answerOf("", 301); }, "discovery", "status 301", {}},
      {"a log-in page", [&] { issuer.document = answerOf("<html>", 200, "text/html"); }, "discovery", "an HTML page", {}},
      {"the wrong type",
       [&] { issuer.document = answerOf(documentOf(issuer), 200, "text/plain"); },
       "content type",
       "served as \"text/plain\"",
       {},
       true},
      {"another issuer", [&] { document("issuer", "https://issuer.example"); }, "issuer", "is for \"https://issuer.example\"", {}},
      {"no jwks_uri", [&] { document("jwks_uri", ""); }, "jwks_uri", "has no jwks_uri", {}},
      {"keys over plain http", [&] { document("jwks_uri", "http://127.0.0.1:1/"); }, "jwks_uri", "uses plain http", {}},
      {"a member that is required",
       [&] { document("subject_types_supported", nullptr); },
       "discovery",
       "no subject_types_supported",
       {},
       true},
      {"no keys", [&] { jwks(R"({"keys":[]})"); }, "jwks", "has no keys", {}},
      {"too many keys", [&] { jwks(many + "]}"); }, "jwks", "101 keys", {"AWS"}},
      {"the keys' type",
       [&] { issuer.jwks = answerOf(jwksOf({rsa()}), 200, "application/octet-stream"); },
       "content type",
       "the JWKS is served as",
       {},
       true},
      {"a key without kid", [&] { jwks(with(rsa(), [](json::object& k) { k.erase("kid"); })); }, "key id", "has no kid", {"GCP", "Azure"}},
      {"two of one name",
       [&] {
         jwks(jwksOf({rsa(), rsa()}));
       },
       "key id",
       "two keys have the kid",
       {}},
      {"a private key", [&] { jwks(with(rsa(), [](json::object& k) { k["d"] = "AQAB"; })); }, "key", "with its private part", {}},
      {"a shared secret", [&] { jwks(R"({"keys":[{"kty":"oct","kid":"a"}]})"); }, "key", "shared secret", {}},
      {"a key of 1024 bits",
       [&] { jwks(with(rsa(), [](json::object& k) { k["n"] = base64UrlEncode(std::string(1, '\0') + std::string(128, '\xff')); })); },
       "key size",
       "has 1024 bits, 2048 are the least",
       {}},
      {"a key of 8192 bits",
       [&] { jwks(with(rsa(), [](json::object& k) { k["n"] = base64UrlEncode(std::string(1024, '\xff')); })); },
       "key size",
       "has 8192 bits",
       {},
       true},
      {"no key at all", [&] { jwks(R"({"keys":[{"kty":"RSA","kid":"a"}]})"); }, "key", "cannot be used", {}},
      {"a key that does not say its alg",
       [&] { jwks(with(rsa(), [](json::object& k) { k.erase("alg"); })); },
       "algorithm",
       "does not say its alg",
       {},
       true},
      {"a key that does not say its use",
       [&] { jwks(with(rsa(), [](json::object& k) { k.erase("use"); })); },
       "key",
       "does not say its use",
       {},
       true},
      {"an algorithm that Azure does not know", [&] { jwks(jwksOf({ec()})); }, "algorithm", "signed with ES256", {"Azure"}},
      {"Vault wants to be told", [&] { jwks(jwksOf({ec()})); }, "algorithm", "jwt_supported_algs", {}, true},
      {"nothing said of caching", [] {}, "cache", "nothing of how long", {}, true},
      {"never kept", [&] { issuer.jwks.headers.add("Cache-Control", "no-store"); }, "cache", "may not be kept", {}, true},
      {"kept for ever", [&] { issuer.jwks.headers.add("Cache-Control", "max-age=604800"); }, "cache", "more than a day", {}, true},
      {"a private authority", [] {}, "tls", "no public authority", {"GCP", "Azure"}},
      {"on loopback", [] {}, "reach", "cannot be reached from the Internet", {"AWS", "GCP", "Azure"}},
      {"a port", [] {}, "url", "names the port", {"AWS"}}};
  const http::AddressRules rules;
  for (const Case& c : cases) {
    SCOPED_TRACE(c.why);
    issuer.change([&] {
      issuer.document = answerOf(documentOf(issuer));
      issuer.jwks = answerOf(jwksOf({rsa()}));
      c.spoil();
    });
    const IssuerReport report = examineIssuer(rules, issuer.url(), ca);
    const Finding* found = findingOf(report, c.check, c.says);
    ASSERT_NE(found, nullptr) << report.text();
    EXPECT_EQ(found->severity == Finding::Severity::Warning, c.warning);
    EXPECT_EQ(found->refusedBy, c.refusedBy);
  }
}

TEST(IssuerReport, SaysWhatTheUrlAndTheCertificateAreWorth) {
  const http::AddressRules rules;
  EXPECT_NE(findingOf(examineIssuer(rules, "https://127.0.0.1:1?a=b", ""), "url", "a query or a fragment"), nullptr);
  EXPECT_NE(findingOf(examineIssuer(rules, "http://127.0.0.1:1/", ""), "url", "plain http"), nullptr);
  EXPECT_NE(findingOf(examineIssuer(rules, "http://127.0.0.1:1/", ""), "url", "ends with a slash"), nullptr);
  EXPECT_NE(findingOf(examineIssuer(rules, "http://127.0.0.1:1/", ""), "discovery", "cannot connect"), nullptr);
  EXPECT_NE(findingOf(examineIssuer(rules, "issuer.example", ""), "url", "not a URL"), nullptr);
  const SomebodysIssuer issuer;
  EXPECT_NE(findingOf(examineIssuer(rules, issuer.url(), ""), "tls", "was not accepted"), nullptr);
}

TEST(IssuerReport, IsForPeopleAndForPrograms) {
  const IssuerReport report{"https://issuer.example",
                            {{Finding::Severity::Error, "key id", "a key has no kid", {"GCP"}, "give it one"},
                             {Finding::Severity::Warning, "cache", "kept for long"}},
                            {"RS256 2048 bits, kid a"}};
  EXPECT_FALSE(report.good());
  EXPECT_EQ(report.text(),
            "issuer https://issuer.example\n  key: RS256 2048 bits, kid a\nerror (key id): a key has no kid\n  refused by: GCP\n  fix: "
            "give it one\n"
            "warning (cache): kept for long\n");
  EXPECT_EQ(
      json::serialize(report.toJson()),
      R"({"issuer":"https://issuer.example","good":false,"keys":["RS256 2048 bits, kid a"],"findings":[{"severity":"error","check":"key id",)"
      R"("message":"a key has no kid","refusedBy":["GCP"],"fix":"give it one"},{"severity":"warning","check":"cache","message":"kept for long"}]})");
}

}  // namespace
}  // namespace podpass::token
