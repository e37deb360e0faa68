#include <gtest/gtest.h>

#include "api/codec.h"
#include "api/kinds.h"

// What a client finds filled in: spec api.md §8.2, §8.3.
namespace podpass::api {
namespace {

json::value parsed(std::string_view yaml) {
  const Result<json::value> value = parseYaml(yaml);
  EXPECT_TRUE(value);
  return value ? *value : json::value();
}

json::object defaulted(const Kind& kind, std::string_view yaml) {
  const Result<Decoded> decoded = decode(kind, "application/yaml", yaml);
  EXPECT_TRUE(decoded) << (decoded ? "" : decoded.error().sentence);
  if (!decoded) return {};
  json::object object = decoded->object;
  applyDefaults(kind, object);
  json::object twice = object;
  applyDefaults(kind, twice);
  EXPECT_EQ(twice, object) << "what is defaulted needs no defaults";
  return object;
}

json::value podOf(std::string_view spec) { return defaulted(podKind(), "spec: " + std::string(spec)).at("spec"); }

json::value containerOf(std::string_view fields) {
  return podOf("{containers: [{name: c, image: i:1, " + std::string(fields) + "}]}").at("containers").at(0);
}

TEST(Defaults, FillAPodAsKubernetesDoes) {
  EXPECT_EQ(podOf("{containers: [{name: c, image: i}]}"), parsed(R"({
      containers: [{name: c, image: i, imagePullPolicy: Always, resources: {}, terminationMessagePath: /dev/termination-log,
                    terminationMessagePolicy: File}],
      restartPolicy: Always, dnsPolicy: ClusterFirst, terminationGracePeriodSeconds: 30, enableServiceLinks: true,
      schedulerName: default-scheduler, securityContext: {}})"));
}

TEST(Defaults, PullWhatMayHaveChanged) {
  for (const auto& [image, policy] : {std::pair{"i", "Always"},
                                      {"i:latest", "Always"},
                                      {"host:5000/i", "Always"},
                                      {"host:5000/i:latest", "Always"},
                                      {"i:1", "IfNotPresent"},
                                      {"host:5000/i:1", "IfNotPresent"},
                                      {"i@sha256:00", "IfNotPresent"},
                                      {"i:1@sha256:00", "IfNotPresent"}})
    EXPECT_EQ(podOf("{containers: [{name: c, image: '" + std::string(image) + "'}]}").at("containers").at(0).at("imagePullPolicy"), policy)
        << image;
}

TEST(Defaults, FillContainers) {
  EXPECT_EQ(containerOf("ports: [{containerPort: 80}]").at("ports"), parsed("[{containerPort: 80, protocol: TCP}]"));
  EXPECT_EQ(
      containerOf("livenessProbe: {httpGet: {port: 80}}").at("livenessProbe"),
      parsed(
          "{httpGet: {port: 80, path: /, scheme: HTTP}, timeoutSeconds: 1, periodSeconds: 10, successThreshold: 1, failureThreshold: 3}"));
  EXPECT_EQ(containerOf("resources: {limits: {cpu: 1, memory: 1Gi}, requests: {cpu: 100m}}").at("resources").at("requests"),
            parsed("{cpu: 100m, memory: 1Gi}"));
  EXPECT_EQ(containerOf("env: [{name: E, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]").at("env"),
            parsed("[{name: E, valueFrom: {fieldRef: {fieldPath: metadata.name, apiVersion: v1}}}]"));
}

TEST(Defaults, FillVolumes) {
  EXPECT_EQ(
      podOf(
          "{volumes: [{name: a}, {name: b, secret: {secretName: s}}, {name: c, projected: {sources: [{serviceAccountToken: {path: t}}]}}]}")
          .at("volumes"),
      parsed("[{name: a, emptyDir: {}}, {name: b, secret: {secretName: s, defaultMode: 420}}, "
             "{name: c, projected: {defaultMode: 420, sources: [{serviceAccountToken: {path: t, expirationSeconds: 3600}}]}}]"));
}

TEST(Defaults, KnowTheOldNameOfTheServiceAccount) {
  for (const char* spec : {"{serviceAccountName: a}", "{serviceAccount: a}", "{serviceAccountName: a, serviceAccount: b}"}) {
    EXPECT_EQ(podOf(spec).at("serviceAccountName"), "a");
    EXPECT_EQ(podOf(spec).at("serviceAccount"), "a");
  }
}

TEST(Defaults, GiveHostNetworkItsPorts) {
  EXPECT_EQ(
      podOf("{hostNetwork: true, containers: [{name: c, image: i, ports: [{containerPort: 80}]}]}").at("containers").at(0).at("ports"),
      parsed("[{containerPort: 80, hostPort: 80, protocol: TCP}]"));
}

TEST(Defaults, DoNotOverrule) {
  EXPECT_EQ(podOf("{terminationGracePeriodSeconds: 0, enableServiceLinks: false}").at("terminationGracePeriodSeconds"), 0);
  EXPECT_EQ(podOf("{enableServiceLinks: false}").at("enableServiceLinks"), false);
}

TEST(Defaults, MoveStringDataIntoData) {
  const json::object secret = defaulted(secretKind(), "{data: {a: QQ==, b: Qg==}, stringData: {b: x, c: é}}");
  EXPECT_EQ(json::value(secret), parsed("{apiVersion: v1, kind: Secret, type: Opaque, data: {a: QQ==, b: eA==, c: w6k=}}"));
}

TEST(Defaults, FillTheSmallKinds) {
  EXPECT_EQ(defaulted(tokenRequestKind(), "{spec: {audiences: [a]}}").at("spec").at("expirationSeconds"), 3600);
  EXPECT_EQ(json::value(defaulted(roleBindingKind(),
                                  "{roleRef: {kind: Role, name: r}, subjects: [{kind: User, name: u}, {kind: ServiceAccount, name: s}]}")),
            parsed(R"({apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding,
              roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: r},
              subjects: [{kind: User, apiGroup: rbac.authorization.k8s.io, name: u}, {kind: ServiceAccount, name: s}]})"));
  EXPECT_EQ(defaulted(nodeKind(), "{status: {capacity: {cpu: 2}}}").at("status").at("allocatable"), parsed("{cpu: '2'}"));
  EXPECT_EQ(
      defaulted(mutatingWebhookConfigurationKind(),
                "{webhooks: [{name: a.b.c, clientConfig: {service: {name: s, namespace: ns}}, rules: [{}]}]}")
          .at("webhooks"),
      parsed(R"([{name: a.b.c, clientConfig: {service: {name: s, namespace: ns, port: 443}}, rules: [{scope: "*"}], failurePolicy: Fail,
              matchPolicy: Equivalent, namespaceSelector: {}, objectSelector: {}, timeoutSeconds: 10, reinvocationPolicy: Never}])"));
}

}  // namespace
}  // namespace podpass::api
