#include <gtest/gtest.h>

#include "irsa/trust_policy_condition.h"
#include "irsa/trust_policy_verdict.h"

namespace podpass::irsa {
namespace {

constexpr const char* kProvider = "arn:aws:iam::111122223333:oidc-provider/issuer.example/id/1";
constexpr const char* kAction = "sts:AssumeRoleWithWebIdentity";

api::PolicyCondition condition(std::string test, std::string key, json::value values) {
  const json::object statement{{"Effect", "Allow"},
                               {"Principal", "*"},
                               {"Action", "sts:*"},
                               {"Condition", json::object{{test, json::object{{key, std::move(values)}}}}}};
  const Result<api::TrustPolicy> policy = api::parseTrustPolicy(json::object{{"Version", "2012-10-17"}, {"Statement", statement}});
  if (!policy) throw std::runtime_error(policy.error().sentence);
  return policy->statements[0].conditions[0];
}

TEST(TrustPolicyCondition, ComparesAsAwsDocuments) {
  const ConditionKeys keys{{"k", {"v"}},
                           {"sub", {"system:serviceaccount:shop:cart"}},
                           {"many", {"a", "b"}},
                           {"empty", {}},
                           {"blank", {""}},
                           {"n", {"12"}},
                           {"t", {"2026-03-01T12:00:00Z"}},
                           {"ip", {"10.1.2.3"}},
                           {"ip6", {"fd00::5"}},
                           {"arn", {"arn:aws:iam::111122223333:role/a/b:c"}},
                           {"yes", {"true"}},
                           {"bin", {"YWI="}},
                           {"star", {"*"}},
                           {"question", {"?"}},
                           {"dollar", {"${ns}"}},
                           {"ns", {"shop"}}};
  struct Case {
    const char *test, *key;
    json::value values;
    bool holds;
  };
  const auto any = [](std::initializer_list<json::value_ref> list) { return json::value(json::array(list)); };
  const Case cases[] = {
      {"StringEquals", "K", "v", true},  // keys without case
      {"StringEquals", "k", "V", false},
      {"StringEquals", "k", any({"x", "v"}), true},
      {"StringEquals", "none", "v", false},
      {"StringEquals", "sub", "system:serviceaccount:shop:*", false},
      {"StringLike", "sub", "system:serviceaccount:shop:*", true},
      {"StringLike", "sub", "system:serviceaccount:*:c?rt", true},
      {"StringLike", "sub", "System:*", false},
      {"StringNotLike", "sub", "system:*", false},
      {"StringNotEquals", "k", any({"x", "v"}), false},
      {"StringNotEquals", "k", any({"x", "y"}), true},
      {"StringNotEquals", "none", "v", true},
      {"StringNotEquals", "empty", "v", true},
      {"StringEqualsIgnoreCase", "k", "V", true},
      {"StringNotEqualsIgnoreCase", "k", "V", false},
      {"StringEqualsIfExists", "none", "v", true},
      {"StringEqualsIfExists", "k", "x", false},
      {"StringEquals", "many", "b", true},
      {"StringNotEquals", "many", "b", false},
      {"ForAllValues:StringEquals", "many", any({"a", "b", "c"}), true},
      {"ForAllValues:StringEquals", "many", "a", false},
      {"ForAllValues:StringEquals", "none", "a", true},
      {"ForAllValues:StringEquals", "empty", "a", true},
      {"ForAllValues:StringNotEquals", "many", "b", false},
      {"ForAnyValue:StringEquals", "many", "b", true},
      {"ForAnyValue:StringEquals", "none", "b", false},
      {"ForAnyValue:StringNotEquals", "many", "b", true},
      {"ForAnyValue:StringLikeIfExists", "none", "b", true},
      {"Null", "none", "true", true},
      {"Null", "none", "false", false},
      {"Null", "k", "false", true},
      {"Null", "k", true, false},
      {"Null", "empty", "true", true},
      {"NumericEquals", "n", 12, true},
      {"NumericEquals", "n", "12.0", true},
      {"NumericNotEquals", "n", "12.0", false},
      {"NumericNotEquals", "k", "13", false},  // no number: neither equal nor unequal
      {"NumericNotEquals", "none", "13", true},
      {"NumericNotEqualsIfExists", "none", "13", true},
      {"NumericNotEqualsIfExists", "n", "12", false},
      {"ForAllValues:NumericNotEquals", "many", "13", false},
      {"NumericNotEquals", "n", "13", true},
      {"NumericLessThan", "n", 12, false},
      {"NumericLessThanEquals", "n", 12, true},
      {"NumericGreaterThan", "n", 11, true},
      {"NumericGreaterThanEquals", "n", "13", false},
      {"NumericLessThan", "k", 12, false},
      {"DateEquals", "t", "2026-03-01T13:00:00+01:00", true},
      {"DateLessThan", "t", "2026-03-02", true},
      {"DateGreaterThan", "t", "1700000000", true},
      {"DateGreaterThanEquals", "t", "2026-03-01T12:00:00Z", true},
      {"DateGreaterThanEquals", "t", "2026-03-01T12:00:01Z", false},
      {"DateLessThan", "t", "2026-03-01T12:00:00Z", false},
      {"DateLessThanEquals", "t", "2026-03-01T12:00:00Z", true},
      {"DateLessThanEquals", "t", "2026-03-01T11:59:59Z", false},
      {"DateNotEquals", "t", "2026-03-01T12:00:00Z", false},
      {"DateNotEquals", "t", "2026-03-01T12:00:01Z", true},
      {"DateNotEquals", "k", "2026-03-01T12:00:01Z", false},  // no date
      {"DateNotEquals", "none", "2026-03-01T12:00:01Z", true},
      {"Bool", "yes", "TRUE", true},
      {"Bool", "yes", false, false},
      {"Bool", "k", "v", false},
      {"BinaryEquals", "bin", "YWI=", true},
      {"BinaryEquals", "bin", "YWI", false},
      {"IpAddress", "ip", "10.1.0.0/16", true},
      {"IpAddress", "ip", "10.1.2.3", true},
      {"IpAddress", "ip", "10.2.0.0/16", false},
      {"IpAddress", "k", "0.0.0.0/0", false},
      {"IpAddress", "ip6", "::/0", true},
      {"IpAddress", "ip", "::/0", false},
      {"NotIpAddress", "ip", any({"10.2.0.0/16", "10.1.0.0/16"}), false},
      {"NotIpAddress", "none", "10.1.0.0/16", true},
      {"NotIpAddressIfExists", "ip", "10.1.0.0/16", false},
      {"IpAddress", "ip", "0.0.0.0/0", true},
      {"IpAddress", "ip6", "fd00::/8", true},
      {"IpAddress", "ip6", "10.0.0.0/8", false},
      {"NotIpAddress", "ip", "10.1.0.0/16", false},
      {"ArnEquals", "arn", "arn:aws:iam::*:role/*", true},
      {"ArnLike", "arn", "arn:aws:iam::111122223333:role/a/b:?", true},
      {"ArnLike", "arn", "arn:*:role/a/b:c", false},  // * does not cross the colons
      {"ArnNotLike", "arn", "arn:aws:iam::*:role/*", false},
      {"ArnLike", "k", "*", false},
      {"ArnNotEquals", "arn", "arn:aws:iam::*:role/*", false},
      {"ArnNotEquals", "arn", "arn:aws:iam::*:user/*", true},
      {"ArnNotEquals", "none", "arn:aws:iam::*:role/*", true},
      {"ArnNotEqualsIfExists", "none", "arn:aws:iam::*:role/*", true},
      {"ArnNotLikeIfExists", "arn", "arn:aws:iam::*:role/*", false},
      {"StringNotEqualsIfExists", "none", "v", true},
      {"StringNotEqualsIfExists", "k", "v", false},
      {"StringNotLikeIfExists", "k", "v*", false},
      {"ForAnyValue:StringEquals", "empty", "a", false},
      {"ForAnyValue:StringNotEquals", "empty", "a", false},
      {"ForAnyValue:StringNotEqualsIfExists", "empty", "a", true},
      {"ForAllValues:StringNotEquals", "empty", "a", true},
      {"StringLike", "question", "${?}", true},
      {"StringLike", "k", "${?}", false},
      {"StringLike", "dollar", "${$}{ns}", true},
      {"StringEquals", "dollar", "${$}{ns}", true},
      {"StringEquals", "dollar", "${ns}", false},
      {"StringEquals", "sub", "system:serviceaccount:${ns}:cart", true},
      {"StringEquals", "sub", "system:serviceaccount:${none, 'shop'}:cart", true},
      {"StringEquals", "sub", "system:serviceaccount:${none}:cart", false},
      {"StringNotEquals", "sub", "system:serviceaccount:${none}:cart", true},
      {"StringEquals", "sub", "${many}", false},
      {"StringLike", "star", "${*}", true},
      {"StringLike", "k", "${*}", false},
      {"StringLike", "k", "${star}", false},  // what a variable brings in is no wildcard
      {"StringEquals", "k", "${unclosed", false},
  };
  for (const Case& c : cases)
    EXPECT_EQ(holds(condition(c.test, c.key, c.values), keys, true), c.holds) << c.test << " " << c.key << " " << json::serialize(c.values);
  EXPECT_FALSE(holds(condition("StringEquals", "ns", "${ns}"), keys, false)) << "no variables before 2012-10-17";
}

// ---- whole policies

api::TrustPolicy policy(std::string_view statements) {
  const Result<api::TrustPolicy> parsed =
      api::parseTrustPolicy(json::value("{\"Version\":\"2012-10-17\",\"Statement\":" + std::string(statements) + "}"));
  if (!parsed) throw std::runtime_error(parsed.error().sentence);
  return *parsed;
}

constexpr std::string_view kReader = R"([{"Sid":"pods","Effect":"Allow",
  "Principal":{"Federated":"arn:aws:iam::111122223333:oidc-provider/issuer.example/id/1"},"Action":"sts:AssumeRoleWithWebIdentity",
  "Condition":{"StringEquals":{"issuer.example/id/1:sub":"system:serviceaccount:shop:cart","issuer.example/id/1:aud":"sts.amazonaws.com"}}}])";

TrustRequest request() {
  return {.actions = {kAction},
          .callerNames = {kProvider},
          .keys = {{"issuer.example/id/1:sub", {"system:serviceaccount:shop:cart"}}, {"issuer.example/id/1:aud", {"sts.amazonaws.com"}}}};
}

std::string replaced(std::string text, std::string_view from, std::string_view to) {
  const std::size_t place = text.find(from);
  if (place == std::string::npos) throw std::runtime_error("nothing to replace");
  return text.replace(place, from.size(), to);
}

TEST(TrustPolicyVerdict, NamesStatementConditionExpectedAndFound) {
  EXPECT_TRUE(judge(policy(kReader), request()).allowed);
  struct Case {
    const char *why, *from, *to, *reason, *fix;
  };
  const Case cases[] = {
      {"another service account", "shop:cart", "shop:till",
       R"(statement 0 (pods): the condition StringEquals on issuer.example/id/1:sub expected "system:serviceaccount:shop:till", found "system:serviceaccount:shop:cart")",
       R"(if it may have the role, add "system:serviceaccount:shop:cart" to StringEquals on issuer.example/id/1:sub in the role's trust policy; if not, come with a token that says "system:serviceaccount:shop:till")"},
      {"a wildcard under StringEquals", "shop:cart", "shop:*",
       R"(statement 0 (pods): the condition StringEquals on issuer.example/id/1:sub expected "system:serviceaccount:shop:*", found "system:serviceaccount:shop:cart")",
       "StringEquals takes * and ? literally: write StringLike"},
      {"the key of a cluster that was", "issuer.example/id/1:sub", "old.example:sub",
       R"(statement 0 (pods): the condition StringEquals on old.example:sub expected "system:serviceaccount:shop:cart", found no such key)",
       "the condition names old.example, this token comes from issuer.example/id/1: write issuer.example/id/1:sub"},
      {"the action of another call", "sts:AssumeRoleWithWebIdentity", "sts:AssumeRole",
       R"(statement 0 (pods) allows the action "sts:AssumeRole", asked is "sts:AssumeRoleWithWebIdentity")",
       "add sts:AssumeRoleWithWebIdentity to the statement's Action"},
      {"another account's provider", "111122223333", "999922223333",
       R"(statement 0 (pods) trusts the principal "Federated arn:aws:iam::999922223333:oidc-provider/issuer.example/id/1", the caller is "arn:aws:iam::111122223333:oidc-provider/issuer.example/id/1")",
       "set the statement's Principal to the caller: arn:aws:iam::111122223333:oidc-provider/issuer.example/id/1"},
      {"a role made for EKS Pod Identity", R"({"Federated":"arn:aws:iam::111122223333:oidc-provider/issuer.example/id/1"})",
       R"({"Service":"pods.eks.amazonaws.com"})",
       R"(statement 0 (pods) trusts the principal "Service pods.eks.amazonaws.com", the caller is "arn:aws:iam::111122223333:oidc-provider/issuer.example/id/1")",
       "set the statement's Principal to the caller: arn:aws:iam::111122223333:oidc-provider/issuer.example/id/1"},
      {"everybody at AWS is not a federated caller", R"({"Federated":"arn:aws:iam::111122223333:oidc-provider/issuer.example/id/1"})",
       "\"*\"",
       R"(statement 0 (pods) trusts the principal "*", the caller is "arn:aws:iam::111122223333:oidc-provider/issuer.example/id/1")",
       "set the statement's Principal to the caller: arn:aws:iam::111122223333:oidc-provider/issuer.example/id/1"},
      {"deny only", "Allow", "Deny", "statement 0 (pods) denies sts:AssumeRoleWithWebIdentity to this caller", ""},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.why);
    const TrustVerdict verdict = judge(policy(replaced(std::string(kReader), c.from, c.to)), request());
    EXPECT_FALSE(verdict.allowed);
    EXPECT_EQ(verdict.reason, c.reason);
    EXPECT_EQ(verdict.fix, c.fix);
  }
}

TEST(TrustPolicyVerdict, ADenyBeatsEveryAllowWhateverTheOrder) {
  const std::string deny =
      R"({"Effect":"Deny","Principal":"*","Action":"*","Condition":{"StringLike":{"issuer.example/id/1:sub":"*:cart"}}})";
  const std::string allow(kReader.substr(1, kReader.size() - 2));
  for (const std::string& both : {"[" + allow + "," + deny + "]", "[" + deny + "," + allow + "]"}) {
    EXPECT_FALSE(judge(policy(both), request()).allowed);
    TrustRequest other = request();
    other.keys["issuer.example/id/1:sub"] = {"x"};
    EXPECT_FALSE(judge(policy(both), other).allowed) << "the Deny does not match, but nothing allows";
  }
}

TEST(TrustPolicyVerdict, EveryActionMustBeAllowed) {
  TrustRequest tagged = request();
  tagged.actions.push_back("sts:TagSession");
  const TrustVerdict verdict = judge(policy(kReader), tagged);
  EXPECT_FALSE(verdict.allowed);
  EXPECT_EQ(verdict.action, "sts:TagSession");
  EXPECT_TRUE(judge(policy(replaced(std::string(kReader), "\"sts:AssumeRoleWithWebIdentity\"",
                                    R"(["sts:AssumeRoleWithWebIdentity","sts:TagSession"])")),
                    tagged)
                  .allowed);
}

TEST(TrustPolicyVerdict, ACallerIsKnownByAllItsNames) {
  const TrustRequest caller{
      .actions = {"sts:AssumeRole"},
      .callerType = api::PrincipalType::Aws,
      .callerNames = {"arn:aws:sts::111122223333:assumed-role/a/s", "arn:aws:iam::111122223333:role/a", "111122223333"}};
  const auto trusting = [&](std::string_view principal) {
    return judge(policy(R"({"Effect":"Allow","Action":"sts:AssumeRole","Principal":{"AWS":")" + std::string(principal) + "\"}}"), caller)
        .allowed;
  };
  EXPECT_TRUE(trusting("arn:aws:iam::111122223333:role/a"));
  EXPECT_TRUE(trusting("arn:aws:sts::111122223333:assumed-role/a/s"));
  EXPECT_TRUE(trusting("111122223333"));
  EXPECT_TRUE(trusting("*"));
  EXPECT_FALSE(trusting("arn:aws:iam::111122223333:role/b"));
  const std::string except =
      R"([{"Effect":"Allow","Action":"*","Principal":"*"},{"Effect":"Deny","Action":"*","NotPrincipal":{"AWS":"arn:aws:iam::111122223333:role/X"}}])";
  EXPECT_FALSE(judge(policy(except), caller).allowed);
  EXPECT_TRUE(judge(policy(replaced(except, "role/X", "role/a")), caller).allowed);
}

TEST(TrustPolicyVerdict, ShowsItselfAsJson) {
  const json::object shown = toJson(judge(policy(replaced(std::string(kReader), "shop:cart", "shop:till")), request()));
  const json::object& failed = shown.at("statements").at(0).at("conditions").at(0).as_object();
  EXPECT_EQ(
      json::serialize(failed),
      R"({"operator":"StringEquals","key":"issuer.example/id/1:sub","expected":["system:serviceaccount:shop:till"],"found":["system:serviceaccount:shop:cart"],"holds":false})");
}

}  // namespace
}  // namespace podpass::irsa
