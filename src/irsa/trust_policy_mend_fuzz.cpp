#include <cstdint>
#include <cstdlib>

#include "irsa/trust_policy_mend.h"

// Input: a subject, a line feed, a trust policy. Properties: a mended policy can be read and allows what was asked; where a Deny statement
// holds, nothing is mended.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace podpass;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const std::size_t line = text.find('\n');
  if (line == std::string_view::npos || line > 300) return 0;
  const json::value document(text.substr(line + 1));
  const Result<api::TrustPolicy> policy = api::parseTrustPolicy(document);
  irsa::TrustRequest request{.actions = {"sts:AssumeRoleWithWebIdentity"}, .callerNames = {"arn:aws:iam::111122223333:oidc-provider/i"}};
  request.keys["i:sub"] = {std::string(text.substr(0, line))};
  request.keys["i:aud"] = {"sts.amazonaws.com"};
  const std::optional<json::object> mended = irsa::mendedPolicy(document, request);
  if (!mended) return 0;
  if (!policy) std::abort();
  const Result<api::TrustPolicy> after = api::parseTrustPolicy(*mended);
  if (!after || !irsa::judge(*after, request).allowed) std::abort();
  for (const irsa::StatementVerdict& each : irsa::judge(*policy, request).statements)
    if (!each.allows && each.matches) std::abort();
  return 0;
}
