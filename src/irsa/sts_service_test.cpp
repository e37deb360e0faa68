#include "irsa/sts_service.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "http/test_certificates.h"
#include "irsa/test_sts.h"

namespace podpass::irsa {
namespace {

using namespace std::chrono_literals;

std::string between(const std::string& text, const std::string& tag) { return test::Answer{0, text}.element(tag); }
std::string codeOf(const test::Answer& answer) { return answer.code(); }

TEST(StsService, GivesCredentialsThatLiveAsLongAsAsked) {
  test::Sts sts;
  const test::Answer answer = sts.ask(test::Sts::assume("role0", sts.token(), "&DurationSeconds=900"));
  ASSERT_EQ(answer.status, 200) << answer.body;
  EXPECT_EQ(between(answer.body, "Arn"), "arn:aws:sts::000000000000:assumed-role/role0/ss");
  EXPECT_EQ(between(answer.body, "Expiration"), rfc3339(sts.clock.now() + 900s));
}

TEST(StsService, JudgesATokensTimeToTheSecond) {
  test::Sts sts;
  const std::string token = sts.token();
  sts.clock.advance(599s);
  EXPECT_EQ(codeOf(sts.ask(test::Sts::assume("role0", token))), "good");
  sts.clock.advance(1s);
  EXPECT_EQ(codeOf(sts.ask(test::Sts::assume("role0", token))), "ExpiredTokenException");
}

TEST(StsService, AllowsTheSkewThatItWasTold) {
  test::Sts sts(jose::test::kEcPem, 1, 300s);
  const std::string token = sts.token();
  sts.clock.advance(899s);
  EXPECT_EQ(codeOf(sts.ask(test::Sts::assume("role0", token))), "good");
  sts.clock.advance(1s);
  EXPECT_EQ(codeOf(sts.ask(test::Sts::assume("role0", token))), "ExpiredTokenException");
  const std::string early = sts.token();
  sts.clock.stepWall(-300s);
  EXPECT_EQ(codeOf(sts.ask(test::Sts::assume("role0", early))), "good");
  sts.clock.stepWall(-1s);
  EXPECT_EQ(sts.ask(test::Sts::assume("role0", early)).sentence(), "InvalidIdentityToken: Token is not valid yet");
}

TEST(StsService, TagsOfATokenNeedTagSession) {
  test::Sts sts;
  const json::object tags{{"principal_tags", json::object{{"team", json::array{"a"}}}}};
  EXPECT_EQ(codeOf(sts.ask(test::Sts::assume("role0", sts.token({{"https://aws.amazon.com/tags", tags}})))), "AccessDenied");
  EXPECT_EQ(codeOf(sts.ask(test::Sts::assume("role0", sts.token({{"https://aws.amazon.com/source_identity", "me"}})))), "AccessDenied");
  EXPECT_EQ(codeOf(sts.ask(test::Sts::assume("role0", sts.token({{"https://aws.amazon.com/source_identity", "a b"}})))),
            "InvalidIdentityToken");
  const json::object bad{{"principal_tags", json::object{{"team", "a"}}}};
  EXPECT_EQ(codeOf(sts.ask(test::Sts::assume("role0", sts.token({{"https://aws.amazon.com/tags", bad}})))), "InvalidIdentityToken");
}

constexpr const char* kTags = "https://aws.amazon.com/tags";
constexpr const char* kTagging = R"(["sts:AssumeRoleWithWebIdentity","sts:AssumeRole","sts:TagSession"])";

std::string assumeRole(const std::string& role, const std::string& more = {}) {
  return "Action=AssumeRole&RoleSessionName=ss&RoleArn=arn:aws:iam::000000000000:role/" + role + more;
}
std::string tag(int member, const std::string& key, const std::string& value) {
  const std::string place = "&Tags.member." + std::to_string(member);
  return place + ".Key=" + key + place + ".Value=" + value;
}

TEST(StsTags, ATransitiveTagStaysWhateverTheCaseOfItsKey) {
  test::Sts sts;
  sts.putRole("first", {{"trustPolicy", sts.policy(kTagging)}});
  sts.putRole("second", {{"trustPolicy", sts.policy(kTagging)}});
  sts.putRole("admins", {{"trustPolicy", sts.policy(kTagging, R"({"StringEquals":{"aws:PrincipalTag/Team":"admin"}})")}});
  sts.putRole("devs", {{"trustPolicy", sts.policy(kTagging, R"({"StringEquals":{"aws:PrincipalTag/TEAM":"dev"}})")}});
  const test::Answer first = sts.ask(sts.administrator(), assumeRole("first", tag(1, "Team", "dev") + "&TransitiveTagKeys.member.1=team"));
  ASSERT_EQ(first.code(), "good") << first.body;
  for (const char* key : {"Team", "team", "TEAM"}) {
    const test::Answer answer = sts.ask(test::Signer(first), assumeRole("second", tag(1, key, "admin")));
    EXPECT_EQ(answer.sentence(),
              "InvalidParameterValue: One of the specified transitive tag keys can't be set because it conflicts with a transitive tag key "
              "from the calling session.")
        << key;
  }
  const test::Answer second = sts.ask(test::Signer(first), assumeRole("second", tag(1, "other", "admin")));
  ASSERT_EQ(second.code(), "good") << second.body;
  EXPECT_EQ(sts.ask(test::Signer(second), assumeRole("admins")).code(), "AccessDenied");
  EXPECT_EQ(sts.ask(test::Signer(second), assumeRole("devs")).code(), "good");
}

TEST(StsTags, AreRefusedWhenTheyDoNotFitTogether) {
  test::Sts sts;
  sts.putRole("first", {{"trustPolicy", sts.policy(kTagging)}});
  const auto said = [&](const std::string& more) { return sts.ask(sts.administrator(), assumeRole("first", more)).sentence(); };
  const std::string twice = "InvalidParameterValue: Duplicate tag keys found. Please note that Tag keys are case insensitive.";
  EXPECT_EQ(said(tag(1, "Team", "a") + tag(2, "team", "b")), twice);
  EXPECT_EQ(said(tag(1, "Team", "a") + tag(2, "Team", "a")), twice);
  const std::string absent = "InvalidParameterValue: The specified transitive tag key must be included in the requested tags.";
  EXPECT_EQ(said("&TransitiveTagKeys.member.1=team"), absent);
  EXPECT_EQ(said(tag(1, "a", "a") + "&TransitiveTagKeys.member.1=A&TransitiveTagKeys.member.2=b"), absent);
  const std::string tooMany =
      "1 validation error detected: Value at 'tags' failed to satisfy constraint: Member must have length less than or equal to 50";
  std::string fifty, transitive;
  for (int i = 1; i <= 50; ++i) {
    fifty += tag(i, "k" + std::to_string(i), "");
    transitive += "&TransitiveTagKeys.member." + std::to_string(i) + "=k" + std::to_string(i);
  }
  const test::Answer first = sts.ask(sts.administrator(), assumeRole("first", fifty + transitive));
  ASSERT_EQ(first.code(), "good") << first.body;
  EXPECT_EQ(sts.ask(test::Signer(first), assumeRole("first")).code(), "good") << "fifty that were handed on";
  EXPECT_EQ(sts.ask(test::Signer(first), assumeRole("first", tag(1, "one-more", ""))).sentence(), "ValidationError: " + tooMany);
}

TEST(StsTags, AKeyNamedTwiceAsTransitiveIsHandedOnOnce) {
  test::Sts sts;
  sts.putRole("first", {{"trustPolicy", sts.policy(kTagging)}});
  const test::Answer first =
      sts.ask(sts.administrator(), assumeRole("first", tag(1, "k", "v") + "&TransitiveTagKeys.member.1=k&TransitiveTagKeys.member.2=K"));
  ASSERT_EQ(first.code(), "good") << first.body;
  EXPECT_EQ(sts.ask(test::Signer(first), assumeRole("first")).code(), "good");
}

TEST(StsTags, OfATokenFollowTheSameRules) {
  test::Sts sts;
  sts.putRole("tagged", {{"trustPolicy", sts.policy(kTagging, R"({"StringEquals":{"aws:RequestTag/TEAM":"a"}})")}});
  struct Case {
    const char *why, *claim, *code;
  };
  const Case cases[] = {
      {"a tag", R"({"principal_tags":{"team":["a"]}})", "good"},
      {"a transitive tag, in another case", R"({"principal_tags":{"team":["a"]},"transitive_tag_keys":["Team"]})", "good"},
      {"no tags at all", R"({})", "AccessDenied"},
      {"a key twice but for its case", R"({"principal_tags":{"team":["a"],"Team":["b"]}})", "InvalidIdentityToken"},
      {"a transitive key without a tag", R"({"principal_tags":{"team":["a"]},"transitive_tag_keys":["b"]})", "InvalidIdentityToken"},
      {"a key with a bracket", R"({"principal_tags":{"team":["a"],"a<b>":["a"]}})", "InvalidIdentityToken"},
      {"a value with a bracket", R"({"principal_tags":{"team":["a<"]}})", "InvalidIdentityToken"},
      {"an empty key", R"({"principal_tags":{"":["a"]}})", "InvalidIdentityToken"},
      {"a value that is no list", R"({"principal_tags":{"team":"a"}})", "InvalidIdentityToken"},
      {"two values", R"({"principal_tags":{"team":["a","b"]}})", "InvalidIdentityToken"},
      {"tags that are a list", R"({"principal_tags":["team"]})", "InvalidIdentityToken"},
      {"a claim that is a text", R"("team")", "InvalidIdentityToken"},
      {"transitive keys that are a text", R"({"principal_tags":{"team":["a"]},"transitive_tag_keys":"team"})", "InvalidIdentityToken"},
      {"a transitive key that is a number", R"({"principal_tags":{"team":["a"]},"transitive_tag_keys":["team",1]})",
       "InvalidIdentityToken"},
  };
  for (const Case& c : cases)
    EXPECT_EQ(codeOf(sts.ask(test::Sts::assume("tagged", sts.token({{kTags, json::parse(c.claim)}})))), c.code) << c.why;
  EXPECT_EQ(codeOf(sts.ask(test::Sts::assume("role0", sts.token({{"https://aws.amazon.com/source_identity", 5}})))),
            "InvalidIdentityToken");
  EXPECT_EQ(codeOf(sts.ask(test::Sts::assume("role0", sts.token({{"https://aws.amazon.com/source_identity", ""}})))),
            "InvalidIdentityToken");
}

TEST(StsService, ForgetsARoleAndKnowsANewPolicyAtOnce) {
  test::Sts sts;
  EXPECT_EQ(codeOf(sts.ask(test::Sts::assume("later", sts.token()))), "AccessDenied");
  sts.putRole("later");
  EXPECT_EQ(codeOf(sts.ask(test::Sts::assume("later", sts.token()))), "good");
  sts.putRole("later", {{"path", "/moved/"}});
  EXPECT_EQ(codeOf(sts.ask(test::Sts::assume("later", sts.token()))), "AccessDenied");
  EXPECT_EQ(codeOf(sts.ask(test::Sts::assume("moved/later", sts.token()))), "good");
}

TEST(StsService, ALaterProviderDoesNotDisplaceAnOlderOne) {
  test::Sts sts;
  const auto put = [&](const std::string& name, const std::string& made, const std::string& audience) {
    sts.api.put(test::Sts::providers(), {{"metadata", json::object{{"name", name}, {"uid", name}, {"creationTimestamp", made}}},
                                         {"spec", json::object{{"url", "http://127.0.0.1:1"}, {"clientIDs", json::array{audience}}}}});
  };
  const auto audienceFits = [&](const std::string& audience) {
    return sts.ask(test::Sts::assume("role0", sts.token({{"iss", "http://127.0.0.1:1"}, {"aud", audience}}))).element("Message") !=
           "Incorrect token audience";
  };
  put("podpass", "2024-01-01T00:00:00Z", "older");
  put("a", "2024-01-01T00:00:01Z", "later");
  EXPECT_TRUE(audienceFits("older"));
  EXPECT_FALSE(audienceFits("later"));
}

TEST(StsService, RevokesWhatMayHaveBegunBefore) {
  test::Sts sts;
  const test::Signer session(sts.ask(test::Sts::assume("role0", sts.token())));
  const std::string begun = rfc3339(sts.clock.now());
  const auto code = [&](const std::string& before) {
    sts.putRole("role0", {{"revokeSessionsBefore", before}});
    return codeOf(sts.ask(session, "Action=GetCallerIdentity"));
  };
  EXPECT_EQ(code(begun), "good");
  const std::string parts = begun.substr(0, begun.size() - 1);
  EXPECT_EQ(code(parts + ".000001Z"), "ExpiredToken") << "a fraction of the second in which the session began";
  EXPECT_EQ(code(parts + ".999999Z"), "ExpiredToken");
  EXPECT_EQ(code(rfc3339(sts.clock.now() + 1s)), "ExpiredToken");
  EXPECT_EQ(code(rfc3339(sts.clock.now() - 1s)), "good");
}

TEST(StsService, AnswersXmlWhateverItIsSent) {
  test::Sts sts;
  http::Request request;
  for (const std::string body :
       {"", "Action=Nope&Version=2011-06-15", "Action=GetCallerIdentity&Version=1", "%", "Action=AssumeRole&Version=2011-06-15"}) {
    request.method = "POST";
    request.body = body;
    const test::Answer answer = sts.ask(request);
    EXPECT_GE(answer.status, 400);
    EXPECT_TRUE(answer.body.starts_with("<ErrorResponse")) << answer.body;
  }
  request.bodyTooLarge = true;
  EXPECT_EQ(sts.ask(request).status, 413);
}

TEST(StsService, SaysOfEveryBrokenIssuerWhatAwsSays) {
  const char* const key =
      "Couldn't retrieve verification key from your identity provider,  please reference AssumeRoleWithWebIdentity documentation for "
      "requirements";
  const char* const away = "Couldn't reach your identity provider to verify the incoming identity token";
  test::Sts sts;
  const auto body = [](http::Response& response, std::string text) {
    response.body = std::make_shared<const std::string>(std::move(text));
  };
  const auto keys = [&](http::Response& response, const json::array& all) { body(response, json::serialize(json::object{{"keys", all}})); };
  const json::object own = jose::toJwk(sts.issuer.key());
  struct Case {
    const char* why;
    std::function<void(const std::string& path, http::Response& response)> spoil;
    const char *code, *message;
  };
  const Case cases[] = {
      {"away",
       [](const std::string&, http::Response& response) {
         response.takeOver = [](auto stream) -> http::asio::awaitable<void> {
           stream->close();
           co_return;
         };
       },
       "IDPCommunicationError", away},
      {"overloaded", [](const std::string&, http::Response& response) { response.status = 503; }, "InvalidIdentityToken", key},
      {"private", [](const std::string&, http::Response& response) { response.status = 403; }, "InvalidIdentityToken", key},
      {"a log-in page", [&](const std::string&, http::Response& response) { body(response, "<html>"); }, "InvalidIdentityToken", key},
      {"a redirect to itself",
       [](const std::string& path, http::Response& response) {
         response.status = 302;
         response.headers.add("Location", path);
       },
       "InvalidIdentityToken", key},
      {"ten megabytes", [&](const std::string&, http::Response& response) { body(response, std::string(10 << 20, ' ')); },
       "InvalidIdentityToken", key},
      {"no keys",
       [&](const std::string& path, http::Response& response) {
         if (path == "/keys") keys(response, {});
       },
       "InvalidIdentityToken", key},
      {"the key removed",
       [&](const std::string& path, http::Response& response) {
         json::object other = own;
         other["kid"] = "other";
         if (path == "/keys") keys(response, {other});
       },
       "InvalidIdentityToken", key},
      {"two keys of one kid",
       [&](const std::string& path, http::Response& response) {
         if (path == "/keys") keys(response, {own, own});
       },
       "InvalidIdentityToken", key},
      {"well again", nullptr, "", ""}};
  for (const Case& c : cases) {
    SCOPED_TRACE(c.why);
    sts.issuer.spoil = c.spoil;
    sts.relyingParty.forget();
    const int before = sts.issuer.asked;
    for (int i = 0; i < 5; ++i) {
      const test::Answer answer = sts.ask(test::Sts::assume("role0", sts.token()));
      EXPECT_EQ(between(answer.body, "Code"), c.code) << answer.body;
      EXPECT_EQ(between(answer.body, "Message"), c.message);
      EXPECT_EQ(answer.status, *c.code == '\0' ? 200 : 400);
    }
    EXPECT_LE(sts.issuer.asked, before + 2) << "both documents once, however many ask";
  }
}

TEST(StsService, RefusesWhatItCannotServeAtOnce) {
  test::Sts sts;
  sts.issuer.delay = 300ms;
  http::asio::io_context here(1);
  std::vector<std::future<http::Response>> all;
  const auto request = std::make_shared<const http::Request>(test::Sts::assume("role0", sts.token()));
  for (int i = 0; i < 600; ++i) all.push_back(http::asio::co_spawn(here, sts.service.handle(request), http::asio::use_future));
  here.run();
  int good = 0, throttled = 0;
  for (auto& one : all) {
    const http::Response response = one.get();
    good += response.status == 200 ? 1 : 0;
    throttled +=
        response.status == 400 && between(*response.body, "Code") == "Throttling" && between(*response.body, "Message") == "Rate exceeded";
  }
  EXPECT_EQ(good, 512);
  EXPECT_EQ(throttled, 88);
  EXPECT_EQ(sts.issuer.asked, 2) << "and the issuer is asked once";
  EXPECT_EQ(codeOf(sts.ask(test::Sts::assume("role0", sts.token()))), "good") << "the places are free again";
}

TEST(StsService, PoliciesMustFitTheSession) {
  test::Sts sts;
  const std::string policy = R"(&Policy={"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*","Sid":")" +
                             std::string(1900, 'x') + "\"}]}";
  EXPECT_EQ(codeOf(sts.ask(test::Sts::assume("role0", sts.token(), policy))), "good");
  std::string arns;
  for (int i = 1; i <= 10; ++i)
    arns += "&PolicyArns.member." + std::to_string(i) + ".arn=arn:aws:iam::aws:policy/" + std::string(100, 'a') + std::to_string(i);
  const test::Answer answer = sts.ask(test::Sts::assume("role0", sts.token(), policy + arns));
  EXPECT_EQ(codeOf(answer), "PackedPolicyTooLarge") << answer.body;
  EXPECT_EQ(answer.status, 400);
  EXPECT_EQ(codeOf(sts.ask(test::Sts::assume("role0", sts.token(), "&Policy=%5B%5D"))), "MalformedPolicyDocument");
}

// ---- circumstances

TEST(StsService, ConditionsSeeHowARequestCame) {
  test::Sts sts;
  struct Case {
    const char *condition, *host, *remote;
    bool secure, allowed;
  };
  const Case cases[] = {
      {R"({"Bool":{"aws:SecureTransport":"true"}})", "h", "10.1.2.3:5", true, true},
      {R"({"Bool":{"aws:SecureTransport":"true"}})", "h", "10.1.2.3:5", false, false},
      {R"({"Bool":{"aws:SecureTransport":"false"}})", "h", "10.1.2.3:5", false, true},
      {R"({"StringEquals":{"aws:RequestedRegion":"eu-west-1"}})", "sts.eu-west-1.amazonaws.com", "10.1.2.3:5", true, true},
      {R"({"StringEquals":{"aws:RequestedRegion":"eu-west-1"}})", "STS.eu-west-1.amazonaws.com:443", "10.1.2.3:5", true, true},
      {R"({"StringEquals":{"aws:RequestedRegion":"eu-west-1"}})", "sts.eu-west-2.amazonaws.com", "10.1.2.3:5", true, false},
      {R"({"StringEquals":{"aws:RequestedRegion":"us-east-1"}})", "sts.amazonaws.com", "10.1.2.3:5", true, true},
      {R"({"StringEquals":{"aws:RequestedRegion":"us-east-2"}})", "sts-fips.us-east-2.amazonaws.com", "10.1.2.3:5", true, true},
      {R"({"StringEquals":{"aws:RequestedRegion":"cn-north-1"}})", "sts.cn-north-1.amazonaws.com.cn", "10.1.2.3:5", true, true},
      {R"({"Null":{"aws:RequestedRegion":"true"}})", "127.0.0.1:7443", "10.1.2.3:5", true, true},
      {R"({"Null":{"aws:RequestedRegion":"true"}})", "sts.eu-west-1.evil.example", "10.1.2.3:5", true, true},
      {R"({"IpAddress":{"aws:SourceIp":"10.1.0.0/16"}})", "h", "10.1.2.3:5", true, true},
      {R"({"IpAddress":{"aws:SourceIp":"10.1.0.0/16"}})", "h", "10.2.2.3:5", true, false},
      {R"({"IpAddress":{"aws:SourceIp":"fd00::/8"}})", "h", "[fd00::5]:5", true, true},
      {R"({"NotIpAddress":{"aws:SourceIp":"10.1.0.0/16"}})", "h", "10.1.2.3:5", true, false},
      {R"({"Null":{"aws:SourceIp":"true"}})", "h", "", true, true},
      {R"({"StringLike":{"aws:UserAgent":"aws-cli/*"}})", "h", "10.1.2.3:5", true, true},
      {R"({"StringEquals":{"sts:RoleSessionName":"ss"}})", "h", "10.1.2.3:5", true, true},
      {R"({"StringEquals":{"sts:RoleSessionName":"SS"}})", "h", "10.1.2.3:5", true, false},
      {R"({"NumericLessThanEquals":{"sts:DurationSeconds":"900"}})", "h", "10.1.2.3:5", true, true},
      {R"({"NumericLessThanEquals":{"sts:DurationSeconds":"899"}})", "h", "10.1.2.3:5", true, false},
  };
  for (const Case& c : cases) {
    sts.putRole("conditional", {{"trustPolicy", sts.policy("sts:AssumeRoleWithWebIdentity", c.condition)}});
    http::Request request = test::Sts::assume("conditional", sts.token(), "&DurationSeconds=900");
    request.headers.add("Host", c.host);
    request.headers.add("User-Agent", "aws-cli/2.9.19");
    request.remote = c.remote;
    EXPECT_EQ(codeOf(sts.ask(std::move(request), c.secure)), c.allowed ? "good" : "AccessDenied")
        << c.condition << " " << c.host << " " << c.remote;
  }
}

TEST(StsService, ConditionsSeeTheRegionThatASignatureIsFor) {
  test::Sts sts;
  sts.putRole("european", {{"trustPolicy", sts.policy("sts:AssumeRole", R"({"StringEquals":{"aws:RequestedRegion":"eu-west-1"}})")}});
  const std::string body = "Version=2011-06-15&" + assumeRole("european");
  EXPECT_EQ(sts.ask(sts.administrator().sign(body, sts.clock.now(), "eu-west-1")).code(), "good");
  EXPECT_EQ(sts.ask(sts.administrator().sign(body, sts.clock.now(), "us-east-1")).code(), "AccessDenied");
}

TEST(StsService, ConditionsSeeTheClockAndTheClaims) {
  test::Sts sts;
  const std::string now = rfc3339(sts.clock.now()), prefix = sts.prefix();
  const json::object azp{{"azp", "sts.amazonaws.com"}, {"aud", json::array{"sts.amazonaws.com", "other"}}};
  const json::object amr{{"amr", json::array{"pwd", "mfa"}}};
  const json::object identity{{"https://aws.amazon.com/source_identity", "me"}};
  struct Case {
    std::string condition;
    json::object claims;
    bool allowed;
  };
  const Case cases[] = {
      {R"({"DateEquals":{"aws:CurrentTime":")" + now + R"("}})", {}, true},
      {R"({"DateLessThan":{"aws:CurrentTime":")" + now + R"("}})", {}, false},
      {R"({"DateLessThanEquals":{"aws:EpochTime":")" + now + R"("}})", {}, true},
      {R"({"StringEquals":{")" + prefix + R"(:aud":"sts.amazonaws.com"}})", {}, true},
      {R"({"Null":{")" + prefix + R"(:oaud":"true"}})", {}, true},
      {R"({"StringEquals":{")" + prefix + R"(:aud":"sts.amazonaws.com"}})", azp, true},
      {R"({"ForAnyValue:StringEquals":{")" + prefix + R"(:oaud":"other"}})", azp, true},
      {R"({"ForAllValues:StringEquals":{")" + prefix + R"(:oaud":"other"}})", azp, false},
      {R"({"ForAnyValue:StringEquals":{")" + prefix + R"(:amr":"mfa"}})", amr, true},
      {R"({"ForAllValues:StringEquals":{")" + prefix + R"(:amr":"mfa"}})", amr, false},
      {R"({"ForAnyValue:StringEquals":{")" + prefix + R"(:amr":"mfa"}})", {}, false},
      {R"({"StringEquals":{"sts:SourceIdentity":"me"}})", identity, true},
      {R"({"StringEquals":{"sts:SourceIdentity":"you"}})", identity, false},
      {R"({"StringEquals":{"sts:SourceIdentity":"me"}})", {}, false},
  };
  for (const Case& c : cases) {
    sts.putRole("conditional", {{"trustPolicy", sts.policy(R"(["sts:AssumeRoleWithWebIdentity","sts:SetSourceIdentity"])", c.condition)}});
    EXPECT_EQ(codeOf(sts.ask(test::Sts::assume("conditional", sts.token(c.claims)))), c.allowed ? "good" : "AccessDenied") << c.condition;
  }
}

TEST(StsService, ASourceIdentityStaysInTheChain) {
  test::Sts sts;
  const std::string policy = sts.policy(R"(["sts:AssumeRole","sts:AssumeRoleWithWebIdentity","sts:SetSourceIdentity"])");
  for (const char* name : {"first", "second"}) sts.putRole(name, {{"trustPolicy", policy}});
  const test::Answer first = sts.ask(test::Sts::assume("first", sts.token({{"https://aws.amazon.com/source_identity", "me"}})));
  ASSERT_EQ(first.code(), "good") << first.body;
  EXPECT_EQ(first.element("SourceIdentity"), "me");
  const test::Answer second = sts.ask(test::Signer(first), assumeRole("second"));
  EXPECT_EQ(second.element("SourceIdentity"), "me");
  EXPECT_EQ(sts.ask(test::Signer(second), assumeRole("first", "&SourceIdentity=me")).element("SourceIdentity"), "me");
  EXPECT_EQ(sts.ask(test::Signer(second), assumeRole("first", "&SourceIdentity=you")).code(), "AccessDenied");
  EXPECT_EQ(sts.ask(sts.administrator(), assumeRole("first", "&SourceIdentity=you")).element("SourceIdentity"), "you");
  sts.putRole("closed", {{"trustPolicy", sts.policy("sts:AssumeRole")}});
  EXPECT_EQ(sts.ask(test::Signer(second), assumeRole("closed")).code(), "AccessDenied") << "it needs sts:SetSourceIdentity to go on";
}

// ---- the order of checks

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

TEST(StsService, BelievesAnIssuersCertificateByItsThumbprintOnly) {
  const http::Certificates& certificates = http::Certificates::get();
  std::string url, path = "/thumbprint";
  http::Handler handler = [&](std::shared_ptr<const http::Request>) -> http::asio::awaitable<http::Response> {
    http::Response response;
    response.status = 404;
    co_return response;
  };
  const std::unique_ptr<http::Server> issuer =
      http::makeServer({.tls = certificates.files(), .threads = 1, .limits = {}}, std::move(handler));
  ASSERT_TRUE(issuer->start());
  url = "https://127.0.0.1:" + std::to_string(issuer->port()) + path;
  test::Sts sts;
  const auto saidWith = [&](const json::object& how, const std::string& name) {
    json::object spec = how;
    spec["url"] = url + name;  // another issuer each time: nothing is kept of the one before
    spec["clientIDs"] = json::array{"sts.amazonaws.com"};
    sts.api.put(test::Sts::providers(), {{"metadata", json::object{{"name", name}, {"uid", name}}}, {"spec", spec}});
    return sts.ask(test::Sts::assume("role0", sts.token({{"iss", url + name}}))).sentence();
  };
  EXPECT_EQ(saidWith({{"thumbprints", json::array{std::string(40, 'a')}}}, "a"),
            "InvalidIdentityToken: OpenIDConnect provider's HTTPS certificate doesn't match configured thumbprint");
  EXPECT_TRUE(saidWith({{"caBundle", base64Encode(certificates.text("ca.crt"))}}, "b")
                  .starts_with("InvalidIdentityToken: Couldn't retrieve verification key"))
      << "the certificate is good, the document is not there";
  issuer->stop(std::chrono::seconds(1));
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

// Errors of the machinery, not of a request.
class BrittleClock final : public Clock {
 public:
  [[nodiscard]] WallTime now() const override { throw std::runtime_error("broken"); }
  [[nodiscard]] SteadyTime steady() const override { return {}; }
};

TEST(StsService, ARequestThatFailsGivesItsPlaceBack) {
  test::Sts sts;
  const BrittleClock brittle;
  token::RelyingParty broken(sts.pool, brittle);
  token::TrustedIssuer issuer;
  issuer.url = sts.issuer.url();
  issuer.plainLoopback = true;
  ASSERT_TRUE(broken.trust({issuer}));
  StsService service(sts.keys, sts.directory, broken, sts.refusals, sts.clock);
  const auto ask = [&](http::Request request) {
    http::asio::io_context here(1);
    auto done =
        http::asio::co_spawn(here, service.handle(std::make_shared<const http::Request>(std::move(request)), {}), http::asio::use_future);
    here.run();
    return done.get().status;
  };
  for (int i = 0; i < 600; ++i) EXPECT_THROW(ask(test::Sts::assume("role0", sts.token())), std::runtime_error);
  http::Request request;
  request.method = "POST";
  request.body = "Action=GetCallerIdentity&Version=2011-06-15";
  EXPECT_EQ(ask(request), 403) << "not Throttling";
}

// ---- refusals

TEST(StsRefusalLog, GarbageDoesNotPushOutWhatIsLookedFor) {
  test::Sts sts;
  sts.refusals.start();
  EXPECT_EQ(codeOf(sts.ask(test::Sts::assume("role0", sts.token({{"sub", "system:other"}})))), "AccessDenied");
  for (int i = 0; i < 400; ++i) {
    EXPECT_EQ(codeOf(sts.ask(test::Sts::assume("role0", "x.y.z"))), "InvalidIdentityToken");
    sts.clock.advance(1s);
  }
  sts.refusals.stop();
  const auto verified = [](const DocumentPtr& event) {
    return textAt(json::parse(textAt(event->value, {"metadata", "annotations", kVerdictAnnotation})).as_object(), {"caller"}) ==
           "system:other";
  };
  EXPECT_EQ(std::count_if(sts.api.events.begin(), sts.api.events.end(), verified), 1);
  EXPECT_LE(sts.api.events.size(), 65u);
}

TEST(StsRefusalLog, CutsWhatAClientMakesLong) {
  test::Sts sts;
  sts.refusals.start();
  std::string longSubject = "a";
  for (int i = 0; i < 5000; ++i) longSubject += "\xC3\xA4";
  const json::object claims{{"sub", longSubject}, {"aud", "other"}, {"iss", "https://" + std::string(4000, 'i')}};
  EXPECT_EQ(codeOf(sts.ask(test::Sts::assume("role0", sts.token(claims)))), "InvalidIdentityToken");
  sts.refusals.record(
      {.id = "umlauts", .action = "A", .roleArn = "arn:aws:iam::000000000000:role/r", .caller = {}, .remote = {}, .role = {}},
      {403, "AccessDenied", longSubject});
  sts.refusals.stop();
  ASSERT_EQ(sts.api.events.size(), 2u);
  for (const DocumentPtr& event : sts.api.events) {
    const std::string text = json::serialize(event->value);
    EXPECT_LT(text.size(), 8192u);
    boost::system::error_code failed;
    json::parse(text, failed);
    EXPECT_FALSE(failed) << "no half characters: " << failed.message();
  }
  EXPECT_LE(textAt(sts.api.events.back()->value, {"message"}).size(), 1024u);
}

TEST(StsRefusalLog, WritesSomeEventsOfAFloodAndTheWholeVerdict) {
  test::Sts sts;
  sts.refusals.start();
  for (int i = 0; i < 200; ++i)
    EXPECT_EQ(codeOf(sts.ask(test::Sts::assume("role0", sts.token({{"sub", "system:other"}})))), "AccessDenied");
  sts.refusals.stop();
  ASSERT_FALSE(sts.api.events.empty());
  EXPECT_LE(sts.api.events.size(), 64u) << "a refusal costs an attacker nothing";
  const json::object& event = sts.api.events.front()->value;
  EXPECT_EQ(textAt(event, {"involvedObject", "name"}), "role0");
  const json::value verdict = json::parse(textAt(event, {"metadata", "annotations", kVerdictAnnotation}));
  EXPECT_EQ(verdict.at("caller"), "system:other");
  EXPECT_EQ(verdict.at("trustPolicy").at("statements").at(0).at("conditions").at(0).at("found").at(0), "system:other");
}

TEST(StsRefusalLog, KeepsOnlyTheNewest) {
  test::Sts sts;
  sts.refusals.start();
  for (int i = 0; i < 300; ++i) {
    sts.refusals.record(
        {.id = std::to_string(i), .action = "A", .roleArn = "arn:aws:iam::000000000000:role/r", .caller = {}, .remote = {}, .role = {}},
        {403, "AccessDenied", "no"});
    sts.clock.advance(1s);
    if (i % 32 == 31) std::this_thread::yield();
  }
  sts.refusals.stop();
  EXPECT_LE(sts.api.events.size(), 256u);
}

}  // namespace
}  // namespace podpass::irsa
