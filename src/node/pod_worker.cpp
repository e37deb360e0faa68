#include "node/pod_worker.h"

#include <cri.pb.h>
#include <sys/stat.h>

#include <set>

#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "node/environment.h"
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

bool deleting(const json::object& pod) { return !textAt(pod, {"metadata", "deletionTimestamp"}).empty(); }

// Open to every user of the container, whatever the umask.
Result<void> writeShared(const fs::path& path, std::string_view bytes, mode_t mode) {
  if (Result<void> done = writeFileAtomically(path, bytes, mode); !done) return done;
  if (::chmod(path.c_str(), mode) != 0) return Error{Reason::Internal, "cannot set the mode of " + path.string()};
  return {};
}

}  // namespace

bool registryUnreachable(std::string_view text) {
  constexpr std::string_view kSigns[] = {"no such host", "network is unreachable", "no route to host", "server misbehaving",
                                         "Temporary failure in name resolution"};
  if (std::any_of(std::begin(kSigns), std::end(kSigns), [&](std::string_view sign) { return text.find(sign) != text.npos; })) return true;
  return text.find("dial tcp: lookup ") != text.npos;  // the name service itself refused or was silent
}

PodWorker::PodWorker(NodeContext& node, DocumentPtr pod)
    : node_(node),
      uid_(textAt(pod->value, {"metadata", "uid"})),
      ns_(textAt(pod->value, {"metadata", "namespace"})),
      name_(textAt(pod->value, {"metadata", "name"})),
      pod_(std::move(pod)) {
  thread_ = std::thread([this] { run(); });
}

PodWorker::~PodWorker() {
  askToStop();
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
  retryIn(2s);
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
  publish(pod, *observed);

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
      if (sidecar) {
        initialised = true;
        continue;
      }
      break;
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
      if (newest != nullptr && newest->state == Container::State::Running && newest->hash != containerHash(spec)) {
        node_.events.normal(pod, newest->name, "Killing", "Container " + newest->name + " definition changed, will be restarted");
        static_cast<void>(
            node_.runtime.stopContainer(newest->id, std::chrono::seconds(integerAt(pod, {"spec", "terminationGracePeriodSeconds"}, 30))));
      } else if (!wantsStart(policy, newest)) {
        waiting_.erase(std::string(textAt(spec, {"name"})));
        continue;
      }
      good = startContainer(pod, spec, *sandbox, *observed) && good;
    }
  Result<Observed> after = observe();
  if (!after) return failed(&after.error());
  publish(pod, *after);
  pruneDead(after->containers);
  if (!good) return failed(nullptr);
  failures_ = 0;
  std::lock_guard lock(mutex_);
  if (isTerminal(textAt(pod_->value, {"status", "phase"}))) retryIn(10ms);  // stop the sandbox
  return next_;
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

bool PodWorker::startContainer(const json::object& pod, const json::object& spec, const std::string& sandbox, const Observed& observed) {
  const std::string name(textAt(spec, {"name"}));
  const Container* newest = newestOf(observed.containers, name);
  if (newest != nullptr && newest->state == Container::State::Exited && crashLooping(pod, spec, *newest)) return true;
  const auto failed = [&](const char* reason, const std::string& message) {
    waiting_[name] = {reason, message};
    node_.events.warning(pod, name, "Failed", "Error: " + message);
    return false;
  };
  if (newest != nullptr && newest->state == Container::State::Created) static_cast<void>(node_.runtime.removeContainer(newest->id));
  const Result<Image> image = ensureImage(pod, spec);
  if (!image) return false;

  PodFacts facts;
  facts.hostIp = node_.nodeIp;
  facts.apiHost = node_.options.apiHost;
  facts.apiPort = node_.options.apiPort;
  facts.podIps = observed.podIps;
  if (booleanAt(pod, {"spec", "hostNetwork"})) facts.podIps = {node_.nodeIp};
  if (!facts.podIps.empty()) facts.podIp = facts.podIps.front();
  const auto variables = environment(node_.client, pod, spec, facts);
  if (!variables) return failed("CreateContainerConfigError", variables.error().sentence);
  cri::ContainerConfig config;
  if (Result<void> filled = fillContainer(pod, spec, *image, config); !filled)
    return failed("CreateContainerConfigError", filled.error().sentence);
  for (const auto& [key, value] : *variables) {
    cri::KeyValue& pair = *config.add_envs();
    pair.set_key(key);
    pair.set_value(value);
  }
  if (const json::array* words = arrayAt(spec, {"command"}))
    for (const json::value& word : *words) config.add_command(expand(word.as_string(), *variables));
  if (const json::array* words = arrayAt(spec, {"args"}))
    for (const json::value& word : *words) config.add_args(expand(word.as_string(), *variables));
  if (Result<void> mounted = addMounts(pod, spec, facts.podIp, *variables, config); !mounted)
    return failed("CreateContainerConfigError", mounted.error().sentence);
  const std::int64_t restarts = newest == nullptr                            ? 0
                                : newest->state == Container::State::Created ? newest->restartCount
                                                                             : newest->restartCount + 1;
  config.mutable_metadata()->set_attempt(static_cast<std::uint32_t>(restarts));
  (*config.mutable_annotations())["io.kubernetes.container.restartCount"] = std::to_string(restarts);
  config.set_log_path(name + "/" + std::to_string(restarts) + ".log");
  if (Result<void> made = makeDirectories(logDirectory() / name, 0755); !made) return failed("CreateContainerError", made.error().sentence);

  cri::PodSandboxConfig sandboxConfig;
  fillSandbox(pod, 0, logDirectory(), "", sandboxConfig);
  const Result<std::string> id = node_.runtime.createContainer(sandbox, config, sandboxConfig);
  if (!id) return failed("CreateContainerError", id.error().sentence);
  node_.events.normal(pod, name, "Created", "Created container " + name);
  if (Result<void> started = node_.runtime.startContainer(*id); !started) return failed("RunContainerError", started.error().sentence);
  node_.events.normal(pod, name, "Started", "Started container " + name);
  waiting_.erase(name);
  return true;
}

Result<void> PodWorker::addMounts(const json::object& pod, const json::object& spec, const std::string& podIp,
                                  const std::vector<std::pair<std::string, std::string>>& variables, cri::ContainerConfig& config) {
  bool ownHosts = false;
  const auto add = [&](const std::string& containerPath, const fs::path& hostPath, bool readonly) -> cri::Mount& {
    cri::Mount& mount = *config.add_mounts();
    mount.set_container_path(containerPath.starts_with('/') ? containerPath : "/" + containerPath);
    mount.set_host_path(hostPath.string());
    mount.set_readonly(readonly);
    ownHosts = ownHosts || mount.container_path() == "/etc/hosts";
    return mount;
  };
  if (const json::array* mounts = arrayAt(spec, {"volumeMounts"}))
    for (const json::value& value : *mounts) {
      const json::object& mount = value.as_object();
      const std::string volume(textAt(mount, {"name"}));
      std::string sub(textAt(mount, {"subPath"}));
      if (const std::string_view expression = textAt(mount, {"subPathExpr"}); !expression.empty()) {
        Result<std::string> expanded = expandSubPath(expression, variables);
        if (!expanded) return expanded.error();
        sub = *std::move(expanded);
      }
      const Result<fs::path> path = sub.empty() ? node_.volumes.hostPath(pod, volume) : node_.volumes.subPath(pod, volume, sub);
      if (!path) return path.error();
      bool readonly = booleanAt(mount, {"readOnly"});
      for (const json::value& declared : listAt(pod, "volumes"))  // what we write is not for the container to write
        if (textAt(declared.as_object(), {"name"}) == volume)
          for (const char* kind : {"projected", "secret", "configMap", "downwardAPI"})
            readonly = readonly || declared.as_object().contains(kind);
      cri::Mount& made = add(std::string(textAt(mount, {"mountPath"})), *path, readonly);
      const std::string_view propagation = textAt(mount, {"mountPropagation"});
      if (propagation == "HostToContainer") made.set_propagation(cri::PROPAGATION_HOST_TO_CONTAINER);
      if (propagation == "Bidirectional") made.set_propagation(cri::PROPAGATION_BIDIRECTIONAL);
    }
  if (!ownHosts && !booleanAt(pod, {"spec", "hostNetwork"})) {
    const fs::path hosts = podDirectory() / "etc-hosts";
    if (Result<void> written = writeShared(hosts, hostsFile(pod, podIp), 0644); !written) return written;
    add("/etc/hosts", hosts, false);
  }
  std::string where(textAt(spec, {"terminationMessagePath"}));
  if (where.empty()) where = "/dev/termination-log";
  const fs::path message = podDirectory() / "containers" / textAt(spec, {"name"}) / hexLower(randomBytes(4));
  if (Result<void> made = makeDirectories(message.parent_path(), 0755); !made) return made;
  if (Result<void> written = writeShared(message, "", 0666); !written) return written;
  add(where, message, false);
  (*config.mutable_annotations())["podpass.dev/termination-message"] = message.string();
  return {};
}

Result<Image> PodWorker::ensureImage(const json::object& pod, const json::object& spec) {
  const std::string name(textAt(spec, {"name"})), wanted(textAt(spec, {"image"}));
  const std::string policy(textAt(spec, {"imagePullPolicy"}));
  const auto refuse = [&](const char* reason, const char* event, const std::string& message) {
    waiting_[name] = {reason, message};
    node_.events.warning(pod, name, event, message);
    return Error{Reason::Unavailable, message};
  };
  const Result<std::string> reference = imageReference(wanted);
  if (!reference) return refuse("InvalidImageName", "InspectFailed", reference.error().sentence);
  Result<Image> present = node_.runtime.image(*reference);
  if (!present && present.error().reason != Reason::NotFound)
    return refuse("ImageInspectError", "InspectFailed", "Failed to inspect image " + quoted(wanted) + ": " + present.error().sentence);
  if (present && policy != "Always") {
    node_.events.normal(pod, name, "Pulled", "Container image " + quoted(wanted) + " already present on machine");
    return present;
  }
  if (policy == "Never")
    return refuse("ErrImageNeverPull", "ErrImageNeverPull",
                  "Container image " + quoted(wanted) + " is not present with pull policy of Never");
  return pullImage(pod, spec, *reference);
}

Result<Image> PodWorker::pullImage(const json::object& pod, const json::object& spec, const std::string& reference) {
  const std::string name(textAt(spec, {"name"})), wanted(textAt(spec, {"image"}));
  BackOff& backOff = pulls_[reference];
  if (const SteadyTime now = node_.clock.steady(); now < backOff.until) {
    waiting_[name] = {"ImagePullBackOff", "Back-off pulling image " + quoted(wanted) + ": ErrImagePull: " + backOff.last};
    node_.events.normal(pod, name, "BackOff", "Back-off pulling image " + quoted(wanted));
    node_.events.warning(pod, name, "Failed", "Error: ImagePullBackOff");
    retryIn(std::chrono::duration_cast<std::chrono::milliseconds>(backOff.until - now) + 10ms);
    return Error{Reason::Unavailable, "Back-off pulling image " + quoted(wanted)};
  }
  node_.events.normal(pod, name, "Pulling", "Pulling image " + quoted(wanted));
  const SteadyTime begun = node_.clock.steady();
  Result<std::string> pulled;
  {
    std::lock_guard turn(node_.pulling);
    pulled = node_.runtime.pull(reference, nullptr);
  }
  if (pulled) {
    pulls_.erase(reference);
    const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(node_.clock.steady() - begun);
    node_.events.normal(pod, name, "Pulled", "Successfully pulled image " + quoted(wanted) + " in " + std::to_string(took.count()) + "ms");
    return node_.runtime.image(reference);
  }
  if (registryUnreachable(pulled.error().sentence)) {  // unlike kubelet: a machine without network still runs what it has
    Result<Image> present = node_.runtime.image(reference);
    if (present) {
      node_.events.warning(
          pod, name, "RegistryUnreachable",
          "No registry can be reached, using the image " + quoted(wanted) + " that is present on this machine: " + pulled.error().sentence);
      return present;
    }
  }
  backOff.failures = std::min(backOff.failures + 1, 6);
  backOff.until = node_.clock.steady() + crashDelay(backOff.failures);
  backOff.last = pulled.error().sentence;
  retryIn(std::chrono::duration_cast<std::chrono::milliseconds>(crashDelay(backOff.failures)));
  waiting_[name] = {"ErrImagePull", pulled.error().sentence};
  node_.events.warning(pod, name, "Failed", "Failed to pull image " + quoted(wanted) + ": " + pulled.error().sentence);
  node_.events.warning(pod, name, "Failed", "Error: ErrImagePull");
  return pulled.error();
}

bool PodWorker::kill(const json::object& pod, std::chrono::seconds grace) {
  const Result<std::vector<Container>> containers = node_.runtime.containers(uid_);
  const Result<std::vector<Sandbox>> sandboxes = node_.runtime.sandboxes(uid_);
  if (!containers || !sandboxes) return false;
  std::atomic<bool> good = true;
  std::vector<std::thread> stopping;
  for (const Container& container : *containers) {
    if (container.state != Container::State::Running && container.state != Container::State::Unknown) continue;
    node_.events.normal(pod, container.name, "Killing", "Stopping container " + container.name);
    stopping.emplace_back([&, id = container.id] {
      if (!node_.runtime.stopContainer(id, grace)) good = false;
    });
  }
  for (std::thread& each : stopping) each.join();
  for (const Sandbox& sandbox : *sandboxes)
    if (good && sandbox.ready && !node_.runtime.stopSandbox(sandbox.id)) good = false;
  return good;
}

std::chrono::milliseconds PodWorker::end(const json::object& pod, bool gone) {
  std::chrono::seconds grace(
      integerAt(pod, {"metadata", "deletionGracePeriodSeconds"}, integerAt(pod, {"spec", "terminationGracePeriodSeconds"}, 30)));
  grace = gone ? kOrphanGrace : std::max(grace, grace.count() == 0 ? std::chrono::seconds(0) : kShortestGrace);
  next_ = kLongestRetry;
  if (!kill(pod, grace)) return 2s;
  node_.watches.forget(uid_);
  waiting_.clear();
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
