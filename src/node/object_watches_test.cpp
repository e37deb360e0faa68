#include "node/object_watches.h"

#include <gtest/gtest.h>

#include "node/test_client.h"

namespace podpass::node {
namespace {

using namespace std::chrono_literals;
using Told = std::vector<std::string>;

class ObjectWatchesTest : public ::testing::Test {
 protected:
  void change(const char* plural, const char* name) {
    client_.put(plural, json::object{{"apiVersion", "v1"}, {"metadata", json::object{{"namespace", "ns"}, {"name", name}}}});
  }
  Told take() { return std::exchange(told_, {}); }

  TestClient client_;
  FakeClock clock_;
  Told told_;
  ObjectWatches watches_{client_, clock_, [this](const std::string& uid) { told_.push_back(uid); }};
};

TEST_F(ObjectWatchesTest, NameThePodsThatReferToWhatChanged) {
  watches_.follow("one", {"secrets/ns/s"});
  watches_.follow("two", {"configmaps/ns/c", "secrets/ns/s"});
  EXPECT_EQ(take(), Told{}) << "nothing has changed yet";
  change("secrets", "s");
  EXPECT_EQ(take(), (Told{"one", "two"}));
  change("configmaps", "c");
  EXPECT_EQ(take(), Told{"two"});
  change("secrets", "other");
  EXPECT_EQ(take(), Told{});
}

TEST_F(ObjectWatchesTest, LastAsLongAsAPodRefersToTheObject) {
  watches_.follow("one", {"secrets/ns/s"});
  watches_.follow("two", {"secrets/ns/s", "configmaps/ns/c"});
  EXPECT_EQ(watches_.size(), 2u) << "an object is watched once, however many pods show it";
  watches_.follow("two", {"configmaps/ns/c"});
  change("secrets", "s");
  EXPECT_EQ(take(), Told{"one"});
  watches_.forget("one");
  watches_.forget("two");
  EXPECT_EQ(watches_.size(), 0u);
  change("secrets", "s");
  change("configmaps", "c");
  EXPECT_EQ(take(), Told{});
}

TEST_F(ObjectWatchesTest, AreMadeAnewWhenTheyFailedAndWhenTheyAreOld) {
  client_.fail("watch", "secrets", Error{Reason::Unavailable, "away"});
  watches_.follow("one", {"secrets/ns/s"});
  client_.mend();
  change("secrets", "s");
  EXPECT_EQ(take(), Told{});
  watches_.follow("one", {"secrets/ns/s"});
  change("secrets", "s");
  EXPECT_EQ(take(), Told{"one"});
  const int before = client_.calls("watch", "secrets");
  clock_.advance(5min - 1s);
  watches_.follow("one", {"secrets/ns/s"});
  EXPECT_EQ(client_.calls("watch", "secrets"), before);
  clock_.advance(1s);
  watches_.follow("one", {"secrets/ns/s"});
  EXPECT_EQ(client_.calls("watch", "secrets"), before + 1);
  change("secrets", "s");
  EXPECT_EQ(take(), Told{"one"});
}

}  // namespace
}  // namespace podpass::node
