#include <gtest/gtest.h>
#include <openssl/bn.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>

#include "base/text.h"
#include "jose/test_keys.h"
#include "token/inspect.h"
#include "token/test_document_tokens.h"
#include "token/verifier.h"

// Tokens that are odd or hostile, each signed as well as its maker could: the rows of spec tokens.md §11.3.
namespace podpass::token {
namespace {

constexpr const char* kIssuer = "https://issuer.example";
constexpr const char* kAudience = "https://kubernetes.default.svc";
constexpr const char* kSaUid = "11111111-2222-4333-8444-555555555555";
constexpr const char* kBadForm = "invalid bearer token";
constexpr const char* kBadSignature = "invalid signature: it was not made by the key that the token names";

KeyPtr keyOf(std::string_view pem) { return std::make_shared<const jose::Key>(*jose::makeKey(*crypto::KeyPair::fromPrivatePem(pem))); }

struct Cluster {
  const KeyPtr rsa = keyOf(jose::test::kRsaPem), ec = keyOf(jose::test::kEcPem);
  FakeClock clock{WallTime(std::chrono::seconds(1'700'000'000))};
  Snapshot<KeyRing> ring{std::make_shared<const KeyRing>(std::vector{rsa, ec})};
  std::map<std::string, json::object> objects;
  Verifier verifier{{kIssuer},
                    {kAudience},
                    ring,
                    [this](std::string_view resource, const std::string& ns, const std::string& name) -> Result<DocumentPtr> {
                      const auto found = objects.find(std::string(resource) + "/" + ns + "/" + name);
                      if (found == objects.end()) return Error{Reason::NotFound, "not found"};
                      return std::make_shared<const Document>(Document{found->second, "", 1});
                    },
                    clock};
  Cluster() {
    objects["serviceaccounts/default/default"] = {{"metadata", {{"uid", kSaUid}}}};
    objects["pods/default/web-0"] = {{"metadata", {{"uid", "22222222-3333-4444-8555-666666666666"}}}};
  }
  void keep(std::string_view token) {  // as the token of its Secret
    objects["secrets/default/default-token-abcde"] = {{"metadata", {{"uid", "s"}}}, {"data", {{"token", base64Encode(token)}}}};
  }
  std::string refusal(std::string_view token) const {
    const Result<Identity> who = verifier.verify(token, {});
    return who ? "accepted" : who.error().sentence;
  }
};

std::string signedAs(const std::string& header, std::string_view payload, const crypto::KeyPair& key) {
  const std::string input = base64UrlEncode(header) + "." + base64UrlEncode(payload);
  return input + "." + base64UrlEncode(*key.sign(input));
}
std::string with(std::string_view payload, const std::string& member, const std::string& replacement) {
  std::string text(payload);
  const std::size_t at = text.find(member);
  EXPECT_NE(at, std::string::npos) << member;
  return text.replace(at, member.size(), replacement);
}
// A real signature by another RSA scheme than RS256.
std::string signedBy(const jose::Key& key, const std::string& alg, const EVP_MD* hash, bool pss) {
  const std::string input =
      base64UrlEncode(R"({"alg":")" + alg + R"(","kid":")" + key.kid + "\"}") + "." + base64UrlEncode(jose::test::kBoundPayload);
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  EVP_PKEY_CTX* how = nullptr;
  std::size_t length = 512;
  std::string signature(length, '\0');
  EXPECT_EQ(EVP_DigestSignInit(context, &how, hash, nullptr, key.key.native()), 1);
  EXPECT_TRUE(!pss || EVP_PKEY_CTX_set_rsa_padding(how, RSA_PKCS1_PSS_PADDING) == 1);
  EXPECT_EQ(EVP_DigestSign(context, reinterpret_cast<unsigned char*>(signature.data()), &length,
                           reinterpret_cast<const unsigned char*>(input.data()), input.size()),
            1);
  EVP_MD_CTX_free(context);
  return input + "." + base64UrlEncode(signature.substr(0, length));
}

TEST(HostileToken, OtherRsaSchemesThanRs256AreRefusedHoweverGood) {
  const Cluster cluster;
  EXPECT_EQ(cluster.refusal(signedBy(*cluster.rsa, "RS256", EVP_sha256(), false)), "accepted");
  EXPECT_EQ(cluster.refusal(signedBy(*cluster.rsa, "RS384", EVP_sha384(), false)), kBadSignature);
  EXPECT_EQ(cluster.refusal(signedBy(*cluster.rsa, "RS512", EVP_sha512(), false)), kBadSignature);
  EXPECT_EQ(cluster.refusal(signedBy(*cluster.rsa, "PS256", EVP_sha256(), true)), kBadSignature);
  EXPECT_EQ(cluster.refusal(signedBy(*cluster.rsa, "RS256", EVP_sha256(), true)), kBadSignature) << "PSS that calls itself RS256";
}

TEST(HostileToken, AKeyThatTheHeaderBringsIsNeverUsed) {
  const Cluster cluster;
  const jose::Key stranger = *jose::makeKey(*crypto::KeyPair::generate(crypto::KeyType::Rsa2048));
  const std::string jwk = json::serialize(jose::toJwk(stranger)), der = base64Encode(stranger.key.publicDer());
  for (const std::string& brought : {R"("jwk":)" + jwk, std::string(R"("jku":"https://127.0.0.1:1/keys")"),
                                     std::string(R"("x5u":"https://127.0.0.1:1/crt")"), R"("x5c":[")" + der + "\"]"}) {
    SCOPED_TRACE(brought.substr(0, 6));
    const std::string named = R"({"alg":"RS256","kid":")" + cluster.rsa->kid + "\"," + brought + "}",
                      own = R"({"alg":"RS256",)" + brought + "}";
    EXPECT_EQ(cluster.refusal(signedAs(named, jose::test::kBoundPayload, stranger.key)), kBadSignature);
    EXPECT_EQ(cluster.refusal(signedAs(own, jose::test::kBoundPayload, stranger.key)), "invalid signature: no key of this issuer made it");
  }
}

TEST(HostileToken, HeadersAndAlphabetsThatAreNotOursAreRefused) {
  const Cluster cluster;
  const crypto::KeyPair& key = cluster.rsa->key;
  for (const char* header : {R"({"alg":"RS256","crit":["x"],"x":1})", R"({"alg":"RS256","crit":["b64"],"b64":false})",
                             R"({"alg":"RS256","crit":[]})", R"({"alg":"RS256","b64":true})", R"({"alg":"RS256","typ":1})",
                             R"({"alg":["RS256"]})", R"({"alg":"RS256","kid":7})", R"({"alg":"RS256","alg":"RS256"})", R"({})", R"([])"})
    EXPECT_EQ(cluster.refusal(signedAs(header, jose::test::kBoundPayload, key)), kBadForm) << header;

  const std::string good = signedAs(R"({"alg":"RS256"})", jose::test::kBoundPayload, key);
  ASSERT_EQ(cluster.refusal(good), "accepted");
  const std::size_t middle = good.find('.') + 9;
  std::string standard = good;
  std::replace(standard.begin(), standard.end(), '-', '+');
  std::replace(standard.begin(), standard.end(), '_', '/');
  ASSERT_NE(standard, good);
  EXPECT_EQ(cluster.refusal(standard), kBadForm) << "the alphabet of plain base64";
  for (const char* inserted : {" ", "\n", "\r\n", "\t", "="}) {
    EXPECT_EQ(cluster.refusal(std::string(good).insert(middle, inserted)), kBadForm);
    EXPECT_EQ(cluster.refusal(good + inserted), kBadForm);
    EXPECT_EQ(cluster.refusal(inserted + good), kBadForm);
  }
}

TEST(HostileToken, ClaimsThatAreNotWhatTheyShouldBeAreRefused) {
  struct Case {
    const char *member, *replacement, *answer;
  };
  const char* const aud = R"("aud":["https://kubernetes.default.svc"])";
  const char* const exp = R"("exp":1731536000)";
  const Case cases[] = {
      {aud, R"("aud":{"0":"https://kubernetes.default.svc"})", "the claim aud is neither a string nor a list"},
      {aud, R"("aud":[["https://kubernetes.default.svc"]])", "the claim aud holds something that is not a string"},
      {aud, R"("aud":[1])", "the claim aud holds something that is not a string"},
      {aud, R"("aud":null)", "the claim aud is neither a string nor a list"},
      {exp, R"("exp":true)", "the claim exp is not a NumericDate"},
      {exp, R"("exp":null)", "the claim exp is not a NumericDate"},
      {exp, R"("exp":NaN)", kBadForm},
      {exp, R"("exp":9223372036854775808)", "the claim exp is not a NumericDate"},
      {exp, R"("exp":9007199254740992)", "the claim exp is not a NumericDate"},
      {exp, R"("exp":0)", "service account token has expired"},
      {exp, R"("exp":-1)", "service account token has expired"},
      {exp, R"("exp":1731536000,"exp":1731536000)", kBadForm},
      {exp, R"("exp":1.731536e9)", "accepted"},
  };
  const Cluster cluster;
  for (const Case& c : cases)
    EXPECT_EQ(cluster.refusal(*jose::signCompact(*cluster.rsa, with(jose::test::kBoundPayload, c.member, c.replacement))), c.answer)
        << c.replacement;
  EXPECT_NE(cluster.refusal(*jose::signCompact(*cluster.rsa, with(jose::test::kBoundPayload, exp, R"("exp":1e400)"))), "accepted");
}

TEST(HostileToken, ATokenWithoutAudienceIsTheApiServersAndIsCounted) {
  const Cluster cluster;
  for (const char* none : {R"("aud":[])", R"("other":1)"}) {
    const std::uint64_t before = cluster.verifier.uses().withoutAudience;
    const Result<Identity> who = cluster.verifier.verify(
        *jose::signCompact(*cluster.rsa, with(jose::test::kBoundPayload, R"("aud":["https://kubernetes.default.svc"])", none)), {});
    ASSERT_TRUE(who) << who.error().sentence;
    EXPECT_EQ(who->audiences, std::vector<std::string>{kAudience});
    EXPECT_EQ(who->annotations.at("authentication.k8s.io/legacy-token"), "system:serviceaccount:default:default");
    EXPECT_EQ(cluster.verifier.uses().withoutAudience, before + 1);
  }
}

TEST(HostileToken, ALegacyTokenIsItsSecretsToTheByteAndHasNoTime) {
  Cluster cluster;
  const std::string good = *jose::signCompact(*cluster.rsa, jose::test::kLegacyPayload);
  cluster.keep(good);
  ASSERT_EQ(cluster.refusal(good), "accepted");
  const std::string other = *jose::signCompact(*cluster.ec, jose::test::kLegacyPayload);
  EXPECT_EQ(cluster.refusal(other), "Token does not match server's copy") << "ours, but not the Secret's";
  for (const std::size_t at : {std::size_t{0}, good.size() / 2, good.size() - 1}) {
    std::string differs = good;
    differs[at] = differs[at] == 'A' ? 'B' : 'A';
    cluster.keep(differs);
    EXPECT_EQ(cluster.refusal(good), "Token does not match server's copy") << "the byte " << at;
  }
  cluster.keep(good + "A");
  EXPECT_EQ(cluster.refusal(good), "Token does not match server's copy");

  const std::string expired = *jose::signCompact(*cluster.rsa, with(jose::test::kLegacyPayload, R"({"iss")", R"({"exp":1,"iss")"));
  cluster.keep(expired);
  EXPECT_EQ(cluster.refusal(expired), "service account token has expired") << "one that carries a time means it";
}

TEST(HostileToken, ALegacyTokenSaysWhichClaimItLacks) {
  const Cluster cluster;
  const std::string prefix = "kubernetes.io/serviceaccount/";
  const std::pair<std::string, const char*> claims[] = {{"sub", "sub claim is missing"},
                                                        {prefix + "namespace", "namespace claim is missing"},
                                                        {prefix + "secret.name", "secretName claim is missing"},
                                                        {prefix + "service-account.name", "serviceAccountName claim is missing"},
                                                        {prefix + "service-account.uid", "serviceAccountUID claim is missing"}};
  for (const auto& [name, text] : claims)
    for (const bool empty : {false, true}) {
      json::object payload = json::parse(jose::test::kLegacyPayload).as_object();
      if (empty)
        payload[name] = "";
      else
        payload.erase(name);
      EXPECT_EQ(cluster.refusal(*jose::signCompact(*cluster.rsa, json::serialize(payload))), text);
    }
}

TEST(HostileToken, TheOtherSignatureOfTheSameNumbersIsAnotherToken) {
  Cluster cluster;
  const auto mirrored = [](std::string_view compact) {  // (r, n − s)
    const std::string signature = *base64UrlDecode(compact.substr(compact.rfind('.') + 1));
    BIGNUM *n = nullptr, *s = BN_bin2bn(reinterpret_cast<const unsigned char*>(signature.data()) + 32, 32, nullptr);
    BN_hex2bn(&n, "FFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551");
    BN_sub(s, n, s);
    std::string other(32, '\0');
    BN_bn2binpad(s, reinterpret_cast<unsigned char*>(other.data()), 32);
    BN_free(n);
    BN_free(s);
    return std::string(compact.substr(0, compact.rfind('.') + 1)) + base64UrlEncode(signature.substr(0, 32) + other);
  };
  const std::string bound = *jose::signCompact(*cluster.ec, jose::test::kBoundPayload);
  EXPECT_EQ(cluster.refusal(bound), "accepted");
  EXPECT_FALSE(cluster.verifier.verifyKnown(mirrored(bound), {})) << "what is known is the token, not what it says";
  EXPECT_EQ(cluster.refusal(mirrored(bound)), "accepted");
  const std::string legacy = *jose::signCompact(*cluster.ec, jose::test::kLegacyPayload);
  cluster.keep(legacy);
  EXPECT_EQ(cluster.refusal(legacy), "accepted");
  EXPECT_EQ(cluster.refusal(mirrored(legacy)), "Token does not match server's copy");
}

TEST(HostileToken, EachBoundObjectEndsItsTokens) {
  struct Case {
    const char *claim, *key;  // of the object
  };
  for (const Case& c : {Case{"secret", "secrets/default/o"}, Case{"node", "nodes//o"}, Case{"pod", "pods/default/o"}}) {
    SCOPED_TRACE(c.claim);
    Cluster cluster;
    json::object payload = json::parse(jose::test::kBoundPayload).as_object();
    json::object& claims = payload["kubernetes.io"].as_object();
    claims.erase("pod");
    claims.erase("node");
    claims[c.claim] = {{"name", "o"}, {"uid", "1"}};
    const std::string token = *jose::signCompact(*cluster.rsa, json::serialize(payload));
    EXPECT_EQ(cluster.refusal(token), "service account token has been invalidated") << "it is not there";
    const auto live = [&](const char* uid, int deletedBefore) {
      json::object metadata{{"uid", uid}};
      if (deletedBefore >= 0) metadata["deletionTimestamp"] = rfc3339(cluster.clock.now() - std::chrono::seconds(deletedBefore));
      cluster.objects[c.key] = {{"metadata", std::move(metadata)}};
      return cluster.refusal(token);
    };
    EXPECT_EQ(live("1", -1), "accepted");
    EXPECT_EQ(live("1", 60), "accepted");
    EXPECT_EQ(live("1", 61), "service account token has been invalidated");
    EXPECT_EQ(live("2", -1), std::string(c.claim) + " UID (2) does not match service account " + c.claim + " ref claim (1)");
  }
  Cluster cluster;
  const std::string token = *jose::signCompact(*cluster.rsa, jose::test::kBoundPayload);
  json::object& account = makeObjectAt(cluster.objects["serviceaccounts/default/default"], {"metadata"});
  account["deletionTimestamp"] = rfc3339(cluster.clock.now() - std::chrono::seconds(60));
  EXPECT_EQ(cluster.refusal(token), "accepted");
  account["deletionTimestamp"] = rfc3339(cluster.clock.now() - std::chrono::seconds(61));
  EXPECT_EQ(cluster.refusal(token), "service account default/default has been deleted");
}

TEST(DocumentTokens, AreReadAndRefusedForTheirKey) {
  const std::vector<jose::Key> keys = *jose::parseJwks(jose::test::kJwks);
  const std::pair<const char*, const char*> tokens[] = {{kDocumentLegacyToken, "legacy"}, {kDocumentBoundToken, "bound"}};
  for (const auto& [token, kind] : tokens) {
    const Inspection seen = inspect(token, WallTime(std::chrono::seconds(1'677'922'083)), {.keys = &keys});
    EXPECT_EQ(textAt(seen.report, {"kind"}), kind);
    EXPECT_EQ(textAt(seen.report, {"subject"}), "system:serviceaccount:default:default");
    EXPECT_EQ(seen.failedCheck, "key id") << seen.reason;
    EXPECT_FALSE(seen.verified);
  }
  const Cluster cluster;
  EXPECT_EQ(cluster.refusal(kDocumentLegacyToken), "invalid signature, no keys found");
  EXPECT_EQ(cluster.refusal(kDocumentBoundToken), "invalid bearer token") << "of another issuer";
}

}  // namespace
}  // namespace podpass::token
