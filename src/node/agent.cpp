#include "node/agent.h"

#include <set>

#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "node/containerd.h"
#include "node/image_collector.h"
#include "node/log_rotation.h"
#include "node/logs.h"
#include "node/node_object.h"
#include "node/pod_worker.h"

namespace podpass::node {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

namespace {

constexpr std::chrono::milliseconds kLeaseEvery = 10s, kStatusEvery = 5min, kLookEvery = 1s;
constexpr std::chrono::milliseconds kLogsEvery = 10s, kImagesEvery = 5min;
// A stop is a stop, not a drain: what ignores SIGTERM is given as long as a kubelet gives at least, whatever its pod asks.
constexpr std::chrono::seconds kStopGrace{2}, kStopPatience{25};
constexpr std::chrono::seconds kPatience{10};  // with a runtime that does not answer

class NodeAgent final : public Agent {
 public:
  NodeAgent(AgentOptions options, api::Client& client, const Clock& clock)
      : options_(std::move(options)),
        client_(client),
        clock_(clock),
        containerd_(options_.directory, options_.credentialsPort),
        runtime_(socket(), owner()),
        volumes_(client, clock, options_.directory / "kubelet"),
        events_(client, clock, options_.nodeName),
        watches_(client, clock, [this](const std::string& uid) { refresh(uid); }),
        node_{.options = options_,
              .client = client,
              .clock = clock,
              .runtime = runtime_,
              .volumes = volumes_,
              .events = events_,
              .watches = watches_,
              .nodeIp = machineAddress(),
              .kubeletRoot = fs::absolute(options_.directory) / "kubelet",
              .logRoot = fs::absolute(options_.directory) / "logs" / "pods"},
        object_(client, clock, options_.nodeName, node_.nodeIp, options_.directory) {}
  ~NodeAgent() override { stop(); }

  Result<void> start() override {
    for (const fs::path& directory : {node_.kubeletRoot / "pods", node_.logRoot})
      if (Result<void> made = makeDirectories(directory, 0755); !made) return made;
    answered_ = clock_.steady();
    if (ownRuntime())
      if (Result<void> started = containerd_.start(); !started) return started;
    started_ = true;
    if (Result<void> registered = publishNode(runtimeReady()); !registered) {
      stop();
      return registered;
    }
    static_cast<void>(object_.renewLease());
    threads_.emplace_back([this] { guard("node status", [this] { keepNode(); }); });
    threads_.emplace_back([this] { guard("pods", [this] { followPods(); }); });
    threads_.emplace_back([this] { guard("upkeep", [this] { keepTidy(); }); });
    threads_.emplace_back([this] { guard("runtime", [this] { followRuntime(); }); });
    return {};
  }

  void stop() override {
    {
      std::lock_guard lock(mutex_);
      if (stopping_) return;
      stopping_ = true;
    }
    changed_.notify_all();
    {
      std::lock_guard lock(workersMutex_);
      for (auto& [uid, worker] : workers_) worker->askToStop();
    }
    runtime_.cancel();
    for (std::thread& thread : threads_) thread.join();
    std::map<std::string, std::shared_ptr<PodWorker>> ending;
    {
      std::lock_guard lock(workersMutex_);
      ending.swap(workers_);
    }
    ending.clear();  // joins
    events_.stop();
    if (!started_) return;
    endPods();
    containerd_.stop();
    if (ownRuntime()) containerd_.clear();
    if (Result<void> unmounted = volumes_.unmountAll(); !unmounted)
      log::warn("volumes not unmounted", {{"err", log::chain(unmounted.error())}});
  }

  Result<std::string> streamUrl(const json::object& pod, const std::string& container, const api::ExecRequest& request) override {
    const Result<Container> found = runningContainer(pod, container);
    if (!found) return found.error();
    return runtime_.execUrl(found->id, request);
  }

  Result<std::string> portForwardUrl(const json::object& pod, const std::vector<std::int32_t>& ports) override {
    const Result<std::vector<Sandbox>> sandboxes = runtime_.sandboxes(std::string(textAt(pod, {"metadata", "uid"})));
    if (!sandboxes) return sandboxes.error();
    for (const Sandbox& sandbox : *sandboxes)
      if (sandbox.ready) return runtime_.portForwardUrl(sandbox.id, ports);
    return Error{Reason::NotFound, "pod not found (\"" + podName(pod) + "\")"};
  }

  Result<std::unique_ptr<api::LogStream>> logs(const json::object& pod, const std::string& container,
                                               const api::LogRequest& request) override {
    const std::string uid(textAt(pod, {"metadata", "uid"}));
    const Result<std::vector<Container>> containers = runtime_.containers(uid);
    if (!containers) return containers.error();
    const Container* chosen = nullptr;
    int seen = 0;
    for (const Container& each : *containers) {
      if (each.name != container || (request.previous && ++seen < 2)) continue;
      chosen = &each;
      break;
    }
    const std::string subject = "container " + quoted(container) + " in pod " + quoted(podName(pod));
    if (chosen == nullptr && request.previous) return Error{Reason::BadRequest, "previous terminated " + subject + " not found"};
    if (chosen == nullptr || chosen->state == Container::State::Created) {
      std::string reason = waitingReason(pod, container);
      const bool failing = reason.find("Err") != std::string::npos || reason.find("BackOff") != std::string::npos;
      return Error{Reason::BadRequest, subject + " is waiting to start: " +
                                           (failing          ? "trying and failing to pull image"
                                            : reason.empty() ? "ContainerCreating"
                                                             : reason)};
    }
    std::function<bool()> running = [this, uid, id = chosen->id] {
      const Result<std::vector<Container>> now = runtime_.containers(uid);
      if (!now) return now.error().reason != Reason::Unavailable;  // we are stopping, or the runtime is away
      return std::any_of(now->begin(), now->end(),
                         [&](const Container& each) { return each.id == id && each.state == Container::State::Running; });
    };
    return openLog(chosen->logPath, request, std::move(running));
  }

 private:
  template <class Loop>
  static void guard(const char* name, Loop loop) {
    try {
      loop();
    } catch (const std::exception& error) {
      log::error("node loop ended", {{"name", name}, {"err", error.what()}});
    }
  }

  static std::string podName(const json::object& pod) { return std::string(textAt(pod, {"metadata", "name"})); }

  static std::string waitingReason(const json::object& pod, const std::string& container) {
    for (const char* list : {"containerStatuses", "initContainerStatuses"})
      if (const json::array* statuses = arrayAt(pod, {"status", list}))
        for (const json::value& status : *statuses)
          if (status.is_object() && textAt(status.get_object(), {"name"}) == container)
            return std::string(textAt(status.get_object(), {"state", "waiting", "reason"}));
    return {};
  }

  Result<Container> runningContainer(const json::object& pod, const std::string& name) {
    Result<std::vector<Container>> containers = runtime_.containers(std::string(textAt(pod, {"metadata", "uid"})));
    if (!containers) return containers.error();
    for (Container& each : *containers)
      if (each.name == name && each.state == Container::State::Running) return std::move(each);
    return Error{Reason::NotFound, "container not found (\"" + name + "\")"};
  }

  // False: stopping.
  bool pause(std::chrono::milliseconds time) {
    std::unique_lock lock(mutex_);
    return !changed_.wait_for(lock, time, [this] { return stopping_; });
  }

  [[nodiscard]] bool ownRuntime() const { return options_.containerdSocket.empty(); }
  [[nodiscard]] std::string socket() const { return ownRuntime() ? containerd_.places().socket.string() : options_.containerdSocket; }
  [[nodiscard]] std::string owner() const { return containerd_.places().bridge; }

  Result<void> runtimeReady() {
    if (ownRuntime())
      if (Result<void> installed = containerd_.installed(); !installed)
        return Error{Reason::Unavailable, "container runtime is down: " + installed.error().sentence, installed.error().fix};
    return runtime_.ready();
  }

  Result<void> publishNode(const Result<void>& ready) {
    ready_ = static_cast<bool>(ready);
    const Result<std::string> version = runtime_.version();
    return object_.publish(ready, version ? *version : "containerd://unknown");
  }

  // A containerd that is there and does not answer helps nobody: ours is killed, and its supervisor starts another.
  void endHung(const Result<void>& ready) {
    const bool silent = !ready && (ready.error().reason == Reason::Timeout || ready.error().reason == Reason::Unavailable);
    if (!silent) answered_ = clock_.steady();
    if (ownRuntime() && clock_.steady() - answered_ > kPatience) containerd_.restartHung();
  }

  void keepNode() {
    SteadyTime nextLease = clock_.steady() + kLeaseEvery, nextStatus = clock_.steady() + kStatusEvery;
    while (pause(ready_ ? 1s : 100ms)) {  // a runtime that has just come up should not wait for its pods
      const Result<void> ready = runtimeReady();
      endHung(ready);
      const SteadyTime now = clock_.steady();
      if (now >= nextLease) {
        nextLease = now + kLeaseEvery;
        if (Result<void> done = object_.renewLease(); !done)
          log::warn("lease not renewed", {{"name", options_.nodeName}, {"err", log::chain(done.error())}});
      }
      const bool changed = static_cast<bool>(ready) != ready_;
      if (!changed && now < nextStatus) continue;
      if (Result<void> done = publishNode(ready); !done) {
        log::warn("node status not written", {{"name", options_.nodeName}, {"err", log::chain(done.error())}});
        nextStatus = now + kLeaseEvery;
        continue;
      }
      nextStatus = now + kStatusEvery;
      if (changed && ready_) wakeAll();
    }
  }

  // All that runs here ends with us; a start on the same directory runs again what should run.
  void endPods() {
    if (ownRuntime() && !containerd_.hasTasks()) return;
    Runtime runtime(socket(), owner());  // runtime_ has been cancelled
    const SteadyTime end = clock_.steady() + kStopPatience;
    while (!runtime.version() || !stopAll(runtime)) {
      if (clock_.steady() > end) {
        log::warn("pods not stopped: the container runtime does not answer");
        return;
      }
      containerd_.restartHung();
      std::this_thread::sleep_for(100ms);
    }
  }

  static bool stopAll(Runtime& runtime) {
    const Result<std::vector<Container>> containers = runtime.containers("");
    const Result<std::vector<Sandbox>> sandboxes = runtime.sandboxes("");
    if (!containers || !sandboxes) return false;
    std::atomic<bool> good = true;
    const auto together = [&](const auto& all, auto stop) {
      std::vector<std::thread> threads;
      for (const auto& each : all)
        threads.emplace_back([&good, &each, stop] {
          if (!stop(each)) good = false;
        });
      for (std::thread& thread : threads) thread.join();
    };
    together(*containers,
             [&](const Container& each) { return each.state != Container::State::Running || runtime.stopContainer(each.id, kStopGrace); });
    together(*sandboxes, [&](const Sandbox& each) { return !each.ready || runtime.stopSandbox(each.id); });
    return good;
  }

  void wakeAll() {
    std::lock_guard lock(workersMutex_);
    for (auto& [uid, worker] : workers_) worker->wake();
  }

  void refresh(const std::string& uid) {
    std::lock_guard lock(workersMutex_);
    const auto found = workers_.find(uid);
    if (found != workers_.end()) found->second->refresh();
  }

  // Lists, then follows; whatever goes wrong ends in listing again.
  void followPods() {
    const api::Kind* kind = api::findKind("", "v1", "pods");
    const api::Selectors mine{.fields = "spec.nodeName=" + options_.nodeName};
    do {
      const Result<api::Listing> listing = client_.list(*kind, "", mine);
      if (!listing) {
        log::warn("pods not listed", {{"err", log::chain(listing.error())}});
        continue;
      }
      std::set<std::string> alive;
      for (const DocumentPtr& pod : listing->items) {
        alive.insert(std::string(textAt(pod->value, {"metadata", "uid"})));
        have(pod);
      }
      forgetOthers(alive);
      auto queue = std::make_shared<Queue>();
      Result<std::unique_ptr<api::Watching>> watching =
          client_.watch(*kind, "", mine, listing->revision, [queue](const api::WatchEvent& event) { queue->put(event); });
      if (!watching) continue;
      const SteadyTime relist = clock_.steady() + 5min;  // a watch that ended unheard is made up for
      while (!stopped() && clock_.steady() < relist)
        for (const api::WatchEvent& event : queue->take(200ms)) {
          if (event.type == api::WatchEvent::Type::Deleted)
            lose(std::string(textAt(event.object->value, {"metadata", "uid"})));
          else
            have(event.object);
        }
    } while (pause(500ms));
  }

  struct Queue {
    void put(const api::WatchEvent& event) {
      {
        std::lock_guard lock(mutex);
        events.push_back(event);
      }
      changed.notify_one();
    }
    std::vector<api::WatchEvent> take(std::chrono::milliseconds patience) {
      std::unique_lock lock(mutex);
      changed.wait_for(lock, patience, [this] { return !events.empty(); });
      return std::exchange(events, {});
    }
    std::mutex mutex;
    std::condition_variable changed;
    std::vector<api::WatchEvent> events;
  };

  bool stopped() {
    std::lock_guard lock(mutex_);
    return stopping_;
  }

  void have(const DocumentPtr& pod) {
    const std::string uid(textAt(pod->value, {"metadata", "uid"}));
    std::lock_guard lock(workersMutex_);
    if (stopped()) return;
    std::shared_ptr<PodWorker>& worker = workers_[uid];
    if (worker == nullptr)
      worker = std::make_shared<PodWorker>(node_, pod);
    else
      worker->update(pod);
  }

  void lose(const std::string& uid) {
    std::lock_guard lock(workersMutex_);
    const auto found = workers_.find(uid);
    if (found != workers_.end()) found->second->gone();
  }

  void forgetOthers(const std::set<std::string>& alive) {
    std::lock_guard lock(workersMutex_);
    for (auto& [uid, worker] : workers_)
      if (!alive.contains(uid)) worker->gone();
    listed_ = true;
  }

  // Logs that grew are rotated; images that nobody uses make room when the disk fills up.
  void keepTidy() {
    ImageCollector collector(clock_);
    SteadyTime nextImages = clock_.steady();
    while (pause(kLogsEvery)) {
      rotateLogs();
      if (!ownRuntime() || clock_.steady() < nextImages) continue;  // on a shared containerd images are others', too
      nextImages = clock_.steady() + kImagesEvery;
      const Result<std::vector<StoredImage>> images = runtime_.images();
      const Result<std::set<std::string>> used = runtime_.imagesInUse();
      if (!images || !used) continue;
      for (const std::string& id : collector.choose(*images, *used, diskUse(options_.directory)))
        if (Result<void> removed = runtime_.removeImage(id); removed)
          log::info("image removed to free disk space", {{"name", id}});
        else
          log::warn("image not removed", {{"name", id}, {"err", log::chain(removed.error())}});
    }
  }

  void rotateLogs() {
    const Result<std::vector<Container>> containers = runtime_.containers("");
    if (!containers) return;
    for (const Container& container : *containers) {
      if (container.state != Container::State::Running || container.logPath.empty()) continue;
      const Result<bool> done = rotateLog(container.logPath, {}, clock_.now(), [&] { return runtime_.reopenLog(container.id); });
      if (!done) log::warn("log not rotated", {{"name", container.name}, {"uid", container.podUid}, {"err", log::chain(done.error())}});
    }
  }

  // Once a second: who changed state is looked at, who is nobody's is removed, who has finished is forgotten.
  void followRuntime() {
    std::map<std::string, std::string> before;
    while (pause(kLookEvery)) {
      std::vector<std::shared_ptr<PodWorker>> finished;
      {
        std::lock_guard lock(workersMutex_);
        std::erase_if(workers_, [&](auto& entry) {
          if (!entry.second->finished()) return false;
          finished.push_back(entry.second);
          return true;
        });
      }
      finished.clear();
      const Result<std::map<std::string, std::string>> now = runtime_.fingerprints();
      if (!now) continue;
      std::vector<std::string> orphans;
      {
        std::lock_guard lock(workersMutex_);
        for (auto& [uid, worker] : workers_) {
          const auto old = before.find(uid);
          const auto fresh = now->find(uid);
          if ((old == before.end() ? "" : old->second) != (fresh == now->end() ? "" : fresh->second)) worker->wake();
        }
        if (listed_)
          for (const auto& [uid, print] : *now)
            if (!workers_.contains(uid)) orphans.push_back(uid);
        if (listed_)
          for (const std::string& uid : volumes_.known())
            if (!workers_.contains(uid) && !now->contains(uid)) orphans.push_back(uid);
      }
      for (const std::string& uid : orphans) removeOrphan(uid);
      before = *now;
    }
  }

  // A pod that the API no longer knows; before the first list nobody is one.
  void removeOrphan(const std::string& uid) {
    if (const Result<std::vector<Container>> containers = runtime_.containers(uid))
      for (const Container& container : *containers)
        if (container.state == Container::State::Running) static_cast<void>(runtime_.stopContainer(container.id, 1s));
    if (const Result<std::vector<Sandbox>> sandboxes = runtime_.sandboxes(uid))
      for (const Sandbox& sandbox : *sandboxes)
        if (runtime_.stopSandbox(sandbox.id)) static_cast<void>(runtime_.removeSandbox(sandbox.id));
    if (const Result<void> removed = volumes_.remove(uid); !removed)
      log::warn("volumes of an unknown pod not removed", {{"uid", uid}, {"err", log::chain(removed.error())}});
  }

  AgentOptions options_;
  api::Client& client_;
  const Clock& clock_;
  Containerd containerd_;
  Runtime runtime_;
  Volumes volumes_;
  Events events_;
  ObjectWatches watches_;
  NodeContext node_;
  NodeObject object_;
  SteadyTime answered_{};  // when the runtime did last
  std::mutex mutex_;       // of stopping_
  std::condition_variable changed_;
  bool stopping_ = false, started_ = false;
  std::atomic<bool> ready_ = false;
  std::mutex workersMutex_;
  std::map<std::string, std::shared_ptr<PodWorker>> workers_;
  bool listed_ = false;  // guarded by workersMutex_
  std::vector<std::thread> threads_;
};

}  // namespace

std::unique_ptr<Agent> makeAgent(AgentOptions options, api::Client& client, const Clock& clock) {
  return std::make_unique<NodeAgent>(std::move(options), client, clock);
}

}  // namespace podpass::node
