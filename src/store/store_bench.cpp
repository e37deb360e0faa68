#include <benchmark/benchmark.h>

#include <future>

#include "base/text.h"
#include "store/store.h"

namespace podpass {
namespace {

// A service account of the usual size.
json::object account(int n) {
  return json::object{
      {"apiVersion", "v1"},
      {"kind", "ServiceAccount"},
      {"metadata", json::object{{"name", "account-" + std::to_string(n)},
                                {"namespace", "default"},
                                {"uid", "6f1e7f4c-2f5a-4d38-9a3b-1c7d0f1b2a3c"},
                                {"creationTimestamp", "2023-03-04T10:08:03Z"},
                                {"annotations", json::object{{"eks.amazonaws.com/role-arn", "arn:aws:iam::111122223333:role/reader"}}}}}};
}

struct OnDisk {
  std::filesystem::path path = std::filesystem::temp_directory_path() / ("podpass-store-" + randomSuffix(10));
  std::unique_ptr<Store> store = *openSqliteStore(path);
  ~OnDisk() {
    store = nullptr;
    std::filesystem::remove_all(path);
  }
};

// How many durable commits a second, when each writer waits for its own?
void BM_Commit(benchmark::State& state) {
  static OnDisk disk;
  const std::string prefix = "/registry/serviceaccounts/default/" + std::to_string(state.thread_index()) + "-";
  int n = 0;
  for (auto _ : state) {
    std::promise<bool> done;
    disk.store->commit({prefix + std::to_string(n % 100), account(n), {}},
                       [&done](const Result<Entry>& result) { done.set_value(static_cast<bool>(result)); });
    if (!done.get_future().get()) state.SkipWithError("a commit failed");
    ++n;
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(BM_Commit)->Threads(1)->Threads(64)->UseRealTime();

// How many reads of one object a second, among 13,500?
void BM_Get(benchmark::State& state) {
  static const std::unique_ptr<Store> store = [] {
    auto made = makeMemoryStore();
    for (int n = 0; n < 13'500; ++n) {
      std::promise<void> done;
      made->commit({"/registry/serviceaccounts/default/" + std::to_string(n), account(n), 0},
                   [&done](const Result<Entry>&) { done.set_value(); });
      done.get_future().get();
    }
    return made;
  }();
  int n = 0;
  for (auto _ : state) benchmark::DoNotOptimize(store->get("/registry/serviceaccounts/default/" + std::to_string(n++ * 7919 % 13'500)));
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(BM_Get)->Threads(1)->Threads(2)->UseRealTime();

}  // namespace
}  // namespace podpass
