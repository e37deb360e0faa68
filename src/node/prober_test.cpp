#include "node/prober.h"

#include "node/test_node.h"

namespace podpass::node {
namespace {

using namespace std::chrono_literals;
using Kind = ProbeState::Kind;
constexpr Answer::Kind kGood = Answer::Kind::Good, kBad = Answer::Kind::Bad, kError = Answer::Kind::Error;

TEST(ProbeState, CountsToItsThresholds) {
  struct Case {
    const char* why;
    Kind kind;
    int successThreshold, failureThreshold;
    std::vector<Answer::Kind> answers;
    bool good, failed;
  };
  const Case cases[] = {{"readiness is bad until it was good", Kind::Readiness, 1, 3, {}, false, false},
                        {"liveness is good until it was bad", Kind::Liveness, 1, 3, {}, true, false},
                        {"startup has not happened yet", Kind::Startup, 1, 3, {}, false, false},
                        {"one short of the threshold", Kind::Liveness, 1, 3, {kBad, kBad}, true, false},
                        {"at the threshold", Kind::Liveness, 1, 3, {kBad, kBad, kBad}, false, true},
                        {"a success between starts again", Kind::Liveness, 1, 3, {kBad, kBad, kGood, kBad, kBad}, true, false},
                        {"an error says nothing", Kind::Liveness, 1, 2, {kBad, kError, kError}, true, false},
                        {"readiness one short of its successes", Kind::Readiness, 2, 1, {kGood}, false, false},
                        {"readiness with its successes", Kind::Readiness, 2, 1, {kGood, kGood}, true, false},
                        {"readiness kills nobody", Kind::Readiness, 1, 1, {kBad, kBad}, false, false},
                        {"startup that never comes", Kind::Startup, 1, 2, {kBad, kBad}, false, true}};
  for (const Case& c : cases) {
    SCOPED_TRACE(c.why);
    ProbeState state(c.kind, {{"successThreshold", c.successThreshold}, {"failureThreshold", c.failureThreshold}});
    for (const Answer::Kind answer : c.answers) state.take(answer);
    EXPECT_EQ(state.good(), c.good);
    EXPECT_EQ(state.failed(), c.failed);
  }
}

json::object probing(std::string_view text) { return json::parse(text).as_object(); }

TEST(Probes, DecideReadinessAndRestarts) {
  SKIP_WITHOUT_ROOT();
  TestNode node;
  ASSERT_NO_FATAL_FAILURE(node.start());
  ASSERT_NO_FATAL_FAILURE(node.importBox());
  const json::array serving = {"write", "/up", "yes", ",", "serve", "8080", "/up"};
  node.runPod("http", serving, {}, probing(R"({"ports":[{"name":"web","containerPort":8080}],
    "readinessProbe":{"httpGet":{"path":"/","port":"web"},"periodSeconds":1,"failureThreshold":1}})"));
  node.runPod("tcp", serving, {}, probing(R"({"readinessProbe":{"tcpSocket":{"port":8080},"periodSeconds":1}})"));
  node.runPod("closed", {"sleep", "600"}, {},
              probing(R"({"readinessProbe":{"tcpSocket":{"port":9},"periodSeconds":1,"failureThreshold":1}})"));
  node.runPod("exec", {"sleep", "600"}, {}, probing(R"({"livenessProbe":{"exec":{"command":["/box","exists","/up"]},
    "periodSeconds":1,"failureThreshold":2}})"));
  node.runPod("slow", {"sleep", "2", ",", "write", "/up", "yes", ",", "sleep", "600"}, {},
              probing(R"({"startupProbe":{"exec":{"command":["/box","exists","/up"]},"periodSeconds":1,"failureThreshold":30},
                          "livenessProbe":{"exec":{"command":["/box","exists","/up"]},"periodSeconds":1,"failureThreshold":1}})"));
  const auto ready = [&](const char* name) { return booleanAt(node.containerStatus(name), {"ready"}); };
  EXPECT_TRUE(node.until([&] { return ready("http") && ready("tcp"); })) << json::serialize(node.pod("http"));
  EXPECT_TRUE(node.until([&] { return node.event("closed", "Unhealthy").find("Readiness probe failed: dial tcp ") == 0; }));
  EXPECT_FALSE(ready("closed"));
  EXPECT_TRUE(node.runs("closed")) << "not ready is no reason to be killed";
  EXPECT_TRUE(node.until([&] { return integerAt(node.containerStatus("exec"), {"restartCount"}) == 1; }))
      << json::serialize(node.pod("exec"));
  EXPECT_TRUE(node.until([&] { return node.event("exec", "Killing") == "Container c failed liveness probe, will be restarted"; }));
  EXPECT_TRUE(node.until([&] { return booleanAt(node.containerStatus("slow"), {"started"}) && ready("slow"); }));
  EXPECT_EQ(integerAt(node.containerStatus("slow"), {"restartCount"}), 0) << "liveness is not asked before the start is over";
}

TEST(Hooks, RunAfterTheStartAndBeforeTheStop) {
  SKIP_WITHOUT_ROOT();
  TestNode node;
  TestDirectory shared;
  ASSERT_NO_FATAL_FAILURE(node.start());
  ASSERT_NO_FATAL_FAILURE(node.importBox());
  const json::object more = {
      {"volumes", json::array{json::object{{"name", "v"}, {"hostPath", json::object{{"path", shared.path().string()}}}}}}};
  node.runPod("p", {"sleep", "600"}, more, probing(R"({"volumeMounts":[{"name":"v","mountPath":"/v"}],"lifecycle":{
    "postStart":{"exec":{"command":["/box","write","/v/started","yes"]}},"preStop":{"exec":{"command":["/box","write","/v/stopped","yes"]}}}})"));
  node.runPod("bad", {"sleep", "600"}, {{"terminationGracePeriodSeconds", 1}},
              probing(R"({"lifecycle":{"postStart":{"exec":{"command":["/box","exit","7"]}}}})"));
  ASSERT_TRUE(node.until([&] { return node.runs("p"); })) << json::serialize(node.pod("p"));
  EXPECT_TRUE(std::filesystem::exists(shared.path() / "started"));
  EXPECT_FALSE(std::filesystem::exists(shared.path() / "stopped"));
  node.deletePod("p");
  EXPECT_TRUE(node.until([&] { return node.pod("p").empty(); }));
  EXPECT_TRUE(std::filesystem::exists(shared.path() / "stopped"));
  EXPECT_TRUE(node.until([&] { return node.event("bad", "FailedPostStartHook") != ""; }));
  EXPECT_TRUE(node.until([&] {
    const json::object status = node.containerStatus("bad");
    return objectAt(status, {"lastState", "terminated"}) != nullptr;
  })) << json::serialize(node.pod("bad"));
}

TEST(Seccomp, FiltersWhereThePodAsks) {
  SKIP_WITHOUT_ROOT();
  TestNode node;
  ASSERT_NO_FATAL_FAILURE(node.start());
  ASSERT_NO_FATAL_FAILURE(node.importBox());
  const json::object never = {{"restartPolicy", "Never"}};
  node.runPod("default", {"seccomp"}, never);
  node.runPod("filtered", {"seccomp"}, never, probing(R"({"securityContext":{"seccompProfile":{"type":"RuntimeDefault"}}})"));
  ASSERT_TRUE(node.until([&] { return node.phase("default") == "Succeeded" && node.phase("filtered") == "Succeeded"; }))
      << json::serialize(node.pod("filtered"));
  EXPECT_TRUE(node.logs("default", "Seccomp:\t0\n"));
  EXPECT_TRUE(node.logs("filtered", "Seccomp:\t2\n"));
}

}  // namespace
}  // namespace podpass::node
