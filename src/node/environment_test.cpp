#include "node/environment.h"

#include <gtest/gtest.h>

#include "node/test_client.h"

namespace podpass::node {
namespace {

using Variables = std::vector<std::pair<std::string, std::string>>;

const json::object kPod = json::parse(R"({"metadata":{"name":"web","namespace":"shop","uid":"u-1",
    "labels":{"b":"2","a":"1"},"annotations":{"note":"say \"hi\"\n\u00e9\u200b\u0001"}},
  "spec":{"nodeName":"n1","serviceAccountName":"robot","containers":[
    {"name":"main","resources":{"limits":{"cpu":"1250m","memory":"64Mi"},"requests":{"cpu":"250m","ephemeral-storage":"1.5G"}}},
    {"name":"bare"}],"initContainers":[{"name":"first","resources":{"limits":{"cpu":2}}}]}})")
                              .as_object();

std::string outcome(const Result<std::string>& value) { return value ? *value : "error: " + value.error().sentence; }

TEST(Expansion, IsKubernetes) {
  const Variables known = {{"A", "1"}, {"B", "$(A)"}, {"E", ""}};
  const std::pair<const char*, const char*> cases[] = {
      {"", ""},           {"plain", "plain"}, {"$(A)", "1"},          {"x$(A)y$(A)", "x1y1"}, {"$(B)", "$(A)"},   {"$(E)", ""},
      {"$(NO)", "$(NO)"}, {"$$(A)", "$(A)"},  {"$$$(A)", "$1"},       {"$$$$(A)", "$$(A)"},   {"$A", "$A"},       {"cost $5", "cost $5"},
      {"end$", "end$"},   {"$(A", "$(A"},     {"$(A$(A)", "$(A$(A)"}, {"$()", "$()"},         {"$)(A)", "$)(A)"}, {"$(A)$", "1$"},
      {"$$", "$"}};
  for (const auto& [text, expected] : cases) EXPECT_EQ(expand(text, known), expected) << text;
  EXPECT_EQ(outcome(expandSubPath("$(A)/x", known)), "1/x");
  EXPECT_EQ(outcome(expandSubPath("$(Z)/$(Y)/$(Z)", known)), "error: missing value for Y, Z");
}

TEST(FieldValue, ReadsWhatTheDownwardApiShows) {
  PodFacts facts;
  facts.hostIp = "10.0.0.1";
  facts.podIp = "10.1.0.9";
  facts.podIps = {"10.1.0.9", "fd00::9"};
  const std::pair<const char*, const char*> cases[] = {{"metadata.name", "web"},
                                                       {"metadata.namespace", "shop"},
                                                       {"metadata.uid", "u-1"},
                                                       {"metadata.labels", "a=\"1\"\nb=\"2\""},
                                                       {"metadata.annotations", "note=\"say \\\"hi\\\"\\n\u00e9\\u200b\\x01\""},
                                                       {"metadata.labels['a']", "1"},
                                                       {"metadata.labels['none']", ""},
                                                       {"metadata.annotations['note']", "say \"hi\"\n\u00e9\u200b\x01"},
                                                       {"spec.nodeName", "n1"},
                                                       {"spec.serviceAccountName", "robot"},
                                                       {"status.hostIP", "10.0.0.1"},
                                                       {"status.podIP", "10.1.0.9"},
                                                       {"status.podIPs", "10.1.0.9,fd00::9"},
                                                       {"metadata.labels['", "error: unsupported fieldPath: metadata.labels['"},
                                                       {"metadata.labels[a]", "error: unsupported fieldPath: metadata.labels[a]"},
                                                       {"spec.containers", "error: unsupported fieldPath: spec.containers"},
                                                       {"", "error: unsupported fieldPath: "}};
  for (const auto& [path, expected] : cases) EXPECT_EQ(outcome(fieldValue(kPod, path, facts)), expected);
}

TEST(ResourceValue, RoundsUpAndFallsBackOnTheNode) {
  const Allocatable node{4000, 8LL << 30, 100'000'000'000};
  struct Case {
    const char* container;
    const char* resource;
    const char* divisor;
    const char* expected;
  };
  const Case cases[] = {{"main", "limits.cpu", "0", "2"},
                        {"main", "limits.cpu", "1m", "1250"},
                        {"main", "requests.cpu", "", "1"},
                        {"main", "limits.memory", "1Mi", "64"},
                        {"main", "limits.memory", "1Gi", "1"},
                        {"main", "limits.memory", "1M", "68"},
                        {"main", "requests.ephemeral-storage", "1", "1500000000"},
                        {"first", "limits.cpu", "1", "2"},
                        {"bare", "limits.cpu", "1", "4"},
                        {"bare", "limits.memory", "1Gi", "8"},
                        {"bare", "limits.ephemeral-storage", "1G", "100"},
                        {"bare", "requests.memory", "1", "0"},
                        {"bare", "limits.hugepages-2Mi", "1", "0"},
                        {"nobody", "limits.cpu", "1", "error: container nobody not found"},
                        {"main", "limits.gpu", "1", "error: unsupported container resource : limits.gpu"},
                        {"main", "limits", "1", "error: unsupported container resource : limits"},
                        {"main", "limits.cpu", "x", "error: the divisor \"x\" is no quantity"}};
  for (const Case& c : cases) {
    json::object selector{{"containerName", c.container}, {"resource", c.resource}};
    if (*c.divisor != '\0') selector["divisor"] = c.divisor;
    EXPECT_EQ(outcome(resourceValue(kPod, selector, "", node)), c.expected) << c.container << " " << c.resource << " " << c.divisor;
  }
}

TEST(Quantity, ReadsEverySuffixAndRefusesNonsense) {
  const std::pair<const char*, std::int64_t> good[] = {
      {"0", 0},       {"1", 1},         {"1.5", 2},    {"100m", 1},   {"1k", 1000},
      {"1Ki", 1024},  {"2Mi", 2 << 20}, {"1e3", 1000}, {"1E3", 1000}, {"5E", 5'000'000'000'000'000'000},
      {"1500e-3", 2}, {"1Gi", 1 << 30}, {"+7", 7}};
  for (const auto& [text, value] : good) {
    const Result<std::int64_t> units = quantityUnits(text);
    ASSERT_TRUE(units) << text;
    EXPECT_EQ(*units, value) << text;
  }
  for (const char* bad : {"", "x", "1x", "-1", "1KiB", "Ki", ".", "1e", "1e999", "999999999999999999E", "8Ei", "1 Gi", "1e999999999"})
    EXPECT_FALSE(quantityUnits(bad)) << bad;
}

class EnvironmentTest : public testing::Test {
 protected:
  EnvironmentTest() {
    client.put("configmaps", R"({"metadata":{"namespace":"shop","name":"conf"},"data":{"KEY":"from-map","SHARED":"map","bad name":"x"}})");
    client.put("secrets",
               R"({"metadata":{"namespace":"shop","name":"sec"},"data":{"SHARED":"c2VjcmV0","PW":"aHVudGVyMg==","BIN":"/w=="}})");
  }
  std::string built(std::string_view container, const PodFacts& facts = {}) {
    const Result<Variables> variables = environment(client, kPod, json::parse(container).as_object(), facts);
    if (!variables) return "error: " + variables.error().sentence;
    std::string text;
    for (const auto& [name, value] : *variables) text += name + "=" + value + ";";
    return text;
  }
  TestClient client;
};

TEST_F(EnvironmentTest, LaterWinsAndEachNameComesOnce) {
  EXPECT_EQ(built(R"json({"name":"main","envFrom":[{"configMapRef":{"name":"conf"}},{"prefix":"P_","configMapRef":{"name":"conf"}}],
      "env":[{"name":"KEY","value":"own"},{"name":"X","value":"$(KEY)-$(SHARED)-$(P_KEY)-$(LATER)"},{"name":"LATER","value":"$(X)"},{"name":"EMPTY"}]})json"),
            "KEY=own;SHARED=map;P_KEY=from-map;P_SHARED=map;X=own-map-from-map-$(LATER);LATER=own-map-from-map-$(LATER);EMPTY=;");
}

TEST_F(EnvironmentTest, ReadsKeysFieldsAndResources) {
  EXPECT_EQ(built(R"({"name":"main","env":[{"name":"PW","valueFrom":{"secretKeyRef":{"name":"sec","key":"PW"}}},
      {"name":"K","valueFrom":{"configMapKeyRef":{"name":"conf","key":"KEY"}}},
      {"name":"NODE","valueFrom":{"fieldRef":{"fieldPath":"spec.nodeName"}}},
      {"name":"CPU","valueFrom":{"resourceFieldRef":{"resource":"limits.cpu"}}},
      {"name":"GONE","valueFrom":{"secretKeyRef":{"name":"none","key":"x","optional":true}}},
      {"name":"GONE2","valueFrom":{"configMapKeyRef":{"name":"conf","key":"x","optional":true}}}],
      "envFrom":[{"secretRef":{"name":"none","optional":true}}]})"),
            "PW=hunter2;K=from-map;NODE=n1;CPU=2;");
}

TEST_F(EnvironmentTest, SaysWhatIsMissing) {
  const std::pair<const char*, const char*> cases[] = {
      {R"({"env":[{"name":"A","valueFrom":{"secretKeyRef":{"name":"s","key":"k"}}}]})", "error: secret \"s\" not found"},
      {R"({"env":[{"name":"A","valueFrom":{"configMapKeyRef":{"name":"c","key":"k"}}}]})", "error: configmap \"c\" not found"},
      {R"({"env":[{"name":"A","valueFrom":{"secretKeyRef":{"name":"sec","key":"k"}}}]})", "error: couldn't find key k in Secret shop/sec"},
      {R"({"env":[{"name":"A","valueFrom":{"configMapKeyRef":{"name":"conf","key":"k"}}}]})",
       "error: couldn't find key k in ConfigMap shop/conf"},
      {R"({"envFrom":[{"secretRef":{"name":"s"}}]})", "error: secret \"s\" not found"},
      {R"({"envFrom":[{"secretRef":{"name":"sec"}}]})",
       "error: key BIN in Secret shop/sec is not text and cannot be an environment variable"},
      {R"({"env":[{"name":"A","valueFrom":{"fieldRef":{"fieldPath":"metadata.labels"}}}]})",
       "error: unsupported fieldPath: metadata.labels"},
      {R"({"env":[{"name":"A","valueFrom":{}}]})", "error: environment variable with an unsupported valueFrom"}};
  for (const auto& [container, expected] : cases) EXPECT_EQ(built(container), expected);
  client.fail("get", "secrets", {Reason::Forbidden, "secrets \"s\" is forbidden"});
  EXPECT_EQ(built(R"({"env":[{"name":"A","valueFrom":{"secretKeyRef":{"name":"s","key":"k","optional":true}}}]})"),
            "error: secrets \"s\" is forbidden");
}

TEST_F(EnvironmentTest, AddsTheApiServersServiceUnlessSetAlready) {
  PodFacts facts;
  facts.apiHost = "fd00::1";
  facts.apiPort = "6443";
  EXPECT_EQ(
      built(
          R"json({"env":[{"name":"URL","value":"https://$(KUBERNETES_SERVICE_HOST)"},{"name":"KUBERNETES_SERVICE_PORT","value":"1"}]})json",
          facts),
      "URL=https://fd00::1;KUBERNETES_SERVICE_PORT=1;KUBERNETES_PORT=tcp://[fd00::1]:6443;KUBERNETES_PORT_6443_TCP=tcp://[fd00::1]:6443;"
      "KUBERNETES_PORT_6443_TCP_ADDR=fd00::1;KUBERNETES_PORT_6443_TCP_PORT=6443;KUBERNETES_PORT_6443_TCP_PROTO=tcp;"
      "KUBERNETES_SERVICE_HOST=fd00::1;KUBERNETES_SERVICE_PORT_HTTPS=6443;");
}

}  // namespace
}  // namespace podpass::node
