#include <cstdlib>

#include "base/text.h"
#include "token/signer_service.h"

// Claims that are signed make a token that our own parser reads the same expiry from.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace podpass;
  const std::string claims = base64UrlEncode({reinterpret_cast<const char*>(data), size});
  const Result<token::AskedClaims> asked = token::checkClaims(claims, std::chrono::seconds(3600), "", WallTime{});
  if (!asked) return 0;
  const auto jws = jose::parseCompactJws(base64UrlEncode("{\"alg\":\"ES256\"}") + "." + claims + ".AA");
  if (!jws || jws->payload.at("exp") != asked->expires || asked->expires > 3660) std::abort();
  return 0;
}
