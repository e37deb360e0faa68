#include "irsa/trust_policy_mend.h"

#include <gtest/gtest.h>

#include <functional>

namespace podpass::irsa {
namespace {

constexpr const char* kProvider = "arn:aws:iam::111122223333:oidc-provider/issuer.example/id/1";

TrustRequest request() {
  TrustRequest asked;
  asked.actions = {"sts:AssumeRoleWithWebIdentity"};
  asked.callerNames = {kProvider};
  asked.keys["issuer.example/id/1:sub"] = {"system:serviceaccount:shop:cart"};
  asked.keys["issuer.example/id/1:aud"] = {"sts.amazonaws.com"};
  return asked;
}

json::object goodStatement() {
  return {{"Effect", "Allow"},
          {"Principal", json::object{{"Federated", kProvider}}},
          {"Action", "sts:AssumeRoleWithWebIdentity"},
          {"Condition", json::object{{"StringEquals", json::object{{"issuer.example/id/1:sub", "system:serviceaccount:shop:cart"}}}}}};
}

json::object policyOf(json::array statements) { return {{"Version", "2012-10-17"}, {"Statement", std::move(statements)}}; }

TEST(MendedPolicy, AllowsWhatWasRefusedAndChangesNothingElse) {
  struct Case {
    const char* why;
    std::function<void(json::object&)> spoil;
    const char* changed;  // the first statement afterwards, "" when it stays and another is added
  };
  const auto condition = [](const char* test, const char* key, json::value values) {
    return [=](json::object& statement) { statement["Condition"] = json::object{{test, json::object{{key, values}}}}; };
  };
  const Case cases[] = {
      {"another subject", condition("StringEquals", "issuer.example/id/1:sub", "system:serviceaccount:shop:card"),
       R"({"StringEquals":{"issuer.example/id/1:sub":["system:serviceaccount:shop:card","system:serviceaccount:shop:cart"]}})"},
      {"a wildcard taken literally", condition("StringEquals", "issuer.example/id/1:sub", "system:serviceaccount:shop:*"),
       R"({"StringLike":{"issuer.example/id/1:sub":"system:serviceaccount:shop:*"}})"},
      {"a wildcard that would not match either", condition("StringEquals", "issuer.example/id/1:sub", "system:serviceaccount:web:*"),
       R"({"StringLike":{"issuer.example/id/1:sub":["system:serviceaccount:web:*","system:serviceaccount:shop:cart"]}})"},
      {"the key of another issuer", condition("StringEquals", "issuer.example/id/0:sub", "system:serviceaccount:shop:cart"),
       R"({"StringEquals":{"issuer.example/id/1:sub":"system:serviceaccount:shop:cart"}})"}};
  for (const Case& c : cases) {
    SCOPED_TRACE(c.why);
    json::object statement = goodStatement();
    c.spoil(statement);
    for (const json::value& document : {json::value(policyOf({statement})), json::value(json::serialize(policyOf({statement})))}) {
      const std::optional<json::object> mended = mendedPolicy(document, request());
      ASSERT_TRUE(mended);
      EXPECT_TRUE(judge(*api::parseTrustPolicy(*mended), request()).allowed);
      EXPECT_EQ(mended->at("Statement").at(0).at("Condition"), json::parse(c.changed)) << json::serialize(*mended);
      EXPECT_EQ(mended->at("Statement").as_array().size(), 1u);
    }
  }
}

TEST(MendedPolicy, MendsSeveralThingsAtOnce) {
  json::object statement = goodStatement();
  statement["Action"] = "sts:AssumeRole";
  statement["Principal"] = json::object{{"Federated", "arn:aws:iam::111122223333:oidc-provider/issuer.example/id/0"}};
  statement["Condition"] = json::object{{"StringEquals", json::object{{"issuer.example/id/0:sub", "system:serviceaccount:shop:cart"},
                                                                      {"issuer.example/id/0:aud", "sts.amazonaws.com"}}}};
  TrustRequest asked = request();
  asked.actions.emplace_back("sts:TagSession");
  const std::optional<json::object> mended = mendedPolicy(policyOf({statement}), asked);
  ASSERT_TRUE(mended);
  EXPECT_TRUE(judge(*api::parseTrustPolicy(*mended), asked).allowed) << json::serialize(*mended);
  EXPECT_EQ(mended->at("Statement").at(0).at("Action"),
            json::parse(R"(["sts:AssumeRole","sts:TagSession","sts:AssumeRoleWithWebIdentity"])"));
}

// Its conditions, if it has any, were not written for tokens: the whole cluster would be let in.
TEST(MendedPolicy, LeavesAStatementForOtherCallersAlone) {
  for (const char* principal : {R"({"Service":"pods.eks.amazonaws.com"})", R"({"AWS":"arn:aws:iam::111122223333:root"})",
                                R"({"Federated":"arn:aws:iam::111122223333:oidc-provider/other"})"}) {
    json::object statement = goodStatement();
    statement["Principal"] = json::parse(principal);
    statement.erase("Condition");
    const std::optional<json::object> mended = mendedPolicy(policyOf({statement}), request());
    ASSERT_TRUE(mended);
    const json::array& statements = mended->at("Statement").as_array();
    ASSERT_EQ(statements.size(), 2u);
    EXPECT_EQ(statements[0], json::value(statement));
    EXPECT_EQ(statements[1].at("Condition"), json::parse(R"({"StringEquals":{"issuer.example/id/1:sub":"system:serviceaccount:shop:cart",
                                                                             "issuer.example/id/1:aud":"sts.amazonaws.com"}})"));
  }
}

TEST(MendedPolicy, KnowsWhenItDoesNotKnow) {
  json::object deny = goodStatement();
  deny["Effect"] = "Deny";
  EXPECT_FALSE(mendedPolicy(policyOf({goodStatement(), deny}), request())) << "denied by intention";
  json::object late = goodStatement();
  late["Condition"] = json::object{{"DateLessThan", json::object{{"aws:CurrentTime", "2020-01-01"}}}};
  EXPECT_FALSE(mendedPolicy(policyOf({late}), request()));
  json::object except = goodStatement();
  except["Condition"] = json::object{{"StringNotEquals", json::object{{"issuer.example/id/1:sub", "system:serviceaccount:shop:cart"}}}};
  EXPECT_FALSE(mendedPolicy(policyOf({except}), request()));
  EXPECT_FALSE(mendedPolicy("{", request()));
  EXPECT_FALSE(mendedPolicy(nullptr, request()));
  EXPECT_FALSE(mendedPolicy(json::object{{"Statement", 7}}, request()));
}

TEST(PolicyFor, AllowsThisRequestAndNoOtherAccount) {
  const Result<api::TrustPolicy> policy = api::parseTrustPolicy(policyFor(request()));
  ASSERT_TRUE(policy);
  EXPECT_TRUE(judge(*policy, request()).allowed);
  TrustRequest other = request();
  other.keys["issuer.example/id/1:sub"] = {"system:serviceaccount:shop:other"};
  EXPECT_FALSE(judge(*policy, other).allowed);
}

}  // namespace
}  // namespace podpass::irsa
