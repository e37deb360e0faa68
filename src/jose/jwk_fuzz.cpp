#include <cstdint>
#include <cstdlib>

#include "jose/jws.h"

// A key that is read is written as the same key, never with a private half; a set is read without more keys than it has members.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace podpass;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  (void)jose::parseJwks(text);
  const Result<json::object> jwk = jose::parseStrictObject(text);
  if (!jwk) return 0;
  const Result<jose::Key> key = jose::fromJwk(*jwk);
  if (!key) return 0;
  if (key->key.hasPrivate()) std::abort();
  const Result<jose::Key> again = jose::fromJwk(jose::toJwk(*key));
  if (!again || again->key.publicDer() != key->key.publicDer()) std::abort();
  return 0;
}
