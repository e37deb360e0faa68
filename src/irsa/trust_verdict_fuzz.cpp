#include <cstdint>
#include <cstdlib>

#include "irsa/trust_policy_verdict.h"

// Input: a subject, a line feed, a trust policy. Properties: the same question has the same answer, nothing is allowed that no Allow
// statement matches, and a refusal has a reason.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace podpass;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const std::size_t line = text.find('\n');
  if (line == std::string_view::npos || line > 300) return 0;
  const Result<api::TrustPolicy> policy = api::parseTrustPolicy(json::value(text.substr(line + 1)));
  if (!policy) return 0;
  irsa::TrustRequest request{.actions = {"sts:AssumeRoleWithWebIdentity"}, .callerNames = {"arn:aws:iam::111122223333:oidc-provider/i"}};
  request.keys["i:sub"] = {std::string(text.substr(0, line))};
  request.keys["i:amr"] = {"a", "b"};
  const irsa::TrustVerdict verdict = irsa::judge(*policy, request);
  if (irsa::judge(*policy, request).allowed != verdict.allowed || verdict.reason.empty()) std::abort();
  bool allow = false, deny = false;
  for (const irsa::StatementVerdict& each : verdict.statements) (each.allows ? allow : deny) |= each.matches;
  if (verdict.allowed != (allow && !deny)) std::abort();
  (void)irsa::toJson(verdict);
  return 0;
}
