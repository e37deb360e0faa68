#include "node/agent.h"

#include "node/test_node.h"

// Real pods on a real containerd.
namespace podpass::node {
namespace {

using namespace std::chrono_literals;

TEST(Agent, RunsAPodToItsEndAndDeletesIt) {
  SKIP_WITHOUT_ROOT();
  TestNode node;
  ASSERT_NO_FATAL_FAILURE(node.start());
  ASSERT_NO_FATAL_FAILURE(node.importBox());
  node.runPod("p", {"print", "hello", ",", "write", "/dev/termination-log", "why", ",", "exit", "3"}, {{"restartPolicy", "Never"}});
  EXPECT_TRUE(node.until([&] { return node.phase("p") == "Failed"; })) << json::serialize(node.pod("p"));
  const json::object status = node.containerStatus("p");
  EXPECT_EQ(integerAt(status, {"state", "terminated", "exitCode"}), 3) << json::serialize(status);
  EXPECT_EQ(textAt(status, {"state", "terminated", "message"}), "why\n") << json::serialize(status);
  EXPECT_TRUE(node.logs("p", "hello\n"));
  EXPECT_TRUE(node.until([&] { return node.event("p", "Started") == "Started container c"; }));
  node.deletePod("p");
  EXPECT_TRUE(node.until([&] { return node.pod("p").empty(); }));
}

TEST(Agent, StopEndsAllThatWasStartedAndAStartRunsItAgain) {
  SKIP_WITHOUT_ROOT();
  TestNode node(true);
  ASSERT_NO_FATAL_FAILURE(node.start());
  ASSERT_NO_FATAL_FAILURE(node.importBox());
  node.client.put("secrets", R"({"apiVersion":"v1","kind":"Secret","metadata":{"namespace":"default","name":"s"},"data":{"k":"dgo="}})");
  const json::object more = json::parse(R"({"volumes":[{"name":"secret","secret":{"secretName":"s","defaultMode":420}},
    {"name":"memory","emptyDir":{"medium":"Memory"}},{"name":"disk","emptyDir":{}}]})")
                                .as_object();
  const json::object mounts = json::parse(R"({"volumeMounts":[{"name":"secret","mountPath":"/secret"},
    {"name":"memory","mountPath":"/memory"},{"name":"disk","mountPath":"/disk"}]})")
                                  .as_object();
  node.runPod("p", {"count",
                    "/memory/starts",
                    ",",
                    "count",
                    "/disk/starts",
                    ",",
                    "cat",
                    "/memory/starts",
                    ",",
                    "print",
                    "-",
                    ",",
                    "cat",
                    "/disk/starts",
                    ",",
                    "cat",
                    "/secret/k",
                    ",",
                    "sleep",
                    "600"},
              more, mounts);
  node.runPod("once", {"stubborn", ",", "sleep", "600"}, {{"restartPolicy", "Never"}});
  ASSERT_TRUE(node.until([&] { return node.runs("p") && node.runs("once"); })) << json::serialize(node.pod("p"));
  const ContainerdPlaces places = node.places();
  ASSERT_FALSE(places.runDirectory.empty());
  ASSERT_NE(::if_nametoindex(places.bridge.c_str()), 0u);
  ASSERT_FALSE((*mountsBelow(node.directory())).empty());

  const auto begun = std::chrono::steady_clock::now();
  node.stop();
  EXPECT_LT(std::chrono::steady_clock::now() - begun, 15s) << "a container that ignores SIGTERM must not keep us";
  EXPECT_EQ(::if_nametoindex(places.bridge.c_str()), 0u) << "the bridge is still there";
  EXPECT_FALSE(std::filesystem::exists(places.runDirectory));
  EXPECT_EQ(*mountsBelow(node.directory()), std::vector<std::string>());
  EXPECT_EQ(node.processes(), std::vector<std::string>());

  ASSERT_NO_FATAL_FAILURE(node.start());
  ASSERT_TRUE(node.until([&] { return node.runs("p") && integerAt(node.containerStatus("p"), {"restartCount"}) == 1; }))
      << json::serialize(node.pod("p"));
  EXPECT_TRUE(node.logs("p", "once\n-\nonce\nonce\nv\n")) << "memory is gone as after a reboot, the disk is not";
  EXPECT_TRUE(node.until([&] { return node.phase("once") == "Failed"; })) << "what runs at most once must not run again";
}

}  // namespace
}  // namespace podpass::node
