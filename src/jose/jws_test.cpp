#include "jose/jws.h"

#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "base/text.h"
#include "jose/test_keys.h"

namespace podpass::jose {
namespace {

std::string dotted(std::string_view header, std::string_view payload, std::string_view signature) {
  return base64UrlEncode(header) + "." + base64UrlEncode(payload) + "." + std::string(signature);
}

Key rsaKey() { return *makeKey(*crypto::KeyPair::fromPrivatePem(test::kRsaPem)); }
Key ecKey() { return *makeKey(*crypto::KeyPair::fromPrivatePem(test::kEcPem)); }

TEST(StrictObject, CountsTheMembersAndNothingElse) {
  for (const char* good :
       {R"({})", R"({"a:":":","b\"":"\":\\","c":[{"a":1},{"a":":"}],"\\":{"a":{}}})", "{\"a\"\t:\n1 , \"b\" : \"\\\\\"}"})
    EXPECT_TRUE(parseStrictObject(good)) << good;
  for (const char* twice :
       {R"({"a":{"b":1,"c":2},"a":3})", R"({"a":3,"a":{"b":1}})", R"({"a":[{"b":":","b":1}]})", R"({"":1,"":2})", R"({"a\\":1,"a\\":2})"})
    EXPECT_FALSE(parseStrictObject(twice)) << twice;
}

TEST(Jws, VerifiesTheExamplesOfRfc7515) {
  const std::string payload = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
  const Key ec = *fromJwk(json::parse(R"({"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
      "y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"})")
                              .as_object());  // appendix A.3
  const Result<UnverifiedJws> es256 = parseCompactJws(
      "eyJhbGciOiJFUzI1NiJ9." + payload + ".DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q");
  ASSERT_TRUE(es256);
  EXPECT_TRUE(verifies(ec, *es256));
  EXPECT_EQ(textAt(es256->payload, {"iss"}), "joe");
  EXPECT_TRUE(es256->kid.empty());

  const Key rsa = *fromJwk({{"kty", "RSA"},
                            {"e", "AQAB"},
                            {"n",
                             "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-"
                             "SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-"
                             "UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_"
                             "h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"}});  // appendix A.2
  const Result<UnverifiedJws> rs256 = parseCompactJws(
      "eyJhbGciOiJSUzI1NiJ9." + payload +
      ".cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_"
      "O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_"
      "dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw");
  ASSERT_TRUE(rs256);
  EXPECT_TRUE(verifies(rsa, *rs256));
  EXPECT_FALSE(verifies(rsa, *es256));
}

TEST(Jws, SignsTheBytesThatOtherImplementationsSign) {
  const Key rsa = rsaKey();
  EXPECT_TRUE(signCompact(rsa, test::kLegacyPayload)->ends_with(test::kLegacyRs256));
  EXPECT_TRUE(signCompact(rsa, test::kBoundPayload)->ends_with(test::kBoundRs256));
  EXPECT_TRUE(
      signCompact(rsa, "{}")->starts_with("eyJhbGciOiJSUzI1NiIsImtpZCI6IkJaaUtDWHdYanZERWdaZEpFYTh1WkUyc0xwWVFVaXhZeEVwVWFaMjQ1eEEifQ."));
  const Result<UnverifiedJws> es256 = parseCompactJws(
      dotted(R"({"alg":"ES256","kid":"2CC1XHmgnolodvly99jQFcxpMOpET06VUKsAJZUIk0A"})", test::kBoundPayload, test::kBoundEs256));
  ASSERT_TRUE(es256);
  EXPECT_TRUE(verifies(ecKey(), *es256));
  EXPECT_FALSE(verifies(rsa, *es256));
}

TEST(Jws, RefusesWhatIsNotExactlyACompactJws) {
  const std::string good = *signCompact(rsaKey(), R"({"a":1})");
  ASSERT_TRUE(parseCompactJws(good));
  const std::string head = R"({"alg":"RS256"})";
  const auto deep = [](int depth) {
    return R"({"a":)" + std::string(static_cast<std::size_t>(depth), '[') + std::string(static_cast<std::size_t>(depth), ']') + "}";
  };
  struct Case {
    const char* why;
    std::string token;
  };
  const Case cases[] = {
      {"nothing", ""},
      {"only dots", ".."},
      {"two parts", good.substr(0, good.rfind('.'))},
      {"four parts", good + ".e30"},
      {"JSON serialisation", R"({"payload":"e30","signature":"AA"})"},
      {"no signature", good.substr(0, good.rfind('.') + 1)},
      {"padding", dotted(head, "{}", "AA==")},
      {"padding on the payload", base64UrlEncode(head) + ".e30=.AAAA"},
      {"surplus bits", base64UrlEncode(head) + ".e31.AAAA"},
      {"standard alphabet", dotted(head, "{}", "+/+/")},
      {"white space", good + "\n"},
      {"alg none", dotted(R"({"alg":"none"})", "{}", "")},
      {"alg NoNe with a signature", dotted(R"({"alg":"NoNe"})", "{}", "AAAA")},
      {"no alg", dotted("{}", "{}", "AAAA")},
      {"alg not a string", dotted(R"({"alg":["RS256"]})", "{}", "AAAA")},
      {"kid not a string", dotted(R"({"alg":"RS256","kid":7})", "{}", "AAAA")},
      {"critical extensions", dotted(R"({"alg":"RS256","crit":["x"]})", "{}", "AAAA")},
      {"an unencoded payload", dotted(R"({"alg":"RS256","b64":false})", "{}", "AAAA")},
      {"duplicate members in the header", dotted(R"({"alg":"RS256","alg":"RS256"})", "{}", "AAAA")},
      {"duplicate members in the payload", dotted(head, R"({"iss":"a","iss":"b"})", "AAAA")},
      {"duplicates that differ only in spelling", dotted(head, R"({"iss":"a","\u0069ss":"b"})", "AAAA")},
      {"nested duplicates", dotted(head, R"({"o":{"x":1,"x":2}})", "AAAA")},
      {"text after the payload", dotted(head, "{}{}", "AAAA")},
      {"a byte order mark", dotted(head, "\xef\xbb\xbf{}", "AAAA")},
      {"invalid UTF-8", dotted(head, "{\"a\":\"\xff\"}", "AAAA")},
      {"a payload that is a list", dotted(head, "[]", "AAAA")},
      {"a large header", dotted(R"({"alg":"RS256","kid":")" + std::string(5000, 'k') + "\"}", "{}", "AAAA")},
      {"a large token", dotted(head, "{\"a\":\"" + std::string(70000, 'x') + "\"}", "AAAA")},
      {"deep nesting", dotted(head, deep(40), "AAAA")},
      {"very deep nesting", dotted(head, deep(10000), "AAAA")},
  };
  for (const Case& c : cases) EXPECT_FALSE(parseCompactJws(c.token)) << c.why;
  for (std::size_t length = 0; length < good.size(); length += 7) {  // truncated anywhere: never verified
    const Result<UnverifiedJws> cut = parseCompactJws(good.substr(0, length));
    ASSERT_FALSE(cut && verifies(rsaKey(), *cut)) << length;
  }
}

TEST(Jws, LetsTheKeyDecideTheAlgorithm) {
  const Key rsa = rsaKey();
  for (const std::string& secret : {rsa.key.publicPem(), rsa.key.publicDer()}) {  // the classic confusion: the public key as HMAC secret
    const std::string input = base64UrlEncode(R"({"alg":"HS256","kid":")" + rsa.kid + "\"}") + "." + base64UrlEncode(test::kBoundPayload);
    unsigned char mac[32];
    HMAC(EVP_sha256(), secret.data(), static_cast<int>(secret.size()), reinterpret_cast<const unsigned char*>(input.data()), input.size(),
         mac, nullptr);
    const Result<UnverifiedJws> jws = parseCompactJws(input + "." + base64UrlEncode(std::string_view(reinterpret_cast<char*>(mac), 32)));
    ASSERT_TRUE(jws);
    EXPECT_FALSE(verifies(rsa, *jws));
  }
  UnverifiedJws renamed = *parseCompactJws(*signCompact(rsa, "{}"));
  ASSERT_TRUE(verifies(rsa, renamed));
  renamed.alg = "RS384";
  EXPECT_FALSE(verifies(rsa, renamed));
}

// Signed as issuers elsewhere may: with SHA-384 or SHA-512.
UnverifiedJws signedWith(const std::string& alg, const EVP_MD* hash) {
  const Key key = rsaKey();
  const std::string input = base64UrlEncode("{\"alg\":\"" + alg + "\"}") + "." + base64UrlEncode("{}");
  const std::unique_ptr<EVP_MD_CTX, void (*)(EVP_MD_CTX*)> context(EVP_MD_CTX_new(), EVP_MD_CTX_free);
  std::string signature(256, '\0');
  std::size_t size = signature.size();
  const auto* bytes = reinterpret_cast<const unsigned char*>(input.data());
  if (EVP_DigestSignInit(context.get(), nullptr, hash, nullptr, key.key.native()) != 1 ||
      EVP_DigestSign(context.get(), reinterpret_cast<unsigned char*>(signature.data()), &size, bytes, input.size()) != 1)
    throw std::runtime_error("OpenSSL did not sign");
  return *parseCompactJws(input + "." + base64UrlEncode(signature));
}

TEST(Jws, VerifiesRsaWithLongerHashesWhenTheKeyMayBeUsedSo) {
  const UnverifiedJws rs256 = signedWith("RS256", EVP_sha256()), rs384 = signedWith("RS384", EVP_sha384()),
                      rs512 = signedWith("RS512", EVP_sha512());
  const auto published = [](const char* alg) {
    json::object jwk = toJwk(rsaKey());
    jwk.erase("alg");
    if (*alg != '\0') jwk["alg"] = alg;
    return *fromJwk(jwk);
  };
  const std::vector<const UnverifiedJws*> all{&rs256, &rs384, &rs512};
  struct Case {
    const char* alg;
    std::vector<bool> good;
  };
  for (const Case& c : {Case{"RS256", {true, false, false}}, Case{"RS384", {false, true, false}}, Case{"RS512", {false, false, true}},
                        Case{"", {true, true, true}}})
    for (std::size_t i = 0; i < all.size(); ++i) EXPECT_EQ(verifies(published(c.alg), *all[i]), c.good[i]) << c.alg << " " << all[i]->alg;
  EXPECT_FALSE(verifies(published("RS384"), signedWith("RS384", EVP_sha512()))) << "the hash is not the one that the header names";
  UnverifiedJws spoilt = rs512;
  spoilt.signature[5] = static_cast<char>(spoilt.signature[5] ^ 1);
  EXPECT_FALSE(verifies(published("RS512"), spoilt));
  EXPECT_EQ(textAt(toJwk(published("RS512")), {"alg"}), "RS512");
  EXPECT_FALSE(verifies(rsaKey(), rs384)) << "our own keys are for RS256";
  EXPECT_FALSE(signCompact(published("RS384"), "{}"));
  json::object ec = toJwk(ecKey());
  ec["alg"] = "RS384";
  EXPECT_FALSE(fromJwk(ec));
}

TEST(Jwks, IsWrittenAndReadInKubernetesForm) {
  const json::object set{{"keys", {toJwk(rsaKey()), toJwk(ecKey())}}};
  EXPECT_EQ(json::serialize(set), test::kJwks);
  const Result<std::vector<Key>> keys = parseJwks(test::kJwks);
  ASSERT_TRUE(keys);
  ASSERT_EQ(keys->size(), 2u);
  EXPECT_EQ((*keys)[0].kid, rsaKey().kid);
  EXPECT_EQ((*keys)[1].key.publicDer(), ecKey().key.publicDer());
  EXPECT_FALSE((*keys)[0].key.hasPrivate());
}

TEST(Jwks, SkipsKeysThatAreNotForUsAndRefusesWhatIsNoSet) {
  const Result<std::vector<Key>> keys =
      parseJwks(R"({"keys":[{"kty":"oct","k":"AAAA"},{"kty":"EC","crv":"P-256","x":"AAAA","y":"AAAA"},7,{}]})");
  ASSERT_TRUE(keys);
  EXPECT_TRUE(keys->empty());
  json::object encryption = toJwk(ecKey()), other = toJwk(rsaKey());
  encryption["use"] = "enc";
  other["alg"] = "PS256";
  EXPECT_FALSE(fromJwk(encryption));
  EXPECT_FALSE(fromJwk(other));
  for (const char* bad : {"", "[]", "{}", R"({"keys":{}})", R"({"keys":[],"keys":[]})"}) EXPECT_FALSE(parseJwks(bad)) << bad;
}

}  // namespace
}  // namespace podpass::jose
