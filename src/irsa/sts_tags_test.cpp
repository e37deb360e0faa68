#include <gtest/gtest.h>

#include "irsa/test_sts.h"

// Session tags: what a caller and a token may set, and what stays.
namespace podpass::irsa {
namespace {

std::string codeOf(const test::Answer& answer) { return answer.code(); }

constexpr const char* kTags = "https://aws.amazon.com/tags";
constexpr const char* kTagging = R"(["sts:AssumeRoleWithWebIdentity","sts:AssumeRole","sts:TagSession"])";

std::string assumeRole(const std::string& role, const std::string& more = {}) {
  return "Action=AssumeRole&RoleSessionName=ss&RoleArn=arn:aws:iam::000000000000:role/" + role + more;
}

std::string tag(int member, const std::string& key, const std::string& value) {
  const std::string place = "&Tags.member." + std::to_string(member);
  return place + ".Key=" + key + place + ".Value=" + value;
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

}  // namespace
}  // namespace podpass::irsa
