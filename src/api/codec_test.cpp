#include "api/codec.h"

#include <gtest/gtest.h>

#include "api/kinds.h"
#include "api/test_samples.h"

namespace podpass::api {
namespace {

constexpr std::string_view kJson = "application/json", kYaml = "application/yaml", kProtobuf = "application/vnd.kubernetes.protobuf";

std::vector<const Kind*> everyKind() {
  std::vector<const Kind*> kinds = allKinds();
  kinds.insert(kinds.end(), {&tokenRequestKind(), &evictionKind(), &deleteOptionsKind()});
  return kinds;
}

// The object, or the refusal; then the problems of strict decoding.
std::string shown(const Kind& kind, std::string_view type, std::string_view body) {
  const Result<Decoded> decoded = decode(kind, type, body);
  if (!decoded) return decoded.error().sentence;
  std::string text = json::serialize(decoded->object);
  for (const std::string& problem : decoded->problems) text += "; " + problem;
  return text;
}

// ---- one object, three forms

TEST(Codec, ReadsEveryFieldOfEveryKindInEveryForm) {
  for (const Kind* kind : everyKind()) {
    SCOPED_TRACE(kind->definition);
    const json::object sample = sampleOf(*kind);
    const Result<Decoded> fromJson = decode(*kind, kJson, json::serialize(sample));
    ASSERT_TRUE(fromJson) << fromJson.error().sentence;
    EXPECT_EQ(fromJson->problems, std::vector<std::string>{});
    EXPECT_EQ(fromJson->object, sample) << "what a client sends is kept";
    const Result<Decoded> fromProtobuf = decode(*kind, kProtobuf, encodeProtobuf(*kind, sample));
    ASSERT_TRUE(fromProtobuf) << fromProtobuf.error().sentence;
    EXPECT_EQ(fromProtobuf->object, sample);
    const Result<Decoded> fromYaml = decode(*kind, kYaml, toYaml(sample));
    ASSERT_TRUE(fromYaml) << fromYaml.error().sentence;
    EXPECT_EQ(fromYaml->object, sample);
  }
}

TEST(Codec, TakesNullEmptyAndMissingForTheSame) {  // kubectl sends creationTimestamp: null and status: {}
  EXPECT_EQ(
      shown(configMapKind(), kJson, R"({"metadata":{"name":"a","creationTimestamp":null,"labels":{},"finalizers":[]},"data":{"k":null}})"),
      R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"}})");
  EXPECT_EQ(
      shown(podKind(), kJson, R"({"metadata":{"creationTimestamp":"0001-01-01T00:00:00Z"},"spec":{"containers":null,"hostPID":false}})"),
      R"({"apiVersion":"v1","kind":"Pod","metadata":{},"spec":{}})");
}

TEST(Codec, KeepsAnEmptyTextThatClientsRequire) {  // the Python client takes no container status without imageID
  EXPECT_EQ(
      shown(podKind(), kJson, R"({"metadata":{},"status":{"containerStatuses":[{"name":"c","image":"","imageID":"","containerID":""}]}})"),
      R"({"apiVersion":"v1","kind":"Pod","metadata":{},"status":{"containerStatuses":[{"name":"c","image":"","imageID":""}]}})");
}

TEST(Codec, WritesTimesAndQuantitiesInOneWay) {
  EXPECT_EQ(shown(leaseKind(), kJson, R"({"spec":{"renewTime":"2023-03-04T10:28:03+01:00"}})"),
            R"({"apiVersion":"coordination.k8s.io/v1","kind":"Lease","spec":{"renewTime":"2023-03-04T09:28:03.000000Z"}})");
  EXPECT_EQ(shown(nodeKind(), kJson, R"({"status":{"capacity":{"cpu":2,"memory":"1Gi"}}})"),
            R"({"apiVersion":"v1","kind":"Node","status":{"capacity":{"cpu":"2","memory":"1Gi"}}})");
}

TEST(Codec, ReadsYamlAsKubectlDoes) {
  const std::string_view manifest =
      "# a comment\nkind: ConfigMap\nmetadata: {name: a, labels: &l {x: \"yes\"}, annotations: *l}\ndata:\n  text: |\n    one\n    two\n  "
      "folded: >-\n"
      "    a\n    b\n";
  EXPECT_EQ(shown(configMapKind(), kYaml, manifest),
            R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a","labels":{"x":"yes"},"annotations":{"x":"yes"}},)"
            R"("data":{"text":"one\ntwo\n","folded":"a b"}})");
  EXPECT_EQ(shown(secretKind(), "application/yaml; charset=utf-8", "metadata: {name: 0x}\n"),
            R"({"apiVersion":"v1","kind":"Secret","metadata":{"name":"0x"}})");
  EXPECT_EQ(shown(configMapKind(), kYaml, "data: {mode: 0644}"),
            "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: json: cannot unmarshal number into Go struct field "
            "ConfigMap.data of type string");
}

// ---- which body it is

TEST(Codec, KnowsItsMediaTypes) {
  EXPECT_TRUE(decode(configMapKind(), "", "{}"));  // kubectl 1.20 sends none
  EXPECT_TRUE(decode(configMapKind(), "Application/JSON ; charset=utf-8", "{}"));
  const Result<Decoded> refused = decode(configMapKind(), "text/plain", "{}");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().reason, Reason::UnsupportedMediaType);
  EXPECT_EQ(refused.error().sentence,
            "the body of the request was in an unknown format - accepted media types include: application/json, application/yaml, "
            "application/vnd.kubernetes.protobuf");
}

TEST(Codec, SaysWhatIsWrongWithABody) {  // spec api.md §3.1
  struct Case {
    const char* why;
    const char* body;
    const char* sentence;
  };
  const std::string prefix = "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: ";
  const Case cases[] = {
      {"another kind", R"({"apiVersion":"v1","kind":"Secret"})",
       R"(Secret in version "v1" cannot be handled as a ConfigMap: converting (v1.Secret) to (core.ConfigMap): unknown conversion)"},
      {"an unknown kind", R"({"apiVersion":"v1","kind":"Zork"})",
       R"(Zork in version "v1" cannot be handled as a ConfigMap: no kind "Zork" is registered for version "v1" in scheme "pkg/api/legacyscheme/scheme.go:30")"},
      {"another version", R"({"apiVersion":"v2","kind":"ConfigMap"})",
       "the API version in the data (v2) does not match the expected API version (v1)"},
      {"cut off", R"({"apiVersion":"v1")",
       R"(the object provided is unrecognized (must be of type ConfigMap): couldn't get version/kind; json parse error: unexpected end of JSON input ({"apiVersion":"v1"))"},
      {"nothing", "",
       "the object provided is unrecognized (must be of type ConfigMap): couldn't get version/kind; json parse error: unexpected end of "
       "JSON "
       "input (<empty>)"},
      {"two values", "{}{}",
       "the object provided is unrecognized (must be of type ConfigMap): couldn't get version/kind; json parse error: invalid character "
       "'{' "
       "after top-level value ({}{})"}};
  for (const Case& c : cases) {
    SCOPED_TRACE(c.why);
    EXPECT_EQ(shown(configMapKind(), kJson, c.body), c.sentence);
  }
}

TEST(Codec, RefusesWrongTypesAtEveryLevel) {
  struct Case {
    const Kind& kind;
    const char* body;
    const char* says;
  };
  const Case cases[] = {
      {configMapKind(), "[]", "json: cannot unmarshal array into Go value"},
      {configMapKind(), "7", "json: cannot unmarshal number into Go value"},
      {configMapKind(), R"({"kind":7})", "cannot unmarshal number into Go struct field .kind of type string"},
      {configMapKind(), R"({"metadata":[]})", "cannot unmarshal array into Go struct field ConfigMap.metadata of type struct"},
      {configMapKind(), R"({"metadata":{"name":7}})",
       "cannot unmarshal number into Go struct field ConfigMap.metadata.name of type string"},
      {configMapKind(), R"({"metadata":{"labels":"a"}})",
       "string into Go struct field ConfigMap.metadata.labels of type map[string]string"},
      {configMapKind(), R"({"data":{"a":7}})", "cannot unmarshal number into Go struct field ConfigMap.data of type string"},
      {configMapKind(), R"({"binaryData":{"a":"&"}})", "illegal base64 data at input byte 0"},
      {configMapKind(), R"({"immutable":"true"})", "cannot unmarshal string into Go struct field ConfigMap.immutable of type bool"},
      {configMapKind(), R"({"metadata":{"creationTimestamp":"yesterday"}})", R"(parsing time "\"yesterday\"" as)"},
      {podKind(), R"({"spec":{"containers":{}}})", "cannot unmarshal object into Go struct field Pod.spec.containers of type []"},
      {podKind(), R"({"spec":{"containers":["c"]}})", "cannot unmarshal string into Go struct field Pod.spec.containers of type struct"},
      {podKind(), R"({"spec":{"containers":[{"args":[1]}]}})", "number into Go struct field Pod.spec.containers.args of type string"},
      {podKind(), R"({"spec":{"containers":[{"ports":[{"containerPort":"80"}]}]}})",
       "string into Go struct field Pod.spec.containers.ports.containerPort of type int"},
      {podKind(), R"({"spec":{"priority":1.5}})", "cannot unmarshal number 1.5"},
      {podKind(), R"({"spec":{"priority":99999999999999999999}})", "cannot unmarshal number"},
      {podKind(), R"({"spec":{"containers":[{"livenessProbe":{"httpGet":{"port":[]}}}]}})", "array into Go struct field"},
      {podKind(), R"({"spec":{"overhead":{"cpu":"lots"}}})", "quantities must match the regular expression"},
      {podKind(), R"({"spec":{"overhead":{"cpu":true}}})", "bool into Go struct field Pod.spec.overhead of type string"},
      {subjectAccessReviewKind(), R"({"spec":{"extra":{"a":"b"}}})", "string into Go struct field SubjectAccessReview.spec.extra"}};
  for (const Case& c : cases) {
    SCOPED_TRACE(c.body);
    const Result<Decoded> result = decode(c.kind, kJson, c.body);
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().reason, Reason::BadRequest);
    EXPECT_NE(result.error().sentence.find(c.says), std::string::npos) << result.error().sentence;
  }
}

// ---- strictness

TEST(Codec, ReportsStrangersAndDuplicatesAndDropsThem) {  // spec api.md §4.6
  EXPECT_EQ(
      shown(configMapKind(), kJson, R"({"zork":1,"metadata":{"name":"a","Name":"b"},"data":{"a":"1","a":"2"}})"),
      R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"},"data":{"a":"2"}}; duplicate field "data.a"; unknown field "zork"; )"
      R"(unknown field "metadata.Name")");
  EXPECT_EQ(shown(podKind(), kJson, R"({"spec":{"containers":[{"name":"c","zork":{"deep":[1]}},{"name":"d","name":"e"}]}})"),
            R"({"apiVersion":"v1","kind":"Pod","spec":{"containers":[{"name":"c"},{"name":"e"}]}}; )"
            R"(duplicate field "spec.containers[1].name"; unknown field "spec.containers[0].zork")");
  EXPECT_EQ(shown(configMapKind(), kYaml, "data:\n  a: one\n  a: two\n"),
            R"({"apiVersion":"v1","kind":"ConfigMap","data":{"a":"two"}}; duplicate field "data.a")");
}

TEST(Codec, ReportsABoundedNumberOfProblems) {
  std::string body = "{";
  for (int i = 0; i < 5000; ++i) body += "\"x" + std::to_string(i) + "\":1,\"y\":1,";
  const Result<Decoded> decoded = decode(configMapKind(), kJson, body + "\"z\":1}");
  ASSERT_TRUE(decoded);
  EXPECT_LE(decoded->problems.size(), 200u);
}

// ---- hostile input

std::string nested(std::string_view open, std::string_view close, std::size_t depth) {
  std::string text;
  for (std::size_t i = 0; i < depth; ++i) text += open;
  for (std::size_t i = 0; i < depth; ++i) text += close;
  return text;
}

TEST(Codec, RefusesDeepNesting) {
  for (const std::size_t depth : {200u, 100'000u}) {
    EXPECT_FALSE(parseJson(nested("[", "]", depth)));
    EXPECT_FALSE(parseYaml(nested("[", "]", depth)));
    EXPECT_FALSE(parseJson(nested("{\"a\":", "}", depth)));
    EXPECT_NE(shown(configMapKind(), kJson, nested("{\"a\":[", "]}", depth)).find("exceeded max depth"), std::string::npos);
    EXPECT_FALSE(decode(configMapKind(), kYaml, nested("{a: [", "]}", depth)));
    EXPECT_FALSE(decode(configMapKind(), kYaml, nested("- ", "", depth)));
  }
  EXPECT_TRUE(parseJson(nested("[", "]", 100)));
}

TEST(Codec, RefusesAliasesThatExplode) {
  std::string laughs = "a: &a [x,x,x,x,x,x,x,x,x]\n";
  for (char c = 'b'; c <= 'j'; ++c) {
    const std::string last = std::string("*") + static_cast<char>(c - 1);
    laughs += std::string(1, c) + ": &" + c + " [" + last;
    for (int i = 0; i < 8; ++i) laughs += "," + last;
    laughs += "]\n";
  }
  const Result<json::value> parsed = parseYaml(laughs);
  ASSERT_FALSE(parsed);
  EXPECT_NE(parsed.error().sentence.find("excessive aliasing"), std::string::npos) << parsed.error().sentence;
  EXPECT_FALSE(parseYaml("a: &a [*a]"));
  EXPECT_FALSE(parseYaml("a: *nobody"));
}

TEST(Codec, RefusesTextThatIsNotUtf8) {
  for (const char* bad : {"\xff", "\xc0\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe2\x82", "\x80"}) {
    EXPECT_FALSE(decode(configMapKind(), kJson, "{\"data\":{\"a\":\"" + std::string(bad) + "\"}}")) << bad;
    EXPECT_FALSE(decode(configMapKind(), kYaml, "data: {a: \"" + std::string(bad) + "\"}")) << bad;
  }
  EXPECT_TRUE(decode(configMapKind(), kJson, "{\"data\":{\"a\":\"\xf0\x9f\x98\x80\"}}"));
}

TEST(Codec, SurvivesEveryTruncation) {
  const std::string text = json::serialize(sampleOf(podKind())), yaml = toYaml(sampleOf(podKind()));
  for (std::size_t length = 0; length < text.size(); length += 1 + length / 32)
    EXPECT_FALSE(decode(podKind(), kJson, text.substr(0, length)));
  for (std::size_t length = 0; length < yaml.size(); length += 1 + length / 32) (void)decode(podKind(), kYaml, yaml.substr(0, length));
}

TEST(Codec, StaysQuickWithHugeInput) {
  const std::string value(3 << 20, 'x');
  EXPECT_TRUE(decode(configMapKind(), kJson, "{\"data\":{\"a\":\"" + value + "\"}}"));
  std::string list = "[";
  for (int i = 0; i < 500'000; ++i) list += "{},";
  EXPECT_TRUE(decode(podKind(), kJson, "{\"spec\":{\"containers\":" + list + "{}]}}"));
  std::string keys = "{\"data\":{";
  for (int i = 0; i < 200'000; ++i) keys += "\"k" + std::to_string(i) + "\":\"\",";
  EXPECT_TRUE(decode(configMapKind(), kJson, keys + "\"z\":\"\"}}"));
}

TEST(Yaml, PrintsWhatItReadsBack) {
  for (const char* text : {"",
                           "a",
                           "yes",
                           "0644",
                           "1e3",
                           "null",
                           "~",
                           "- a",
                           "a: b",
                           "#x",
                           "x #y",
                           " lead",
                           "trail ",
                           "two\nlines",
                           "two\nlines\n",
                           "end\n\n",
                           "\n",
                           "\ttab",
                           "é",
                           "'",
                           "\"",
                           "{",
                           "2023-03-04",
                           "2023-03-04T09:28:03Z",
                           ".inf",
                           "<<",
                           "=",
                           "\x7f",
                           "%a",
                           "@a",
                           "*a",
                           "&a",
                           "!a",
                           "|",
                           ">",
                           "---",
                           "...",
                           "a:",
                           "?",
                           "? a",
                           "  indented\nmore",
                           "a\n b\n  c",
                           "0x1F",
                           "1_000",
                           "-",
                           "--- a",
                           "\r\n",
                           "line\r\nline"}) {
    const json::value value = json::object{{"k", text}, {text, json::array{text, json::object{{"n", text}}}}};
    const Result<json::value> back = parseYaml(toYaml(value));
    ASSERT_TRUE(back) << toYaml(value) << back.error().sentence;
    EXPECT_EQ(*back, value) << toYaml(value);
  }
}

}  // namespace
}  // namespace podpass::api
