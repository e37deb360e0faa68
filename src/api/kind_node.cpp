#include <set>

#include "api/causes.h"
#include "api/fields.h"
#include "api/kinds.h"

namespace podpass::api {
namespace {

constexpr std::string_view kRolePrefix = "node-role.kubernetes.io/";

json::value statusCell(const json::object& node, WallTime) {
  std::string status = "Unknown";
  if (const json::array* conditions = arrayAt(node, {"status", "conditions"})) {
    for (const json::value& each : *conditions) {
      const json::object* condition = each.if_object();
      if (condition == nullptr || textAt(*condition, {"type"}) != "Ready") continue;
      status = textAt(*condition, {"status"}) == "True" ? "Ready" : "NotReady";
    }
  }
  if (booleanAt(node, {"spec", "unschedulable"})) status += ",SchedulingDisabled";
  return json::value(status);
}

json::value rolesCell(const json::object& node, WallTime) {
  std::set<std::string> roles;
  if (const json::object* labels = objectAt(node, {"metadata", "labels"})) {
    for (const auto& [key, value] : *labels) {
      const std::string_view label = key;
      if (label.starts_with(kRolePrefix) && label.size() > kRolePrefix.size()) roles.emplace(label.substr(kRolePrefix.size()));
      if (label == "kubernetes.io/role" && value.is_string() && !value.get_string().empty()) roles.emplace(value.get_string());
    }
  }
  std::string text;
  for (const std::string& role : roles) text += (text.empty() ? "" : ",") + role;
  return json::value(text.empty() ? "<none>" : text);
}

Column addressColumn(std::string_view name, std::string_view type) {
  return {.name = name, .priority = 1, .cell = [type](const json::object& node, WallTime) {
            if (const json::array* addresses = arrayAt(node, {"status", "addresses"}))
              for (const json::value& each : *addresses)
                if (const json::object* address = each.if_object(); address && textAt(*address, {"type"}) == type)
                  return json::value(textAt(*address, {"address"}));
            return json::value("<none>");
          }};
}

Fields nodeSpec() {
  return {text("podCIDR", 1, "The pod IP range assigned to the node."),
          asSet(texts("podCIDRs", 7, "The IP ranges assigned to the node for usage by pods.")),
          text("providerID", 3, "ID of the node assigned by the cloud provider: <ProviderName>://<ProviderSpecificNodeID>."),
          flag("unschedulable", 4, "New pods are not scheduled here. By default, node is schedulable."),
          list("taints", 5,
               {required(text("key", 1, "The taint key to be applied to a node.")), text("value", 2, "The taint value."),
                required(oneOf({"NoSchedule", "PreferNoSchedule", "NoExecute"},
                               text("effect", 3, "What happens to pods without a toleration."))),
                time("timeAdded", 4, "When the taint was added.")},
               "The node's taints."),
          text("externalID", 2, "Deprecated.")};
}

Fields nodeStatus() {
  return {
      map("capacity", 1, Type::Quantity, "The total resources of a node."),
      map("allocatable", 2, Type::Quantity, "The resources of a node that are available for scheduling."),
      text("phase", 3, "Deprecated."),
      mergedBy("type", list("conditions", 4,
                            {required(text("type", 1)), required(text("status", 2)), time("lastHeartbeatTime", 3),
                             time("lastTransitionTime", 4), text("reason", 5), text("message", 6)},
                            "The current observed node conditions.")),
      mergedBy("type", list("addresses", 5, {required(text("type", 1)), required(text("address", 2))}, "Addresses reachable to the node.")),
      object("daemonEndpoints", 6, {object("kubeletEndpoint", 1, {integer("Port", 1)})}, "Endpoints of daemons running on the node."),
      object("nodeInfo", 7,
             {evenEmpty(text("machineID", 1)), evenEmpty(text("systemUUID", 2)), evenEmpty(text("bootID", 3)),
              evenEmpty(text("kernelVersion", 4)), evenEmpty(text("osImage", 5)), evenEmpty(text("containerRuntimeVersion", 6)),
              evenEmpty(text("kubeletVersion", 7)), evenEmpty(text("kubeProxyVersion", 8)), evenEmpty(text("operatingSystem", 9)),
              evenEmpty(text("architecture", 10)), object("swap", 11, {integer("capacity", 1)})},
             "Ids and versions that identify the node."),
      list("images", 8, {texts("names", 1), count("sizeBytes", 2)}, "Container images on this node."),
      texts("volumesInUse", 9, "Attachable volumes in use (mounted) by the node."),
      list("volumesAttached", 10, {text("name", 1), text("devicePath", 2)}, "Volumes that are attached to the node."),
      list("runtimeHandlers", 12,
           {text("name", 1), object("features", 2, {boolean("recursiveReadOnlyMounts", 1), boolean("userNamespaces", 2)})},
           "The available runtime handlers."),
      object("features", 13, {boolean("supplementalGroupsPolicy", 1)}, "Features of the CRI implementation."),
      texts("declaredFeatures", 14, "Features behind gates that the node declares.")};
}

json::value memberOf(const json::object& node, std::string_view name) {
  const json::object* spec = objectAt(node, {"spec"});
  const json::value* found = spec == nullptr ? nullptr : spec->if_contains(name);
  return found == nullptr ? json::value() : *found;
}

void validateNodeUpdate(const json::object& now, const json::object& before, Causes& causes) {
  for (const std::string_view name : {"podCIDRs", "podCIDR"}) {
    const json::value old = memberOf(before, name);
    if (old.is_null() || old == memberOf(now, name)) continue;
    causes.push_back(forbiddenField("spec.podCIDRs", "node updates may not change podCIDR except from \"\" to valid"));
    break;
  }
  const json::value provider = memberOf(before, "providerID");
  if (!provider.is_null() && provider != memberOf(now, "providerID"))
    causes.push_back(forbiddenField("spec.providerID", "node updates may not change providerID except from \"\" to valid"));
  if (memberOf(now, "externalID") != memberOf(before, "externalID") && !memberOf(now, "externalID").is_null())
    causes.push_back(forbiddenField("[]",
                                    "node updates may only change labels, taints, or capacity (or configSource, if the "
                                    "DynamicKubeletConfig feature gate is enabled)"));
}

void defaultAllocatable(json::object& node) {
  const json::object* capacity = objectAt(node, {"status", "capacity"});
  if (capacity == nullptr || objectAt(node, {"status", "allocatable"}) != nullptr) return;
  json::object copy = *capacity;
  makeObjectAt(node, {"status"})["allocatable"] = std::move(copy);
}

}  // namespace

const Kind& nodeKind() {
  static const Kind kind{.group = "",
                         .version = "v1",
                         .kind = "Node",
                         .plural = "nodes",
                         .singular = "node",
                         .shortNames = {"no"},
                         .hasStatus = true,
                         .manyOrBusy = true,
                         .doc = "Node is a worker node.",
                         .definition = "io.k8s.api.core.v1.Node",
                         .fields = {object("spec", 2, nodeSpec(), "The behavior of a node."),
                                    object("status", 3, nodeStatus(), "Most recently observed status of the node.")},
                         .columns = {{.name = "Status", .cell = statusCell},
                                     {.name = "Roles", .cell = rolesCell},
                                     ageColumn(),
                                     textColumn("Version", {"status", "nodeInfo", "kubeletVersion"}),
                                     addressColumn("Internal-IP", "InternalIP"),
                                     addressColumn("External-IP", "ExternalIP"),
                                     textColumn("OS-Image", {"status", "nodeInfo", "osImage"}, "<unknown>", 1),
                                     textColumn("Kernel-Version", {"status", "nodeInfo", "kernelVersion"}, "<unknown>", 1),
                                     textColumn("Container-Runtime", {"status", "nodeInfo", "containerRuntimeVersion"}, "<unknown>", 1)},
                         .subresources = {statusSubresource()},
                         .selectableFields = {"spec.unschedulable"},
                         .validateUpdate = validateNodeUpdate,
                         .defaults = defaultAllocatable};
  return kind;
}

}  // namespace podpass::api
