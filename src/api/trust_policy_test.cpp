#include "api/trust_policy.h"

#include <gtest/gtest.h>

namespace podpass::api {
namespace {

constexpr std::string_view kGood = R"({"Version":"2012-10-17","Statement":[{"Sid":"one","Effect":"Allow",
  "Principal":{"Federated":"arn:aws:iam::111122223333:oidc-provider/issuer.example/id/1"},
  "Action":"sts:AssumeRoleWithWebIdentity",
  "Condition":{"StringEquals":{"issuer.example/id/1:sub":["system:serviceaccount:a:b","system:serviceaccount:a:c"],"n":5,"b":true},
               "ForAnyValue:StringNotLikeIfExists":{"issuer.example/id/1:amr":"x*"}}}]})";

json::value text(std::string_view policy) { return json::value(policy); }

std::string problemOf(const json::value& policy) {
  const Result<TrustPolicy> parsed = parseTrustPolicy(policy);
  return parsed ? "accepted" : parsed.error().sentence;
}

// The good policy with `from` replaced.
std::string spoiled(std::string_view from, std::string_view to) {
  std::string policy(kGood);
  const std::size_t place = policy.find(from);
  if (place == std::string::npos) ADD_FAILURE() << "no " << from;
  return policy.replace(place, from.size(), to);
}

TEST(TrustPolicy, ReadsAnObjectAndItsTextAlike) {
  for (const json::value& document : {text(kGood), json::parse(kGood)}) {
    const Result<TrustPolicy> policy = parseTrustPolicy(document);
    ASSERT_TRUE(policy) << policy.error().sentence;
    EXPECT_TRUE(policy->variables);
    ASSERT_EQ(policy->statements.size(), 1u);
    const PolicyStatement& statement = policy->statements[0];
    EXPECT_TRUE(statement.allows);
    EXPECT_EQ(statement.sid, "one");
    EXPECT_EQ(statement.principals[0].type, PrincipalType::Federated);
    ASSERT_EQ(statement.conditions.size(), 4u);
    EXPECT_EQ(statement.conditions[0].values.size(), 2u);
    EXPECT_EQ(statement.conditions[1].values[0], "5");
    EXPECT_EQ(statement.conditions[2].values[0], "true");
    const ConditionOperator& last = statement.conditions[3].test;
    EXPECT_EQ(last.set, SetOperator::ForAnyValue);
    EXPECT_EQ(last.comparison, Comparison::StringLike);
    EXPECT_TRUE(last.negated && last.ifExists);
  }
}

TEST(TrustPolicy, TakesOneStatementWithoutAListAndAnOldVersion) {
  const Result<TrustPolicy> policy = parseTrustPolicy(text(R"({"Statement":{"Effect":"Deny","Principal":"*","NotAction":["sts:*"]}})"));
  ASSERT_TRUE(policy) << policy.error().sentence;
  EXPECT_FALSE(policy->variables);
  EXPECT_TRUE(policy->statements[0].exceptActions);
  EXPECT_EQ(policy->statements[0].principals[0].type, PrincipalType::Everyone);
}

TEST(TrustPolicy, RefusesWhatAwsRefusesAndSaysWhere) {
  struct Case {
    const char* why;
    std::string policy;
    const char* sentence;
  };
  const Case cases[] = {
      {"not JSON", "{\"Version\":\n\n oops}", "This policy contains invalid Json (at line 3)"},
      {"no text", "", "This policy contains invalid Json (at line 1)"},
      {"not an object", "[]", "Syntax errors in policy. (at line 1)"},
      {"a future version", spoiled("2012-10-17", "2030-01-01"),
       "Policy document must be version 2012-10-17 or greater. (at /Version, line 1)"},
      {"no statement", R"({"Version":"2012-10-17"})", "Syntax errors in policy. (at line 1)"},
      {"an empty list", R"({"Statement":[]})", "Syntax errors in policy. (at /Statement, line 1)"},
      {"an unknown member", spoiled("\"Sid\"", "\"Foo\""), "Syntax errors in policy. (at /Statement/0/Foo, line 1)"},
      {"a resource", spoiled("\"Action\":", "\"Resource\":\"*\",\"Action\":"),
       "Has prohibited field Resource (at /Statement/0/Resource, line 3)"},
      {"no action", spoiled("\"Action\":\"sts:AssumeRoleWithWebIdentity\",", ""),
       "Missing required field Action (at /Statement/0, line 1)"},
      {"an action of another service", spoiled("sts:AssumeRoleWithWebIdentity", "s3:GetObject"),
       "AssumeRole policy may only specify STS AssumeRole actions. (at /Statement/0/Action, line 3)"},
      {"no effect", spoiled("\"Effect\":\"Allow\",", ""), "Missing required field Effect (at /Statement/0, line 1)"},
      {"a wrong effect", spoiled("Allow", "allow"), "Invalid effect: allow (at /Statement/0/Effect, line 1)"},
      {"no principal", R"({"Statement":{"Effect":"Allow","Action":"sts:AssumeRole"}})",
       "Missing required field Principal (at /Statement, line 1)"},
      {"a provider that is a URL", spoiled("arn:aws:iam::111122223333:oidc-provider/issuer", "https://issuer"),
       "Invalid principal in policy: \"FEDERATED\":\"https://issuer.example/id/1\" (at /Statement/0/Principal/Federated, line 2)"},
      {"an unknown type of principal", spoiled("Federated", "Group"),
       "Invalid principal in policy: \"GROUP\":\"arn:aws:iam::111122223333:oidc-provider/issuer.example/id/1\" (at "
       "/Statement/0/Principal/Group, line 2)"},
      {"allow for all but one", spoiled("Principal", "NotPrincipal"),
       "Allow with NotPrincipal is not allowed. (at /Statement/0/NotPrincipal, line 2)"},
      {"an unknown operator", spoiled("StringEquals", "StringIs"),
       "Invalid Condition type : StringIs. (at /Statement/0/Condition/StringIs, line 4)"},
      {"NullIfExists", spoiled("StringEquals", "NullIfExists"),
       "Invalid Condition type : NullIfExists. (at /Statement/0/Condition/NullIfExists, line 4)"},
      {"a key with a slash and no value", spoiled("\"x*\"", "{}"),
       "Syntax errors in policy. (at /Statement/0/Condition/ForAnyValue:StringNotLikeIfExists/issuer.example~1id~11:amr, line 5)"},
      {"a number that is none", spoiled("\"StringEquals\":{", "\"NumericEquals\":{\"m\":\"0xc\"},\"StringEquals\":{"),
       "Invalid numeric value: 0xc (at /Statement/0/Condition/NumericEquals/m, line 4)"},
      {"infinity", spoiled("\"StringEquals\":{", "\"NumericNotEqualsIfExists\":{\"m\":[1,\n\"inf\"]},\"StringEquals\":{"),
       "Invalid numeric value: inf (at /Statement/0/Condition/NumericNotEqualsIfExists/m/1, line 5)"},
      {"a date that is none", spoiled("\"StringEquals\":{", "\"DateGreaterThan\":{\"m\":\"never\"},\"StringEquals\":{"),
       "Invalid date value: never (at /Statement/0/Condition/DateGreaterThan/m, line 4)"},
      {"a network with too many bits", spoiled("\"StringEquals\":{", "\"NotIpAddress\":{\"m\":\"10.1.0.0/40\"},\"StringEquals\":{"),
       "Invalid IP range: 10.1.0.0/40 (at /Statement/0/Condition/NotIpAddress/m, line 4)"},
      {"a network without bits", spoiled("\"StringEquals\":{", "\"IpAddress\":{\"m\":[\"::1\",\"10.1.0.0/\"]},\"StringEquals\":{"),
       "Invalid IP range: 10.1.0.0/ (at /Statement/0/Condition/IpAddress/m/1, line 4)"},
      {"a member twice", spoiled("\"Effect\":\"Allow\"", "\"Effect\":\"Deny\",\"Effect\":\"Allow\""),
       "Syntax errors in policy. (the member Statement[0].Effect stands there twice)"},
      {"a Sid with a blank", spoiled("\"one\"", "\"o ne\""),
       "Statement IDs (SID) must be alpha-numeric. Check that your input satisfies the regular expression [0-9A-Za-z]* (at "
       "/Statement/0/Sid, line 1)"},
      {"too long", spoiled("x*", std::string(2000, 'x')), "Cannot exceed quota for ACLSizePerRole: 2048"},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.why);
    EXPECT_EQ(problemOf(text(c.policy)), c.sentence);
  }
  EXPECT_EQ(problemOf(text(spoiled("\"n\"", std::string(1800, ' ') + "\"n\""))), "accepted") << "white space does not count";
  EXPECT_EQ(problemOf(json::parse(spoiled("Allow", "allow"))), "Invalid effect: allow (at /Statement/0/Effect)")
      << "an object has no lines";
}

TEST(SessionPolicy, RefusesWhatAwsRefuses) {
  const auto problem = [](std::string_view policy) {
    const Result<void> checked = checkSessionPolicy(policy);
    return checked ? "accepted" : checked.error().sentence;
  };
  struct Case {
    const char *policy, *sentence;
  };
  const Case cases[] = {
      {R"({"Version":"2012-10-17","Statement":[{"Sid":"a","Effect":"Allow","Action":"s3:Get*","Resource":"arn:aws:s3:::b/*"}]})",
       "accepted"},
      {R"({"Statement":{"Effect":"Deny","NotAction":["sts:*"],"NotResource":["*"],"Condition":{"Bool":{"aws:SecureTransport":false}}}})",
       "accepted"},
      {"{", "This policy contains invalid Json (at line 1)"},
      {"[]", "Syntax errors in policy. (at line 1)"},
      {R"({"Statement":[]})", "Syntax errors in policy. (at /Statement, line 1)"},
      {R"({"Statement":{"Effect":"Foo","Action":1}})", "Invalid effect: Foo (at /Statement/Effect, line 1)"},
      {R"({"Statement":{"Effect":"Allow","Action":1,"Resource":"*"}})", "Syntax errors in policy. (at /Statement/Action, line 1)"},
      {R"({"Statement":{"Effect":"Allow","Resource":"*"}})", "Policy statement must contain actions. (at /Statement, line 1)"},
      {R"({"Statement":{"Effect":"Allow","Action":"Get","Resource":"*"}})",
       "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc. (at /Statement/Action, line 1)"},
      {R"({"Statement":{"Effect":"Allow","Action":"s3:*"}})", "Policy statement must contain resources. (at /Statement, line 1)"},
      {R"({"Statement":{"Effect":"Allow","Action":"s3:*","Resource":"bucket"}})",
       "Resource bucket must be in ARN format or \"*\". (at /Statement/Resource, line 1)"},
      {R"({"Statement":{"Effect":"Allow","Action":"s3:*","Resource":"*","Principal":"*"}})",
       "Has prohibited field Principal (at /Statement/Principal, line 1)"},
      {R"({"Statement":{"Effect":"Allow","Action":"s3:*","Resource":"*","Condition":{"StringIs":{"k":"v"}}}})",
       "Invalid Condition type : StringIs. (at /Statement/Condition/StringIs, line 1)"},
      {R"({"Version":"2030-01-01","Statement":{"Effect":"Allow","Action":"s3:*","Resource":"*"}})",
       "Policy document must be version 2012-10-17 or greater. (at /Version, line 1)"},
  };
  for (const Case& c : cases) EXPECT_EQ(problem(c.policy), c.sentence) << c.policy;
}

TEST(TrustPolicy, WildcardsMatchWholeTexts) {
  struct Case {
    const char *pattern, *text;
    bool match;
  };
  const Case cases[] = {{"", "", true},         {"*", "", true},    {"*", "a/b:c", true},       {"?", "", false},
                        {"?", "ä", true},       {"?", "ab", false}, {"a*c", "abcbc", true},     {"a*c", "abcb", false},
                        {"*a*b", "xaxb", true}, {"a", "A", false},  {"a**b?c", "axxbyc", true}, {"a.c", "abc", false}};
  for (const Case& c : cases)
    EXPECT_EQ(matchesPattern(wildcardPattern(c.pattern), codePoints(c.text)), c.match) << c.pattern << " " << c.text;
  EXPECT_TRUE(matchesAction("STS:Assume*", "sts:AssumeRole"));
  EXPECT_FALSE(matchesAction("sts:AssumeRole", "sts:AssumeRoleWithWebIdentity"));
  const std::string hostile(4000, 'a');
  EXPECT_FALSE(matchesPattern(wildcardPattern("*a*a*a*a*a*a*a*a*a*a*a*a*b"), codePoints(hostile))) << "and it returns at once";
}

}  // namespace
}  // namespace podpass::api
