#include "irsa/unmutated_pods.h"

#include <algorithm>

namespace podpass::irsa {
namespace {

// The namespaces in which pods may have an identity; {""}: all of them.
std::set<std::string> namespacesToLookAt(const WebhookSources& sources) {
  std::set<std::string> namespaces;
  const auto add = [&namespaces](std::string_view key) { namespaces.insert(std::string(key.substr(0, key.find('/')))); };
  for (const auto& [key, role] : sources.accounts.entries())
    if (!role.roleArn.empty()) add(key);
  for (const std::string& key : *sources.credentials.load()) add(key);
  for (const std::string& key : *sources.associations.load()) add(key);
  for (const auto& [key, role] : *sources.identityMap.load()) add(key);
  if (namespaces.contains("*")) return {""};
  return namespaces;
}

bool isOver(const json::object& pod) {
  const std::string_view phase = textAt(pod, {"status", "phase"});
  return phase == "Succeeded" || phase == "Failed" || !textAt(pod, {"metadata", "deletionTimestamp"}).empty();
}

// The pod's name may have been made after the name of the volume.
bool hasVolume(const PodView& pod, const Injection& injection) {
  return pod.volumes != nullptr && std::any_of(pod.volumes->begin(), pod.volumes->end(), [&injection](const json::value& volume) {
           const std::string_view name = volume.is_object() ? textAt(volume.get_object(), {"name"}) : std::string_view();
           return injection.volumeStem.empty() ? name == injection.volume : name.starts_with(injection.volumeStem);
         });
}

}  // namespace

bool lacks(const PodView& pod, const Injection& injection) { return !hasVolume(pod, injection) && podPatch(pod, {&injection, 1}).adds; }

const json::object* controllerOf(const json::object& pod) {
  const json::array* owners = arrayAt(pod, {"metadata", "ownerReferences"});
  if (owners == nullptr) return nullptr;
  for (const json::value& owner : *owners)
    if (owner.is_object() && booleanAt(owner.get_object(), {"controller"})) return &owner.get_object();
  return nullptr;
}

Result<std::vector<UnmutatedPod>> findUnmutatedPods(api::Client& client, const Webhook& webhook, const WebhookSources& sources) {
  std::vector<UnmutatedPod> found;
  for (const std::string& ns : namespacesToLookAt(sources)) {
    const Result<api::Listing> pods = client.list(*api::findKind("", "v1", "pods"), ns, {});
    if (!pods) return pods.error();
    for (const DocumentPtr& pod : pods->items) {
      const Result<PodView> view = viewPod(pod->value);
      if (!view || isOver(pod->value) || (view->labels != nullptr && view->labels->contains(kOptOut))) continue;
      const std::string_view podNamespace = textAt(pod->value, {"metadata", "namespace"});
      for (const Injection& injection : webhook.injectionsFor(podNamespace, *view))
        if (lacks(*view, injection))
          found.push_back({std::string(podNamespace), std::string(view->name), std::string(textAt(pod->value, {"metadata", "uid"})),
                           std::string(view->serviceAccount), injection.volume, controllerOf(pod->value) != nullptr});
    }
  }
  return found;
}

Result<void> evict(api::Client& client, const UnmutatedPod& pod) {
  if (!pod.controlled) return Error{Reason::Forbidden, "no controller would replace it", "create it again"};
  json::object eviction{{"apiVersion", "policy/v1"}, {"kind", "Eviction"}};
  eviction["metadata"] = json::object{{"name", pod.name}, {"namespace", pod.ns}};
  eviction["deleteOptions"] = json::object{{"preconditions", json::object{{"uid", pod.uid}}}};
  const Result<json::object> done =
      client.createSubresource(*api::findKind("", "v1", "pods"), {pod.ns, pod.name}, "eviction", std::move(eviction));
  if (!done) return done.error();
  return {};
}

}  // namespace podpass::irsa
