#include <cri.pb.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/text.h"
#include "node/environment.h"
#include "node/pod_config.h"
#include "node/pod_worker.h"

// PodWorker's part that makes one container.
namespace podpass::node {

namespace fs = std::filesystem;
namespace cri = ::runtime::v1;
using namespace std::chrono_literals;

namespace {

constexpr std::chrono::seconds kPostStart{120};

// Open to every user of the container, whatever the umask.
Result<void> writeShared(const fs::path& path, std::string_view bytes, mode_t mode) {
  if (Result<void> done = writeFileAtomically(path, bytes, mode); !done) return done;
  if (::chmod(path.c_str(), mode) != 0) return Error{Reason::Internal, "cannot set the mode of " + path.string()};
  return {};
}

}  // namespace

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
  if (const json::object* hook = objectAt(spec, {"lifecycle", "postStart"})) {
    const Answer answer = perform(node_.runtime, *hook, spec, *id, facts.podIp, kPostStart);
    if (answer.kind != Answer::Kind::Good) {
      node_.events.warning(pod, name, "FailedPostStartHook", "PostStartHook failed: " + answer.text);
      node_.events.normal(pod, name, "Killing", "FailedPostStartHook");
      static_cast<void>(
          node_.runtime.stopContainer(*id, std::chrono::seconds(integerAt(pod, {"spec", "terminationGracePeriodSeconds"}, 30))));
      waiting_[name] = {"PostStartHookError", "PostStartHook failed: " + answer.text};
      return false;
    }
  }
  waiting_.erase(name);
  return true;
}

Result<void> PodWorker::addMounts(const json::object& pod, const json::object& spec, const std::string& podIp,
                                  const std::vector<std::pair<std::string, std::string>>& variables, cri::ContainerConfig& config) {
  bool ownHosts = false;
  const json::array* volumes = arrayAt(pod, {"spec", "volumes"});
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
      for (const json::value& declared : volumes == nullptr ? json::array() : *volumes)  // what we write is not for the container to write
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

}  // namespace podpass::node
