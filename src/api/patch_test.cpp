#include "api/patch.h"

#include <gtest/gtest.h>

#include "api/codec.h"

namespace podpass::api {
namespace {

const Kind& podLike() {
  static const std::vector<Field> container = {
      {.name = "name"},
      {.name = "image"},
      {.name = "command", .type = Type::List},
      {.name = "ports",
       .type = Type::List,
       .of = {{.name = "containerPort", .type = Type::Integer}, {.name = "name"}},
       .mergeKey = "containerPort"},
      {.name = "env", .type = Type::List, .of = {{.name = "name"}, {.name = "value"}}, .mergeKey = "name"}};
  static const Kind kind{
      .group = "",
      .version = "v1",
      .kind = "Pod",
      .plural = "pods",
      .singular = "pod",
      .fields = {{.name = "spec",
                  .type = Type::Object,
                  .of = {{.name = "containers", .type = Type::List, .of = container, .mergeKey = "name"},
                         {.name = "volumes",
                          .type = Type::List,
                          .of = {{.name = "name"},
                                 {.name = "emptyDir", .type = Type::Object},
                                 {.name = "secret", .type = Type::Object, .of = {{.name = "secretName"}}}},
                          .mergeKey = "name",
                          .retainKeys = true},
                         {.name = "tolerations", .type = Type::List, .of = {{.name = "key"}, {.name = "operator"}}},
                         {.name = "nodeSelector", .type = Type::Map}}},
                 {.name = "status",
                  .type = Type::Object,
                  .of = {{.name = "conditions", .type = Type::List, .of = {{.name = "type"}, {.name = "status"}}, .mergeKey = "type"}}},
                 {.name = "data", .type = Type::Map, .element = Type::Bytes},
                 {.name = "raw", .type = Type::Any}}};
  return kind;
}

json::value parsed(std::string_view text) {
  json::parse_options options;
  options.max_depth = 4096;
  return json::parse(text, {}, options);
}

struct Case {
  const char* why;
  const char* before;
  const char* patch;
  const char* after;
};

struct Refusal {
  const char* why;
  const char* before;
  const char* patch;
  Reason reason;
  const char* sentence;
  const char* cause;  // "" when none
};

template <class Apply>
void expectAll(const std::vector<Case>& cases, Apply apply) {
  for (const Case& c : cases) {
    SCOPED_TRACE(c.why);
    const json::object before = parsed(c.before).as_object();
    const Result<json::object> after = apply(before, parsed(c.patch));
    ASSERT_TRUE(after) << after.error().sentence << (after.error().causes.empty() ? "" : after.error().causes[0].message);
    EXPECT_EQ(json::value(*after), parsed(c.after)) << json::serialize(*after);
  }
}

template <class Apply>
void expectRefused(const std::vector<Refusal>& cases, Apply apply) {
  for (const Refusal& c : cases) {
    SCOPED_TRACE(c.why);
    const Result<json::object> after = apply(parsed(c.before).as_object(), parsed(c.patch));
    ASSERT_FALSE(after) << json::serialize(*after);
    EXPECT_EQ(after.error().reason, c.reason);
    EXPECT_EQ(after.error().sentence, c.sentence);
    EXPECT_EQ(after.error().causes.empty() ? "" : after.error().causes[0].message, c.cause);
  }
}

const auto strategic = [](const json::object& before, const json::value& patch) {
  return applyStrategicMergePatch(podLike(), before, patch);
};

constexpr const char* kRejected = "the server rejected our request due to an error in our request";

TEST(JsonPatch, FollowsTheRfc) {
  expectAll({{"add makes a member", R"({"a":1})", R"([{"op":"add","path":"/b","value":2}])", R"({"a":1,"b":2})"},
             {"add replaces a member", R"({"a":1})", R"([{"op":"add","path":"/a","value":2}])", R"({"a":2})"},
             {"add inserts before", R"({"a":[1,2]})", R"([{"op":"add","path":"/a/1","value":9}])", R"({"a":[1,9,2]})"},
             {"a dash appends", R"({"a":[1,2]})", R"([{"op":"add","path":"/a/-","value":3}])", R"({"a":[1,2,3]})"},
             {"the index behind the last appends", R"({"a":[1]})", R"([{"op":"add","path":"/a/1","value":2}])", R"({"a":[1,2]})"},
             {"a dash is a name in an object", R"({"a":{}})", R"([{"op":"add","path":"/a/-","value":3}])", R"({"a":{"-":3}})"},
             {"escapes", R"({"a/b":{"~":1}})", R"([{"op":"replace","path":"/a~1b/~0","value":2}])", R"({"a/b":{"~":2}})"},
             {"~01 is ~1, not /", R"({"~1":1})", R"([{"op":"remove","path":"/~01"}])", R"({})"},
             {"the last by a negative index", R"({"a":[1,2]})", R"([{"op":"remove","path":"/a/-1"}])", R"({"a":[1]})"},
             {"move", R"({"a":{"b":1}})", R"([{"op":"move","from":"/a/b","path":"/c"}])", R"({"a":{},"c":1})"},
             {"move within a list", R"({"a":[1,2,3]})", R"([{"op":"move","from":"/a/0","path":"/a/2"}])", R"({"a":[2,3,1]})"},
             {"copy", R"({"a":[1]})", R"([{"op":"copy","from":"/a","path":"/b"}])", R"({"a":[1],"b":[1]})"},
             {"test", R"({"a":{"x":1,"y":[2]}})", R"([{"op":"test","path":"/a","value":{"y":[2],"x":1}}])", R"({"a":{"x":1,"y":[2]}})"},
             {"test of an absent member for null", R"({})", R"([{"op":"test","path":"/a","value":null}])", R"({})"},
             {"the root may be replaced", R"({"a":1})", R"([{"op":"replace","path":"","value":{"b":2}}])", R"({"b":2})"},
             {"nothing to do", R"({"a":1})", "[]", R"({"a":1})"}},
            applyJsonPatch);
}

TEST(JsonPatch, SaysWhichOperationDoesNotFit) {
  expectRefused(
      {{"not a list", "{}", "{}", Reason::BadRequest, "json: cannot unmarshal object into Go value of type jsonpatch.Patch", ""},
       {"not an operation", "{}", "[1]", Reason::BadRequest, "json: cannot unmarshal number into Go value of type jsonpatch.Operation", ""},
       {"a failed test", R"({"data":{"k":1}})", R"([{"op":"test","path":"/data/k","value":2}])", Reason::Invalid, kRejected,
        "testing value /data/k failed: test failed"},
       {"a test of what is not there", "{}", R"([{"op":"test","path":"/x","value":1}])", Reason::Invalid, kRejected,
        "testing value /x failed: test failed"},
       {"no parent", "{}", R"([{"op":"remove","path":"/nope/x"}])", Reason::Invalid, kRejected,
        R"(remove operation does not apply: doc is missing path: "/nope/x": missing value)"},
       {"no member", R"({"data":{}})", R"([{"op":"remove","path":"/data/z"}])", Reason::Invalid, kRejected,
        "error in remove for path: '/data/z': Unable to remove nonexistent key: z: missing value"},
       {"replace needs the member", "{}", R"([{"op":"replace","path":"/z","value":1}])", Reason::Invalid, kRejected,
        "replace operation does not apply: doc is missing key: /z: missing value"},
       {"an index far out", R"({"a":[]})", R"([{"op":"add","path":"/a/99999999999999999999","value":1}])", Reason::Invalid, kRejected,
        "error in add for path: '/a/99999999999999999999': Unable to access invalid index: 99999999999999999999: invalid index referenced"},
       {"an index one too far", R"({"a":[1]})", R"([{"op":"add","path":"/a/2","value":1}])", Reason::Invalid, kRejected,
        "error in add for path: '/a/2': Unable to access invalid index: 2: invalid index referenced"},
       {"below the first", R"({"a":[1]})", R"([{"op":"remove","path":"/a/-2"}])", Reason::Invalid, kRejected,
        "error in remove for path: '/a/-2': Unable to access invalid index: -2: invalid index referenced"},
       {"a dash names nothing to remove", R"({"a":[1]})", R"([{"op":"remove","path":"/a/-"}])", Reason::Invalid, kRejected,
        "error in remove for path: '/a/-': Unable to access invalid index: -: invalid index referenced"},
       {"an index with zeros in front", R"({"a":[1,2]})", R"([{"op":"remove","path":"/a/01"}])", Reason::Invalid, kRejected,
        "error in remove for path: '/a/01': Unable to access invalid index: 01: invalid index referenced"},
       {"through a scalar", R"({"a":1})", R"([{"op":"add","path":"/a/b","value":1}])", Reason::Invalid, kRejected,
        R"(add operation does not apply: doc is missing path: "/a/b": missing value)"},
       {"no pointer", R"({"a":1})", R"([{"op":"add","path":"a","value":1}])", Reason::Invalid, kRejected,
        R"(add operation does not apply: doc is missing path: "a": missing value)"},
       {"a broken escape", R"({"a":1})", R"([{"op":"add","path":"/a~2","value":1}])", Reason::Invalid, kRejected,
        R"(add operation does not apply: doc is missing path: "/a~2": missing value)"},
       {"no value", "{}", R"([{"op":"add","path":"/a"}])", Reason::Invalid, kRejected, "add operation has no value"},
       {"no path", "{}", R"([{"op":"add","value":1}])", Reason::Invalid, kRejected, "add operation has no path"},
       {"an unknown operation", "{}", R"([{"op":"zork","path":"/a"}])", Reason::Invalid, kRejected, "Unexpected kind: zork"},
       {"a move into itself", R"({"a":{}})", R"([{"op":"move","from":"/a","path":"/a/b"}])", Reason::Invalid, kRejected,
        R"(move operation does not apply: doc is missing path: "/a/b": missing value)"},
       {"a move from nowhere", "{}", R"([{"op":"move","from":"/z","path":"/b"}])", Reason::Invalid, kRejected,
        "move operation does not apply: doc is missing from path: /z: missing value"},
       {"the root is removed", "{}", R"([{"op":"remove","path":""}])", Reason::Invalid, kRejected,
        R"(remove operation does not apply: doc is missing path: "": missing value)"},
       {"the root becomes a number", "{}", R"([{"op":"add","path":"","value":1}])", Reason::Invalid, kRejected,
        "the patched document is not an object"}},
      applyJsonPatch);
}

json::array operations(std::size_t count, const json::object& operation) {
  json::array patch;
  for (std::size_t made = 0; made < count; ++made) patch.push_back(operation);
  return patch;
}

TEST(JsonPatch, TakesTenThousandOperationsAndNoMore) {
  const json::object before{{"a", json::array()}};
  const json::object add{{"op", "add"}, {"path", "/a/-"}, {"value", 1}};
  const Result<json::object> most = applyJsonPatch(before, operations(10'000, add));
  ASSERT_TRUE(most);
  EXPECT_EQ(arrayAt(*most, {"a"})->size(), 10'000U);
  const Result<json::object> more = applyJsonPatch(before, operations(10'001, add));
  ASSERT_FALSE(more);
  EXPECT_EQ(more.error().reason, Reason::RequestTooLarge);
  EXPECT_EQ(more.error().sentence, "The allowed maximum operations in a JSON patch is 10000, got 10001");
}

TEST(JsonPatch, StopsCopiesThatDoubleTheDocument) {
  const json::object before{{"a", json::array{std::string(1000, 'x')}}};
  const json::object copy{{"op", "copy"}, {"from", "/a"}, {"path", "/a/-"}};
  const Result<json::object> after = applyJsonPatch(before, operations(64, copy));
  ASSERT_FALSE(after);
  EXPECT_EQ(after.error().reason, Reason::RequestTooLarge);
  EXPECT_TRUE(after.error().sentence.starts_with("Unable to complete the copy, the accumulated size increase of copy is "));
}

TEST(JsonPatch, RefusesADocumentThatMovesNestedTooDeep) {
  json::array patch;
  for (int level = 0; level < 200; ++level) {  // short pointers only: the nesting comes from the moves
    patch.push_back(json::object{{"op", "add"}, {"path", "/y"}, {"value", json::object()}});
    patch.push_back(json::object{{"op", "move"}, {"from", "/x"}, {"path", "/y/x"}});
    patch.push_back(json::object{{"op", "move"}, {"from", "/y"}, {"path", "/x"}});
  }
  const Result<json::object> after = applyJsonPatch(json::object{{"x", json::object()}}, patch);
  ASSERT_FALSE(after);
  EXPECT_EQ(after.error().sentence, "the patch nests more than 128 levels");
}

TEST(MergePatch, FollowsTheRfc) {
  expectAll({{"members merge, null removes", R"({"a":{"b":1,"c":2},"d":3})", R"({"a":{"b":null,"e":4}})", R"({"a":{"c":2,"e":4},"d":3})"},
             {"lists are replaced", R"({"a":[1,2]})", R"({"a":[3]})", R"({"a":[3]})"},
             {"an object takes a scalar's place, without its nulls", R"({"a":1})", R"({"a":{"b":{"c":null}}})", R"({"a":{"b":{}}})"},
             {"kubectl label of the same value", R"({"a":1})", "{}", R"({"a":1})"}},
            applyMergePatch);
}

TEST(Patches, ThatAreNoObjectAreInvalid) {
  const std::vector<Refusal> cases = {
      {"a list", "{}", "[1]", Reason::Invalid,
       R"(patch: Invalid value: "[1]": json: cannot unmarshal array into Go value of type map[string]interface {})",
       R"(Invalid value: "[1]": json: cannot unmarshal array into Go value of type map[string]interface {})"}};
  expectRefused(cases, applyMergePatch);
  expectRefused(cases, strategic);
}

TEST(Patches, ThatNestTooDeepAreRefusedWhateverTheirKind) {
  std::string deep;
  for (int level = 0; level < 2000; ++level) deep += R"({"a":)";
  deep += "1" + std::string(2000, '}');
  const json::value patch = parsed(deep);
  const json::array operation = {json::object{{"op", "add"}, {"path", "/a"}, {"value", patch}}};
  for (const Result<json::object>& after : {applyMergePatch({}, patch), strategic({}, patch), applyJsonPatch({}, operation)}) {
    ASSERT_FALSE(after);
    EXPECT_EQ(after.error().reason, Reason::BadRequest);
  }
}

TEST(StrategicMerge, MergesListsByTheirKey) {
  expectAll(
      {{"containers by name", R"({"spec":{"containers":[{"name":"a","image":"1"},{"name":"b","image":"1"}]}})",
        R"({"spec":{"containers":[{"name":"b","image":"2"}]}})",
        R"({"spec":{"containers":[{"name":"a","image":"1"},{"name":"b","image":"2"}]}})"},
       {"a new element goes first, as in Kubernetes", R"({"spec":{"containers":[{"name":"a"},{"name":"b"}]}})",
        R"({"spec":{"containers":[{"name":"c"}]}})", R"({"spec":{"containers":[{"name":"c"},{"name":"a"},{"name":"b"}]}})"},
       {"env by name, inside a container",
        R"({"spec":{"containers":[{"name":"a","env":[{"name":"X","value":"1"},{"name":"Y","value":"2"}]}]}})",
        R"({"spec":{"containers":[{"name":"a","env":[{"name":"Y","value":"3"}]}]}})",
        R"({"spec":{"containers":[{"name":"a","env":[{"name":"X","value":"1"},{"name":"Y","value":"3"}]}]}})"},
       {"ports by number", R"({"spec":{"containers":[{"name":"a","ports":[{"containerPort":80},{"containerPort":81}]}]}})",
        R"({"spec":{"containers":[{"name":"a","ports":[{"containerPort":81,"name":"web"}]}]}})",
        R"({"spec":{"containers":[{"name":"a","ports":[{"containerPort":80},{"containerPort":81,"name":"web"}]}]}})"},
       {"conditions by type", R"({"status":{"conditions":[{"type":"Ready","status":"False"},{"type":"Other","status":"True"}]}})",
        R"({"status":{"conditions":[{"type":"Ready","status":"True"}]}})",
        R"({"status":{"conditions":[{"type":"Ready","status":"True"},{"type":"Other","status":"True"}]}})"},
       {"a list without a key is replaced", R"({"spec":{"tolerations":[{"key":"a"},{"key":"b"}]}})",
        R"({"spec":{"tolerations":[{"key":"c","operator":null}]}})", R"({"spec":{"tolerations":[{"key":"c"}]}})"},
       {"finalizers are a set", R"({"metadata":{"finalizers":["a/x","b/y"]}})", R"({"metadata":{"finalizers":["b/y","c/z"]}})",
        R"({"metadata":{"finalizers":["a/x","b/y","c/z"]}})"},
       {"null removes, an absent member stays absent", R"({"spec":{"nodeSelector":{"a":"1","b":"2"}}})",
        R"({"spec":{"nodeSelector":{"a":null,"z":null}}})", R"({"spec":{"nodeSelector":{"b":"2"}}})"},
       {"free JSON knows no directives", R"({"raw":{"a":1}})", R"({"raw":{"$patch":"delete"}})", R"({"raw":{"a":1,"$patch":"delete"}})"},
       {"what the kind does not declare merges like JSON", R"({"zork":{"a":1,"l":[1]}})", R"({"zork":{"b":2,"l":[2]}})",
        R"({"zork":{"a":1,"b":2,"l":[2]}})"}},
      strategic);
}

TEST(StrategicMerge, CarriesOutTheDirectivesThatKubectlSends) {
  expectAll(
      {{"$patch: delete of an element", R"({"spec":{"containers":[{"name":"a"},{"name":"b"}]}})",
        R"({"spec":{"$setElementOrder/containers":[{"name":"b"}],"containers":[{"$patch":"delete","name":"a"}]}})",
        R"({"spec":{"containers":[{"name":"b"}]}})"},
       {"$patch: delete of what is not there", R"({"spec":{"containers":[{"name":"b"}]}})",
        R"({"spec":{"containers":[{"$patch":"delete","name":"a"}]}})", R"({"spec":{"containers":[{"name":"b"}]}})"},
       {"$patch: replace of a list", R"({"spec":{"containers":[{"name":"a","image":"1"}]}})",
        R"({"spec":{"containers":[{"name":"a"},{"name":"b"},{"$patch":"replace"}]}})",
        R"({"spec":{"containers":[{"name":"a"},{"name":"b"}]}})"},
       {"$patch: replace of a map", R"({"spec":{"nodeSelector":{"a":"1"}}})", R"({"spec":{"nodeSelector":{"$patch":"replace","b":"2"}}})",
        R"({"spec":{"nodeSelector":{"b":"2"}}})"},
       {"$patch: delete of a map", R"({"spec":{"nodeSelector":{"a":"1"}}})", R"({"spec":{"nodeSelector":{"$patch":"delete"}}})",
        R"({"spec":{"nodeSelector":{}}})"},
       {"$patch: merge is the default", R"({"spec":{"nodeSelector":{"a":"1"}}})", R"({"spec":{"nodeSelector":{"$patch":"merge","b":"2"}}})",
        R"({"spec":{"nodeSelector":{"a":"1","b":"2"}}})"},
       {"$deleteFromPrimitiveList", R"({"metadata":{"finalizers":["a/x","b/y"]}})",
        R"({"metadata":{"$deleteFromPrimitiveList/finalizers":["a/x"],"$setElementOrder/finalizers":["b/y"]}})",
        R"({"metadata":{"finalizers":["b/y"]}})"},
       {"$setElementOrder without changes", R"({"spec":{"containers":[{"name":"a"},{"name":"b"}]}})",
        R"({"spec":{"$setElementOrder/containers":[{"name":"b"},{"name":"a"}]}})",
        R"({"spec":{"containers":[{"name":"b"},{"name":"a"}]}})"},
       {"$setElementOrder of an addition; the server's own keeps its place", R"({"spec":{"volumes":[{"name":"server"},{"name":"a"}]}})",
        R"({"spec":{"$setElementOrder/volumes":[{"name":"a"},{"name":"b"}],"volumes":[{"name":"b","emptyDir":{}}]}})",
        R"({"spec":{"volumes":[{"name":"server"},{"name":"a"},{"name":"b","emptyDir":{}}]}})"},
       {"$retainKeys changes the kind of a volume", R"({"spec":{"volumes":[{"name":"v","emptyDir":{}}]}})",
        R"({"spec":{"$setElementOrder/volumes":[{"name":"v"}],"volumes":[{"$retainKeys":["name","secret"],"name":"v","emptyDir":null,"secret":{"secretName":"s"}}]}})",
        R"({"spec":{"volumes":[{"name":"v","secret":{"secretName":"s"}}]}})"},
       {"directives leave no trace in what is new", R"({})",
        R"({"spec":{"$setElementOrder/volumes":[{"name":"v"}],"volumes":[{"$retainKeys":["name","emptyDir"],"name":"v","emptyDir":{"x":null}},{"$patch":"delete","name":"w"}]}})",
        R"({"spec":{"volumes":[{"name":"v","emptyDir":{}}]}})"}},
      strategic);
}

TEST(StrategicMerge, SaysWhatDoesNotFit) {
  expectRefused(
      {{"an element without its key", "{}", R"({"spec":{"containers":[{"image":"y"}]}})", Reason::Invalid,
        "map: map[image:y] does not contain declared merge key: name", "map: map[image:y] does not contain declared merge key: name"},
       {"an unknown directive", "{}", R"({"spec":{"containers":[{"$patch":"zork","name":"c"}]}})", Reason::Invalid,
        "unknown patch type: zork in map: map[$patch:zork name:c]", "unknown patch type: zork in map: map[$patch:zork name:c]"},
       {"a directive of another type", "{}", R"({"spec":{"$patch":7}})", Reason::Invalid, "unknown patch type: 7 in map: map[$patch:7]",
        "unknown patch type: 7 in map: map[$patch:7]"},
       {"a text for a structure", "{}", R"({"spec":"foo"})", Reason::Invalid,
        R"(patch: Invalid value: "map[spec:foo]": cannot restore struct from: string)",
        R"(Invalid value: "map[spec:foo]": cannot restore struct from: string)"},
       {"a map for a list", "{}", R"({"spec":{"containers":{}}})", Reason::Invalid,
        R"(patch: Invalid value: "map[containers:…]": cannot restore slice from: map)",
        R"(Invalid value: "map[containers:…]": cannot restore slice from: map)"},
       {"a secret in the wrong place is not repeated", "{}", R"({"data":"c3dvcmRmaXNo"})", Reason::Invalid,
        R"(patch: Invalid value: "map[data:…]": cannot restore map from: string)",
        R"(Invalid value: "map[data:…]": cannot restore map from: string)"},
       {"an order that contradicts the list", "{}",
        R"({"spec":{"$setElementOrder/containers":[{"name":"b"},{"name":"a"}],"containers":[{"name":"a"},{"name":"b"}]}})",
        Reason::BadRequest, "The order in patch list: [a b] doesn't match $setElementOrder list: [b a]", ""},
       {"an order that leaves out an element", "{}", R"({"spec":{"$setElementOrder/containers":[],"containers":[{"name":"a"}]}})",
        Reason::BadRequest, "The order in patch list: [a] doesn't match $setElementOrder list: []", ""},
       {"retained keys that miss one set", "{}", R"({"spec":{"volumes":[{"$retainKeys":["name"],"name":"v","emptyDir":{}}]}})",
        Reason::Invalid, "invalid patch format of retainKeys", "invalid patch format of retainKeys"}},
      strategic);
}

TEST(StrategicMerge, StaysQuickWithHostilelyLongLists) {
  json::array containers;
  for (int made = 0; made < 20'000; ++made) containers.push_back(json::object{{"name", "c" + std::to_string(made)}});
  const json::object object{{"spec", json::object{{"containers", containers}}}};
  const Result<json::object> after = strategic(object, object);
  ASSERT_TRUE(after);
  EXPECT_EQ(*after, object);
}

}  // namespace
}  // namespace podpass::api
