#include <gtest/gtest.h>

#include "api/codec.h"
#include "api/patch.h"
#include "irsa/token_injection.h"
#include "irsa/token_injection_profiles.h"

namespace podpass::irsa {
namespace {

json::object parsed(std::string_view text) { return json::parse(text).as_object(); }

json::object injectionObject(const std::string& spec) {
  return parsed(R"({"apiVersion":"identity.podpass.dev/v1","kind":"TokenInjection","metadata":{"name":"t"},"spec":)" + spec + "}");
}

// The pod after the injection of that spec; the pod as it was when it is not meant.
json::object injected(const std::string& spec, const std::string& pod, const std::string& annotations = "{}") {
  const json::object before = parsed(pod), account = parsed(annotations);
  const Result<TokenInjection> read = TokenInjection::read(injectionObject(spec));
  EXPECT_TRUE(read);
  const Result<std::optional<Injection>> injection = (*read).injectionFor("shop", *viewPod(before), &account);
  if (!injection) return {{"refused", injection.error().sentence}};
  if (!*injection) return before;
  const Result<json::object> after = api::applyJsonPatch(before, json::parse(podPatch(*viewPod(before), {&**injection, 1}).json));
  EXPECT_TRUE(after);
  return *after;
}

const char* const kPod =
    R"({"metadata":{"name":"p","labels":{"azure.workload.identity/use":"true"}},"spec":{"serviceAccountName":"cart","containers":[{"name":"c"}]}})";

std::string envOf(const json::object& pod) {
  std::string all;
  for (const json::value& each : pod.at("spec").at("containers").at(0).at("env").as_array())
    all += std::string(textAt(each.as_object(), {"name"})) + "=" + std::string(textAt(each.as_object(), {"value"})) + "\n";
  return all;
}

TEST(TokenInjection, GivesWhatAzuresWebhookGives) {
  const json::object pod = injected(R"({"profile":"AzureWorkloadIdentity"})", kPod, R"({"azure.workload.identity/client-id":"cid"})");
  EXPECT_EQ(envOf(pod),
            "AZURE_CLIENT_ID=cid\nAZURE_FEDERATED_TOKEN_FILE=/var/run/secrets/azure/wi/token/azure-identity-token\n"
            "AZURE_AUTHORITY_HOST=https://login.microsoftonline.com/\n")
      << "a tenant that nobody named is left out";
  EXPECT_EQ(
      json::serialize(pod.at("spec").at("volumes").at(0)),
      R"({"name":"azure-workload-identity-reserved-148de9c5a7a44d19e56cd9ae1a554b","projected":{"sources":[{"serviceAccountToken":{"audience":"api://AzureADTokenExchange",)"
      R"("expirationSeconds":3600,"path":"token/azure-identity-token"}}]}})");
  const char* unlabelled = R"({"metadata":{},"spec":{"containers":[{"name":"c"}]}})";
  EXPECT_EQ(injected(R"({"profile":"AzureWorkloadIdentity"})", unlabelled), parsed(unlabelled));
}

TEST(TokenInjection, ReplacesWhatAzuresWebhookReplaces) {
  const std::string pod =
      R"({"metadata":{"labels":{"azure.workload.identity/use":"true"}},"spec":{"volumes":[{"name":"v"},{"name":"azure-workload-identity-reserved-7ae265465cf68a19ccd3c91d70dc31","emptyDir":{}}],)"
      R"("containers":[{"name":"c","volumeMounts":[{"name":"azure-workload-identity-reserved-7ae265465cf68a19ccd3c91d70dc31","mountPath":"/x"},{"name":"v","mountPath":"/v"}]}]}})";
  const json::object after = injected(R"({"profile":"AzureWorkloadIdentity"})", pod);
  EXPECT_EQ(after.at("spec").at("volumes").as_array().size(), 2u);
  EXPECT_TRUE(after.at("spec").at("volumes").at(1).as_object().contains("projected"));
  EXPECT_EQ(
      json::serialize(after.at("spec").at("containers").at(0).at("volumeMounts")),
      R"([{"name":"v","mountPath":"/v"},{"name":"azure-workload-identity-reserved-7ae265465cf68a19ccd3c91d70dc31","readOnly":true,"mountPath":"/var/run/secrets/azure/wi"}])");
}

TEST(TokenInjection, RefusesALifeThatAzureRefuses) {
  const auto lifeFor = [](const char* asked) {
    const std::string pod =
        std::string(R"({"metadata":{"name":"p","annotations":{"azure.workload.identity/service-account-token-expiration":")") + asked +
        R"("},"labels":{"azure.workload.identity/use":"true"}},"spec":{"containers":[{"name":"c"}]}})";
    const json::object after = injected(R"({"profile":"AzureWorkloadIdentity"})", pod);
    if (after.contains("refused")) return std::string(textAt(after, {"refused"}));
    return json::serialize(
        after.at("spec").at("volumes").at(0).at("projected").at("sources").at(0).at("serviceAccountToken").at("expirationSeconds"));
  };
  EXPECT_EQ(lifeFor("3600"), "3600");
  EXPECT_EQ(lifeFor("86400"), "86400");
  for (const char* asked : {"3599", "86401", "-1", "soon", "9223372036854775808"})
    EXPECT_EQ(lifeFor(asked), std::string("token expiration ") + asked + " not valid. Expected value to be between 3600 and 86400");
}

TEST(TokenInjection, JitterShortensTheUsualLifeOnly) {
  const json::object
      usual = parsed(R"({"metadata":{"name":"p"},"spec":{"serviceAccountName":"cart","containers":[]}})"),
      own = parsed(
          R"({"metadata":{"annotations":{"eks.amazonaws.com/token-expiration":"3600"}},"spec":{"serviceAccountName":"cart","containers":[]}})");
  const Result<TokenInjection> read =
      TokenInjection::read(injectionObject(R"({"profile":"EKSPodIdentity","match":{"serviceAccounts":["shop/cart"]}})"));
  ASSERT_TRUE(read);
  const auto lifeOf = [&](const json::object& pod, std::int64_t jitter) {
    return (**read->injectionFor("shop", *viewPod(pod), nullptr, jitter)).expirationSeconds;
  };
  EXPECT_EQ(lifeOf(usual, 0), 86400);
  EXPECT_EQ(lifeOf(usual, 7200), 79200);
  EXPECT_EQ(lifeOf(usual, 100'000), 79200) << "no more than it wants";
  EXPECT_EQ(lifeOf(own, 7200), 3600);
}

TEST(TokenInjection, WritesGooglesCredentialConfiguration) {
  const char* provider = "projects/1/locations/global/workloadIdentityPools/p/providers/k";
  const json::object pod = injected(R"({"profile":"GoogleWorkloadIdentity"})", kPod,
                                    std::string(R"({"cloud.google.com/workload-identity-provider":")") + provider + "\"}");
  EXPECT_NE(envOf(pod).find("GOOGLE_APPLICATION_CREDENTIALS=/var/run/secrets/workload-identity/credential-configuration.json\n"),
            std::string::npos);
  const json::object& annotations = pod.at("metadata").at("annotations").as_object();
  const json::object file = parsed(textAt(annotations, {"files.identity.podpass.dev/gcp-iam-token.0"}));
  EXPECT_EQ(textAt(file, {"audience"}), std::string("//iam.googleapis.com/") + provider);
  EXPECT_EQ(file.at("credential_source").at("file"), "/var/run/secrets/workload-identity/token");
  EXPECT_FALSE(file.contains("service_account_impersonation_url")) << "nobody named a service account of Google's";
  EXPECT_EQ(json::serialize(pod.at("spec").at("volumes").at(0).at("projected").at("sources")),
            std::string(R"([{"serviceAccountToken":{"audience":"https://iam.googleapis.com/)") + provider +
                R"(","expirationSeconds":3600,"path":"token"}},{"downwardAPI":{"items":[{"path":"credential-configuration.json",)"
                R"("fieldRef":{"fieldPath":"metadata.annotations['files.identity.podpass.dev/gcp-iam-token.0']"}}]}}])");
  const json::object impersonating = injected(
      R"({"profile":"GoogleWorkloadIdentity"})", kPod,
      R"({"cloud.google.com/workload-identity-provider":"p","cloud.google.com/service-account-email":"a@b.iam.gserviceaccount.com"})");
  EXPECT_NE(textAt(impersonating.at("metadata").at("annotations").as_object(), {"files.identity.podpass.dev/gcp-iam-token.0"})
                .find("a@b.iam.gserviceaccount.com:generateAccessToken"),
            std::string_view::npos);
}

TEST(TokenInjection, ConfiguresAVaultAgent) {
  const json::object pod = injected(R"({"profile":"Vault"})", kPod,
                                    R"({"identity.podpass.dev/vault-role":"r","identity.podpass.dev/vault-addr":"https://vault:8200"})");
  EXPECT_EQ(envOf(pod), "VAULT_ADDR=https://vault:8200\n");
  const json::object file = parsed(textAt(pod.at("metadata").at("annotations").as_object(), {"files.identity.podpass.dev/vault-token.0"}));
  EXPECT_EQ(file.at("auto_auth").at("method").at("config").at("role"), "r");
  EXPECT_EQ(file.at("auto_auth").at("method").at("mount_path"), "auth/jwt");
}

TEST(TokenInjection, MatchesOnlyWhenEveryPartDoes) {
  const std::string rest = R"(,"volumeName":"v","mountPath":"/v"})";
  struct Case {
    const char *why, *match;
    bool meant;
  };
  const Case cases[] = {{"the account by name", R"({"serviceAccounts":["shop/cart"]})", true},
                        {"in any namespace", R"({"serviceAccounts":["*/cart"]})", true},
                        {"another namespace's", R"({"serviceAccounts":["other/cart"]})", false},
                        {"an annotation", R"({"serviceAccountAnnotation":"a"})", true},
                        {"an empty annotation is none", R"({"serviceAccountAnnotation":"empty"})", false},
                        {"labels", R"({"podSelector":{"matchLabels":{"azure.workload.identity/use":"true"}}})", true},
                        {"one part fails", R"({"serviceAccounts":["shop/cart"],"podSelector":{"matchLabels":{"x":"y"}}})", false}};
  for (const Case& c : cases) {
    SCOPED_TRACE(c.why);
    const json::object after = injected(std::string(R"({"match":)") + c.match + rest, kPod, R"({"a":"1","empty":""})");
    EXPECT_EQ(after.at("spec").as_object().contains("volumes"), c.meant);
  }
  EXPECT_FALSE(TokenInjection::read(injectionObject(R"({"match":{},"volumeName":"v","mountPath":"/v"})"))) << "everything is never meant";
  EXPECT_FALSE(TokenInjection::read(injectionObject(R"({"profile":"EKSPodIdentity"})"))) << "a profile that names no accounts";
}

TEST(TokenInjection, LeavesOutWhatNeedsAMissingAnnotation) {
  const std::string spec =
      R"({"match":{"serviceAccounts":["shop/cart"]},"volumeName":"v","mountPath":"/v","tokenPath":"t","audience":"${annotation:aud|fallback}",)"
      R"("env":[{"name":"A","value":"${namespace}/${serviceAccount}"},{"name":"B","value":"x${annotation:b}"},{"name":"C","value":"${tokenFile}"}],)"
      R"("files":[{"path":"f","text":"${annotation:b}"},{"path":"g","text":"plain ${annotation:c}"}]})";
  const json::object pod = injected(spec, kPod, R"({"c":"${annotation:b}"})");
  EXPECT_EQ(envOf(pod), "A=shop/cart\nC=/v/t\n");
  EXPECT_EQ(textAt(pod.at("metadata").at("annotations").as_object(), {"files.identity.podpass.dev/v.0"}), "plain ${annotation:b}")
      << "values are not expanded again";
  EXPECT_EQ(pod.at("spec").at("volumes").at(0).at("projected").at("sources").at(0).at("serviceAccountToken").at("audience"), "fallback");
  const std::string strict =
      R"({"match":{"serviceAccounts":["shop/cart"]},"volumeName":"v","mountPath":"/v","audience":"${annotation:aud}"})";
  EXPECT_EQ(injected(strict, kPod), parsed(kPod)) << "no token rather than one for somebody else";
}

TEST(TokenInjection, SkipsContainersAndTakesALifeFromThePod) {
  const std::string pod =
      R"({"metadata":{"annotations":{"azure.workload.identity/skip-containers":"a; b","azure.workload.identity/service-account-token-expiration":"7200"},)"
      R"("labels":{"azure.workload.identity/use":"true"}},"spec":{"containers":[{"name":"b"},{"name":"c"}]}})";
  const json::object after = injected(R"({"profile":"AzureWorkloadIdentity"})", pod);
  EXPECT_FALSE(after.at("spec").at("containers").at(0).as_object().contains("env"));
  EXPECT_TRUE(after.at("spec").at("containers").at(1).as_object().contains("env"));
  EXPECT_EQ(after.at("spec").at("volumes").at(0).at("projected").at("sources").at(0).at("serviceAccountToken").at("expirationSeconds"),
            7200);
}

TEST(TokenInjection, IsAKindWhoseProfilesAreValid) {
  const api::Kind& kind = *api::findKind("identity.podpass.dev", "v1", "tokeninjections");
  for (const InjectionProfile& profile : kInjectionProfiles) {
    SCOPED_TRACE(profile.name);
    json::object object = injectionObject(std::string(profile.spec));
    if (objectAt(object, {"spec", "match"}) == nullptr) makeObjectAt(object, {"spec", "match"})["serviceAccounts"] = json::array{"a/b"};
    const Result<api::Decoded> decoded = api::decode(kind, "", json::serialize(object));
    ASSERT_TRUE(decoded) << decoded.error().sentence;
    EXPECT_TRUE(decoded->problems.empty()) << decoded->problems.front();
    const std::vector<Cause> causes = api::validate(kind, decoded->object);
    EXPECT_TRUE(causes.empty()) << causes.front().field << ": " << causes.front().message;
  }
  struct Case {
    const char *spec, *field;
  };
  const Case cases[] = {{R"({"volumeName":"v","mountPath":"/v"})", "spec.match"},
                        {R"({"profile":"Vault","audience":"${nonsense}"})", "spec.audience"},
                        {R"({"profile":"Vault","env":[{"name":"A","value":"${tokenFile"}]})", "spec.env[0].value"},
                        {R"({"profile":"Vault","mountPath":"relative"})", "spec.mountPath"},
                        {R"({"profile":"Vault","tokenPath":"../x"})", "spec.tokenPath"},
                        {R"({"profile":"Vault","expirationSeconds":599})", "spec.expirationSeconds"},
                        {R"({"profile":"Nobody"})", "spec.profile"},
                        {R"({"profile":"Vault","match":{"serviceAccounts":["cart"]}})", "spec.match.serviceAccounts[0]"}};
  for (const Case& c : cases) {
    const std::vector<Cause> causes = api::validate(kind, injectionObject(c.spec));
    ASSERT_EQ(causes.size(), 1u) << c.spec;
    EXPECT_EQ(causes[0].field, c.field);
  }
}

TEST(PodIdentityAssociation, IsAKindThatKeepsItsAccount) {
  const api::Kind& kind = *api::findKind("identity.podpass.dev", "v1", "podidentityassociations");
  const auto made = [](const char* account, const char* role) {
    return parsed(
        std::string(
            R"({"apiVersion":"identity.podpass.dev/v1","kind":"PodIdentityAssociation","metadata":{"name":"a","namespace":"n"},"spec":{"serviceAccountName":")") +
        account + R"(","roleArn":")" + role + "\"}}");
  };
  const char* role = "arn:aws:iam::000000000000:role/reader";
  EXPECT_TRUE(api::validate(kind, made("cart", role)).empty());
  EXPECT_EQ(api::validate(kind, made("cart", "reader")).at(0).field, "spec.roleArn");
  EXPECT_EQ(api::validate(kind, made("", role)).at(0).field, "spec.serviceAccountName");
  const std::vector<Cause> causes = api::validateUpdate(kind, made("other", role), made("cart", role));
  ASSERT_FALSE(causes.empty());
  EXPECT_EQ(causes.back().field, "spec.serviceAccountName");
}

}  // namespace
}  // namespace podpass::irsa
