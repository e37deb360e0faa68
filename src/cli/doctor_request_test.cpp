#include "cli/doctor_request.h"

#include <gtest/gtest.h>

#include "irsa/sts_refusal_log.h"
#include "irsa/trust_policy_verdict.h"

namespace podpass::cli {
namespace {

TEST(DoctorRequest, ShowsWhatHeldAndWhatDidNot) {
  const Result<api::TrustPolicy> policy = api::parseTrustPolicy(json::value(
      R"({"Statement":{"Sid":"pods","Effect":"Allow","Principal":{"Federated":"arn:aws:iam::000000000000:oidc-provider/i"},"Action":"sts:AssumeRoleWithWebIdentity","Condition":{"StringEquals":{"i:sub":"a*","i:amr":"m"}}}})"));
  irsa::TrustRequest trust;
  trust.actions = {"sts:AssumeRoleWithWebIdentity"};
  trust.callerNames = {"arn:aws:iam::000000000000:oidc-provider/i"};
  trust.keys["i:sub"] = {"abc"};
  const irsa::TrustVerdict verdict = irsa::judge(*policy, trust);
  irsa::Refusal refusal{403, "AccessDenied", "Not authorized", "trust policy", verdict.reason, verdict.fix, irsa::toJson(verdict)};
  irsa::RefusedRequest request{.id = "ID", .action = "AssumeRoleWithWebIdentity", .roleArn = "R", .caller = "C", .remote = {}, .role = {}};
  EXPECT_EQ(shownVerdict(irsa::verdictOf(request, refusal, WallTime())),
            "request:  ID\n"
            "time:     1970-01-01T00:00:00Z\n"
            "action:   AssumeRoleWithWebIdentity\n"
            "role:     R\n"
            "caller:   C\n"
            "answered: AccessDenied: Not authorized\n"
            "broken:   trust policy\n"
            "statement 0 (pods), Allow: does not match\n"
            "  ok    action: expected \"sts:AssumeRoleWithWebIdentity\", found \"sts:AssumeRoleWithWebIdentity\"\n"
            "  ok    principal: expected \"Federated arn:aws:iam::000000000000:oidc-provider/i\", found "
            "\"arn:aws:iam::000000000000:oidc-provider/i\"\n"
            "  FAIL  StringEquals i:sub: expected \"a*\", found \"abc\"\n"
            "        note: StringEquals takes * and ? literally: write StringLike\n"
            "  FAIL  StringEquals i:amr: expected \"m\", found nothing\n"
            "        note: the request has no key i:amr\n"
            "why:      statement 0 (pods): the condition StringEquals on i:sub expected \"a*\", found \"abc\"\n"
            "fix:      StringEquals takes * and ? literally: write StringLike\n");
}

}  // namespace
}  // namespace podpass::cli
