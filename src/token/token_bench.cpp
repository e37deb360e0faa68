#include <benchmark/benchmark.h>

#include "token/issuer.h"
#include "token/verifier.h"

namespace podpass::token {
namespace {

struct Issuing {
  FakeClock clock;
  Snapshot<KeyRing> ring;
  Issuer issuer{"https://issuer.example", ring};
  DocumentPtr object = std::make_shared<const Document>(Document{json::object{{"metadata", {{"uid", "u"}}}}, "", 1});
  Verifier verifier{{"https://issuer.example"},
                    {"https://kubernetes.default.svc"},
                    ring,
                    [this](std::string_view, const std::string&, const std::string&) -> Result<DocumentPtr> { return object; },
                    clock};

  explicit Issuing(crypto::KeyType type)
      : ring(std::make_shared<const KeyRing>(
            std::vector{std::make_shared<const jose::Key>(*jose::makeKey(*crypto::KeyPair::generate(type)))})) {}
  Result<Secret> token(int number) const {
    const std::int64_t now = std::chrono::floor<std::chrono::seconds>(clock.now().time_since_epoch()).count();
    return issuer.issue({.ns = "default",
                         .serviceAccount = {"reader", "u"},
                         .pod = {"web-0", "u"},
                         .audiences = {"https://kubernetes.default.svc"},
                         .issuedAt = now,
                         .expires = now + 3607,
                         .jti = "jti-" + std::to_string(number)});
  }
};

Issuing& issuing(crypto::KeyType type) {
  static Issuing rsa(crypto::KeyType::Rsa2048), ec(crypto::KeyType::P256);
  return type == crypto::KeyType::P256 ? ec : rsa;
}

template <crypto::KeyType Type>
void BM_Issue(benchmark::State& state) {
  int number = 0;
  for (auto _ : state) benchmark::DoNotOptimize(issuing(Type).token(++number));
}

template <crypto::KeyType Type>
void BM_VerifyUnseen(benchmark::State& state) {
  Issuing& all = issuing(Type);
  const Secret token = *all.token(0);
  const Snapshot<KeyRing>& ring = all.ring;
  for (auto _ : state) {
    // a verifier that has cached no signature yet
    state.PauseTiming();
    const Verifier fresh(
        {"https://issuer.example"}, {"https://kubernetes.default.svc"}, ring,
        [&all](std::string_view, const std::string&, const std::string&) -> Result<DocumentPtr> { return all.object; }, all.clock);
    state.ResumeTiming();
    benchmark::DoNotOptimize(fresh.verify(token.reveal(), {}));
  }
}

template <crypto::KeyType Type>
void BM_VerifyRepeated(benchmark::State& state) {
  Issuing& all = issuing(Type);
  const Secret token = *all.token(0);
  for (auto _ : state) benchmark::DoNotOptimize(all.verifier.verify(token.reveal(), {}));
}

BENCHMARK(BM_Issue<crypto::KeyType::Rsa2048>)->Name("issue RS256")->Threads(1)->Threads(2)->UseRealTime();
BENCHMARK(BM_Issue<crypto::KeyType::P256>)->Name("issue ES256")->Threads(1)->Threads(2)->UseRealTime();
BENCHMARK(BM_VerifyUnseen<crypto::KeyType::Rsa2048>)->Name("verify unseen RS256");
BENCHMARK(BM_VerifyUnseen<crypto::KeyType::P256>)->Name("verify unseen ES256");
BENCHMARK(BM_VerifyRepeated<crypto::KeyType::Rsa2048>)->Name("verify repeated RS256")->Threads(1)->Threads(2)->UseRealTime();

}  // namespace
}  // namespace podpass::token
