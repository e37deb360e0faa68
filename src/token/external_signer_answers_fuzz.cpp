#include <cstdlib>

#include "base/text.h"
#include "token/external_signer_answers.h"

// A header that is accepted says typ, alg and kid, and is one that our own verifier reads the same key id from.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string header = podpass::base64UrlEncode({reinterpret_cast<const char*>(data), size});
  const podpass::Result<std::string> kid = podpass::token::keyIdOfHeader(header);
  if (!kid) return 0;
  const auto jws = podpass::jose::parseCompactJws(header + "." + podpass::base64UrlEncode("{}") + ".AA");
  if (!jws || jws->kid != *kid || jws->typ != "JWT" || jws->header.size() != 3) std::abort();
  return 0;
}
