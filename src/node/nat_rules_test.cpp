#include "node/nat_rules.h"

#include <sched.h>
#include <unistd.h>

#include <cstdio>
#include <memory>
#include <thread>

#include <gtest/gtest.h>

#include "base/text.h"

namespace podpass::node {
namespace {

// `iptables -t nat -S` of the network namespace of this thread.
std::vector<std::string> rules() {
  const std::unique_ptr<FILE, int (*)(FILE*)> pipe(::popen("iptables -w 5 -t nat -S 2>/dev/null", "re"), ::pclose);
  std::vector<std::string> found;
  char line[512];
  while (pipe && std::fgets(line, sizeof(line), pipe.get()) != nullptr) found.emplace_back(line);
  return found;
}

std::size_t naming(const std::string& text) {
  std::size_t count = 0;
  for (const std::string& rule : rules()) count += rule.find(text) != std::string::npos ? 1 : 0;
  return count;
}

// In a network namespace of its own, so that this machine's rules stay as they are.
class NatRules : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "iptables needs root";
  }
  template <class Test>
  static void alone(Test test) {
    std::thread([&test] {
      ASSERT_EQ(::unshare(CLONE_NEWNET), 0);
      if (rules().empty()) GTEST_SKIP() << "iptables cannot be used on this machine";
      test();
    }).join();
  }
  const ContainerdPlaces places{"/tmp/one"}, others{"/tmp/other"};
};

TEST_F(NatRules, LeadTheAddressOfPodIdentityToThePortOfTheDay) {
  alone([this] {
    ASSERT_TRUE(addNatRules(places, 4001));
    ASSERT_TRUE(addNatRules(others, 4002));
    ASSERT_TRUE(addNatRules(places, 4003)) << "what a killed predecessor left is in the way";
    EXPECT_EQ(naming("--to-destination " + places.gateway + ":4003"), 1u);
    EXPECT_EQ(naming(":4001"), 0u);
    EXPECT_EQ(naming("--to-destination " + others.gateway + ":4002"), 1u);
    EXPECT_EQ(naming("-A PREROUTING -d 169.254.170.23/32 -i " + places.bridge), 1u);
    EXPECT_EQ(naming("-s " + places.subnet), 1u);
    removeNatRules(places);
    EXPECT_EQ(naming(places.bridge), 0u);
    EXPECT_EQ(naming(":4002"), 1u) << "the other bridge's stay";
  });
}

TEST_F(NatRules, WithoutAPortNothingLeadsAnywhere) {
  alone([this] {
    ASSERT_TRUE(addNatRules(places, 4001));
    ASSERT_TRUE(addNatRules(places, 0));
    EXPECT_EQ(naming("169.254.170.23"), 0u);
    EXPECT_EQ(naming("-s " + places.subnet), 1u) << "masquerading is another thing";
    removeNatRules(places);
    removeNatRules(places);
    EXPECT_EQ(naming(places.bridge), 0u);
  });
}

}  // namespace
}  // namespace podpass::node
