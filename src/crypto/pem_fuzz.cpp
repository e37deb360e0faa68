#include <cstdint>
#include <cstdlib>

#include "crypto/key.h"

// Whatever is read as a key survives being written and read again, and a public reader never gives a private half.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace podpass;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const Result<crypto::KeyPair> key = crypto::KeyPair::fromPrivatePem(text)) {
    const Result<crypto::KeyPair> again = crypto::KeyPair::fromPrivatePem(key->privatePem().reveal());
    if (!again || again->publicDer() != key->publicDer()) std::abort();
  }
  for (const Result<crypto::KeyPair>& key : {crypto::KeyPair::fromPublicPem(text), crypto::KeyPair::fromPublicDer(text)}) {
    if (!key) continue;
    if (key->hasPrivate()) std::abort();
    if (crypto::KeyPair::fromPublicPem(key->publicPem())->publicDer() != key->publicDer()) std::abort();
  }
  if (const Result<std::vector<crypto::KeyPair>> keys = crypto::readPemKeys(text); keys && keys->empty()) std::abort();
  return 0;
}
