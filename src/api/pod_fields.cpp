#include "api/codec.h"
#include "api/fields.h"

// PodSpec and PodStatus. The order of the spec's members is the order of messages: volumes, containers, the rest.
namespace podpass::api {
namespace {

Fields nodeSelectorTerm() {
  const Fields requirement{required(text("key", 1)),
                           required(oneOf({"DoesNotExist", "Exists", "Gt", "In", "Lt", "NotIn"}, text("operator", 2))), texts("values", 3)};
  return {list("matchExpressions", 1, requirement, "Requirements by node's labels."),
          list("matchFields", 2, requirement, "Requirements by node's fields.")};
}

Fields podAffinityTerm() {
  return {atomic(object("labelSelector", 1, labelSelector())),     texts("namespaces", 2),     required(text("topologyKey", 3)),
          atomic(object("namespaceSelector", 4, labelSelector())), texts("matchLabelKeys", 5), texts("mismatchLabelKeys", 6)};
}

Fields podAffinity() {
  return {list("requiredDuringSchedulingIgnoredDuringExecution", 1, podAffinityTerm()),
          list("preferredDuringSchedulingIgnoredDuringExecution", 2,
               {required(between(1, 100, count("weight", 1))), required(object("podAffinityTerm", 2, podAffinityTerm()))})};
}

Field affinity() {
  return object(
      "affinity", 18,
      {object("nodeAffinity", 1,
              {object("requiredDuringSchedulingIgnoredDuringExecution", 1, {required(list("nodeSelectorTerms", 1, nodeSelectorTerm()))}),
               list("preferredDuringSchedulingIgnoredDuringExecution", 2,
                    {required(between(1, 100, count("weight", 1))), required(atomic(object("preference", 2, nodeSelectorTerm())))})}),
       object("podAffinity", 2, podAffinity()), object("podAntiAffinity", 3, podAffinity())},
      "The pod's scheduling constraints.");
}

Field integers(std::string_view name, std::uint32_t number, std::string_view doc) {
  Field field = texts(name, number, doc);
  field.element = Type::Integer;
  return field;
}

Field profile(std::string_view name, std::uint32_t number) {
  return object(name, number,
                {required(oneOf({"Localhost", "RuntimeDefault", "Unconfined"}, text("type", 1))), text("localhostProfile", 2)});
}

Field podSecurityContext() {
  return byDefault("{}", object("securityContext", 14,
                                {object("seLinuxOptions", 1, {text("user", 1), text("role", 2), text("type", 3), text("level", 4)}),
                                 object("windowsOptions", 8,
                                        {text("gmsaCredentialSpecName", 1), text("gmsaCredentialSpec", 2), text("runAsUserName", 3),
                                         boolean("hostProcess", 4)}),
                                 atLeast(0, integer("runAsUser", 2, "The UID to run the entrypoint of the container processes.")),
                                 atLeast(0, integer("runAsGroup", 6, "The GID to run the entrypoint of the container processes.")),
                                 boolean("runAsNonRoot", 3, "The containers must run as a non-root user."),
                                 integers("supplementalGroups", 4, "Groups applied to the first process run in each container."),
                                 oneOf({"Merge", "Strict"}, text("supplementalGroupsPolicy", 12)),
                                 atLeast(0, integer("fsGroup", 5, "A group that owns the pod's volumes and that its processes belong to.")),
                                 list("sysctls", 7, {required(text("name", 1)), text("value", 2)}),
                                 oneOf({"Always", "OnRootMismatch"}, text("fsGroupChangePolicy", 9)), profile("seccompProfile", 10),
                                 profile("appArmorProfile", 11), text("seLinuxChangePolicy", 13)},
                                "Security attributes of the pod and common container settings."));
}

Field toleration() {
  return list(
      "tolerations", 22,
      {text("key", 1, "The taint key; empty matches all."), oneOf({"Equal", "Exists", "Gt", "Lt"}, text("operator", 2)), text("value", 3),
       oneOf({"NoSchedule", "PreferNoSchedule", "NoExecute"}, text("effect", 4)), integer("tolerationSeconds", 5)},
      "The pod's tolerations.");
}

Field topologySpread() {
  return keyedBy({"topologyKey", "whenUnsatisfiable"},
                 mergedBy("topologyKey", list("topologySpreadConstraints", 33,
                                              {required(atLeast(1, count("maxSkew", 1))), required(text("topologyKey", 2)),
                                               required(oneOf({"DoNotSchedule", "ScheduleAnyway"}, text("whenUnsatisfiable", 3))),
                                               atomic(object("labelSelector", 4, labelSelector())), integer("minDomains", 5),
                                               text("nodeAffinityPolicy", 6), text("nodeTaintsPolicy", 7), texts("matchLabelKeys", 8)},
                                              "How a group of pods ought to spread across topology domains.")));
}

Fields ephemeralContainer() {
  return joined(embedded(1, container()), {text("targetContainerName", 2, "The container that this one targets.")});
}

Fields whatRuns() {
  Field volumes = mergedBy("name", list("volumes", 1, volume(), "Volumes that can be mounted by containers of the pod."));
  volumes.retainKeys = true;
  return {std::move(volumes),
          mergedBy("name", required(list("containers", 2, container(), "List of containers of the pod. There must be at least one."))),
          mergedBy("name", list("initContainers", 20, container(), "Containers that run, one after the other, before the others start.")),
          mergedBy("name", list("ephemeralContainers", 34, ephemeralContainer(), "Containers added for debugging.")),
          byDefault(R"("Always")", oneOf({"Always", "OnFailure", "Never"}, text("restartPolicy", 3, "Always, OnFailure or Never."))),
          byDefault("30", integer("terminationGracePeriodSeconds", 4, "Seconds the pod needs to terminate gracefully.")),
          between(1, 2147483647, integer("activeDeadlineSeconds", 5, "Seconds the pod may be active on the node.")),
          byDefault(R"("ClusterFirst")",
                    oneOf({"ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"}, text("dnsPolicy", 6, "DNS policy for the pod."))),
          atomic(map("nodeSelector", 7, Type::String, "Labels that the node must have.")),
          checked(subdomainProblem, text("serviceAccountName", 8, "The service account that the pod runs as.")),
          text("serviceAccount", 9, "Deprecated: use serviceAccountName."),
          boolean("automountServiceAccountToken", 21, "Whether a service account token is mounted automatically."),
          checked(subdomainProblem, text("nodeName", 10, "The node that the pod runs on."))};
}

Fields resources() {
  return {map("limits", 1, Type::Quantity), map("requests", 2, Type::Quantity), list("claims", 3, {text("name", 1), text("request", 2)})};
}

Fields whereItRuns() {
  return {flag("hostNetwork", 11, "Use the host's network namespace."),
          flag("hostPID", 12, "Use the host's pid namespace."),
          flag("hostIPC", 13, "Use the host's ipc namespace."),
          boolean("shareProcessNamespace", 27, "Share a single process namespace between all containers."),
          podSecurityContext(),
          mergedBy("name", list("imagePullSecrets", 15, localObjectReference(), "Secrets for pulling the images.")),
          checked(labelProblem, text("hostname", 16, "The hostname of the pod.")),
          checked(labelProblem, text("subdomain", 17, "The subdomain of the pod's fully qualified hostname.")),
          affinity(),
          byDefault(R"("default-scheduler")", text("schedulerName", 19, "Which scheduler dispatches the pod.")),
          toleration(),
          mergedBy("ip", list("hostAliases", 23, {required(text("ip", 1)), texts("hostnames", 2)}, "Lines of the pod's hosts file.")),
          text("priorityClassName", 24),
          integer("priority", 25),
          object("dnsConfig", 26, {texts("nameservers", 1), texts("searches", 2), list("options", 3, {text("name", 1), text("value", 2)})}),
          list("readinessGates", 28, {required(text("conditionType", 1))}, "Conditions that must hold for the pod to be ready."),
          text("runtimeClassName", 29),
          byDefault("true", boolean("enableServiceLinks", 30, "Whether services appear in the environment.")),
          oneOf({"Never", "PreemptLowerPriority"}, text("preemptionPolicy", 31)),
          map("overhead", 32, Type::Quantity),
          topologySpread(),
          boolean("setHostnameAsFQDN", 35),
          object("os", 36, {required(oneOf({"linux", "windows"}, text("name", 1)))}),
          boolean("hostUsers", 37),
          mergedBy("name", list("schedulingGates", 38, {required(text("name", 1))}, "Values that block scheduling of the pod.")),
          mergedBy("name", list("resourceClaims", 39,
                                {required(text("name", 1)), text("resourceClaimName", 3), text("resourceClaimTemplateName", 4)})),
          object("resources", 40, resources()),
          text("hostnameOverride", 41),
          object("workloadRef", 42, {required(text("name", 1)), required(text("podGroup", 2)), text("podGroupReplicaKey", 3)}),
          object("schedulingGroup", 43, {text("podGroupName", 1)})};
}

Field containerState(std::string_view name, std::uint32_t number) {
  return object(name, number,
                {object("waiting", 1, {text("reason", 1), text("message", 2)}), object("running", 2, {time("startedAt", 1)}),
                 object("terminated", 3,
                        {integer("exitCode", 1), count("signal", 2), text("reason", 3), text("message", 4), time("startedAt", 5),
                         time("finishedAt", 6), text("containerID", 7)})});
}

Fields containerStatus() {
  return {text("name", 1, "Name of the container."),
          containerState("state", 2),
          containerState("lastState", 3),
          boolean("ready", 4, "Whether the container is passing its readiness check."),
          integer("restartCount", 5, "The number of times the container has been restarted."),
          evenEmpty(text("image", 6, "The image that the container is running.")),
          evenEmpty(text("imageID", 7)),
          text("containerID", 8),
          boolean("started", 9),
          map("allocatedResources", 10, Type::Quantity),
          object("resources", 11, resources()),
          mergedBy("mountPath", list("volumeMounts", 12,
                                     {text("name", 1), text("mountPath", 2), flag("readOnly", 3), text("recursiveReadOnly", 4),
                                      object("volumeStatus", 5, {object("image", 1, {text("imageRef", 1)})})})),
          object("user", 13, {object("linux", 1, {integer("uid", 1), integer("gid", 2), integers("supplementalGroups", 3, {})})}),
          mergedBy("name",
                   list("allocatedResourcesStatus", 14,
                        {text("name", 1),
                         mergedBy("resourceID", list("resources", 2, {text("resourceID", 1), text("health", 2), text("message", 6)}))})),
          text("stopSignal", 15)};
}

}  // namespace

const Fields& podSpec() {
  static const Fields fields = joined(whatRuns(), whereItRuns());
  return fields;
}

const Fields& podStatus() {
  static const Fields fields{
      count("observedGeneration", 17),
      text("phase", 1, "Pending, Running, Succeeded, Failed or Unknown."),
      mergedBy("type", list("conditions", 2,
                            {text("type", 1), count("observedGeneration", 7), text("status", 2), time("lastProbeTime", 3),
                             time("lastTransitionTime", 4), text("reason", 5), text("message", 6)},
                            "Current service state of pod.")),
      text("message", 3, "Why the pod is in this condition."),
      text("reason", 4, "A CamelCase word for why the pod is in this state, such as Evicted."),
      text("nominatedNodeName", 11),
      text("hostIP", 5, "IP address of the host."),
      atomic(mergedBy("ip", list("hostIPs", 16, {text("ip", 1)}))),
      text("podIP", 6, "IP address of the pod."),
      mergedBy("ip", list("podIPs", 12, {text("ip", 1)})),
      time("startTime", 7, "When the node acknowledged the pod."),
      list("initContainerStatuses", 10, containerStatus()),
      list("containerStatuses", 8, containerStatus(), "Statuses of the containers."),
      text("qosClass", 9, "Guaranteed, Burstable or BestEffort."),
      list("ephemeralContainerStatuses", 13, containerStatus()),
      text("resize", 14),
      mergedBy("name", list("resourceClaimStatuses", 15, {text("name", 1), text("resourceClaimName", 2)})),
      object("extendedResourceClaimStatus", 18,
             {list("requestMappings", 1, {text("containerName", 1), text("resourceName", 2), text("requestName", 3)}),
              text("resourceClaimName", 2)}),
      map("allocatedResources", 19, Type::Quantity),
      object("resources", 20, resources())};
  return fields;
}

}  // namespace podpass::api
