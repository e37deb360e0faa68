#include <cstdint>
#include <cstdlib>

#include "base/text.h"
#include "jose/jws.h"
#include "jose/test_keys.h"

// What parses is exactly what was read, and no input that we did not sign is ever verified.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace podpass;
  static const std::vector<jose::Key> keys = *jose::parseJwks(jose::test::kJwks);
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  (void)jose::parseJwks(text);
  const Result<jose::UnverifiedJws> jws = jose::parseCompactJws(text);
  if (!jws) return 0;
  if (jws->signingInput + "." + base64UrlEncode(jws->signature) != text) std::abort();
  if (jws->alg == "none") std::abort();
  for (const jose::Key& key : keys)
    if (!jose::isFor(key, jws->alg) && jose::verifies(key, *jws)) std::abort();
  return 0;
}
