#pragma once

#include <gtest/gtest.h>
#include <net/if.h>
#include <unistd.h>

#include <filesystem>
#include <thread>

#include "base/file.h"
#include "node/agent.h"
#include "node/containerd.h"
#include "node/image_archive.h"
#include "node/mounts.h"
#include "node/test_client.h"
#include "node/test_directory.h"

namespace podpass::node {

// A node with a real private containerd in a directory of its own, an API that is TestClient, and the image `box` (test_box.c). As root
// only: SKIP_WITHOUT_ROOT() first.
class TestNode {
 public:
  static constexpr const char* kName = "n1";
  // `deep`: in a directory whose path is too long for sockets, so that they go to /run.
  explicit TestNode(bool deep = false) : directory_(base_.path() / (deep ? std::string(90, 'd') : "d")) {}
  ~TestNode() { stop(); }
  TestNode(const TestNode&) = delete;
  TestNode& operator=(const TestNode&) = delete;

  void start(AgentOptions options = {}) {
    options.nodeName = kName;
    options.directory = directory_;
    agent_ = makeAgent(options, client, clock);
    const Result<void> started = agent_->start();
    ASSERT_TRUE(started) << started.error().sentence;
  }
  void stop() {
    if (agent_) agent_->stop();
    agent_ = nullptr;
  }
  // Waits for the runtime, then gives it the image.
  void importBox() { importBox(places().socket); }
  void importBox(const std::filesystem::path& socket) {
    const Result<std::string> program = readFile(PODPASS_TEST_BOX);
    ASSERT_TRUE(program) << program.error().sentence;
    const std::filesystem::path archive = base_.path() / "box.tar";
    ASSERT_TRUE(writeFileAtomically(archive, imageArchive("docker.io/library/box:1", "box", *program)));
    ASSERT_TRUE(until([&] { return nodeReady() == "True"; })) << "the node did not become ready";
    const std::string command = "ctr -a " + socket.string() + " -n k8s.io images import " + archive.string() + " >/dev/null";
    ASSERT_EQ(std::system(command.c_str()), 0);
  }
  // True once `holds` does; false when it did not for half a minute.
  template <class Predicate>
  static bool until(Predicate holds, std::chrono::seconds patience = std::chrono::seconds(30)) {
    const auto end = std::chrono::steady_clock::now() + patience;
    while (!holds()) {
      if (std::chrono::steady_clock::now() > end) return false;
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    return true;
  }

  // A pod of one container `c` that runs the box with these words; `more` are further members of the spec, `ofContainer` of the container.
  void runPod(const std::string& name, const json::array& words, json::object more = {}, json::object ofContainer = {}) {
    json::array args = {"/box"};
    args.insert(args.end(), words.begin(), words.end());
    json::object container = {{"name", "c"}, {"image", "box:1"}, {"imagePullPolicy", "IfNotPresent"}, {"command", std::move(args)}};
    for (auto& [key, value] : ofContainer) container[key] = value;
    json::object spec = {{"nodeName", kName}, {"containers", json::array{std::move(container)}}, {"restartPolicy", "Always"}};
    for (auto& [key, value] : more) spec[key] = value;
    json::object pod = {{"apiVersion", "v1"}, {"kind", "Pod"}, {"spec", std::move(spec)}};
    pod["metadata"] = json::object{{"namespace", "default"}, {"name", name}, {"uid", "uid-" + name}};
    client.put("pods", std::move(pod));
  }
  json::object pod(const std::string& name) {
    const Result<DocumentPtr> found = client.get(*api::findKind("", "v1", "pods"), {"default", name});
    return found ? (*found)->value : json::object();
  }
  std::string phase(const std::string& name) { return std::string(textAt(pod(name), {"status", "phase"})); }
  // The only container's status.
  json::object containerStatus(const std::string& name) {
    const json::object now = pod(name);
    const json::array* all = arrayAt(now, {"status", "containerStatuses"});
    return all == nullptr || all->empty() ? json::object() : all->front().as_object();
  }
  bool runs(const std::string& name) { return objectAt(containerStatus(name), {"state", "running"}) != nullptr; }
  void deletePod(const std::string& name) {
    json::object deleting = pod(name);
    json::object& metadata = makeObjectAt(deleting, {"metadata"});
    metadata["deletionTimestamp"] = rfc3339(clock.now());
    metadata["deletionGracePeriodSeconds"] = 1;
    client.put("pods", std::move(deleting));
  }
  std::string log(const std::string& name) {
    auto stream = agent_->logs(pod(name), "c", {});
    if (!stream) return "no log: " + stream.error().sentence;
    std::string all;
    while (auto next = (*stream)->next(std::chrono::seconds(1))) all += *next;
    return all;
  }
  // Whether the log comes to be `text`: containerd copies what a container wrote in its own time, even after the container's end.
  ::testing::AssertionResult logs(const std::string& name, const std::string& text) {
    std::string seen;
    const auto same = [&] { return (seen = log(name)) == text; };
    if (until(same)) return ::testing::AssertionSuccess();
    return ::testing::AssertionFailure() << "the log of " << name << " is: " << seen;
  }
  // "" or the message of the newest event with this reason about the pod.
  std::string event(const std::string& name, std::string_view reason) {
    std::string message;
    for (const DocumentPtr& each : client.all("events"))
      if (textAt(each->value, {"involvedObject", "name"}) == name && textAt(each->value, {"reason"}) == reason)
        message = textAt(each->value, {"message"});
    return message;
  }
  // Status and message of the node's condition Ready.
  std::string nodeReady(std::string* message = nullptr) {
    const Result<DocumentPtr> node = client.get(*api::findKind("", "v1", "nodes"), {"", kName});
    const json::array* conditions = node ? arrayAt((*node)->value, {"status", "conditions"}) : nullptr;
    if (conditions == nullptr) return {};
    for (const json::value& each : *conditions) {
      if (textAt(each.as_object(), {"type"}) != "Ready") continue;
      if (message != nullptr) *message = textAt(each.as_object(), {"message"});
      return std::string(textAt(each.as_object(), {"status"}));
    }
    return {};
  }

  // Of the private containerd; -1: there is none.
  [[nodiscard]] pid_t containerd() const {
    const Result<std::string> text = readFile(places().pid, 64);
    return text ? static_cast<pid_t>(std::strtol(text->c_str(), nullptr, 10)) : -1;
  }
  [[nodiscard]] ContainerdPlaces places() const { return ContainerdPlaces(directory_); }
  [[nodiscard]] const std::filesystem::path& directory() const { return directory_; }
  [[nodiscard]] Agent& agent() { return *agent_; }
  // Processes that name one of our paths in their command line.
  [[nodiscard]] std::vector<std::string> processes() const {
    std::vector<std::string> found;
    for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
      const Result<std::string> command = readFile(entry.path() / "cmdline", 65536);
      if (command && (command->find(places().config) != std::string::npos || command->find(places().socket) != std::string::npos))
        found.push_back(*command);
    }
    return found;
  }

  TestClient client;
  SystemClock clock;

 private:
  TestDirectory base_;
  std::filesystem::path directory_;
  std::unique_ptr<Agent> agent_;
};

#define SKIP_WITHOUT_ROOT() \
  if (::geteuid() != 0) GTEST_SKIP() << "runs containers, and that needs root"

}  // namespace podpass::node
