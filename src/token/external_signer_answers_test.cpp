#include "token/external_signer_answers.h"

#include <gtest/gtest.h>

#include "base/text.h"
#include "jose/test_keys.h"

namespace podpass::token {
namespace {

const crypto::KeyPair& ecPair() {
  static const crypto::KeyPair pair = *crypto::KeyPair::fromPrivatePem(jose::test::kEcPem);
  return pair;
}

KeyRing ring() { return *ringOf({{"ec", ecPair().publicDer(), false}, {"hidden", ecPair().publicDer(), true}}); }
std::string encoded(const std::string& header) { return base64UrlEncode(header); }
std::string signatureOf(const std::string& header, const std::string& claims) {
  return base64UrlEncode(*ecPair().sign(encoded(header) + "." + base64UrlEncode(claims)));
}

TEST(ExternalSignerAnswers, AHeaderSaysTypeAlgorithmAndKeyAndNothingElse) {
  struct Case {
    const char* why;
    std::string header;
    const char* says;
  };
  const Case cases[] = {
      {"another type", R"({"alg":"ES256","kid":"ec","typ":"at+jwt"})", "bad type"},
      {"no type", R"({"alg":"ES256","kid":"ec"})", "bad type"},
      {"no key id", R"({"alg":"ES256","typ":"JWT"})", "key id missing"},
      {"an empty one", R"({"alg":"ES256","kid":"","typ":"JWT"})", "key id missing"},
      {"a long one", R"({"alg":"ES256","kid":")" + std::string(1025, 'k') + R"(","typ":"JWT"})", "key id longer than 1 kb"},
      {"none", R"({"alg":"none","kid":"ec","typ":"JWT"})", "bad signing algorithm \"none\""},
      {"symmetric", R"({"alg":"HS256","kid":"ec","typ":"JWT"})", "bad signing algorithm \"HS256\""},
      {"not Kubernetes'", R"({"alg":"EdDSA","kid":"ec","typ":"JWT"})", "bad signing algorithm \"EdDSA\""},
      {"a key of its own", R"({"alg":"ES256","jwk":"{}","kid":"ec","typ":"JWT"})", "unknown field \"jwk\""},
      {"critical extensions", R"({"alg":"ES256","crit":"x","kid":"ec","typ":"JWT"})", "unknown field \"crit\""},
      {"twice", R"({"alg":"ES256","kid":"ec","kid":"ec","typ":"JWT"})", "occurs twice"},
      {"a number", R"({"alg":"ES256","kid":7,"typ":"JWT"})", "kid is not a string"},
      {"no object", "[]", "not a JSON object"},
      {"nothing", "", "not a JSON object"},
      {"more behind it", R"({"alg":"ES256","kid":"ec","typ":"JWT"}x)", "not a JSON object"},
      {"huge", std::string(1u << 20, ' '), "larger than 4 KiB"}};
  for (const Case& c : cases) {
    const Result<std::string> kid = keyIdOfHeader(encoded(c.header));
    ASSERT_FALSE(kid) << c.why;
    EXPECT_EQ(kid.error().reason, Reason::Unavailable) << c.why;
    EXPECT_TRUE(kid.error().sentence.starts_with("while validating header: ")) << kid.error().sentence;
    EXPECT_NE(kid.error().sentence.find(c.says), std::string::npos) << c.why << ": " << kid.error().sentence;
  }
  EXPECT_NE(keyIdOfHeader("e30=").error().sentence.find("while unwrapping header"), std::string::npos) << "padding";
  EXPECT_EQ(*keyIdOfHeader(encoded(R"({"typ":"JWT","kid":"ec","alg":"RS256"})")), "ec") << "in any order";
  EXPECT_TRUE(keyIdOfHeader(encoded(R"({"alg":"ES256","kid":")" + std::string(1024, 'k') + R"(","typ":"JWT"})")));
}

TEST(ExternalSignerAnswers, ATokenIsPutTogetherOnlyWhenItsSignatureIsTheKeys) {
  const std::string header = R"({"alg":"ES256","kid":"ec","typ":"JWT"})", claims = R"({"sub":"a"})";
  const Result<Secret> token = assembleToken(ring(), encoded(header), base64UrlEncode(claims), signatureOf(header, claims));
  ASSERT_TRUE(token) << token.error().sentence;
  EXPECT_TRUE(jose::verifies(*ring().find("ec"), *jose::parseCompactJws(token->reveal())));
  struct Case {
    const char* why;
    std::string header, claims, signature;
    const char* says;
  };
  const std::string hidden = R"({"alg":"ES256","kid":"hidden","typ":"JWT"})", unknown = R"({"alg":"ES256","kid":"x","typ":"JWT"})",
                    confused = R"({"alg":"RS256","kid":"ec","typ":"JWT"})";
  for (const Case& c :
       {Case{"an excluded key", hidden, claims, signatureOf(hidden, claims), "(kid: hidden) is excluded from OIDC discovery docs"},
        Case{"a key that it does not offer", unknown, claims, signatureOf(unknown, claims), "\"x\" is not among those"},
        Case{"no signature", header, claims, "", "empty signature returned"},
        Case{"other claims", header, R"({"sub":"b"})", signatureOf(header, claims), "not one of the key \"ec\""},
        Case{"another algorithm than the key's", confused, claims, signatureOf(confused, claims), "not one of the key \"ec\""},
        Case{"a dot in the signature", header, claims, signatureOf(header, claims) + ".x", "no token"},
        Case{"a signature in another alphabet", header, claims, "+/+/", "no token"}}) {
    const Result<Secret> bad = assembleToken(ring(), encoded(c.header), base64UrlEncode(c.claims), c.signature);
    ASSERT_FALSE(bad) << c.why;
    EXPECT_NE(bad.error().sentence.find(c.says), std::string::npos) << c.why << ": " << bad.error().sentence;
  }
}

TEST(ExternalSignerAnswers, KeysAreTakenAllOrNone) {
  const std::string der = ecPair().publicDer();
  struct Case {
    const char* why;
    std::vector<OfferedKey> keys;
    const char* says;
  };
  for (const Case& c :
       {Case{"none", {}, "found no keys"}, Case{"no id", {{"", der}}, "without an id"},
        Case{"a long id", {{std::string(1025, 'k'), der}}, "longer than 1 kb"}, Case{"no key", {{"a", ""}}, "found empty public key"},
        Case{"one of two is no key", {{"a", der}, {"b", "junk"}}, "\"b\" cannot be used"},
        Case{"a private key", {{"a", std::string(ecPair().privatePem().reveal())}}, "cannot be used"},
        Case{"twice", {{"a", der}, {"a", der}}, "twice"},
        Case{"not of Kubernetes'", {{"a", crypto::KeyPair::generate(crypto::KeyType::Ed25519)->publicDer()}}, "Ed25519"},
        Case{"too many", std::vector<OfferedKey>(1001, OfferedKey{"a", der}), "1001 keys"}}) {
    const Result<KeyRing> bad = ringOf(c.keys);
    ASSERT_FALSE(bad) << c.why;
    EXPECT_NE(bad.error().sentence.find(c.says), std::string::npos) << c.why << ": " << bad.error().sentence;
  }
  const std::string published = jwks(ring());
  EXPECT_NE(published.find("\"kid\":\"ec\""), std::string::npos);
  EXPECT_EQ(published.find("hidden"), std::string::npos) << "it verifies, and is not published";
  EXPECT_NE(ring().find("hidden"), nullptr);
  EXPECT_EQ(
      openidConfiguration(
          "i", "u", *ringOf({{"h", ecPair().publicDer(), true}, {"r", crypto::KeyPair::generate(crypto::KeyType::Rsa2048)->publicDer()}}))
          .find("ES256"),
      std::string::npos);
}

TEST(ExternalSignerAnswers, LivesAndHintsHaveBorders) {
  EXPECT_EQ(checkRefreshHint(0).error().sentence, "found invalid refresh hint (0s)");
  EXPECT_EQ(checkRefreshHint(-5).error().sentence, "found invalid refresh hint (-5s)");
  EXPECT_EQ(checkRefreshHint(1)->count(), 1);
  EXPECT_EQ(checkRefreshHint(std::numeric_limits<std::int64_t>::max())->count(), 86'400) << "no overflow, and asked again in a day";
  EXPECT_EQ(checkMaxTokenLife(599).error().sentence,
            "max token life supported by external-jwt-signer (599s) is less than acceptable (min 600s)");
  EXPECT_EQ(checkMaxTokenLife(600)->count(), 600);
  EXPECT_EQ(checkMaxTokenLife(std::numeric_limits<std::int64_t>::max())->count(), std::int64_t{1} << 32);
}

}  // namespace
}  // namespace podpass::token
