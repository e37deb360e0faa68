#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "api/node_access.h"
#include "base/result.h"

namespace runtime::v1 {
class PodSandboxConfig;
class ContainerConfig;
}  // namespace runtime::v1

namespace podpass::node {

struct Sandbox {
  std::string id, uid, name, ns;
  std::uint32_t attempt = 0;
  bool ready = false;
  std::int64_t createdAt = 0;  // nanoseconds since 1970, as all times here; 0: unset
};

struct Container {
  enum class State { Created, Running, Exited, Unknown };
  std::string id, sandbox, podUid, name;
  State state = State::Unknown;
  std::int64_t createdAt = 0, startedAt = 0, finishedAt = 0;
  int exitCode = 0;
  std::string reason, message, image, imageRef, logPath;
  std::int64_t restartCount = 0;
  std::string hash;                // of name and image, when it was created
  std::string terminationMessage;  // path on the host
};

struct Image {
  std::string id, name;   // name: the first tag
  std::int64_t uid = -1;  // -1: the image names no numeric user
  std::string username;
};

struct StoredImage {
  std::string id;
  std::uint64_t bytes = 0;
  bool pinned = false;  // never to be removed
};

struct Registry {
  std::string username, password, auth, server;
};

// A container runtime over CRI v1 (spec node.md §5.1–§5.2). Every call blocks, has a deadline and is cancelled by cancel(). Reasons:
// NotFound, AlreadyExists, Timeout (deadline), Unavailable (no runtime behind the socket), else Internal with the runtime's own sentence,
// worded as Go does it: `rpc error: code = Unknown desc = …`. Thread-safe.
class Runtime {
 public:
  // `owner`: marks what is made here; only what carries it is listed, so that others may use the same containerd.
  Runtime(const std::string& socket, std::string owner);
  ~Runtime();
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;
  // Running and later calls fail with Unavailable.
  void cancel();

  // "containerd://1.6.20"
  Result<std::string> version();
  // An Error with the sentence of a NotReady node when the runtime or its network is not ready.
  Result<void> ready();

  // All of the node, or of one pod.
  Result<std::vector<Sandbox>> sandboxes(const std::string& podUid);
  // With the full status of each; newest first.
  Result<std::vector<Container>> containers(const std::string& podUid);
  // Of each pod uid a text that changes when any of its sandboxes or containers does: two cheap calls for the whole node.
  Result<std::map<std::string, std::string>> fingerprints();
  Result<std::vector<std::string>> sandboxIps(const std::string& id);

  Result<std::string> runSandbox(const ::runtime::v1::PodSandboxConfig& config, const std::string& handler);
  Result<void> stopSandbox(const std::string& id);    // idempotent, as the next
  Result<void> removeSandbox(const std::string& id);  // and its containers
  Result<std::string> createContainer(const std::string& sandbox, const ::runtime::v1::ContainerConfig& config,
                                      const ::runtime::v1::PodSandboxConfig& sandboxConfig);
  Result<void> startContainer(const std::string& id);
  Result<void> stopContainer(const std::string& id, std::chrono::seconds grace);
  Result<void> removeContainer(const std::string& id);
  Result<void> reopenLog(const std::string& id);

  struct Execution {
    std::string output;  // both streams
    int exitCode = 0;
  };
  Result<Execution> execute(const std::string& container, const std::vector<std::string>& command, std::chrono::seconds timeout);
  Result<std::string> execUrl(const std::string& container, const api::ExecRequest& request);  // no command: attach
  Result<std::string> portForwardUrl(const std::string& sandbox, const std::vector<std::int32_t>& ports);

  Result<Image> image(const std::string& name);  // NotFound when it is not on this node
  Result<std::vector<StoredImage>> images();
  Result<std::set<std::string>> imagesInUse();  // ids, by containers of anybody
  Result<void> removeImage(const std::string& id);
  Result<std::string> pull(const std::string& name, const Registry* registry);

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace podpass::node
