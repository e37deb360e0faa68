#include "irsa/sts_service.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "irsa/test_sts.h"

namespace podpass::irsa {
namespace {

using namespace std::chrono_literals;

std::string between(const std::string& text, const std::string& tag) {
  const std::size_t start = text.find("<" + tag + ">");
  if (start == std::string::npos) return "";
  return text.substr(start + tag.size() + 2, text.find("</" + tag + ">") - start - tag.size() - 2);
}

std::string codeOf(const test::Answer& answer) { return answer.status == 200 ? "good" : between(answer.body, "Code"); }

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

TEST(StsService, ForgetsARoleAndKnowsANewPolicyAtOnce) {
  test::Sts sts;
  EXPECT_EQ(codeOf(sts.ask(test::Sts::assume("later", sts.token()))), "AccessDenied");
  sts.putRole("later");
  EXPECT_EQ(codeOf(sts.ask(test::Sts::assume("later", sts.token()))), "good");
  sts.putRole("later", {{"path", "/moved/"}});
  EXPECT_EQ(codeOf(sts.ask(test::Sts::assume("later", sts.token()))), "AccessDenied");
  EXPECT_EQ(codeOf(sts.ask(test::Sts::assume("moved/later", sts.token()))), "good");
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
