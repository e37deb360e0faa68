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

Events::Events(api::Client& client, const Clock& clock, std::string nodeName)
    : client_(client), clock_(clock), nodeName_(std::move(nodeName)), writer_([this] { run(); }) {}

void Events::stop() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  if (writer_.joinable()) writer_.join();
}

void Events::tell(const char* type, const json::object& pod, const std::string& container, const std::string& reason,
                  const std::string& message) {
  Event event{type,
              std::string(textAt(pod, {"metadata", "namespace"})),
              std::string(textAt(pod, {"metadata", "name"})),
              std::string(textAt(pod, {"metadata", "uid"})),
              fieldPath(pod, container),
              reason,
              message.substr(0, kLongestMessage),
              clock_.now()};
  {
    std::lock_guard lock(mutex_);
    if (stopping_ || waiting_.size() >= kWaiting) return;
    waiting_.push_back(std::move(event));
  }
  changed_.notify_all();
}

void Events::run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return stopping_ || !waiting_.empty(); });
    if (waiting_.empty()) return;
    const Event event = std::move(waiting_.front());
    waiting_.pop_front();
    lock.unlock();
    write(event);
    lock.lock();
  }
}

void Events::write(const Event& event) {
  const api::Kind* kind = api::findKind("", "v1", "events");
  if (kind == nullptr) return;
  const std::string time = rfc3339(event.time);
  if (told_.size() > kRemembered) told_.clear();
  Told& told = told_[event.uid + '\n' + event.field + '\n' + event.type + event.reason + '\n' + event.message];
  if (told.name.empty()) told.name = event.pod + "." + hexLower(randomBytes(8));
  const auto failed = [&](const Error& error) {
    log::warn("event not written", {{"ns", event.ns}, {"name", event.pod}, {"err", log::chain(error)}});
  };
  if (++told.count > 1) {
    const json::object patch = {{"count", told.count}, {"lastTimestamp", time}};
    const Result<DocumentPtr> patched = client_.mergePatch(*kind, {event.ns, told.name}, patch);
    if (patched) return;
    if (patched.error().reason != Reason::NotFound) return failed(patched.error());
  }
  json::object involved = {{"apiVersion", "v1"}, {"kind", "Pod"}, {"namespace", event.ns}, {"name", event.pod}, {"uid", event.uid}};
  if (!event.field.empty()) involved["fieldPath"] = event.field;
  json::object object = {
      {"apiVersion", "v1"}, {"kind", "Event"}, {"type", event.type}, {"reason", event.reason}, {"message", event.message}};
  object["metadata"] = json::object{{"name", told.name}, {"namespace", event.ns}};
  object["involvedObject"] = std::move(involved);
  object["count"] = told.count;
  object["firstTimestamp"] = time;
  object["lastTimestamp"] = time;
  object["source"] = json::object{{"component", "kubelet"}, {"host", nodeName_}};
  object["reportingComponent"] = "kubelet";
  object["reportingInstance"] = nodeName_;
  if (const Result<DocumentPtr> made = client_.create(*kind, event.ns, std::move(object)); !made) failed(made.error());
}

}  // namespace podpass::node
