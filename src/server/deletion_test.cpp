#include <gtest/gtest.h>

#include <condition_variable>
#include <deque>
#include <thread>

#include "base/gather.h"
#include "server/test_server.h"

// What DELETE does to objects and collections of them (spec api.md §2.2).
namespace podpass::server::test {
namespace {

using namespace std::chrono_literals;

constexpr const char* kMaps = "/api/v1/namespaces/default/configmaps";
constexpr const char* kPods = "/api/v1/namespaces/default/pods";

void makeMap(TestServer& server, const std::string& name, const std::string& meta = "") {
  const Answer made = server.ask("POST", kMaps, R"({"metadata":{"name":")" + name + "\"" + meta + "}}");
  ASSERT_EQ(made.status, 201) << made.text;
}

// A pod, on a node when `bound`.
void makePod(TestServer& server, const std::string& name, bool bound) {
  const Answer made =
      server.ask("POST", kPods, R"({"metadata":{"name":")" + name + R"("},"spec":{"containers":[{"name":"c","image":"i"}]}})");
  ASSERT_EQ(made.status, 201) << made.text;
  if (!bound) return;
  const Answer on = server.ask("POST", std::string(kPods) + "/" + name + "/binding", R"({"target":{"kind":"Node","name":"n"}})");
  ASSERT_EQ(on.status, 201) << on.text;
}

std::string namesIn(const Answer& list) {
  std::string names;
  for (const json::value& item : list.body.at("items").as_array())
    names += (names.empty() ? "" : " ") + std::string(textAt(item.as_object(), {"metadata", "name"}));
  return names;
}

// A store that, once told to, lets commits wait until `width` of them do, or for 50 ms.
class GatheringStore final : public Store {
 public:
  explicit GatheringStore(std::size_t width) : width_(width), thread_([this] { pass(); }) {}
  ~GatheringStore() override {
    {
      const std::lock_guard lock(mutex_);
      over_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }
  void gather() { gathers_ = true; }
  [[nodiscard]] std::size_t most() const { return most_; }

  void commit(Mutation mutation, Committed done) override {
    if (!gathers_) return inner_->commit(std::move(mutation), std::move(done));
    {
      const std::lock_guard lock(mutex_);
      waiting_.emplace_back(std::move(mutation), std::move(done));
    }
    changed_.notify_all();
  }
  [[nodiscard]] DocumentPtr get(const std::string& key) const override { return inner_->get(key); }
  [[nodiscard]] Result<Page> range(const std::string& prefix, const std::string& after, std::size_t limit,
                                   std::uint64_t at) const override {
    return inner_->range(prefix, after, limit, at);
  }
  [[nodiscard]] Result<std::unique_ptr<Subscription>> watch(std::string prefix, std::uint64_t since, Listener listener) override {
    return inner_->watch(std::move(prefix), since, std::move(listener));
  }
  [[nodiscard]] std::uint64_t revision() const override { return inner_->revision(); }
  void reseal(std::function<void(Result<std::size_t>)> done) override { inner_->reseal(std::move(done)); }
  [[nodiscard]] Result<void> healthy() const override { return inner_->healthy(); }

 private:
  void pass() {
    std::unique_lock lock(mutex_);
    while (!over_) {
      changed_.wait(lock, [this] { return over_ || !waiting_.empty(); });
      changed_.wait_for(lock, 50ms, [this] { return over_ || waiting_.size() >= width_; });
      most_ = std::max<std::size_t>(most_, waiting_.size());
      std::deque<std::pair<Mutation, Committed>> all;
      all.swap(waiting_);
      lock.unlock();
      for (auto& [mutation, done] : all) inner_->commit(std::move(mutation), std::move(done));
      lock.lock();
    }
  }

  const std::size_t width_;
  std::unique_ptr<Store> inner_ = makeMemoryStore();
  std::atomic<bool> gathers_ = false;
  std::atomic<std::size_t> most_ = 0;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::pair<Mutation, Committed>> waiting_;
  bool over_ = false;
  std::thread thread_;
};

TEST(Deletion, RemovesACollectionManyAtATimeSoThatTheyShareCommits) {
  auto store = std::make_unique<GatheringStore>(64);
  GatheringStore& gathering = *store;
  TestServer server({.serverAddress = "", .jwksUri = ""}, std::move(store));
  for (int i = 0; i < 128; ++i) makeMap(server, "m" + std::to_string(i));
  gathering.gather();
  const Answer gone = server.ask("DELETE", kMaps);
  EXPECT_EQ(gone.status, 200);
  EXPECT_EQ(textAt(gone.body, {"kind"}), "ConfigMapList");
  EXPECT_EQ(gone.body.at("items").as_array().size(), 128u);
  EXPECT_EQ(namesIn(server.ask("GET", kMaps)), "");
  EXPECT_GE(gathering.most(), 16u) << "one after the other, each would wait for a commit of its own";
  EXPECT_LE(gathering.most(), 64u) << "others want to write, too";
}

TEST(Deletion, OfACollectionKeepsToSelectorsAndDryRuns) {
  TestServer server;
  makeMap(server, "a", R"(,"labels":{"tier":"gold"})");
  makeMap(server, "b");
  makeMap(server, "c", R"(,"labels":{"tier":"gold"})");
  EXPECT_EQ(namesIn(server.ask("DELETE", std::string(kMaps) + "?labelSelector=tier%3Dgold&dryRun=All")), "a c");
  EXPECT_EQ(namesIn(server.ask("DELETE", kMaps, R"({"dryRun":["All"]})")), "a b c");
  EXPECT_EQ(namesIn(server.ask("GET", kMaps)), "a b c");
  EXPECT_EQ(namesIn(server.ask("DELETE", std::string(kMaps) + "?fieldSelector=metadata.name%3Da&labelSelector=tier")), "a");
  EXPECT_EQ(namesIn(server.ask("DELETE", std::string(kMaps) + "?labelSelector=tier%3Dgold")), "c");
  EXPECT_EQ(namesIn(server.ask("GET", kMaps)), "b");
  EXPECT_EQ(server.ask("DELETE", std::string(kMaps) + "?labelSelector=%3D").status, 400);
}

TEST(Deletion, OfACollectionWaitsForFinalizersAndGoesOnPastARefusal) {
  TestServer server;
  makeMap(server, "a");
  makeMap(server, "held", R"(,"finalizers":["example.com/hold"])");
  EXPECT_EQ(server.ask("DELETE", kMaps).status, 200);
  EXPECT_EQ(namesIn(server.ask("GET", kMaps)), "held");
  EXPECT_NE(textAt(server.ask("GET", std::string(kMaps) + "/held").body, {"metadata", "deletionTimestamp"}), "");
  makeMap(server, "b");
  makeMap(server, "c");
  const std::string uid(textAt(server.ask("GET", std::string(kMaps) + "/c").body, {"metadata", "uid"}));
  const Answer refused = server.ask("DELETE", kMaps, R"({"preconditions":{"uid":")" + uid + "\"}}");
  EXPECT_EQ(refused.status, 409) << refused.text;
  EXPECT_EQ(namesIn(server.ask("GET", kMaps)), "b held") << "the one that fits the precondition is gone";
}

TEST(Deletion, GivesBoundPodsTheirGrace) {
  TestServer server;
  makePod(server, "bound", true);
  makePod(server, "pending", false);
  EXPECT_EQ(server.ask("DELETE", std::string(kPods) + "?gracePeriodSeconds=9").status, 200);
  EXPECT_EQ(namesIn(server.ask("GET", kPods)), "bound");
  EXPECT_EQ(integerAt(server.ask("GET", std::string(kPods) + "/bound").body, {"metadata", "deletionGracePeriodSeconds"}), 9);
}

TEST(Deletion, OfABoundPodTakesTheShortestGraceThatWasAsked) {
  TestServer server;
  makePod(server, "p", true);
  const std::string pod = std::string(kPods) + "/p";
  const auto remove = [&](int seconds) { return server.ask("DELETE", pod, R"({"gracePeriodSeconds":)" + std::to_string(seconds) + "}"); };
  const Answer first = remove(7);
  EXPECT_EQ(first.status, 200);
  EXPECT_EQ(integerAt(first.body, {"metadata", "deletionGracePeriodSeconds"}), 7);
  EXPECT_EQ(textAt(first.body, {"metadata", "deletionTimestamp"}), "2023-03-04T09:28:10Z") << "now and the grace";
  server.clock.advance(1s);
  EXPECT_EQ(remove(60).text, first.text) << "it is not lengthened";
  const Answer shorter = remove(3);
  EXPECT_EQ(integerAt(shorter.body, {"metadata", "deletionGracePeriodSeconds"}), 3);
  EXPECT_EQ(textAt(shorter.body, {"metadata", "deletionTimestamp"}), "2023-03-04T09:28:07Z");

  const Answer late = server.ask("PATCH", pod, R"({"metadata":{"finalizers":["example.com/late"]}})",
                                 headers({{"Content-Type", "application/merge-patch+json"}}));
  EXPECT_EQ(late.status, 422);
  EXPECT_NE(late.message().find("metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted"),
            std::string::npos)
      << late.message();
  EXPECT_EQ(server.ask("GET", pod).status, 200);
  EXPECT_EQ(remove(0).status, 200);
  EXPECT_EQ(server.ask("GET", pod).status, 404);
}

TEST(Deletion, TakesDeleteOptionsAndNothingElse) {
  TestServer server;
  makeMap(server, "a");
  const std::string map = std::string(kMaps) + "/a";
  struct Case {
    const char* body;
    int status;
    const char* message;
  };
  for (const Case& c : {Case{R"({"kind":"Pod","apiVersion":"v1","metadata":{"name":"a"}})", 400, "cannot be handled as a DeleteOptions"},
                        Case{R"({"gracePeriodSeconds":"soon"})", 400, "json: cannot unmarshal string into Go struct field"},
                        Case{"[]", 400, "unrecognized (must be of type DeleteOptions)"},
                        Case{R"({"dryRun":["Some"]})", 422, "dryRun: Unsupported value: []string{\"Some\"}: supported values: \"All\""},
                        Case{R"({"propagationPolicy":"Sideways"})", 422, "propagationPolicy: Unsupported value: \"Sideways\""}}) {
    const Answer refused = server.ask("DELETE", map, c.body);
    EXPECT_EQ(refused.status, c.status) << refused.text;
    EXPECT_NE(refused.message().find(c.message), std::string::npos) << refused.message();
  }
  EXPECT_EQ(server.ask("GET", map).status, 200);
  for (const char* version : {"v1", "meta.k8s.io/v1", "apps/v1"}) {
    EXPECT_EQ(server.ask("DELETE", map, std::string(R"({"kind":"DeleteOptions","apiVersion":")") + version + "\"}").status, 200) << version;
    makeMap(server, "a");
  }
}

TEST(Deletion, AnEvictionMeansThatVeryPod) {
  TestServer server;
  const std::string pods = "/api/v1/namespaces/default/pods", eviction = pods + "/p/eviction";
  const Answer pod = server.ask("POST", pods, R"({"metadata":{"name":"p"},"spec":{"containers":[{"name":"c","image":"i"}]}})");
  ASSERT_EQ(pod.status, 201) << pod.text;
  const auto evict = [&](const std::string& uid) {
    return server.ask(
        "POST", eviction,
        R"({"apiVersion":"policy/v1","kind":"Eviction","metadata":{"name":"p"},"deleteOptions":{"preconditions":{"uid":")" + uid + "\"}}}");
  };
  EXPECT_EQ(evict("another").status, 409);
  EXPECT_EQ(server.ask("POST", eviction, R"({"metadata":{"name":"q"}})").status, 400);
  EXPECT_EQ(server.ask("POST", eviction, R"({"metadata":{"name":"p"},"deleteOptions":{"propagationPolicy":"Sideways"}})").status, 422);
  EXPECT_EQ(server.ask("POST", eviction, R"({"deleteOptions":{"dryRun":["All"]}})").status, 201);
  EXPECT_EQ(server.ask("GET", pods + "/p").status, 200) << "nothing of this touched it";
  EXPECT_EQ(evict(std::string(textAt(pod.body, {"metadata", "uid"}))).status, 201);
  EXPECT_EQ(server.ask("GET", pods + "/p").status, 404);
}

TEST(Deletion, OfANamespaceWaitsForEveryFinalizerOfItsSpec) {
  TestServer server;
  const std::string all = "/api/v1/namespaces", one = all + "/n";
  const Answer made = server.ask("POST", all, R"({"metadata":{"name":"n"},"spec":{"finalizers":["example.com/bill"]}})");
  ASSERT_EQ(made.status, 201) << made.text;
  EXPECT_EQ(json::serialize(made.body.at("spec")), R"({"finalizers":["example.com/bill","kubernetes"]})");
  EXPECT_EQ(server.ask("DELETE", one).status, 200);
  const auto finalize = [&](const char* left) {
    json::object ns = server.ask("GET", one).body;
    ns["spec"] = json::object{{"finalizers", json::parse(left)}};
    return server.ask("PUT", one + "/finalize", json::serialize(ns)).status;
  };
  EXPECT_EQ(finalize(R"(["bad"])"), 422);
  EXPECT_EQ(finalize(R"(["example.com/bill"])"), 200);
  EXPECT_EQ(server.ask("GET", one).status, 200) << "somebody has not had his turn";
  EXPECT_EQ(finalize("[]"), 200);
  EXPECT_EQ(server.ask("GET", one).status, 404);
  EXPECT_EQ(server.ask("POST", all, R"({"metadata":{"name":"m"},"spec":{"finalizers":["bad"]}})").message(),
            "Namespace \"m\" is invalid: spec.finalizers[0]: Invalid value: \"bad\": name is neither a standard finalizer name nor is it "
            "fully qualified");
}

TEST(Finalizers, NeedADomain) {
  TestServer server;
  const Answer refused = server.ask("POST", kMaps, R"({"metadata":{"name":"a","finalizers":["example.com/x","bad"]}})");
  EXPECT_EQ(refused.status, 422);
  EXPECT_EQ(
      refused.message(),
      "ConfigMap \"a\" is invalid: metadata.finalizers[1]: Invalid value: \"bad\": name is neither a standard finalizer name nor is it "
      "fully qualified");
}

TEST(Patches, OfManyAtOnceWithoutARevisionAreAllApplied) {
  TestServer server;
  makeMap(server, "a");
  constexpr int kWriters = 40;
  std::vector<asio::awaitable<http::Response>> writers;
  for (int i = 0; i < kWriters; ++i)
    writers.push_back(
        server.api().handle(TestServer::request("PATCH", std::string(kMaps) + "/a", R"({"data":{"k)" + std::to_string(i) + R"(":"v"}})",
                                                headers({{"Content-Type", "application/merge-patch+json"}}))));
  const std::vector<http::Response> answers = server.run(gather(std::move(writers)));
  for (const http::Response& answer : answers) EXPECT_EQ(answer.status, 200) << *answer.body;
  EXPECT_EQ(server.ask("GET", std::string(kMaps) + "/a").body.at("data").as_object().size(), std::size_t{kWriters});
}

}  // namespace
}  // namespace podpass::server::test
