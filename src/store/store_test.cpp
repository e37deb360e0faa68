#include "store/store.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <future>
#include <random>

#include "base/text.h"
#include "store/sqlite_store.h"

namespace podpass {
namespace {

struct Directory {
  std::filesystem::path path = std::filesystem::temp_directory_path() / ("podpass-store-" + randomSuffix(10));
  ~Directory() { std::filesystem::remove_all(path); }
};

Result<Entry> commit(Store& store, Mutation mutation) {
  std::promise<Result<Entry>> promise;
  store.commit(std::move(mutation), [&promise](Result<Entry> result) { promise.set_value(std::move(result)); });
  return promise.get_future().get();
}

// Waits until the store says that it is, or is not, healthy.
bool becomes(const Store& store, bool healthy) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (static_cast<bool>(store.healthy()) != healthy && std::chrono::steady_clock::now() < end) std::this_thread::yield();
  return static_cast<bool>(store.healthy()) == healthy;
}

json::object object(int n) { return json::object{{"metadata", json::object{{"name", "x"}}}, {"n", n}}; }

TEST(Store, AgreesWithAMapWhateverIsDone) {
  for (std::uint32_t seed = 0; seed < 5; ++seed) {
    std::mt19937 random(seed);
    Directory directory;
    auto store = openSqliteStore(directory.path);
    ASSERT_TRUE(store) << store.error().sentence;
    std::map<std::string, std::pair<int, std::uint64_t>> model;
    for (int step = 0; step < 120; ++step) {
      const std::string key = "/registry/k/" + std::to_string(random() % 6);
      const bool erase = random() % 3 == 0;
      std::optional<std::uint64_t> expected;
      if (random() % 2 == 0) expected = random() % 2 == 0 ? 0 : model.contains(key) ? model[key].second : 99999;
      Mutation mutation{key, std::nullopt, expected};
      if (!erase) mutation.value = object(step);
      const bool fits = (!expected || (*expected == 0 ? !model.contains(key) : model.contains(key) && model[key].second == *expected)) &&
                        (!erase || model.contains(key));
      const Result<Entry> done = commit(**store, std::move(mutation));
      ASSERT_EQ(static_cast<bool>(done), fits) << "seed " << seed << ", step " << step;
      if (done && erase) model.erase(key);
      if (done && !erase) model[key] = {step, done->document->revision};
      if (step % 40 == 39) {
        const std::uint64_t revision = (*store)->revision();
        *store = nullptr;  // releases the lock
        store = openSqliteStore(directory.path);
        ASSERT_TRUE(store);
        ASSERT_EQ((*store)->revision(), revision);
      }
      Result<Page> page = (*store)->range("/registry/k/", "", 0, 0);
      ASSERT_EQ(page->entries.size(), model.size());
      for (const Entry& entry : page->entries) ASSERT_EQ(integerAt(entry.document->value, {"n"}), model[entry.key].first);
    }
  }
}

// Marks text with a generation; nothing of what it hides can be found on disk.
AtRest marking(char generation) {
  return {.prefix = "/registry/secrets/",
          .seal = [generation](const std::string&, const std::string& text) { return std::string("sealed") + generation + hexLower(text); },
          .open = [](const std::string&, std::string stored) -> Result<std::string> {
            if (!stored.starts_with("sealed")) return stored;
            std::string text;
            for (std::size_t i = 7; i + 1 < stored.size(); i += 2) text += static_cast<char>(std::stoi(stored.substr(i, 2), nullptr, 16));
            return text;
          },
          .stale = [generation](std::string_view stored) { return !stored.starts_with(std::string("sealed") + generation); }};
}
bool onDisk(const Directory& directory, std::string_view text) {
  for (const auto& file : std::filesystem::directory_iterator(directory.path)) {
    std::ifstream in(file.path(), std::ios::binary);
    if (std::string(std::istreambuf_iterator<char>(in), {}).find(text) != std::string::npos) return true;
  }
  return false;
}
Result<std::size_t> reseal(Store& store) {
  std::promise<Result<std::size_t>> promise;
  store.reseal([&promise](Result<std::size_t> done) { promise.set_value(std::move(done)); });
  return promise.get_future().get();
}
json::object secret(const char* value) { return json::object{{"metadata", json::object{{"name", "x"}}}, {"data", value}}; }

TEST(Store, KeepsWhatIsSealedReadableInMemoryOnly) {
  Directory directory;
  auto store = openSqliteStore(directory.path, 100, marking('a'));
  ASSERT_TRUE(store);
  ASSERT_TRUE(commit(**store, {"/registry/secrets/n/s", secret("hunter2-hunter2"), 0}));
  ASSERT_TRUE(commit(**store, {"/registry/configmaps/n/c", secret("in-the-clear"), 0}));
  EXPECT_EQ(textAt((*store)->get("/registry/secrets/n/s")->value, {"data"}), "hunter2-hunter2");
  EXPECT_TRUE(onDisk(directory, "in-the-clear"));
  EXPECT_FALSE(onDisk(directory, "hunter2-hunter2"));
  *store = nullptr;
  store = openSqliteStore(directory.path, 100, marking('a'));
  ASSERT_TRUE(store);
  EXPECT_EQ(textAt((*store)->get("/registry/secrets/n/s")->value, {"data"}), "hunter2-hunter2");
}

TEST(Store, SealsAnewWithoutAChangeThatAnyoneSees) {
  Directory directory;
  auto store = openSqliteStore(directory.path);
  ASSERT_TRUE(store);
  for (int i = 0; i < 1500; ++i)  // before there was sealing, more than one batch
    (*store)->commit({"/registry/secrets/n/" + std::to_string(i), secret("hunter2-hunter2"), 0}, [](const Result<Entry>&) {});
  ASSERT_TRUE(commit(**store, {"/registry/secrets/n/last", secret("hunter2-hunter2"), 0}));
  ASSERT_TRUE(onDisk(directory, "hunter2-hunter2"));
  for (const char generation : {'a', 'b'}) {
    *store = nullptr;
    store = openSqliteStore(directory.path, 100, marking(generation));
    ASSERT_TRUE(store);
    const std::uint64_t before = (*store)->revision();
    const Result<std::size_t> done = reseal(**store);
    ASSERT_TRUE(done) << done.error().sentence;
    EXPECT_EQ(*done, 1501u);
    EXPECT_EQ(*reseal(**store), 0u);
    EXPECT_EQ((*store)->revision(), before);
    EXPECT_EQ(textAt((*store)->get("/registry/secrets/n/7")->value, {"data"}), "hunter2-hunter2");
  }
  *store = nullptr;  // and with it the write-ahead log
  EXPECT_FALSE(onDisk(directory, "hunter2-hunter2")) << "what was deleted is overwritten";
}

TEST(Store, WatchReplaysThenGoesOnWithoutLossOrDoubling) {
  auto store = makeMemoryStore();
  const std::uint64_t start = store->revision();
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(commit(*store, {"/a/" + std::to_string(i), object(i), 0}));
  ASSERT_TRUE(commit(*store, {"/b/0", object(0), 0}));
  std::vector<std::uint64_t> seen;
  auto subscription = store->watch("/a/", start + 2, [&](const Change& change) { seen.push_back(change.entry.document->revision); });
  ASSERT_TRUE(subscription);
  ASSERT_TRUE(commit(*store, {"/a/1", object(9), {}}));
  ASSERT_TRUE(commit(*store, {"/a/1", std::nullopt, {}}));
  EXPECT_EQ(seen, (std::vector<std::uint64_t>{start + 3, start + 4, start + 5, start + 7, start + 8}));
  *subscription = nullptr;
  ASSERT_TRUE(commit(*store, {"/a/2", object(9), {}}));
  EXPECT_EQ(seen.size(), 5u);
}

TEST(Store, ShowsOlderRevisionsUntilTheyAreCompacted) {
  auto store = makeMemoryStore(3);
  const std::uint64_t first = commit(*store, {"/a/1", object(1), 0})->document->revision;
  ASSERT_TRUE(commit(*store, {"/a/1", object(2), {}}));
  ASSERT_TRUE(commit(*store, {"/a/2", object(3), 0}));
  Result<Page> then = store->range("/a/", "", 0, first);
  ASSERT_TRUE(then) << then.error().sentence;
  ASSERT_EQ(then->entries.size(), 1u);
  EXPECT_EQ(integerAt(then->entries[0].document->value, {"n"}), 1);
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(commit(*store, {"/a/3", object(i), {}}));
  EXPECT_EQ(store->range("/a/", "", 0, first).error().reason, Reason::Expired);
  EXPECT_EQ(store->range("/a/", "", 0, 1'000'000).error().reason, Reason::Timeout);
  EXPECT_EQ(store->watch("/a/", first, [](const Change&) {}).error().reason, Reason::Expired);
}

TEST(Store, PagesAndCountsWhatIsLeft) {
  auto store = makeMemoryStore();
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(commit(*store, {"/a/" + std::to_string(i), object(i), 0}));
  Result<Page> page = store->range("/a/", "", 2, 0);
  EXPECT_TRUE(page->more);
  EXPECT_EQ(page->remaining, 3u);
  page = store->range("/a/", page->entries.back().key, 10, page->revision);
  EXPECT_FALSE(page->more);
  EXPECT_EQ(page->entries.front().key, "/a/2");
}

TEST(Store, RefusesAWriteWhoseExpectationIsNotMet) {
  auto store = makeMemoryStore();
  const std::uint64_t there = commit(*store, {"/a/there", object(1), 0})->document->revision;
  struct Case {
    const char* why;
    Mutation mutation;
    Reason reason;
  };
  const Case cases[] = {
      {"a create of what exists", {"/a/there", object(2), 0}, Reason::AlreadyExists},
      {"an update from a stale read", {"/a/there", object(2), there + 7}, Reason::Conflict},
      {"a delete from a stale read", {"/a/there", std::nullopt, there + 7}, Reason::Conflict},
      {"an update of what is gone", {"/a/gone", object(2), there}, Reason::NotFound},
      {"a delete of what is gone", {"/a/gone", std::nullopt, std::nullopt}, Reason::NotFound},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.why);
    const Result<Entry> refused = commit(*store, c.mutation);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().reason, c.reason);
    EXPECT_EQ(store->revision(), there);
  }
}

TEST(Store, PutsTheRevisionIntoTheObjectAndItsText) {
  auto store = makeMemoryStore();
  const Result<Entry> made = commit(*store, {"/a/1", json::object{{"metadata", json::object{{"resourceVersion", "forged"}}}}, 0});
  const std::string revision = std::to_string(made->document->revision);
  EXPECT_EQ(made->document->text, R"({"metadata":{"resourceVersion":")" + revision + R"("}})");
  const Result<Entry> deleted = commit(*store, {"/a/1", std::nullopt, made->document->revision});
  EXPECT_EQ(textAt(deleted->document->value, {"metadata", "resourceVersion"}), std::to_string(made->document->revision + 1));
  EXPECT_EQ(store->get("/a/1"), nullptr);
}

TEST(Store, ShowsAWatcherTheKeysUnderItsPrefixAndNoOthers) {
  auto store = makeMemoryStore();
  const char* prefixes[] = {"", "/", "/a", "/a/", "/a/b", "/a/b/", "/a/b/c", "/a/bb/", "/a/c/", "/b/", "/a/b/c/d"};
  const char* keys[] = {"/a/b/c", "/a/bb/c", "/b/x", "/a", "/", "/a/b/c/d", "z"};
  std::map<std::string, std::vector<std::string>> seen;
  std::vector<std::unique_ptr<Subscription>> subscriptions;
  for (const std::string prefix : prefixes) {
    auto subscription =
        store->watch(prefix, store->revision(), [&seen, prefix](const Change& change) { seen[prefix].push_back(change.entry.key); });
    subscriptions.push_back(*std::move(subscription));
  }
  for (const char* key : keys) ASSERT_TRUE(commit(*store, {key, object(1), 0}));
  for (const std::string prefix : prefixes) {
    std::vector<std::string> expected;
    for (const std::string key : keys)
      if (key.starts_with(prefix)) expected.push_back(key);
    EXPECT_EQ(seen[prefix], expected) << "under " << prefix;
  }
  subscriptions.clear();
}

TEST(Store, LetsAListenerReadTheStoreAndEndItsOwnSubscription) {
  auto store = makeMemoryStore();
  const std::uint64_t start = store->revision();
  ASSERT_TRUE(commit(*store, {"/a/1", object(1), 0}));
  std::unique_ptr<Subscription> subscription;
  int calls = 0;
  subscription = *store->watch("/a/", start, [&](const Change& change) {
    ++calls;
    EXPECT_TRUE(store->get(change.entry.key));
    if (calls == 2) subscription = nullptr;
  });
  ASSERT_TRUE(commit(*store, {"/a/2", object(1), 0}));
  ASSERT_TRUE(commit(*store, {"/a/3", object(1), 0}));
  EXPECT_EQ(calls, 2);
}

TEST(Store, ShowsEveryWatcherEachChangeOnceWhileManyWrite) {
  Directory directory;
  auto store = *openSqliteStore(directory.path);
  constexpr int kWriters = 8, kEach = 100;
  const std::uint64_t start = store->revision();
  struct Seen {
    std::vector<std::uint64_t> revisions;
    std::promise<void> all;
  };
  std::vector<std::unique_ptr<Seen>> seen;
  std::vector<std::unique_ptr<Subscription>> subscriptions;
  std::vector<std::thread> writers;
  for (int w = 0; w < kWriters; ++w) {
    writers.emplace_back([&store, w] {
      for (int i = 0; i < kEach; ++i) {
        const std::string key = "/a/" + std::to_string(w) + "/" + std::to_string(i);
        const Result<Entry> done = commit(*store, {key, object(i), 0});
        ASSERT_TRUE(done);
        ASSERT_EQ(store->get(key), done->document) << "an acknowledged write must be visible";
      }
    });
    auto& mine = *seen.emplace_back(std::make_unique<Seen>());  // subscribes while the writers write
    subscriptions.push_back(*store->watch("/a/", start, [&mine](const Change& change) {
      mine.revisions.push_back(change.entry.document->revision);
      if (mine.revisions.size() == kWriters * kEach) mine.all.set_value();
    }));
  }
  for (std::thread& writer : writers) writer.join();
  for (auto& each : seen) {
    each->all.get_future().get();
    for (std::size_t i = 0; i < each->revisions.size(); ++i) ASSERT_EQ(each->revisions[i], start + 1 + i);
  }
  subscriptions.clear();
}

TEST(Store, AnswersTooManyRequestsWhenTheQueueIsFullAndLosesNoneThatItTook) {
  auto store = makeMemoryStore();
  std::promise<void> release;
  std::shared_future<void> released = release.get_future().share();
  std::promise<void> blocked;
  store->commit({"/block", object(0), 0}, [&](const Result<Entry>&) {
    blocked.set_value();
    released.wait();
  });
  blocked.get_future().wait();
  std::atomic<int> done = 0, refused = 0;
  for (int i = 0; i < 10'003; ++i) {
    store->commit({"/a", object(i), {}}, [&](const Result<Entry>& result) {
      if (result)
        ++done;
      else if (result.error().reason == Reason::TooManyRequests)
        ++refused;
    });
  }
  EXPECT_EQ(refused, 3);
  release.set_value();
  store = nullptr;  // finishes what waits
  EXPECT_EQ(done, 10'000);
}

TEST(Store, RefusesASecondOneOnItsDirectory) {
  Directory directory;
  auto store = openSqliteStore(directory.path);
  ASSERT_TRUE(store);
  const auto second = openSqliteStore(directory.path);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().reason, Reason::Conflict);
  EXPECT_NE(second.error().sentence.find(directory.path.string()), std::string::npos);
}

TEST(Store, KeepsItsFilesFromOthers) {
  Directory directory;
  auto store = *openSqliteStore(directory.path);
  ASSERT_TRUE(commit(*store, {"/a", object(1), 0}));
  struct stat status {};
  ASSERT_EQ(::stat(directory.path.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0700u);
  for (const auto& file : std::filesystem::directory_iterator(directory.path)) {
    ASSERT_EQ(::stat(file.path().c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777, 0600u) << file.path();
  }
}

TEST(Store, RefusesADamagedDatabase) {
  struct Case {
    const char* why;
    std::streamoff from;
  };
  const Case cases[] = {{"no SQLite file at all", 0}, {"a page in the middle is gone", 8192}};
  for (const Case& c : cases) {
    SCOPED_TRACE(c.why);
    Directory directory;
    {
      auto store = *openSqliteStore(directory.path);
      for (int i = 0; i < 200; ++i)
        store->commit({"/a/" + std::to_string(i), json::object{{"big", std::string(500, 'x')}}, 0}, [](const Result<Entry>&) {});
    }
    std::fstream file(directory.path / "store.db", std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(c.from);
    file << std::string(16'384, '\x5a');
    file.close();
    const auto opened = openSqliteStore(directory.path);
    ASSERT_FALSE(opened);
    EXPECT_EQ(opened.error().reason, Reason::Internal);
    EXPECT_NE(opened.error().sentence.find("damaged"), std::string::npos) << opened.error().sentence;
    EXPECT_FALSE(opened.error().fix.empty());
  }
}

// Writes until the disk is full, and looks at what is left. Gives the number of objects that were acknowledged.
int fill(Store& store) {
  for (int i = 0; i < 10'000; ++i) {
    const std::uint64_t before = store.revision();
    const Result<Entry> done = commit(store, {"/fill/" + std::to_string(i), json::object{{"big", std::string(20'000, 'x')}}, 0});
    if (done) continue;
    EXPECT_EQ(done.error().reason, Reason::Unavailable);
    EXPECT_NE(done.error().sentence.find("full"), std::string::npos) << done.error().sentence;
    EXPECT_FALSE(done.error().fix.empty());
    EXPECT_EQ(store.revision(), before);
    EXPECT_EQ(store.get("/fill/" + std::to_string(i)), nullptr);
    EXPECT_FALSE(store.healthy());
    return i;
  }
  ADD_FAILURE() << "the disk never filled up";
  return 0;
}

TEST(Store, RefusesWritesWhenTheDatabaseIsFullAndRecovers) {
  Directory directory;
  auto store = *openBoundedSqliteStore(directory.path, 100, 64);
  const int kept = fill(*store);
  EXPECT_EQ(store->range("/fill/", "", 0, 0)->entries.size(), static_cast<std::size_t>(kept));
  ASSERT_TRUE(commit(*store, {"/fill/0", std::nullopt, {}})) << "a delete makes room";
  ASSERT_TRUE(commit(*store, {"/fill/new", object(1), 0}));
  EXPECT_TRUE(store->healthy());
  const std::uint64_t revision = store->revision();
  store = nullptr;
  store = *openSqliteStore(directory.path);
  EXPECT_EQ(store->revision(), revision);
  EXPECT_EQ(store->range("/fill/", "", 0, 0)->entries.size(), static_cast<std::size_t>(kept));
}

// A file system of 2 MB; `mounted` is false without the right to mount one.
struct SmallDisk {
  Directory directory;
  bool mounted =
      std::filesystem::create_directories(directory.path) && ::mount("podpass", directory.path.c_str(), "tmpfs", 0, "size=2m") == 0;
  ~SmallDisk() {
    if (mounted) ::umount(directory.path.c_str());
  }
};

TEST(Store, RefusesWritesOnAFullDiskAndRecoversUnasked) {
  SmallDisk disk;
  if (!disk.mounted) GTEST_SKIP() << "only root may mount a small disk";
  const auto ballast = disk.directory.path / "ballast";
  std::ofstream(ballast) << std::string(500'000, 'x');
  auto store = *openSqliteStore(disk.directory.path / "data");
  const auto kept = static_cast<std::size_t>(fill(*store));
  std::filesystem::remove(ballast);
  EXPECT_TRUE(becomes(*store, true)) << "nobody writes, yet it must notice";
  EXPECT_TRUE(commit(*store, {"/after", object(1), 0}));
  store = nullptr;
  store = *openSqliteStore(disk.directory.path / "data");
  EXPECT_EQ(store->range("/fill/", "", 0, 0)->entries.size(), kept);
  EXPECT_TRUE(store->get("/after"));
}

constexpr const char* kChildDirectory = "PODPASS_STORE_TEST_DIRECTORY";
constexpr int kAcknowledged = 3;  // the child's end of the pipe

// What the crash test runs as a process of its own: commits from 8 threads for ever, each acknowledged entry is told as "key revision".
TEST(StoreChild, DISABLED_CommitsUntilItIsKilled) {
  const char* directory = std::getenv(kChildDirectory);
  ASSERT_NE(directory, nullptr);
  auto store = *openSqliteStore(directory);
  std::vector<std::thread> writers;
  for (int w = 0; w < 8; ++w) {
    writers.emplace_back([&store, w] {
      for (int i = 0;; ++i) {
        const Result<Entry> done = commit(*store, {"/r/" + std::to_string(w * 10 + i % 10), object(i), {}});
        if (!done) std::abort();
        const std::string line = done->key + " " + std::to_string(done->document->revision) + "\n";
        if (::write(kAcknowledged, line.data(), line.size()) < 0) return;  // one write: shorter than PIPE_BUF, so lines stay whole
      }
    });
  }
  for (std::thread& writer : writers) writer.join();
}

pid_t spawnChild(const Directory& directory, int acknowledged) {
  std::string self = std::filesystem::read_symlink("/proc/self/exe"), filter = "--gtest_filter=StoreChild.*",
              all = "--gtest_also_run_disabled_tests";
  char* arguments[] = {self.data(), filter.data(), all.data(), nullptr};
  ::setenv(kChildDirectory, directory.path.c_str(), 1);
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, acknowledged, kAcknowledged);
  ::posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
  pid_t child = -1;
  if (::posix_spawn(&child, self.c_str(), &actions, nullptr, arguments, environ) != 0) child = -1;
  ::posix_spawn_file_actions_destroy(&actions);
  return child;
}

TEST(Store, LosesNothingAcknowledgedWhenItIsKilled) {
  Directory directory;
  std::mt19937 random(7);
  std::map<std::string, std::uint64_t> acknowledged;
  for (int round = 0; round < 30; ++round) {
    int ends[2];
    ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
    const pid_t child = spawnChild(directory, ends[1]);
    ::close(ends[1]);
    ASSERT_GT(child, 0);
    FILE* lines = ::fdopen(ends[0], "r");
    char key[64];
    unsigned long long revision = 0;
    int left = static_cast<int>(random() % 200) + 1;  // then it is killed; what it told before is in the pipe still
    while (std::fscanf(lines, "%63s %llu", key, &revision) == 2) {
      acknowledged[key] = std::max<std::uint64_t>(acknowledged[key], revision);
      if (--left == 0) ::kill(child, SIGKILL);
    }
    std::fclose(lines);
    ::waitpid(child, nullptr, 0);
    ASSERT_LE(left, 0) << "the child ended by itself";
    auto store = openSqliteStore(directory.path);
    ASSERT_TRUE(store) << store.error().sentence;
    for (const auto& [name, least] : acknowledged) {
      const DocumentPtr found = (*store)->get(name);
      ASSERT_TRUE(found) << name << " in round " << round;
      ASSERT_GE(found->revision, least) << name << " in round " << round;
      ASSERT_LE(found->revision, (*store)->revision());
    }
  }
}

}  // namespace
}  // namespace podpass
