#include "api/pod_validation.h"

#include <set>

#include "api/fields.h"
#include "api/quantity.h"

namespace podpass::api {
namespace {

using Names = std::set<std::string_view>;
constexpr std::string_view kContainerLists[] = {"containers", "initContainers", "ephemeralContainers"};

// Calls `visit(object, "path[3]")` for each object of the list `name` in `parent`.
template <class Visit>
void eachIn(const json::object& parent, std::string_view name, const std::string& path, Visit visit) {
  const json::array* list = arrayAt(parent, {name});
  if (list == nullptr) return;
  for (std::size_t i = 0; i < list->size(); ++i)
    if (const json::object* item = (*list)[i].if_object()) visit(*item, at(under(path, name), i));
}

bool has(const json::object& object, std::string_view name) { return object.contains(name); }

// ---- references to fields of the pod

bool isSubscripted(std::string_view path, std::string_view map) {
  return path.starts_with(map) && path.size() > map.size() + 4 && path.substr(map.size(), 2) == "['" && path.ends_with("']");
}

bool isPodField(std::string_view path) {
  static const Names known{"metadata.name", "metadata.namespace", "metadata.uid",       "metadata.labels", "metadata.annotations",
                           "spec.nodeName", "spec.restartPolicy", "spec.schedulerName", "status.phase",    "spec.serviceAccountName",
                           "status.hostIP", "status.hostIPs",     "status.podIP",       "status.podIPs",   "spec.host"};
  return known.contains(path) || isSubscripted(path, "metadata.labels") || isSubscripted(path, "metadata.annotations");
}

void validateFieldRef(const json::object& reference, const std::string& path, const std::vector<std::string_view>& supported,
                      Causes& causes) {
  const std::string_view field = textAt(reference, {"fieldPath"});
  if (field.empty()) return;
  if (!isPodField(field)) {
    const std::string why = "error converting fieldPath: field label not supported: " + std::string(field);
    causes.push_back(invalidText(path + ".fieldPath", field, why));
  } else if (!isSubscripted(field, "metadata.labels") && !isSubscripted(field, "metadata.annotations") &&
             std::find(supported.begin(), supported.end(), field) == supported.end()) {
    causes.push_back(unsupported(path + ".fieldPath", field, supported));
  }
}

const std::vector<std::string_view>& environmentFields() {
  static const std::vector<std::string_view> fields{
      "metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName",
      "status.hostIP", "status.hostIPs",     "status.podIP", "status.podIPs"};
  return fields;
}

const std::vector<std::string_view>& volumeFields() {
  static const std::vector<std::string_view> fields{"metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace",
                                                    "metadata.uid"};
  return fields;
}

// ---- volumes

void validateDownwardItems(const json::object& source, const std::string& path, Causes& causes) {
  eachIn(source, "items", path, [&](const json::object& item, const std::string& at) {
    const json::object* field = objectAt(item, {"fieldRef"});
    const json::object* resource = objectAt(item, {"resourceFieldRef"});
    if (field != nullptr) {
      validateFieldRef(*field, at + ".fieldRef", volumeFields(), causes);
      if (resource != nullptr)
        causes.push_back(invalidText(at, "resource", "fieldRef and resourceFieldRef can not be specified simultaneously"));
    } else if (resource != nullptr) {
      if (textAt(*resource, {"containerName"}).empty()) causes.push_back(requiredValue(at + ".resourceFieldRef.containerName"));
    } else {
      causes.push_back(requiredValue(at, "one of fieldRef and resourceFieldRef is required"));
    }
  });
}

void validateToken(const json::object& token, const json::object& spec, const std::string& source, const std::string& projected,
                   Causes& causes) {
  if (textAt(spec, {"serviceAccountName"}).empty())
    causes.push_back(forbiddenField(source, "must not be specified when serviceAccountName is not set"));
  if (textAt(token, {"path"}).empty()) causes.push_back(requiredValue(projected + ".path"));  // upstream forgets the index
}

void validateTrustBundle(const json::object& bundle, const std::string& path, Causes& causes) {
  const bool byName = !textAt(bundle, {"name"}).empty(), bySigner = !textAt(bundle, {"signerName"}).empty();
  if (byName && bySigner) causes.push_back(forbiddenField(path, "only one of name and signerName may be used"));
  if (!byName && !bySigner) causes.push_back(requiredValue(path, "either name or signerName must be specified"));
  if (byName && has(bundle, "labelSelector")) causes.push_back(forbiddenField(path + ".labelSelector", "may only be used with signerName"));
}

void validateCertificate(const json::object& certificate, const std::string& path, Causes& causes) {
  for (const std::string_view name : {"credentialBundlePath", "keyPath", "certificateChainPath"})
    if (!textAt(certificate, {name}).empty()) return;
  causes.push_back(requiredValue(path, "specify at least one of credentialBundlePath, keyPath, and certificateChainPath"));
}

// A path that two sources want; `value` is what upstream shows.
void claimPaths(const json::object& source, const std::string& projected, std::string_view value, std::set<std::string>& taken,
                Causes& causes) {
  eachIn(source, "items", projected, [&](const json::object& item, const std::string&) {
    const std::string path(textAt(item, {"path"}));
    if (!path.empty() && !taken.insert(path).second)
      causes.push_back(invalidText(projected, value.empty() ? path : value, "conflicting duplicate paths"));
  });
}

void validateSource(const json::object& source, const json::object& spec, const std::string& path, const std::string& projected,
                    std::set<std::string>& taken, Causes& causes) {
  if (source.size() > 1) causes.push_back(forbiddenField(path, "may not specify more than 1 volume type"));
  for (const std::string_view name : {"secret", "configMap"}) {
    const json::object* part = objectAt(source, {name});
    if (part == nullptr) continue;
    if (textAt(*part, {"name"}).empty()) causes.push_back(requiredValue(projected + ".name"));
    claimPaths(*part, projected, textAt(*part, {"name"}), taken, causes);
  }
  if (const json::object* downward = objectAt(source, {"downwardAPI"})) {
    validateDownwardItems(*downward, path + ".downwardAPI", causes);
    claimPaths(*downward, projected, {}, taken, causes);
  }
  if (const json::object* token = objectAt(source, {"serviceAccountToken"}))
    validateToken(*token, spec, path + ".serviceAccountToken", projected, causes);
  if (const json::object* bundle = objectAt(source, {"clusterTrustBundle"}))
    validateTrustBundle(*bundle, path + ".clusterTrustBundle", causes);
  if (const json::object* certificate = objectAt(source, {"podCertificate"}))
    validateCertificate(*certificate, path + ".podCertificate", causes);
}

void validateVolume(const json::object& one, const json::object& spec, const std::string& path, Causes& causes) {
  bool found = false;
  for (const Field& field : volume()) {
    if (field.within == 0 || !has(one, field.name)) continue;
    if (found) causes.push_back(forbiddenField(under(path, field.name), "may not specify more than 1 volume type"));
    found = true;
  }
  if (!found) causes.push_back(requiredValue(path, "must specify a volume type"));
  if (const json::object* config = objectAt(one, {"configMap"}); config && textAt(*config, {"name"}).empty())
    causes.push_back(requiredValue(path + ".configMap.name"));
  if (const json::object* downward = objectAt(one, {"downwardAPI"})) validateDownwardItems(*downward, path + ".downwardAPI", causes);
  const json::object* projected = objectAt(one, {"projected"});
  if (projected == nullptr) return;
  std::set<std::string> taken;
  const std::string place = path + ".projected";
  eachIn(*projected, "sources", place,
         [&](const json::object& source, const std::string& at) { validateSource(source, spec, at, place, taken, causes); });
}

Names validateVolumes(const json::object& spec, Causes& causes) {
  Names names;
  eachIn(spec, "volumes", "spec", [&](const json::object& one, const std::string& path) {
    const std::string_view name = textAt(one, {"name"});
    if (!name.empty() && !names.insert(name).second) causes.push_back(duplicate(path + ".name", name));
    validateVolume(one, spec, path, causes);
  });
  return names;
}

// ---- containers

void validateEnvironment(const json::object& one, const std::string& path, Causes& causes) {
  eachIn(one, "env", path, [&](const json::object& variable, const std::string& at) {
    const json::object* from = objectAt(variable, {"valueFrom"});
    if (from == nullptr) return;
    const std::string place = at + ".valueFrom";
    if (from->empty()) {
      causes.push_back(invalidText(place, "", "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`"));
    } else if (!textAt(variable, {"value"}).empty()) {
      causes.push_back(invalidText(place, "", "may not be specified when `value` is not empty"));
    } else if (from->size() > 1) {
      causes.push_back(invalidText(place, "", "may not have more than one field specified at a time"));
    }
    if (const json::object* field = objectAt(*from, {"fieldRef"}))
      validateFieldRef(*field, place + ".fieldRef", environmentFields(), causes);
  });
}

void validateMounts(const json::object& one, const std::string& path, const Names& volumes, Causes& causes) {
  Names places;
  eachIn(one, "volumeMounts", path, [&](const json::object& mount, const std::string& at) {
    const std::string_view name = textAt(mount, {"name"}), place = textAt(mount, {"mountPath"});
    if (!name.empty() && !volumes.contains(name)) causes.push_back(notFoundValue(at + ".name", name));
    if (!place.empty() && !places.insert(place).second) causes.push_back(invalidText(at + ".mountPath", place, "must be unique"));
    if (has(mount, "subPath") && has(mount, "subPathExpr"))
      causes.push_back(invalidText(at + ".subPathExpr", textAt(mount, {"subPathExpr"}), "subPathExpr and subPath are mutually exclusive"));
  });
}

void validatePorts(const json::object& one, const std::string& path, Causes& causes) {
  Names names;
  eachIn(one, "ports", path, [&](const json::object& port, const std::string& at) {
    const std::string_view name = textAt(port, {"name"});
    if (!name.empty() && !names.insert(name).second) causes.push_back(duplicate(at + ".name", name));
    if (name.size() > 15) causes.push_back(invalidText(at + ".name", name, "must be no more than 15 characters"));
  });
}

// exec, httpGet, …: exactly one.
void validateAction(const json::object& handler, const std::string& path, Causes& causes) {
  bool found = false;
  for (const std::string_view name : {"exec", "httpGet", "tcpSocket", "grpc", "sleep"}) {
    if (!has(handler, name)) continue;
    if (found) causes.push_back(forbiddenField(under(path, name), "may not specify more than 1 handler type"));
    found = true;
  }
  if (!found) causes.push_back(requiredValue(path, "must specify a handler type"));
  if (const json::object* exec = objectAt(handler, {"exec"}); exec && !has(*exec, "command"))
    causes.push_back(requiredValue(path + ".exec.command"));
}

void validateProbes(const json::object& one, const std::string& path, Causes& causes) {
  for (const std::string_view name : {"livenessProbe", "readinessProbe", "startupProbe"}) {
    const json::object* probe = objectAt(one, {name});
    if (probe == nullptr) continue;
    validateAction(*probe, under(path, name), causes);
    const std::int64_t successes = integerAt(*probe, {"successThreshold"}, 1);
    if (name != "readinessProbe" && successes != 1)
      causes.push_back(invalidNumber(under(path, name) + ".successThreshold", successes, "must be 1"));
  }
  for (const std::string_view name : {"postStart", "preStop"})
    if (const json::object* hook = objectAt(one, {"lifecycle", name}))
      validateAction(*hook, path + ".lifecycle." + std::string(name), causes);
}

void validateResources(const json::object& one, const std::string& path, Causes& causes) {
  const json::object* limits = objectAt(one, {"resources", "limits"});
  const json::object* requests = objectAt(one, {"resources", "requests"});
  if (requests == nullptr) return;
  for (const auto& [name, request] : *requests) {
    const json::value* limit = limits == nullptr ? nullptr : limits->if_contains(name);
    if (limit == nullptr || !limit->is_string() || !request.is_string()) continue;
    if (quantityValue(request.get_string()) <= quantityValue(limit->get_string())) continue;
    const std::string why = "must be less than or equal to " + std::string(name) + " limit of " + std::string(limit->get_string());
    causes.push_back(invalidText(path + ".resources.requests", request.get_string(), why));
  }
}

void validateContainers(const json::object& spec, const Names& volumes, Causes& causes) {
  Names names;
  for (const std::string_view list : kContainerLists) {
    eachIn(spec, list, "spec", [&](const json::object& one, const std::string& path) {
      const std::string_view name = textAt(one, {"name"});
      if (!name.empty() && !names.insert(name).second) causes.push_back(duplicate(path + ".name", name));
      validateEnvironment(one, path, causes);
      validateMounts(one, path, volumes, causes);
      validatePorts(one, path, causes);
      validateProbes(one, path, causes);
      validateResources(one, path, causes);
    });
  }
}

void validateTolerations(const json::object& spec, Causes& causes) {
  eachIn(spec, "tolerations", "spec", [&](const json::object& toleration, const std::string& path) {
    const std::string_view op = textAt(toleration, {"operator"}), value = textAt(toleration, {"value"});
    if (textAt(toleration, {"key"}).empty() && op != "Exists")
      causes.push_back(invalidText(path + ".operator", op,
                                   "operator must be Exists when `key` is empty, which means \"match all values and all keys\""));
    if (op == "Exists" && !value.empty())
      causes.push_back(invalidText(path + ".operator", value, "value must be empty when `operator` is 'Exists'"));
    if (has(toleration, "tolerationSeconds") && textAt(toleration, {"effect"}) != "NoExecute")
      causes.push_back(
          invalidText(path + ".effect", textAt(toleration, {"effect"}), "effect must be 'NoExecute' when `tolerationSeconds` is set"));
  });
}

// Where a cause belongs among the others, and the element within its list.
std::pair<int, int> placeOf(const Cause& cause) {
  constexpr std::string_view kOrder[] = {"metadata", "spec.volumes", "spec.containers", "spec.initContainers", "spec.ephemeralContainers"};
  const std::string_view field = cause.field;
  for (int i = 0; i < static_cast<int>(std::size(kOrder)); ++i) {
    const std::string_view prefix = kOrder[i];
    if (!field.starts_with(prefix)) continue;
    const bool element = field.size() > prefix.size() && field[prefix.size()] == '[';
    return {i, element ? std::atoi(std::string(field.substr(prefix.size() + 1)).c_str()) : -1};
  }
  return {static_cast<int>(std::size(kOrder)), 0};
}

// ---- updates

constexpr std::string_view kImmutableSpec =
    "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,"
    "`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was "
    "previously negative)\n";

void copyMember(json::object& to, const json::object& from, std::string_view name) {
  if (const json::value* value = from.if_contains(name))
    to[name] = *value;
  else
    to.erase(name);
}

std::size_t lengthOf(const json::object& spec, std::string_view list) {
  const json::array* found = arrayAt(spec, {list});
  return found == nullptr ? 0 : found->size();
}

void copyImages(json::object& to, const json::object& from, std::string_view list) {
  json::value* mine = to.if_contains(list);
  const json::array* theirs = arrayAt(from, {list});
  if (mine == nullptr || theirs == nullptr || !mine->is_array()) return;
  json::array& items = mine->get_array();
  for (std::size_t i = 0; i < std::min(items.size(), theirs->size()); ++i)
    if (items[i].is_object() && (*theirs)[i].is_object()) copyMember(items[i].get_object(), (*theirs)[i].get_object(), "image");
}

bool onlyAdds(const json::object& now, const json::object& before, std::string_view list) {
  const json::array* old = arrayAt(before, {list});
  if (old == nullptr) return true;
  const json::array* mine = arrayAt(now, {list});
  return mine != nullptr && std::all_of(old->begin(), old->end(), [&](const json::value& item) {
           return std::find(mine->begin(), mine->end(), item) != mine->end();
         });
}

// The scheduling gates that are left, all of them old ones.
bool onlyRemoves(const json::object& now, const json::object& before, std::string_view list) { return onlyAdds(before, now, list); }

void validateDeadline(const json::object& now, const json::object& before, Causes& causes) {
  const std::int64_t old = integerAt(before, {"activeDeadlineSeconds"}, -1), mine = integerAt(now, {"activeDeadlineSeconds"}, -1);
  if (old < 0 || mine == old) return;
  if (mine < 0)
    causes.push_back(invalidText("spec.activeDeadlineSeconds", "", "must not update from a positive integer to nil value"));
  else if (mine > old)
    causes.push_back(invalidNumber("spec.activeDeadlineSeconds", mine, "must be less than or equal to previous value"));
}

// ---- defaults

// Always when the tag is `latest`, which it is when nothing pins the image.
std::string_view pullPolicyFor(std::string_view image) {
  const std::size_t digest = image.find('@');
  const std::string_view name = image.substr(0, digest);
  const std::size_t slash = name.rfind('/'), colon = name.rfind(':');
  const bool tagged = colon != std::string_view::npos && (slash == std::string_view::npos || colon > slash);
  if (tagged) return name.substr(colon + 1) == "latest" ? "Always" : "IfNotPresent";
  return digest == std::string_view::npos ? "Always" : "IfNotPresent";
}

void defaultContainer(json::object& one, bool hostNetwork) {
  if (textAt(one, {"imagePullPolicy"}).empty()) one["imagePullPolicy"] = pullPolicyFor(textAt(one, {"image"}));
  if (const json::object* limits = objectAt(one, {"resources", "limits"})) {
    const json::object copy = *limits;
    json::object& requests = makeObjectAt(one, {"resources", "requests"});
    for (const auto& [name, value] : copy)
      if (!requests.contains(name)) requests[name] = value;
  }
  json::value* ports = one.if_contains("ports");
  if (!hostNetwork || ports == nullptr || !ports->is_array()) return;
  for (json::value& each : ports->get_array())
    if (json::object* port = each.if_object(); port && !port->contains("hostPort") && port->contains("containerPort"))
      (*port)["hostPort"] = json::value(port->at("containerPort"));
}

void defaultVolume(json::object& one) {
  for (const Field& field : volume())
    if (field.within != 0 && one.contains(field.name)) return;
  one["emptyDir"] = json::object();
}

}  // namespace

void validatePod(const json::object& pod, Causes& causes) {
  const json::object* spec = objectAt(pod, {"spec"});
  if (spec == nullptr) {
    causes.push_back(requiredValue("spec.containers"));
    return;
  }
  const Names volumes = validateVolumes(*spec, causes);
  validateContainers(*spec, volumes, causes);
  validateTolerations(*spec, causes);
  if (textAt(*spec, {"dnsPolicy"}) == "None" && arrayAt(*spec, {"dnsConfig", "nameservers"}) == nullptr)
    causes.push_back(requiredValue("spec.dnsConfig.nameservers", "must provide at least one DNS nameserver when `dnsPolicy` is None"));
  std::stable_sort(causes.begin(), causes.end(), [](const Cause& a, const Cause& b) { return placeOf(a) < placeOf(b); });
}

void validatePodUpdate(const json::object& now, const json::object& before, Causes& causes) {
  const json::object* mine = objectAt(now, {"spec"});
  const json::object* old = objectAt(before, {"spec"});
  if (mine == nullptr || old == nullptr || *mine == *old) return;
  for (const std::string_view list : {"containers", "initContainers"}) {
    if (lengthOf(*mine, list) == lengthOf(*old, list)) continue;
    causes.push_back(forbiddenField("spec." + std::string(list), list == "containers"
                                                                     ? "pod updates may not add or remove containers"
                                                                     : "pod updates may not add or remove init containers"));
    return;
  }
  validateDeadline(*mine, *old, causes);
  if (!onlyAdds(*mine, *old, "tolerations"))
    causes.push_back(forbiddenField("spec.tolerations", "existing toleration can not be modified except its tolerationSeconds"));
  json::object same = *mine;
  for (const std::string_view list : {"containers", "initContainers"}) copyImages(same, *old, list);
  for (const std::string_view name : {"activeDeadlineSeconds", "tolerations"}) copyMember(same, *old, name);
  if (integerAt(*old, {"terminationGracePeriodSeconds"}) < 0 && integerAt(*mine, {"terminationGracePeriodSeconds"}) == 1)
    copyMember(same, *old, "terminationGracePeriodSeconds");
  if (onlyAdds(*mine, *old, "ephemeralContainers")) copyMember(same, *old, "ephemeralContainers");
  if (onlyRemoves(*mine, *old, "schedulingGates")) copyMember(same, *old, "schedulingGates");
  if (same != *old) causes.push_back(forbiddenField("spec", kImmutableSpec));
}

void defaultPod(json::object& pod) {
  json::value* found = pod.if_contains("spec");
  if (found == nullptr || !found->is_object()) return;
  json::object& spec = found->get_object();
  // the old name and the new one say the same; the new one wins
  const std::string account(textAt(spec, {"serviceAccountName"}).empty() ? textAt(spec, {"serviceAccount"})
                                                                         : textAt(spec, {"serviceAccountName"}));
  if (!account.empty()) {
    spec["serviceAccountName"] = account;
    spec["serviceAccount"] = account;
  }
  const bool hostNetwork = booleanAt(spec, {"hostNetwork"});
  for (const std::string_view list : kContainerLists)
    if (json::value* items = spec.if_contains(list); items && items->is_array())
      for (json::value& each : items->get_array())
        if (json::object* one = each.if_object()) defaultContainer(*one, hostNetwork);
  if (json::value* items = spec.if_contains("volumes"); items && items->is_array())
    for (json::value& each : items->get_array())
      if (json::object* one = each.if_object()) defaultVolume(*one);
}

}  // namespace podpass::api
