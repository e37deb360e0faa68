#include "node/agent.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <set>

#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "node/containerd.h"
#include "node/environment.h"
#include "node/logs.h"
#include "node/pod_worker.h"

namespace podpass::node {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

namespace {

constexpr std::chrono::milliseconds kLeaseEvery = 10s, kStatusEvery = 5min, kLookEvery = 1s;
constexpr int kLeaseSeconds = 40;

// This machine's first address that is not loopback and not of a bridge of pods; 127.0.0.1 when there is none.
std::string machineAddress() {
  std::string found = "127.0.0.1";
  ifaddrs* all = nullptr;
  if (::getifaddrs(&all) != 0) return found;
  for (const ifaddrs* each = all; each != nullptr; each = each->ifa_next) {
    if (each->ifa_addr == nullptr || each->ifa_addr->sa_family != AF_INET || (each->ifa_flags & IFF_LOOPBACK) != 0) continue;
    const std::string_view name(each->ifa_name);
    if (name.starts_with("pp") || name.starts_with("cni") || name.starts_with("docker") || name.starts_with("veth")) continue;
    char text[INET_ADDRSTRLEN] = {};
    ::inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in*>(each->ifa_addr)->sin_addr, text, sizeof(text));
    found = text;
    break;
  }
  ::freeifaddrs(all);
  return found;
}

std::string firstLine(const char* path) {
  const Result<std::string> text = readFile(path, 4096);
  return text ? text->substr(0, text->find('\n')) : std::string();
}

std::string osImage() {
  const Result<std::string> text = readFile("/etc/os-release", 65536);
  if (!text) return "Linux";
  const std::size_t at = text->find("PRETTY_NAME=\"");
  if (at == std::string::npos) return "Linux";
  return text->substr(at + 13, text->find('"', at + 13) - at - 13);
}

json::object resources(const Allocatable& machine) {
  return {{"cpu", std::to_string(machine.cpuMillis / 1000)},
          {"memory", std::to_string(machine.memoryBytes / 1024) + "Ki"},
          {"ephemeral-storage", std::to_string(machine.storageBytes / 1024) + "Ki"},
          {"pods", "110"}};
}

class NodeAgent final : public Agent {
 public:
  NodeAgent(AgentOptions options, api::Client& client, const Clock& clock)
      : options_(std::move(options)),
        client_(client),
        clock_(clock),
        containerd_(options_.directory),
        runtime_(options_.containerdSocket.empty() ? containerd_.places().socket.string() : options_.containerdSocket),
        volumes_(client, clock, options_.directory / "kubelet"),
        events_(client, clock, options_.nodeName),
        node_{.options = options_,
              .client = client,
              .clock = clock,
              .runtime = runtime_,
              .volumes = volumes_,
              .events = events_,
              .nodeIp = machineAddress(),
              .kubeletRoot = fs::absolute(options_.directory) / "kubelet",
              .logRoot = fs::absolute(options_.directory) / "logs" / "pods"} {}
  ~NodeAgent() override { stop(); }

  Result<void> start() override {
    for (const fs::path& directory : {node_.kubeletRoot / "pods", node_.logRoot})
      if (Result<void> made = makeDirectories(directory, 0755); !made) return made;
    if (options_.containerdSocket.empty())
      if (Result<void> started = containerd_.start(); !started) return started;
    running_ = true;
    if (Result<void> registered = publishNode(); !registered) {
      containerd_.stop();
      running_ = false;
      return registered;
    }
    static_cast<void>(renewLease());
    threads_.emplace_back([this] { guard("node status", [this] { keepNode(); }); });
    threads_.emplace_back([this] { guard("pods", [this] { followPods(); }); });
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
    watching_.reset();
    std::map<std::string, std::shared_ptr<PodWorker>> ending;
    {
      std::lock_guard lock(workersMutex_);
      ending.swap(workers_);
    }
    ending.clear();  // joins
    containerd_.stop();
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

  json::array conditions(const json::object* before, const Result<void>& ready) {
    const std::string now = rfc3339(clock_.now());
    json::array all;
    const auto add = [&](const char* type, const char* status, const char* reason, const std::string& message) {
      json::object condition = {{"type", type},       {"status", status},         {"reason", reason},
                                {"message", message}, {"lastHeartbeatTime", now}, {"lastTransitionTime", now}};
      const json::array* old = before == nullptr ? nullptr : arrayAt(*before, {"status", "conditions"});
      if (old != nullptr)
        for (const json::value& each : *old)
          if (textAt(each.as_object(), {"type"}) == type && textAt(each.as_object(), {"status"}) == status)
            condition["lastTransitionTime"] = textAt(each.as_object(), {"lastTransitionTime"});
      all.push_back(std::move(condition));
    };
    add("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available");
    add("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure");
    add("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available");
    if (ready)
      add("Ready", "True", "KubeletReady", "kubelet is posting ready status");
    else
      add("Ready", "False", "KubeletNotReady", ready.error().sentence);
    return all;
  }

  json::object statusNow(const json::object* before, const Result<void>& ready) {
    utsname kernel{};
    ::uname(&kernel);
    const Result<std::string> version = runtime_.version();
    json::object status;
    status["addresses"] = json::array{json::object{{"type", "InternalIP"}, {"address", node_.nodeIp}},
                                      json::object{{"type", "Hostname"}, {"address", options_.nodeName}}};
    status["capacity"] = resources(machineAllocatable());
    status["allocatable"] = resources(machineAllocatable());
    status["conditions"] = conditions(before, ready);
    status["daemonEndpoints"] = json::object{{"kubeletEndpoint", json::object{{"Port", 10250}}}};
    status["nodeInfo"] = json::object{{"architecture", architecture()},
                                      {"bootID", firstLine("/proc/sys/kernel/random/boot_id")},
                                      {"containerRuntimeVersion", version ? *version : "containerd://unknown"},
                                      {"kernelVersion", kernel.release},
                                      {"kubeProxyVersion", "v1.33.0"},
                                      {"kubeletVersion", "v1.33.0"},
                                      {"machineID", firstLine("/etc/machine-id")},
                                      {"operatingSystem", "linux"},
                                      {"osImage", osImage()},
                                      {"systemUUID", firstLine("/etc/machine-id")}};
    return status;
  }

  static const char* architecture() {
#if defined(__aarch64__)
    return "arm64";
#else
    return "amd64";
#endif
  }

  Result<void> publishNode() {
    const api::Kind* kind = api::findKind("", "v1", "nodes");
    Result<DocumentPtr> node = client_.get(*kind, {"", options_.nodeName});
    if (!node && node.error().reason != Reason::NotFound) return node.error();
    const Result<void> ready = runtime_.ready();
    if (!node) {
      const std::string hostname = options_.nodeName;
      json::object labels = {{"kubernetes.io/hostname", hostname},
                             {"kubernetes.io/os", "linux"},
                             {"kubernetes.io/arch", architecture()},
                             {"beta.kubernetes.io/os", "linux"},
                             {"beta.kubernetes.io/arch", architecture()}};
      json::object object = {{"apiVersion", "v1"}, {"kind", "Node"}};
      object["metadata"] = json::object{{"name", hostname}, {"labels", std::move(labels)}};
      object["spec"] = json::object{};
      object["status"] = statusNow(nullptr, ready);
      node = client_.create(*kind, "", std::move(object));
      if (!node) return node.error();
    }
    ready_ = static_cast<bool>(ready);
    json::object patch = {{"status", statusNow(&(*node)->value, ready)}};
    const Result<DocumentPtr> written = client_.mergePatch(*kind, {"", options_.nodeName}, std::move(patch), "status");
    if (!written) return written.error();
    if (ready) removeTaints((*written)->value);
    return {};
  }

  void removeTaints(const json::object& node) {
    const json::array* taints = arrayAt(node, {"spec", "taints"});
    if (taints == nullptr) return;
    json::array kept;
    for (const json::value& taint : *taints)
      if (!taint.is_object() || textAt(taint.get_object(), {"key"}) != "node.kubernetes.io/not-ready") kept.push_back(taint);
    if (kept.size() == taints->size()) return;
    json::object patch;
    patch["spec"] = json::object{{"taints", std::move(kept)}};
    const Result<DocumentPtr> done = client_.mergePatch(*api::findKind("", "v1", "nodes"), {"", options_.nodeName}, std::move(patch));
    if (!done) log::warn("taint not removed", {{"name", options_.nodeName}, {"err", log::chain(done.error())}});
  }

  Result<void> renewLease() {
    const api::Kind* kind = api::findKind("coordination.k8s.io", "v1", "leases");
    if (kind == nullptr) return {};
    json::object spec = {
        {"holderIdentity", options_.nodeName}, {"leaseDurationSeconds", kLeaseSeconds}, {"renewTime", rfc3339Micro(clock_.now())}};
    json::object patch = {{"spec", spec}};
    const Result<DocumentPtr> renewed = client_.mergePatch(*kind, {"kube-node-lease", options_.nodeName}, std::move(patch));
    if (renewed) return {};
    if (renewed.error().reason != Reason::NotFound) return renewed.error();
    json::object lease = {{"apiVersion", "coordination.k8s.io/v1"}, {"kind", "Lease"}};
    lease["metadata"] = json::object{{"name", options_.nodeName}, {"namespace", "kube-node-lease"}};
    lease["spec"] = std::move(spec);
    const Result<DocumentPtr> made = client_.create(*kind, "kube-node-lease", std::move(lease));
    if (!made) return made.error();
    return {};
  }

  void keepNode() {
    SteadyTime nextLease = clock_.steady() + kLeaseEvery, nextStatus = clock_.steady() + kStatusEvery;
    while (pause(ready_ ? 1s : 100ms)) {  // a runtime that has just come up should not wait for its pods
      const SteadyTime now = clock_.steady();
      if (now >= nextLease) {
        nextLease = now + kLeaseEvery;
        if (Result<void> done = renewLease(); !done)
          log::warn("lease not renewed", {{"name", options_.nodeName}, {"err", log::chain(done.error())}});
      }
      const bool changed = static_cast<bool>(runtime_.ready()) != ready_;
      if (!changed && now < nextStatus) continue;
      if (Result<void> done = publishNode(); !done) {
        log::warn("node status not written", {{"name", options_.nodeName}, {"err", log::chain(done.error())}});
        nextStatus = now + kLeaseEvery;
        continue;
      }
      nextStatus = now + kStatusEvery;
      if (changed && ready_) wakeAll();
    }
  }

  void wakeAll() {
    std::lock_guard lock(workersMutex_);
    for (auto& [uid, worker] : workers_) worker->wake();
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
  NodeContext node_;
  std::mutex mutex_;  // of stopping_
  std::condition_variable changed_;
  bool stopping_ = false, running_ = false;
  std::atomic<bool> ready_ = false;
  std::mutex workersMutex_;
  std::map<std::string, std::shared_ptr<PodWorker>> workers_;
  bool listed_ = false;  // guarded by workersMutex_
  std::unique_ptr<api::Watching> watching_;
  std::vector<std::thread> threads_;
};

}  // namespace

std::unique_ptr<Agent> makeAgent(AgentOptions options, api::Client& client, const Clock& clock) {
  return std::make_unique<NodeAgent>(std::move(options), client, clock);
}

}  // namespace podpass::node
