#include "controllers/legacy_token_cleaner.h"

#include <gtest/gtest.h>

#include "api/test_client.h"
#include "base/text.h"

namespace podpass::controllers {
namespace {

using namespace std::chrono_literals;
using api::TestClient;

constexpr const char* kTracking = "kube-apiserver-legacy-service-account-token-tracking";
constexpr const char* kLastUsed = "kubernetes.io/legacy-token-last-used";
constexpr const char* kInvalidSince = "kubernetes.io/legacy-token-invalid-since";
constexpr std::chrono::hours kPeriod{10 * 24};

// Two cleaners never live at once; each start is a daily visit.
class Cleaning : public testing::Test {
 protected:
  Cleaning() {
    client.makeNamespace("kube-system");
    client.makeNamespace("a");
  }
  std::string today(std::chrono::hours ago = 0h) const { return rfc3339(clock.now() - ago).substr(0, 10); }
  void tokenSecret(const std::string& name, std::chrono::hours age, const std::string& labels = "{}") {
    client.put("Secret", R"({"type": "kubernetes.io/service-account-token", "metadata": {"namespace": "a", "name": ")" + name +
                             R"(", "labels": )" + labels + R"(, "creationTimestamp": ")" + rfc3339(clock.now() - age) +
                             R"(", "annotations": {"kubernetes.io/service-account.name": "app"}}})");
  }
  void account(const std::string& listed) {
    client.put("ServiceAccount", R"({"metadata": {"namespace": "a", "name": "app"}, "secrets": )" + listed + "}");
  }
  void tracked(std::chrono::hours ago) {
    client.put("ConfigMap", R"({"metadata": {"namespace": "kube-system", "name": ")" + std::string(kTracking) +
                                R"("}, "data": {"since": ")" + today(ago) + "\"}}");
  }
  // Runs the loop through everything that is queued at its start, and `then`.
  void visit(const std::vector<std::string>& used = {}) {
    if (!client.find("Secret", "a", "last")) client.put("Secret", R"({"metadata": {"namespace": "a", "name": "last"}})");
    client.edit("Secret", "a", "last", [](json::object& secret) { makeObjectAt(secret, {"metadata"}).erase("labels"); });
    Informers informers(client);
    LegacyTokenCleaner cleaner(client, clock, informers, kPeriod);
    ASSERT_TRUE(informers.start());
    for (const std::string& name : used) cleaner.used("a", name);
    cleaner.used("a", "last");  // the queue is in order: when this was written, the rest was done
    cleaner.loop().start();
    EXPECT_TRUE(client.eventually([&] { return label("last", kLastUsed) == today(); }));
    cleaner.loop().stop();
    informers.stop();
  }
  std::string label(const std::string& secret, const char* name) {
    const DocumentPtr found = client.find("Secret", "a", secret);
    return found ? std::string(textAt(found->value, {"metadata", "labels", name})) : "gone";
  }

  TestClient client;
  FakeClock clock;
};

TEST_F(Cleaning, SaysSinceWhenUseIsTracked) {
  visit();
  EXPECT_EQ(textAt(client.find("ConfigMap", "kube-system", kTracking)->value, {"data", "since"}), today());
  client.edit("ConfigMap", "kube-system", kTracking, [](json::object& map) { makeObjectAt(map, {"data"})["since"] = "long ago"; });
  visit();
  EXPECT_EQ(textAt(client.find("ConfigMap", "kube-system", kTracking)->value, {"data", "since"}), today());
  clock.advance(48h);
  visit();
  EXPECT_EQ(textAt(client.find("ConfigMap", "kube-system", kTracking)->value, {"data", "since"}), today(48h)) << "what it says is kept";
}

TEST_F(Cleaning, WritesDownTheDayOfAUse) {
  tokenSecret("t", 1h);
  visit({"t"});
  EXPECT_EQ(label("t", kLastUsed), today());
  const int before = client.calls("patch", "Secret");
  visit({"t", "t"});
  EXPECT_EQ(client.calls("patch", "Secret"), before + 1) << "once a day is enough; the one is of the last task";
}

TEST_F(Cleaning, MarksWhatNobodyUsesAndDeletesItAPeriodLater) {
  account(R"([{"name": "old"}, {"name": "young"}, {"name": "used"}, {"name": "odd"}, {"name": "mounted"}])");
  tracked(kPeriod + 24h);
  tokenSecret("old", 2 * kPeriod);
  tokenSecret("young", kPeriod - 1h);
  tokenSecret("used", 2 * kPeriod, "{\"" + std::string(kLastUsed) + "\": \"" + today(kPeriod) + "\"}");
  tokenSecret("odd", 2 * kPeriod, "{\"" + std::string(kLastUsed) + "\": \"yesterday\"}");
  tokenSecret("manual", 2 * kPeriod);
  tokenSecret("mounted", 2 * kPeriod);
  client.put("Pod",
             R"({"metadata": {"namespace": "a", "name": "p"}, "spec": {"volumes": [{"name": "v", "secret": {"secretName": "mounted"}}]}})");
  visit();
  EXPECT_EQ(label("old", kInvalidSince), today());
  for (const char* kept : {"young", "used", "odd", "manual", "mounted"}) EXPECT_EQ(label(kept, kInvalidSince), "") << kept;

  clock.advance(kPeriod);
  visit();
  EXPECT_EQ(label("old", kInvalidSince), today(kPeriod)) << "a period to the day is not over";
  clock.advance(24h);
  visit();
  EXPECT_EQ(label("old", kInvalidSince), "gone");
  EXPECT_NE(label("manual", kInvalidSince), "gone");
}

TEST_F(Cleaning, NothingIsCleanedBeforeTrackingHasRunForAPeriodAndADay) {
  account(R"([{"name": "old"}])");
  tracked(kPeriod);  // a day, counted from its midnight
  tokenSecret("old", 2 * kPeriod);
  clock.stepWall(std::chrono::ceil<std::chrono::days>(clock.now()) - 1s - clock.now());
  visit();
  EXPECT_EQ(label("old", kInvalidSince), "");
  clock.advance(1s);
  visit();
  EXPECT_EQ(label("old", kInvalidSince), today());
}

}  // namespace
}  // namespace podpass::controllers
