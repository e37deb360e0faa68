#include <benchmark/benchmark.h>

#include "base/text.h"
#include "token/external_signer.h"
#include "token/signer_service.h"

// A token signed by another program: what the socket, the protocol and both sides' checks add to the signature.
namespace podpass::token {
namespace {

struct Signing {
  std::filesystem::path directory = std::filesystem::temp_directory_path() / ("podpass-bench-" + randomUuid().substr(0, 8));
  SystemClock clock;
  std::unique_ptr<Store> store = makeMemoryStore();
  std::unique_ptr<KeyEncryption> kek = KeyEncryption::of(*crypto::Envelope::of({Secret(std::string(32, 'k'))}));
  SigningKeys keys;
  SignerService service;
  std::unique_ptr<ExternalSigner> client;
  std::string claims;

  explicit Signing(crypto::KeyType type)
      : keys(*store, *kek, clock, {.algorithms = {.standard = type}}), service(keys, clock, {.socket = directory / "s"}) {
    if (!keys.open() || !service.start()) std::abort();
    client = *ExternalSigner::connect((directory / "s").string());
    const std::int64_t now = std::chrono::duration_cast<std::chrono::seconds>(clock.now().time_since_epoch()).count();
    claims = R"({"aud":["https://kubernetes.default.svc"],"exp":)" + std::to_string(now + 3600) +
             R"(,"iss":"https://issuer.example","x":")" + std::string(200, 'x') + "\"}";
  }
  ~Signing() {
    client.reset();
    service.stop();
    std::filesystem::remove_all(directory);
  }
};

template <crypto::KeyType Type>
void BM_SignBySocket(benchmark::State& state) {
  static const Signing signing(Type);
  for (auto _ : state) benchmark::DoNotOptimize(signing.client->sign(signing.claims));
}
BENCHMARK(BM_SignBySocket<crypto::KeyType::Rsa2048>)->Threads(1)->Threads(4)->UseRealTime();
BENCHMARK(BM_SignBySocket<crypto::KeyType::P256>)->Threads(1)->Threads(4)->UseRealTime();

}  // namespace
}  // namespace podpass::token
