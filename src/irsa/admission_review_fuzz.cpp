#include <cstdint>
#include <cstdlib>

#include "api/patch.h"
#include "irsa/admission_review.h"
#include "irsa/aws.h"

// Whatever is asked, the answer is JSON; a pod that can be read is given a patch that applies to it, and then asks for nothing more.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace podpass;
  using namespace podpass::irsa;
  const AdmissionReview review(std::string_view(reinterpret_cast<const char*>(data), size));
  boost::system::error_code failed;
  (void)json::parse(review.denied(review.problem()), failed);
  if (failed) std::abort();
  if (!review.problem().empty()) return 0;
  const AwsSettings settings{.region = "eu-west-1", .regionalSts = true};
  const auto patched = [&settings](const json::object& pod) -> Result<json::object> {
    const Result<PodView> view = viewPod(pod);
    if (!view) std::abort();
    const Injection injections[] = {webIdentity({"arn:aws:iam::000000000000:role/r", "a", true, 600}, *view, settings),
                                    containerCredentials({}, *view, settings, 0)};
    json::parse_options options;
    options.max_depth = 256;
    boost::system::error_code malformed;
    const json::value patch = json::parse(podPatch(*view, injections).json, malformed, {}, options);
    if (malformed) std::abort();
    return api::applyJsonPatch(pod, patch);
  };
  if (!review.object().contains("spec") || !review.object().contains("metadata")) return 0;  // `add` makes no parents
  const Result<json::object> once = patched(review.object());
  if (!once) return 0;
  const Result<json::object> twice = patched(*once);
  if (!twice || json::serialize(*once) != json::serialize(*twice)) std::abort();
  return 0;
}
