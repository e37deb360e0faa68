#include "node/pod_worker.h"

#include <cri.pb.h>
#include <sys/stat.h>

#include <future>
#include <set>

#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "node/pod_config.h"

namespace podpass::node {

namespace fs = std::filesystem;
namespace cri = ::runtime::v1;
using namespace std::chrono_literals;

namespace {

constexpr std::chrono::milliseconds kSteady = 60s, kLongestRetry = 10s;
constexpr std::chrono::milliseconds kTogether = 200ms;  // changes of objects within it are one refresh
constexpr std::size_t kTerminationMessage = 4096;
constexpr std::chrono::seconds kOrphanGrace{1}, kShortestGrace{2};

const json::array& listAt(const json::object& pod, std::string_view name) {
  static const json::array none;
  const json::array* found = arrayAt(pod, {"spec", name});
  return found == nullptr ? none : *found;
}

const json::object* specOf(const json::object& pod, std::string_view container) {
  for (const char* list : {"initContainers", "containers"})
    for (const json::value& spec : listAt(pod, list))
      if (textAt(spec.as_object(), {"name"}) == container) return &spec.as_object();
  return nullptr;
}

bool deleting(const json::object& pod) { return !textAt(pod, {"metadata", "deletionTimestamp"}).empty(); }

}  // namespace

PodWorker::PodWorker(NodeContext& node, DocumentPtr pod)
    : node_(node),
      uid_(textAt(pod->value, {"metadata", "uid"})),
      ns_(textAt(pod->value, {"metadata", "namespace"})),
      name_(textAt(pod->value, {"metadata", "name"})),
      pod_(std::move(pod)),
      prober_(
          node.runtime, node.clock, [this] { wake(); },
          [this](const std::string& container, const std::string& text) { unhealthy(container, text); }) {
  thread_ = std::thread([this] { run(); });
}

PodWorker::~PodWorker() {
  askToStop();
  prober_.stop();
  if (thread_.joinable()) thread_.join();
}

void PodWorker::update(DocumentPtr pod) {
  {
    std::lock_guard lock(mutex_);
    if (pod->revision < pod_->revision) return;
    // Our own status comes back as a change; only the rest of the object is news.
    const auto without = [](const json::object& from, std::string_view name) {
      const json::value* value = from.if_contains(name);
      return value == nullptr ? json::value() : *value;
    };
    const bool news =
        without(pod->value, "spec") != without(pod_->value, "spec") || deleting(pod->value) != deleting(pod_->value) ||
        without(pod->value.at("metadata").as_object(), "labels") != without(pod_->value.at("metadata").as_object(), "labels") ||
        without(pod->value.at("metadata").as_object(), "annotations") != without(pod_->value.at("metadata").as_object(), "annotations") ||
        integerAt(pod->value, {"metadata", "deletionGracePeriodSeconds"}) !=
            integerAt(pod_->value, {"metadata", "deletionGracePeriodSeconds"});
    pod_ = std::move(pod);
    if (!news) return;
    woken_ = true;
  }
  changed_.notify_all();
}

void PodWorker::unhealthy(const std::string& container, const std::string& text) {
  DocumentPtr pod;
  {
    std::lock_guard lock(mutex_);
    if (stopping_) return;
    pod = pod_;
  }
  node_.events.warning(pod->value, container, "Unhealthy", text);
}

void PodWorker::gone() {
  {
    std::lock_guard lock(mutex_);
    gone_ = woken_ = true;
  }
  changed_.notify_all();
}

void PodWorker::wake() {
  {
    std::lock_guard lock(mutex_);
    woken_ = true;
  }
  changed_.notify_all();
}

void PodWorker::refresh() {
  {
    std::lock_guard lock(mutex_);
    refreshAt_ = std::min(refreshAt_, std::chrono::steady_clock::now() + kTogether);
  }
  changed_.notify_all();
}

void PodWorker::askToStop() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
}

bool PodWorker::stopping() const {
  std::lock_guard lock(mutex_);
  return stopping_;
}

bool PodWorker::finished() const {
  std::lock_guard lock(mutex_);
  return finished_;
}

fs::path PodWorker::logDirectory() const { return node_.logRoot / (ns_ + "_" + name_ + "_" + uid_); }

void PodWorker::run() {
  for (;;) {
    DocumentPtr pod;
    bool gone = false;
    {
      std::lock_guard lock(mutex_);
      if (stopping_ || finished_) return;
      woken_ = false;
      refreshAt_ = SteadyTime::max();
      pod = pod_;
      gone = gone_;
    }
    std::chrono::milliseconds next = kLongestRetry;
    try {
      next = visit(pod->value, gone);
    } catch (const std::exception& error) {  // an object of an unexpected shape must not end the node
      log::error("pod not synced", {{"ns", ns_}, {"name", name_}, {"uid", uid_}, {"err", error.what()}});
    }
    if (std::exchange(unwritten_, false)) next = std::min<std::chrono::milliseconds>(next, 2s);
    std::unique_lock lock(mutex_);
    if (finished_) return;
    const SteadyTime end = std::chrono::steady_clock::now() + next;
    while (!woken_ && !stopping_ && std::chrono::steady_clock::now() < std::min(end, refreshAt_))
      changed_.wait_until(lock, std::min(end, refreshAt_));
  }
}

std::chrono::milliseconds PodWorker::visit(const json::object& pod, bool gone) {
  if (gone || deleting(pod)) return end(pod, gone);
  return sync(pod);
}

Result<Observed> PodWorker::observe() {
  Observed observed;
  Result<std::vector<Container>> containers = node_.runtime.containers(uid_);
  if (!containers) return containers.error();
  observed.containers = std::move(*containers);
  const Result<std::vector<Sandbox>> sandboxes = node_.runtime.sandboxes(uid_);
  if (!sandboxes) return sandboxes.error();
  observed.hostIp = node_.nodeIp;
  observed.waiting = waiting_;
  for (const Sandbox& sandbox : *sandboxes) {
    if (!sandbox.ready) continue;
    observed.sandboxReady = true;
    if (Result<std::vector<std::string>> ips = node_.runtime.sandboxIps(sandbox.id)) observed.podIps = *std::move(ips);
    break;
  }
  for (const Container& container : observed.containers) {
    if (container.state != Container::State::Exited || container.terminationMessage.empty()) continue;
    if (Result<std::string> text = readFile(container.terminationMessage, 1 << 20))
      observed.messages[container.id] = text->substr(0, kTerminationMessage);
  }
  for (const Container& container : observed.containers) observed.probed[container.id] = prober_.verdict(container.id);
  return observed;
}

void PodWorker::publish(const json::object& pod, Observed observed) {
  if (observed.podIps.empty() && booleanAt(pod, {"spec", "hostNetwork"})) observed.podIps = {node_.nodeIp};
  publish(pod, podStatus(pod, observed, node_.clock.now()));
}

void PodWorker::publish(const json::object& pod, json::object status) {
  const std::string text = json::serialize(status);
  if (text == written_) return;
  json::object patch;
  patch["metadata"] = json::object{{"uid", uid_}};  // never on a namesake
  patch["status"] = std::move(status);
  const api::Kind* kind = api::findKind("", "v1", "pods");
  Result<DocumentPtr> written = node_.client.mergePatch(*kind, {ns_, name_}, std::move(patch), "status");
  if (written) {
    written_ = text;
    std::lock_guard lock(mutex_);
    if ((*written)->revision > pod_->revision) {
      if (deleting((*written)->value) != deleting(pod_->value)) woken_ = true;
      pod_ = *written;
    }
    return;
  }
  if (written.error().reason == Reason::NotFound) return;
  log::warn("pod status not written",
            {{"ns", ns_}, {"name", std::string(textAt(pod, {"metadata", "name"}))}, {"err", log::chain(written.error())}});
  unwritten_ = true;
}

std::chrono::milliseconds PodWorker::failedSync(const Error* error) {
  failures_ = std::min(failures_ + 1, 8);
  retryIn(std::min<std::chrono::milliseconds>(250ms * (1 << failures_), kLongestRetry));
  if (error != nullptr) log::warn("pod not synced", {{"ns", ns_}, {"name", name_}, {"uid", uid_}, {"err", log::chain(*error)}});
  return next_;
}

// The pod says why it is not getting on, and no more about its containers than was known.
std::chrono::milliseconds PodWorker::withoutRuntime(const json::object& pod, const Error& error) {
  if (stopping()) return kLongestRetry;
  const std::string why = "container runtime is down: " + error.sentence;
  node_.events.warning(pod, "", "RuntimeNotReady", why);
  if (const std::string_view phase = textAt(pod, {"status", "phase"}); phase.empty() || phase == "Pending") {
    Observed nothing{.containers = {}, .hostIp = node_.nodeIp};
    for (const char* list : {"initContainers", "containers"})
      for (const json::value& spec : listAt(pod, list))
        nothing.waiting[std::string(textAt(spec.as_object(), {"name"}))] = {"ContainerCreating", why};
    publish(pod, std::move(nothing));
  }
  return failedSync(&error);
}

std::chrono::milliseconds PodWorker::sync(const json::object& pod) {
  next_ = std::min<std::chrono::milliseconds>(kSteady, node_.volumes.untilNextSync(uid_));
  const auto failed = [&](const Error* error) { return failedSync(error); };
  Result<Observed> observed = observe();
  if (!observed) return withoutRuntime(pod, observed.error());
  const auto started = parseRfc3339(textAt(pod, {"status", "startTime"}));
  const std::int64_t deadline = integerAt(pod, {"spec", "activeDeadlineSeconds"});
  const bool overdue = deadline > 0 && started && node_.clock.now() >= *started + std::chrono::seconds(deadline);
  const std::string phase(textAt(pod, {"status", "phase"}));
  if (isTerminal(phase) || overdue) {
    if (!kill(pod, std::chrono::seconds(integerAt(pod, {"spec", "terminationGracePeriodSeconds"}, 30)))) return failed(nullptr);
    node_.watches.forget(uid_);
    static_cast<void>(node_.volumes.remove(uid_));
    if (isTerminal(phase)) return kSteady;
    if (Result<Observed> after = observe()) {
      json::object status = podStatus(pod, *after, node_.clock.now());
      status["phase"] = "Failed";
      status["reason"] = "DeadlineExceeded";
      status["message"] = "Pod was active on the node longer than the specified deadline";
      publish(pod, std::move(status));
    }
    return kSteady;
  }
  if (deadline > 0 && started)
    retryIn(std::chrono::duration_cast<std::chrono::milliseconds>(*started + std::chrono::seconds(deadline) - node_.clock.now()) + 10ms);
  // That it is being made is said while it is being made: a write that is kept takes as long as a part of the sandbox.
  std::future<void> said = std::async(std::launch::async, [this, &pod, status = *observed] { publish(pod, status); });

  for (const char* directory : {"volumes", "plugins", "containers"})
    if (Result<void> made = makeDirectories(podDirectory() / directory, 0750); !made) return failed(&made.error());
  node_.watches.follow(uid_, Volumes::objects(pod));
  if (Result<void> mounted = node_.volumes.sync(pod); !mounted) {
    node_.events.warning(pod, "", "FailedMount", mounted.error().sentence);
    return failed(&mounted.error());
  }
  retryIn(node_.volumes.untilNextSync(uid_));

  const std::string policy(textAt(pod, {"spec", "restartPolicy"}));
  const json::array& inits = listAt(pod, "initContainers");
  const json::array& regulars = listAt(pod, "containers");
  bool fresh = false;
  const Result<std::string> sandbox = ensureSandbox(pod, *observed, fresh);
  said.get();
  if (!sandbox) {
    publish(pod, *observed);
    return failed(&sandbox.error());
  }
  if (sandbox->empty()) return next_;  // nothing is to run any more
  if (fresh) {
    observed = observe();
    if (!observed) return failed(&observed.error());
  }

  bool good = true, initialised = true;
  const bool anyRegular = std::any_of(regulars.begin(), regulars.end(), [&](const json::value& spec) {
    return newestOf(observed->containers, textAt(spec.as_object(), {"name"})) != nullptr && !fresh;
  });
  for (const json::value& value : inits) {  // one after the other; what is done stays done
    if (anyRegular) break;
    const json::object& spec = value.as_object();
    const Container* newest = newestOf(observed->containers, textAt(spec, {"name"}));
    if (newest != nullptr && newest->sandbox == *sandbox && newest->state == Container::State::Exited && newest->exitCode == 0) continue;
    initialised = false;
    const bool sidecar = textAt(spec, {"restartPolicy"}) == "Always";
    if (newest != nullptr && newest->state == Container::State::Running) {
      if (!sidecar || !prober_.verdict(newest->id).started) break;
      initialised = true;
      continue;
    }
    if (newest != nullptr && newest->state == Container::State::Exited && policy == "Never" && newest->sandbox == *sandbox) break;
    good = startContainer(pod, spec, *sandbox, *observed) && good;
    if (sidecar && good) {
      initialised = true;
      continue;
    }
    break;
  }
  if (initialised)
    for (const json::value& value : regulars) {
      const json::object& spec = value.as_object();
      const Container* newest = newestOf(observed->containers, textAt(spec, {"name"}));
      if (const std::string why = reasonToKill(pod, spec, newest, *observed); !why.empty()) {
        node_.events.normal(pod, newest->name, "Killing", why);
        good = restart(pod, spec, *newest, *observed) && good;
        retryIn(10ms);  // it has ended: the next look starts it, unless it is crash looping or not wanted any more
        continue;
      }
      if (!wantsStart(policy, newest)) {
        waiting_.erase(std::string(textAt(spec, {"name"})));
        continue;
      }
      good = startContainer(pod, spec, *sandbox, *observed) && good;
    }
  Result<Observed> after = observe();
  if (!after) return failed(&after.error());
  prober_.follow(pod, after->containers, after->podIps.empty() ? node_.nodeIp : after->podIps.front());
  for (const Container& container : after->containers) after->probed[container.id] = prober_.verdict(container.id);
  publish(pod, *after);
  pruneDead(after->containers);
  if (!good) return failed(nullptr);
  failures_ = 0;
  std::lock_guard lock(mutex_);
  if (isTerminal(textAt(pod_->value, {"status", "phase"}))) retryIn(10ms);  // stop the sandbox
  return next_;
}

// "" or why a running container is to be ended.
std::string PodWorker::reasonToKill(const json::object& pod, const json::object& spec, const Container* newest, const Observed& observed) {
  if (newest == nullptr || newest->state != Container::State::Running) return {};
  if (newest->hash != containerHash(spec)) return "Container " + newest->name + " definition changed, will be restarted";
  const auto probed = observed.probed.find(newest->id);
  if (probed == observed.probed.end() || probed->second.failed.empty()) return {};
  return "Container " + newest->name + " failed " + probed->second.failed + " probe" +
         (textAt(pod, {"spec", "restartPolicy"}) == "Never" ? "" : ", will be restarted");
}

bool PodWorker::restart(const json::object& pod, const json::object& spec, const Container& container, const Observed& observed) {
  std::int64_t grace = integerAt(pod, {"spec", "terminationGracePeriodSeconds"}, 30);
  const auto probed = observed.probed.find(container.id);
  if (probed != observed.probed.end() && !probed->second.failed.empty())
    grace = integerAt(spec, {probed->second.failed + "Probe", "terminationGracePeriodSeconds"}, grace);
  return static_cast<bool>(stopContainer(pod, container, observed, std::chrono::seconds(grace)));
}

void PodWorker::pruneDead(const std::vector<Container>& containers) {
  std::map<std::string, int> dead;  // one is kept for lastState and `logs --previous`, beside the newest
  std::set<std::string> seen;
  for (const Container& container : containers) {
    const bool newest = seen.insert(container.name).second;
    if (newest || container.state == Container::State::Running) continue;
    if (++dead[container.name] <= 1) continue;
    static_cast<void>(node_.runtime.removeContainer(container.id));
    std::error_code ignored;
    fs::remove(container.logPath, ignored);
  }
}

Result<std::string> PodWorker::ensureSandbox(const json::object& pod, const Observed& observed, bool& fresh) {
  Result<std::vector<Sandbox>> sandboxes = node_.runtime.sandboxes(uid_);
  if (!sandboxes) return sandboxes.error();
  const bool hostNetwork = booleanAt(pod, {"spec", "hostNetwork"});
  const bool usable = !sandboxes->empty() && sandboxes->front().ready && (hostNetwork || !observed.podIps.empty());
  if (usable) return sandboxes->front().id;
  const std::string policy(textAt(pod, {"spec", "restartPolicy"}));
  if (!sandboxes->empty()) {
    const json::array& regulars = listAt(pod, "containers");
    const bool wanted = std::any_of(regulars.begin(), regulars.end(), [&](const json::value& spec) {
      return wantsStart(policy, newestOf(observed.containers, textAt(spec.as_object(), {"name"})));
    });
    if (!wanted) return std::string();
    if (sandboxes->front().ready) node_.events.normal(pod, "", "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.");
    for (const Sandbox& old : *sandboxes)
      if (Result<void> stopped = node_.runtime.stopSandbox(old.id); !stopped) return stopped.error();
  }
  if (Result<void> made = makeDirectories(logDirectory(), 0755); !made) return made.error();
  cri::PodSandboxConfig config;
  const std::uint32_t attempt = sandboxes->empty() ? 0 : sandboxes->front().attempt + 1;
  fillSandbox(pod, attempt, logDirectory(), readFile("/etc/resolv.conf").operator bool() ? *readFile("/etc/resolv.conf") : "", config);
  Result<std::string> id = node_.runtime.runSandbox(config, "");
  if (!id)
    node_.events.warning(pod, "", "FailedCreatePodSandBox", "Failed to create pod sandbox: " + id.error().sentence);
  else
    fresh = true;
  return id;
}

bool PodWorker::crashLooping(const json::object& pod, const json::object& spec, const Container& newest) {
  const std::string name(textAt(spec, {"name"}));
  // A restart that ran for ten minutes is forgiven.
  if (newest.finishedAt - newest.startedAt > std::chrono::nanoseconds(10min).count()) crashes_[name] = 0;
  const auto known = crashes_.try_emplace(name, 0).first;  // as after a start of the kubelet: the first restart is immediate
  const std::chrono::seconds delay = crashDelay(known->second);
  const WallTime due = WallTime(std::chrono::duration_cast<WallTime::duration>(std::chrono::nanoseconds(newest.finishedAt))) + delay;
  if (node_.clock.now() >= due) {
    ++known->second;
    return false;
  }
  const std::string where = name_ + "_" + ns_ + "(" + uid_ + ")";
  waiting_[name] = {"CrashLoopBackOff", "back-off " + goDuration(delay) + " restarting failed container=" + name + " pod=" + where};
  node_.events.warning(pod, name, "BackOff", "Back-off restarting failed container " + name + " in pod " + where);
  retryIn(std::chrono::duration_cast<std::chrono::milliseconds>(due - node_.clock.now()) + 10ms);
  return true;
}

bool PodWorker::kill(const json::object& pod, std::chrono::seconds grace) {
  const Result<Observed> observed = observe();
  const Result<std::vector<Sandbox>> sandboxes = node_.runtime.sandboxes(uid_);
  if (!observed || !sandboxes) {
    if (!stopping())
      node_.events.warning(pod, "", "FailedKillPod", "error killing pod: " + (observed ? sandboxes.error() : observed.error()).sentence);
    return false;
  }
  std::atomic<bool> good = true;
  std::vector<std::thread> stopping;
  for (const Container& container : observed->containers) {
    if (container.state != Container::State::Running && container.state != Container::State::Unknown) continue;
    node_.events.normal(pod, container.name, "Killing", "Stopping container " + container.name);
    stopping.emplace_back([&] {
      if (!stopContainer(pod, container, *observed, grace)) good = false;
    });
  }
  for (std::thread& each : stopping) each.join();
  for (const Sandbox& sandbox : *sandboxes)
    if (good && sandbox.ready && !node_.runtime.stopSandbox(sandbox.id)) good = false;
  return good;
}

// The preStop hook has its part of the grace; whatever it took, the signal is followed by two seconds at least.
Result<void> PodWorker::stopContainer(const json::object& pod, const Container& container, const Observed& observed,
                                      std::chrono::seconds grace) {
  const json::object* spec = specOf(pod, container.name);
  const json::object* hook = spec == nullptr ? nullptr : objectAt(*spec, {"lifecycle", "preStop"});
  if (hook != nullptr && grace > 0s && container.state == Container::State::Running) {
    const SteadyTime begun = node_.clock.steady();
    const std::string podIp = observed.podIps.empty() ? node_.nodeIp : observed.podIps.front();
    const Answer answer = perform(node_.runtime, *hook, *spec, container.id, podIp, grace);
    if (answer.kind != Answer::Kind::Good)
      node_.events.warning(pod, container.name, "FailedPreStopHook", "PreStopHook failed: " + answer.text);
    const auto took = std::chrono::duration_cast<std::chrono::seconds>(node_.clock.steady() - begun);
    grace = std::max(std::min(grace, kShortestGrace), grace - took);
  }
  return node_.runtime.stopContainer(container.id, grace);
}

std::chrono::milliseconds PodWorker::end(const json::object& pod, bool gone) {
  std::chrono::seconds grace(
      integerAt(pod, {"metadata", "deletionGracePeriodSeconds"}, integerAt(pod, {"spec", "terminationGracePeriodSeconds"}, 30)));
  grace = gone ? kOrphanGrace : std::max(grace, grace.count() == 0 ? std::chrono::seconds(0) : kShortestGrace);
  next_ = kLongestRetry;
  if (!kill(pod, grace)) return 2s;
  node_.watches.forget(uid_);
  waiting_.clear();
  prober_.follow(pod, {}, "");
  if (!gone)
    if (Result<Observed> observed = observe()) {
      json::object status = podStatus(pod, *observed, node_.clock.now());
      if (!isTerminal(textAt(status, {"phase"}))) {  // a deleted pod ends in a phase that says how
        const bool clean = !observed->containers.empty() && std::all_of(observed->containers.begin(), observed->containers.end(),
                                                                        [](const Container& each) { return each.exitCode == 0; });
        status["phase"] = clean ? "Succeeded" : "Failed";
      }
      publish(pod, std::move(status));
    }
  const Result<std::vector<Sandbox>> sandboxes = node_.runtime.sandboxes(uid_);
  if (!sandboxes) return 2s;
  for (const Sandbox& sandbox : *sandboxes)
    if (!node_.runtime.removeSandbox(sandbox.id)) return 2s;
  if (Result<void> removed = node_.volumes.remove(uid_); !removed) {
    log::warn("volumes not removed", {{"ns", ns_}, {"name", name_}, {"err", log::chain(removed.error())}});
    return 2s;
  }
  std::error_code ignored;
  fs::remove_all(podDirectory() / "containers", ignored);
  fs::remove(podDirectory() / "etc-hosts", ignored);
  fs::remove_all(logDirectory(), ignored);
  if (!gone) {
    api::DeleteOptions options;
    options.gracePeriodSeconds = 0;
    options.uid = uid_;
    const Result<void> deleted = node_.client.remove(*api::findKind("", "v1", "pods"), {ns_, name_}, options);
    if (!deleted && deleted.error().reason != Reason::NotFound && deleted.error().reason != Reason::Conflict) {
      log::warn("pod not deleted", {{"ns", ns_}, {"name", name_}, {"err", log::chain(deleted.error())}});
      return 2s;
    }
  }
  std::lock_guard lock(mutex_);
  finished_ = true;
  return kLongestRetry;
}

}  // namespace podpass::node
