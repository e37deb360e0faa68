#include <benchmark/benchmark.h>
#include <malloc.h>

#include "base/text.h"
#include "token/inventory.h"

namespace podpass::token {
namespace {

namespace fs = std::filesystem;

// What a token costs the thread that has signed it: the queue, not the file.
void BM_Add(benchmark::State& state) {
  static const SystemClock clock;
  static Inventory inventory(fs::temp_directory_path() / ("podpass-bench-" + randomUuid()), clock, [] { return WallTime{}; },
                             {.tokens = 100'000, .queue = std::size_t{1} << 30});
  static std::vector<std::string> jtis;
  if (state.thread_index() == 0 && jtis.empty())
    for (int i = 0; i < 4096; ++i) jtis.push_back(randomUuid());
  BoundClaims claims{.ns = "default",
                     .serviceAccount = {"reader", randomUuid()},
                     .pod = {"web-5d4f8c7b9d-x2v4k", randomUuid()},
                     .node = {"ip-10-0-0-1", randomUuid()},
                     .audiences = {"sts.amazonaws.com"}};
  claims.issuedAt = std::chrono::floor<std::chrono::seconds>(clock.now().time_since_epoch()).count();
  claims.expires = claims.issuedAt + 3607;
  std::size_t next = 0;
  for (auto _ : state) {
    claims.jti = jtis[++next % jtis.size()];
    inventory.add(claims, {"https://issuer.example", "kid", "system:node:ip-10-0-0-1"});
    if (next % 65536 == 0 && state.thread_index() == 0) {
      state.PauseTiming();
      inventory.write();
      state.ResumeTiming();
    }
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(BM_Add)->Threads(1)->Threads(2)->UseRealTime();

// What a live token takes in memory, when each is bound to a pod of its own: bytes are counted by the allocator's own books.
void BM_MemoryOfATokenOfAPod(benchmark::State& state) {
  const SystemClock clock;
  constexpr int kTokens = 100'000;
  for (auto _ : state) {
    Inventory inventory("", clock, [] { return WallTime{}; }, {.queue = std::size_t{1} << 30});
    const auto inUse = [] { return static_cast<double>(::mallinfo2().uordblks); };
    BoundClaims claims{.ns = "default", .serviceAccount = {"reader", randomUuid()}, .audiences = {"sts.amazonaws.com"}};
    claims.issuedAt = std::chrono::floor<std::chrono::seconds>(clock.now().time_since_epoch()).count();
    claims.expires = claims.issuedAt + 3607;
    const double before = inUse();
    for (int i = 0; i < kTokens; ++i) {
      claims.jti = randomUuid();
      claims.pod = {"web-5d4f8c7b9d-" + randomSuffix(), randomUuid()};
      inventory.add(claims, {"https://issuer.example", "kid", "system:node:ip-10-0-0-1"});
      if (i % 1000 == 0) inventory.write();  // nothing waits
    }
    inventory.write();
    state.counters["bytes/token"] = (inUse() - before) / kTokens;
  }
}
BENCHMARK(BM_MemoryOfATokenOfAPod)->Iterations(1);

}  // namespace
}  // namespace podpass::token
