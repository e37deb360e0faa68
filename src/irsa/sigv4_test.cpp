#include "irsa/sigv4.h"

#include <gtest/gtest.h>

#include "base/text.h"

namespace podpass::irsa {
namespace {

using namespace std::chrono_literals;

constexpr const char* kSecret = "podpass+example/secret0123456789abcdefgh";
constexpr const char* kSignature = "70c793969a160634f00c891cb5c6dc9161fc1d86ac31cf828a663a8de211ada1";
const WallTime kNow = *parseRfc3339("2026-03-01T12:00:00Z");

std::string authorization(std::string_view scope = "20260301/eu-west-1/sts/aws4_request",
                          std::string_view headers = "content-type;host;x-amz-date;x-amz-security-token") {
  return "AWS4-HMAC-SHA256 Credential=ASIAEXAMPLEPODPASS01/" + std::string(scope) + ", SignedHeaders=" + std::string(headers) +
         ", Signature=" + kSignature;
}

// The request that botocore signed with made-up keys.
http::Request request(std::string header = authorization()) {
  http::Request request;
  request.method = "POST";
  request.path = request.target = "/";
  request.body = "Action=GetCallerIdentity&Version=2011-06-15";
  request.headers.add("Content-Type", "application/x-www-form-urlencoded; charset=utf-8");
  request.headers.add("Host", "127.0.0.1:8443");
  request.headers.add("X-Amz-Date", "20260301T120000Z");
  request.headers.add("X-Amz-Security-Token", "PP1.exampleSessionToken==");
  request.headers.add("Authorization", std::move(header));
  return request;
}

std::string judged(const http::Request& request, WallTime now = kNow) {
  const Outcome<Signature> signature = readSignature(request);
  if (!signature) return signature.refusal().code + ": " + signature.refusal().message;
  if (const auto time = checkTime(*signature, now); !time) return time.refusal().code + ": " + time.refusal().message;
  const auto checked = checkSignature(*signature, request, Secret(kSecret));
  return checked ? "good" : checked.refusal().code + ": " + checked.refusal().message;
}

TEST(Sigv4, AgreesWithBotocore) {
  const http::Request sent = request();
  const Outcome<Signature> signature = readSignature(sent);
  ASSERT_TRUE(signature) << signature.refusal().message;
  EXPECT_EQ(signature->accessKeyId, "ASIAEXAMPLEPODPASS01");
  EXPECT_EQ(signature->region, "eu-west-1");
  EXPECT_EQ(signature->sessionToken.reveal(), "PP1.exampleSessionToken==");
  EXPECT_EQ(hexLower(sha256(canonicalRequest(*signature, sent))), "22704a00c458953c918b2b7107b48b8a18599e2e2af2f5d6731507faf35facca");
  EXPECT_EQ(judged(sent), "good");
}

TEST(Sigv4, RefusesWhatWasChangedOnTheWay) {
  const std::string mismatch = "SignatureDoesNotMatch: The request signature we calculated does not match";
  http::Request body = request(), method = request(), path = request(), query = request(), hash = request(), extra = request();
  body.body += "&x=1";
  method.method = "GET";
  path.target = path.path = "/base";
  query.query = "a=b";
  hash.headers.add("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD");
  extra.headers.add("X-Amz-Target", "other");
  for (const http::Request& each : {body, method, path, query}) EXPECT_TRUE(judged(each).starts_with(mismatch)) << judged(each);
  EXPECT_EQ(judged(hash), "SignatureDoesNotMatch: 'x-amz-content-sha256' must be a 'SignedHeader' in the AWS Request.");
  EXPECT_EQ(judged(extra), "SignatureDoesNotMatch: 'x-amz-target' must be a 'SignedHeader' in the AWS Request.");
}

TEST(Sigv4, RefusesHeadersWithAwsSentences) {
  struct Case {
    const char* why;
    std::string header;
    const char* answer;
  };
  const Case cases[] = {
      {"none", "", "MissingAuthenticationToken: Request is missing Authentication Token"},
      {"a bearer token", "Bearer x", "IncompleteSignature: Authorization header requires existence of the algorithm AWS4-HMAC-SHA256."},
      {"SigV4a", "AWS4-ECDSA-P256-SHA256 Credential=a",
       "IncompleteSignature: Authorization header requires existence of the algorithm AWS4-HMAC-SHA256."},
      {"a word", "AWS4-HMAC-SHA256 word",
       "IncompleteSignature: 'word' not a valid key=value pair (missing equal-sign) in Authorization header."},
      {"only the credential", "AWS4-HMAC-SHA256 Credential=a/b/c/d/e",
       "IncompleteSignature: Authorization header requires 'Signature' parameter. Authorization header requires 'SignedHeaders' "
       "parameter."},
      {"a short scope", authorization("20260301/sts"),
       "IncompleteSignature: Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term"},
      {"another service", authorization("20260301/eu-west-1/s3/aws4_request"),
       "SignatureDoesNotMatch: Credential should be scoped to correct service: 'sts'. "},
      {"no region", authorization("20260301/EU WEST/sts/aws4_request"),
       "SignatureDoesNotMatch: Credential should be scoped to a valid region, not 'EU WEST'. "},
      {"another day", authorization("20260302/eu-west-1/sts/aws4_request"),
       "SignatureDoesNotMatch: Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '20260302' != "
       "'20260301', from '20260301T120000Z'."},
      {"the host is not signed", authorization("20260301/eu-west-1/sts/aws4_request", "x-amz-date;x-amz-security-token"),
       "SignatureDoesNotMatch: 'Host' must be a 'SignedHeader' in the AWS Request."},
      {"the token is not signed", authorization("20260301/eu-west-1/sts/aws4_request", "host;x-amz-date"),
       "SignatureDoesNotMatch: 'x-amz-security-token' must be a 'SignedHeader' in the AWS Request."},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.why);
    EXPECT_EQ(judged(request(c.header)), c.answer);
  }
}

TEST(Sigv4, LivesFifteenMinutesBothWays) {
  EXPECT_EQ(judged(request(), kNow + 15min), "good");
  EXPECT_EQ(judged(request(), kNow + 15min + 1s),
            "SignatureDoesNotMatch: Signature expired: 20260301T120000Z is now earlier than 20260301T120001Z (20260301T121501Z - 15 min.)");
  EXPECT_EQ(judged(request(), kNow - 15min), "good");
  EXPECT_EQ(judged(request(), kNow - 15min - 1s),
            "SignatureDoesNotMatch: Signature not yet current: 20260301T120000Z is still later than 20260301T115959Z (20260301T114459Z + "
            "15 min.)");
}

TEST(Sigv4, TakesQueriesSignedForAWhile) {
  http::Request request;
  request.method = "GET";
  request.headers.add("Host", "sts.example");
  request.query =
      "Action=GetCallerIdentity&Version=2011-06-15&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIA%2F20260301%2Fus-east-1%2Fsts%"
      "2Faws4_request&X-Amz-Date=20260301T120000Z&X-Amz-Expires=60&X-Amz-SignedHeaders=host&X-Amz-Security-Token=a%2Bb%3D&X-Amz-Signature="
      "0";
  request.target = "/?" + request.query;
  const Outcome<Signature> signature = readSignature(request);
  ASSERT_TRUE(signature) << signature.refusal().message;
  EXPECT_EQ(signature->sessionToken.reveal(), "a+b=");
  request.query.back() = '1';
  const std::string good = signatureOf(*signature, canonicalRequest(*signature, request), Secret(kSecret));
  request.query.replace(request.query.size() - 1, 1, good);
  EXPECT_EQ(judged(request), "good");
  EXPECT_EQ(judged(request, kNow + 60s), "good");
  EXPECT_TRUE(judged(request, kNow + 61s).starts_with("SignatureDoesNotMatch: Signature expired"));
  request.query += "&more=1";
  EXPECT_TRUE(judged(request).starts_with("SignatureDoesNotMatch"));
  const std::size_t life = request.query.find("Expires=60");
  request.query.replace(life, 10, "Expires=604801");
  EXPECT_EQ(judged(request), "IncompleteSignature: X-Amz-Expires must be a number between 1 and 604800.");
}

}  // namespace
}  // namespace podpass::irsa
