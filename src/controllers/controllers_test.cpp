#include "controllers/controllers.h"

#include <gtest/gtest.h>

#include "api/test_client.h"
#include "controllers/informer.h"
#include "controllers/node_fit.h"
#include "controllers/work_queue.h"

namespace podpass::controllers {
namespace {

using namespace std::chrono_literals;
using api::TestClient;

std::vector<std::string> secretsOf(const DocumentPtr& account) {
  std::vector<std::string> names;
  if (account)
    if (const json::array* listed = arrayAt(account->value, {"secrets"}))
      for (const json::value& each : *listed) names.emplace_back(textAt(each.get_object(), {"name"}));
  return names;
}

std::string dataOf(const DocumentPtr& object, std::string_view key) {
  const Result<std::string> text = object ? base64Decode(textAt(object->value, {"data", key})) : Result<std::string>();
  return text ? *text : std::string();
}

class Running : public testing::Test {
 protected:
  // Tokens are "account/secret/number", so that a test sees whether one was made anew.
  void run(bool legacy = true) {
    Options options{.rootCaPem = "PEM", .legacyTokenSecrets = legacy};
    options.signLegacy = [this](const token::LegacyClaims& claims) -> Result<Secret> {
      return Secret(claims.serviceAccount.name + "/" + claims.secretName + "/" + std::to_string(++signed_));
    };
    controllers = std::make_unique<Controllers>(client, clock, std::move(options));
    ASSERT_TRUE(controllers->start());
  }
  // All that the loops had to do is done: a namespace made now has its default account, and nothing more changes.
  bool token(const std::string& ns, const std::string& account) {
    return client.eventually([&] { return secretsOf(client.find("ServiceAccount", ns, account)).size() == 1; });
  }

  TestClient client;
  SystemClock clock;
  std::atomic<int> signed_ = 0;
  std::unique_ptr<Controllers> controllers;
};

TEST_F(Running, GivesANamespaceItsAccountItsTokenAndTheRootCa) {
  client.makeNamespace("before");
  run();
  client.makeNamespace("after");
  for (const std::string ns : {"before", "after"}) {
    SCOPED_TRACE(ns);
    ASSERT_TRUE(token(ns, "default"));
    ASSERT_TRUE(client.eventually([&] { return client.find("ConfigMap", ns, "kube-root-ca.crt") != nullptr; }));
    const DocumentPtr account = client.find("ServiceAccount", ns, "default");
    const std::string name = secretsOf(account).front();
    EXPECT_EQ(name.substr(0, 14), "default-token-");
    EXPECT_EQ(name.size(), 19u);
    const DocumentPtr secret = client.find("Secret", ns, name);
    ASSERT_TRUE(secret);
    EXPECT_EQ(textAt(secret->value, {"type"}), "kubernetes.io/service-account-token");
    EXPECT_EQ(textAt(secret->value, {"metadata", "annotations", "kubernetes.io/service-account.name"}), "default");
    EXPECT_EQ(textAt(secret->value, {"metadata", "annotations", "kubernetes.io/service-account.uid"}),
              textAt(account->value, {"metadata", "uid"}));
    EXPECT_EQ(dataOf(secret, "namespace"), ns);
    EXPECT_EQ(dataOf(secret, "ca.crt"), "PEM");
    EXPECT_EQ(dataOf(secret, "token").substr(0, 28), "default/" + name + "/");
    const DocumentPtr configMap = client.find("ConfigMap", ns, "kube-root-ca.crt");
    EXPECT_EQ(json::serialize(configMap->value.at("data")), R"({"ca.crt":"PEM"})");
    EXPECT_TRUE(textAt(configMap->value, {"metadata", "annotations", "kubernetes.io/description"}).starts_with("Contains a CA bundle"));
  }
}

TEST_F(Running, WritesTheArnsOfRolesAndProviders) {
  run();
  const api::Kind& roles = *api::findKind("iam.podpass.dev", "v1", "roles");
  json::object role{{"metadata", json::object{{"name", "Reader"}}}, {"spec", json::object{{"path", "/team/"}}}};
  ASSERT_TRUE(client.create(roles, "", role));
  client.put("OIDCProvider", R"({"metadata": {"name": "p"}, "spec": {"url": "https://issuer.example/id/1"}})");
  const auto arnOf = [&](const api::Kind& kind, const std::string& name) {
    const Result<DocumentPtr> found = client.get(kind, {"", name});
    return found ? std::string(textAt((*found)->value, {"status", "arn"})) : "";
  };
  EXPECT_TRUE(client.eventually([&] { return arnOf(roles, "Reader") == "arn:aws:iam::000000000000:role/team/Reader"; }));
  const api::Kind& providers = *api::findKind("iam.podpass.dev", "v1", "oidcproviders");
  EXPECT_TRUE(client.eventually([&] { return arnOf(providers, "p") == "arn:aws:iam::000000000000:oidc-provider/issuer.example/id/1"; }));
  const std::string id(textAt((*client.get(roles, {"", "Reader"}))->value, {"status", "roleID"}));
  EXPECT_TRUE(id.starts_with("AROA") && id.size() == 21) << id;
}

TEST_F(Running, OfTwoProvidersWithOneUrlTheOlderCounts) {
  const auto put = [&](const std::string& name, const std::string& made, const std::string& url) {
    client.put("OIDCProvider",
               R"({"metadata": {"name": ")" + name + R"(", "creationTimestamp": ")" + made + R"("}, "spec": {"url": ")" + url + R"("}})");
  };
  put("podpass", "2024-01-01T00:00:00Z", "https://issuer.example");
  put("a", "2024-01-01T00:00:01Z", "https://issuer.example");
  put("other", "2024-01-01T00:00:01Z", "https://other.example");
  run();
  const auto status = [&](const std::string& name) {
    const DocumentPtr found = client.find("OIDCProvider", "", name);
    const json::object* held = found ? objectAt(found->value, {"status"}) : nullptr;
    return held == nullptr ? json::object() : *held;
  };
  const std::string arn = "arn:aws:iam::000000000000:oidc-provider/";
  EXPECT_TRUE(client.eventually([&] { return textAt(status("podpass"), {"arn"}) == arn + "issuer.example"; }));
  EXPECT_TRUE(client.eventually([&] { return textAt(status("other"), {"arn"}) == arn + "other.example"; }));
  ASSERT_TRUE(client.eventually([&] { return arrayAt(status("a"), {"conditions"}) != nullptr; }));
  const json::object used = arrayAt(status("a"), {"conditions"})->front().as_object();
  EXPECT_EQ(textAt(used, {"status"}), "False");
  EXPECT_EQ(textAt(used, {"reason"}), "EntityAlreadyExists");
  EXPECT_EQ(textAt(used, {"message"}),
            "Provider with url https://issuer.example already exists: podpass is older and is the one that counts");
  EXPECT_EQ(textAt(status("a"), {"arn"}), "");
  client.erase("OIDCProvider", "", "podpass");
  EXPECT_TRUE(client.eventually([&] { return textAt(status("a"), {"arn"}) == arn + "issuer.example"; }));
  EXPECT_EQ(arrayAt(status("a"), {"conditions"}), nullptr);
}

TEST_F(Running, BringsBackWhatSomebodyDeletedOrSpoiled) {
  client.makeNamespace("a");
  run();
  ASSERT_TRUE(token("a", "default"));
  const std::string uid(textAt(client.find("ServiceAccount", "a", "default")->value, {"metadata", "uid"}));
  const std::string secret = secretsOf(client.find("ServiceAccount", "a", "default")).front();

  client.erase("ServiceAccount", "a", "default");
  EXPECT_TRUE(client.eventually([&] {
    const DocumentPtr account = client.find("ServiceAccount", "a", "default");
    return account && textAt(account->value, {"metadata", "uid"}) != uid && !client.find("Secret", "a", secret);
  })) << "a new account, and the old one's token is gone";
  ASSERT_TRUE(token("a", "default"));

  ASSERT_TRUE(client.eventually([&] { return client.find("ConfigMap", "a", "kube-root-ca.crt") != nullptr; }));
  client.edit("ConfigMap", "a", "kube-root-ca.crt", [](json::object& object) { object["data"] = json::object{{"ca.crt", "forged"}}; });
  const auto restored = [&] {
    const DocumentPtr found = client.find("ConfigMap", "a", "kube-root-ca.crt");
    return found && textAt(found->value, {"data", "ca.crt"}) == "PEM";
  };
  EXPECT_TRUE(client.eventually(restored));
  client.erase("ConfigMap", "a", "kube-root-ca.crt");
  EXPECT_TRUE(client.eventually(restored));
}

TEST_F(Running, ReplacesADeletedTokenSecretAndDropsItsReference) {
  client.makeNamespace("a");
  run();
  ASSERT_TRUE(token("a", "default"));
  const std::string first = secretsOf(client.find("ServiceAccount", "a", "default")).front();
  client.edit("ServiceAccount", "a", "default", [](json::object& object) {
    object["secrets"].as_array().push_back(json::object{{"name", "mine"}});
  });
  client.erase("Secret", "a", first);
  EXPECT_TRUE(client.eventually([&] {
    const std::vector<std::string> names = secretsOf(client.find("ServiceAccount", "a", "default"));
    return names.size() == 2 && names[0] == "mine" && names[1] != first && client.find("Secret", "a", names[1]);
  }));
}

TEST_F(Running, FillsTokenSecretsThatPeopleMakeAndRemovesTheOwnerless) {
  client.makeNamespace("a");
  run(false);
  ASSERT_TRUE(client.eventually([&] { return client.find("ServiceAccount", "a", "default") != nullptr; }));
  client.put("Secret", R"({"metadata": {"name": "mine", "namespace": "a", "annotations": {"kubernetes.io/service-account.name": "default"}},
                           "type": "kubernetes.io/service-account-token"})");
  client.put("Secret", R"({"metadata": {"name": "lost", "namespace": "a", "annotations": {"kubernetes.io/service-account.name": "nobody"}},
                           "type": "kubernetes.io/service-account-token"})");
  client.put("Secret", R"({"metadata": {"name": "older", "namespace": "a", "annotations": {"kubernetes.io/service-account.name": "default",
                           "kubernetes.io/service-account.uid": "another"}}, "type": "kubernetes.io/service-account-token"})");
  client.put("Secret", R"({"metadata": {"name": "other", "namespace": "a", "annotations": {"kubernetes.io/service-account.name": "nobody"}},
                           "type": "Opaque"})");
  EXPECT_TRUE(client.eventually([&] { return dataOf(client.find("Secret", "a", "mine"), "token") == "default/mine/1"; }));
  EXPECT_TRUE(client.eventually([&] { return !client.find("Secret", "a", "lost") && !client.find("Secret", "a", "older"); }));
  EXPECT_TRUE(client.find("Secret", "a", "other"));
  EXPECT_TRUE(secretsOf(client.find("ServiceAccount", "a", "default")).empty()) << "filled, not listed; and none was made";

  client.edit("Secret", "a", "mine", [](json::object& object) {
    makeObjectAt(object, {"metadata", "annotations"})["identity.podpass.dev/moved-from"] = "what a rotation replaced";
    object["data"].as_object()["token"] = "";
    object["data"].as_object()["ca.crt"] = "Zm9yZ2Vk";
  });
  EXPECT_TRUE(client.eventually([&] {
    const DocumentPtr secret = client.find("Secret", "a", "mine");
    return dataOf(secret, "token") == "default/mine/2" && dataOf(secret, "ca.crt") == "PEM";
  })) << "an emptied token is made anew, the CA mended";
  EXPECT_FALSE(
      objectAt(client.find("Secret", "a", "mine")->value, {"metadata", "annotations"})->contains("identity.podpass.dev/moved-from"))
      << "and its predecessors end with it";
}

TEST_F(Running, TakesBackTheSecretWhoseAccountChangedMeanwhile) {
  client.makeNamespace("a");
  client.fail("update", "ServiceAccount", Error{Reason::Unavailable, "the store is away"}, 3);
  run();
  ASSERT_TRUE(token("a", "default"));
  EXPECT_TRUE(client.eventually([&] { return client.all("Secret", "a").size() == 1; })) << "no Secret is left that nobody lists";
}

TEST_F(Running, EndsANamespaceWithAllThatIsInIt) {
  client.makeNamespace("a");
  client.makeNamespace("b");
  run();
  ASSERT_TRUE(token("a", "default"));
  client.put("Pod", R"({"metadata": {"name": "p", "namespace": "a"}, "spec": {"nodeName": "n"}})");
  client.put("ConfigMap", R"({"metadata": {"name": "held", "namespace": "a", "finalizers": ["example.com/x"]}})");
  client.erase("Namespace", "", "a");
  const auto condition = [&](std::string_view type) {
    const DocumentPtr ns = client.find("Namespace", "", "a");
    const json::array* conditions = ns ? arrayAt(ns->value, {"status", "conditions"}) : nullptr;
    for (const json::value& each : conditions != nullptr ? *conditions : json::array())
      if (textAt(each.get_object(), {"type"}) == type) return std::string(textAt(each.get_object(), {"message"}));
    return std::string();
  };
  EXPECT_TRUE(
      client.eventually([&] { return condition("NamespaceFinalizersRemaining").ends_with("example.com/x in 1 resource instances"); }));
  EXPECT_TRUE(client.find("Pod", "a", "p")) << "a running pod ends gracefully";
  ASSERT_TRUE(client.remove(*api::findKind("", "v1", "pods"), {"a", "p"}, {.gracePeriodSeconds = 0}));
  EXPECT_TRUE(client.eventually(
      [&] { return condition("NamespaceContentRemaining") == "Some resources are remaining: configmaps. has 1 resource instances"; }));
  client.edit("ConfigMap", "a", "held", [](json::object& object) { object["metadata"].as_object().erase("finalizers"); });
  EXPECT_TRUE(client.eventually([&] { return !client.find("Namespace", "", "a"); }));
  EXPECT_TRUE(client.all("Secret", "a").empty());
  EXPECT_TRUE(client.all("ServiceAccount", "a").empty());
  EXPECT_TRUE(token("b", "default")) << "the other one lives";
}

std::string owned(const std::string& name, const std::string& owner, const std::string& uid, bool blocks = true) {
  return R"({"metadata": {"name": ")" + name +
         R"(", "namespace": "a", "ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap", "name": ")" + owner + R"(", "uid": ")" +
         uid + R"(", "blockOwnerDeletion": )" + (blocks ? "true" : "false") + "}]}}";
}

class Garbage : public Running {
 protected:
  void SetUp() override {
    client.makeNamespace("a");
    run(false);
    owner = client.put("ConfigMap", R"({"metadata": {"name": "owner", "namespace": "a"}})");
    child = client.put("ConfigMap", owned("child", "owner", owner));
    grandchild = client.put("ConfigMap", owned("grandchild", "child", child));
  }
  bool gone(const std::string& name) {
    return client.eventually([&] { return !client.find("ConfigMap", "a", name); });
  }
  std::string owner, child, grandchild;
};

TEST_F(Garbage, FollowsItsOwnersInTheBackground) {
  client.erase("ConfigMap", "a", "owner");
  EXPECT_TRUE(gone("child"));
  EXPECT_TRUE(gone("grandchild"));
}

TEST_F(Garbage, IsCollectedWhenItsOwnerNeverWasOrIsAnother) {
  client.put("ConfigMap", owned("stray", "nobody", "no-such-uid"));
  client.put("ConfigMap", owned("recreated", "owner", "its-older-uid"));
  client.put("Secret", R"({"metadata": {"name": "foreign", "namespace": "a", "ownerReferences": [
      {"apiVersion": "example.com/v1", "kind": "Gadget", "name": "g", "uid": "u"}]}})");
  EXPECT_TRUE(gone("stray"));
  EXPECT_TRUE(gone("recreated"));
  EXPECT_TRUE(client.find("ConfigMap", "a", "child"));
  EXPECT_TRUE(client.find("Secret", "a", "foreign")) << "of a kind that is not served: not ours to judge";
}

TEST_F(Garbage, KeepsWhatStillHasAnOwner) {
  const std::string second = client.put("ConfigMap", R"({"metadata": {"name": "second", "namespace": "a"}})");
  client.edit("ConfigMap", "a", "child", [&](json::object& object) {
    object["metadata"].as_object()["ownerReferences"].as_array().push_back(
        json::object{{"apiVersion", "v1"}, {"kind", "ConfigMap"}, {"name", "second"}, {"uid", second}});
  });
  client.erase("ConfigMap", "a", "owner");
  EXPECT_TRUE(client.eventually([&] {
    const DocumentPtr found = client.find("ConfigMap", "a", "child");
    return found && arrayAt(found->value, {"metadata", "ownerReferences"})->size() == 1;
  }));
  client.erase("ConfigMap", "a", "second");
  EXPECT_TRUE(gone("child"));
}

TEST_F(Garbage, IsRemovedFirstWhenTheOwnerIsDeletedInTheForeground) {
  client.edit("ConfigMap", "a", "grandchild",
              [](json::object& object) { object["metadata"].as_object()["finalizers"] = json::array{json::value("example.com/x")}; });
  client.erase("ConfigMap", "a", "owner", "Foreground");
  ASSERT_TRUE(client.eventually([&] {
    const DocumentPtr found = client.find("ConfigMap", "a", "grandchild");
    return !textAt(found->value, {"metadata", "deletionTimestamp"}).empty();
  })) << "down to the last one";
  EXPECT_TRUE(client.find("ConfigMap", "a", "owner"));
  EXPECT_TRUE(client.find("ConfigMap", "a", "child"));
  client.edit("ConfigMap", "a", "grandchild", [](json::object& object) { object["metadata"].as_object().erase("finalizers"); });
  EXPECT_TRUE(gone("child"));
  EXPECT_TRUE(gone("owner"));
}

TEST_F(Garbage, IsSetFreeWhenTheOwnerIsDeletedAsOrphan) {
  client.erase("ConfigMap", "a", "owner", "Orphan");
  EXPECT_TRUE(gone("owner"));
  const DocumentPtr found = client.find("ConfigMap", "a", "child");
  ASSERT_TRUE(found);
  EXPECT_EQ(arrayAt(found->value, {"metadata", "ownerReferences"}), nullptr);
  EXPECT_TRUE(client.find("ConfigMap", "a", "grandchild"));
}

constexpr std::string_view kReadyNode =
    R"({"metadata": {"name": "n"}, "spec": {}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}})";

std::string eventOf(TestClient& client, std::string_view reason) {
  for (const DocumentPtr& event : client.all("Event"))
    if (textAt(event->value, {"reason"}) == reason) return std::string(textAt(event->value, {"message"}));
  return {};
}

TEST_F(Running, SchedulesAPodAsSoonAsANodeCanTakeIt) {
  client.makeNamespace("a");
  run(false);
  client.put("Pod", R"({"metadata": {"name": "p", "namespace": "a"}, "spec": {"schedulerName": "default-scheduler"}})");
  client.put("Pod", R"({"metadata": {"name": "foreign", "namespace": "a"}, "spec": {"schedulerName": "mine"}})");
  EXPECT_TRUE(client.eventually([&] { return eventOf(client, "FailedScheduling") == "no nodes available to schedule pods"; }));
  const DocumentPtr pending = client.find("Pod", "a", "p");
  EXPECT_EQ(conditionOf(pending->value, "PodScheduled"), "False");

  client.put("Node",
             R"({"metadata": {"name": "n"}, "spec": {"taints": [{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}]}})");
  EXPECT_TRUE(client.eventually([&] {
    const json::array& conditions = *arrayAt(client.find("Pod", "a", "p")->value, {"status", "conditions"});
    return textAt(conditions[0].get_object(), {"message"}) ==
           "0/1 nodes are available: 1 node(s) had untolerated taint {node.kubernetes.io/not-ready: }.";
  }));
  client.edit("Node", "", "n", [](json::object& node) { node["status"] = json::parse(kReadyNode).as_object()["status"]; });
  EXPECT_TRUE(client.eventually([&] {
    return textAt(client.find("Pod", "a", "p")->value, {"spec", "nodeName"}) == "n";
  })) << "ready, so that the taint went, so that the pod came";
  EXPECT_TRUE(client.eventually([&] { return eventOf(client, "Scheduled") == "Successfully assigned a/p to n"; }));
  EXPECT_EQ(textAt(client.find("Pod", "a", "foreign")->value, {"spec", "nodeName"}), "");
}

TEST_F(Running, SpreadsPodsOverNodes) {
  client.makeNamespace("a");
  for (const char* name : {"n1", "n2"}) {
    json::object node = json::parse(kReadyNode).as_object();
    node["metadata"].as_object()["name"] = name;
    client.put("Node", json::serialize(node));
  }
  client.put("Pod", R"({"metadata": {"name": "old", "namespace": "a"}, "spec": {"nodeName": "n1"}})");
  run(false);
  client.put("Pod", R"({"metadata": {"name": "new", "namespace": "a"}, "spec": {}})");
  EXPECT_TRUE(client.eventually([&] { return !textAt(client.find("Pod", "a", "new")->value, {"spec", "nodeName"}).empty(); }));
  EXPECT_EQ(textAt(client.find("Pod", "a", "new")->value, {"spec", "nodeName"}), "n2");
}

TEST_F(Running, WritesTheRulesOfAggregatedRoles) {
  run(false);
  client.put("ClusterRole",
             R"({"metadata": {"name": "all"}, "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"in": "all"}}]}})");
  client.put("ClusterRole", R"({"metadata": {"name": "one", "labels": {"in": "all"}},
      "rules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]})");
  EXPECT_TRUE(client.eventually([&] {
    const json::array* rules = arrayAt(client.find("ClusterRole", "", "all")->value, {"rules"});
    return rules != nullptr && rules->size() == 1;
  }));
}

TEST_F(Running, DoesNothingWhenThereIsNothingToDo) {
  client.makeNamespace("a");
  run();
  ASSERT_TRUE(token("a", "default"));
  controllers->stop();
  const int before = client.allCalls();
  client.put("ConfigMap", R"({"metadata": {"name": "x", "namespace": "a"}})");
  EXPECT_EQ(client.allCalls(), before + 1) << "stopped: only our own call";
}

TEST_F(Running, StartSaysWhatFailedAndRelistsWhatIsTooOld) {
  client.fail("watch", "Secret", Error{Reason::Expired, "too old"});
  run(false);
  EXPECT_EQ(client.calls("list", "Secret"), 2);
  controllers.reset();
  client.fail("list", "Secret", Error{Reason::Unavailable, "the store is away"});
  Controllers failing(client, clock, {});
  const Result<void> started = failing.start();
  ASSERT_FALSE(started);
  EXPECT_EQ(started.error().sentence, "the store is away");
}

TEST(NodeFit, SaysWhyANodeCannotTakeAPod) {
  struct Case {
    const char* why;
    const char* pod;
    const char* node;
    const char* refusal;
  };
  const Case cases[] = {
      {"nothing asked", "{}", R"("spec": {})", ""},
      {"cordoned", "{}", R"("spec": {"unschedulable": true})", "node(s) were unschedulable"},
      {"cordoned, but tolerated", R"({"tolerations": [{"operator": "Exists"}]})", R"("spec": {"unschedulable": true})", ""},
      {"a taint", "{}", R"("spec": {"taints": [{"key": "k", "value": "v", "effect": "NoExecute"}]})",
       "node(s) had untolerated taint {k: v}"},
      {"only a preference", "{}", R"("spec": {"taints": [{"key": "k", "effect": "PreferNoSchedule"}]})", ""},
      {"tolerated by value", R"({"tolerations": [{"key": "k", "value": "v"}]})",
       R"("spec": {"taints": [{"key": "k", "value": "v", "effect": "NoSchedule"}]})", ""},
      {"another value", R"({"tolerations": [{"key": "k", "value": "w"}]})",
       R"("spec": {"taints": [{"key": "k", "value": "v", "effect": "NoSchedule"}]})", "node(s) had untolerated taint {k: v}"},
      {"another effect", R"({"tolerations": [{"key": "k", "operator": "Exists", "effect": "NoExecute"}]})",
       R"("spec": {"taints": [{"key": "k", "effect": "NoSchedule"}]})", "node(s) had untolerated taint {k: }"},
      {"selected", R"({"nodeSelector": {"disk": "ssd"}})", R"("spec": {})", ""},
      {"not selected", R"({"nodeSelector": {"disk": "hdd"}})", R"("spec": {})", "node(s) didn't match Pod's node affinity/selector"},
      {"affinity, one term of two",
       R"({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
           {"matchExpressions": [{"key": "disk", "operator": "NotIn", "values": ["ssd"]}]},
           {"matchExpressions": [{"key": "cores", "operator": "Gt", "values": ["3"]}]}]}}}})",
       R"("spec": {})", ""},
      {"affinity to another name",
       R"({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
           {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["m"]}]}]}}}})",
       R"("spec": {})", "node(s) didn't match Pod's node affinity/selector"},
      {"an empty term selects nothing",
       R"({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{}]}}}})",
       R"("spec": {})", "node(s) didn't match Pod's node affinity/selector"},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.why);
    const json::object pod{{"spec", json::parse(c.pod)}};
    const json::object node = json::parse(R"({"metadata": {"name": "n", "labels": {"disk": "ssd", "cores": "4"}}, )" + std::string(c.node) +
                                          R"(, "status": {"conditions": [{"type": "Ready", "status": "True"}]}})")
                                  .as_object();
    EXPECT_EQ(whyNot(pod, node), c.refusal);
  }
  EXPECT_EQ(whyNot({}, json::parse(R"({"metadata": {"name": "n"}})").as_object()), "node(s) were not ready");
}

TEST(WorkQueue, IsASetInTheOrderOfArrival) {
  const SystemClock clock;
  WorkQueue queue(clock);
  for (const char* name : {"b", "a", "b", "b"}) queue.add(name);
  EXPECT_EQ(queue.take(), "b");
  queue.add("b");
  EXPECT_EQ(queue.take(), "a");
  EXPECT_EQ(queue.take(), "b");
  queue.shutDown();
  EXPECT_EQ(queue.take(), std::nullopt);
}

TEST(WorkQueue, HoldsBackWhatIsNotDue) {
  FakeClock clock;
  WorkQueue queue(clock);
  queue.addAfter(10s, "late");
  queue.addAfter(20s, "late");
  queue.addAfter(1s, "soon");
  queue.add("now");
  EXPECT_EQ(queue.take(), "now");
  clock.advance(9999ms);
  EXPECT_EQ(queue.take(), "soon");
  queue.add("now");
  EXPECT_EQ(queue.take(), "now") << "late is not due for one more millisecond";
  clock.advance(1ms);
  EXPECT_EQ(queue.take(), "late");
}

TEST(WorkQueue, BacksOffTwiceAsLongEachTimeUntilItGoesWell) {
  FakeClock clock;
  WorkQueue queue(clock);
  // Whatever is due by now stands before a name that is added after it.
  const auto next = [&] {
    queue.addAfter(0ns, "nothing due");
    return queue.take().value();
  };
  for (const std::chrono::nanoseconds delay : {5ms, 10ms, 20ms, 40ms}) {
    queue.retry("x");
    clock.advance(delay / 2 - 1us);
    EXPECT_EQ(next(), "nothing due") << "never before half the delay";
    clock.advance(delay / 2 + 2us);
    ASSERT_EQ(next(), "x") << "never after the whole of it";
    ASSERT_EQ(queue.take(), "nothing due");
  }
  for (int i = 0; i < 40; ++i) {
    queue.retry("x");
    clock.advance(60s);
    EXPECT_EQ(queue.take(), "x") << "never longer than a minute";
  }
  queue.forget("x");
  queue.retry("x");
  clock.advance(5ms);
  EXPECT_EQ(queue.take(), "x");
}

}  // namespace
}  // namespace podpass::controllers
