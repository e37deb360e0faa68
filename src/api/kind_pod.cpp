#include "api/fields.h"
#include "api/kinds.h"
#include "api/pod_validation.h"
#include "base/text.h"

namespace podpass::api {
namespace {

// What `kubectl get pods` shows of a pod's containers: spec api.md §9.
struct Glance {
  std::string reason;
  std::int64_t ready = 0, total = 0, restarts = 0;
  std::string lastRestart = {};  // RFC 3339
};

const json::array& listAt(const json::object& object, std::string_view group, std::string_view name) {
  static const json::array none;
  const json::array* found = arrayAt(object, {group, name});
  return found == nullptr ? none : *found;
}

std::string exitOf(const json::object& terminated) {
  if (const std::string_view reason = textAt(terminated, {"reason"}); !reason.empty()) return std::string(reason);
  const std::int64_t signal = integerAt(terminated, {"signal"});
  return signal != 0 ? "Signal:" + std::to_string(signal) : "ExitCode:" + std::to_string(integerAt(terminated, {"exitCode"}));
}

void countRestarts(const json::object& status, Glance& glance) {
  glance.restarts += integerAt(status, {"restartCount"});
  // times of one form compare as text
  glance.lastRestart = std::max(glance.lastRestart, std::string(textAt(status, {"lastState", "terminated", "finishedAt"})));
}

bool isSidecar(const json::object& pod, std::string_view name) {
  for (const json::value& each : listAt(pod, "spec", "initContainers"))
    if (const json::object* one = each.if_object(); one && textAt(*one, {"name"}) == name)
      return textAt(*one, {"restartPolicy"}) == "Always";
  return false;
}

bool conditionIs(const json::object& pod, std::string_view type, std::string_view status, std::string_view reason = {}) {
  for (const json::value& each : listAt(pod, "status", "conditions")) {
    const json::object* one = each.if_object();
    if (one != nullptr && textAt(*one, {"type"}) == type && textAt(*one, {"status"}) == status)
      return reason.empty() || textAt(*one, {"reason"}) == reason;
  }
  return false;
}

// Whether an init container still holds up the others; then `reason` says how.
bool initializing(const json::object& pod, Glance& glance) {
  const json::array& statuses = listAt(pod, "status", "initContainerStatuses");
  for (std::size_t i = 0; i < statuses.size(); ++i) {
    const json::object* status = statuses[i].if_object();
    if (status == nullptr) continue;
    countRestarts(*status, glance);
    const bool sidecar = isSidecar(pod, textAt(*status, {"name"}));
    const json::object* terminated = objectAt(*status, {"state", "terminated"});
    if (terminated != nullptr && integerAt(*terminated, {"exitCode"}) == 0) continue;
    if (sidecar && booleanAt(*status, {"started"})) {
      if (booleanAt(*status, {"ready"})) ++glance.ready;
      continue;
    }
    const std::string_view waiting = textAt(*status, {"state", "waiting", "reason"});
    if (terminated != nullptr)
      glance.reason = "Init:" + exitOf(*terminated);
    else if (!waiting.empty() && waiting != "PodInitializing")
      glance.reason = "Init:" + std::string(waiting);
    else
      glance.reason = "Init:" + std::to_string(i) + "/" + std::to_string(listAt(pod, "spec", "initContainers").size());
    return true;
  }
  return false;
}

// The first container in the list that has something to say wins, so they are asked from the last to the first.
void lookAtContainers(const json::object& pod, Glance& glance) {
  bool running = false;
  const json::array& statuses = listAt(pod, "status", "containerStatuses");
  for (std::size_t i = statuses.size(); i-- > 0;) {
    const json::object* status = statuses[i].if_object();
    if (status == nullptr) continue;
    countRestarts(*status, glance);
    const std::string_view waiting = textAt(*status, {"state", "waiting", "reason"});
    const json::object* terminated = objectAt(*status, {"state", "terminated"});
    if (!waiting.empty()) {
      glance.reason = waiting;
    } else if (terminated != nullptr) {
      glance.reason = exitOf(*terminated);
    } else if (booleanAt(*status, {"ready"}) && objectAt(*status, {"state", "running"}) != nullptr) {
      running = true;
      ++glance.ready;
    }
  }
  if (glance.reason == "Completed" && running) glance.reason = conditionIs(pod, "Ready", "True") ? "Running" : "NotReady";
}

Glance glanceAt(const json::object& pod) {
  Glance glance;
  const std::string_view reason = textAt(pod, {"status", "reason"}), phase = textAt(pod, {"status", "phase"});
  glance.reason = reason.empty() ? phase : reason;
  if (conditionIs(pod, "PodScheduled", "False", "SchedulingGated")) glance.reason = "SchedulingGated";
  glance.total = static_cast<std::int64_t>(listAt(pod, "spec", "containers").size());
  for (const json::value& each : listAt(pod, "spec", "initContainers"))
    if (each.is_object() && textAt(each.get_object(), {"restartPolicy"}) == "Always") ++glance.total;
  Glance init = glance;
  if (initializing(pod, init)) {
    glance = init;
  } else {
    glance.ready = init.ready;
    glance.restarts = 0;
    lookAtContainers(pod, glance);
  }
  if (textAt(pod, {"metadata", "deletionTimestamp"}).empty()) return glance;
  if (reason == "NodeLost")
    glance.reason = "Unknown";
  else if (phase != "Failed" && phase != "Succeeded")
    glance.reason = "Terminating";
  return glance;
}

json::value readyCell(const json::object& pod, WallTime) {
  const Glance glance = glanceAt(pod);
  return json::value(std::to_string(glance.ready) + "/" + std::to_string(glance.total));
}

json::value restartsCell(const json::object& pod, WallTime now) {
  const Glance glance = glanceAt(pod);
  std::string text = std::to_string(glance.restarts);
  if (glance.restarts > 0 && !glance.lastRestart.empty()) text += " (" + ageOf(glance.lastRestart, now) + " ago)";
  return json::value(text);
}

json::value addressCell(const json::object& pod, WallTime) {
  const json::array& addresses = listAt(pod, "status", "podIPs");
  std::string_view first = textAt(pod, {"status", "podIP"});
  if (!addresses.empty() && addresses[0].is_object()) first = textAt(addresses[0].get_object(), {"ip"});
  return json::value(first.empty() ? "<none>" : first);
}

json::value gatesCell(const json::object& pod, WallTime) {
  const json::array& gates = listAt(pod, "spec", "readinessGates");
  if (gates.empty()) return json::value("<none>");
  std::size_t passed = 0;
  for (const json::value& gate : gates)
    if (gate.is_object() && conditionIs(pod, textAt(gate.get_object(), {"conditionType"}), "True")) ++passed;
  return json::value(std::to_string(passed) + "/" + std::to_string(gates.size()));
}

std::vector<Column> podColumns() {
  return {{.name = "Ready", .doc = "Ready containers of all.", .cell = readyCell},
          {.name = "Status", .cell = [](const json::object& pod, WallTime) { return json::value(glanceAt(pod).reason); }},
          {.name = "Restarts", .doc = "How often the containers were restarted, and when last.", .cell = restartsCell},
          ageColumn(),
          {.name = "IP", .priority = 1, .cell = addressCell},
          textColumn("Node", {"spec", "nodeName"}, "<none>", 1),
          textColumn("Nominated Node", {"status", "nominatedNodeName"}, "<none>", 1),
          {.name = "Readiness Gates", .priority = 1, .cell = gatesCell}};
}

std::vector<Subresource> podSubresources() {
  return {{.name = "attach", .kind = "PodAttachOptions", .verbs = {"create", "get"}},
          {.name = "binding", .kind = "Binding", .verbs = {"create"}},
          {.name = "ephemeralcontainers", .kind = {}, .verbs = {"get", "patch", "update"}},
          {.name = "eviction", .kind = "Eviction", .group = "policy", .version = "v1", .verbs = {"create"}},
          {.name = "exec", .kind = "PodExecOptions", .verbs = {"create", "get"}},
          {.name = "log", .kind = {}, .verbs = {"get"}},
          {.name = "portforward", .kind = "PodPortForwardOptions", .verbs = {"create", "get"}},
          statusSubresource()};
}

}  // namespace

const Kind& podKind() {
  static const Kind kind{
      .group = "",
      .version = "v1",
      .kind = "Pod",
      .plural = "pods",
      .singular = "pod",
      .shortNames = {"po"},
      .categories = {"all"},
      .namespaced = true,
      .hasStatus = true,
      .manyOrBusy = true,
      .doc = "Pod is a collection of containers that can run on a host.",
      .definition = "io.k8s.api.core.v1.Pod",
      .fields = {object("spec", 2, podSpec(), "The desired behavior of the pod."),
                 object("status", 3, podStatus(), "Most recently observed status of the pod.")},
      .columns = podColumns(),
      .subresources = podSubresources(),
      .selectableFields = {"spec.nodeName", "spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName", "spec.hostNetwork",
                           "status.phase", "status.podIP", "status.podIPs", "status.nominatedNodeName"},
      .validate = validatePod,
      .validateUpdate = validatePodUpdate,
      .defaults = defaultPod};
  return kind;
}

}  // namespace podpass::api
