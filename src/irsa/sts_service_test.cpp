#include "irsa/sts_service.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "irsa/test_sts.h"

namespace podpass::irsa {
namespace {

using namespace std::chrono_literals;

std::string codeOf(const test::Answer& answer) { return answer.code(); }

TEST(StsService, GivesCredentialsThatLiveAsLongAsAsked) {
  test::Sts sts;
  const test::Answer answer = sts.ask(test::Sts::assume("role0", sts.token(), "&DurationSeconds=900"));
  ASSERT_EQ(answer.status, 200) << answer.body;
  EXPECT_EQ(answer.element("Arn"), "arn:aws:sts::000000000000:assumed-role/role0/ss");
  EXPECT_EQ(answer.element("Expiration"), rfc3339(sts.clock.now() + 900s));
}

TEST(StsService, JudgesATokensTimeToTheSecond) {
  test::Sts sts;
  const std::string token = sts.token();
  sts.clock.advance(599s);
  EXPECT_EQ(codeOf(sts.ask(test::Sts::assume("role0", token))), "good");
  sts.clock.advance(1s);
  EXPECT_EQ(codeOf(sts.ask(test::Sts::assume("role0", token))), "ExpiredTokenException");
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
