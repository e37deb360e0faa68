#include "irsa/unmutated_pods.h"

#include <gtest/gtest.h>

#include "api/test_client.h"
#include "irsa/cluster_watch.h"

namespace podpass::irsa {
namespace {

using namespace std::chrono_literals;
using api::TestClient;

constexpr const char* kArn = "arn:aws:iam::210987654321:role/reader";

// A cluster in which `shop/cart` has a role, and the webhook that should have seen its pods.
struct Cluster {
  Cluster() {
    for (const char* ns : {"shop", "plain"}) client.makeNamespace(ns);
    account("shop", "cart", json::object{{"eks.amazonaws.com/role-arn", kArn}});
    account("plain", "default", {});
  }
  ~Cluster() { webhook.stop(); }
  Cluster(const Cluster&) = delete;
  Cluster& operator=(const Cluster&) = delete;

  void account(const std::string& ns, const std::string& name, const json::object& annotations) {
    json::object account;
    account["metadata"] = json::object{{"namespace", ns}, {"name", name}, {"annotations", annotations}};
    client.put("ServiceAccount", json::serialize(account));
  }
  // A running pod of shop/cart, `owner` its controller. Returns the uid.
  std::string pod(const std::string& name, const std::string& owner = "", const std::function<void(json::object&)>& change = {}) {
    json::object pod =
        json::parse(R"({"spec":{"serviceAccountName":"cart","nodeName":"n","containers":[{"name":"c"}]},"status":{"phase":"Running"}})")
            .as_object();
    json::object& metadata = makeObjectAt(pod, {"metadata"});
    metadata["name"] = name;
    metadata["namespace"] = "shop";
    if (!owner.empty())
      metadata["ownerReferences"] = json::array{json::object{{"kind", "ReplicaSet"}, {"uid", owner}, {"controller", true}}};
    if (change) change(pod);
    return client.put("Pod", json::serialize(pod));
  }
  void inject(const char* text) {
    sources.injections.store(
        std::make_shared<const std::vector<TokenInjection>>(std::vector{*TokenInjection::read(json::parse(text).as_object())}));
  }
  std::vector<UnmutatedPod> found() {
    EXPECT_TRUE(readSources(client, sources, {}, "", "").empty());
    const Result<std::vector<UnmutatedPod>> pods = findUnmutatedPods(client, webhook, sources);
    EXPECT_TRUE(pods);
    return pods ? *pods : std::vector<UnmutatedPod>();
  }
  // "ns/name volume" of each.
  std::set<std::string> lacking() {
    std::set<std::string> names;
    for (const UnmutatedPod& pod : found()) names.insert(pod.ns + "/" + pod.name + " " + pod.missing);
    return names;
  }

  TestClient client;
  WebhookSources sources;
  Webhook webhook{
      {}, sources, [](const std::string&, const std::string&) { return Result<std::optional<Account>>(std::optional<Account>()); }};
};

std::vector<std::string> namesOf(const std::vector<UnmutatedPod>& pods) {
  std::vector<std::string> names;
  for (const UnmutatedPod& pod : pods) names.push_back(pod.name);
  return names;
}

TEST(UnmutatedPods, AreThoseWithoutWhatTheWebhookWouldHaveGiven) {
  struct Case {
    const char* why;
    std::function<void(json::object&)> change;
    bool lacking;
  };
  const auto container = [](json::object& pod, const char* text) { makeObjectAt(pod, {"spec"})["containers"] = json::parse(text); };
  const auto with = [&container](const char* text) { return [&container, text](json::object& pod) { container(pod, text); }; };
  const auto annotated = [](const char* skipped) {
    return [skipped](json::object& pod) { makeObjectAt(pod, {"metadata", "annotations"})["eks.amazonaws.com/skip-containers"] = skipped; };
  };
  const Case cases[] = {
      {"as it was written", {}, true},
      {"it has the volume",
       [](json::object& pod) { makeObjectAt(pod, {"spec"})["volumes"] = json::parse(R"([{"name":"aws-iam-token"}])"); }, false},
      {"it opted out",
       [](json::object& pod) {
         makeObjectAt(pod, {"metadata", "labels"})[kOptOut] = "true";
       },
       false},
      {"all of its containers did", annotated("c"), false},
      {"another container did", annotated("d"), true},
      {"its container brings its own", with(R"([{"name":"c","env":[{"name":"AWS_WEB_IDENTITY_TOKEN_FILE","value":"/mine"}]}])"), false},
      {"one of two does", with(R"([{"name":"c","env":[{"name":"AWS_ROLE_ARN","value":"r"}]},{"name":"d"}])"), true},
      {"it knows its region only", with(R"([{"name":"c","env":[{"name":"AWS_REGION","value":"eu-west-1"}]}])"), true},
      {"it has no role", [](json::object& pod) { makeObjectAt(pod, {"spec"})["serviceAccountName"] = "default"; }, false},
      {"it has ended", [](json::object& pod) { makeObjectAt(pod, {"status"})["phase"] = "Succeeded"; }, false},
      {"it is being deleted", [](json::object& pod) { makeObjectAt(pod, {"metadata"})["deletionTimestamp"] = "2026-03-01T12:00:00Z"; },
       false}};
  for (const Case& c : cases) {
    SCOPED_TRACE(c.why);
    Cluster cluster;
    cluster.pod("p", "", c.change);
    EXPECT_EQ(cluster.lacking(), c.lacking ? std::set<std::string>{"shop/p aws-iam-token"} : std::set<std::string>());
  }
}

TEST(UnmutatedPods, AreLookedForWhereverSomethingGivesAnIdentity) {
  struct Case {
    const char* why;
    std::function<void(Cluster&)> arrange;
    const char* missing;
  };
  const auto injecting = [](const char* text) { return [text](Cluster& cluster) { cluster.inject(text); }; };
  const Case cases[] = {
      {"nothing does", [](Cluster&) {}, ""},
      {"a list of accounts",
       injecting(R"({"metadata":{"name":"v"},"spec":{"profile":"Vault","match":{"serviceAccounts":["plain/default"]}}})"), "vault-token"},
      {"of other accounts",
       injecting(R"({"metadata":{"name":"v"},"spec":{"profile":"Vault","match":{"serviceAccounts":["plain/another"]}}})"), ""},
      {"any namespace", injecting(R"({"metadata":{"name":"v"},"spec":{"profile":"Vault","match":{"serviceAccounts":["*/default"]}}})"),
       "vault-token"},
      {"labels of pods",
       injecting(R"({"metadata":{"name":"v"},"spec":{"profile":"Vault","match":{"podSelector":{"matchLabels":{"app":"a"}}}}})"),
       "vault-token"},
      {"other labels",
       injecting(R"({"metadata":{"name":"v"},"spec":{"profile":"Vault","match":{"podSelector":{"matchLabels":{"app":"b"}}}}})"), ""},
      {"an annotation",
       injecting(R"({"metadata":{"name":"v"},"spec":{"profile":"Vault","match":{"serviceAccountAnnotation":"mine/vault"}}})"),
       "vault-token"},
      {"an entry of the ConfigMap",
       [](Cluster& c) {
         c.sources.identityMap.store(
             std::make_shared<const IdentityMap>(parseIdentityMap(R"({"*/default":{"RoleARN":"r"}})", {})->entries));
       },
       "aws-iam-token"},
      {"the credentials file",
       [](Cluster& c) { c.sources.credentials.store(std::make_shared<const CredentialsAccounts>(CredentialsAccounts{"plain/default"})); },
       "eks-pod-identity-token"}};
  for (const Case& c : cases) {
    SCOPED_TRACE(c.why);
    Cluster cluster;
    cluster.client.edit("ServiceAccount", "plain", "default", [](json::object& account) {
      makeObjectAt(account, {"metadata", "annotations"})["mine/vault"] = "x";
    });
    cluster.client.put(
        "Pod",
        R"({"metadata":{"namespace":"plain","name":"p","labels":{"app":"a"}},"spec":{"serviceAccountName":"default","containers":[{"name":"c"}]}})");
    EXPECT_TRUE(readSources(cluster.client, cluster.sources, {}, "", "").empty());
    c.arrange(cluster);
    const Result<std::vector<UnmutatedPod>> pods = findUnmutatedPods(cluster.client, cluster.webhook, cluster.sources);
    ASSERT_TRUE(pods);
    ASSERT_EQ(pods->size(), *c.missing == 0 ? 0u : 1u);
    EXPECT_EQ(pods->empty() ? "" : pods->front().missing, c.missing);
  }
}

TEST(UnmutatedPods, AreNotCountedTwice) {
  Cluster cluster;
  cluster.pod("p");
  EXPECT_TRUE(readSources(cluster.client, cluster.sources, {}, "", "").empty());
  cluster.inject(R"({"metadata":{"name":"v"},"spec":{"profile":"Vault","match":{"serviceAccounts":["shop/cart"]}}})");
  EXPECT_EQ(findUnmutatedPods(cluster.client, cluster.webhook, cluster.sources)->size(), 1u);
}

TEST(UnmutatedPods, SayThatTheyCouldNotBeListed) {
  Cluster cluster;
  EXPECT_TRUE(readSources(cluster.client, cluster.sources, {}, "", "").empty());
  cluster.client.fail("list", "Pod", {Reason::Forbidden, "pods is forbidden"});
  const Result<std::vector<UnmutatedPod>> pods = findUnmutatedPods(cluster.client, cluster.webhook, cluster.sources);
  ASSERT_FALSE(pods);
  EXPECT_EQ(pods.error().reason, Reason::Forbidden);
}

TEST(Evictions, TakeOnePodOfEachControllerAndNoMoreThanTold) {
  Cluster cluster;
  for (const char* name : {"a-1", "a-2", "b-1", "c-1"}) cluster.pod(name, std::string(1, name[0]));
  cluster.pod("alone");
  cluster.pod("static", "node", [](json::object& pod) {
    makeObjectAt(pod, {"metadata"})["ownerReferences"] = json::parse(R"([{"kind":"Node","uid":"node","controller":true}])");
  });
  Evictions evictions(2);
  EXPECT_EQ(namesOf(evictions.round(cluster.client, cluster.found(), SteadyTime()).evicted), (std::vector<std::string>{"a-1", "b-1"}));
  EXPECT_EQ(namesOf(evictions.round(cluster.client, cluster.found(), SteadyTime()).evicted), (std::vector<std::string>{"a-2", "c-1"}));
  EXPECT_TRUE(evictions.round(cluster.client, cluster.found(), SteadyTime()).evicted.empty());
  EXPECT_EQ(cluster.lacking(), (std::set<std::string>{"shop/alone aws-iam-token", "shop/static aws-iam-token"}))
      << "nobody would replace them";
  EXPECT_EQ(cluster.client.calls("eviction", "Pod"), 4);
}

TEST(Evictions, RespectADisruptionBudget) {
  Cluster cluster;
  for (const char* name : {"a-1", "a-2", "b-1"}) cluster.pod(name, std::string(1, name[0]));
  cluster.client.fail("eviction", "Pod", {Reason::TooManyRequests, "Cannot evict pod as it would violate the pod's disruption budget."});
  Evictions evictions(10);
  const Evictions::Outcome outcome = evictions.round(cluster.client, cluster.found(), SteadyTime());
  ASSERT_EQ(outcome.refused.size(), 1u);
  EXPECT_EQ(outcome.refused.front().first.name, "a-1");
  EXPECT_EQ(namesOf(outcome.evicted), std::vector<std::string>{"b-1"}) << "the budget of one controller is not that of another";
  EXPECT_EQ(cluster.client.calls("eviction", "Pod"), 2) << "and its other pod is not tried";
  EXPECT_EQ(namesOf(evictions.round(cluster.client, cluster.found(), SteadyTime()).evicted), std::vector<std::string>{"a-1"})
      << "the next look asks again";
}

TEST(Evictions, EndWhenTheNewPodIsNoBetter) {
  Cluster cluster;
  Evictions evictions(10);
  const SteadyTime begin{};
  for (const char* name : {"a-1", "a-2"}) cluster.pod(name, "a");
  EXPECT_EQ(namesOf(evictions.round(cluster.client, cluster.found(), begin).evicted), std::vector<std::string>{"a-1"});
  cluster.pod("a-3", "a");
  const Evictions::Outcome outcome = evictions.round(cluster.client, cluster.found(), begin + 5min);
  EXPECT_TRUE(outcome.evicted.empty());
  EXPECT_EQ(namesOf(outcome.hopeless), std::vector<std::string>{"a-3"});
  const Evictions::Outcome later = evictions.round(cluster.client, cluster.found(), begin + 5min + 1h - 1s);
  EXPECT_TRUE(later.evicted.empty() && later.hopeless.empty()) << "said once";
  EXPECT_EQ(namesOf(evictions.round(cluster.client, cluster.found(), begin + 5min + 1h).evicted), std::vector<std::string>{"a-2"})
      << "an hour later it tries again";
}

TEST(Evictions, MeanThatVeryPod) {
  Cluster cluster;
  cluster.pod("db-0", "db");
  const std::vector<UnmutatedPod> found = cluster.found();
  cluster.client.erase("Pod", "shop", "db-0");
  cluster.client.edit("Pod", "shop", "db-0",
                      [](json::object& pod) { makeObjectAt(pod, {"metadata"}).erase("deletionGracePeriodSeconds"); });
  cluster.pod("db-0", "db",
              [](json::object& pod) { makeObjectAt(pod, {"spec"})["volumes"] = json::parse(R"([{"name":"aws-iam-token"}])"); });
  const Evictions::Outcome outcome = Evictions(1).round(cluster.client, found, SteadyTime());
  ASSERT_EQ(outcome.refused.size(), 1u);
  EXPECT_EQ(outcome.refused.front().second.reason, Reason::Conflict);
}

}  // namespace
}  // namespace podpass::irsa
