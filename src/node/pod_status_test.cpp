#include "node/pod_status.h"
#include <gtest/gtest.h>
#include "node/containerd.h"
#include "node/logs.h"
#include "node/pod_config.h"
#include "node/pod_worker.h"

namespace podpass::node {
namespace {

using namespace std::chrono_literals;

json::object parsePod(std::string_view text) { return json::parse(text).as_object(); }

TEST(LogLines, AreReadAsTheRuntimeWritesThem) {
  struct Case {
    const char *why, *line, *content;
    bool good, partial;
  };
  const Case cases[] = {{"a whole line", "2024-05-01T10:20:30.123456789Z stdout F hello world", "hello world", true, false},
                        {"a part of a long line", "2024-05-01T10:20:30Z stderr P abc", "abc", true, true},
                        {"an empty line", "2024-05-01T10:20:30Z stdout F ", "", true, false},
                        {"no stream", "2024-05-01T10:20:30Z F hello", "", false, false},
                        {"an unknown tag", "2024-05-01T10:20:30Z stdout X hello", "", false, false},
                        {"nothing", "", "", false, false}};
  for (const Case& c : cases) {
    SCOPED_TRACE(c.why);
    const auto line = parseLogLine(c.line);
    ASSERT_EQ(line.has_value(), c.good);
    if (!line) continue;
    EXPECT_EQ(line->content, c.content);
    EXPECT_EQ(line->partial, c.partial);
  }
}

TEST(Phase, FollowsFromTheContainersAndThePolicy) {
  using State = Container::State;
  struct Case {
    const char *why, *policy;
    State state;
    int exitCode;
    const char* phase;
  };
  const Case cases[] = {{"running", "Always", State::Running, 0, "Running"},
                        {"ended well, to be started again", "Always", State::Exited, 0, "Running"},
                        {"ended well", "Never", State::Exited, 0, "Succeeded"},
                        {"ended badly", "Never", State::Exited, 1, "Failed"},
                        {"ended badly, to be started again", "OnFailure", State::Exited, 1, "Running"},
                        {"created only", "Always", State::Created, 0, "Pending"}};
  for (const Case& c : cases) {
    SCOPED_TRACE(c.why);
    json::object pod = parsePod(R"({"metadata":{"name":"p"},"spec":{"containers":[{"name":"c","image":"i"}]}})");
    makeObjectAt(pod, {"spec"})["restartPolicy"] = c.policy;
    Container container;
    container.id = "1";
    container.name = "c";
    container.state = c.state;
    container.exitCode = c.exitCode;
    Observed observed;
    observed.containers.push_back(container);
    EXPECT_EQ(textAt(podStatus(pod, observed, WallTime{}), {"phase"}), c.phase);
  }
}

TEST(ImageReference, IsCompletedAsRegistriesExpect) {
  EXPECT_EQ(*imageReference("amazon/aws-cli"), "docker.io/amazon/aws-cli:latest");
  EXPECT_EQ(*imageReference("nginx:1"), "docker.io/library/nginx:1");
  EXPECT_EQ(*imageReference("localhost:5000/a"), "localhost:5000/a:latest");
  EXPECT_FALSE(imageReference("UPPER"));
  EXPECT_FALSE(imageReference("a b"));
}

TEST(PullErrors, OfAMachineWithoutNetworkAreToldFromRefusals) {
  EXPECT_TRUE(registryUnreachable("dial tcp: lookup registry-1.docker.io on 1.1.1.1:53: no such host"));
  EXPECT_TRUE(registryUnreachable("dial tcp 1.2.3.4:443: connect: network is unreachable"));
  EXPECT_FALSE(registryUnreachable("pull access denied, repository does not exist or may require authorization"));
}

TEST(ContainerdPlaces, KeepTheSocketShortWhateverTheDirectory) {
  const ContainerdPlaces places("/tmp/" + std::string(200, 'x'));
  EXPECT_LT((places.socket.string() + ".ttrpc").size(), 108u);
  EXPECT_LE(places.bridge.size(), 15u);
  EXPECT_NE(places.bridge, ContainerdPlaces("/tmp/other").bridge);
}

}  // namespace
}  // namespace podpass::node
