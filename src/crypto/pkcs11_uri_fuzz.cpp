#include "crypto/pkcs11_uri.h"

#include <cstdlib>

// What was read and is written again names the same token and object, and never says where the PIN lies.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace podpass::crypto;
  const podpass::Result<Pkcs11Uri> uri = parsePkcs11Uri({reinterpret_cast<const char*>(data), size});
  if (!uri || size > 1000) return 0;  // encoded, it may be three times as long
  const podpass::Result<Pkcs11Uri> again = parsePkcs11Uri(pkcs11Path(*uri));
  if (!again || again->token != uri->token || again->id != uri->id || again->object != uri->object || again->slot != uri->slot)
    std::abort();
  if (!again->pinSource.empty()) std::abort();
  return 0;
}
