#include <signal.h>

#include "node/test_node.h"

// A containerd that is missing, dies or hangs: pods and node say so, what runs goes on, and what should run does when it is back.
namespace podpass::node {
namespace {

using namespace std::chrono_literals;

TEST(RuntimeFailure, AKilledContainerdIsStartedAgainAndItsContainersLiveOn) {
  SKIP_WITHOUT_ROOT();
  TestNode node;
  ASSERT_NO_FATAL_FAILURE(node.start());
  ASSERT_NO_FATAL_FAILURE(node.importBox());
  node.runPod("before", {"sleep", "600"});
  ASSERT_TRUE(node.until([&] { return node.runs("before"); })) << json::serialize(node.pod("before"));
  const std::string id(textAt(node.containerStatus("before"), {"containerID"}));
  const pid_t killed = node.containerd();
  ASSERT_EQ(::kill(killed, SIGKILL), 0);
  node.runPod("after", {"sleep", "600"});
  EXPECT_TRUE(node.until([&] { return node.runs("after"); })) << json::serialize(node.pod("after"));
  EXPECT_NE(node.containerd(), killed);
  EXPECT_EQ(node.nodeReady(), "True");
  EXPECT_TRUE(node.runs("before"));
  EXPECT_EQ(textAt(node.containerStatus("before"), {"containerID"}), id);
  EXPECT_EQ(integerAt(node.containerStatus("before"), {"restartCount"}), 0);
}

TEST(RuntimeFailure, AHangingContainerdIsToldOfAndReplaced) {
  SKIP_WITHOUT_ROOT();
  TestNode node;
  ASSERT_NO_FATAL_FAILURE(node.start());
  ASSERT_NO_FATAL_FAILURE(node.importBox());
  node.runPod("before", {"sleep", "600"});
  ASSERT_TRUE(node.until([&] { return node.runs("before"); })) << json::serialize(node.pod("before"));
  const std::string id(textAt(node.containerStatus("before"), {"containerID"}));
  const pid_t hanging = node.containerd();
  ASSERT_EQ(::kill(hanging, SIGSTOP), 0);
  node.runPod("after", {"sleep", "600"});
  std::string message;
  EXPECT_TRUE(node.until([&] { return node.nodeReady(&message) == "False"; }));
  EXPECT_EQ(message.find("container runtime is down: rpc error: code = DeadlineExceeded"), 0u) << message;
  EXPECT_TRUE(node.until([&] { return node.runs("after"); }, 60s)) << json::serialize(node.pod("after"));
  EXPECT_TRUE(node.until([&] { return node.event("after", "RuntimeNotReady") != ""; }));
  EXPECT_TRUE(node.until([&] { return node.nodeReady() == "True"; }));
  EXPECT_EQ(textAt(node.containerStatus("before"), {"containerID"}), id);

  ASSERT_EQ(::kill(node.containerd(), SIGSTOP), 0);  // and again, so that stop() finds it so
  node.stop();
  EXPECT_EQ(node.processes(), std::vector<std::string>());
  EXPECT_EQ(*mountsBelow(node.directory()), std::vector<std::string>());
}

TEST(RuntimeFailure, AMissingContainerdIsToldOfAndWaitedFor) {
  SKIP_WITHOUT_ROOT();
  const TestDirectory elsewhere;
  Containerd other(elsewhere.path());
  TestNode node;
  AgentOptions options;
  options.containerdSocket = other.places().socket;
  ASSERT_NO_FATAL_FAILURE(node.start(options));
  node.runPod("p", {"sleep", "600"});
  EXPECT_TRUE(node.until([&] { return node.event("p", "RuntimeNotReady") != ""; }));
  const json::object status = node.containerStatus("p");
  EXPECT_EQ(textAt(status, {"state", "waiting", "reason"}), "ContainerCreating") << json::serialize(status);
  EXPECT_EQ(textAt(status, {"state", "waiting", "message"}).find("container runtime is down: "), 0u) << json::serialize(status);
  EXPECT_EQ(node.phase("p"), "Pending");
  EXPECT_EQ(node.nodeReady(), "False");

  ASSERT_TRUE(other.start());
  ASSERT_NO_FATAL_FAILURE(node.importBox(other.places().socket));
  EXPECT_TRUE(node.until([&] { return node.runs("p"); })) << json::serialize(node.pod("p"));
  node.stop();
  EXPECT_FALSE(other.hasTasks()) << "our pods end with us on a containerd that is not ours, too";
  EXPECT_TRUE(std::filesystem::exists(other.places().socket)) << "but it does not";
  other.stop();
  other.clear();
}

}  // namespace
}  // namespace podpass::node
