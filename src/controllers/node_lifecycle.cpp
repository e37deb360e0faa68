#include "controllers/node_lifecycle.h"

#include "base/text.h"
#include "controllers/node_fit.h"
#include "controllers/object.h"

namespace podpass::controllers {
namespace {

using namespace std::chrono_literals;
constexpr auto kGrace = 40s;  // kube-controller-manager's --node-monitor-grace-period
constexpr const char* kLeaseNamespace = "kube-node-lease";
constexpr std::string_view kNotReady = "node.kubernetes.io/not-ready";
constexpr std::string_view kUnreachable = "node.kubernetes.io/unreachable";
constexpr std::string_view kUnschedulable = "node.kubernetes.io/unschedulable";

bool isOurs(const json::object& taint) {
  const std::string_view key = textAt(taint, {"key"});
  return textAt(taint, {"effect"}) == "NoSchedule" && (key == kNotReady || key == kUnreachable || key == kUnschedulable);
}

// `when`: the tick changes with each heartbeat and must not wake us.
bool sameHealth(const json::object& a, const json::object& b) {
  const json::array* taintsOfA = arrayAt(a, {"spec", "taints"});
  const json::array* taintsOfB = arrayAt(b, {"spec", "taints"});
  const bool sameTaints = taintsOfA != nullptr && taintsOfB != nullptr ? *taintsOfA == *taintsOfB : taintsOfA == taintsOfB;
  return sameTaints && conditionOf(a, "Ready") == conditionOf(b, "Ready") &&
         booleanAt(a, {"spec", "unschedulable"}) == booleanAt(b, {"spec", "unschedulable"});
}

}  // namespace

NodeLifecycle::NodeLifecycle(api::Client& client, const Clock& clock, Informers& informers)
    : client_(client),
      clock_(clock),
      nodes_(informers.of("", "nodes")),
      leases_(informers.of("coordination.k8s.io", "leases")),
      loop_("node-lifecycle", clock, [this](const std::string& name) { return visit(name); }) {
  nodes_.onChange([this](const api::Kind&, const DocumentPtr& before, const DocumentPtr& now) {
    if (!before || !now || !sameHealth(before->value, now->value)) loop_.queue().add(nameOf((now ? now : before)->value));
  });
  leases_.onChange([this](const api::Kind&, const DocumentPtr& before, const DocumentPtr& now) {
    if (!before && namespaceOf(now->value) == kLeaseNamespace) loop_.queue().add(nameOf(now->value));
  });
}

Result<void> NodeLifecycle::visit(const std::string& name) {
  const DocumentPtr node = nodes_.get("", name);
  if (!node) {
    heartbeats_.erase(name);
    return {};
  }
  if (const DocumentPtr lease = leases_.get(kLeaseNamespace, name)) {
    const std::string renewTime(textAt(lease->value, {"spec", "renewTime"}));
    Heartbeat& heartbeat = heartbeats_[name];
    if (heartbeat.renewTime != renewTime) heartbeat = {renewTime, clock_.steady()};
    const auto age = clock_.steady() - heartbeat.seen;
    if (age >= kGrace && conditionOf(node->value, "Ready") != "Unknown") return declareUnknown(node->value);
    loop_.queue().addAfter(age >= kGrace ? std::chrono::nanoseconds(kGrace) : kGrace - age, name);
  }
  return keepTaints(node->value);
}

Result<void> NodeLifecycle::declareUnknown(const json::object& node) {
  json::array conditions;
  const std::string now = rfc3339(clock_.now());
  if (const json::array* held = arrayAt(node, {"status", "conditions"}))
    for (const json::value& each : *held) {
      if (!each.is_object()) continue;
      json::object condition = each.get_object();
      if (textAt(condition, {"status"}) != "Unknown") condition["lastTransitionTime"] = now;
      condition["status"] = "Unknown";
      condition["reason"] = "NodeStatusUnknown";
      condition["message"] = "Kubelet stopped posting node status.";
      conditions.push_back(std::move(condition));
    }
  json::object patch{{"metadata", json::object{{"resourceVersion", textAt(node, {"metadata", "resourceVersion"})}}},
                     {"status", json::object{{"conditions", std::move(conditions)}}}};
  const Result<DocumentPtr> patched = client_.mergePatch(coreKind("nodes"), {"", nameOf(node)}, std::move(patch), "status");
  if (!patched) return patched.error();
  writeEvent(client_, clock_.now(), coreKind("nodes"), node,
             {"Normal", "NodeNotReady", "Node " + nameOf(node) + " status is now: NodeNotReady", "node-controller"});
  return {};
}

Result<void> NodeLifecycle::keepTaints(const json::object& node) {
  const std::string_view ready = conditionOf(node, "Ready");
  json::array held, wanted;
  if (const json::array* taints = arrayAt(node, {"spec", "taints"})) held = *taints;
  std::set<std::string_view> due;
  if (ready.empty() || ready == "False") due.insert(kNotReady);
  if (ready == "Unknown") due.insert(kUnreachable);
  if (booleanAt(node, {"spec", "unschedulable"})) due.insert(kUnschedulable);
  for (const json::value& each : held)
    if (!each.is_object() || !isOurs(each.get_object()) || due.erase(textAt(each.get_object(), {"key"})) != 0) wanted.push_back(each);
  for (std::string_view key : due) wanted.push_back(json::object{{"key", key}, {"effect", "NoSchedule"}});
  if (wanted == held) return {};
  json::object patch{{"metadata", json::object{{"resourceVersion", textAt(node, {"metadata", "resourceVersion"})}}}};
  patch["spec"] = json::object{{"taints", wanted.empty() ? json::value(nullptr) : json::value(std::move(wanted))}};
  const Result<DocumentPtr> patched = client_.mergePatch(coreKind("nodes"), {"", nameOf(node)}, std::move(patch));
  return patched ? Result<void>() : Result<void>(patched.error());
}

}  // namespace podpass::controllers
