#include "api/field_ownership.h"

#include <gtest/gtest.h>

#include "api/codec.h"
#include "api/kinds.h"
#include "api/typed_merge.h"

namespace podpass::api {
namespace {

constexpr WallTime kNow{std::chrono::seconds(1'677'922'083)};

json::value parsed(std::string_view yaml) {
  const Result<json::value> value = parseYaml(yaml);
  EXPECT_TRUE(value) << yaml;
  return value ? *value : json::value();
}

// One object that several managers write; every step as the registry makes it, without the rest.
class Story {
 public:
  explicit Story(const Kind& kind) : kind_(kind) {}

  // A create or update by `manager`.
  void write(const std::string& manager, std::string_view yaml, const std::string& subresource = {}) {
    json::object next = parsed(yaml).as_object();
    Owners owners = ownersOf(object);
    recordUpdate(kind_, object, next, {manager, subresource, now}, owners);
    setOwners(next, std::move(owners));
    object = std::move(next);
  }
  // "" or the refusal.
  std::string apply(const std::string& manager, std::string_view yaml, bool force = false) {
    json::object config = parsed(yaml).as_object();
    config["apiVersion"] = kind_.apiVersion();
    config["kind"] = kind_.kind;
    Result<json::object> next = api::apply(kind_, object, json::value(std::move(config)), {manager, {}, now}, force);
    if (!next) {
      refusal = next.error();
      return refusal.sentence;
    }
    object = *std::move(next);
    return {};
  }
  // The object without what is bookkeeping.
  [[nodiscard]] json::value content() const {
    json::object rest = object;
    for (const char* name : {"apiVersion", "kind"}) rest.erase(name);
    makeObjectAt(rest, {"metadata"}).erase("managedFields");
    if (objectAt(rest, {"metadata"})->empty()) rest.erase("metadata");
    return json::value(std::move(rest));
  }
  // "curl Update {…}; m1 Apply {…}"
  [[nodiscard]] std::string owners() const {
    std::string text;
    for (const Owner& owner : ownersOf(object))
      text += (text.empty() ? "" : "; ") + owner.manager + " " + owner.operation + " " + json::serialize(toFieldsV1(owner.fields));
    return text;
  }

  json::object object;
  Error refusal;
  WallTime now = kNow;

 private:
  const Kind& kind_;
};

// ---- sets

TEST(FieldSet, IsReadAsItIsWritten) {
  const char* text = R"({"f:spec":{"f:containers":{"k:{\"name\":\"c\"}":{".":{},"f:image":{}}},"f:finalizers":{".":{},"v:\"x\"":{}}}})";
  const Result<FieldSet> set = parseFieldsV1(json::parse(text));
  ASSERT_TRUE(set);
  EXPECT_EQ(json::serialize(toFieldsV1(*set)), text);
  EXPECT_EQ(pathsOf(*set), (std::vector<std::string>{".spec.containers[name=\"c\"]", ".spec.containers[name=\"c\"].image",
                                                     ".spec.finalizers", ".spec.finalizers[=\"x\"]"}));
  for (const char* bad : {"[]", "7", R"({"f:a":1})", R"({"x":{}})", R"({"z:a":{}})"}) EXPECT_FALSE(parseFieldsV1(json::parse(bad))) << bad;
  std::string deep = "{}";
  for (int i = 0; i < 30; ++i) deep = R"({"f:a":)" + deep + "}";
  EXPECT_TRUE(parseFieldsV1(json::parse(deep)));
}

TEST(FieldSet, ObeysTheLawsOfSets) {
  const auto set = [](std::string_view text) { return *parseFieldsV1(json::parse(text)); };
  const FieldSet a = set(R"({"f:x":{".":{},"f:y":{},"f:z":{}},"f:w":{}})"), b = set(R"({"f:x":{"f:y":{}},"f:v":{}})");
  EXPECT_EQ(unionOf(a, b), set(R"({"f:x":{".":{},"f:y":{},"f:z":{}},"f:w":{},"f:v":{}})"));
  EXPECT_EQ(intersectionOf(a, b), set(R"({"f:x":{"f:y":{}}})"));
  EXPECT_EQ(differenceOf(a, b), set(R"({"f:x":{".":{},"f:z":{}},"f:w":{}})"));
  EXPECT_TRUE(differenceOf(a, a).empty());
  EXPECT_EQ(unionOf(differenceOf(a, b), intersectionOf(a, b)), a);
}

// ---- plain writes

TEST(Ownership, IsThatOfKubernetesForAPod) {  // spec api.md §7.4
  const json::object pod = parsed(R"({metadata: {name: p, uid: u, creationTimestamp: x, labels: {a: b}, generateName: p-},
      spec: {containers: [{name: c, image: i, resources: {}, ports: [{containerPort: 80, protocol: TCP}]}], restartPolicy: Always,
             nodeSelector: {x: w}, tolerations: [{operator: Exists}]}})")
                               .as_object();
  EXPECT_EQ(json::serialize(toFieldsV1(changesBetween(podKind(), {}, pod).set)),
            R"({"f:metadata":{"f:generateName":{},"f:labels":{".":{},"f:a":{}}},)"
            R"("f:spec":{"f:containers":{"k:{\"name\":\"c\"}":{".":{},"f:image":{},"f:name":{},)"
            R"("f:ports":{".":{},"k:{\"containerPort\":80,\"protocol\":\"TCP\"}":{".":{},"f:containerPort":{},"f:protocol":{}}},)"
            R"("f:resources":{}}},"f:nodeSelector":{},"f:restartPolicy":{},"f:tolerations":{}}})");
}

TEST(Ownership, GoesToWhoChangesAndIsLostWithTheField) {
  Story story(configMapKind());
  story.write("curl", "data: {k: v, z: v}");
  EXPECT_EQ(story.owners(), R"(curl Update {"f:data":{".":{},"f:k":{},"f:z":{}}})");
  story.now += std::chrono::seconds(5);
  story.write("other", "data: {k: w, z: v}");
  EXPECT_EQ(story.owners(), R"(curl Update {"f:data":{".":{},"f:z":{}}}; other Update {"f:data":{"f:k":{}}})");
  story.write("third", "data: {k: w}");
  EXPECT_EQ(story.owners(), R"(curl Update {"f:data":{}}; other Update {"f:data":{"f:k":{}}})");
}

TEST(Ownership, KeepsItsTimeWhenNothingChanges) {
  Story story(configMapKind());
  story.write("curl", "data: {k: v}");
  const json::object before = story.object;
  story.now += std::chrono::seconds(100);
  story.write("other", json::serialize(before));
  EXPECT_EQ(story.object, before);
}

TEST(Ownership, IsPerSubresource) {
  Story story(podKind());
  story.write("a", "spec: {nodeName: n}");
  story.write("a", "{spec: {nodeName: n}, status: {phase: Running}}", "status");
  ASSERT_EQ(ownersOf(story.object).size(), 2u);
  EXPECT_EQ(ownersOf(story.object)[1].subresource, "status");
  EXPECT_EQ(json::serialize(toFieldsV1(ownersOf(story.object)[1].fields)), R"({"f:status":{"f:phase":{}}})");
}

TEST(Ownership, RemembersTenUpdaters) {
  Story story(configMapKind());
  std::string data;
  for (int i = 0; i < 25; ++i) {
    data += "k" + std::to_string(i) + ": v, ";
    story.now += std::chrono::seconds(1);
    story.write("m" + std::to_string(i), "data: {" + data + "}");
  }
  const Owners owners = ownersOf(story.object);
  ASSERT_EQ(owners.size(), 10u);
  EXPECT_EQ(owners[0].manager, "ancient-changes");
  EXPECT_EQ(owners[9].manager, "m24");
  FieldSet all;
  for (const Owner& owner : owners) all = unionOf(all, owner.fields);
  EXPECT_EQ(pathsOf(all).size(), 26u) << "no field is forgotten";
}

TEST(Ownership, TakesNoNonsenseFromClients) {
  json::object object = parsed(R"({metadata: {managedFields: [{}, 7, {manager: a, operation: Steal, fieldsV1: {}},
      {manager: b, operation: Update, fieldsV1: {x: {}}}, {manager: c, operation: Update, apiVersion: v1, fieldsV1: {"f:data": {}}}]}})")
                            .as_object();
  ASSERT_EQ(ownersOf(object).size(), 1u);
  EXPECT_EQ(ownersOf(object)[0].manager, "c");
}

// ---- apply

TEST(Apply, MakesAndChangesAndTakesAway) {
  Story story(configMapKind());
  EXPECT_EQ(story.apply("m", "{metadata: {name: a, labels: {x: '1'}}, data: {k: v, z: v}}"), "");
  EXPECT_EQ(story.owners(), R"(m Apply {"f:data":{"f:k":{},"f:z":{}},"f:metadata":{"f:labels":{"f:x":{}}}})");
  EXPECT_EQ(story.apply("m", "{metadata: {name: a}, data: {k: w}}"), "");
  EXPECT_EQ(story.content(), parsed("{metadata: {name: a}, data: {k: w}}"));
  EXPECT_EQ(story.owners(), R"(m Apply {"f:data":{"f:k":{}}})");
}

TEST(Apply, ChangesNothingWhenAppliedAgain) {
  Story story(podKind());
  const char* config = "{metadata: {name: p}, spec: {containers: [{name: c, image: i, env: [{name: A, value: b}]}]}}";
  EXPECT_EQ(story.apply("m", config), "");
  const json::object before = story.object;
  story.now += std::chrono::seconds(100);
  EXPECT_EQ(story.apply("m", config), "");
  EXPECT_EQ(story.object, before) << "not even the time";
}

TEST(Apply, NamesEveryConflict) {  // spec api.md §7.5
  Story story(configMapKind());
  story.write("curl", "data: {k: v, z: v}");
  EXPECT_EQ(story.apply("m1", "data: {k: w}"), "Apply failed with 1 conflict: conflict with \"curl\" using v1: .data.k");
  EXPECT_EQ(story.refusal.reason, Reason::Conflict);
  ASSERT_EQ(story.refusal.causes.size(), 1u);
  EXPECT_EQ(story.refusal.causes[0].reason, "FieldManagerConflict");
  EXPECT_EQ(story.refusal.causes[0].message, "conflict with \"curl\" using v1");
  EXPECT_EQ(story.refusal.causes[0].field, ".data.k");
  EXPECT_EQ(story.apply("m1", "data: {k: w, z: w}"),
            "Apply failed with 2 conflicts: conflicts with \"curl\" using v1:\n- .data.k\n- .data.z");
  EXPECT_EQ(story.content(), parsed("data: {k: v, z: v}")) << "a refusal leaves no trace";
}

TEST(Apply, SharesWhatIsEqualAndTakesWhatItIsForcedTo) {
  Story story(configMapKind());
  story.write("curl", "data: {k: v, x: v}");
  EXPECT_EQ(story.apply("m1", "data: {k: v}"), "") << "the same value is no conflict";
  EXPECT_EQ(story.owners(), R"(m1 Apply {"f:data":{"f:k":{}}}; curl Update {"f:data":{".":{},"f:k":{},"f:x":{}}})");
  EXPECT_EQ(story.apply("m1", "data: {k: w, x: w}", true), "");
  EXPECT_EQ(story.owners(), R"(m1 Apply {"f:data":{"f:k":{},"f:x":{}}}; curl Update {"f:data":{}})");
}

TEST(Apply, LeavesWhatSomeoneElseHoldsToo) {
  Story story(configMapKind());
  EXPECT_EQ(story.apply("a", "data: {shared: x, mine: x}"), "");
  EXPECT_EQ(story.apply("b", "data: {shared: x}"), "");
  EXPECT_EQ(story.apply("a", "metadata: {labels: {l: x}}"), "");
  EXPECT_EQ(story.content(), parsed("{metadata: {labels: {l: x}}, data: {shared: x}}"));
  EXPECT_EQ(story.apply("b", "{}"), "");
  EXPECT_EQ(story.content(), parsed("metadata: {labels: {l: x}}"));
}

TEST(Apply, MergesKeyedListsByAllTheirKeys) {
  Story story(podKind());
  story.write("curl", "spec: {containers: [{name: a, image: i}, {name: b, image: i, ports: [{containerPort: 53, protocol: UDP}]}]}");
  EXPECT_EQ(
      story.apply("m",
                  "spec: {containers: [{name: c, image: j}, {name: b, ports: [{containerPort: 53}]}], tolerations: [{operator: Exists}]}"),
      "");
  EXPECT_EQ(story.content(), parsed(R"(spec: {containers: [{name: a, image: i}, {name: c, image: j},
      {name: b, image: i, ports: [{containerPort: 53, protocol: UDP}, {containerPort: 53}]}], tolerations: [{operator: Exists}]})"));
  EXPECT_EQ(story.apply("m", "spec: {containers: [{name: b, image: k}]}"),
            "Apply failed with 1 conflict: conflict with \"curl\" using v1: .spec.containers[name=\"b\"].image");
  EXPECT_EQ(story.apply("m", "{}"), "");
  EXPECT_EQ(story.content(),
            parsed("spec: {containers: [{name: a, image: i}, {name: b, image: i, ports: [{containerPort: 53, protocol: UDP}]}]}"));
}

TEST(Apply, MergesSetsAndReplacesWholes) {
  Story story(podKind());
  story.write("curl", "{metadata: {finalizers: [a/b]}, spec: {nodeSelector: {x: w}}}");
  EXPECT_EQ(story.apply("m", "metadata: {finalizers: [c/d]}"), "");
  EXPECT_EQ(story.content(), parsed("{metadata: {finalizers: [a/b, c/d]}, spec: {nodeSelector: {x: w}}}"));
  EXPECT_EQ(story.apply("m", "spec: {nodeSelector: {z: w}}"),
            "Apply failed with 1 conflict: conflict with \"curl\" using v1: .spec.nodeSelector");
  EXPECT_EQ(story.apply("m", "spec: {nodeSelector: {z: w}}", true), "");
  EXPECT_EQ(story.content(), parsed("{metadata: {finalizers: [a/b]}, spec: {nodeSelector: {z: w}}}"));
}

TEST(Apply, KnowsThatSomeoneWasThereBefore) {
  Story story(configMapKind());
  story.object = parsed("data: {k: v}").as_object();
  EXPECT_EQ(story.apply("m", "data: {k: w}"), "Apply failed with 1 conflict: conflict with \"before-first-apply\" using v1: .data.k");
}

TEST(Apply, LetsKubectlTakeOverFromItself) {
  const char* live =
      R"({metadata: {annotations: {kubectl.kubernetes.io/last-applied-configuration: '{"data":{"k":"v"}}'}}, data: {k: v, z: v}})";
  for (const auto& [manager, config, refusal] :
       {std::tuple{"kubectl", "data: {k: w}", ""},
        {"kubectl", "data: {z: w}", "Apply failed with 1 conflict: conflict with \"kubectl-client-side-apply\" using v1: .data.z"},
        {"flux", "data: {k: w}", "Apply failed with 1 conflict: conflict with \"kubectl-client-side-apply\" using v1: .data.k"}}) {
    Story story(configMapKind());
    story.write("kubectl-client-side-apply", live);
    EXPECT_EQ(story.apply(manager, config), refusal);
  }
}

TEST(Apply, RefusesWhatIsNoConfiguration) {
  const auto refusal = [](std::string_view yaml) {
    const Result<json::object> done = api::apply(podKind(), {}, parsed(yaml), {"m", {}, kNow}, false);
    return done ? "" : done.error().sentence;
  };
  const std::string head = "apiVersion: v1\nkind: Pod\n";
  EXPECT_EQ(refusal("[]"), "error decoding YAML: the patch is not an object");
  EXPECT_EQ(refusal("kind: Pod"), "Incorrect version specified in apply patch. Specified patch version: , expected: v1");
  EXPECT_EQ(refusal("{apiVersion: v1, kind: Secret}"), "the kind in the apply patch (Secret) does not match the expected kind (Pod)");
  EXPECT_EQ(refusal(head + "metadata: {managedFields: []}"), "metadata.managedFields must be nil");
  EXPECT_EQ(refusal(head + "metadata: {name: a, namespace: ns}\nspec: {zork: 1}"),
            "failed to create typed patch object (ns/a; /v1, Kind=Pod): .spec.zork: field not declared in schema");
  EXPECT_EQ(refusal(head + "spec: {containers: [{name: c}, {name: c}]}"), ".spec.containers: duplicate entries for key [name=\"c\"]");
  EXPECT_EQ(refusal(head + "spec: {containers: [{image: i}]}"),
            ".spec.containers: associative list with keys has an element that omits key field");
  EXPECT_NE(refusal(head + "spec: {containers: {}}").find("cannot unmarshal object"), std::string::npos);
}

}  // namespace
}  // namespace podpass::api
