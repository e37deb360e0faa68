#include "irsa/cluster_watch.h"

#include <gtest/gtest.h>

#include "api/test_client.h"

namespace podpass::irsa {
namespace {

using namespace std::chrono_literals;
using api::TestClient;

constexpr const char* kInjection = R"({"metadata":{"name":"vault"},"spec":{"profile":"Vault","match":{"serviceAccounts":["shop/cart"]}}})";

bool eventually(const std::function<bool()>& holds) {
  for (int i = 0; i < 1000 && !holds(); ++i) std::this_thread::sleep_for(5ms);  // what the watch's threads do is not announced
  return holds();
}

TEST(ClusterWatch, FollowsWhatThereIs) {
  TestClient client;
  client.makeNamespace("shop");
  client.put("ServiceAccount", R"({"metadata":{"namespace":"shop","name":"cart","annotations":{"eks.amazonaws.com/role-arn":"r"}}})");
  WebhookSources sources;
  const ClusterWatch watch(client, sources, {}, "", true);
  ASSERT_TRUE(eventually([&watch] { return watch.synced(); }));
  ASSERT_TRUE(sources.accounts.find("shop", "cart"));
  EXPECT_EQ(sources.accounts.find("shop", "cart")->role.roleArn, "r");
  client.put("TokenInjection", kInjection);
  EXPECT_TRUE(eventually([&sources] { return sources.injections.load()->size() == 1; }));
  client.erase("ServiceAccount", "shop", "cart");
  EXPECT_TRUE(eventually([&sources] { return !sources.accounts.find("shop", "cart"); }));
}

TEST(ClusterWatch, IsCompleteWhereItsOwnKindsAreAbsent) {
  TestClient client;
  client.fail("list", "TokenInjection", {Reason::NotFound, "the server could not find the requested resource"}, 3);
  client.put("TokenInjection", kInjection);
  WebhookSources sources;
  const auto began = std::chrono::steady_clock::now();
  const ClusterWatch watch(client, sources, {}, "", true, {.absent = 200ms});
  ASSERT_TRUE(eventually([&watch] { return watch.synced(); }));
  EXPECT_TRUE(sources.injections.load()->empty());
  const int asked = client.calls("list", "TokenInjection");
  EXPECT_LE(asked, 1 + (std::chrono::steady_clock::now() - began) / 200ms) << "it is asked for again, but not at once";
  EXPECT_TRUE(eventually([&sources] { return !sources.injections.load()->empty(); })) << "the kind came";
  EXPECT_EQ(client.calls("list", "TokenInjection"), 4);
}

TEST(ClusterWatch, IsNotCompleteWhileSomethingCannotBeRead) {
  TestClient client;
  client.fail("list", "PodIdentityAssociation", {Reason::Forbidden, "not for you"});
  WebhookSources sources;
  const ClusterWatch watch(client, sources, {}, "", true, {.first = 1s});
  ASSERT_TRUE(eventually([&client] { return client.calls("list", "PodIdentityAssociation") == 1; }));
  EXPECT_FALSE(watch.synced());
  EXPECT_TRUE(eventually([&watch] { return watch.synced(); }));
}

}  // namespace
}  // namespace podpass::irsa
