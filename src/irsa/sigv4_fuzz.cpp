#include <cstdint>
#include <cstdlib>

#include "irsa/sigv4.h"

// Input: a query, a line feed, an Authorization header, a line feed, a date header. Properties: whatever is read can be checked, a refusal
// has a code, and nothing verifies under a key that signed nothing.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace podpass;
  using namespace podpass::irsa;
  const std::string text(reinterpret_cast<const char*>(data), size);
  const std::size_t first = text.find('\n'), second = first == std::string::npos ? first : text.find('\n', first + 1);
  if (second == std::string::npos) return 0;
  http::Request request;
  request.method = "POST";
  request.query = text.substr(0, first);
  request.target = "/?" + request.query;
  request.headers.add("Host", "h");
  request.headers.add("Authorization", text.substr(first + 1, second - first - 1));
  request.headers.add("X-Amz-Date", text.substr(second + 1));
  const Outcome<Signature> signature = readSignature(request);
  if (!signature) {
    if (signature.refusal().code.empty() || signature.refusal().message.empty()) std::abort();
    return 0;
  }
  (void)checkTime(*signature, WallTime(std::chrono::seconds(1'772'366'400)));
  if (checkSignature(*signature, request, Secret("a secret that the fuzzer does not know"))) std::abort();
  return 0;
}
