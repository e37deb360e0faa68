#include "api/selector.h"

#include <gtest/gtest.h>

namespace podpass::api {
namespace {

json::object labelled(std::string_view labels) { return json::object{{"metadata", json::object{{"labels", json::parse(labels)}}}}; }

TEST(LabelSelector, MatchesAsKubernetesDoes) {
  struct Case {
    const char* why;
    const char* selector;
    const char* labels;
    bool matches;
  };
  const Case cases[] = {{"nothing is asked", "", R"({})", true},
                        {"white space is free", "  a  =  b , c ", R"({"a":"b","c":""})", true},
                        {"exists", "a", R"({"a":""})", true},
                        {"exists, absent", "a", R"({})", false},
                        {"does not exist", "!a", R"({"b":"1"})", true},
                        {"does not exist, present", "! a", R"({"a":"1"})", false},
                        {"equal", "a=b", R"({"a":"b"})", true},
                        {"equal twice", "a==b", R"({"a":"c"})", false},
                        {"an empty value", "a=", R"({"a":""})", true},
                        {"an empty value is not absence", "a=", R"({})", false},
                        {"an empty value before a comma", "a=,b", R"({"a":"","b":"1"})", true},
                        {"unequal matches absence", "a!=b", R"({})", true},
                        {"unequal", "a!=b", R"({"a":"b"})", false},
                        {"in", "a in (x, y)", R"({"a":"y"})", true},
                        {"in, absent", "a in (x,y)", R"({})", false},
                        {"in without values is the empty value", "a in ()", R"({"a":""})", true},
                        {"a trailing comma is the empty value", "a in (x,)", R"({"a":""})", true},
                        {"notin matches absence", "a notin (x)", R"({})", true},
                        {"notin", "a notin (x,y)", R"({"a":"x"})", false},
                        {"in is a word elsewhere", "in in (in,notin)", R"({"in":"notin"})", true},
                        {"greater", "a>1", R"({"a":"2"})", true},
                        {"greater is not equal", "a>2", R"({"a":"2"})", false},
                        {"less", "a<1", R"({"a":"-3"})", true},
                        {"no number is no match", "a>1", R"({"a":"x"})", false},
                        {"all must hold", "a=1,b=2", R"({"a":"1","b":"3"})", false}};
  for (const Case& c : cases) {
    SCOPED_TRACE(c.why);
    const Result<LabelSelector> selector = LabelSelector::parse(c.selector);
    ASSERT_TRUE(selector) << selector.error().sentence;
    EXPECT_EQ(selector->matches(labelled(c.labels)), c.matches);
  }
}

TEST(LabelSelector, RefusesWithKubernetesSentences) {
  struct Case {
    const char* selector;
    const char* sentence;
  };
  const Case cases[] = {
      {"a b", "unable to parse requirement: found 'b', expected: '=', '!=', '==', 'in', notin'"},
      {"! =b", "unable to parse requirement: found '=', expected: identifier"},
      {"=b", "found '=', expected: !, identifier, or 'end of string'"},
      {"a,", "found '', expected: identifier after ','"},
      {"a=b c", "found 'c', expected: ',' or 'end of string'"},
      {"!a=b", "found '=', expected: ',' or 'end of string'"},
      {"a in b", "unable to parse requirement: found 'b' expected: '('"},
      {"a in (b", "unable to parse requirement: found '', expected: ',' or ')'"},
      {"a in (b c)", "unable to parse requirement: found 'c', expected: ',' or ')'"},
      {"a in (=)", "unable to parse requirement: found '=', expected: ',', ')' or identifier"},
      {"a=(", "unable to parse requirement: found '(', expected: identifier"},
      {"a>x", "unable to parse requirement: values[0]: Invalid value: \"x\": for 'Gt', 'Lt' operators, the value must be an integer"}};
  for (const Case& c : cases) {
    SCOPED_TRACE(c.selector);
    const Result<LabelSelector> selector = LabelSelector::parse(c.selector);
    ASSERT_FALSE(selector);
    EXPECT_EQ(selector.error().reason, Reason::BadRequest);
    EXPECT_EQ(selector.error().sentence, c.sentence);
  }
  const Result<LabelSelector> badKey = LabelSelector::parse("a/b/c=d");
  ASSERT_FALSE(badKey);
  EXPECT_TRUE(badKey.error().sentence.starts_with(R"(unable to parse requirement: <nil>: Invalid value: "a/b/c": )"));
  EXPECT_FALSE(LabelSelector::parse("a=-b-"));
}

TEST(LabelSelector, IsAlsoAnObject) {
  EXPECT_FALSE(LabelSelector::fromObject(nullptr)->matches(labelled(R"({"a":"1"})")));
  const json::object empty;
  EXPECT_TRUE(LabelSelector::fromObject(&empty)->everything());
  const json::object object = json::parse(R"({"matchLabels":{"a":"1"},"matchExpressions":[
      {"key":"b","operator":"In","values":["x","y"]},{"key":"c","operator":"DoesNotExist"},{"key":"d","operator":"NotIn","values":["n"]}]})")
                                  .as_object();
  const Result<LabelSelector> selector = LabelSelector::fromObject(&object);
  ASSERT_TRUE(selector);
  EXPECT_TRUE(selector->matches(labelled(R"({"a":"1","b":"y"})")));
  EXPECT_FALSE(selector->matches(labelled(R"({"a":"1","b":"y","c":""})")));
  EXPECT_FALSE(selector->matches(labelled(R"({"a":"1","b":"y","d":"n"})")));
  const json::object unknown = json::parse(R"({"matchExpressions":[{"key":"b","operator":"Foo"}]})").as_object();
  EXPECT_EQ(LabelSelector::fromObject(&unknown).error().sentence, R"("Foo" is not a valid label selector operator)");
}

const Kind& podLike() {
  static const Kind kind{
      .group = "",
      .version = "v1",
      .kind = "Pod",
      .plural = "pods",
      .singular = "pod",
      .fields = {{.name = "spec", .type = Type::Object, .of = {{.name = "hostNetwork", .type = Type::Boolean}, {.name = "nodeName"}}}},
      .selectableFields = {"spec.nodeName", "spec.hostNetwork", "status.podIPs", "source", "spec.audiences"}};
  return kind;
}

const Kind& configMapLike() {
  static const Kind kind{.group = "", .version = "v1", .kind = "ConfigMap", .plural = "configmaps", .singular = "configmap"};
  return kind;
}

TEST(FieldSelector, MatchesTheFieldsThatTheKindNames) {
  const json::object pod = json::parse(R"({"metadata":{"name":"a,b=c\\d","namespace":"n"},"spec":{"nodeName":"n1","audiences":["a","b"]},
      "status":{"podIPs":[{"ip":"10.0.0.1"},{"ip":"::1"}]},"source":{"component":"kubelet"}})")
                               .as_object();
  struct Case {
    const char* why;
    const char* selector;
    bool matches;
  };
  const Case cases[] = {{"nothing is asked", "", true},
                        {"equal", "spec.nodeName=n1", true},
                        {"equal twice", "spec.nodeName==n2", false},
                        {"unequal", "spec.nodeName!=n2,metadata.namespace=n", true},
                        {"escapes", R"(metadata.name=a\,b\=c\\d)", true},
                        {"an absent boolean is false", "spec.hostNetwork=false", true},
                        {"addresses are joined", R"(status.podIPs=10.0.0.1\,::1)", true},
                        {"one of a list of texts", "spec.audiences=b", true},
                        {"none of a list of texts", "spec.audiences=a b", false},
                        {"not in a list of texts", "spec.audiences!=b", false},
                        {"an event's source is its component", "source=kubelet", true}};
  for (const Case& c : cases) {
    SCOPED_TRACE(c.why);
    const Result<FieldSelector> selector = FieldSelector::parse(podLike(), c.selector);
    ASSERT_TRUE(selector) << selector.error().sentence;
    EXPECT_EQ(selector->matches(pod), c.matches);
  }
}

TEST(FieldSelector, TakesAnEscapedValueForTheValue) {
  for (const std::string value : {"", "plain", "a,b=c\\d", "\\", ",,==", "https://a.example/?x=1,2"}) {
    const Result<FieldSelector> selector = FieldSelector::parse(podLike(), "spec.nodeName=" + escapedFieldValue(value));
    ASSERT_TRUE(selector) << selector.error().sentence;
    EXPECT_EQ(selector->valueOf("spec.nodeName"), value);
  }
}

TEST(FieldSelector, RefusesWithKubernetesSentences) {
  EXPECT_EQ(FieldSelector::parse(podLike(), "foo").error().sentence, "invalid selector: 'foo'; can't understand 'foo'");
  EXPECT_EQ(FieldSelector::parse(podLike(), "spec.foo=1").error().sentence, "field label not supported: spec.foo");
  EXPECT_EQ(FieldSelector::parse(configMapLike(), "foo=1").error().sentence,
            R"("foo" is not a known field selector: only "metadata.name", "metadata.namespace")");
  EXPECT_EQ(FieldSelector::parse(podLike(), R"(metadata.name=a\x)").error().sentence,
            R"(invalid field selector: invalid escape sequence: \x)");
  EXPECT_EQ(FieldSelector::parse(podLike(), R"(metadata.name=a\)").error().sentence,
            R"(invalid field selector: invalid escape sequence: \)");
  EXPECT_FALSE(FieldSelector::parse(podLike(), "metadata.name=a=b"));
}

TEST(FieldSelector, TellsTheOneNameItAsksFor) {
  EXPECT_EQ(FieldSelector::parse(configMapLike(), "metadata.namespace=n,metadata.name=x")->name(), "x");
  EXPECT_EQ(FieldSelector::parse(configMapLike(), "metadata.name!=x")->name(), "");
  EXPECT_EQ(FieldSelector::parse(configMapLike(), "metadata.name=x,metadata.name=y")->name(), "");
  EXPECT_EQ(FieldSelector::parse(podLike(), "spec.nodeName=n1")->valueOf("spec.nodeName"), "n1");
  EXPECT_EQ(FieldSelector::parse(podLike(), "spec.nodeName!=n1")->valueOf("spec.nodeName"), "");
}

}  // namespace
}  // namespace podpass::api
