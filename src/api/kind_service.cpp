#include "api/fields.h"
#include "api/kinds.h"

namespace podpass::api {
namespace {

Fields port() {
  return {text("name", 1, "The name of this port within the service."),
          byDefault(R"("TCP")", oneOf({"SCTP", "TCP", "UDP"}, text("protocol", 2))),
          text("appProtocol", 6),
          required(between(1, 65535, integer("port", 3, "The port that will be exposed by this service."))),
          intOrString("targetPort", 4, "Number or name of the port to access on the pods."),
          count("nodePort", 5)};
}

}  // namespace

// Nodes list services for the environment of their pods; podpass routes none.
const Kind& serviceKind() {
  static const Kind kind{
      .group = "",
      .version = "v1",
      .kind = "Service",
      .plural = "services",
      .singular = "service",
      .shortNames = {"svc"},
      .categories = {"all"},
      .namespaced = true,
      .doc = "Service is a named abstraction of a software service.",
      .definition = "io.k8s.api.core.v1.Service",
      .fields = {object("spec", 2,
                        {keyedBy({"port", "protocol"},
                                 mergedBy("port", list("ports", 1, port(), "The list of ports that are exposed by this service."))),
                         atomic(map("selector", 2, Type::String, "Route traffic to pods with labels matching this selector.")),
                         text("clusterIP", 3, "The IP address of the service, or None."),
                         byDefault(R"("ClusterIP")", text("type", 4, "How the service is exposed.")),
                         texts("externalIPs", 5),
                         byDefault(R"("None")", text("sessionAffinity", 7)),
                         text("loadBalancerIP", 8),
                         texts("loadBalancerSourceRanges", 9),
                         text("externalName", 10),
                         text("externalTrafficPolicy", 11),
                         count("healthCheckNodePort", 12),
                         flag("publishNotReadyAddresses", 13),
                         object("sessionAffinityConfig", 14, {object("clientIP", 1, {integer("timeoutSeconds", 1)})}),
                         text("ipFamilyPolicy", 17),
                         texts("clusterIPs", 18),
                         texts("ipFamilies", 19),
                         boolean("allocateLoadBalancerNodePorts", 20),
                         text("loadBalancerClass", 21),
                         text("internalTrafficPolicy", 22),
                         text("trafficDistribution", 23)},
                        "The behavior of a service."),
                 object("status", 3,
                        {object("loadBalancer", 1,
                                {list("ingress", 1,
                                      {text("ip", 1), text("hostname", 2), text("ipMode", 3),
                                       list("ports", 4, {integer("port", 1), text("protocol", 2), text("error", 3)})})}),
                         mergedBy("type", list("conditions", 2, condition()))},
                        "Most recently observed status of the service.")},
      .columns = {textColumn("Type", {"spec", "type"}), textColumn("Cluster-IP", {"spec", "clusterIP"}, "<none>"), ageColumn()},
      .verbs = {"get", "list", "watch"}};
  return kind;
}

}  // namespace podpass::api
