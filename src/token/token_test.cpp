#include <gtest/gtest.h>

#include <future>

#include "base/text.h"
#include "jose/test_keys.h"
#include "token/inspect.h"
#include "token/issuer.h"
#include "token/key_ring.h"
#include "token/verifier.h"

namespace podpass::token {
namespace {

constexpr const char* kIssuer = "https://issuer.example";
constexpr const char* kAudience = "https://kubernetes.default.svc";
constexpr const char* kSaUid = "11111111-2222-4333-8444-555555555555";
constexpr std::int64_t kIssued = 1'700'000'000;

WallTime at(std::int64_t seconds) { return WallTime(std::chrono::seconds(seconds)); }
std::shared_ptr<const jose::Key> keyOf(std::string_view pem) {
  return std::make_shared<const jose::Key>(*jose::makeKey(*crypto::KeyPair::fromPrivatePem(pem)));
}
std::shared_ptr<const KeyRing> testRing() {
  return std::make_shared<const KeyRing>(std::vector{keyOf(jose::test::kRsaPem), keyOf(jose::test::kEcPem)});
}

BoundClaims boundClaims() {
  return {.ns = "default",
          .serviceAccount = {"default", kSaUid},
          .pod = {"web-0", "22222222-3333-4444-8555-666666666666"},
          .node = {"node-1", "33333333-2222-4111-8000-999999999999"},
          .audiences = {kAudience},
          .issuedAt = kIssued,
          .expires = 1'731'536'000,
          .warnAfter = 1'700'003'607,
          .jti = "99999999-8888-4777-8666-555555555555"};
}

// A verifier over a cluster that is a map of objects.
struct Cluster {
  FakeClock clock{at(kIssued)};
  Snapshot<KeyRing> ring{testRing()};
  std::map<std::string, json::object> objects;
  bool reachable = true;
  Verifier verifier{{kIssuer},
                    {kAudience},
                    ring,
                    [this](std::string_view resource, const std::string& ns, const std::string& name) { return find(resource, ns, name); },
                    clock};

  Cluster() {
    put("serviceaccounts/default/default", kSaUid);
    put("pods/default/web-0", "22222222-3333-4444-8555-666666666666");
  }
  void put(const std::string& key, std::string_view uid) { objects[key] = {{"metadata", {{"uid", uid}}}}; }
  Result<DocumentPtr> find(std::string_view resource, const std::string& ns, const std::string& name) const {
    if (!reachable) return Error{Reason::Unavailable, "the store does not answer"};
    const auto found = objects.find(std::string(resource) + "/" + ns + "/" + name);
    if (found == objects.end()) return Error{Reason::NotFound, "not found"};
    return std::make_shared<const Document>(Document{found->second, "", 1});
  }
  std::string sign(const json::object& payload) const { return *jose::signCompact(ring.load()->signer(), json::serialize(payload)); }
  std::string refusal(std::string_view token, std::vector<std::string> audiences = {}) const {
    const Result<Identity> identity = verifier.verify(token, audiences);
    return identity ? "accepted" : identity.error().sentence;
  }
};

std::string boundToken() { return std::string(Issuer(kIssuer, Snapshot<KeyRing>(testRing())).issue(boundClaims())->reveal()); }
json::object payload() { return json::parse(jose::test::kBoundPayload).as_object(); }

TEST(Issuer, SignsTheBytesThatKubernetesSigns) {
  const Snapshot<KeyRing> ring(testRing());
  const Issuer issuer(kIssuer, ring);
  const Result<Secret> bound = issuer.issue(boundClaims());
  ASSERT_TRUE(bound);
  EXPECT_TRUE(bound->reveal().ends_with(base64UrlEncode(jose::test::kBoundPayload) + "." + std::string(jose::test::kBoundRs256)));
  const Result<Secret> legacy =
      issuer.issueLegacy({.ns = "default", .secretName = "default-token-abcde", .serviceAccount = {"default", kSaUid}});
  ASSERT_TRUE(legacy);
  EXPECT_TRUE(legacy->reveal().ends_with(base64UrlEncode(jose::test::kLegacyPayload) + "." + std::string(jose::test::kLegacyRs256)));
}

TEST(Issuer, EscapesAudiencesAsGoDoes) {
  const Snapshot<KeyRing> ring(testRing());
  BoundClaims claims = boundClaims();
  claims.audiences = {"a<b>&\"c\"\xe2\x80\xa8\xe2\x82\xac"};
  const Result<Secret> issued = Issuer(kIssuer, ring).issue(claims);
  ASSERT_TRUE(issued);
  const std::string token(issued->reveal());
  const std::string text = *base64UrlDecode(token.substr(token.find('.') + 1, token.rfind('.') - token.find('.') - 1));
  EXPECT_TRUE(text.starts_with("{\"aud\":[\"a\\u003cb\\u003e\\u0026\\\"c\\\"\\u2028\xe2\x82\xac\"],")) << text;
}

TEST(KeyRing, HasASignerForEachAudience) {
  const auto made = [](crypto::KeyType type) {
    return std::make_shared<const jose::Key>(*jose::makeKey(*crypto::KeyPair::generate(type)));
  };
  const auto ec = made(crypto::KeyType::P256), rsa = keyOf(jose::test::kRsaPem), ed = made(crypto::KeyType::Ed25519);
  const Snapshot<KeyRing> ring(
      std::make_shared<const KeyRing>(std::vector{ec, rsa, ed}, std::map<std::string, KeyPtr>{{"sts.amazonaws.com", rsa}, {"edge", ed}}));
  const Issuer issuer(kIssuer, ring);
  struct Case {
    std::vector<std::string> audiences;
    const char* alg;
  };
  for (const Case& c : {Case{{kAudience}, "ES256"}, Case{{"sts.amazonaws.com"}, "RS256"},
                        Case{{"other", "edge", "sts.amazonaws.com"}, "EdDSA"}, Case{{}, "ES256"}}) {
    BoundClaims claims = boundClaims();
    claims.audiences = c.audiences;
    const Result<jose::UnverifiedJws> jws = jose::parseCompactJws(issuer.issue(claims)->reveal());
    ASSERT_TRUE(jws);
    EXPECT_EQ(jws->alg, c.alg);
    EXPECT_TRUE(jose::verifies(*ring.load()->find(jws->kid), *jws));
  }
  EXPECT_EQ(ring.load()->find("../../etc/passwd"), nullptr);
}

TEST(KeyRing, ReadsWhichAlgorithmAnAudienceGets) {
  EXPECT_EQ(parseAudienceAlgorithm("https://a.example/?q=1=ES384")->first, "https://a.example/?q=1");
  EXPECT_EQ(parseAudienceAlgorithm("a=EdDSA")->second, crypto::KeyType::Ed25519);
  for (const char* bad : {"", "a", "=RS256", "a=", "a=RS512", "a=none"}) EXPECT_FALSE(parseAudienceAlgorithm(bad)) << bad;
}

TEST(KeyRing, IsPublishedInKubernetesForm) {
  const auto ring = testRing();
  EXPECT_EQ(jwks(*ring), jose::test::kJwks);
  EXPECT_EQ(
      openidConfiguration(kIssuer, "https://issuer.example/openid/v1/jwks", *ring),
      R"({"issuer":"https://issuer.example","jwks_uri":"https://issuer.example/openid/v1/jwks","response_types_supported":["id_token"],)"
      R"("subject_types_supported":["public"],"id_token_signing_alg_values_supported":["ES256","RS256"]})");
}

TEST(Verifier, SaysWhoABoundTokenIs) {
  Cluster cluster;
  const Result<Identity> who = cluster.verifier.verify(boundToken(), {});
  ASSERT_TRUE(who) << who.error().sentence;
  EXPECT_EQ(who->username, "system:serviceaccount:default:default");
  EXPECT_EQ(who->uid, kSaUid);
  EXPECT_EQ(who->groups, (std::vector<std::string>{"system:serviceaccounts", "system:serviceaccounts:default"}));
  EXPECT_EQ(who->extra.at("authentication.kubernetes.io/pod-name").front(), "web-0");
  EXPECT_EQ(who->extra.at("authentication.kubernetes.io/node-name").front(), "node-1");
  EXPECT_EQ(who->extra.at("authentication.kubernetes.io/credential-id").front(), "JTI=99999999-8888-4777-8666-555555555555");
  EXPECT_EQ(who->audiences, std::vector<std::string>{kAudience});
  EXPECT_FALSE(who->stale);
}

TEST(Verifier, AcceptsUntilTheLastSecondAndNotTheNext) {
  const std::string token = boundToken();
  struct Case {
    std::int64_t now;
    const char* answer;
  };
  for (const Case& c : {Case{kIssued - 61, "service account token is not valid yet"}, Case{kIssued - 60, "accepted"},
                        Case{1'731'536'060, "accepted"}, Case{1'731'536'061, "service account token has expired"}}) {
    Cluster cluster;
    cluster.clock.stepWall(std::chrono::seconds(c.now - kIssued));
    EXPECT_EQ(cluster.refusal(token), c.answer) << c.now;
  }
  Cluster cluster;
  cluster.clock.stepWall(std::chrono::seconds(3607));
  EXPECT_FALSE(cluster.verifier.verify(token, {})->stale);
  cluster.clock.stepWall(std::chrono::seconds(1));
  EXPECT_TRUE(cluster.verifier.verify(token, {})->stale);
}

TEST(Verifier, NamesTheCheckThatASignedButOddTokenFails) {
  struct Case {
    const char* why;
    std::function<void(json::object&)> spoil;
    const char* answer;
  };
  const Case cases[] = {
      {"aud as a bare string", [](json::object& p) { p["aud"] = kAudience; }, "accepted"},
      {"aud missing", [](json::object& p) { p.erase("aud"); }, "accepted"},
      {"aud empty", [](json::object& p) { p["aud"] = json::array(); }, "accepted"},
      {"aud for another",
       [](json::object& p) {
         p["aud"] = {"other", "b"};
       },
       R"(token audiences ["other" "b"] is invalid for the target audiences ["https://kubernetes.default.svc"])"},
      {"aud a number", [](json::object& p) { p["aud"] = 1; }, "the claim aud is neither a string nor a list"},
      {"aud with a number", [](json::object& p) { p["aud"] = json::array{1}; }, "the claim aud holds something that is not a string"},
      {"exp with a fraction", [](json::object& p) { p["exp"] = 1731536000.9; }, "accepted"},
      {"exp as text", [](json::object& p) { p["exp"] = "1731536000"; }, "the claim exp is not a NumericDate"},
      {"exp beyond 2^53", [](json::object& p) { p["exp"] = std::int64_t{1} << 53; }, "the claim exp is not a NumericDate"},
      {"exp 1e30", [](json::object& p) { p["exp"] = 1e30; }, "the claim exp is not a NumericDate"},
      {"exp negative", [](json::object& p) { p["exp"] = -1; }, "service account token has expired"},
      {"exp absent", [](json::object& p) { p.erase("exp"); }, "service account token has no expiry"},
      {"iat ahead", [](json::object& p) { p["iat"] = kIssued + 61; }, "service account token is issued in the future"},
      {"ISS for iss",
       [](json::object& p) {
         p["ISS"] = p["iss"];
         p.erase("iss");
       },
       "invalid bearer token"},
      {"another issuer", [](json::object& p) { p["iss"] = "https://other.example"; }, "invalid bearer token"},
      {"bound claims under the legacy issuer", [](json::object& p) { p["iss"] = "kubernetes/serviceaccount"; },
       "namespace claim is missing"},
      {"sub of another account", [](json::object& p) { p["sub"] = "system:serviceaccount:kube-system:admin"; }, "sub claim is invalid"},
      {"a pod that is no object", [](json::object& p) { p["kubernetes.io"].as_object()["pod"] = "web-0"; },
       "the pod claim is not an object"}};
  for (const Case& c : cases) {
    Cluster cluster;
    json::object claims = payload();
    c.spoil(claims);
    EXPECT_EQ(cluster.refusal(cluster.sign(claims)), c.answer) << c.why;
  }
}

TEST(Verifier, RefusesForgedTokens) {
  Cluster cluster;
  const std::string good = boundToken(), body = base64UrlEncode(jose::test::kBoundPayload), signature(jose::test::kBoundRs256);
  const std::string ecKid = cluster.ring.load()->keys()[1]->kid;
  const auto forged = [&](const std::string& header) { return base64UrlEncode(header) + "." + body + "." + signature; };
  EXPECT_EQ(cluster.refusal(good), "accepted");
  EXPECT_EQ(cluster.refusal(forged(R"({"alg":"none"})")), "invalid bearer token");
  EXPECT_EQ(cluster.refusal(forged(R"({"alg":"RS256","kid":"../../etc/passwd"})")), "invalid signature, no keys found");
  EXPECT_TRUE(cluster.refusal(forged(R"({"alg":"RS256","kid":")" + ecKid + "\"}")).starts_with("invalid signature: "));
  EXPECT_TRUE(cluster.refusal(forged(R"({"alg":"RS384"})")).starts_with("invalid signature: "));
  const auto typed = [&](const std::string& typ) {
    const std::string input = base64UrlEncode(R"({"alg":"RS256","typ":")" + typ + "\"}") + "." + body;
    return input + "." + base64UrlEncode(*cluster.ring.load()->signer().key.sign(input));
  };
  EXPECT_EQ(cluster.refusal(typed("JWT")), "accepted") << "as external signers write it";
  EXPECT_EQ(cluster.refusal(typed("at+jwt")), "invalid bearer token") << "what another protocol signed is no service account token";
  EXPECT_EQ(cluster.refusal(std::string(17u << 10, 'a')), "invalid bearer token");
  json::object keyless = payload();
  const jose::Key anonymous{"", "RS256", cluster.ring.load()->signer().key};
  EXPECT_EQ(cluster.refusal(*jose::signCompact(anonymous, json::serialize(keyless))), "accepted") << "an empty kid: every key is tried";
}

TEST(Verifier, EndsATokenWithTheObjectsItIsBoundTo) {
  const std::string token = boundToken();
  struct Case {
    const char* why;
    std::function<void(Cluster&)> change;
    const char* answer;
  };
  const Case cases[] = {
      {"account gone", [](Cluster& c) { c.objects.erase("serviceaccounts/default/default"); }, "serviceaccounts \"default\" not found"},
      {"account recreated", [](Cluster& c) { c.put("serviceaccounts/default/default", "new"); },
       "service account UID (new) does not match claim (11111111-2222-4333-8444-555555555555)"},
      {"pod gone", [](Cluster& c) { c.objects.erase("pods/default/web-0"); }, "service account token has been invalidated"},
      {"pod recreated", [](Cluster& c) { c.put("pods/default/web-0", "new"); },
       "pod UID (new) does not match service account pod ref claim (22222222-3333-4444-8555-666666666666)"},
      {"pod deleted 60 s ago",
       [](Cluster& c) { makeObjectAt(c.objects["pods/default/web-0"], {"metadata"})["deletionTimestamp"] = rfc3339(at(kIssued - 60)); },
       "accepted"},
      {"pod deleted 61 s ago",
       [](Cluster& c) { makeObjectAt(c.objects["pods/default/web-0"], {"metadata"})["deletionTimestamp"] = rfc3339(at(kIssued - 61)); },
       "service account token has been invalidated"}};
  for (const Case& c : cases) {
    Cluster cluster;
    ASSERT_EQ(cluster.refusal(token), "accepted");  // so that the signature is cached: what follows must be noticed all the same
    c.change(cluster);
    EXPECT_EQ(cluster.refusal(token), c.answer) << c.why;
  }
  Cluster cluster;
  cluster.reachable = false;
  EXPECT_EQ(cluster.verifier.verify(token, {}).error().reason, Reason::Unavailable) << "an outage is not a bad token";
}

TEST(Verifier, ForgetsCachedSignaturesWhenTheRingChanges) {
  Cluster cluster;
  const std::string token = boundToken();
  ASSERT_EQ(cluster.refusal(token), "accepted");
  cluster.ring.store(std::make_shared<const KeyRing>(std::vector{keyOf(jose::test::kEcPem)}));
  EXPECT_EQ(cluster.refusal(token), "invalid signature, no keys found");
}

TEST(Verifier, KnowsATokenForTenSecondsButJudgesItEachTime) {
  Cluster cluster;
  const std::string token = boundToken();
  const std::vector<std::string> other{"other"};
  EXPECT_FALSE(cluster.verifier.verifyKnown(token, {})) << "not verified yet";
  ASSERT_EQ(cluster.refusal(token), "accepted");
  ASSERT_TRUE(cluster.verifier.verifyKnown(token, {}));
  EXPECT_EQ((*cluster.verifier.verifyKnown(token, {}))->username, cluster.verifier.verify(token, {})->username);
  EXPECT_FALSE(*cluster.verifier.verifyKnown(token, other)) << "the audience is judged";
  EXPECT_FALSE(cluster.verifier.verifyKnown(token + "A", {})) << "another token";
  EXPECT_FALSE(cluster.verifier.verifyKnown(std::string(1u << 20, 'a'), {}));
  cluster.objects.erase("serviceaccounts/default/default");
  EXPECT_FALSE(*cluster.verifier.verifyKnown(token, {})) << "the account is gone";
  cluster.clock.advance(std::chrono::seconds(10));
  EXPECT_FALSE(cluster.verifier.verifyKnown(token, {})) << "forgotten";
}

// Both kinds, with the same revocation: of the account, until a second.
TEST(Verifier, RefusesWhatIsRevoked) {
  struct Case {
    const char* why;
    const char* issuedBefore;
    std::int64_t secretMade;
    bool boundRefused, legacyRefused;
  };
  const Case cases[] = {{"both older", "2023-11-14T22:13:20Z", kIssued - 1, true, true},
                        {"a Secret made later", "2023-11-14T22:13:20Z", kIssued + 1, true, false},
                        {"both later", "2023-11-14T22:13:19Z", kIssued, false, false}};
  for (const Case& c : cases) {
    SCOPED_TRACE(c.why);
    Cluster cluster;
    const std::unique_ptr<Store> store = makeMemoryStore();
    Revocations revocations(*store, cluster.clock, [] { return std::nullopt; });
    ASSERT_TRUE(revocations.start());
    const Verifier verifier(
        {kIssuer}, {kAudience}, cluster.ring,
        [&](std::string_view resource, const std::string& ns, const std::string& name) { return cluster.find(resource, ns, name); },
        cluster.clock, &revocations);
    const std::string legacy(
        Issuer(kIssuer, cluster.ring).issueLegacy({.ns = "default", .secretName = "old", .serviceAccount = {"default", kSaUid}})->reveal());
    cluster.objects["secrets/default/old"] = {{"metadata", {{"uid", "s"}, {"creationTimestamp", rfc3339(at(c.secretMade))}}},
                                              {"data", {{"token", base64Encode(legacy)}}}};
    const std::string bound = boundToken();
    EXPECT_TRUE(verifier.verify(bound, {}));
    EXPECT_TRUE(verifier.verify(legacy, {}));
    std::promise<void> done;
    json::object spec{{"serviceAccount", {{"namespace", "default"}, {"name", "default"}}}, {"issuedBefore", c.issuedBefore}};
    store->commit(
        {"/registry/tokenrevocations.identity.podpass.dev/r", json::object{{"metadata", {{"name", "r"}}}, {"spec", std::move(spec)}}, 0},
        [&done](const Result<Entry>&) { done.set_value(); });
    done.get_future().get();
    EXPECT_EQ(!verifier.verify(bound, {}), c.boundRefused);
    EXPECT_EQ(!verifier.verify(legacy, {}), c.legacyRefused);
  }
}

TEST(Verifier, ChecksALegacyTokenAgainstItsSecret) {
  struct Case {
    const char* why;
    std::function<void(Cluster&, json::object& secret)> change;
    std::string answer;
  };
  const Case cases[] = {
      {"as it should be", [](Cluster&, json::object&) {}, "accepted"},
      {"another token in the Secret", [](Cluster&, json::object& s) { makeObjectAt(s, {"data"})["token"] = base64Encode("other"); },
       "Token does not match server's copy"},
      {"the Secret is being deleted",
       [](Cluster&, json::object& s) { makeObjectAt(s, {"metadata"})["deletionTimestamp"] = rfc3339(at(kIssued)); },
       "service account token has been invalidated"},
      {"the account was recreated", [](Cluster& c, json::object&) { c.put("serviceaccounts/default/default", "new"); },
       std::string("ServiceAccount UID (new) does not match claim (") + kSaUid + ")"},
      {"marked invalid",
       [](Cluster&, json::object& s) {
         makeObjectAt(s, {"metadata", "labels"})["kubernetes.io/legacy-token-invalid-since"] = "2024-01-01";
       },
       "the token in secret default/default-token-abcde for service account default/default has been marked invalid. Use tokens from the "
       "TokenRequest "
       "API or manually created secret-based tokens, or remove the 'kubernetes.io/legacy-token-invalid-since' label from the secret to "
       "temporarily "
       "allow use of this token"}};
  for (const Case& c : cases) {
    Cluster cluster;
    const std::string token(Issuer(kIssuer, cluster.ring)
                                .issueLegacy({.ns = "default", .secretName = "default-token-abcde", .serviceAccount = {"default", kSaUid}})
                                ->reveal());
    json::object secret{{"metadata", {{"uid", "s"}}}, {"data", {{"token", base64Encode(token)}}}};
    c.change(cluster, secret);
    cluster.objects["secrets/default/default-token-abcde"] = secret;
    EXPECT_EQ(cluster.refusal(token), c.answer) << c.why;
    if (c.answer != "accepted") continue;
    EXPECT_TRUE(cluster.verifier.verify(token, {})->warnings.empty());
    cluster.objects["serviceaccounts/default/default"]["secrets"] = json::array{json::object{{"name", "default-token-abcde"}}};
    EXPECT_EQ(cluster.verifier.verify(token, {})->warnings.size(), 1u) << "an auto-generated Secret";
    cluster.objects.erase("secrets/default/default-token-abcde");
    EXPECT_EQ(cluster.refusal(token), "service account token has been invalidated");
  }
}

TEST(Inspect, SaysWhatATokenIsWithoutShowingIt) {
  const std::vector<jose::Key> keys = *jose::parseJwks(jose::test::kJwks);
  const std::string token = boundToken(), signature(jose::test::kBoundRs256);
  const Inspection seen = inspect(token, at(kIssued + 60), {.keys = &keys, .audience = kAudience});
  EXPECT_TRUE(seen.verified) << seen.text;
  for (const char* line : {"issuer      https://issuer.example\n", "subject     system:serviceaccount:default:default\n",
                           "bound to    serviceaccount default (uid 11111111-2222-4333-8444-555555555555)\n            pod web-0 (uid ",
                           "expires     2024-11-13T22:13:20Z  (in ", "signature   good\n", "verdict     good\n"})
    EXPECT_NE(seen.text.find(line), std::string::npos) << line << "in\n" << seen.text;
  EXPECT_EQ(textAt(seen.report, {"boundTo", "pod", "name"}), "web-0");
  EXPECT_EQ(textAt(seen.report, {"times", "exp", "time"}), "2024-11-13T22:13:20Z");
  EXPECT_EQ(textAt(seen.report, {"kind"}), "bound");
  for (const std::string& shown : {seen.text, json::serialize(seen.report)}) {
    EXPECT_EQ(shown.find(signature), std::string::npos);
    EXPECT_EQ(shown.find(token), std::string::npos);
  }
  const Inspection unchecked = inspect(token, at(kIssued));
  EXPECT_FALSE(unchecked.verified);
  EXPECT_EQ(unchecked.failedCheck, "");
}

TEST(Inspect, NamesTheFirstCheckThatFails) {
  const Cluster cluster;
  const std::vector<jose::Key> keys = *jose::parseJwks(jose::test::kJwks), strangers = {keys[1]};
  const std::string token = boundToken();
  json::object otherSub = payload(), noExpiry = payload(), hostile = payload();
  otherSub["sub"] = "system:serviceaccount:default:other";
  noExpiry.erase("exp");
  hostile["iss"] = "\x1b[2Jowned";
  std::string altered = token;
  altered[altered.rfind('.') + 5] = altered[altered.rfind('.') + 5] == 'A' ? 'B' : 'A';
  const auto check = [&](std::string_view text, std::int64_t now, const std::vector<jose::Key>& ring, std::string audience = "") {
    return inspect(text, at(now), {.keys = &ring, .audience = std::move(audience)}).failedCheck;
  };
  EXPECT_EQ(check("rubbish", kIssued, keys), "form");
  EXPECT_EQ(check(token, kIssued, strangers), "key id");
  EXPECT_EQ(check(altered, kIssued, keys), "signature");
  EXPECT_EQ(check(cluster.sign(otherSub), kIssued, keys), "claims");
  EXPECT_EQ(check(cluster.sign(noExpiry), kIssued, keys), "claims");
  EXPECT_EQ(check(token, 1'731'536'001, keys), "time");
  EXPECT_EQ(check(token, kIssued - 1, keys), "time");
  EXPECT_EQ(check(token, kIssued, keys, "sts.amazonaws.com"), "audience");
  const auto plain = [&](const std::string& alg, const std::string& end) {
    return base64UrlEncode(R"({"alg":")" + alg + R"("})") + "." + base64UrlEncode(json::serialize(payload())) + end;
  };
  for (const std::string& text : {plain("none", "."), plain("NoNe", "."), plain("none", ".c2ln")}) {
    const Inspection seen = inspect(text, at(kIssued), {.keys = &keys});
    EXPECT_EQ(seen.failedCheck, "algorithm") << "an unsigned token is shown, and refused by name";
    EXPECT_FALSE(seen.verified);
    EXPECT_EQ(textAt(seen.report, {"signature"}), "none");
    EXPECT_EQ(textAt(seen.report, {"subject"}), "system:serviceaccount:default:default");
  }
  EXPECT_EQ(check(plain("none", ""), kIssued, keys), "form") << "two parts";
  EXPECT_EQ(check(plain("nones", ".c2ln"), kIssued, keys), "algorithm") << "no key's";
  EXPECT_EQ(inspect(cluster.sign(hostile), at(kIssued)).text.find('\x1b'), std::string::npos) << "a claim must not drive the terminal";
}

}  // namespace
}  // namespace podpass::token
