#include <gtest/gtest.h>

#include "api/patch.h"
#include "irsa/admission_review.h"
#include "irsa/aws.h"

namespace podpass::irsa {
namespace {

constexpr const char* kArn = "arn:aws:iam::210987654321:role/reader";

json::object parsed(std::string_view text) { return json::parse(text).as_object(); }

// The patch of a pod whose service account has these annotations.
std::string patchOf(std::string_view podText, std::string_view annotations, const AwsSettings& settings = {}) {
  const json::object pod = parsed(podText), account = parsed(annotations);
  const Result<PodView> view = viewPod(pod);
  if (!view) return view.error().sentence;
  const Injection injection = webIdentity(roleSettings(&account, settings), *view, settings);
  return podPatch(*view, {&injection, 1}).json;
}

std::string credentialsPatchOf(std::string_view podText, std::optional<RoleSettings> role, std::int64_t jitter,
                               const AwsSettings& settings = {}) {
  const json::object pod = parsed(podText);
  const Injection injection = containerCredentials(role, *viewPod(pod), settings, jitter);
  return podPatch(*viewPod(pod), {&injection, 1}).json;
}

// Only the value of /spec/containers, which most rules show in.
std::string containersOf(std::string_view podText, std::string_view annotations, const AwsSettings& settings = {}) {
  const json::value patch = json::parse(patchOf(podText, annotations, settings));
  for (const json::value& operation : patch.as_array())
    if (textAt(operation.as_object(), {"path"}) == "/spec/containers") return json::serialize(operation.at("value"));
  return "no containers";
}

std::string withRole() { return std::string(R"({"eks.amazonaws.com/role-arn":")") + kArn + "\"}"; }

TEST(Mutation, IsByteForByteTheAmazonWebhooks) {
  AwsSettings settings;
  settings.region = "eu-west-1";
  EXPECT_EQ(
      patchOf(R"({"spec":{"containers":[{"name":"c","image":"i:1"}]}})", withRole(), settings),
      R"([{"op":"add","path":"/spec/volumes","value":[{"name":"aws-iam-token","projected":{"sources":[{"serviceAccountToken":)"
      R"({"audience":"sts.amazonaws.com","expirationSeconds":86400,"path":"token"}}]}}]},)"
      R"({"op":"add","path":"/spec/containers","value":[{"name":"c","image":"i:1","env":[{"name":"AWS_DEFAULT_REGION","value":"eu-west-1"},)"
      R"({"name":"AWS_REGION","value":"eu-west-1"},{"name":"AWS_ROLE_ARN","value":"arn:aws:iam::210987654321:role/reader"},)"
      R"({"name":"AWS_WEB_IDENTITY_TOKEN_FILE","value":"/var/run/secrets/eks.amazonaws.com/serviceaccount/token"}],"resources":{},)"
      R"("volumeMounts":[{"name":"aws-iam-token","readOnly":true,"mountPath":"/var/run/secrets/eks.amazonaws.com/serviceaccount"}]}]}])");
}

TEST(Mutation, PutsTheVolumeInFrontAndInitContainersLast) {
  const std::string patch = patchOf(
      R"({"spec":{"volumes":[],"initContainers":[{"name":"i","restartPolicy":"Always"}],"containers":[{"name":"c"}],"ephemeralContainers":[{"name":"e"}]}})",
      withRole());
  const json::array operations = json::parse(patch).as_array();
  ASSERT_EQ(operations.size(), 3u);
  EXPECT_EQ(operations[0].at("path"), "/spec/volumes/0");
  EXPECT_EQ(operations[1].at("path"), "/spec/containers");
  EXPECT_EQ(operations[2].at("path"), "/spec/initContainers");
  EXPECT_EQ(operations[2].at("value").at(0).at("env").at(0).at("name"), "AWS_ROLE_ARN");
  EXPECT_EQ(patch.find("\"e\""), std::string::npos);
}

// The environment and mounts that one container ends up with, by what it had before.
TEST(Mutation, AddsToAContainerWhatItLacks) {
  constexpr const char* kPair =
      R"({"name":"AWS_ROLE_ARN","value":"arn:aws:iam::210987654321:role/reader"},)"
      R"({"name":"AWS_WEB_IDENTITY_TOKEN_FILE","value":"/var/run/secrets/eks.amazonaws.com/serviceaccount/token"})";
  constexpr const char* kMount =
      R"({"name":"aws-iam-token","readOnly":true,"mountPath":"/var/run/secrets/eks.amazonaws.com/serviceaccount"})";
  constexpr const char* kRegions = R"({"name":"AWS_DEFAULT_REGION","value":"eu-west-1"},{"name":"AWS_REGION","value":"eu-west-1"})";
  constexpr const char* kSts = R"({"name":"AWS_STS_REGIONAL_ENDPOINTS","value":"regional"})";
  const std::string pair = kPair, mount = kMount, regions = kRegions, sts = kSts;
  struct Case {
    const char* why;
    std::string before, after;
  };
  const Case cases[] = {
      {"nothing", R"("resources":{})",
       R"("env":[)" + sts + "," + regions + "," + pair + R"(],"resources":{},"volumeMounts":[)" + mount + "]"},
      {"one of the pair keeps both away, but not the mount", R"("env":[{"name":"AWS_ROLE_ARN"}])",
       R"("env":[{"name":"AWS_ROLE_ARN"},)" + sts + "," + regions + R"(],"resources":{},"volumeMounts":[)" + mount + "]"},
      {"either region keeps both away", R"("env":[{"name":"AWS_REGION","value":"x"}])",
       R"("env":[{"name":"AWS_REGION","value":"x"},)" + sts + "," + pair + R"(],"resources":{},"volumeMounts":[)" + mount + "]"},
      {"all three are there: not even a mount",
       R"("env":[{"name":"AWS_WEB_IDENTITY_TOKEN_FILE","value":"f"},{"name":"AWS_DEFAULT_REGION","value":"x"},{"name":"AWS_STS_REGIONAL_ENDPOINTS","value":"legacy"}])",
       R"("env":[{"name":"AWS_WEB_IDENTITY_TOKEN_FILE","value":"f"},{"name":"AWS_DEFAULT_REGION","value":"x"},{"name":"AWS_STS_REGIONAL_ENDPOINTS","value":"legacy"}],"resources":{})"},
      {"the other method's names are not this one's", R"("env":[{"name":"AWS_CONTAINER_CREDENTIALS_FULL_URI","value":"u"}])",
       R"("env":[{"name":"AWS_CONTAINER_CREDENTIALS_FULL_URI","value":"u"},)" + sts + "," + regions + "," + pair +
           R"(],"resources":{},"volumeMounts":[)" + mount + "]"},
      {"a mount of that name stays", R"("volumeMounts":[{"name":"aws-iam-token","mountPath":"/x"}])",
       R"("env":[)" + sts + "," + regions + "," + pair + R"(],"resources":{},"volumeMounts":[{"name":"aws-iam-token","mountPath":"/x"}])"},
      {"other mounts come first", R"("volumeMounts":[{"name":"v","mountPath":"/v","subPath":"s","readOnly":false}])",
       R"("env":[)" + sts + "," + regions + "," + pair +
           R"(],"resources":{},"volumeMounts":[{"name":"v","mountPath":"/v","subPath":"s"},)" + mount + "]"},
      {"null lists are empty lists", R"("env":null,"volumeMounts":null)",
       R"("env":[)" + sts + "," + regions + "," + pair + R"(],"resources":{},"volumeMounts":[)" + mount + "]"}};
  AwsSettings settings;
  settings.region = "eu-west-1";
  settings.regionalSts = true;
  for (const Case& c : cases) {
    SCOPED_TRACE(c.why);
    const std::string patch = patchOf(R"({"spec":{"containers":[{"name":"c",)" + c.before + "}]}}", withRole(), settings);
    EXPECT_NE(patch.find(R"("path":"/spec/containers","value":[{"name":"c",)" + c.after + "}]}"), std::string::npos) << patch;
  }
}

TEST(Mutation, TakesTheExpirationFromThePodThenTheAccountThenTheFlag) {
  struct Case {
    const char *why, *pod, *account;
    std::int64_t flag, expected;
  };
  const Case cases[] = {{"the flag", "", "", 7200, 7200},
                        {"a flag below the minimum is raised", "", "", 5, 600},
                        {"the account", "", "3600", 7200, 3600},
                        {"the pod", "1800", "3600", 7200, 1800},
                        {"below the minimum", "599", "", 7200, 600},
                        {"negative", "-3", "", 7200, 600},
                        {"a sign is a number", "+900", "", 7200, 900},
                        {"no number on the pod: the account's", "1h", "3600", 7200, 3600},
                        {"no number on the account: the flag", "", "1_000", 7200, 7200},
                        {"past 64 bits is no number", "99999999999999999999", "", 7200, 7200},
                        {"there is no upper bound", "4000000000", "", 7200, 4000000000}};
  for (const Case& c : cases) {
    SCOPED_TRACE(c.why);
    AwsSettings settings;
    settings.expirationSeconds = c.flag;
    std::string pod = R"({"metadata":{"annotations":{)", account = R"({"eks.amazonaws.com/role-arn":"r")";
    if (*c.pod != 0) pod += std::string(R"("eks.amazonaws.com/token-expiration":")") + c.pod + "\"";
    if (*c.account != 0) account += std::string(R"(,"eks.amazonaws.com/token-expiration":")") + c.account + "\"";
    const std::string patch = patchOf(pod + R"(}},"spec":{"containers":[]}})", account + "}", settings);
    EXPECT_NE(patch.find("\"expirationSeconds\":" + std::to_string(c.expected) + ","), std::string::npos) << patch;
  }
}

TEST(Mutation, FollowsTheAnnotationsOfTheServiceAccount) {
  struct Case {
    const char *why, *annotations, *found, *absent;
  };
  const Case cases[] = {
      {"an audience of its own", R"({"eks.amazonaws.com/audience":"mine"})", R"("audience":"mine")", "sts.amazonaws.com"},
      {"an empty audience is left out", R"({"eks.amazonaws.com/audience":""})",
       R"({"serviceAccountToken":{"expirationSeconds":86400,"path":"token"}})", "audience"},
      {"regional", R"({"eks.amazonaws.com/sts-regional-endpoints":"T"})", R"("value":"regional")", "AWS_REGION"},
      {"not a boolean: ignored", R"({"eks.amazonaws.com/sts-regional-endpoints":"yes"})", "AWS_ROLE_ARN", "AWS_STS_REGIONAL_ENDPOINTS"},
      {"another prefix is another's", R"({"other.example/audience":"mine"})", "sts.amazonaws.com", "mine"}};
  for (const Case& c : cases) {
    SCOPED_TRACE(c.why);
    const std::string patch = patchOf(R"({"spec":{"containers":[{"name":"c"}]}})", c.annotations);
    EXPECT_NE(patch.find(c.found), std::string::npos) << patch;
    EXPECT_EQ(patch.find(c.absent), std::string::npos) << patch;
  }
  AwsSettings settings;
  settings.annotationPrefix = "other.example";
  EXPECT_EQ(roleSettings(nullptr, settings).roleArn, "");
  const json::object account = parsed(R"({"other.example/role-arn":"r","eks.amazonaws.com/role-arn":"wrong"})");
  EXPECT_EQ(roleSettings(&account, settings).roleArn, "r");
}

TEST(Mutation, SkipsTheContainersThatThePodNames) {
  const char* untouched = R"({"name":"b","resources":{}})";
  for (const char* list : {"b", "a,b", "a, b", "\\\"b\\\"", "\\nb\\na", "x,\\\"a\\\",b"}) {
    SCOPED_TRACE(list);
    const std::string pod = std::string(R"({"metadata":{"annotations":{"eks.amazonaws.com/skip-containers":")") + list +
                            R"("}},"spec":{"containers":[{"name":"b"},{"name":"c"}],"initContainers":[{"name":"b"}]}})";
    const std::string patch = patchOf(pod, withRole());
    EXPECT_NE(patch.find(std::string(R"("path":"/spec/containers","value":[)") + untouched + R"(,{"name":"c","env")"), std::string::npos)
        << patch;
    EXPECT_NE(patch.find(std::string(R"("path":"/spec/initContainers","value":[)") + untouched + "]}]"), std::string::npos) << patch;
  }
  for (const char* list : {"a\\\"b,b", "\\\"b", "", "a\\nb"}) {
    SCOPED_TRACE(list);
    const std::string pod = std::string(R"({"metadata":{"annotations":{"eks.amazonaws.com/skip-containers":")") + list +
                            R"("}},"spec":{"containers":[{"name":"b"}]}})";
    EXPECT_NE(containersOf(pod, withRole()).find("AWS_ROLE_ARN"), std::string::npos)
        << "a list that is malformed, or another line, skips nothing";
  }
}

TEST(Mutation, WritesWindowsPathsIntoTheEnvironmentOnly) {
  for (const char* label : {"kubernetes.io/os", "beta.kubernetes.io/os"}) {
    const std::string pod = std::string(R"({"spec":{"nodeSelector":{")") + label + R"(":"windows"},"containers":[{"name":"c"}]}})";
    const std::string containers = containersOf(pod, withRole());
    EXPECT_NE(containers.find(R"("C:\\var\\run\\secrets\\eks.amazonaws.com\\serviceaccount\\token")"), std::string::npos) << containers;
    EXPECT_NE(containers.find(R"("mountPath":"/var/run/secrets/eks.amazonaws.com/serviceaccount")"), std::string::npos) << containers;
  }
}

TEST(Mutation, GivesContainerCredentials) {
  const std::string patch =
      credentialsPatchOf(R"({"metadata":{"labels":{"app":"x"}},"spec":{"containers":[{"name":"c"}]}})", std::nullopt, kJitter);
  EXPECT_EQ(
      patch,
      R"([{"op":"add","path":"/metadata/labels/eks.amazonaws.com~1pod-identity","value":"enabled"},)"
      R"({"op":"add","path":"/spec/volumes","value":[{"name":"eks-pod-identity-token","projected":{"sources":[{"serviceAccountToken":)"
      R"({"audience":"pods.eks.amazonaws.com","expirationSeconds":86400,"path":"eks-pod-identity-token"}}]}}]},)"
      R"({"op":"add","path":"/spec/containers","value":[{"name":"c","env":[{"name":"AWS_CONTAINER_CREDENTIALS_FULL_URI",)"
      R"("value":"http://169.254.170.23/v1/credentials"},{"name":"AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",)"
      R"("value":"/var/run/secrets/pods.eks.amazonaws.com/serviceaccount/eks-pod-identity-token"}],"resources":{},)"
      R"("volumeMounts":[{"name":"eks-pod-identity-token","readOnly":true,"mountPath":"/var/run/secrets/pods.eks.amazonaws.com/serviceaccount"}]}]}])");
  EXPECT_TRUE(credentialsPatchOf(R"({"spec":{"containers":[]}})", std::nullopt, 0)
                  .starts_with(R"([{"op":"add","path":"/metadata/labels","value":{"eks.amazonaws.com/pod-identity":"enabled"}},)"));
}

TEST(Mutation, JittersTheDefaultLifeOfContainerCredentialsOnly) {
  const auto life = [](const char* podAnnotation, std::optional<RoleSettings> role, std::int64_t jitter) {
    const json::object pod =
        parsed(*podAnnotation == 0
                   ? std::string(R"({"spec":{}})")
                   : std::string(R"({"metadata":{"annotations":{"eks.amazonaws.com/token-expiration":")") + podAnnotation + R"("}}})");
    return containerCredentials(role, *viewPod(pod), {}, jitter).expirationSeconds;
  };
  EXPECT_EQ(life("", std::nullopt, 0), 79200);
  EXPECT_EQ(life("", std::nullopt, kJitter), 86400);
  EXPECT_EQ(life("86400", std::nullopt, 100), 79300) << "the exact value, even when asked for";
  EXPECT_EQ(life("86399", std::nullopt, 100), 86399);
  EXPECT_EQ(life("", RoleSettings{"", "", false, 4000}, 100), 4000);
  EXPECT_NE(patchOf(R"({"spec":{}})", withRole()).find("\"expirationSeconds\":86400"), std::string::npos);
}

// Go reads the containers into structs and writes these back.
TEST(Mutation, WritesContainersAsGoDoes) {
  struct Case {
    const char *why, *before, *after;
  };
  const Case cases[] = {
      {"members in the struct's order", R"({"tty":true,"image":"i","name":"c","args":["a"],"command":["x"]})",
       R"({"name":"c","image":"i","command":["x"],"args":["a"],"resources":{},"tty":true})"},
      {"what is empty is left out", R"({"name":"c","args":[],"image":"","stdin":false,"env":null})", R"({"name":"c","resources":{}})"},
      {"pointers to empty values are kept", R"({"name":"c","securityContext":{"privileged":false,"runAsUser":0},"livenessProbe":{}})",
       R"({"name":"c","resources":{},"livenessProbe":{},"securityContext":{"privileged":false,"runAsUser":0}})"},
      {"quantities are canonical and sorted",
       R"({"name":"c","resources":{"requests":{"memory":"1024Mi","cpu":"1000m"},"limits":{"cpu":0.5,"a.b/c":2}}})",
       R"({"name":"c","resources":{"limits":{"a.b/c":"2","cpu":"500m"},"requests":{"cpu":"1","memory":"1Gi"}}})"},
      {"members that Go always writes",
       R"({"env":[{"valueFrom":{"resourceFieldRef":{"resource":"limits.cpu"}}}],"readinessProbe":{"grpc":{"port":8}},"livenessProbe":{"httpGet":{"path":"/"}}})",
       R"({"name":"","env":[{"name":"","valueFrom":{"resourceFieldRef":{"resource":"limits.cpu","divisor":"0"}}}],"resources":{},"livenessProbe":{"httpGet":{"path":"/","port":0}},"readinessProbe":{"grpc":{"port":8,"service":null}}})"},
      {"names of references may be empty",
       R"({"name":"c","envFrom":[{"secretRef":{"optional":false}}],"env":[{"name":"A","valueFrom":{"secretKeyRef":{"name":"s"}}}]})",
       R"({"name":"c","envFrom":[{"secretRef":{"optional":false}}],"env":[{"name":"A","valueFrom":{"secretKeyRef":{"name":"s","key":""}}}],"resources":{}})"},
      {"HTML is escaped", "{\"name\":\"c\",\"args\":[\"<a>&\\\"\\\\\\n\\u0001\\u2028\xe2\x82\xac\"]}",
       "{\"name\":\"c\",\"args\":[\"\\u003ca\\u003e\\u0026\\\"\\\\\\n\\u0001\\u2028\xe2\x82\xac\"],\"resources\":{}}"},
      {"unknown members are kept, last", R"({"zork":{"b":1,"a":null},"name":"c","ports":[{"containerPort":80,"x":true}]})",
       R"({"name":"c","ports":[{"containerPort":80,"x":true}],"resources":{},"zork":{"b":1,"a":null}})"},
      {"a null container is an empty one", "null", R"({"name":"","resources":{}})"}};
  for (const Case& c : cases) {
    SCOPED_TRACE(c.why);
    const std::string pod =
        std::string(R"({"metadata":{"annotations":{"eks.amazonaws.com/skip-containers":"c,"}},"spec":{"containers":[)") + c.before + "]}}";
    EXPECT_NE(patchOf(pod, withRole()).find(std::string(R"("path":"/spec/containers","value":[)") + c.after + "]}"), std::string::npos)
        << patchOf(pod, withRole());
  }
}

TEST(Mutation, AppliesToThePodAndAddsNothingTheSecondTime) {
  for (
      const char* text :
      {R"({"spec":{"containers":[{"name":"c"}]}})",
       R"({"metadata":{"labels":null},"spec":{"volumes":null,"containers":[{"name":"c"},{"name":"c"}],"initContainers":[{"name":"i"}]}})"}) {
    AwsSettings settings;
    settings.region = "r";
    settings.regionalSts = true;
    const Result<json::object> once = api::applyJsonPatch(parsed(text), json::parse(patchOf(text, withRole(), settings)));
    ASSERT_TRUE(once) << once.error().sentence;
    const Result<json::object> twice = api::applyJsonPatch(*once, json::parse(patchOf(json::serialize(*once), withRole(), settings)));
    ASSERT_TRUE(twice) << twice.error().sentence;
    EXPECT_EQ(*once, *twice);
  }
}

TEST(Mutation, RefusesAPodOfWrongTypesAsGoDoes) {
  struct Case {
    const char *pod, *sentence;
  };
  const Case cases[] = {
      {R"({"spec":{"containers":{}}})", "json: cannot unmarshal object into Go struct field Pod.spec.containers of type []v1.Container"},
      {R"({"spec":{"containers":["c"]}})", "json: cannot unmarshal string into Go struct field Pod.spec.containers of type v1.Container"},
      {R"({"spec":7})", "json: cannot unmarshal number into Go struct field Pod.spec of type v1.PodSpec"},
      {R"({"metadata":{"labels":{"a":true}}})", "json: cannot unmarshal bool into Go struct field Pod.metadata.labels of type string"},
      {R"({"spec":{"containers":[{"env":[1]}]}})",
       "json: cannot unmarshal number into Go struct field Pod.spec.containers.env of type v1.EnvVar"}};
  for (const Case& c : cases) EXPECT_EQ(patchOf(c.pod, withRole()), c.sentence);
}

TEST(RoleArn, IsWhatTheWebhookWarnsAbout) {
  for (const char* good : {kArn, "arn:aws-cn:iam::210987654321:role/path/to/r", "arn:aws-us-gov:iam::210987654321:role/a@b+c=d,e.f_g-h"})
    EXPECT_TRUE(isRoleArn(good)) << good;
  for (const char* bad :
       {"", "reader", "arn:aws:iam::21098765432:role/r", "arn:aws:iam::2109876543210:role/r", "arn:aws:iam::210987654321:role/",
        "arn:aws:iam::210987654321:role/a b", "arn:aws:iam::210987654321:user/r", "arn:AWS:iam::210987654321:role/r",
        " arn:aws:iam::210987654321:role/r", "arn:aws:iam::210987654321:instance-profile/r"})
    EXPECT_FALSE(isRoleArn(bad)) << bad;
}

TEST(RoleArn, IsComposedOnlyWhenAsked) {
  AwsSettings settings;
  EXPECT_EQ(composedRoleArn("reader", settings), "reader");
  settings.composeRoleArn = true;
  settings.accountId = "210987654321";
  settings.partition = partitionOf("cn-north-1");
  EXPECT_EQ(composedRoleArn("path/reader", settings), "arn:aws-cn:iam::210987654321:role/path/reader");
  EXPECT_EQ(composedRoleArn(kArn, settings), kArn);
  EXPECT_EQ(partitionOf("us-gov-west-1"), "aws-us-gov");
  EXPECT_EQ(partitionOf("us-isob-east-1"), "aws-iso-b");
  EXPECT_EQ(partitionOf("us-east-1"), "aws");
}

TEST(Paths, AreJoinedAsGoJoinsThem) {
  EXPECT_EQ(joinPath("/a/", "/b"), "/a/b");
  EXPECT_EQ(joinPath("/a/../..", "b/./c"), "/b/c");
  EXPECT_EQ(joinPath("a", "../../b"), "../b");
  EXPECT_EQ(joinPath("", ""), ".");
}

TEST(AdmissionReview, IsReadAndAnsweredInItsOwnVersion) {
  const AdmissionReview review(
      R"({"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":"u-1","namespace":"shop","object":{"spec":{"serviceAccountName":"cart"}}}})");
  EXPECT_EQ(review.problem(), "");
  EXPECT_EQ(review.ns(), "shop");
  EXPECT_EQ(review.pod().serviceAccount, "cart");
  EXPECT_EQ(review.allowed(), R"({"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","response":{"uid":"u-1","allowed":true}})");
  const std::string warning = "added <this>";
  EXPECT_EQ(
      review.allowed("[]", {&warning, 1}),
      R"({"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","response":{"uid":"u-1","allowed":true,"patch":"W10=","patchType":"JSONPatch","warnings":["added \u003cthis\u003e"]}})");
  const AdmissionReview old(R"({"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1beta1","request":{"uid":"u","object":{}}})");
  EXPECT_EQ(old.allowed(), R"({"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1beta1","response":{"uid":"u","allowed":true}})");
}

TEST(AdmissionReview, SaysWhatIsWrongInTheWordsOfTheAmazonWebhook) {
  struct Case {
    const char *body, *message;
  };
  const Case cases[] = {
      {"", "bad content"},
      {"null", "bad content"},
      {"{}", "bad content"},
      {R"({"request":null})", "bad content"},
      {R"({"request":{"uid":"u)", "couldn't get version/kind; json parse error: unexpected end of JSON input"},
      {"xyz", "couldn't get version/kind; json parse error: invalid character 'x' looking for beginning of value"},
      {"[]", "couldn't get version/kind; json parse error: json: cannot unmarshal array into Go value of type v1.AdmissionReview"},
      {R"({"request":7})", "json: cannot unmarshal number into Go struct field AdmissionReview.request of type v1.AdmissionRequest"},
      {R"({"request":{}})", "unexpected end of JSON input"},
      {R"({"request":{"object":null}})", "unexpected end of JSON input"},
      {R"({"request":{"object":"text"}})", "json: cannot unmarshal string into Go value of type v1.Pod"}};
  for (const Case& c : cases) {
    const AdmissionReview review(c.body);
    EXPECT_EQ(review.problem(), c.message) << c.body;
    EXPECT_EQ(review.denied(review.problem()).substr(0, 45), R"({"response":{"uid":"","allowed":false,"status)");
  }
  const std::string deep = R"({"request":)" + std::string(5000, '[');
  EXPECT_EQ(AdmissionReview(deep).problem(), "couldn't get version/kind; json parse error: exceeded max depth");
  const AdmissionReview known(R"({"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":"u"}})");
  EXPECT_EQ(
      known.denied("no"),
      R"({"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","response":{"uid":"u","allowed":false,"status":{"metadata":{},"message":"no"}}})");
}

}  // namespace
}  // namespace podpass::irsa
