#include "node/image_collector.h"

#include <gtest/gtest.h>

namespace podpass::node {
namespace {

using namespace std::chrono_literals;
using Ids = std::vector<std::string>;

class ImageCollectorTest : public ::testing::Test {
 protected:
  Ids choose(std::set<std::string> used, std::uint64_t available) { return collector_.choose(images_, used, {1000, available}); }
  FakeClock clock_;
  ImageCollector collector_{clock_};
  std::vector<StoredImage> images_ = {{"a", 30, false}, {"b", 30, false}, {"pause", 30, true}, {"c", 30, false}};
};

TEST_F(ImageCollectorTest, RemovesTheLongestUnusedUntilThereIsRoom) {
  EXPECT_EQ(choose({"a", "b", "c"}, 500), Ids{});
  clock_.advance(5min);
  EXPECT_EQ(choose({"a"}, 500), Ids{});
  clock_.advance(5min);
  EXPECT_EQ(choose({}, 151), Ids{}) << "84.9 % in use";
  EXPECT_EQ(choose({}, 150), (Ids{"b", "c"})) << "85 % in use: 60 bytes bring it to 79 %, and `a` was used last";
  EXPECT_EQ(choose({"b"}, 150), (Ids{"c", "a"}));
}

TEST_F(ImageCollectorTest, SparesWhatIsUsedPinnedOrJustPulled) {
  EXPECT_EQ(choose({}, 10), Ids{}) << "all were seen for the first time";
  clock_.advance(2min - 1s);
  EXPECT_EQ(choose({}, 10), Ids{});
  clock_.advance(1s);
  EXPECT_EQ(choose({"a"}, 10), (Ids{"b", "c"}));
}

TEST_F(ImageCollectorTest, DoesNothingWhenTheDiskCannotBeMeasured) {
  clock_.advance(1h);
  EXPECT_EQ(collector_.choose(images_, {}, {}), Ids{});
}

}  // namespace
}  // namespace podpass::node
