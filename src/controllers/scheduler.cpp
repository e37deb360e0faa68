#include "controllers/scheduler.h"

#include "base/text.h"
#include "controllers/node_fit.h"
#include "controllers/object.h"

namespace podpass::controllers {
namespace {

constexpr std::string_view kScheduler = "default-scheduler";

bool isOver(const json::object& pod) {
  const std::string_view phase = textAt(pod, {"status", "phase"});
  return phase == "Succeeded" || phase == "Failed";
}

bool wantsNode(const json::object& pod) {
  const std::string_view scheduler = textAt(pod, {"spec", "schedulerName"});
  const json::array* gates = arrayAt(pod, {"spec", "schedulingGates"});
  return textAt(pod, {"spec", "nodeName"}).empty() && !isEnding(pod) && !isOver(pod) && (scheduler.empty() || scheduler == kScheduler) &&
         (gates == nullptr || gates->empty());
}

std::string loadedNode(const DocumentPtr& pod) {
  return pod && !isOver(pod->value) ? std::string(textAt(pod->value, {"spec", "nodeName"})) : std::string();
}

// What scheduling looks at; heartbeats leave it alone.
bool sameForPods(const json::object& a, const json::object& b) {
  const auto member = [](const json::object& object, std::initializer_list<std::string_view> path) {
    const json::object* found = objectAt(object, path);
    return found != nullptr ? *found : json::object();
  };
  return isEnding(a) == isEnding(b) && conditionOf(a, "Ready") == conditionOf(b, "Ready") && member(a, {"spec"}) == member(b, {"spec"}) &&
         member(a, {"metadata", "labels"}) == member(b, {"metadata", "labels"});
}

std::string unavailable(std::size_t nodes, const std::map<std::string, std::size_t>& reasons) {
  if (nodes == 0) return "no nodes available to schedule pods";
  std::set<std::string> lines;  // sorted with their counts, as Kubernetes prints them
  for (const auto& [reason, count] : reasons) lines.insert(std::to_string(count) + " " + reason);
  std::string text = "0/" + std::to_string(nodes) + " nodes are available:";
  for (const std::string& line : lines) text += (line == *lines.begin() ? " " : ", ") + line;
  return text + ".";
}

}  // namespace

Scheduler::Scheduler(api::Client& client, const Clock& clock, Informers& informers)
    : client_(client),
      clock_(clock),
      nodes_(informers.of("", "nodes")),
      loop_("scheduler", clock, [this](const std::string& key) { return visit(key); }) {
  informers.of("", "pods").onChange([this](const api::Kind&, const DocumentPtr& before, const DocumentPtr& now) {
    podChanged(before, now);
  });
  nodes_.onChange([this](const api::Kind&, const DocumentPtr& before, const DocumentPtr& now) { nodeChanged(before, now); });
}

void Scheduler::podChanged(const DocumentPtr& before, const DocumentPtr& now) {
  const std::string key = keyOf((now ? now : before)->value);
  const bool wants = now && wantsNode(now->value);
  {
    const std::lock_guard lock(mutex_);
    if (wants)
      unbound_.insert(key);
    else
      unbound_.erase(key);
    const std::string from = loadedNode(before), to = loadedNode(now);
    if (from != to) {
      if (!from.empty() && --load_[from] == 0) load_.erase(from);
      if (!to.empty()) ++load_[to];
    }
  }
  if (wants) loop_.queue().add(key);
}

void Scheduler::nodeChanged(const DocumentPtr& before, const DocumentPtr& now) {
  if (!now || (before && sameForPods(before->value, now->value))) return;
  const std::lock_guard lock(mutex_);
  for (const std::string& key : unbound_) loop_.queue().add(key);
}

Result<void> Scheduler::visit(const std::string& key) {
  const Result<DocumentPtr> found = client_.get(coreKind("pods"), nameFromKey(key));
  if (!found) return found.error().reason == Reason::NotFound ? Result<void>() : Result<void>(found.error());
  const json::object& pod = (*found)->value;
  if (!wantsNode(pod)) return {};
  std::map<std::string, std::size_t> reasons;
  std::optional<std::pair<std::size_t, std::string>> best;  // load, name
  const std::vector<DocumentPtr> nodes = nodes_.list();
  for (const DocumentPtr& node : nodes) {
    if (std::string reason = whyNot(pod, node->value); !reason.empty()) {
      ++reasons[reason];
      continue;
    }
    const std::lock_guard lock(mutex_);
    const auto load = load_.find(nameOf(node->value));
    std::pair candidate{load != load_.end() ? load->second : 0, nameOf(node->value)};
    if (!best || candidate < *best) best = std::move(candidate);
  }
  return best ? bind(pod, best->second) : refuse(pod, unavailable(nodes.size(), reasons));
}

Result<void> Scheduler::bind(const json::object& pod, const std::string& node) {
  json::object metadata{{"name", nameOf(pod)}, {"namespace", namespaceOf(pod)}, {"uid", uidOf(pod)}};
  json::object target{{"apiVersion", "v1"}, {"kind", "Node"}, {"name", node}};
  json::object binding{{"apiVersion", "v1"}, {"kind", "Binding"}, {"metadata", std::move(metadata)}, {"target", std::move(target)}};
  const Result<json::object> bound =
      client_.createSubresource(coreKind("pods"), {namespaceOf(pod), nameOf(pod)}, "binding", std::move(binding));
  if (!bound) return isRace(bound.error()) ? Result<void>() : Result<void>(bound.error());
  writeEvent(client_, clock_.now(), coreKind("pods"), pod,
             {"Normal", "Scheduled", "Successfully assigned " + keyOf(pod) + " to " + node, kScheduler});
  return {};
}

Result<void> Scheduler::refuse(const json::object& pod, const std::string& why) {
  json::array conditions;
  std::string since = rfc3339(clock_.now());
  if (const json::array* held = arrayAt(pod, {"status", "conditions"})) {
    for (const json::value& each : *held) {
      if (!each.is_object() || textAt(each.get_object(), {"type"}) != "PodScheduled") {
        conditions.push_back(each);
        continue;
      }
      if (textAt(each.get_object(), {"message"}) == why) return {};  // said already: the event would only repeat it
      if (textAt(each.get_object(), {"status"}) == "False") since = textAt(each.get_object(), {"lastTransitionTime"});
    }
  }
  conditions.push_back(json::object{{"lastProbeTime", nullptr},
                                    {"lastTransitionTime", since},
                                    {"message", why},
                                    {"reason", "Unschedulable"},
                                    {"status", "False"},
                                    {"type", "PodScheduled"}});
  json::object patch{{"metadata", json::object{{"resourceVersion", textAt(pod, {"metadata", "resourceVersion"})}}},
                     {"status", json::object{{"conditions", std::move(conditions)}}}};
  const Result<DocumentPtr> patched = client_.mergePatch(coreKind("pods"), {namespaceOf(pod), nameOf(pod)}, std::move(patch), "status");
  if (!patched) return isRace(patched.error()) ? Result<void>() : Result<void>(patched.error());
  writeEvent(client_, clock_.now(), coreKind("pods"), pod, {"Warning", "FailedScheduling", why, kScheduler});
  return {};
}

}  // namespace podpass::controllers
