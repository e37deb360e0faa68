#include "node/pod_config.h"

#include <cri.pb.h>

#include <sstream>

#include "base/text.h"
#include "node/environment.h"

namespace podpass::node {

namespace cri = ::runtime::v1;

namespace {

constexpr const char* kMasked[] = {"/proc/acpi",        "/proc/kcore",       "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
                                   "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware"};
constexpr const char* kReadonly[] = {"/proc/asound", "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"};
constexpr std::int64_t kCpuPeriod = 100'000;

bool anyPrivileged(const json::object& pod) {
  for (const char* list : {"initContainers", "containers"}) {
    const json::array* specs = arrayAt(pod, {"spec", list});
    if (specs == nullptr) continue;
    for (const json::value& spec : *specs)
      if (spec.is_object() && booleanAt(spec.get_object(), {"securityContext", "privileged"})) return true;
  }
  return false;
}

// The container's field, else the pod's.
const json::value* effective(const json::object& pod, const json::object& spec, std::string_view field) {
  if (const json::object* own = objectAt(spec, {"securityContext"}))
    if (const json::value* value = own->if_contains(field)) return value;
  if (const json::object* shared = objectAt(pod, {"spec", "securityContext"})) return shared->if_contains(field);
  return nullptr;
}

std::optional<std::int64_t> number(const json::value* value) {
  if (value == nullptr) return std::nullopt;
  if (value->is_int64()) return value->get_int64();
  if (value->is_uint64()) return static_cast<std::int64_t>(value->get_uint64());
  return std::nullopt;
}

void namespaces(const json::object& pod, cri::NamespaceOption& options) {
  const json::object* spec = objectAt(pod, {"spec"});
  if (spec == nullptr) return;
  options.set_network(booleanAt(*spec, {"hostNetwork"}) ? cri::NODE : cri::POD);
  options.set_ipc(booleanAt(*spec, {"hostIPC"}) ? cri::NODE : cri::POD);
  options.set_pid(booleanAt(*spec, {"hostPID"}) ? cri::NODE : booleanAt(*spec, {"shareProcessNamespace"}) ? cri::POD : cri::CONTAINER);
}

template <class Context>
void groups(const json::object& pod, Context& context) {
  const json::object* shared = objectAt(pod, {"spec", "securityContext"});
  if (shared == nullptr) return;
  if (const auto group = number(shared->if_contains("fsGroup"))) context.add_supplemental_groups(*group);
  if (const json::array* more = arrayAt(*shared, {"supplementalGroups"}))
    for (const json::value& group : *more)
      if (const auto value = number(&group)) context.add_supplemental_groups(*value);
}

std::optional<std::int64_t> resource(const json::object& pod, const json::object& spec, const char* list, const char* name) {
  const json::object* resources = objectAt(spec, {"resources", list});
  if (resources == nullptr || !resources->contains(name)) return std::nullopt;
  const bool cpu = std::string_view(name) == "cpu";
  const json::object selector = {{"resource", std::string(list) + "." + name}, {"divisor", cpu ? "1m" : "1"}};
  const Result<std::string> value = resourceValue(pod, selector, textAt(spec, {"name"}), machineAllocatable());
  if (!value) return std::nullopt;
  return std::strtoll(value->c_str(), nullptr, 10);
}

void fillResources(const json::object& pod, const json::object& spec, cri::LinuxContainerResources& resources) {
  const auto limit = resource(pod, spec, "limits", "cpu");
  const auto request = resource(pod, spec, "requests", "cpu");
  const std::int64_t milli = request ? *request : limit.value_or(0);
  resources.set_cpu_shares(std::clamp<std::int64_t>(milli * 1024 / 1000, 2, 262144));
  resources.set_cpu_period(kCpuPeriod);
  if (limit && *limit > 0) resources.set_cpu_quota(std::max<std::int64_t>(1000, *limit * 100));
  resources.set_memory_limit_in_bytes(resource(pod, spec, "limits", "memory").value_or(0));
  const std::string qos = qosClass(pod);
  std::int64_t score = qos == "Guaranteed" ? -997 : 1000;
  if (qos == "Burstable") {
    const std::int64_t memory = resource(pod, spec, "requests", "memory").value_or(0);
    const std::int64_t capacity = std::max<std::int64_t>(1, machineAllocatable().memoryBytes / 1000);
    score = std::clamp<std::int64_t>(1000 - memory / capacity, 3, 999);
  }
  resources.set_oom_score_adj(score);
}

Result<void> fillUser(const json::object& pod, const json::object& spec, const Image& image, cri::LinuxContainerSecurityContext& context) {
  const auto user = number(effective(pod, spec, "runAsUser"));
  const auto group = number(effective(pod, spec, "runAsGroup"));
  if (user)
    context.mutable_run_as_user()->set_value(*user);
  else if (!image.username.empty())
    context.set_run_as_username(image.username);
  else
    context.mutable_run_as_user()->set_value(std::max<std::int64_t>(image.uid, 0));
  if (group) context.mutable_run_as_group()->set_value(*group);
  const json::value* nonRoot = effective(pod, spec, "runAsNonRoot");
  if (nonRoot == nullptr || !nonRoot->is_bool() || !nonRoot->get_bool()) return {};
  const std::string who = "(pod: \"" + std::string(textAt(pod, {"metadata", "name"})) + "_" +
                          std::string(textAt(pod, {"metadata", "namespace"})) + "(" + std::string(textAt(pod, {"metadata", "uid"})) +
                          ")\", container: " + std::string(textAt(spec, {"name"})) + ")";
  if (user && *user == 0) return Error{Reason::Invalid, "container's runAsUser breaks non-root policy " + who};
  if (user) return {};
  if (!image.username.empty())
    return Error{Reason::Invalid, "container has runAsNonRoot and image has non-numeric user (" + image.username +
                                      "), cannot verify user is non-root " + who};
  if (image.uid <= 0) return Error{Reason::Invalid, "container has runAsNonRoot and image will run as root " + who};
  return {};
}

void fillCapabilities(const json::object& spec, cri::LinuxContainerSecurityContext& context) {
  const auto each = [&](const char* list, auto add) {
    if (const json::array* names = arrayAt(spec, {"securityContext", "capabilities", list}))
      for (const json::value& name : *names)
        if (name.is_string()) add(std::string(name.get_string()));
  };
  each("add", [&](std::string name) { context.mutable_capabilities()->add_add_capabilities(std::move(name)); });
  each("drop", [&](std::string name) { context.mutable_capabilities()->add_drop_capabilities(std::move(name)); });
}

void fillDns(const json::object& pod, const std::string& resolvConf, cri::DNSConfig& dns) {
  if (textAt(pod, {"spec", "dnsPolicy"}) != "None") {
    std::istringstream lines(resolvConf);
    for (std::string line; std::getline(lines, line);) {
      std::istringstream words(line);
      std::string key, value;
      words >> key;
      while (words >> value) {
        if (key == "nameserver") dns.add_servers(value);
        if (key == "search") dns.add_searches(value);
        if (key == "options") dns.add_options(value);
      }
    }
  }
  if (const json::array* servers = arrayAt(pod, {"spec", "dnsConfig", "nameservers"}))
    for (const json::value& server : *servers) dns.add_servers(std::string(server.as_string()));
  if (const json::array* searches = arrayAt(pod, {"spec", "dnsConfig", "searches"}))
    for (const json::value& search : *searches) dns.add_searches(std::string(search.as_string()));
  if (const json::array* options = arrayAt(pod, {"spec", "dnsConfig", "options"}))
    for (const json::value& option : *options) {
      const std::string_view value = textAt(option.as_object(), {"value"});
      dns.add_options(std::string(textAt(option.as_object(), {"name"})) + (value.empty() ? "" : ":" + std::string(value)));
    }
}

}  // namespace

Result<void> fillContainer(const json::object& pod, const json::object& spec, const Image& image, cri::ContainerConfig& config) {
  const std::string name(textAt(spec, {"name"}));
  config.mutable_metadata()->set_name(name);
  config.mutable_image()->set_image(image.id);
  config.set_working_dir(std::string(textAt(spec, {"workingDir"})));
  config.set_stdin(booleanAt(spec, {"stdin"}));
  config.set_stdin_once(booleanAt(spec, {"stdinOnce"}));
  config.set_tty(booleanAt(spec, {"tty"}));
  auto& labels = *config.mutable_labels();
  labels["io.kubernetes.container.name"] = name;
  labels["io.kubernetes.pod.name"] = textAt(pod, {"metadata", "name"});
  labels["io.kubernetes.pod.namespace"] = textAt(pod, {"metadata", "namespace"});
  labels["io.kubernetes.pod.uid"] = textAt(pod, {"metadata", "uid"});
  auto& annotations = *config.mutable_annotations();
  annotations["io.kubernetes.container.hash"] = containerHash(spec);
  annotations["io.kubernetes.container.terminationMessagePath"] = textAt(spec, {"terminationMessagePath"});
  annotations["io.kubernetes.container.terminationMessagePolicy"] = textAt(spec, {"terminationMessagePolicy"});
  annotations["io.kubernetes.pod.terminationGracePeriod"] = std::to_string(integerAt(pod, {"spec", "terminationGracePeriodSeconds"}, 30));
  fillResources(pod, spec, *config.mutable_linux()->mutable_resources());
  cri::LinuxContainerSecurityContext& context = *config.mutable_linux()->mutable_security_context();
  namespaces(pod, *context.mutable_namespace_options());
  groups(pod, context);
  fillCapabilities(spec, context);
  const bool privileged = booleanAt(spec, {"securityContext", "privileged"});
  context.set_privileged(privileged);
  context.set_readonly_rootfs(booleanAt(spec, {"securityContext", "readOnlyRootFilesystem"}));
  context.set_no_new_privs(!booleanAt(spec, {"securityContext", "allowPrivilegeEscalation"}, true));
  context.mutable_seccomp()->set_profile_type(1);  // Unconfined, Kubernetes' default
  if (const json::value* profile = effective(pod, spec, "seccompProfile"); profile != nullptr && profile->is_object())
    if (textAt(profile->get_object(), {"type"}) == "RuntimeDefault" && !privileged) context.mutable_seccomp()->set_profile_type(0);
  if (!privileged && textAt(spec, {"securityContext", "procMount"}) != "Unmasked") {  // the runtime masks nothing unasked
    for (const char* path : kMasked) context.add_masked_paths(path);
    for (const char* path : kReadonly) context.add_readonly_paths(path);
  }
  return fillUser(pod, spec, image, context);
}

void fillSandbox(const json::object& pod, std::uint32_t attempt, const std::filesystem::path& logDirectory, const std::string& resolvConf,
                 cri::PodSandboxConfig& config) {
  const bool hostNetwork = booleanAt(pod, {"spec", "hostNetwork"});
  config.mutable_metadata()->set_name(std::string(textAt(pod, {"metadata", "name"})));
  config.mutable_metadata()->set_namespace_(std::string(textAt(pod, {"metadata", "namespace"})));
  config.mutable_metadata()->set_uid(std::string(textAt(pod, {"metadata", "uid"})));
  config.mutable_metadata()->set_attempt(attempt);
  config.set_log_directory(logDirectory.string());
  if (!hostNetwork) config.set_hostname(hostnameOf(pod));
  fillDns(pod, resolvConf, *config.mutable_dns_config());
  auto& labels = *config.mutable_labels();
  for (const char* map : {"labels", "annotations"})
    if (const json::object* entries = objectAt(pod, {"metadata", map}))
      for (const auto& [key, value] : *entries)
        if (value.is_string())
          (std::string_view(map) == "labels" ? labels : *config.mutable_annotations())[std::string(key)] = std::string(value.get_string());
  labels["io.kubernetes.pod.name"] = textAt(pod, {"metadata", "name"});
  labels["io.kubernetes.pod.namespace"] = textAt(pod, {"metadata", "namespace"});
  labels["io.kubernetes.pod.uid"] = textAt(pod, {"metadata", "uid"});
  if (const json::array* specs = arrayAt(pod, {"spec", "containers"}); specs != nullptr && !hostNetwork)
    for (const json::value& spec : *specs)
      if (const json::array* ports = arrayAt(spec.as_object(), {"ports"}))
        for (const json::value& port : *ports) {
          if (integerAt(port.as_object(), {"hostPort"}) == 0) continue;
          cri::PortMapping& mapping = *config.add_port_mappings();
          const std::string_view protocol = textAt(port.as_object(), {"protocol"});
          mapping.set_protocol(protocol == "UDP" ? 1 : protocol == "SCTP" ? 2 : 0);
          mapping.set_container_port(static_cast<std::int32_t>(integerAt(port.as_object(), {"containerPort"})));
          mapping.set_host_port(static_cast<std::int32_t>(integerAt(port.as_object(), {"hostPort"})));
          mapping.set_host_ip(std::string(textAt(port.as_object(), {"hostIP"})));
        }
  cri::LinuxSandboxSecurityContext& context = *config.mutable_linux()->mutable_security_context();
  namespaces(pod, *context.mutable_namespace_options());
  groups(pod, context);
  context.set_privileged(anyPrivileged(pod));
  context.mutable_seccomp()->set_profile_type(1);
  if (const json::array* sysctls = arrayAt(pod, {"spec", "securityContext", "sysctls"}))
    for (const json::value& sysctl : *sysctls)
      (*config.mutable_linux()->mutable_sysctls())[std::string(textAt(sysctl.as_object(), {"name"}))] =
          textAt(sysctl.as_object(), {"value"});
}

std::string hostnameOf(const json::object& pod) {
  std::string name(textAt(pod, {"spec", "hostname"}));
  if (name.empty()) name = textAt(pod, {"metadata", "name"});
  name.resize(std::min<std::size_t>(name.size(), 63));
  while (!name.empty() && (name.back() == '-' || name.back() == '.')) name.pop_back();
  return name;
}

std::string hostsFile(const json::object& pod, const std::string& podIp) {
  std::string text =
      "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::0\tip6-localnet\n"
      "fe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n";
  if (!podIp.empty()) text += podIp + "\t" + hostnameOf(pod) + "\n";
  if (const json::array* aliases = arrayAt(pod, {"spec", "hostAliases"})) {
    text += "\n# Entries added by HostAliases.\n";
    for (const json::value& alias : *aliases) {
      text += textAt(alias.as_object(), {"ip"});
      if (const json::array* names = arrayAt(alias.as_object(), {"hostnames"}))
        for (const json::value& name : *names) text += "\t" + std::string(name.as_string());
      text += "\n";
    }
  }
  return text;
}

std::string containerHash(const json::object& spec) {
  return hexLower(sha256(std::string(textAt(spec, {"name"})) + '\n' + std::string(textAt(spec, {"image"})))).substr(0, 8);
}

std::string qosClass(const json::object& pod) {
  bool any = false, guaranteed = true;
  for (const char* list : {"initContainers", "containers"}) {
    const json::array* specs = arrayAt(pod, {"spec", list});
    if (specs == nullptr) continue;
    for (const json::value& spec : *specs)
      for (const char* name : {"cpu", "memory"}) {
        const json::object& container = spec.as_object();
        const std::string_view limit = textAt(container, {"resources", "limits", name});
        const std::string_view request = textAt(container, {"resources", "requests", name});
        any = any || !limit.empty() || !request.empty();
        if (limit.empty() || (!request.empty() && request != limit)) guaranteed = false;
      }
  }
  return !any ? "BestEffort" : guaranteed ? "Guaranteed" : "Burstable";
}

Result<std::string> imageReference(std::string_view image) {
  constexpr std::string_view kAllowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-/:@";
  const Error bad{Reason::BadRequest, "Failed to apply default image tag " + quoted(image) + ": couldn't parse image reference " +
                                          quoted(image) + ": invalid reference format"};
  if (image.empty() || image.find_first_not_of(kAllowed) != std::string_view::npos || image.front() == '/' || image.back() == '/' ||
      image.back() == ':' || image.find("//") != std::string_view::npos)
    return bad;
  std::string name(image);
  const std::size_t slash = name.find('/');
  const std::string first = name.substr(0, slash);
  const bool hasHost = slash != std::string::npos && (first.find_first_of(".:") != std::string::npos || first == "localhost");
  if (!hasHost) name = "docker.io/" + (slash == std::string::npos ? "library/" + name : name);
  const std::size_t path = name.find('/');
  const std::string_view rest = std::string_view(name).substr(path);
  const std::string_view repository = rest.substr(0, rest.find_first_of(":@"));
  if (std::any_of(repository.begin(), repository.end(), [](char c) { return c >= 'A' && c <= 'Z'; })) return bad;
  if (rest.find_first_of(":@") == std::string_view::npos) name += ":latest";
  return name;
}

}  // namespace podpass::node
