#include "api/discovery.h"

#include <gtest/gtest.h>

#include "api/table.h"

namespace podpass::api {
namespace {

const Kind kPod{
    .group = "",
    .version = "v1",
    .kind = "Pod",
    .plural = "pods",
    .singular = "pod",
    .shortNames = {"po"},
    .categories = {"all"},
    .namespaced = true,
    .doc = "Pod is a collection of containers.",
    .definition = "io.k8s.api.core.v1.Pod",
    .fields = {{.name = "spec",
                .type = Type::Object,
                .doc = "What is wanted.",
                .of = {{.name = "containers",
                        .type = Type::List,
                        .of = {{.name = "name", .required = true},
                               {.name = "ports",
                                .type = Type::List,
                                .of = {{.name = "containerPort", .type = Type::Integer}, {.name = "protocol"}},
                                .mergeKey = "containerPort",
                                .mapKeys = {"containerPort", "protocol"}}},
                        .required = true,
                        .mergeKey = "name"},
                       {.name = "volumes", .type = Type::List, .of = {{.name = "name"}}, .mergeKey = "name", .retainKeys = true},
                       {.name = "nodeSelector", .type = Type::Map, .atomic = true},
                       {.name = "restartPolicy", .byDefault = R"("Always")", .required = true, .oneOf = {"Always", "Never"}}}}},
    .columns =
        {{.name = "Ready", .cell = [](const json::object&, WallTime) { return json::value("0/1"); }},
         {.name = "IP", .priority = 1, .doc = "Its address.", .cell = [](const json::object&, WallTime) { return json::value("<none>"); }}},
    .subresources = {{.name = "status", .kind = "", .verbs = {"get", "patch", "update"}},
                     {.name = "eviction", .kind = "Eviction", .group = "policy", .version = "v1", .verbs = {"create"}}}};

const Kind kLease{.group = "coordination.k8s.io",
                  .version = "v1",
                  .kind = "Lease",
                  .plural = "leases",
                  .singular = "lease",
                  .namespaced = true,
                  .definition = "io.k8s.api.coordination.v1.Lease",
                  .fields = {{.name = "spec", .type = Type::Object, .of = {{.name = "renewTime", .type = Type::MicroTime}}}}};

const Kind kReview{.group = "authentication.k8s.io",
                   .version = "v1",
                   .kind = "TokenReview",
                   .plural = "tokenreviews",
                   .singular = "tokenreview",
                   .isVirtual = true,
                   .definition = "io.k8s.api.authentication.v1.TokenReview"};

Kinds kinds() { return {&kPod, &kLease, &kReview}; }

json::object parsed(const std::string& text) { return json::parse(text).as_object(); }

TEST(LegacyDiscovery, ReadsAsKubernetesWritesIt) {
  EXPECT_EQ(
      legacyVersions("192.0.2.2:6443"),
      R"({"kind":"APIVersions","versions":["v1"],"serverAddressByClientCIDRs":[{"clientCIDR":"0.0.0.0/0","serverAddress":"192.0.2.2:6443"}]})");
  EXPECT_EQ(
      groupList({&kPod, &kLease}),
      R"({"kind":"APIGroupList","apiVersion":"v1","groups":[{"name":"coordination.k8s.io","versions":[{"groupVersion":"coordination.k8s.io/v1","version":"v1"}],"preferredVersion":{"groupVersion":"coordination.k8s.io/v1","version":"v1"}}]})");
  EXPECT_EQ(
      *groupDocument(kinds(), "coordination.k8s.io"),
      R"({"kind":"APIGroup","apiVersion":"v1","name":"coordination.k8s.io","versions":[{"groupVersion":"coordination.k8s.io/v1","version":"v1"}],"preferredVersion":{"groupVersion":"coordination.k8s.io/v1","version":"v1"}})");
  EXPECT_EQ(
      *resourceList(kinds(), "coordination.k8s.io", "v1"),
      R"({"kind":"APIResourceList","apiVersion":"v1","groupVersion":"coordination.k8s.io/v1","resources":[{"name":"leases","singularName":"lease","namespaced":true,"kind":"Lease","verbs":["create","delete","deletecollection","get","list","patch","update","watch"]}]})");
}

TEST(LegacyDiscovery, ListsSubresourcesWithTheKindOfTheirBody) {
  const json::object document = parsed(*resourceList(kinds(), "", "v1"));
  const json::array& resources = *arrayAt(document, {"resources"});
  ASSERT_EQ(resources.size(), 3U);
  EXPECT_EQ(
      json::serialize(resources[0]),
      R"({"name":"pods","singularName":"pod","namespaced":true,"kind":"Pod","verbs":["create","delete","deletecollection","get","list","patch","update","watch"],"shortNames":["po"],"categories":["all"]})");
  EXPECT_EQ(json::serialize(resources[1]),
            R"({"name":"pods/status","singularName":"","namespaced":true,"kind":"Pod","verbs":["get","patch","update"]})");
  EXPECT_EQ(
      json::serialize(resources[2]),
      R"({"name":"pods/eviction","singularName":"","namespaced":true,"group":"policy","version":"v1","kind":"Eviction","verbs":["create"]})");
}

TEST(LegacyDiscovery, KnowsNoOtherGroups) {
  EXPECT_EQ(groupDocument(kinds(), "apps").error().reason, Reason::NotFound);
  EXPECT_EQ(groupDocument(kinds(), "").error().reason, Reason::NotFound);
  EXPECT_EQ(resourceList(kinds(), "coordination.k8s.io", "v2").error().reason, Reason::NotFound);
}

TEST(AggregatedDiscovery, AgreesWithTheLegacyOne) {
  EXPECT_EQ(
      aggregatedDiscovery({&kPod, &kLease}, false, "v2beta1"),
      R"({"kind":"APIGroupDiscoveryList","apiVersion":"apidiscovery.k8s.io/v2beta1","metadata":{},"items":[{"metadata":{"name":"coordination.k8s.io","creationTimestamp":null},"versions":[{"version":"v1","freshness":"Current","resources":[{"resource":"leases","responseKind":{"group":"coordination.k8s.io","version":"v1","kind":"Lease"},"scope":"Namespaced","singularResource":"lease","verbs":["create","delete","deletecollection","get","list","patch","update","watch"]}]}]}]})");
  const json::object core = parsed(aggregatedDiscovery(kinds(), true, "v2"));
  EXPECT_EQ(textAt(core, {"apiVersion"}), "apidiscovery.k8s.io/v2");
  ASSERT_EQ(arrayAt(core, {"items"})->size(), 1U);
  const json::value& item = (*arrayAt(core, {"items"}))[0];
  EXPECT_EQ(json::serialize(item.at("metadata")), R"({"creationTimestamp":null})");
  EXPECT_EQ(json::serialize(item.at_pointer("/versions/0/resources/0/subresources/1")),
            R"({"subresource":"eviction","responseKind":{"group":"policy","version":"v1","kind":"Eviction"},"verbs":["create"]})");
  const json::object groups = parsed(aggregatedDiscovery(kinds(), false, "v2"));
  EXPECT_EQ(json::serialize(json::value(groups).at_pointer("/items/1/versions/0/resources/0/scope")), R"("Cluster")");
  EXPECT_EQ(json::serialize(json::value(groups).at_pointer("/items/1/versions/0/resources/0/verbs")), R"(["create"])");
}

// Every $ref below `value` must name a definition that is there: kubectl refuses the whole document otherwise.
void expectResolved(const json::value& value, const json::object& definitions, std::string_view prefix) {
  if (const json::array* list = value.if_array())
    for (const json::value& item : *list) expectResolved(item, definitions, prefix);
  if (!value.is_object()) return;
  for (const auto& [name, member] : value.get_object()) {
    if (name != "$ref" || !member.is_string()) {
      expectResolved(member, definitions, prefix);
      continue;
    }
    const std::string_view target = member.get_string();
    ASSERT_TRUE(target.starts_with(prefix)) << target;
    EXPECT_TRUE(definitions.contains(target.substr(prefix.size()))) << target;
  }
}

TEST(OpenApi, ReferencesOnlyWhatItDefines) {
  const json::object v2 = openApiV2Document(kinds());
  expectResolved(v2, *objectAt(v2, {"definitions"}), "#/definitions/");
  for (const std::string_view apiVersion : {"v1", "coordination.k8s.io/v1", "authentication.k8s.io/v1"}) {
    const json::object v3 = openApiV3Document(kinds(), apiVersion);
    expectResolved(v3, *objectAt(v3, {"components", "schemas"}), "#/components/schemas/");
  }
}

TEST(OpenApi, TellsClientsHowToMergeLists) {
  const json::object v2 = openApiV2Document(kinds());
  const json::object* spec = objectAt(v2, {"definitions", "io.k8s.api.core.v1.PodSpec"});
  ASSERT_NE(spec, nullptr);
  EXPECT_EQ(json::serialize(spec->at("required")), R"(["containers"])") << "what is defaulted need not be sent";
  const json::value properties = spec->at("properties");
  EXPECT_EQ(textAt(properties.at("containers").as_object(), {"x-kubernetes-patch-merge-key"}), "name");
  EXPECT_EQ(textAt(properties.at("containers").as_object(), {"x-kubernetes-patch-strategy"}), "merge");
  EXPECT_EQ(textAt(properties.at("volumes").as_object(), {"x-kubernetes-patch-strategy"}), "merge,retainKeys");
  EXPECT_EQ(textAt(properties.at("nodeSelector").as_object(), {"x-kubernetes-map-type"}), "atomic");
  EXPECT_EQ(json::serialize(properties.at_pointer("/containers/items/properties/ports/x-kubernetes-list-map-keys")),
            R"(["containerPort","protocol"])");
  EXPECT_EQ(json::serialize(v2.at("definitions").at("io.k8s.api.core.v1.Pod").at("x-kubernetes-group-version-kind")),
            R"([{"group":"","kind":"Pod","version":"v1"}])");
}

TEST(OpenApi, ShowsWhatIsInMaps) {
  const json::object v3 = openApiV3Document(allKinds(), "authorization.k8s.io/v1");
  const json::value& spec = v3.at("components").at("schemas").at("io.k8s.api.authorization.v1.SubjectAccessReviewSpec");
  EXPECT_EQ(json::serialize(spec.at_pointer("/properties/extra/additionalProperties")), R"({"type":"array","items":{"type":"string"}})");
  const json::object core = openApiV3Document(allKinds(), "v1");
  const json::value& schemas = core.at("components").at("schemas");
  EXPECT_EQ(json::serialize(schemas.at("io.k8s.api.core.v1.Secret").at_pointer("/properties/data/additionalProperties")),
            R"({"type":"string","format":"byte"})");
}

TEST(OpenApi, PatchTakesWhatKubectlLooksFor) {
  const json::object v2 = openApiV2Document(kinds());
  const json::object v3 = openApiV3Document(kinds(), "v1");
  for (const json::object* document : {&v2, &v3}) {
    const json::object* patch = objectAt(*document, {"paths", "/api/v1/namespaces/{namespace}/pods/{name}", "patch"});
    ASSERT_NE(patch, nullptr);
    std::set<std::string_view> names;
    for (const json::value& parameter : *arrayAt(*patch, {"parameters"})) names.insert(textAt(parameter.as_object(), {"name"}));
    for (const char* name : {"dryRun", "fieldManager", "force", "fieldValidation"}) EXPECT_TRUE(names.contains(name)) << name;
    EXPECT_EQ(json::serialize(patch->at("x-kubernetes-group-version-kind")), R"({"group":"","kind":"Pod","version":"v1"})");
  }
  EXPECT_NE(objectAt(v3, {"paths", "/api/v1/namespaces/{namespace}/pods/{name}", "patch", "requestBody", "content",
                          "application/strategic-merge-patch+json"}),
            nullptr);
  Kind ours = kLease;
  ours.group = "iam.podpass.dev";
  const json::object own = openApiV3Document({&ours}, "iam.podpass.dev/v1");
  const json::object* content =
      objectAt(own, {"paths", "/apis/iam.podpass.dev/v1/namespaces/{namespace}/leases/{name}", "patch", "requestBody", "content"});
  ASSERT_NE(content, nullptr);
  EXPECT_TRUE(content->contains("application/merge-patch+json"));
  EXPECT_FALSE(content->contains("application/strategic-merge-patch+json")) << "kubectl apply cannot compute one for a trust policy";
}

TEST(OpenApi, HasAPathForEveryVerbAndNoOther) {
  const json::object v2 = openApiV2Document(kinds());
  const json::object& paths = *objectAt(v2, {"paths"});
  EXPECT_TRUE(paths.at("/api/v1/pods").as_object().contains("get"));
  EXPECT_FALSE(paths.at("/api/v1/pods").as_object().contains("post"));
  for (const char* method : {"get", "post", "delete"})
    EXPECT_TRUE(paths.at("/api/v1/namespaces/{namespace}/pods").as_object().contains(method)) << method;
  for (const char* method : {"get", "put", "patch"})
    EXPECT_TRUE(paths.at("/api/v1/namespaces/{namespace}/pods/{name}/status").as_object().contains(method)) << method;
  const json::object& reviews = paths.at("/apis/authentication.k8s.io/v1/tokenreviews").as_object();
  EXPECT_EQ(reviews.size(), 1U);
  EXPECT_TRUE(reviews.contains("post"));
}

TEST(OpenApi, IsEncodedAsGnosticReadsIt) {
  json::object schema =
      json::parse(R"({"description":"d","type":"object","required":["a"],"properties":{"a":{"$ref":"#/definitions/B"}},"x-k":1})")
          .as_object();
  json::object document;
  document["info"] = json::object{{"title", "t"}, {"version", "v"}};
  document["paths"] = json::parse(R"({"/p":{"patch":{"parameters":[{"in":"body","name":"b"},{"in":"query","name":"q"}]}}})");
  document["definitions"] = json::object{{"A", std::move(schema)}};
  const std::string encoded = encodeOpenApiV2(document);
  EXPECT_TRUE(
      encoded.starts_with("\x0a\x03"
                          "2.0\x12\x06\x0a\x01t\x12\x01v\x42"));
  EXPECT_NE(encoded.find(std::string("\x0a\x0e\x12\x0c\x1a\x0a\x12\x05query\x22\x01q")), std::string::npos);
  EXPECT_NE(encoded.find(std::string("\x9a\x01\x01"
                                     "a")),
            std::string::npos)
      << "19: required";
  EXPECT_NE(encoded.find(std::string("\xb2\x01\x08\x0a\x06object")), std::string::npos) << "22: type";
  EXPECT_NE(encoded.find(std::string("\x0a\x03x-k\x12\x03\x12\x01"
                                     "1")),
            std::string::npos)
      << "31: extension as YAML";
}

TEST(Table, PutsTheNameFirstAndCompletesRows) {
  const json::array columns = tableColumns(kPod);
  ASSERT_EQ(columns.size(), 3U);
  EXPECT_EQ(textAt(columns[0].as_object(), {"name"}), "Name");
  EXPECT_EQ(textAt(columns[0].as_object(), {"format"}), "name");
  EXPECT_EQ(json::serialize(columns[2]), R"({"name":"IP","type":"string","format":"","description":"Its address.","priority":1})");
  const json::object pod = parsed(R"({"metadata":{"name":"p","labels":{"a":"b"}},"spec":{"x":1},"status":{"phase":"Succeeded"}})");
  EXPECT_EQ(
      json::serialize(tableRow(kPod, pod, IncludeObject::Metadata, {})),
      R"({"cells":["p","0/1","<none>"],"conditions":[{"type":"Completed","status":"True","reason":"Succeeded","message":"The pod has completed successfully."}],"object":{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":{"name":"p","labels":{"a":"b"}}}})");
  const json::object row = tableRow(kPod, pod, IncludeObject::Object, {});
  EXPECT_EQ(textAt(row, {"object", "kind"}), "Pod");
  EXPECT_EQ(textAt(row, {"object", "apiVersion"}), "v1");
  EXPECT_TRUE(tableRow(kPod, pod, IncludeObject::None, {}).at("object").is_null());
}

TEST(Table, ShowsTheCreationOfKindsWithoutColumns) {
  const json::array columns = tableColumns(kLease);
  ASSERT_EQ(columns.size(), 2U);
  EXPECT_EQ(textAt(columns[1].as_object(), {"name"}), "Created At");
  EXPECT_EQ(textAt(columns[1].as_object(), {"type"}), "date");
  const json::object lease = parsed(R"({"metadata":{"name":"l","creationTimestamp":"2024-01-02T03:04:05Z"}})");
  EXPECT_EQ(json::serialize(tableRow(kLease, lease, IncludeObject::None, {}).at("cells")), R"(["l","2024-01-02T03:04:05Z"])");
}

}  // namespace
}  // namespace podpass::api
