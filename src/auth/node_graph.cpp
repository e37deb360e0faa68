#include "auth/node_graph.h"

#include "auth/rbac.h"
#include "base/text.h"

namespace podpass::auth {
namespace {

constexpr std::string_view kNodePrefix = "system:node:";
constexpr std::string_view kNodesGroup = "system:nodes";
constexpr std::size_t kMostVouching = 20'000;  // then all are forgotten: a bound for hostile names, far above what nodes ask for

// True when `pick` finds `name` in any object of the list.
template <class Pick>
bool any(const json::array* list, Pick pick) {
  if (list == nullptr) return false;
  for (const json::value& value : *list)
    if (const json::object* object = value.if_object(); object != nullptr && pick(*object)) return true;
  return false;
}

bool environmentNames(const json::object& spec, std::string_view keyRef, std::string_view fromRef, std::string_view name) {
  const auto variable = [&](const json::object& each) { return textAt(each, {"valueFrom", keyRef, "name"}) == name; };
  const auto source = [&](const json::object& each) { return textAt(each, {fromRef, "name"}) == name; };
  const auto container = [&](const json::object& each) {
    return any(arrayAt(each, {"env"}), variable) || any(arrayAt(each, {"envFrom"}), source);
  };
  for (std::string_view group : {"initContainers", "containers", "ephemeralContainers"})
    if (any(arrayAt(spec, {group}), container)) return true;
  return false;
}

bool namesSecret(const json::object& spec, std::string_view name) {
  const auto projected = [&](const json::object& source) { return textAt(source, {"secret", "name"}) == name; };
  const auto volume = [&](const json::object& each) {
    return textAt(each, {"secret", "secretName"}) == name || textAt(each, {"csi", "nodePublishSecretRef", "name"}) == name ||
           any(arrayAt(each, {"projected", "sources"}), projected);
  };
  const auto pull = [&](const json::object& each) { return textAt(each, {"name"}) == name; };
  return any(arrayAt(spec, {"volumes"}), volume) || any(arrayAt(spec, {"imagePullSecrets"}), pull) ||
         environmentNames(spec, "secretKeyRef", "secretRef", name);
}

bool namesConfigMap(const json::object& spec, std::string_view name) {
  const auto projected = [&](const json::object& source) { return textAt(source, {"configMap", "name"}) == name; };
  const auto volume = [&](const json::object& each) {
    return textAt(each, {"configMap", "name"}) == name || any(arrayAt(each, {"projected", "sources"}), projected);
  };
  return any(arrayAt(spec, {"volumes"}), volume) || environmentNames(spec, "configMapKeyRef", "configMapRef", name);
}

bool vouches(const json::object& pod, std::string_view node, std::string_view resource, std::string_view name) {
  const json::object* spec = objectAt(pod, {"spec"});
  if (spec == nullptr || textAt(*spec, {"nodeName"}) != node) return false;
  if (resource == "pods") return textAt(pod, {"metadata", "name"}) == name;
  // a mirror pod is the node's own word for what runs there: it must not open anything
  if (!textAt(pod, {"metadata", "annotations", "kubernetes.io/config.mirror"}).empty()) return false;
  if (resource == "serviceaccounts") return textAt(*spec, {"serviceAccountName"}) == name;
  return resource == "secrets" ? namesSecret(*spec, name) : namesConfigMap(*spec, name);
}

Decision noOpinion(std::string reason = {}) { return {false, std::move(reason)}; }

Decision related(const NodeGraph& graph, const std::string& node, const Attributes& asked) {
  if (asked.name.empty()) return noOpinion("No Object name found");
  if (graph.reaches(node, asked.resource, asked.ns, asked.name)) return {true};
  return noOpinion("no relationship found between node '" + node + "' and this object");
}

Decision readNamed(const NodeGraph& graph, const std::string& node, const Attributes& asked) {
  if (asked.verb != "get" && asked.verb != "list" && asked.verb != "watch") return noOpinion("can only read resources of this type");
  if (!asked.subresource.empty()) return noOpinion("cannot read subresource");
  if (asked.ns.empty()) return noOpinion("can only read namespaced object of this type");
  return related(graph, node, asked);
}

Decision serviceAccountToken(const NodeGraph& graph, const std::string& node, const Attributes& asked) {
  if (asked.verb != "create" || asked.name.empty()) return noOpinion("can only create tokens for individual service accounts");
  if (asked.subresource != "token") return noOpinion("can only create token subresource of serviceaccount");
  return related(graph, node, asked);
}

Decision ownLease(const std::string& node, const Attributes& asked) {
  const std::string& verb = asked.verb;
  if (verb != "get" && verb != "create" && verb != "update" && verb != "patch" && verb != "delete")
    return noOpinion("can only get, create, update, patch, or delete a node lease");
  if (asked.ns != "kube-node-lease") return noOpinion("can only access leases in the \"kube-node-lease\" system namespace");
  // the name of what is created is in the body, which NodeRestriction reads
  if (verb != "create" && asked.name != node) return noOpinion("can only access node lease with the same name as the requesting node");
  return {true};
}

Decision ownNode(const std::string& node, const Attributes& asked) {
  const std::string& verb = asked.verb;
  const bool writes = verb == "update" || verb == "patch";  // whose node it is: NodeRestriction
  if (asked.subresource == "status") return {writes};
  if (!asked.subresource.empty()) return noOpinion();
  if (verb == "create" || writes) return {true};
  if (verb != "get" && verb != "list" && verb != "watch") return noOpinion();
  if (asked.name == node) return {true};
  if (asked.name.empty()) return noOpinion("node '" + node + "' cannot read all nodes, only its own Node object");
  return noOpinion("node '" + node + "' cannot read '" + asked.name + "', only its own Node object");
}

// `spec.nodeName=<node>` among the terms, each of which narrows.
bool selectsNode(std::string_view selector, std::string_view node) {
  while (!selector.empty()) {
    const std::string_view term = selector.substr(0, selector.find(','));
    for (std::string_view key : {"spec.nodeName==", "spec.nodeName="})
      if (term.starts_with(key) && term.substr(key.size()) == node) return true;
    selector.remove_prefix(std::min(term.size() + 1, selector.size()));
  }
  return false;
}

Decision ownPods(const NodeGraph& graph, const std::string& node, const Attributes& asked) {
  const std::string& verb = asked.verb;
  if (asked.subresource == "status") return {verb == "update" || verb == "patch"};
  if (asked.subresource == "eviction") return {verb == "create"};
  if (!asked.subresource.empty()) return noOpinion();
  if (verb == "create" || verb == "delete") return {true};  // mirror pods, and the end of graceful deletion: NodeRestriction
  if (verb == "get") return related(graph, node, asked);
  if (verb != "list" && verb != "watch") return noOpinion();
  if (selectsNode(asked.fieldSelector, node)) return {true};
  return noOpinion("can only list/watch pods with spec.nodeName field selector");
}

// What every node may do that no graph divides (rbac/bootstrappolicy NodeRules).
const Rules& commonRules() {
  static const Rules rules{
      {{"create"}, {"authentication.k8s.io"}, {"tokenreviews"}},
      {{"create"}, {"authorization.k8s.io"}, {"subjectaccessreviews", "localsubjectaccessreviews"}},
      {{"get", "list", "watch"}, {""}, {"services"}},
      {{"create", "patch", "update"}, {""}, {"events"}},
      {{"create", "patch", "update"}, {"events.k8s.io"}, {"events"}},
  };
  return rules;
}

}  // namespace

std::string nodeNameOf(const User& user) {
  return user.in(kNodesGroup) && user.name.starts_with(kNodePrefix) ? user.name.substr(kNodePrefix.size()) : std::string();
}

bool NodeGraph::reaches(const std::string& node, std::string_view resource, const std::string& ns, const std::string& name) const {
  const api::Kind* pods = api::findKind("", "v1", "pods");
  if (pods == nullptr) return false;
  if (resource == "pods") {
    const DocumentPtr pod = objects_.get(*pods, ns, name);
    return pod && vouches(pod->value, node, resource, name);
  }
  const std::string question = node + "/" + std::string(resource) + "/" + ns + "/" + name;
  std::string last;
  {
    const std::lock_guard lock(mutex_);
    if (const auto found = vouching_.find(question); found != vouching_.end()) last = found->second;
  }
  if (!last.empty())
    if (const DocumentPtr pod = objects_.get(*pods, ns, last); pod && vouches(pod->value, node, resource, name)) return true;
  for (const DocumentPtr& pod : objects_.list(*pods, ns)) {
    if (!vouches(pod->value, node, resource, name)) continue;
    const std::lock_guard lock(mutex_);
    if (vouching_.size() >= kMostVouching) vouching_.clear();
    vouching_[question] = textAt(pod->value, {"metadata", "name"});
    return true;
  }
  return false;
}

Decision authorizeNode(const NodeGraph& graph, const Attributes& asked) {
  if (!asked.user.in(kNodesGroup)) return noOpinion();
  const std::string node = nodeNameOf(asked.user);
  if (node.empty()) return noOpinion("unknown node for user " + podpass::quoted(asked.user.name));
  if (asked.resourceRequest && asked.group.empty()) {
    if (asked.resource == "secrets" || asked.resource == "configmaps") return readNamed(graph, node, asked);
    if (asked.resource == "serviceaccounts") return serviceAccountToken(graph, node, asked);
    if (asked.resource == "nodes") return ownNode(node, asked);
    if (asked.resource == "pods") return ownPods(graph, node, asked);
  }
  if (asked.resourceRequest && asked.group == "coordination.k8s.io" && asked.resource == "leases") return ownLease(node, asked);
  for (const Rule& rule : commonRules())
    if (rule.allows(asked)) return {true};
  return noOpinion();
}

}  // namespace podpass::auth
