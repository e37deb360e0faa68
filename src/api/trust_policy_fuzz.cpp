#include <cstdint>
#include <cstdlib>

#include "api/trust_policy.h"

// Input: a trust policy's text. Properties: the text and the object that it holds are judged alike, every refusal has a sentence, and
// what was accepted has a statement.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace podpass;
  using namespace podpass::api;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const Result<TrustPolicy> policy = parseTrustPolicy(json::value(text));
  if (!policy) {
    if (policy.error().sentence.empty() || policy.error().causes.empty()) std::abort();
    return 0;
  }
  if (policy->statements.empty()) std::abort();
  boost::system::error_code failed;
  json::parse_options options;
  options.max_depth = 200;
  const json::value document = json::parse(text, failed, {}, options);
  if (!failed && !parseTrustPolicy(document)) std::abort();
  return 0;
}
