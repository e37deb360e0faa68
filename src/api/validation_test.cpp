#include <gtest/gtest.h>

#include "api/codec.h"
#include "api/kinds.h"

// The texts of spec api.md §8; a client prints them, so they are compared whole.
namespace podpass::api {
namespace {

using Texts = std::vector<std::string>;

json::object objectOf(const Kind& kind, std::string_view yaml) {
  const Result<Decoded> decoded = decode(kind, "application/yaml", yaml);
  EXPECT_TRUE(decoded) << (decoded ? "" : decoded.error().sentence);
  if (!decoded) return {};
  EXPECT_EQ(decoded->problems, Texts{}) << yaml;
  json::object object = decoded->object;
  applyDefaults(kind, object);
  return object;
}

Texts textsOf(const std::vector<Cause>& causes) {
  Texts texts;
  for (const Cause& cause : causes) texts.push_back(cause.field + ": " + cause.message);
  return texts;
}

Texts problemsOf(const Kind& kind, std::string_view yaml) { return textsOf(validate(kind, objectOf(kind, yaml))); }

Texts updateProblems(const Kind& kind, std::string_view before, std::string_view now) {
  return textsOf(validateUpdate(kind, objectOf(kind, now), objectOf(kind, before)));
}

struct Case {
  const char* why;
  const char* yaml;
  Texts texts;
};

void expectProblems(const Kind& kind, const std::vector<Case>& cases, const std::string& prefix = {}) {
  for (const Case& c : cases) {
    SCOPED_TRACE(c.why);
    EXPECT_EQ(problemsOf(kind, prefix + c.yaml), c.texts);
  }
}

const std::string kSubdomain =
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an "
    "alphanumeric character (e.g. 'example.com', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const std::string kLabel =
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric "
    "character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";

// ---- names

TEST(Names, EndWhereKubernetesEndsThem) {
  struct Rule {
    std::string_view (*problem)(std::string_view);
    std::string longest;
    std::vector<std::string> good, bad;
  };
  const Rule rules[] = {
      {subdomainProblem,
       std::string(253, 'a'),
       {"a", "1", "a.b", "a-b", "a--b"},
       {"", "A", "a.", ".a", "a..b", "-a", "a-", "a_b", "é", "a\n"}},
      {labelProblem, std::string(63, 'a'), {"a", "0-0"}, {"", "a.b", "A", "-a", "a-"}},
      {qualifiedNameProblem, "x.y/" + std::string(63, 'a'), {"a", "A_b.c", "x.y/a"}, {"", "/a", "a/", "a/b/c", "-a", "X/a", "a b"}},
      {labelValueProblem, std::string(63, 'a'), {"", "A_b.c", "1"}, {"-a", "a-", "a b", "é"}},
      {configKeyProblem, std::string(253, 'a'), {"a", ".a", "A_b-c.d", "a..b"}, {"", ".", "..", "..a", "a/b", "a b"}},
      {pathSegmentProblem, std::string(9999, 'a'), {"system:node", "a b"}, {".", "..", "a/b", "a%b"}}};
  for (const Rule& rule : rules) {
    EXPECT_EQ(rule.problem(rule.longest), "");
    if (rule.problem != pathSegmentProblem) {
      EXPECT_NE(rule.problem(rule.longest + "a"), "");
    }
    for (const std::string& name : rule.good) EXPECT_EQ(rule.problem(name), "") << name;
    for (const std::string& name : rule.bad) EXPECT_NE(rule.problem(name), "") << name;
  }
}

TEST(Names, AreRefusedInKubernetesWords) {
  const std::string longName(254, 'a');
  expectProblems(configMapKind(),
                 {
                     {"none", "metadata: {namespace: ns}", {"metadata.name: Required value: name or generateName is required"}},
                     {"upper case", "metadata: {namespace: ns, name: A}", {"metadata.name: Invalid value: \"A\": " + kSubdomain}},
                     {"a prefix may end in a dash", "metadata: {namespace: ns, name: a-x, generateName: a-}", {}},
                     {"no namespace", "metadata: {name: a}", {"metadata.namespace: Required value"}},
                     {"a bad namespace", "metadata: {name: a, namespace: A.b}", {"metadata.namespace: Invalid value: \"A.b\": " + kLabel}},
                 });
  EXPECT_EQ(problemsOf(configMapKind(), "metadata: {namespace: ns, name: " + longName + "}"),
            Texts{"metadata.name: Invalid value: \"" + longName + "\": must be no more than 253 characters"});
  EXPECT_EQ(problemsOf(namespaceKind(), "metadata: {name: a.b}"), Texts{"metadata.name: Invalid value: \"a.b\": " + kLabel});
  EXPECT_EQ(problemsOf(nodeKind(), "metadata: {name: a, namespace: ns}"), Texts{"metadata.namespace: Forbidden: not allowed on this type"});
  EXPECT_EQ(problemsOf(clusterRoleKind(), "metadata: {name: 'a/b'}"), Texts{"metadata.name: Invalid value: \"a/b\": may not contain '/'"});
}

TEST(Metadata, IsCheckedForEveryKind) {
  const std::string_view value =
      "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "
      "alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
      "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
  expectProblems(
      configMapKind(),
      {{"a label's value", "labels: {a: '-'}}", {"metadata.labels: Invalid value: \"-\": " + std::string(value)}},
       {"a label's key", "labels: {'x/': b}}", {"metadata.labels: Invalid value: \"x/\": name part must be non-empty"}},
       {"an annotation's key in upper case is fine", "annotations: {EXAMPLE.com/A: b}}", {}},
       {"an owner without uid",
        "ownerReferences: [{apiVersion: v1, kind: Pod, name: p}]}",
        {"metadata.ownerReferences.uid: Invalid value: \"\": uid must not be empty"}},
       {"two controllers",
        "ownerReferences: [{apiVersion: v1, kind: Pod, name: p, uid: u, controller: true}, {apiVersion: v1, kind: Pod, name: q, uid: v, "
        "controller: true}]}",
        {"metadata.ownerReferences: Invalid value: "
         R"([{"apiVersion":"v1","kind":"Pod","name":"p","uid":"u","controller":true},{"apiVersion":"v1","kind":"Pod","name":"q","uid":"v","controller":true}])"
         ": Only one reference can have Controller set to true. Found \"true\" in references for Pod/p and Pod/q"}}},
      "metadata: {name: a, namespace: ns, ");
  const std::string half(131'072 - 1, 'x');
  EXPECT_EQ(problemsOf(configMapKind(), "metadata: {name: a, namespace: ns, annotations: {a: " + half + ", b: " + half + "}}"), Texts{});
  EXPECT_EQ(problemsOf(configMapKind(), "metadata: {name: a, namespace: ns, annotations: {a: " + half + ", b: " + half + "x}}"),
            Texts{"metadata.annotations: Too long: must have at most 262144 bytes"});
}

TEST(Metadata, KeepsWhatMayNotChange) {
  EXPECT_EQ(updateProblems(configMapKind(), "metadata: {name: a, namespace: ns, uid: u}", "metadata: {name: a, namespace: ns, uid: zz}"),
            Texts{"metadata.uid: Invalid value: \"zz\": field is immutable"});
  EXPECT_EQ(updateProblems(configMapKind(), "metadata: {name: a, deletionTimestamp: '2023-03-04T09:28:03Z'}",
                           "metadata: {name: a, finalizers: [x/y]}"),
            Texts{"metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers "
                  "[]string{\"x/y\"}"});
  EXPECT_EQ(updateProblems(configMapKind(), "metadata: {name: a, finalizers: [x/y]}", "metadata: {name: a, finalizers: [x/z]}"), Texts{});
}

// ---- small kinds

TEST(ConfigMap, IsBoundedAndKeepsItsPromise) {
  expectProblems(configMapKind(),
                 {{"a key in both",
                   "data: {a: x}\nbinaryData: {a: eA==}\n",
                   {"data[a]: Invalid value: \"a\": duplicate of key present in binaryData"}},
                  {"a bad key",
                   "data: {'a/b': x}\n",
                   {"data[a/b]: Invalid value: \"a/b\": a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. "
                    "'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"}},
                  {"two dots first", "data: {'..a': x}\n", {"data[..a]: Invalid value: \"..a\": must not start with '..'"}}},
                 "metadata: {name: a, namespace: ns}\n");
  const std::string full(1 << 20, 'x');
  EXPECT_EQ(problemsOf(configMapKind(), "metadata: {name: a, namespace: ns}\ndata: {a: " + full + "}"), Texts{});
  EXPECT_EQ(problemsOf(configMapKind(), "metadata: {name: a, namespace: ns}\ndata: {a: " + full + "x}"),
            Texts{"[]: Too long: must have at most 1048576 bytes"});
  EXPECT_EQ(updateProblems(configMapKind(), "metadata: {name: a}\nimmutable: true\ndata: {a: x}", "metadata: {name: a}\ndata: {a: z}"),
            (Texts{"immutable: Forbidden: field is immutable when `immutable` is set",
                   "data: Forbidden: field is immutable when `immutable` is set"}));
  EXPECT_EQ(updateProblems(configMapKind(), "metadata: {name: a}\nimmutable: true\ndata: {a: x}",
                           "metadata: {name: a, labels: {b: c}}\nimmutable: true\ndata: {a: x}"),
            Texts{});
}

TEST(Secret, HoldsWhatItsTypePromises) {
  expectProblems(
      secretKind(),
      {{"a token Secret without its account",
        "type: kubernetes.io/service-account-token\n",
        {"metadata.annotations[kubernetes.io/service-account.name]: Required value"}},
       {"a docker configuration", "type: kubernetes.io/dockerconfigjson\n", {"data[.dockerconfigjson]: Required value"}},
       {"one that is no JSON",
        "type: kubernetes.io/dockerconfigjson\nstringData: {.dockerconfigjson: xyz}\n",
        {"data[.dockerconfigjson]: Invalid value: \"<secret contents redacted>\": invalid character 'x' looking for beginning of value"}},
       {"the old docker configuration", "type: kubernetes.io/dockercfg\n", {"data[.dockercfg]: Required value"}},
       {"a certificate", "type: kubernetes.io/tls\n", {"data[tls.crt]: Required value", "data[tls.key]: Required value"}},
       {"a certificate with both", "type: kubernetes.io/tls\nstringData: {tls.crt: '', tls.key: ''}\n", {}},
       {"a password alone is enough", "type: kubernetes.io/basic-auth\nstringData: {password: p}\n", {}},
       {"neither name nor password",
        "type: kubernetes.io/basic-auth\n",
        {"data[username]: Required value", "data[password]: Required value"}},
       {"an ssh key", "type: kubernetes.io/ssh-auth\n", {"data[ssh-privatekey]: Required value"}},
       {"a type of one's own", "type: example.com/x\n", {}}},
      "metadata: {name: a, namespace: ns}\n");
  EXPECT_EQ(updateProblems(secretKind(), "metadata: {name: a}\ntype: x", "metadata: {name: a}\ntype: foo"),
            Texts{"type: Invalid value: \"foo\": field is immutable"});
  const std::string full(1 << 20, 'x');
  EXPECT_EQ(problemsOf(secretKind(), "metadata: {name: a, namespace: ns}\nstringData: {a: " + full + "}"), Texts{});
  EXPECT_EQ(problemsOf(secretKind(), "metadata: {name: a, namespace: ns}\nstringData: {a: " + full + "x}"),
            Texts{"data: Too long: must have at most 1048576 bytes"});
}

TEST(SmallKinds, SayWhatTheyNeed) {
  expectProblems(
      leaseKind(),
      {{"no time at all", "spec: {leaseDurationSeconds: 0}", {"spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0"}},
       {"turned back", "spec: {leaseTransitions: -1}", {"spec.leaseTransitions: Invalid value: -1: must be greater than or equal to 0"}}},
      "metadata: {name: a, namespace: ns}\n");
  expectProblems(eventKind(),
                 {{"another namespace",
                   "involvedObject: {namespace: zz}",
                   {"involvedObject.namespace: Invalid value: \"zz\": does not match event.namespace"}},
                  {"its own", "involvedObject: {namespace: ns}", {}}},
                 "metadata: {name: a, namespace: ns}\n");
  expectProblems(roleBindingKind(),
                 {{"no role", "roleRef: {}", {"roleRef.kind: Required value", "roleRef.name: Required value"}},
                  {"a strange subject",
                   "roleRef: {kind: Role, name: r}\nsubjects: [{kind: Robot, name: x}]",
                   {"subjects[0].kind: Unsupported value: \"Robot\": supported values: \"ServiceAccount\", \"User\", \"Group\""}}},
                 "metadata: {name: a, namespace: ns}\n");
  EXPECT_EQ(updateProblems(roleBindingKind(), "metadata: {name: a}\nroleRef: {kind: Role, name: r}",
                           "metadata: {name: a}\nroleRef: {kind: Role, name: s}"),
            Texts{R"(roleRef: Invalid value: {"kind":"Role","name":"s","apiGroup":"rbac.authorization.k8s.io"}: cannot change roleRef)"});
  expectProblems(roleKind(),
                 {{"nothing allowed",
                   "rules: [{apiGroups: [''], resources: [pods]}]",
                   {"rules[0].verbs: Required value: verbs must contain at least one value"}},
                  {"a path in a namespace",
                   "rules: [{verbs: [get], nonResourceURLs: [/x]}]",
                   {R"(rules[0].nonResourceURLs: Invalid value: ["/x"]: namespaced rules cannot apply to non-resource URLs)"}}},
                 "metadata: {name: a, namespace: ns}\n");
  EXPECT_EQ(updateProblems(nodeKind(), "metadata: {name: a}\nspec: {podCIDR: 10.0.0.0/24, providerID: a}",
                           "metadata: {name: a}\nspec: {podCIDR: 10.0.1.0/24, providerID: b}"),
            (Texts{"spec.podCIDRs: Forbidden: node updates may not change podCIDR except from \"\" to valid",
                   "spec.providerID: Forbidden: node updates may not change providerID except from \"\" to valid"}));
}

TEST(TokenRequest, HasItsLimits) {
  for (const auto& [seconds, text] :
       {std::pair{"599", "spec.expirationSeconds: Invalid value: 599: may not specify a duration less than 10 minutes"},
        {"4294967297", "spec.expirationSeconds: Invalid value: 4294967297: may not specify a duration larger than 2^32 seconds"}})
    EXPECT_EQ(problemsOf(tokenRequestKind(), std::string("metadata: {name: a, namespace: ns}\nspec: {expirationSeconds: ") + seconds + "}"),
              Texts{text});
  for (const char* seconds : {"600", "4294967296"})
    EXPECT_EQ(problemsOf(tokenRequestKind(), std::string("metadata: {name: a, namespace: ns}\nspec: {expirationSeconds: ") + seconds + "}"),
              Texts{});
}

// ---- Pod

constexpr const char* kPod = "metadata: {name: p, namespace: ns}\nspec:\n  serviceAccountName: default\n";

TEST(Pod, SaysWhatIsWrongWithItsContainers) {
  expectProblems(
      podKind(),
      {{"none", "", {"spec.containers: Required value"}},
       {"no image", "  containers: [{name: c}]", {"spec.containers[0].image: Required value"}},
       {"two of one name", "  containers: [{name: c, image: i}, {name: c, image: i}]", {"spec.containers[1].name: Duplicate value: \"c\""}},
       {"a bad name", "  containers: [{name: C, image: i}]", {"spec.containers[0].name: Invalid value: \"C\": " + kLabel}},
       {"a mount of nothing",
        "  containers: [{name: c, image: i, volumeMounts: [{name: v, mountPath: /a}]}]",
        {"spec.containers[0].volumeMounts[0].name: Not found: \"v\""}},
       {"two mounts at one place",
        "  volumes: [{name: v}]\n  containers: [{name: c, image: i, volumeMounts: [{name: v, mountPath: /a}, {name: v, mountPath: /a}]}]",
        {"spec.containers[0].volumeMounts[1].mountPath: Invalid value: \"/a\": must be unique"}},
       {"a strange pull policy",
        "  containers: [{name: c, image: i, imagePullPolicy: Foo}]",
        {"spec.containers[0].imagePullPolicy: Unsupported value: \"Foo\": supported values: \"Always\", \"IfNotPresent\", \"Never\""}},
       {"a value twice",
        "  containers: [{name: c, image: i, env: [{name: E, value: x, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]}]",
        {"spec.containers[0].env[0].valueFrom: Invalid value: \"\": may not be specified when `value` is not empty"}},
       {"a field that pods do not have",
        "  containers: [{name: c, image: i, env: [{name: E, valueFrom: {fieldRef: {fieldPath: spec.foo}}}]}]",
        {"spec.containers[0].env[0].valueFrom.fieldRef.fieldPath: Invalid value: \"spec.foo\": error converting fieldPath: field label not "
         "supported: spec.foo"}},
       {"a probe without a handler",
        "  containers: [{name: c, image: i, livenessProbe: {periodSeconds: 5}}]",
        {"spec.containers[0].livenessProbe: Required value: must specify a handler type"}},
       {"more wanted than allowed",
        "  containers: [{name: c, image: i, resources: {limits: {cpu: 100m}, requests: {cpu: 1}}}]",
        {"spec.containers[0].resources.requests: Invalid value: \"1\": must be less than or equal to cpu limit of 100m"}},
       {"all at once, volumes first",
        "  restartPolicy: Foo\n  containers: [{name: c}]\n  volumes: [{name: v, secret: {}}]",
        {"spec.volumes[0].secret.secretName: Required value", "spec.containers[0].image: Required value",
         "spec.restartPolicy: Unsupported value: \"Foo\": supported values: \"Always\", \"OnFailure\", \"Never\""}}},
      kPod);
}

TEST(Pod, SaysWhatIsWrongWithItself) {
  expectProblems(podKind(),
                 {{"a strange DNS policy",
                   "  dnsPolicy: Foo",
                   {"spec.dnsPolicy: Unsupported value: \"Foo\": supported values: \"ClusterFirstWithHostNet\", \"ClusterFirst\", "
                    "\"Default\", \"None\""}},
                  {"no time",
                   "  activeDeadlineSeconds: 0",
                   {"spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive"}},
                  {"too much time",
                   "  activeDeadlineSeconds: 2147483648",
                   {"spec.activeDeadlineSeconds: Invalid value: 2147483648: must be between 1 and 2147483647, inclusive"}},
                  {"a toleration of nothing",
                   "  tolerations: [{operator: Equal}]",
                   {"spec.tolerations[0].operator: Invalid value: \"Equal\": operator must be Exists when `key` is empty, which means "
                    "\"match all values "
                    "and all keys\""}}},
                 std::string(kPod) + "  containers: [{name: c, image: i}]\n");
}

TEST(Pod, SaysWhatIsWrongWithItsVolumes) {
  expectProblems(
      podKind(),
      {{"two of one name", "[{name: v}, {name: v}]", {"spec.volumes[1].name: Duplicate value: \"v\""}},
       {"a secret without a name", "[{name: v, secret: {}}]", {"spec.volumes[0].secret.secretName: Required value"}},
       {"two sources",
        "[{name: v, emptyDir: {}, secret: {secretName: s}}]",
        {"spec.volumes[0].secret: Forbidden: may not specify more than 1 volume type"}},
       {"a path that climbs",
        "[{name: v, secret: {secretName: s, items: [{key: k, path: ../x}]}}]",
        {"spec.volumes[0].secret.items[0].path: Invalid value: \"../x\": must not contain '..'"}},
       {"an absolute path",
        "[{name: v, configMap: {name: s, items: [{key: k, path: /x}]}}]",
        {"spec.volumes[0].configMap.items[0].path: Invalid value: \"/x\": must be a relative path"}},
       {"modes beyond 0777",
        "[{name: v, projected: {defaultMode: 9999}}]",
        {"spec.volumes[0].projected.defaultMode: Invalid value: 9999: must be a number between 0 and 0777 (octal), both inclusive"}},
       {"the last good mode", "[{name: v, projected: {defaultMode: 0777}}]", {}},
       {"the first bad mode",
        "[{name: v, projected: {defaultMode: 01000}}]",
        {"spec.volumes[0].projected.defaultMode: Invalid value: 512: must be a number between 0 and 0777 (octal), both inclusive"}},
       {"a token that is too short-lived",
        "[{name: v, projected: {sources: [{serviceAccountToken: {path: t, expirationSeconds: 5}}]}}]",
        {"spec.volumes[0].projected.sources[0].serviceAccountToken.expirationSeconds: Invalid value: 5: may not specify a duration less "
         "than "
         "10 minutes"}},
       {"a token that lives too long",
        "[{name: v, projected: {sources: [{serviceAccountToken: {path: t, expirationSeconds: 9999999999}}]}}]",
        {"spec.volumes[0].projected.sources[0].serviceAccountToken.expirationSeconds: Invalid value: 9999999999: may not specify a "
         "duration "
         "larger than 2^32 seconds"}},
       {"a token without a file",
        "[{name: v, projected: {sources: [{serviceAccountToken: {}}]}}]",
        {"spec.volumes[0].projected.path: Required value"}},
       {"two kinds in one source",
        "[{name: v, projected: {sources: [{secret: {name: s}}, {secret: {name: s}, configMap: {name: c}}]}}]",
        {"spec.volumes[0].projected.sources[1]: Forbidden: may not specify more than 1 volume type"}},
       {"one file from two sources",
        "[{name: v, projected: {sources: [{secret: {name: s, items: [{key: a, path: f}]}}, {configMap: {name: c, items: [{key: b, path: "
        "f}]}}]}}]",
        {"spec.volumes[0].projected: Invalid value: \"c\": conflicting duplicate paths"}}},
      std::string(kPod) + "  containers: [{name: c, image: i}]\n  volumes: ");
  EXPECT_EQ(
      problemsOf(podKind(),
                 "metadata: {name: p, namespace: ns}\nspec:\n  containers: [{name: c, image: i}]\n"
                 "  volumes: [{name: v, projected: {sources: [{serviceAccountToken: {path: t}}]}}]"),
      Texts{
          "spec.volumes[0].projected.sources[0].serviceAccountToken: Forbidden: must not be specified when serviceAccountName is not set"});
}

TEST(Pod, ChangesOnlyWhereKubernetesLetsIt) {
  const std::string before = std::string(kPod) + "  activeDeadlineSeconds: 100\n  containers: [{name: c, image: i}]\n";
  const auto changed = [&](std::string_view from, std::string_view to) {
    std::string now = before;
    now.replace(now.find(from), from.size(), to);
    return updateProblems(podKind(), before, now);
  };
  EXPECT_EQ(changed("image: i", "image: j, imagePullPolicy: Always"), Texts{});
  EXPECT_EQ(changed("Seconds: 100", "Seconds: 50"), Texts{});
  EXPECT_EQ(changed("Seconds: 100", "Seconds: 101"),
            Texts{"spec.activeDeadlineSeconds: Invalid value: 101: must be less than or equal to previous value"});
  EXPECT_EQ(changed("image: i}", "image: i}, {name: d, image: i}"),
            Texts{"spec.containers: Forbidden: pod updates may not add or remove containers"});
  const Texts hostname = changed("  containers", "  hostname: h\n  containers");
  ASSERT_EQ(hostname.size(), 1u);
  EXPECT_TRUE(hostname[0].starts_with("spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`"))
      << hostname[0];
}

// ---- the Status

TEST(Invalid, IsOneSentenceWithEveryCause) {
  const Error one = invalid(podKind(), "p", {{"spec.containers", "Required value", "FieldValueRequired"}});
  EXPECT_EQ(one.sentence, "Pod \"p\" is invalid: spec.containers: Required value");
  EXPECT_EQ(one.reason, Reason::Invalid);
  EXPECT_EQ(one.about.kind, "Pod");
  const Error more = invalid(leaseKind(), "l", {{"a", "x", "r"}, {"b", "y", "r"}, {"a", "x", "r"}});
  EXPECT_EQ(more.sentence, "Lease.coordination.k8s.io \"l\" is invalid: [a: x, b: y]") << "repetitions are told once";
  EXPECT_EQ(more.causes.size(), 3u);
  EXPECT_EQ(more.about.group, "coordination.k8s.io");
}

}  // namespace
}  // namespace podpass::api
