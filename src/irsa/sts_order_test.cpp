#include <gtest/gtest.h>

#include "irsa/test_sts.h"

// Which of several faults is named: the order of checks.
namespace podpass::irsa {
namespace {

using namespace std::chrono_literals;

// ES256 of a kid that nobody publishes; and a signature that is not over this token.
std::string withUnknownKey(const std::string& token) {
  return base64UrlEncode(R"({"alg":"ES256","kid":"unknown"})") + token.substr(token.find('.'));
}

std::string withBadSignature(const std::string& token) {
  const std::size_t place = token.rfind('.') + 10;
  std::string spoilt = token;
  spoilt[place] = spoilt[place] == 'A' ? 'B' : 'A';
  return spoilt;
}

// Each request has all the faults of those below it, too: the first check that fails is the one that answers.
TEST(StsService, JudgesTokensInAwsOrder) {
  test::Sts sts;
  std::string away = "http://127.0.0.1:";  // nobody listens there
  {
    const test::Issuer gone(jose::test::kEcPem);
    away = gone.url();
  }
  sts.api.put(test::Sts::providers(), {{"metadata", json::object{{"name", "away"}, {"uid", "away"}}},
                                       {"spec", json::object{{"url", away}, {"clientIDs", json::array{"sts.amazonaws.com"}}}}});
  const std::int64_t now = std::chrono::duration_cast<std::chrono::seconds>(sts.clock.now().time_since_epoch()).count();
  const json::object away7{{"iss", away}, {"sub", "system:other"}};
  json::object late6 = away7;
  late6["exp"] = now;
  json::object audience5 = late6;
  audience5["aud"] = "other";
  json::object issuer4 = audience5;
  issuer4["iss"] = "https://nobody.example";
  json::object claim3 = issuer4;
  claim3["sub"] = 5;
  const auto broken = [&](const json::object& claims) { return withBadSignature(withUnknownKey(sts.token(claims))); };
  const json::object other{{"sub", "system:other"}};
  const std::string tooLong = "&DurationSeconds=43200", missing = "missing",
                    noKey =
                        "InvalidIdentityToken: Couldn't retrieve verification key from your "
                        "identity provider,  please reference AssumeRoleWithWebIdentity documentation for requirements",
                    denied = "AccessDenied: Not authorized to perform sts:AssumeRoleWithWebIdentity";
  struct Row {
    int row;
    std::string role, token, more, answer;
  };
  const Row rows[] = {
      {1, missing, "x.y.z", "&DurationSeconds=1",
       "ValidationError: 1 validation error detected: Value '1' at 'durationSeconds' failed to satisfy constraint: Member must have value "
       "greater "
       "than or equal to 900"},
      {2, missing, "x.y.z", tooLong,
       "InvalidIdentityToken: The ID Token provided is not a valid JWT. (You may see this error if you sent an Access Token)"},
      {3, missing, broken(claim3), tooLong, "InvalidIdentityToken: Missing a required claim: sub"},
      {4, missing, broken(issuer4), tooLong,
       "InvalidIdentityToken: No OpenIDConnect provider found in your account for https://nobody.example"},
      {5, missing, broken(audience5), tooLong, "InvalidIdentityToken: Incorrect token audience"},
      {6, missing, broken(late6), tooLong,
       "ExpiredTokenException: Token expired: current date/time " + std::to_string(now) + " must be before the expiration date/time " +
           std::to_string(now)},
      {7, missing, broken(away7), tooLong,
       "IDPCommunicationError: Couldn't reach your identity provider to verify the incoming identity token"},
      {8, missing, broken(other), tooLong, noKey},
      {9, missing, withBadSignature(sts.token(other)), tooLong, "InvalidIdentityToken: Signature verification failed"},
      {10, missing, sts.token(other), tooLong, denied},
      {10, "role0", sts.token(other), tooLong, denied},
      {11, "role0", sts.token(), tooLong + "&Policy={",
       "ValidationError: The requested DurationSeconds exceeds the MaxSessionDuration set for this role."},
      {11, "role0", sts.token(), "&Policy={", "MalformedPolicyDocument: This policy contains invalid Json"},
      {12, "role0", sts.token(), "", "good: "},
  };
  for (const Row& each : rows)
    EXPECT_EQ(sts.ask(test::Sts::assume(each.role, each.token, each.more)).sentence(), each.answer) << "row " << each.row;
}

TEST(StsService, NamesWhatATokenLacks) {
  test::Sts sts;
  const std::int64_t now = std::chrono::duration_cast<std::chrono::seconds>(sts.clock.now().time_since_epoch()).count();
  const auto said = [&](const json::object& claims) { return sts.ask(test::Sts::assume("role0", sts.token(claims))).sentence(); };
  for (const char* claim : {"iss", "sub", "aud", "exp", "iat"})
    EXPECT_EQ(said({{claim, nullptr}}), std::string("InvalidIdentityToken: Missing a required claim: ") + claim);
  EXPECT_EQ(said({{"nbf", now + 1}}), "InvalidIdentityToken: Token is not valid yet");
  EXPECT_EQ(said({{"nbf", now}}), "good: ");
  EXPECT_EQ(said({{"iat", now + 1}}), "InvalidIdentityToken: Token is not valid yet");
  EXPECT_EQ(said({{"sub", "short"}}), "InvalidIdentityToken: The provided token is malformed or otherwise invalid");
}

TEST(StsService, JudgesSignedCallsInAwsOrder) {
  test::Sts sts;
  const test::Answer assumed = sts.ask(test::Sts::assume("role0", sts.token(), "&DurationSeconds=900"));
  const std::string body = "Version=2011-06-15&Action=GetCallerIdentity";
  const test::Signer good(assumed);
  test::Signer wrongSecret = good, unknown = good, swapped = good;
  wrongSecret.secretAccessKey.assign(40, 'x');
  unknown.accessKeyId = "ASIAAAAAAAAAAAAAAAAA";
  swapped.sessionToken = sts.ask(test::Sts::assume("role0", sts.token())).element("SessionToken");
  const auto said = [&](const test::Signer& signer, std::chrono::seconds age = 0s) {
    return sts.ask(signer.sign(body, sts.clock.now() - age)).sentence();
  };
  const std::string invalid = "InvalidClientTokenId: The security token included in the request is invalid";
  const std::string mismatch = "SignatureDoesNotMatch: The request signature we calculated does not match the signature you provided.";
  EXPECT_EQ(said(good), "good: ");
  EXPECT_EQ(said(unknown), invalid);
  EXPECT_EQ(said(swapped), invalid);
  EXPECT_EQ(said(unknown, 901s).substr(0, 41), "SignatureDoesNotMatch: Signature expired:") << "the time is judged before the key";
  EXPECT_EQ(said(good, -901s).substr(0, 48), "SignatureDoesNotMatch: Signature not yet current") << "ahead";
  EXPECT_EQ(said(good, 900s), "good: ");
  EXPECT_TRUE(said(wrongSecret).starts_with(mismatch));
  sts.clock.advance(899s);
  EXPECT_EQ(said(good), "good: ");
  sts.clock.advance(1s);
  EXPECT_EQ(said(good), "ExpiredToken: The security token included in the request is expired");
  EXPECT_TRUE(said(wrongSecret).starts_with(mismatch)) << "the signature is judged before the session's end";
  http::Request unsignedRequest = good.sign(body, sts.clock.now());
  unsignedRequest.headers = {};
  EXPECT_EQ(sts.ask(unsignedRequest).sentence(), "MissingAuthenticationToken: Request is missing Authentication Token");
}

TEST(StsService, NamesAnActionThatItDoesNotKnow) {
  test::Sts sts;
  http::Request request;
  request.method = "POST";
  const auto said = [&](const std::string& body) {
    request.body = body;
    return sts.ask(request).sentence();
  };
  EXPECT_EQ(said("Action=AssumeRoot&Version=2011-06-15"), "InvalidAction: Could not find operation AssumeRoot for version 2011-06-15");
  EXPECT_EQ(said("Action=AssumeRole&Version=2010-05-08"), "InvalidAction: Could not find operation AssumeRole for version 2010-05-08");
  EXPECT_EQ(said("Action=AssumeRole"), "InvalidAction: Could not find operation AssumeRole for version NO_VERSION_SPECIFIED");
  std::string half = "a";  // 65 bytes, the 64th begins a character of two
  for (int i = 0; i < 32; ++i) half += "%C3%A4";
  const std::string told = said("Action=" + half + "&Version=2011-06-15");
  EXPECT_EQ(told.find("\xC3 "), std::string::npos) << "half a character";
}

}  // namespace
}  // namespace podpass::irsa
