#include "irsa/doctor_pod.h"

#include <gtest/gtest.h>

#include "base/text.h"
#include "irsa/test_diagnosis.h"
#include "irsa/test_sts.h"
#include "irsa/trust_policy_mend.h"

namespace podpass::irsa {
namespace {

using test::expectBroken;
using test::summary;

constexpr const char* kRole = "arn:aws:iam::000000000000:role/cart";
constexpr const char* kFile = "/var/run/secrets/eks.amazonaws.com/serviceaccount/token";

const api::Kind& kindOf(std::string_view plural) {
  for (const char* group : {"", "iam.podpass.dev", "identity.podpass.dev", "admissionregistration.k8s.io"})
    if (const api::Kind* kind = api::findKind(group, "v1", plural);
        kind != nullptr && (plural != "roles" || std::string_view(group) == "iam.podpass.dev"))
      return *kind;
  throw std::runtime_error("no such kind");
}

// A pod that was changed by the webhook and runs, its service account and its role; all of it good until a test spoils it.
struct Bench {
  test::Issuer issuer{jose::test::kEcPem};
  FakeClock clock{std::chrono::time_point_cast<std::chrono::seconds>(std::chrono::system_clock::now())};
  test::Api api;
  json::object pod = json::parse(R"({"metadata":{"name":"app","namespace":"shop","uid":"u1","creationTimestamp":"2026-01-01T00:00:00Z"},
    "spec":{"serviceAccountName":"cart","volumes":[{"name":"aws-iam-token","projected":{"sources":[{"serviceAccountToken":{"audience":"sts.amazonaws.com","path":"token"}}]}}],
    "containers":[{"name":"main","env":[{"name":"AWS_ENDPOINT_URL_STS","value":"u"},{"name":"AWS_REGION","value":"r"},{"name":"AWS_DEFAULT_REGION","value":"r"},
      {"name":"AWS_ROLE_ARN","value":"arn:aws:iam::000000000000:role/cart"},{"name":"AWS_WEB_IDENTITY_TOKEN_FILE","value":"/var/run/secrets/eks.amazonaws.com/serviceaccount/token"}],
      "volumeMounts":[{"name":"aws-iam-token","readOnly":true,"mountPath":"/var/run/secrets/eks.amazonaws.com/serviceaccount"}]}]},"status":{"phase":"Running"}})")
                         .as_object();
  json::object account =
      json::parse(
          R"({"metadata":{"name":"cart","namespace":"shop","annotations":{"eks.amazonaws.com/role-arn":"arn:aws:iam::000000000000:role/cart"}}})")
          .as_object();
  json::object claims{{"sub", "system:serviceaccount:shop:cart"}, {"aud", json::array{"sts.amazonaws.com"}}};
  json::object policy;
  PodCase about{"shop", "app"};
  FileRead::Outcome reading = FileRead::Outcome::Read;

  Bench() {
    const auto now = std::chrono::duration_cast<std::chrono::seconds>(clock.now().time_since_epoch()).count();
    claims["iss"] = issuer.url();
    claims["iat"] = now;
    claims["exp"] = now + 600;
    TrustRequest good;
    good.actions = {"sts:AssumeRoleWithWebIdentity"};
    good.callerNames = {"arn:aws:iam::000000000000:oidc-provider/" + issuer.url().substr(7)};
    good.keys[issuer.url().substr(7) + ":sub"] = {"system:serviceaccount:shop:cart"};
    policy = policyFor(good);
    api.put(kindOf("oidcproviders"), {{"metadata", json::object{{"name", "p"}}},
                                      {"spec", json::object{{"url", issuer.url()}, {"clientIDs", json::array{"sts.amazonaws.com"}}}}});
    about.readFile = [this](const std::string&, const std::string&) {
      return FileRead{reading, reading == FileRead::Outcome::Read ? token() : std::string(), "as the test says"};
    };
    about.iam = [this](const std::string&) { return Result<IamView>(readIam(api)); };
    about.issuerCa = [](const std::string&) { return Result<std::string>(std::string()); };
    api.subresource = [this](const json::object& body) {
      claims["aud"] = *objectAt(body, {"spec"})->if_contains("audiences");
      return Result<json::object>(json::object{{"status", json::object{{"token", token()}}}});
    };
  }
  std::string token() const { return issuer.sign(claims); }
  json::object& container() { return pod["spec"].at("containers").at(0).as_object(); }
  void variable(const char* name, const char* value) {
    json::array& env = container()["env"].as_array();
    env.erase(std::remove_if(env.begin(), env.end(), [name](const json::value& each) { return each.at("name") == name; }), env.end());
    if (value != nullptr) env.push_back(json::object{{"name", name}, {"value", value}});
  }
  void unmutated() {
    makeObjectAt(pod, {"spec"}).erase("volumes");
    container() = json::object{{"name", "main"}};
  }
  Diagnosis examine() {
    if (!account.empty()) api.put(kindOf("serviceaccounts"), account);
    if (!pod.empty()) api.put(kindOf("pods"), pod);
    if (!policy.empty())
      api.put(kindOf("roles"), {{"metadata", json::object{{"name", "cart"}}}, {"spec", json::object{{"trustPolicy", policy}}}});
    const Result<Diagnosis> diagnosis = examinePod(api, about, clock);
    EXPECT_TRUE(diagnosis) << diagnosis.error().sentence;
    return diagnosis ? *diagnosis : Diagnosis();
  }
};

TEST(ExaminePod, FindsEveryLinkGoodWhenItIs) {
  Bench bench;
  const Diagnosis diagnosis = bench.examine();
  EXPECT_EQ(diagnosis.checks.size(), 23u) << summary(diagnosis);
  for (const Check& check : diagnosis.checks) EXPECT_EQ(check.finding, Finding::Ok) << summary(diagnosis);
}

TEST(ExaminePod, NamesTheFirstLinkThatIsBroken) {
  struct Case {
    const char* why;
    std::function<void(Bench&)> spoil;
    const char *id, *says, *mend;
  };
  const Case cases[] = {
      {"no pod", [](Bench& b) { b.pod.clear(); }, "pod", "none of this name", "get pods"},
      {"no account", [](Bench& b) { b.account.clear(), b.unmutated(); }, "annotation", "does not exist", ""},
      {"no annotation", [](Bench& b) { b.account["metadata"].as_object().erase("annotations"), b.unmutated(); }, "annotation",
       "Unable to locate credentials",
       "annotate serviceaccount cart --overwrite eks.amazonaws.com/role-arn=arn:aws:iam::000000000000:role/cart"},
      {"another prefix",
       [](Bench& b) {
         b.account["metadata"].as_object()["annotations"] = json::object{{"a.b/role-arn", kRole}}, b.unmutated();
       },
       "annotation", "the service account has a.b/role-arn", "annotate serviceaccount cart"},
      {"another account",
       [](Bench& b) {
         b.api.put(kindOf("serviceaccounts"), {{"metadata", json::object{{"name", "default"}, {"namespace", "shop"}}}});
         b.pod["spec"].as_object()["serviceAccountName"] = "default", b.unmutated();
       },
       "annotation", "the service account cart has a role", ".spec.serviceAccountName = \"cart\""},
      {"a bare name",
       [](Bench& b) {
         makeObjectAt(b.account, {"metadata", "annotations"})["eks.amazonaws.com/role-arn"] = "cart";
       },
       "role-arn", "not the ARN", "role-arn=arn:aws:iam::000000000000:role/cart"},
      {"not installed", [](Bench& b) { b.unmutated(); }, "webhook", "there is no MutatingWebhookConfiguration", "replace --force"},
      {"its service is empty",
       [](Bench& b) {
         b.unmutated();
         b.api.put(kindOf("mutatingwebhookconfigurations"),
                   {{"metadata", json::object{{"name", "pod-identity-webhook"}}},
                    {"webhooks", json::array{json::object{
                                     {"clientConfig", json::object{{"service", json::object{{"namespace", "eks"}, {"name", "hook"}}}}}}}}});
       },
       "webhook", "the webhook's service eks/hook has no endpoint that is ready", "replace --force"},
      {"no URL answers",
       [](Bench& b) {
         b.unmutated();
         b.api.put(kindOf("mutatingwebhookconfigurations"),
                   {{"metadata", json::object{{"name", "pod-identity-webhook"}}},
                    {"webhooks", json::array{json::object{{"clientConfig", json::object{{"url", "https://127.0.0.1:1/mutate"}}}}}}});
       },
       "webhook", "the webhook does not answer at https://127.0.0.1:1/mutate", "replace --force"},
      {"annotated later",
       [](Bench& b) {
         b.unmutated();
         b.account["metadata"].as_object()["managedFields"] = json::parse(
             R"([{"time":"2026-01-01T00:00:01Z","fieldsV1":{"f:metadata":{"f:annotations":{"f:eks.amazonaws.com/role-arn":{}}}}}])");
       },
       "webhook", "annotated at 2026-01-01T00:00:01Z", "replace --force"},
      {"a controller's",
       [](Bench& b) {
         b.unmutated();
         b.pod["metadata"].as_object()["ownerReferences"] = json::parse(R"([{"kind":"ReplicaSet","name":"rs","controller":true}])");
       },
       "webhook", "created without", "kubectl -n shop delete pod app"},
      {"opted out",
       [](Bench& b) {
         b.unmutated(), makeObjectAt(b.pod, {"metadata", "labels"})["eks.amazonaws.com/skip-pod-identity-webhook"] = "x";
       },
       "webhook", "keeps the webhook away", "del(.metadata.labels"},
      {"half of the pair", [](Bench& b) { b.variable("AWS_ROLE_ARN", nullptr); }, "env",
       "has AWS_WEB_IDENTITY_TOKEN_FILE and no AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE"},
      {"the other half", [](Bench& b) { b.variable("AWS_WEB_IDENTITY_TOKEN_FILE", nullptr); }, "env", "has AWS_ROLE_ARN and no",
       "replace --force"},
      {"an older role", [](Bench& b) { b.variable("AWS_ROLE_ARN", "arn:aws:iam::000000000000:role/old"); }, "env",
       "the service account says", "replace --force"},
      {"static keys", [](Bench& b) { b.variable("AWS_ACCESS_KEY_ID", "AKIA"); }, "static-keys", "has AWS_ACCESS_KEY_ID",
       "AWS_SECRET_ACCESS_KEY"},
      {"static keys by prefix",
       [](Bench& b) {
         b.container()["envFrom"] = json::parse(R"([{"prefix":"AWS_","configMapRef":{"name":"c"}}])");
         b.api.put(kindOf("configmaps"),
                   {{"metadata", json::object{{"name", "c"}, {"namespace", "shop"}}}, {"data", json::object{{"ACCESS_KEY_ID", "x"}}}});
       },
       "static-keys", "of configmaps \"c\" by envFrom", "configMapRef"},
      {"no mount", [](Bench& b) { b.container().erase("volumeMounts"); }, "mount", "nothing is mounted", "replace --force"},
      {"another kind of volume",
       [](Bench& b) { b.pod["spec"].at("volumes").at(0) = json::parse(R"({"name":"aws-iam-token","emptyDir":{}})"); }, "mount",
       "has no token for", "replace --force"},
      {"another file",
       [](Bench& b) { b.variable("AWS_WEB_IDENTITY_TOKEN_FILE", "/var/run/secrets/eks.amazonaws.com/serviceaccount/tokens"); }, "mount",
       "has no token for", "replace --force"},
      {"subPath",
       [](Bench& b) {
         b.container()["volumeMounts"] = json::array{json::object{{"name", "aws-iam-token"}, {"mountPath", kFile}, {"subPath", "token"}}};
       },
       "mount", "by subPath", "del(.subPath"},
      {"two at one path",
       [](Bench& b) {
         b.container()["volumeMounts"].as_array().push_back(
             json::parse(R"({"name":"o","mountPath":"/var/run/secrets/eks.amazonaws.com/serviceaccount"})"));
       },
       "mount", "mountPath must be unique", "/mnt/aws-iam-token"},
      {"mixed users",
       [](Bench& b) {
         b.pod["spec"].at("volumes").at(0).at("projected").as_object()["defaultMode"] = 0400;
         b.container()["securityContext"] = json::object{{"runAsUser", 1000}};
         b.pod["spec"]
             .at("containers")
             .as_array()
             .push_back(json::parse(R"({"name":"other","env":[{"name":"AWS_ROLE_ARN","value":"arn:aws:iam::000000000000:role/cart"},
           {"name":"AWS_WEB_IDENTITY_TOKEN_FILE","value":"/var/run/secrets/eks.amazonaws.com/serviceaccount/token"}]})"));
       },
       "mount", "no fsGroup lets them read", ".spec.securityContext.fsGroup = 65534"},
      {"the file is not there", [](Bench& b) { b.reading = FileRead::Outcome::Missing; }, "token", "as the test says", "replace --force"},
      {"the file may not be read", [](Bench& b) { b.reading = FileRead::Outcome::Denied; }, "token", "as the test says", "fsGroup"},
      {"another pod's token",
       [](Bench& b) {
         b.claims["kubernetes.io"] = json::object{{"pod", json::object{{"uid", "u0"}}}};
       },
       "claims", "uid u0, this one has u1", "replace --force"},
      {"the wrong audience", [](Bench& b) { b.claims["aud"] = "x"; }, "audience", "the provider takes \"sts.amazonaws.com\"",
       ".serviceAccountToken.audience) = \"sts.amazonaws.com\""},
      {"the wrong audience, annotated",
       [](Bench& b) {
         b.claims["aud"] = "x";
         makeObjectAt(b.account, {"metadata", "annotations"})["eks.amazonaws.com/audience"] = "x";
       },
       "audience", "the token is for \"x\"", "eks.amazonaws.com/audience-"},
      {"not told where STS is", [](Bench& b) { b.variable("AWS_ENDPOINT_URL_STS", nullptr), b.about.sts = "https://sts"; }, "endpoint",
       "knows nothing of this cluster", "kind: TokenInjection"},
      {"legacy", [](Bench& b) { b.variable("AWS_ENDPOINT_URL_STS", nullptr), b.variable("AWS_STS_REGIONAL_ENDPOINTS", "legacy"); },
       "endpoint", "VPC endpoints", "regional"},
      {"no region", [](Bench& b) { b.variable("AWS_REGION", nullptr), b.variable("AWS_DEFAULT_REGION", nullptr); }, "region",
       "Region is missing", "AWS_DEFAULT_REGION"},
      {"one region", [](Bench& b) { b.variable("AWS_REGION", nullptr); }, "region", "AWS_REGION only", "AWS_REGION"},
      {"the other region", [](Bench& b) { b.variable("AWS_DEFAULT_REGION", nullptr); }, "region", "AWS_DEFAULT_REGION only",
       "AWS_DEFAULT_REGION"},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.why);
    Bench bench;
    c.spoil(bench);
    expectBroken(bench.examine(), {c.id, c.says, c.mend}, 23u);
  }
}

// What is at the border is not broken.
TEST(ExaminePod, LeavesAloneWhatIsAsItShouldBe) {
  const std::pair<const char*, std::function<void(Bench&)>> cases[] = {
      {"one user for all",
       [](Bench& b) {
         b.pod["spec"].at("volumes").at(0).at("projected").as_object()["defaultMode"] = 0400;
         makeObjectAt(b.pod, {"spec", "securityContext"})["runAsUser"] = 1000;
       }},
      {"fsGroup",
       [](Bench& b) {
         b.pod["spec"].at("volumes").at(0).at("projected").as_object()["defaultMode"] = 0400;
         b.container()["securityContext"] = json::object{{"runAsUser", 1000}};
         makeObjectAt(b.pod, {"spec", "securityContext"})["fsGroup"] = 0;
         b.pod["spec"].as_object()["initContainers"] = json::parse(R"([{"name":"i"}])");
         makeObjectAt(b.pod, {"metadata", "annotations"})["eks.amazonaws.com/skip-containers"] = "i";
       }},
      {"a Secret without such keys",
       [](Bench& b) {
         b.container()["envFrom"] = json::parse(
             R"([{"secretRef":{"name":"s"}},{"secretRef":{"name":"none","optional":true}},{"prefix":"X_","secretRef":{"name":"t"}}])");
         b.api.put(kindOf("secrets"),
                   {{"metadata", json::object{{"name", "s"}, {"namespace", "shop"}}}, {"data", json::object{{"other", "x"}}}});
         b.api.put(kindOf("secrets"),
                   {{"metadata", json::object{{"name", "t"}, {"namespace", "shop"}}}, {"data", json::object{{"AWS_ACCESS_KEY_ID", "x"}}}});
       }},
      {"a proxy leads to STS", [](Bench& b) { b.variable("AWS_ENDPOINT_URL_STS", nullptr), b.variable("HTTPS_PROXY", "x"); }},
      {"annotated in the ConfigMap",
       [](Bench& b) {
         b.account["metadata"].as_object().erase("annotations");
         b.api.put(kindOf("configmaps"),
                   {{"metadata", json::object{{"name", "pod-identity-webhook"}, {"namespace", "kube-system"}}},
                    {"data", json::object{{"config", R"({"shop/cart":{"RoleARN":"arn:aws:iam::000000000000:role/cart"}})"}}}});
       }},
      {"all by hand", [](Bench& b) { b.account["metadata"].as_object().erase("annotations"); }}};
  for (const auto& [why, change] : cases) {
    SCOPED_TRACE(why);
    Bench bench;
    change(bench);
    const Diagnosis diagnosis = bench.examine();
    EXPECT_EQ(diagnosis.firstBroken(), nullptr) << summary(diagnosis);
    EXPECT_EQ(diagnosis.find("identity")->finding, Finding::Ok) << summary(diagnosis);
  }
}

TEST(ExaminePod, AsksForATokenWhereItCannotReadOne) {
  for (const bool runs : {true, false}) {
    Bench bench;
    bench.reading = FileRead::Outcome::Unknown;
    if (!runs) bench.pod["status"] = json::object{{"phase", "Pending"}};
    json::object asked;
    const auto answer = bench.api.subresource;
    bench.api.subresource = [&](const json::object& body) {
      asked = body;
      return answer(body);
    };
    const Diagnosis diagnosis = bench.examine();
    EXPECT_EQ(diagnosis.find("token")->finding, Finding::Unknown);
    EXPECT_NE(diagnosis.find("token")->why.find(runs ? "as the test says" : "the pod does not run"), std::string::npos);
    EXPECT_EQ(diagnosis.find("identity")->finding, Finding::Ok) << summary(diagnosis);
    EXPECT_EQ(
        asked.at("spec"),
        json::parse(
            R"({"expirationSeconds":600,"boundObjectRef":{"apiVersion":"v1","kind":"Pod","name":"app","uid":"u1"},"audiences":["sts.amazonaws.com"]})"));
  }
}

TEST(ExaminePod, SaysWhatToAskForWhenARightIsMissing) {
  struct Case {
    const char *plural, *check, *right;
  };
  for (const Case& c :
       {Case{"serviceaccounts", "annotation", "get serviceaccounts in shop"}, Case{"roles", "role", "list roles.iam.podpass.dev"},
        Case{"oidcproviders", "provider", "list oidcproviders.iam.podpass.dev"}, Case{"secrets", "static-keys", "get secrets s"}}) {
    SCOPED_TRACE(c.plural);
    Bench bench;
    bench.container()["envFrom"] = json::parse(R"([{"secretRef":{"name":"s"}}])");
    bench.api.refuse(c.plural, Error{Reason::Forbidden, "no"});
    const Diagnosis diagnosis = bench.examine();
    EXPECT_EQ(diagnosis.firstBroken(), nullptr) << summary(diagnosis);
    EXPECT_EQ(diagnosis.find(c.check)->finding, Finding::Unknown) << summary(diagnosis);
    EXPECT_NE(diagnosis.find(c.check)->mend.text.find(c.right), std::string::npos) << diagnosis.find(c.check)->mend.text;
    EXPECT_EQ(diagnosis.find("identity")->finding, Finding::Skipped);
  }
  Bench bench;
  bench.reading = FileRead::Outcome::Unknown;
  bench.api.subresource = nullptr;
  const Diagnosis diagnosis = bench.examine();
  EXPECT_NE(diagnosis.find("token")->mend.text.find("get and create pods/exec, or to create serviceaccounts/token"), std::string::npos);
  EXPECT_EQ(diagnosis.find("trust-policy")->finding, Finding::Skipped);
}

TEST(ExaminePod, FailsWithoutAnAnswerOfTheApiServer) {
  for (const char* plural : {"pods", "serviceaccounts", "podidentityassociations"}) {
    Bench bench;
    bench.api.put(kindOf("pods"), bench.pod);
    bench.api.refuse(plural, Error{Reason::Unavailable, "away"});
    const Result<Diagnosis> diagnosis = examinePod(bench.api, bench.about, bench.clock);
    ASSERT_FALSE(diagnosis) << plural;
    EXPECT_EQ(diagnosis.error().sentence, "away");
  }
  Bench bench;
  bench.api.refuse("pods", Error{Reason::Forbidden, "no"});
  EXPECT_EQ(examinePod(bench.api, bench.about, bench.clock).error().fix,
            "ask whoever administers the cluster for the right to get pods in shop");
}

TEST(ExaminePod, AppliesTheWebhooksOwnPatchToAManifest) {
  Bench bench;
  bench.unmutated();
  bench.about.manifest = std::exchange(bench.pod, {});
  bench.about.manifestFile = "pod.yaml";
  const Diagnosis diagnosis = bench.examine();
  EXPECT_EQ(diagnosis.find("mount")->finding, Finding::Ok) << summary(diagnosis);
  EXPECT_EQ(diagnosis.find("token")->finding, Finding::Skipped);
  EXPECT_EQ(diagnosis.find("webhook")->found, "would give the pod the volume \"aws-iam-token\"");
}

TEST(ExaminePod, LooksAtOneContainerWhenAsked) {
  Bench bench;
  bench.pod["spec"].at("containers").as_array().push_back(json::parse(R"({"name":"other","env":[{"name":"AWS_ROLE_ARN","value":"x"}]})"));
  bench.about.container = "main";
  EXPECT_EQ(bench.examine().firstBroken(), nullptr);
  bench.about.container = "other";
  EXPECT_EQ(bench.examine().firstBroken()->id, "env");
}

TEST(ExaminePod, UnderstandsEksPodIdentity) {
  Bench bench;
  bench.account["metadata"].as_object().erase("annotations");
  bench.policy = {{"Version", "2012-10-17"},
                  {"Statement", json::object{{"Effect", "Allow"},
                                             {"Principal", json::object{{"Service", kPodAudience}}},
                                             {"Action", json::array{"sts:AssumeRole", "sts:TagSession"}}}}};
  bench.api.put(kindOf("podidentityassociations"), {{"metadata", json::object{{"name", "a"}, {"namespace", "shop"}}},
                                                    {"spec", json::object{{"serviceAccountName", "cart"}, {"roleArn", kRole}}}});
  bench.api.review = {{"authenticated", true}, {"user", json::object{{"username", "system:serviceaccount:shop:cart"}}}};
  bench.claims["aud"] = kPodAudience;
  json::object plain = bench.pod;
  bench.unmutated();
  Diagnosis diagnosis = bench.examine();
  EXPECT_EQ(diagnosis.firstBroken()->id, "webhook") << summary(diagnosis);
  const Injection given = containerCredentials(std::nullopt, *viewPod(bench.pod), AwsSettings(), 0);
  bench.pod["spec"].as_object()["volumes"] = json::array{json::object{
      {"name", given.volume},
      {"projected",
       json::object{{"sources", json::array{json::object{
                                    {"serviceAccountToken", json::object{{"audience", kPodAudience}, {"path", given.tokenPath}}}}}}}}}};
  bench.container()["volumeMounts"] = json::array{json::object{{"name", given.volume}, {"mountPath", given.mountPath}}};
  bench.container()["env"] = json::array();
  bench.variable("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://169.254.170.23/v1/credentials");
  bench.variable("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", (given.mountPath + "/" + given.tokenPath).c_str());
  bench.variable("AWS_REGION", "r");
  bench.variable("AWS_DEFAULT_REGION", "r");
  diagnosis = bench.examine();
  EXPECT_EQ(diagnosis.firstBroken(), nullptr) << summary(diagnosis);
  EXPECT_EQ(diagnosis.find("identity")->finding, Finding::Ok) << summary(diagnosis);
  EXPECT_EQ(diagnosis.find("jwks")->finding, Finding::Skipped);
  EXPECT_NE(diagnosis.find("endpoint")->why.find("podpass answers there in the pods of its own containerd"), std::string::npos);
  bench.pod["spec"].as_object()["hostNetwork"] = true;
  diagnosis = bench.examine();
  EXPECT_EQ(diagnosis.firstBroken()->id, "endpoint") << summary(diagnosis);
  EXPECT_NE(diagnosis.firstBroken()->mend.command.find("del(.spec.hostNetwork)"), std::string::npos);
  bench.pod["spec"].as_object().erase("hostNetwork");
  bench.api.review = {{"authenticated", false}, {"error", "not known here"}};
  EXPECT_EQ(bench.examine().firstBroken()->id, "signature");
  bench.api.refuse("tokenreviews", Error{Reason::Forbidden, "no"});
  EXPECT_EQ(bench.examine().find("signature")->finding, Finding::Unknown);
  bench.claims["aud"] = "other";
  EXPECT_EQ(bench.examine().firstBroken()->id, "audience");
  bench.claims["aud"] = kPodAudience;
  bench.policy["Statement"].as_object()["Action"] = "sts:AssumeRole";
  EXPECT_NE(bench.examine().firstBroken()->why.find("sts:TagSession"), std::string::npos);
  for (const auto& [uri, finding] :
       {std::pair{"http://10.0.0.1/v1/credentials", Finding::Broken}, std::pair{"http://127.evil.example/", Finding::Broken},
        std::pair{"no URL", Finding::Broken}, std::pair{"http://127.0.0.2:80/", Finding::Ok}, std::pair{"http://[::1]:80/", Finding::Ok},
        std::pair{"https://10.0.0.1/", Finding::Ok}}) {
    bench.variable("AWS_CONTAINER_CREDENTIALS_FULL_URI", uri);
    EXPECT_EQ(bench.examine().find("endpoint")->finding, finding) << uri;
  }
}

}  // namespace
}  // namespace podpass::irsa
