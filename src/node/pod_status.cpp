#include "node/pod_status.h"

#include "base/text.h"

namespace podpass::node {

namespace {

std::string timeText(std::int64_t nanoseconds) {
  return rfc3339(WallTime(std::chrono::duration_cast<WallTime::duration>(std::chrono::nanoseconds(nanoseconds))));
}

json::object terminatedOf(const Container& container, const Observed& observed) {
  json::object terminated = {{"exitCode", container.exitCode}, {"containerID", "containerd://" + container.id}};
  terminated["reason"] = container.reason.empty() ? (container.exitCode == 0 ? "Completed" : "Error") : container.reason;
  const auto message = observed.messages.find(container.id);
  if (message != observed.messages.end() && !message->second.empty())
    terminated["message"] = message->second;
  else if (!container.message.empty())
    terminated["message"] = container.message;
  if (container.startedAt > 0) terminated["startedAt"] = timeText(container.startedAt);
  if (container.finishedAt > 0) terminated["finishedAt"] = timeText(container.finishedAt);
  return terminated;
}

const json::object* statusBefore(const json::object& pod, std::string_view list, std::string_view name) {
  const json::array* statuses = arrayAt(pod, {"status", list});
  if (statuses == nullptr) return nullptr;
  for (const json::value& status : *statuses)
    if (status.is_object() && textAt(status.get_object(), {"name"}) == name) return &status.get_object();
  return nullptr;
}

json::object waitingState(const Waiting& why) {
  json::object waiting = {{"reason", why.reason}};
  if (!why.message.empty()) waiting["message"] = why.message;
  return {{"waiting", std::move(waiting)}};
}

json::object containerStatus(const json::object& pod, const json::object& spec, std::string_view list, const Observed& observed,
                             bool hasInit) {
  const std::string name(textAt(spec, {"name"}));
  json::object status = {{"name", name}, {"image", textAt(spec, {"image"})}, {"imageID", ""}, {"restartCount", 0}};
  status["ready"] = false;
  status["started"] = false;
  status["state"] = json::object{};
  status["lastState"] = json::object{};
  const auto why = observed.waiting.find(name);
  const Container* newest = newestOf(observed.containers, name);
  if (newest == nullptr) {
    const json::object* before = statusBefore(pod, list, name);
    if (before != nullptr && objectAt(*before, {"state", "terminated"}) != nullptr && why == observed.waiting.end()) return *before;
    status["state"] =
        waitingState(why != observed.waiting.end() ? why->second : Waiting{hasInit ? "PodInitializing" : "ContainerCreating", ""});
    return status;
  }
  const auto asked = observed.probed.find(newest->id);
  const Probed probed = asked == observed.probed.end() ? Probed{} : asked->second;
  status["restartCount"] = newest->restartCount;
  status["containerID"] = "containerd://" + newest->id;
  if (!newest->image.empty() && !newest->image.starts_with("sha256:")) status["image"] = newest->image;
  status["imageID"] = newest->imageRef;
  const Container* older = nullptr;
  for (const Container& container : observed.containers)
    if (container.name == name && &container != newest && container.state == Container::State::Exited && older == nullptr)
      older = &container;
  if (older != nullptr) status["lastState"] = json::object{{"terminated", terminatedOf(*older, observed)}};
  switch (newest->state) {
    case Container::State::Running:
      status["state"] = json::object{{"running", json::object{{"startedAt", timeText(newest->startedAt)}}}};
      status["started"] = probed.started;
      status["ready"] = probed.ready && list == "containerStatuses";
      break;
    case Container::State::Exited:
      if (why != observed.waiting.end()) {
        status["lastState"] = json::object{{"terminated", terminatedOf(*newest, observed)}};
        status["state"] = waitingState(why->second);
        break;
      }
      status["state"] = json::object{{"terminated", terminatedOf(*newest, observed)}};
      status["ready"] = list == "initContainerStatuses" && newest->exitCode == 0;
      break;
    case Container::State::Created:
      status["state"] = waitingState(why != observed.waiting.end() ? why->second : Waiting{"ContainerCreating", ""});
      break;
    case Container::State::Unknown:
      status["state"] =
          json::object{{"terminated", json::object{{"exitCode", 137},
                                                   {"reason", "ContainerStatusUnknown"},
                                                   {"message", "The container could not be located when the pod was terminated"}}}};
      break;
  }
  return status;
}

// How a container's status counts towards the phase.
struct Tally {
  int waiting = 0, running = 0, stopped = 0, succeeded = 0;
};

void count(Tally& tally, const json::object& status) {
  if (objectAt(status, {"state", "running"}) != nullptr) {
    ++tally.running;
    return;
  }
  const json::object* ended = objectAt(status, {"state", "terminated"});
  if (ended == nullptr) ended = objectAt(status, {"lastState", "terminated"});
  if (ended == nullptr) {
    ++tally.waiting;
    return;
  }
  ++tally.stopped;
  if (objectAt(status, {"state", "terminated"}) != nullptr && integerAt(*ended, {"exitCode"}) == 0) ++tally.succeeded;
}

std::string phaseOf(std::string_view policy, const json::array& inits, const json::array& regular, std::size_t initCount) {
  bool initPending = inits.size() < initCount;
  for (const json::value& value : inits) {
    const json::object& status = value.get_object();
    const json::object* ended = objectAt(status, {"state", "terminated"});
    const json::object* last = objectAt(status, {"lastState", "terminated"});
    if (ended != nullptr && integerAt(*ended, {"exitCode"}) == 0) continue;
    if ((ended != nullptr || (last != nullptr && integerAt(*last, {"exitCode"}) != 0)) && policy == "Never") return "Failed";
    initPending = true;
  }
  Tally tally;
  for (const json::value& value : regular) count(tally, value.get_object());
  if (initPending || tally.waiting > 0) return "Pending";
  if (tally.running > 0) return "Running";
  if (tally.stopped == 0) return "Pending";
  if (policy == "Always") return "Running";
  if (tally.succeeded == tally.stopped) return "Succeeded";
  return policy == "Never" ? "Failed" : "Running";
}

std::string incomplete(const json::array& statuses) {
  std::string names;
  for (const json::value& value : statuses) {
    if (booleanAt(value.get_object(), {"ready"})) continue;
    names += (names.empty() ? "" : " ") + std::string(textAt(value.get_object(), {"name"}));
  }
  return names;
}

class Conditions {
 public:
  Conditions(const json::object& pod, std::string now) : now_(std::move(now)) {
    if (const json::array* before = arrayAt(pod, {"status", "conditions"})) before_ = *before;
  }
  void set(std::string_view type, bool status, std::string_view reason = {}, const std::string& message = {}) {
    json::object condition = {
        {"type", type}, {"status", status ? "True" : "False"}, {"lastProbeTime", nullptr}, {"lastTransitionTime", now_}};
    if (!reason.empty()) condition["reason"] = reason;
    if (!message.empty()) condition["message"] = message;
    for (const json::value& old : before_)
      if (textAt(old.as_object(), {"type"}) == type && textAt(old.as_object(), {"status"}) == (status ? "True" : "False"))
        if (!textAt(old.as_object(), {"lastTransitionTime"}).empty())
          condition["lastTransitionTime"] = textAt(old.as_object(), {"lastTransitionTime"});
    all_.push_back(std::move(condition));
    mine_.emplace_back(type);
  }
  json::array finish() && {
    for (const json::value& old : before_)
      if (std::find(mine_.begin(), mine_.end(), textAt(old.as_object(), {"type"})) == mine_.end()) all_.push_back(old);
    return std::move(all_);
  }
  [[nodiscard]] std::string_view foreign(std::string_view type) const {
    for (const json::value& old : before_)
      if (textAt(old.as_object(), {"type"}) == type) return textAt(old.as_object(), {"status"});
    return {};
  }

 private:
  std::string now_;
  json::array before_, all_;
  std::vector<std::string> mine_;
};

std::string gateProblem(const json::object& pod, const Conditions& conditions) {
  const json::array* gates = arrayAt(pod, {"spec", "readinessGates"});
  if (gates == nullptr) return {};
  for (const json::value& gate : *gates) {
    const std::string type(gate.is_object() ? textAt(gate.get_object(), {"conditionType"}) : "");
    const std::string_view status = conditions.foreign(type);
    if (status.empty()) return "corresponding condition of pod readiness gate \"" + type + "\" does not exist.";
    if (status != "True") return "the status of pod readiness gate \"" + type + "\" is not \"True\", but " + std::string(status);
  }
  return {};
}

}  // namespace

const Container* newestOf(const std::vector<Container>& containers, std::string_view name) {
  for (const Container& container : containers)
    if (container.name == name) return &container;
  return nullptr;
}

bool wantsStart(std::string_view restartPolicy, const Container* newest) {
  if (newest == nullptr || newest->state == Container::State::Created || newest->state == Container::State::Unknown) return true;
  if (newest->state == Container::State::Running) return false;
  return restartPolicy == "Always" || (restartPolicy == "OnFailure" && newest->exitCode != 0);
}

std::chrono::seconds crashDelay(int failures) {
  if (failures <= 0) return std::chrono::seconds(0);
  return std::chrono::seconds(std::min(300, 10 << std::min(failures - 1, 5)));
}

std::string goDuration(std::chrono::seconds time) {
  const auto all = time.count();
  std::string text = all >= 3600 ? std::to_string(all / 3600) + "h" : "";
  if (all >= 60) text += std::to_string(all % 3600 / 60) + "m";
  return text + std::to_string(all % 60) + "s";
}

bool isTerminal(std::string_view phase) { return phase == "Succeeded" || phase == "Failed"; }

json::object podStatus(const json::object& pod, const Observed& observed, WallTime now) {
  const json::array* initSpecs = arrayAt(pod, {"spec", "initContainers"});
  const json::array* specs = arrayAt(pod, {"spec", "containers"});
  const bool hasInit = initSpecs != nullptr && !initSpecs->empty();
  json::array inits, regular;
  if (hasInit)
    for (const json::value& spec : *initSpecs)
      inits.push_back(containerStatus(pod, spec.as_object(), "initContainerStatuses", observed, true));
  if (specs != nullptr)
    for (const json::value& spec : *specs)
      regular.push_back(containerStatus(pod, spec.as_object(), "containerStatuses", observed, hasInit));
  std::string phase = phaseOf(textAt(pod, {"spec", "restartPolicy"}), inits, regular, hasInit ? initSpecs->size() : 0);
  if (isTerminal(textAt(pod, {"status", "phase"}))) phase = textAt(pod, {"status", "phase"});

  Conditions conditions(pod, rfc3339(now));
  const std::string unready = incomplete(regular), uninitialised = incomplete(inits);
  conditions.set("PodReadyToStartContainers", observed.sandboxReady);
  if (phase == "Succeeded")
    conditions.set("Initialized", true, "PodCompleted");
  else if (uninitialised.empty())
    conditions.set("Initialized", true);
  else
    conditions.set("Initialized", false, "ContainersNotInitialized", "containers with incomplete status: [" + uninitialised + "]");
  const std::string gate = gateProblem(pod, conditions);
  for (const char* type : {"Ready", "ContainersReady"}) {
    if (phase == "Succeeded")
      conditions.set(type, false, "PodCompleted");
    else if (phase == "Failed")
      conditions.set(type, false, "PodFailed");
    else if (!unready.empty())
      conditions.set(type, false, "ContainersNotReady", "containers with unready status: [" + unready + "]");
    else if (std::string_view(type) == "Ready" && !gate.empty())
      conditions.set(type, false, "ReadinessGatesNotReady", gate);
    else
      conditions.set(type, true);
  }
  conditions.set("PodScheduled", true);

  json::object status = {{"phase", phase}, {"conditions", std::move(conditions).finish()}};
  const std::string_view started = textAt(pod, {"status", "startTime"});
  status["startTime"] = started.empty() ? rfc3339(now) : std::string(started);
  status["hostIP"] = observed.hostIp;
  status["hostIPs"] = json::array{json::object{{"ip", observed.hostIp}}};
  if (!observed.podIps.empty()) {
    json::array ips;
    for (const std::string& ip : observed.podIps) ips.push_back(json::object{{"ip", ip}});
    status["podIP"] = observed.podIps.front();
    status["podIPs"] = std::move(ips);
  }
  if (hasInit) status["initContainerStatuses"] = std::move(inits);
  status["containerStatuses"] = std::move(regular);
  return status;
}

}  // namespace podpass::node
