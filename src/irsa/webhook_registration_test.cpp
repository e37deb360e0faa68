#include "irsa/webhook_registration.h"

#include <gtest/gtest.h>

#include <random>

#include "api/test_client.h"
#include "base/text.h"
#include "crypto/certificate.h"
#include "http/client.h"
#include "irsa/webhook_role.h"

namespace podpass::irsa {
namespace {

using namespace std::chrono_literals;
using api::TestClient;

constexpr auto kUntilRenewal = std::chrono::hours(24 * 365) * 2 / 3;
constexpr const char* kReview =
    R"({"request":{"uid":"u","namespace":"shop","object":{"metadata":{"name":"p"},"spec":{"serviceAccountName":"cart","containers":[{"name":"c"}]}}}})";

// A cluster whose configuration leads to a Service, and its API server, which believes the caBundle and nothing else. The clock begins so
// that a certificate made now is due for renewal when real time is, because TLS knows no other.
struct Cluster {
  explicit Cluster(const char* clientConfig = R"({"service":{"namespace":"eks","name":"pod-identity-webhook","path":"/mutate"}})") {
    client.makeNamespace("eks");
    client.makeNamespace("shop");
    client.put(
        "ServiceAccount",
        R"({"metadata":{"namespace":"shop","name":"cart","annotations":{"eks.amazonaws.com/role-arn":"arn:aws:iam::210987654321:role/a"}}})");
    client.put(
        "MutatingWebhookConfiguration",
        std::string(R"({"metadata":{"name":"pod-identity-webhook"},"webhooks":[{"name":"w","clientConfig":)") + clientConfig + "}]}");
  }
  json::object secret() { return client.find("Secret", "eks", "pod-identity-webhook")->value; }
  std::string inSecret(std::string_view key) {
    const Result<std::string> decoded = base64Decode(textAt(secret(), {"data", key}));
    return decoded ? *decoded : "";
  }
  std::string bundle() {
    const DocumentPtr configuration = client.find("MutatingWebhookConfiguration", "", "pod-identity-webhook");
    const Result<std::string> decoded =
        base64Decode(textAt(configuration->value.at("webhooks").as_array().at(0).as_object(), {"clientConfig", "caBundle"}));
    return decoded ? *decoded : "";
  }
  void setBundle(const std::string& pem) {
    client.edit("MutatingWebhookConfiguration", "", "pod-identity-webhook", [&pem](json::object& configuration) {
      configuration["webhooks"].as_array().at(0).as_object()["clientConfig"].as_object()["caBundle"] = base64Encode(pem);
    });
  }
  // "" when a pod is admitted with its identity.
  std::string failureOf(WebhookRole& replica) {
    http::FetchOptions call;
    call.method = "POST";
    call.headers.add("Content-Type", "application/json");
    call.body = kReview;
    call.caPem = bundle();
    call.serverName = "pod-identity-webhook.eks.svc";
    const Result<http::Fetched> answer = http::fetch(replica.url(), call);
    if (!answer) return answer.error().sentence;
    return answer->body.find("\"patch\"") != std::string::npos ? "" : answer->body;
  }

  TestClient client;
  FakeClock clock{std::chrono::floor<std::chrono::seconds>(SystemClock().now()) - kUntilRenewal - 30min};
};

// Made without its watches and its thread: it looks when the test says so.
std::unique_ptr<WebhookRole> replicaIn(Cluster& cluster) {
  WebhookRoleOptions options;
  options.listeners.bind = "127.0.0.1";
  options.listeners.port = 0;
  options.listeners.metricsPort = -1;
  options.listeners.threads = 1;
  options.registration.emplace();
  return std::make_unique<WebhookRole>(std::move(options), cluster.client, cluster.clock);
}

int authoritiesIn(const std::string& pem) {
  int count = 0;
  for (std::size_t at = 0; (at = pem.find("-----BEGIN CERTIFICATE-----", at)) != std::string::npos; ++at) ++count;
  return count;
}

TEST(WebhookRegistration, ReplicasShareOneCertificate) {
  Cluster cluster;
  const auto one = replicaIn(cluster), two = replicaIn(cluster);
  ASSERT_TRUE(one->lookAtRegistration());
  const json::object made = cluster.secret();
  ASSERT_TRUE(two->lookAtRegistration());
  EXPECT_EQ(cluster.secret(), made);
  EXPECT_EQ(textAt(made, {"type"}), "kubernetes.io/tls");
  EXPECT_EQ(cluster.failureOf(*one), "");
  EXPECT_EQ(cluster.failureOf(*two), "");
}

TEST(WebhookRegistration, RenewsInStepsThatEveryReplicaIsBelievedIn) {
  Cluster cluster;
  const auto one = replicaIn(cluster), two = replicaIn(cluster);
  const auto bothAreBelieved = [&] { return cluster.failureOf(*one) + cluster.failureOf(*two); };
  ASSERT_TRUE(one->lookAtRegistration());
  ASSERT_TRUE(two->lookAtRegistration());
  const std::string old = cluster.inSecret("tls.crt");
  cluster.clock.advance(kUntilRenewal - 1s);
  ASSERT_TRUE(one->lookAtRegistration());
  EXPECT_EQ(cluster.inSecret("next.crt"), "") << "a second early";

  cluster.clock.advance(1s);
  ASSERT_TRUE(one->lookAtRegistration());
  EXPECT_NE(cluster.inSecret("next.crt"), "");
  EXPECT_EQ(cluster.inSecret("tls.crt"), old) << "announced, not served";
  EXPECT_EQ(authoritiesIn(cluster.bundle()), 2);
  EXPECT_EQ(bothAreBelieved(), "");
  cluster.clock.advance(kAnnouncement - 1s);
  ASSERT_TRUE(two->lookAtRegistration());
  EXPECT_EQ(cluster.inSecret("tls.crt"), old) << "a second early";

  cluster.clock.advance(1s);
  ASSERT_TRUE(two->lookAtRegistration());
  EXPECT_NE(cluster.inSecret("tls.crt"), old);
  EXPECT_EQ(cluster.inSecret("next.key"), "");
  EXPECT_EQ(bothAreBelieved(), "") << "one of them shows the old certificate still";
  const std::string metrics = two->server().webhook().metrics().text();
  EXPECT_NE(metrics.find("certificate_manager_server_rotation_seconds_bucket{le=\"15552000\"} 0\n"), std::string::npos) << metrics;
  EXPECT_NE(metrics.find("certificate_manager_server_rotation_seconds_bucket{le=\"31104000\"} 1\n"), std::string::npos);
  cluster.clock.advance(kFarewell - 1s);
  ASSERT_TRUE(one->lookAtRegistration());
  EXPECT_EQ(authoritiesIn(cluster.bundle()), 2) << "a second early";
  cluster.clock.advance(1s);
  ASSERT_TRUE(one->lookAtRegistration());
  EXPECT_EQ(authoritiesIn(cluster.bundle()), 1);
  EXPECT_EQ(bothAreBelieved(), "");
  EXPECT_EQ(cluster.client.calls("update", "Secret"), 3);
}

// Replicas look in any order, writes fail or collide, and somebody takes the bundle's place once.
TEST(WebhookRegistration, NoCallFailsWhateverTheOrder) {
  for (std::uint32_t seed = 0; seed < 6; ++seed) {
    std::mt19937 random(seed);
    Cluster cluster;
    const std::unique_ptr<WebhookRole> replicas[] = {replicaIn(cluster), replicaIn(cluster)};
    for (const auto& each : replicas) ASSERT_TRUE(each->lookAtRegistration());
    const std::string old = cluster.inSecret("tls.crt");
    cluster.clock.advance(kUntilRenewal);
    const Error failures[] = {{Reason::Conflict, "written by another"}, {Reason::Unavailable, "the API server is away"}};
    for (int round = 0; round < 24; ++round) {
      cluster.clock.advance(30s);
      for (const unsigned first = random() % 2; const unsigned each : {first, 1 - first}) {
        const Error& failure = failures[random() % 2];
        const char* const what[] = {"Secret", "MutatingWebhookConfiguration"};
        if (round < 12 && random() % 2 == 0) cluster.client.fail("update", what[random() % 2], failure);
        static_cast<void>(replicas[each]->lookAtRegistration());
        for (const auto& replica : replicas) ASSERT_EQ(cluster.failureOf(*replica), "") << "seed " << seed << ", round " << round;
      }
    }
    EXPECT_NE(cluster.inSecret("tls.crt"), old) << "seed " << seed;
  }
}

TEST(WebhookRegistration, DoesNotSwitchBeforeItCouldAnnounce) {
  Cluster cluster;
  const auto replica = replicaIn(cluster);
  ASSERT_TRUE(replica->lookAtRegistration());
  const std::string old = cluster.inSecret("tls.crt");
  cluster.clock.advance(kUntilRenewal);
  cluster.client.fail("update", "MutatingWebhookConfiguration", {Reason::Unavailable, "away"}, 2);
  for (int i = 0; i < 2; ++i) {
    ASSERT_TRUE(replica->lookAtRegistration());
    cluster.clock.advance(kAnnouncement);
  }
  ASSERT_TRUE(replica->lookAtRegistration());
  EXPECT_EQ(authoritiesIn(cluster.bundle()), 2) << "now it could";
  cluster.clock.advance(kAnnouncement - 1s);
  ASSERT_TRUE(replica->lookAtRegistration());
  EXPECT_EQ(cluster.inSecret("tls.crt"), old) << "and from now on it waits";
  cluster.clock.advance(1s);
  ASSERT_TRUE(replica->lookAtRegistration());
  EXPECT_NE(cluster.inSecret("tls.crt"), old);
}

TEST(WebhookRegistration, RenewsWithoutAConfigurationOfItsOwn) {
  for (const Reason reason : {Reason::NotFound, Reason::Forbidden}) {
    Cluster cluster;
    const auto replica = replicaIn(cluster);
    cluster.client.fail("get", "MutatingWebhookConfiguration", {reason, "not for you"}, 10);
    ASSERT_TRUE(replica->lookAtRegistration());
    const std::string old = cluster.inSecret("tls.crt");
    for (const auto pause : {std::chrono::seconds(kUntilRenewal), std::chrono::seconds(kAnnouncement)}) {
      cluster.clock.advance(pause);
      ASSERT_TRUE(replica->lookAtRegistration());
    }
    EXPECT_NE(cluster.inSecret("tls.crt"), old);
  }
}

TEST(WebhookRegistration, RepairsADamagedBundle) {
  const std::string foreign = (*crypto::Authority::make("somebody", SystemClock().now())).certificatePem();
  for (const std::string& damaged : {std::string(), std::string("no certificate"), foreign}) {
    Cluster cluster;
    const auto replica = replicaIn(cluster);
    ASSERT_TRUE(replica->lookAtRegistration());
    cluster.setBundle(damaged);
    EXPECT_NE(cluster.failureOf(*replica), "");
    ASSERT_TRUE(replica->lookAtRegistration());
    EXPECT_EQ(cluster.failureOf(*replica), "");
  }
}

TEST(WebhookRegistration, LeavesAWebhookOfAnotherAuthorityAlone) {
  const std::string foreign = base64Encode((*crypto::Authority::make("somebody", SystemClock().now())).certificatePem());
  Cluster cluster((R"({"url":"https://127.0.0.1:1/mutate","caBundle":")" + foreign + "\"}").c_str());
  const auto replica = replicaIn(cluster);
  ASSERT_TRUE(replica->lookAtRegistration());
  EXPECT_EQ(base64Encode(cluster.bundle()), foreign);
}

TEST(WebhookRegistration, PutsBackASecretThatWasTakenAway) {
  Cluster cluster;
  const auto one = replicaIn(cluster), two = replicaIn(cluster);
  ASSERT_TRUE(one->lookAtRegistration());
  ASSERT_TRUE(two->lookAtRegistration());
  const std::string certificate = cluster.inSecret("tls.crt"),
                    renewal(textAt(cluster.secret(), {"metadata", "annotations", "identity.podpass.dev/renew-after"}));
  const auto isBack = [&] {
    return cluster.inSecret("tls.crt") == certificate &&
           textAt(cluster.secret(), {"metadata", "annotations", "identity.podpass.dev/renew-after"}) == renewal;
  };
  cluster.client.erase("Secret", "eks", "pod-identity-webhook");
  ASSERT_TRUE(one->lookAtRegistration());
  EXPECT_TRUE(isBack());
  cluster.client.edit("Secret", "eks", "pod-identity-webhook", [](json::object& secret) {
    secret["data"] = json::object{{"tls.crt", "%"}};
  });
  ASSERT_TRUE(two->lookAtRegistration());
  EXPECT_TRUE(isBack());
  EXPECT_EQ(cluster.failureOf(*one) + cluster.failureOf(*two), "");
}

TEST(WebhookRegistration, UsesACertificateThatOthersKeep) {
  Cluster cluster;
  const WallTime now = SystemClock().now();
  const Result<crypto::Authority> authority = crypto::Authority::make("cert-manager", now);
  const auto issue = [&] {
    WebhookCertificate certificate;
    const Result<crypto::IssuedCertificate> issued =
        authority->issue({.commonName = "w", .dnsNames = {"pod-identity-webhook.eks.svc"}, .forServer = true}, now);
    certificate.tls.certificatePem = issued->certificatePem;
    certificate.tls.keyPem = issued->keyPem;
    certificate.caPem = authority->certificatePem();
    json::object secret = secretOf(certificate);
    makeObjectAt(secret, {"metadata"})["name"] = "pod-identity-webhook";
    makeObjectAt(secret, {"metadata"})["namespace"] = "eks";
    return secret;
  };
  cluster.client.put("Secret", json::serialize(issue()));
  const auto replica = replicaIn(cluster);
  ASSERT_TRUE(replica->lookAtRegistration());
  EXPECT_EQ(cluster.failureOf(*replica), "");
  const json::object next = issue();
  cluster.client.edit("Secret", "eks", "pod-identity-webhook", [&next](json::object& secret) { secret["data"] = next.at("data"); });
  cluster.clock.advance(kUntilRenewal * 2);
  ASSERT_TRUE(replica->lookAtRegistration());
  EXPECT_EQ(cluster.secret().at("data"), next.at("data")) << "theirs to renew";
  EXPECT_EQ(cluster.failureOf(*replica), "");
}

TEST(WebhookRegistration, GoesOnWithWhatItHasWhenItMayNotWrite) {
  Cluster cluster;
  const auto one = replicaIn(cluster);
  ASSERT_TRUE(one->lookAtRegistration());
  cluster.clock.advance(kUntilRenewal);
  const Error refused{Reason::Forbidden, "secrets is forbidden"};
  cluster.client.fail("update", "Secret", refused);
  const Result<RegistrationLook> look = keepRegistered(cluster.client, {}, nullptr, cluster.clock.now());
  ASSERT_TRUE(look);
  ASSERT_TRUE(look->notRenewed);
  EXPECT_EQ(look->notRenewed->sentence, refused.sentence);
  EXPECT_EQ(look->step, "");
  EXPECT_EQ(cluster.failureOf(*one), "");
  cluster.client.erase("Secret", "eks", "pod-identity-webhook");
  cluster.client.fail("create", "Secret", refused);
  EXPECT_FALSE(keepRegistered(cluster.client, {}, nullptr, cluster.clock.now())) << "there is nothing to go on with";
}

}  // namespace
}  // namespace podpass::irsa
