#include "node/node_object.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>

#include "api/version.h"
#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "node/environment.h"

namespace podpass::node {

namespace {

constexpr int kLeaseSeconds = 40;
constexpr std::int64_t kLeastMemory = 100 << 20;  // kubelet's hard eviction thresholds
constexpr double kLeastDisk = 0.10, kLeastInodes = 0.05;

#if defined(__aarch64__)
constexpr const char* kArchitecture = "arm64";
#else
constexpr const char* kArchitecture = "amd64";
#endif

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

std::int64_t memoryAvailable() {
  const Result<std::string> text = readFile("/proc/meminfo", 65536);
  const std::size_t at = text ? text->find("MemAvailable:") : std::string::npos;
  return at == std::string::npos ? kLeastMemory : std::strtoll(text->c_str() + at + 13, nullptr, 10) * 1024;
}

bool diskIsFull(const std::filesystem::path& directory) {
  struct statvfs disk {};
  if (::statvfs(directory.c_str(), &disk) != 0 || disk.f_blocks == 0) return false;
  const auto share = [](auto part, auto whole) { return static_cast<double>(part) / static_cast<double>(whole); };
  return share(disk.f_bavail, disk.f_blocks) < kLeastDisk || (disk.f_files != 0 && share(disk.f_favail, disk.f_files) < kLeastInodes);
}

}  // namespace

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

NodeObject::NodeObject(api::Client& client, const Clock& clock, std::string name, std::string address, std::filesystem::path directory)
    : client_(client), clock_(clock), name_(std::move(name)), address_(std::move(address)), directory_(std::move(directory)) {}

json::array NodeObject::conditions(const json::object* before, const Result<void>& ready) const {
  const std::string now = rfc3339(clock_.now());
  json::array all;
  const auto add = [&](const char* type, bool status, const char* reason, const std::string& message) {
    json::object condition = {{"type", type},
                              {"status", status ? "True" : "False"},
                              {"reason", reason},
                              {"message", message},
                              {"lastHeartbeatTime", now},
                              {"lastTransitionTime", now}};
    const json::array* old = before == nullptr ? nullptr : arrayAt(*before, {"status", "conditions"});
    if (old != nullptr)
      for (const json::value& each : *old)
        if (textAt(each.as_object(), {"type"}) == type && each.as_object().at("status") == condition["status"])
          condition["lastTransitionTime"] = textAt(each.as_object(), {"lastTransitionTime"});
    all.push_back(std::move(condition));
  };
  if (memoryAvailable() < kLeastMemory)
    add("MemoryPressure", true, "KubeletHasInsufficientMemory", "kubelet has insufficient memory available");
  else
    add("MemoryPressure", false, "KubeletHasSufficientMemory", "kubelet has sufficient memory available");
  if (diskIsFull(directory_))
    add("DiskPressure", true, "KubeletHasDiskPressure", "kubelet has disk pressure");
  else
    add("DiskPressure", false, "KubeletHasNoDiskPressure", "kubelet has no disk pressure");
  add("PIDPressure", false, "KubeletHasSufficientPID", "kubelet has sufficient PID available");
  if (ready)
    add("Ready", true, "KubeletReady", "kubelet is posting ready status");
  else
    add("Ready", false, "KubeletNotReady", ready.error().sentence + (ready.error().fix.empty() ? "" : ": " + ready.error().fix));
  return all;
}

json::object NodeObject::statusNow(const json::object* before, const Result<void>& ready, const std::string& runtime) const {
  utsname kernel{};
  ::uname(&kernel);
  json::object status;
  status["addresses"] =
      json::array{json::object{{"type", "InternalIP"}, {"address", address_}}, json::object{{"type", "Hostname"}, {"address", name_}}};
  status["capacity"] = resources(machineAllocatable());
  status["allocatable"] = resources(machineAllocatable());
  status["conditions"] = conditions(before, ready);
  status["nodeInfo"] = json::object{{"architecture", kArchitecture},
                                    {"bootID", firstLine("/proc/sys/kernel/random/boot_id")},
                                    {"containerRuntimeVersion", runtime},
                                    {"kernelVersion", kernel.release},
                                    {"kubeProxyVersion", api::kGitVersion},
                                    {"kubeletVersion", api::kGitVersion},
                                    {"machineID", firstLine("/etc/machine-id")},
                                    {"operatingSystem", "linux"},
                                    {"osImage", osImage()},
                                    {"systemUUID", firstLine("/etc/machine-id")}};
  return status;
}

Result<DocumentPtr> NodeObject::registered(const Result<void>& ready, const std::string& runtime) {
  const api::Kind* kind = api::findKind("", "v1", "nodes");
  Result<DocumentPtr> node = client_.get(*kind, {"", name_});
  if (node || node.error().reason != Reason::NotFound) return node;
  json::object labels = {{"kubernetes.io/hostname", name_},
                         {"kubernetes.io/os", "linux"},
                         {"kubernetes.io/arch", kArchitecture},
                         {"beta.kubernetes.io/os", "linux"},
                         {"beta.kubernetes.io/arch", kArchitecture}};
  json::object object = {{"apiVersion", "v1"}, {"kind", "Node"}};
  object["metadata"] = json::object{{"name", name_}, {"labels", std::move(labels)}};
  object["spec"] = json::object{};
  object["status"] = statusNow(nullptr, ready, runtime);
  return client_.create(*kind, "", std::move(object));
}

Result<void> NodeObject::publish(const Result<void>& ready, const std::string& runtime) {
  const Result<DocumentPtr> node = registered(ready, runtime);
  if (!node) return node.error();
  json::object patch = {{"status", statusNow(&(*node)->value, ready, runtime)}};
  const Result<DocumentPtr> written = client_.mergePatch(*api::findKind("", "v1", "nodes"), {"", name_}, std::move(patch), "status");
  if (!written) return written.error();
  if (ready) removeTaints((*written)->value);
  return {};
}

void NodeObject::removeTaints(const json::object& node) {
  const json::array* taints = arrayAt(node, {"spec", "taints"});
  if (taints == nullptr) return;
  json::array kept;
  for (const json::value& taint : *taints)
    if (!taint.is_object() || textAt(taint.get_object(), {"key"}) != "node.kubernetes.io/not-ready") kept.push_back(taint);
  if (kept.size() == taints->size()) return;
  json::object patch;
  patch["spec"] = json::object{{"taints", std::move(kept)}};
  const Result<DocumentPtr> done = client_.mergePatch(*api::findKind("", "v1", "nodes"), {"", name_}, std::move(patch));
  if (!done) log::warn("taint not removed", {{"name", name_}, {"err", log::chain(done.error())}});
}

Result<void> NodeObject::renewLease() {
  const api::Kind* kind = api::findKind("coordination.k8s.io", "v1", "leases");
  if (kind == nullptr) return {};
  json::object spec = {{"holderIdentity", name_}, {"leaseDurationSeconds", kLeaseSeconds}, {"renewTime", rfc3339Micro(clock_.now())}};
  json::object patch = {{"spec", spec}};
  const Result<DocumentPtr> renewed = client_.mergePatch(*kind, {"kube-node-lease", name_}, std::move(patch));
  if (renewed) return {};
  if (renewed.error().reason != Reason::NotFound) return renewed.error();
  json::object lease = {{"apiVersion", "coordination.k8s.io/v1"}, {"kind", "Lease"}};
  lease["metadata"] = json::object{{"name", name_}, {"namespace", "kube-node-lease"}};
  lease["spec"] = std::move(spec);
  const Result<DocumentPtr> made = client_.create(*kind, "kube-node-lease", std::move(lease));
  if (!made) return made.error();
  return {};
}

}  // namespace podpass::node
