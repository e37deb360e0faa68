#include "server/admission.h"

#include "base/text.h"
#include "server/status.h"

namespace podpass::server {
namespace {

constexpr std::string_view kTokenMountPath = "/var/run/secrets/kubernetes.io/serviceaccount";
constexpr std::string_view kTokenVolumePrefix = "kube-api-access-";
constexpr int kTokenSeconds = 3607;  // the value that asks the issuer for the one-year extension
constexpr std::string_view kNodePrefix = "system:node:";

const api::Kind& core(std::string_view plural) { return *api::findKind("", "v1", plural); }

json::object tokenVolume(const std::string& name) {
  json::array sources;
  sources.push_back(json::object{{"serviceAccountToken", json::object{{"expirationSeconds", kTokenSeconds}, {"path", "token"}}}});
  json::array certificate{json::object{{"key", "ca.crt"}, {"path", "ca.crt"}}};
  sources.push_back(json::object{{"configMap", json::object{{"name", "kube-root-ca.crt"}, {"items", std::move(certificate)}}}});
  json::array nsItem{
      json::object{{"path", "namespace"}, {"fieldRef", json::object{{"apiVersion", "v1"}, {"fieldPath", "metadata.namespace"}}}}};
  sources.push_back(json::object{{"downwardAPI", json::object{{"items", std::move(nsItem)}}}});
  return json::object{{"name", name}, {"projected", json::object{{"sources", std::move(sources)}, {"defaultMode", 420}}}};
}

json::array& arrayIn(json::object& object, std::string_view name) {
  json::value& value = object[name];
  return value.is_array() ? value.get_array() : value.emplace_array();
}

// Gives the container the token mount unless it has something there; true when it was added.
bool mountToken(json::object& container, const std::string& volume) {
  json::array& mounts = arrayIn(container, "volumeMounts");
  for (const json::value& mount : mounts)
    if (mount.is_object() && textAt(mount.get_object(), {"mountPath"}) == kTokenMountPath) return false;
  mounts.push_back(json::object{{"name", volume}, {"readOnly", true}, {"mountPath", kTokenMountPath}});
  return true;
}

void mountTokens(json::object& spec) {
  std::string volume;
  if (const json::array* volumes = arrayAt(spec, {"volumes"}))
    for (const json::value& each : *volumes)
      if (each.is_object() && textAt(each.get_object(), {"name"}).starts_with(kTokenVolumePrefix))
        volume = textAt(each.get_object(), {"name"});
  const bool reused = !volume.empty();
  if (!reused) volume = std::string(kTokenVolumePrefix) + randomSuffix();
  bool needed = false;
  for (const char* group : {"initContainers", "containers"}) {
    if (arrayAt(spec, {group}) == nullptr) continue;
    for (json::value& container : arrayIn(spec, group))
      if (container.is_object() && mountToken(container.get_object(), volume)) needed = true;
  }
  if (needed && !reused) arrayIn(spec, "volumes").push_back(tokenVolume(volume));
}

void tolerate(json::object& spec, std::string_view taint) {
  json::array& tolerations = arrayIn(spec, "tolerations");
  for (const json::value& each : tolerations) {
    if (!each.is_object()) continue;
    const std::string_view key = textAt(each.get_object(), {"key"}), effect = textAt(each.get_object(), {"effect"});
    if ((key == taint || key.empty()) && (effect.empty() || effect == "NoExecute")) return;
  }
  tolerations.push_back(json::object{{"key", taint}, {"operator", "Exists"}, {"effect", "NoExecute"}, {"tolerationSeconds", 300}});
}

std::string nodeOf(const auth::User& user) {
  return user.in("system:nodes") && user.name.starts_with(kNodePrefix) ? user.name.substr(kNodePrefix.size()) : std::string();
}

bool isTrue(std::string_view text) {
  return text == "true" || text == "True" || text == "TRUE" || text == "t" || text == "T" || text == "1";
}

}  // namespace

Result<void> Admission::namespaceLifecycle(const AdmissionRequest& request) const {
  if (request.operation != "CREATE" || !request.kind.namespaced || request.kind.isVirtual) return {};
  const DocumentPtr found = objects_.get(core("namespaces"), "", request.ns);
  if (!found) return notFound(core("namespaces"), request.ns);
  if (textAt(found->value, {"metadata", "deletionTimestamp"}).empty()) return {};
  Error error =
      forbidden(request.kind, request.name, "unable to create new content in namespace " + request.ns + " because it is being terminated");
  error.causes.push_back({"metadata.namespace", "namespace " + request.ns + " is being terminated", "NamespaceTerminating"});
  return error;
}

Result<void> Admission::serviceAccount(const AdmissionRequest& request, json::object& pod) const {
  json::object& spec = makeObjectAt(pod, {"spec"});
  if (!textAt(pod, {"metadata", "annotations", "kubernetes.io/config.mirror"}).empty()) {
    if (!textAt(spec, {"serviceAccountName"}).empty())
      return forbidden(request.kind, request.name, "a mirror pod may not reference service accounts");
    return {};
  }
  if (textAt(spec, {"serviceAccountName"}).empty()) spec["serviceAccountName"] = "default";
  const std::string name(textAt(spec, {"serviceAccountName"}));
  spec["serviceAccount"] = name;
  const DocumentPtr account = objects_.get(core("serviceaccounts"), request.ns, name);
  if (!account)
    return forbidden(request.kind, request.name,
                     "error looking up service account " + request.ns + "/" + name + ": serviceaccount " + quoted(name) + " not found");
  const bool wanted = spec.contains("automountServiceAccountToken") ? booleanAt(spec, {"automountServiceAccountToken"})
                                                                    : booleanAt(account->value, {"automountServiceAccountToken"}, true);
  if (wanted) mountTokens(spec);
  const json::array* own = arrayAt(spec, {"imagePullSecrets"});
  const json::array* inherited = arrayAt(account->value, {"imagePullSecrets"});
  if ((own == nullptr || own->empty()) && inherited != nullptr && !inherited->empty()) spec["imagePullSecrets"] = *inherited;

  if (!isTrue(textAt(account->value, {"metadata", "annotations", "kubernetes.io/enforce-mountable-secrets"}))) return {};
  std::set<std::string_view> allowed;
  if (const json::array* secrets = arrayAt(account->value, {"secrets"}))
    for (const json::value& each : *secrets)
      if (each.is_object()) allowed.insert(textAt(each.get_object(), {"name"}));
  if (const json::array* volumes = arrayAt(spec, {"volumes"}))
    for (const json::value& each : *volumes) {
      const std::string secret(each.is_object() ? textAt(each.get_object(), {"secret", "secretName"}) : "");
      if (!secret.empty() && !allowed.contains(secret))
        return forbidden(request.kind, request.name,
                         "volume with secret.secretName=" + quoted(secret) + " is not allowed because service account " + name +
                             " does not reference that secret");
    }
  return {};
}

Result<void> Admission::mutate(const AdmissionRequest& request, json::object& object) const {
  if (!request.subresource.empty()) return {};
  if (Result<void> lives = namespaceLifecycle(request); !lives) return lives;
  if (request.operation != "CREATE" || !request.kind.group.empty()) return {};
  if (request.kind.plural == "pods") {
    if (Result<void> account = serviceAccount(request, object); !account) return account;
    json::object& spec = makeObjectAt(object, {"spec"});
    if (!spec.contains("priority")) spec["priority"] = 0;
    if (!spec.contains("preemptionPolicy")) spec["preemptionPolicy"] = "PreemptLowerPriority";
    tolerate(spec, "node.kubernetes.io/not-ready");
    tolerate(spec, "node.kubernetes.io/unreachable");
  }
  if (request.kind.plural == "nodes") {
    json::array& taints = arrayIn(makeObjectAt(object, {"spec"}), "taints");
    const json::value notReady = json::object{{"key", "node.kubernetes.io/not-ready"}, {"effect", "NoSchedule"}};
    if (std::find(taints.begin(), taints.end(), notReady) == taints.end()) taints.push_back(notReady);
  }
  return {};
}

Result<void> Admission::validate(const AdmissionRequest& request, const json::object* object, const json::object* before) const {
  const bool isNamespace = request.kind.group.empty() && request.kind.plural == "namespaces";
  if (request.operation == "DELETE" && isNamespace &&
      (request.name == "default" || request.name == "kube-system" || request.name == "kube-public"))
    return forbidden(request.kind, request.name, "this namespace may not be deleted");
  // Nothing would tell whose tokens end with it, and the next key could get its name.
  const bool isSigningKey = request.kind.group == "identity.podpass.dev" && request.kind.plural == "signingkeys";
  if (request.operation == "DELETE" && isSigningKey && before != nullptr && !booleanAt(*before, {"spec", "revoked"}))
    if (const std::string_view state = textAt(*before, {"status", "state"});
        state == "Published" || state == "Active" || state == "Retiring")
      return forbidden(request.kind, request.name,
                       "it still verifies tokens; `podpass keys revoke " + request.name + "` says what ends with it, and ends it");

  const std::string node = nodeOf(request.user);
  if (node.empty() || !request.kind.group.empty()) return {};
  // NodeRestriction: a node touches itself and the pods that it runs, nothing else
  if (request.kind.plural == "nodes" && request.name != node)
    return forbidden(request.kind, request.name, "node " + quoted(node) + " is not allowed to modify node " + quoted(request.name));
  if (request.kind.plural == "pods") {
    if (request.operation == "CREATE")
      return forbidden(
          request.kind, request.name,
          "pod does not have \"kubernetes.io/config.mirror\" annotation, node " + quoted(node) + " can only create mirror pods");
    const json::object* pod = before != nullptr ? before : object;
    if (pod != nullptr && textAt(*pod, {"spec", "nodeName"}) != node)
      return forbidden(request.kind, request.name, "node " + quoted(node) + " can only update pods with spec.nodeName set to itself");
  }
  return {};
}

Result<void> Admission::tokenRequest(const auth::User& user, const std::string& ns, const std::string& account,
                                     const json::object& request) const {
  const std::string node = nodeOf(user);
  if (node.empty()) return {};
  const api::Kind& accounts = core("serviceaccounts");
  const auto refuse = [&](std::string_view why) { return forbidden(accounts, account, why); };
  const json::object* ref = objectAt(request, {"spec", "boundObjectRef"});
  if (ref == nullptr || textAt(*ref, {"apiVersion"}) != "v1" || textAt(*ref, {"kind"}) != "Pod" || textAt(*ref, {"name"}).empty())
    return refuse("node requested token not bound to a pod");
  if (textAt(*ref, {"uid"}).empty()) return refuse("node requested token with a pod binding without a uid");
  const std::string name(textAt(*ref, {"name"}));
  const DocumentPtr pod = objects_.get(core("pods"), ns, name);
  if (!pod) return notFound(core("pods"), name);
  if (textAt(pod->value, {"metadata", "uid"}) != textAt(*ref, {"uid"}))
    return refuse("the UID in the bound object reference (" + std::string(textAt(*ref, {"uid"})) +
                  ") does not match the UID in record. The object might have been deleted and then recreated");
  if (textAt(pod->value, {"spec", "nodeName"}) != node) return refuse("node requested token bound to a pod scheduled on a different node");

  const json::array* audiences = arrayAt(request, {"spec", "audiences"});
  if (audiences != nullptr && audiences->size() > 1) return refuse("node may only request 0 or 1 audiences");
  const std::string_view audience = audiences != nullptr && !audiences->empty() && (*audiences)[0].is_string()
                                        ? std::string_view((*audiences)[0].get_string())
                                        : std::string_view();
  if (const json::array* volumes = arrayAt(pod->value, {"spec", "volumes"}))
    for (const json::value& volume : *volumes) {
      const json::array* sources = volume.is_object() ? arrayAt(volume.get_object(), {"projected", "sources"}) : nullptr;
      if (sources == nullptr) continue;
      for (const json::value& source : *sources)
        if (source.is_object() && source.get_object().contains("serviceAccountToken") &&
            textAt(source.get_object(), {"serviceAccountToken", "audience"}) == audience)
          return {};
    }
  return refuse("audience " + quoted(audience) + " not found in pod spec volume, system:node:" + node +
                " is not authorized to request tokens for this audience");
}

}  // namespace podpass::server
