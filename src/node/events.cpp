#include "node/events.h"

#include "base/log.h"
#include "base/text.h"

namespace podpass::node {

namespace {

constexpr std::size_t kRemembered = 4096, kLongestMessage = 1024;

// spec.containers{web}, as kubelet names the part of the pod that an event is about.
std::string fieldPath(const json::object& pod, const std::string& container) {
  if (container.empty()) return {};
  const json::array* inits = arrayAt(pod, {"spec", "initContainers"});
  if (inits != nullptr)
    for (const json::value& init : *inits)
      if (init.is_object() && textAt(init.get_object(), {"name"}) == container) return "spec.initContainers{" + container + "}";
  return "spec.containers{" + container + "}";
}

}  // namespace

void Events::normal(const json::object& pod, const std::string& container, const std::string& reason, const std::string& message) {
  tell("Normal", pod, container, reason, message);
}

void Events::warning(const json::object& pod, const std::string& container, const std::string& reason, const std::string& message) {
  tell("Warning", pod, container, reason, message);
}

void Events::tell(const char* type, const json::object& pod, const std::string& container, const std::string& reason,
                  const std::string& whole) {
  const api::Kind* kind = api::findKind("", "v1", "events");
  if (kind == nullptr) return;
  const std::string ns(textAt(pod, {"metadata", "namespace"})), name(textAt(pod, {"metadata", "name"})),
      uid(textAt(pod, {"metadata", "uid"}));
  const std::string message = whole.substr(0, kLongestMessage), field = fieldPath(pod, container), now = rfc3339(clock_.now());
  const std::string key = uid + '\n' + field + '\n' + type + reason + '\n' + message;
  Told told;
  {
    std::lock_guard lock(mutex_);
    if (told_.size() > kRemembered) told_.clear();
    Told& slot = told_[key];
    ++slot.count;
    if (slot.name.empty()) slot.name = name + "." + hexLower(randomBytes(8));
    told = slot;
  }
  if (told.count > 1) {
    const json::object patch = {{"count", told.count}, {"lastTimestamp", now}};
    const Result<DocumentPtr> patched = client_.mergePatch(*kind, {ns, told.name}, patch);
    if (patched) return;
    if (patched.error().reason != Reason::NotFound) {
      log::warn("event not written", {{"ns", ns}, {"name", name}, {"err", log::chain(patched.error())}});
      return;
    }
  }
  json::object involved = {{"apiVersion", "v1"}, {"kind", "Pod"}, {"namespace", ns}, {"name", name}, {"uid", uid}};
  if (!field.empty()) involved["fieldPath"] = field;
  json::object event = {{"apiVersion", "v1"}, {"kind", "Event"}, {"type", type}, {"reason", reason}, {"message", message}};
  event["metadata"] = json::object{{"name", told.name}, {"namespace", ns}};
  event["involvedObject"] = std::move(involved);
  event["count"] = told.count;
  event["firstTimestamp"] = now;
  event["lastTimestamp"] = now;
  event["source"] = json::object{{"component", "kubelet"}, {"host", nodeName_}};
  event["reportingComponent"] = "kubelet";
  event["reportingInstance"] = nodeName_;
  if (const Result<DocumentPtr> made = client_.create(*kind, ns, std::move(event)); !made)
    log::warn("event not written", {{"ns", ns}, {"name", name}, {"err", log::chain(made.error())}});
}

}  // namespace podpass::node
