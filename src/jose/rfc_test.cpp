#include <gtest/gtest.h>

#include "base/text.h"
#include "jose/jws.h"
#include "jose/test_keys.h"

// The examples printed in the RFCs, and the attacks that RFC 8725 lists, each as a test.
namespace podpass::jose {
namespace {

constexpr const char* kPayload = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
constexpr const char* kRfc7517Jwks = R"({"keys":[
  {"kty":"EC","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
   "use":"enc","kid":"1"},
  {"kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
   "e":"AQAB","alg":"RS256","kid":"2011-04-29"}]})";

Key rsaKey() { return *makeKey(*crypto::KeyPair::fromPrivatePem(test::kRsaPem)); }
Key ecKey() { return *makeKey(*crypto::KeyPair::fromPrivatePem(test::kEcPem)); }
Key jwk(std::string_view text) { return *fromJwk(*parseStrictObject(text)); }

// A token with any header, honestly signed.
std::string signedWith(const Key& key, std::string_view header, std::string_view payload = test::kBoundPayload) {
  const std::string input = base64UrlEncode(header) + "." + base64UrlEncode(payload);
  return input + "." + base64UrlEncode(*key.key.sign(input));
}
bool accepted(const Key& key, std::string_view token) {
  const Result<UnverifiedJws> jws = parseCompactJws(token);
  return jws && verifies(key, *jws);
}

TEST(Rfc7515, Es512ExampleVerifies) {  // appendix A.4; its payload is no JSON, so below the parser
  const Key key = jwk(R"({"kty":"EC","crv":"P-521",
    "x":"AekpBQ8ST8a8VcfVOTNl353vSrDCLLJXmPk06wTjxrrjcBpXp5EOnYG_NjFZ6OvLFV1jSfS9tsz4qUxcWceqwQGk",
    "y":"ADSmRA43Z1DSNx_RvcLI87cdL07l6jQyyBXMoxVg_l2Th-x3S1WDhjDly79ajL4Kkd0AZMaZmh9ubmf63e3kyMj2"})");
  EXPECT_TRUE(
      key.key.verify("eyJhbGciOiJFUzUxMiJ9.UGF5bG9hZA",
                     *base64UrlDecode("AdwMgeerwtHoh-l192l60hp9wAHZFVJbLfD_UxMi70cwnZOYaRI1bKPWROc-mZZqwqT2SI-KGDKB34XO0aw_"
                                      "7XdtAG8GaSwFKdCAPZgoXD2YBJZCPEX3xKpRwcdOO8KpEHwJjyqOgzDO7iKvU8vcnwNrmxYbSW9ERBXukOXolLzeO_Jn")));
}

TEST(Rfc7515, HmacAndUnsecuredExamplesAreNeverAccepted) {  // appendices A.1 and A.5, RFC 7519 §3.1 and §6.1
  const std::string hs256 =
      std::string("eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.") + kPayload + ".dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
  ASSERT_TRUE(parseCompactJws(hs256));
  EXPECT_FALSE(accepted(rsaKey(), hs256));
  EXPECT_FALSE(accepted(ecKey(), hs256));
  EXPECT_FALSE(parseCompactJws(std::string("eyJhbGciOiJub25lIn0.") + kPayload + "."));
}

TEST(Rfc7517, KeySetIsReadAndWhatIsNotForSignaturesIsSkipped) {  // appendix A.1
  const Result<std::vector<Key>> keys = parseJwks(kRfc7517Jwks);
  ASSERT_TRUE(keys) << keys.error().sentence;
  ASSERT_EQ(keys->size(), 1u);
  EXPECT_EQ(keys->front().kid, "2011-04-29");
  EXPECT_EQ(keys->front().alg, "RS256");
  EXPECT_FALSE(parseJwks(R"({"keys":[{"kty":"oct","alg":"A128KW","k":"GawgguFyGrWKav7AX4VKUg"}]})")->size()) << "A.3: symmetric";
}

TEST(Rfc7518, SignaturesOfEachAlgorithmAreVerifiedByTheKeyOfThatAlgorithmOnly) {
  std::vector<Key> keys;
  for (const std::string_view name : crypto::keyTypeNames()) {
    const Result<crypto::KeyType> type = crypto::keyTypeNamed(name);
    ASSERT_TRUE(type);
    if (*type == crypto::KeyType::Rsa4096) continue;  // takes seconds to make; nothing but its width differs
    const Result<crypto::KeyPair> pair = crypto::KeyPair::generate(*type);
    ASSERT_TRUE(pair);
    EXPECT_EQ(pair->type(), *type);
    keys.push_back(*makeKey(*pair));
  }
  for (const Key& signer : keys) {
    const std::string token = *signCompact(signer, test::kBoundPayload);
    for (const Key& verifier : keys) EXPECT_EQ(accepted(verifier, token), &signer == &verifier) << signer.alg << " by " << verifier.alg;
    const Key published = *fromJwk(toJwk(signer));
    EXPECT_FALSE(published.key.hasPrivate());
    EXPECT_TRUE(accepted(published, token)) << signer.alg;
  }
  EXPECT_FALSE(crypto::keyTypeNamed("RS512"));
  EXPECT_FALSE(crypto::keyTypeNamed("es256"));
}

TEST(Rfc7638, ThumbprintsAreThoseOfTheExamples) {  // §3.1; RFC 8037 A.3
  EXPECT_EQ(thumbprint(parseJwks(kRfc7517Jwks)->front()), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
  EXPECT_EQ(thumbprint(jwk(R"({"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"})")),
            "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
}

TEST(Rfc8037, Ed25519ExampleVerifies) {  // A.4
  const Key key = jwk(R"({"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"})");
  EXPECT_TRUE(key.key.verify("eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc",
                             *base64UrlDecode("hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg")));
  EXPECT_FALSE(fromJwk(*parseStrictObject(R"({"kty":"OKP","crv":"X25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"})")));
}

TEST(Rfc8725, AnAlgorithmThatTheKeyIsNotForIsRefusedThoughTheSignatureIsGood) {  // §3.1, §3.2
  const Key rsa = rsaKey();
  ASSERT_TRUE(accepted(rsa, signedWith(rsa, R"({"alg":"RS256"})")));
  for (const char* alg : {"RS384", "RS512", "PS256", "HS256", "ES256", "rs256", "RS256 ", "EdDSA", "dir"})
    EXPECT_FALSE(accepted(rsa, signedWith(rsa, "{\"alg\":\"" + std::string(alg) + "\"}"))) << alg;
  for (const char* alg : {"none", "None", "NONE", "nOnE"})
    EXPECT_FALSE(parseCompactJws(signedWith(rsa, "{\"alg\":\"" + std::string(alg) + "\"}"))) << alg;
}

TEST(Rfc8725, AnEncryptedTokenOrACompressedOneIsNoJws) {  // §3.6
  EXPECT_FALSE(parseCompactJws("eyJhbGciOiJkaXIiLCJlbmMiOiJBMTI4R0NNIiwiemlwIjoiREVGIn0..AAAA.AAAA.AAAA"));
}

TEST(Rfc8725, PointsOffTheCurveAndWeakKeysAreRefused) {  // §3.4, §3.5
  struct Case {
    const char* why;
    json::object jwk;
  };
  json::object off = toJwk(ecKey()), infinity = off, otherCurve = off, narrow = off;
  off["y"] = off.at("x");
  infinity["x"] = infinity["y"] = base64UrlEncode(std::string(32, '\0'));
  otherCurve["crv"] = "secp256k1";
  narrow["x"] = base64UrlEncode(std::string(31, '\1'));
  json::object small = toJwk(rsaKey()), even = small, one = small, hugeExponent = small;
  small["n"] = base64UrlEncode(std::string(128, '\xff'));
  even["e"] = base64UrlEncode(std::string("\x01\x00\x00", 3));
  one["e"] = base64UrlEncode("\x01");
  hugeExponent["e"] = base64UrlEncode(std::string(256, '\xff'));
  for (const Case& c :
       {Case{"off the curve", off}, Case{"the origin", infinity}, Case{"another curve", otherCurve}, Case{"a narrow coordinate", narrow},
        Case{"1024 bits", small}, Case{"an even exponent", even}, Case{"exponent 1", one}, Case{"a huge exponent", hugeExponent}})
    EXPECT_FALSE(fromJwk(c.jwk)) << c.why;
}

TEST(Rfc8725, KeysThatATokenBringsAlongAreNeverUsed) {  // §3.10; RFC 7515 §4.1.2 to 4.1.6
  const Key ours = rsaKey();
  const Key strangers = *makeKey(*crypto::KeyPair::generate(crypto::KeyType::P256));
  const std::string embedded = json::serialize(toJwk(strangers));
  for (const std::string& header :
       {"{\"alg\":\"ES256\",\"jwk\":" + embedded + "}", std::string(R"({"alg":"ES256","jku":"https://127.0.0.1:1/jwks"})"),
        std::string(R"({"alg":"ES256","x5u":"https://127.0.0.1:1/x"})"), "{\"alg\":\"ES256\",\"kid\":\"" + ours.kid + "\"}"}) {
    EXPECT_FALSE(accepted(ours, signedWith(strangers, header))) << header;
    EXPECT_FALSE(accepted(ecKey(), signedWith(strangers, header))) << header;
  }
}

TEST(Rfc8725, EcdsaSignaturesInDerAreRefused) {  // RFC 7518 §3.4: r‖s at fixed width, nothing else
  const Key key = ecKey();
  const std::string good = signedWith(key, R"({"alg":"ES256"})");
  const std::string raw = *base64UrlDecode(good.substr(good.rfind('.') + 1));
  const auto number = [](std::string_view bytes) {
    std::string value(bytes[0] & 0x80 ? std::string(1, '\0') + std::string(bytes) : std::string(bytes));
    return std::string("\x02") + static_cast<char>(value.size()) + value;
  };
  const std::string body = number(raw.substr(0, 32)) + number(raw.substr(32));
  const std::string der = std::string("\x30") + static_cast<char>(body.size()) + body;
  const std::string input = good.substr(0, good.rfind('.') + 1);
  EXPECT_TRUE(accepted(key, good));
  for (const std::string& bad :
       {der, raw + std::string(1, '\0'), raw.substr(1), std::string(64, '\0'), raw.substr(0, 32) + std::string(32, '\0')})
    EXPECT_FALSE(accepted(key, input + base64UrlEncode(bad)));
}

TEST(Rfc8725, ATypThatIsNoTextIsRefusedAndOthersAreShown) {  // §3.11
  const Key key = ecKey();
  EXPECT_FALSE(parseCompactJws(signedWith(key, R"({"alg":"ES256","typ":7})")));
  EXPECT_EQ(parseCompactJws(signedWith(key, R"({"alg":"ES256","typ":"at+jwt"})"))->typ, "at+jwt");
}

}  // namespace
}  // namespace podpass::jose
