#include <gtest/gtest.h>

#include "irsa/test_sts.h"

// What the conditions of a trust policy see.
namespace podpass::irsa {
namespace {

std::string codeOf(const test::Answer& answer) { return answer.code(); }

std::string assumeRole(const std::string& role, const std::string& more = {}) {
  return "Action=AssumeRole&RoleSessionName=ss&RoleArn=arn:aws:iam::000000000000:role/" + role + more;
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

}  // namespace
}  // namespace podpass::irsa
