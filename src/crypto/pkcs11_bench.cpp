#include <benchmark/benchmark.h>

#include "crypto/test_softhsm.h"

// What a signature through SoftHSM costs beside OpenSSL's own in this process.
namespace podpass::crypto {
namespace {

Pkcs11Token& token() {
  static const test::SoftHsm hsm;
  static const std::shared_ptr<Pkcs11Token> opened = *hsm.open();
  return *opened;
}

template <KeyType Type, bool InToken>
void BM_Sign(benchmark::State& state) {
  static const std::string name(nameOf(Type));
  static const KeyPair key = InToken ? *token().generate(Type, {.label = name, .id = name}) : *KeyPair::generate(Type);
  const std::string input(400, 'x');  // a token's header and payload have about that many bytes
  for (auto _ : state) benchmark::DoNotOptimize(key.sign(input));
}
BENCHMARK(BM_Sign<KeyType::Rsa2048, false>)->UseRealTime();
BENCHMARK(BM_Sign<KeyType::Rsa2048, true>)->Threads(1)->Threads(2)->UseRealTime();
BENCHMARK(BM_Sign<KeyType::P256, false>)->UseRealTime();
BENCHMARK(BM_Sign<KeyType::P256, true>)->Threads(1)->Threads(2)->UseRealTime();

}  // namespace
}  // namespace podpass::crypto
