#include "server/new_object.h"

#include <algorithm>

#include "base/text.h"
#include "server/stored_object.h"

namespace podpass::server {
namespace {

bool isBestEffort(const json::object& pod, bool& guaranteed) {
  bool any = false;
  guaranteed = true;
  for (const char* group : {"initContainers", "containers"}) {
    const json::array* containers = arrayAt(pod, {"spec", group});
    if (containers == nullptr) continue;
    for (const json::value& each : *containers) {
      if (!each.is_object()) continue;
      const json::object* limits = objectAt(each.get_object(), {"resources", "limits"});
      const json::object* requests = objectAt(each.get_object(), {"resources", "requests"});
      if ((limits != nullptr && !limits->empty()) || (requests != nullptr && !requests->empty())) any = true;
      for (const char* resource : {"cpu", "memory"})
        if (limits == nullptr || !limits->contains(resource) ||
            (requests != nullptr && requests->contains(resource) && requests->at(resource) != limits->at(resource)))
          guaranteed = false;
    }
  }
  return !any;
}

}  // namespace

void stamp(const api::Kind& kind, json::object& object, const std::string& ns, WallTime now) {
  json::object& meta = makeObjectAt(object, {"metadata"});
  for (const char* servers :
       {"resourceVersion", "selfLink", "deletionTimestamp", "deletionGracePeriodSeconds", "managedFields", "generation"})
    meta.erase(servers);
  if (kind.namespaced) meta["namespace"] = ns;
  meta["uid"] = randomUuid();
  meta["creationTimestamp"] = rfc3339(now);
  if (kind.hasGeneration) meta["generation"] = 1;
  if (isNamespace(kind)) {
    json::value& finalizers = makeObjectAt(object, {"spec"})["finalizers"];
    if (!finalizers.is_array()) finalizers.emplace_array();
    json::array& names = finalizers.get_array();
    if (std::find(names.begin(), names.end(), json::value("kubernetes")) == names.end()) names.emplace_back("kubernetes");
    const json::string name(textAt(object, {"metadata", "name"}));  // a copy: new members move the old ones
    makeObjectAt(object, {"metadata", "labels"})["kubernetes.io/metadata.name"] = name;
    object["status"] = json::object{{"phase", "Active"}};
  }
}

void startPod(json::object& pod) {
  bool guaranteed = false;
  const bool bestEffort = isBestEffort(pod, guaranteed);
  pod["status"] = json::object{{"phase", "Pending"}, {"qosClass", bestEffort ? "BestEffort" : guaranteed ? "Guaranteed" : "Burstable"}};
}

}  // namespace podpass::server
