#include "irsa/sts_request.h"

#include <gtest/gtest.h>

#include "base/text.h"
#include "irsa/connect_proxy.h"
#include "irsa/sts_answer.h"
#include "irsa/sts_session.h"
#include "irsa/sts_token_refusal.h"

namespace podpass::irsa {
namespace {

http::Request form(std::string body) {
  http::Request request;
  request.method = "POST";
  request.path = request.target = "/";
  request.body = std::move(body);
  return request;
}

std::string problemOf(std::string body, bool webIdentity = true) {
  const Outcome<Parameters> parameters = readParameters(form(std::move(body)));
  if (!parameters) return parameters.refusal().code + ": " + parameters.refusal().message;
  const Outcome<AssumeRequest> request = readAssumeRole(*parameters, webIdentity);
  return request ? "good" : request.refusal().code + ": " + request.refusal().message;
}

constexpr const char* kGood = "RoleArn=arn%3Aaws%3Aiam%3A%3A000000000000%3Arole%2Fr&RoleSessionName=s%40x&WebIdentityToken=a.b.c";

TEST(StsRequest, ReadsAFormInTheBodyOrTheQuery) {
  http::Request query;
  query.method = "GET";
  query.query = "Action=Get+Caller%20Identity&Version=2011-06-15";
  const Outcome<Parameters> parameters = readParameters(query);
  ASSERT_TRUE(parameters);
  EXPECT_EQ(parameters->at("Action"), "Get Caller Identity");
  EXPECT_EQ(problemOf(kGood), "good");
  EXPECT_EQ(problemOf(std::string(kGood) + "&DurationSeconds=900&PolicyArns.member.1.arn=arn:aws:iam::aws:policy/X"), "good");
}

TEST(StsRequest, SaysAllThatIsWrongInAwsWords) {
  struct Case {
    const char* why;
    std::string body;
    const char* answer;
  };
  const Case cases[] = {
      {"nothing", "",
       "ValidationError: 3 validation errors detected: Value null at 'roleArn' failed to satisfy constraint: Member must not be null; "
       "Value null at "
       "'roleSessionName' failed to satisfy constraint: Member must not be null; Value null at 'webIdentityToken' failed to satisfy "
       "constraint: Member "
       "must not be null"},
      {"a bad session name", "RoleArn=arn:aws:iam::000000000000:role/r&WebIdentityToken=a.b.c&RoleSessionName=a:b+c",
       "ValidationError: 1 validation error detected: Value 'a:b c' at 'roleSessionName' failed to satisfy constraint: Member must satisfy "
       "regular "
       "expression pattern: [\\w+=,.@-]*"},
      {"a role's name instead of its ARN", "RoleArn=reader&RoleSessionName=ss&WebIdentityToken=a.b.c",
       "ValidationError: 1 validation error detected: Value 'reader' at 'roleArn' failed to satisfy constraint: Member must have length "
       "greater than or "
       "equal to 20"},
      {"too short a life", std::string(kGood) + "&DurationSeconds=899",
       "ValidationError: 1 validation error detected: Value '899' at 'durationSeconds' failed to satisfy constraint: Member must have "
       "value greater than "
       "or equal to 900"},
      {"too long a life", std::string(kGood) + "&DurationSeconds=43201",
       "ValidationError: 1 validation error detected: Value '43201' at 'durationSeconds' failed to satisfy constraint: Member must have "
       "value less than or "
       "equal to 43200"},
      {"a token that is not repeated", "RoleArn=arn:aws:iam::000000000000:role/r&RoleSessionName=ss&WebIdentityToken=x",
       "ValidationError: 1 validation error detected: Value at 'webIdentityToken' failed to satisfy constraint: Member must have length "
       "greater than or "
       "equal to 4"},
      {"a parameter twice", std::string(kGood) + "&RoleArn=x", "MalformedQueryString: The query string contains a parameter twice"},
      {"a bad escape", "RoleArn=%zz", "MalformedQueryString: The query string contains a syntax error"},
      {"not UTF-8", "RoleArn=%ff", "MalformedQueryString: The query string contains a syntax error"},
      {"an access token's provider", std::string(kGood) + "&ProviderId=www.amazon.com",
       "ValidationError: ProviderId is for OAuth 2.0 access tokens and must not be given with an OpenID Connect token"},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.why);
    EXPECT_EQ(problemOf(c.body), c.answer);
  }
  std::string many;
  for (int i = 0; i < 600; ++i) many += "a" + std::to_string(i) + "=&";
  EXPECT_EQ(problemOf(many), "MalformedQueryString: The query string has more than 512 parameters");
}

TEST(StsRequest, ReadsTagsUpToTheFirstGap) {
  const Outcome<Parameters> parameters =
      readParameters(form("RoleArn=arn:aws:iam::000000000000:role/"
                          "r&RoleSessionName=ss&Tags.member.1.Key=k&Tags.member.1.Value=v&Tags.member.3.Key=z&TransitiveTagKeys."
                          "member.1=k&ExternalId=e:1"));
  const Outcome<AssumeRequest> request = readAssumeRole(*parameters, false);
  ASSERT_TRUE(request) << request.refusal().message;
  ASSERT_EQ(request->tags.size(), 1u);
  EXPECT_EQ(request->tags[0].value, "v");
  EXPECT_EQ(request->transitiveTagKeys, std::vector<std::string>{"k"});
}

TEST(StsRequest, TakesTagsOfAwsCharactersOnly) {
  const std::string start = "RoleArn=arn:aws:iam::000000000000:role/r&RoleSessionName=ss&Tags.member.1.";
  EXPECT_EQ(problemOf(start + "Key=%C3%84%E4%B8%AD+%D9%A3_.:/%3D%2B-@&Tags.member.1.Value=", false), "good")
      << "letters, blanks, digits of all scripts";
  EXPECT_EQ(problemOf(start + "Key=a%3Cb%3E&Tags.member.1.Value=v;", false),
            "ValidationError: 2 validation errors detected: Value 'a<b>' at 'tags.1.member.key' failed to satisfy constraint: Member must "
            "satisfy "
            "regular expression pattern: [\\p{L}\\p{Z}\\p{N}_.:/=+\\-@]+; Value 'v;' at 'tags.1.member.value' failed to satisfy "
            "constraint: Member "
            "must satisfy regular expression pattern: [\\p{L}\\p{Z}\\p{N}_.:/=+\\-@]*");
  EXPECT_EQ(problemOf(start + "Key=k", false),
            "ValidationError: 1 validation error detected: Value null at 'tags.1.member.value' failed to satisfy constraint: Member must "
            "not be null");
  EXPECT_EQ(problemOf(start + "Key=%E2%82%AC&Tags.member.1.Value=v", false).substr(0, 15), "ValidationError")
      << "a currency sign is no letter";
  std::string umlauts;
  for (int i = 0; i < 128; ++i) umlauts += "%C3%A4";
  EXPECT_EQ(problemOf(start + "Key=" + umlauts + "&Tags.member.1.Value=v", false), "good") << "128 characters, not bytes";
  EXPECT_NE(problemOf(start + "Key=" + umlauts + "x&Tags.member.1.Value=v", false), "good");
}

TEST(StsRequest, TakesSessionPoliciesOfAwsLengthsAndCharacters) {
  const std::string start = "RoleArn=arn:aws:iam::000000000000:role/r&RoleSessionName=ss&Policy=", longer(2049, '{');
  const std::string token = "&WebIdentityToken=a.b.c";
  EXPECT_EQ(problemOf(start + longer.substr(1) + token), "good");
  EXPECT_NE(problemOf(start + longer + token)
                .find("at 'policy' failed to satisfy constraint: Member must have length less than or equal to 2048"),
            std::string::npos);
  EXPECT_EQ(problemOf(start + longer, false), "good") << "of AssumeRole the packed size decides";
  EXPECT_EQ(problemOf(start + "%7B%09%0A%0D%C3%BF", false), "good");
  for (const char* bad : {"%7B%00", "%7B%C4%80", ""}) EXPECT_EQ(problemOf(start + bad, false).substr(0, 15), "ValidationError") << bad;
}

TEST(StsRequest, TakesSixDigitsAsATokenCode) {
  const std::string start = "RoleArn=arn:aws:iam::000000000000:role/r&RoleSessionName=ss&SerialNumber=arn:aws:iam::1:mfa/x&TokenCode=";
  EXPECT_EQ(problemOf(start + "012345", false), "good");
  for (const char* bad : {"01234", "0123456", "01234x", ""})
    EXPECT_EQ(problemOf(start + bad, false).substr(0, 15), "ValidationError") << bad;
}

TEST(StsSession, KnowsARolesArn) {
  EXPECT_FALSE(checkRoleArn("arn:aws:iam::000000000000:role/a/b"));
  EXPECT_FALSE(checkRoleArn("arn:aws-cn:iam::000000000000:role/a"));
  for (const char* bad : {"arn:aws:iam::000000000000:role/", "arn:aws:iam::00000000000:role/a",
                          "arn:aws:iam::000000000000:instance-profile/a", "\"arn:aws:iam::000000000000:role/a\"",
                          "arn:aws:iam::000000000000:role/a b", "arn:aws:sts::000000000000:role/abc", "aaaaaaaaaaaaaaaaaaaaaaaaaa"}) {
    const std::optional<Refusal> refused = checkRoleArn(bad);
    ASSERT_TRUE(refused) << bad;
    EXPECT_EQ(refused->message, "Request ARN is invalid");
  }
}

TEST(StsSession, PacksPoliciesAndTags) {
  AssumeRequest assume;
  EXPECT_EQ(*packedPolicySize(assume), std::nullopt);
  const std::string policy = R"({"Statement":{"Effect":"Allow","Action":"*","Resource":"*"}})";
  assume.policy = policy;
  EXPECT_EQ(*packedPolicySize(assume), std::optional<int>(3));
  assume.policy = policy + std::string(2048 - policy.size(), ' ');
  EXPECT_EQ(*packedPolicySize(assume), std::optional<int>(100));
  assume.policy += ' ';
  EXPECT_EQ(packedPolicySize(assume).refusal().code, "PackedPolicyTooLarge");
  EXPECT_EQ(packedPolicySize(assume).refusal().message, "Packed policy consumes 101% of allotted space, please use smaller policy.");
  assume.policy = "{";
  EXPECT_EQ(packedPolicySize(assume).refusal().message, "This policy contains invalid Json");
  for (const char* bad : {"[]", R"({"Statement":[]})", R"({"Statement":{"Effect":"Foo","Action":1}})"}) {
    assume.policy = bad;
    EXPECT_EQ(packedPolicySize(assume).refusal().code, "MalformedPolicyDocument") << bad;
  }
  assume.policy.clear();
  for (int i = 0; i < 9; ++i) assume.tags.push_back({std::string(1, static_cast<char>('a' + i)), std::string(255, 'v')});
  EXPECT_EQ(packedPolicySize(assume).refusal().message, "Packed size of session tags consumes 113% of allotted space.");
}

TEST(StsSession, LimitsDurations) {
  Role role{.name = "r", .arn = {}, .id = {}, .trust = {}, .maxSession = 7200, .object = {}};
  AssumeRequest assume;
  EXPECT_EQ(*sessionSeconds(assume, role, false), 3600);
  assume.durationSeconds = 7200;
  EXPECT_EQ(*sessionSeconds(assume, role, false), 7200);
  EXPECT_TRUE(sessionSeconds(assume, role, true).refusal().message.ends_with("role chaining"));
  assume.durationSeconds = 7201;
  EXPECT_EQ(sessionSeconds(assume, role, false).refusal().message,
            "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.");
}

TEST(StsAnswer, EscapesWhatTheClientSent) {
  const http::Response response = errorAnswer({400, "InvalidAction", "Could not find <a>&\"\x01", "parameters"}, "ID");
  EXPECT_EQ(*response.body,
            "<ErrorResponse "
            "xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\n<Error><Type>Sender</Type><Code>InvalidAction</Code><Message>Could not "
            "find &lt;a&gt;&amp;&quot;\xEF\xBF\xBD</Message></Error><RequestId>ID</RequestId>\n</ErrorResponse>\n");
  EXPECT_EQ(response.headers.find("x-amzn-requestid"), "ID");
}

TEST(StsTokenRefusal, SaysAwsSentences) {
  const WallTime now(std::chrono::seconds(1795479996));
  const auto said = [&](const char* check, std::string expected, std::string found, std::string sentence,
                        token::Obstacle obstacle = token::Obstacle::None) {
    const Refusal refusal =
        tokenRefusal(token::refusal({check, std::move(expected), std::move(found), obstacle}, std::move(sentence)), "a.b.c", now);
    return refusal.code + ": " + refusal.message;
  };
  EXPECT_EQ(said("claims", "sub a string", "", "x"), "InvalidIdentityToken: Missing a required claim: sub");
  EXPECT_EQ(said("issuer", "", "https://i", "x"), "InvalidIdentityToken: No OpenIDConnect provider found in your account for https://i");
  EXPECT_EQ(said("audience", "", "", "x"), "InvalidIdentityToken: Incorrect token audience");
  EXPECT_EQ(said("signature", "", "", "x"), "InvalidIdentityToken: Signature verification failed");
  const std::string noKey =
      "InvalidIdentityToken: Couldn't retrieve verification key from your identity provider,  please reference AssumeRoleWithWebIdentity "
      "documentation for "
      "requirements";
  EXPECT_EQ(said("key id", "", "", "x"), noKey);
  EXPECT_EQ(said("discovery", "", "", "the issuer answered 404"), noKey);
  EXPECT_EQ(said("discovery", "", "", "x", token::Obstacle::Certificate),
            "InvalidIdentityToken: OpenIDConnect provider's HTTPS certificate doesn't match configured thumbprint");
  EXPECT_TRUE(said("discovery", "", "", "x", token::Obstacle::Unreachable).starts_with("IDPCommunicationError: "));
  EXPECT_EQ(said("discovery", "", "", "https://thumbprint.example/no answer from answered 404"), noKey)
      << "words of an issuer do not matter";
  const Refusal unknown = tokenRefusal(Error{Reason::Internal, "out of ideas"}, "a.b.c", now);
  EXPECT_EQ(unknown.code, "InternalFailure");
  EXPECT_NE(errorAnswer(unknown, "ID").body->find("<Type>Receiver</Type><Code>InternalFailure</Code>"), std::string::npos);
  EXPECT_EQ(errorAnswer(unknown, "ID").body->find("out of ideas"), std::string::npos) << "for the log only";
}

TEST(ConnectProxy, KnowsWhoseTunnelABytesComeFrom) {
  Tunnels tunnels;
  EXPECT_EQ(tunnels.clientOf("127.0.0.1:5"), "127.0.0.1:5");
  {
    const Tunnels::Entry one(tunnels, "127.0.0.1:5", "10.1.2.3:4");
    EXPECT_EQ(tunnels.clientOf("127.0.0.1:5"), "10.1.2.3:4");
    EXPECT_EQ(tunnels.clientOf("127.0.0.1:6"), "127.0.0.1:6");
    auto older = std::make_unique<Tunnels::Entry>(tunnels, "127.0.0.1:7", "10.1.2.3:4");
    const Tunnels::Entry newer(tunnels, "127.0.0.1:7", "10.9.9.9:4");
    older.reset();
    EXPECT_EQ(tunnels.clientOf("127.0.0.1:7"), "10.9.9.9:4") << "the port came again before the old tunnel was forgotten";
  }
  EXPECT_EQ(tunnels.clientOf("127.0.0.1:5"), "127.0.0.1:5");
}

TEST(ConnectProxy, KnowsStsAndNothingElse) {
  const std::vector<std::string>& names = stsHostNames();
  const auto has = [&](std::string_view name) { return std::find(names.begin(), names.end(), name) != names.end(); };
  EXPECT_TRUE(has("sts.amazonaws.com") && has("sts.eu-west-1.amazonaws.com") && has("sts.cn-north-1.amazonaws.com.cn"));
  EXPECT_FALSE(has("s3.amazonaws.com"));
}

}  // namespace
}  // namespace podpass::irsa
