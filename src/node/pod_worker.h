#pragma once

#include <condition_variable>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "base/clock.h"
#include "base/secret.h"
#include "node/agent.h"
#include "node/events.h"
#include "node/object_watches.h"
#include "node/pod_status.h"
#include "node/prober.h"
#include "node/runtime.h"
#include "node/volumes.h"

namespace podpass::node {

// What all workers of a node share; outlives them.
struct NodeContext {
  AgentOptions options;
  api::Client& client;
  const Clock& clock;
  Runtime& runtime;
  Volumes& volumes;
  Events& events;
  ObjectWatches& watches;
  std::string nodeIp;
  std::filesystem::path kubeletRoot, logRoot;
  std::mutex pulling{};  // one pull at a time
};

// True when a pull failed because no registry could be asked at all (no route, no name service), as opposed to one that refused.
bool registryUnreachable(std::string_view pullError);

// Brings one pod to what its spec says and keeps it there, on a thread of its own: volumes, image, sandbox, init containers, containers,
// status. A failure says so in status and events and is tried again. A pod under deletion is killed with its grace, cleaned up, and its
// object deleted.
class PodWorker {
 public:
  PodWorker(NodeContext& node, DocumentPtr pod);
  ~PodWorker();  // stops
  PodWorker(const PodWorker&) = delete;
  PodWorker& operator=(const PodWorker&) = delete;
  void update(DocumentPtr pod);
  void gone();  // the object no longer exists: kill with a short grace and clean up
  void wake();
  void refresh();    // as wake, but soon: an object that its volumes show has changed, and others may follow
  void askToStop();  // returns at once; Runtime::cancel ends what is waiting
  [[nodiscard]] bool finished() const;
  [[nodiscard]] const std::string& uid() const { return uid_; }

 private:
  void run();
  std::chrono::milliseconds visit(const json::object& pod, bool gone);
  std::chrono::milliseconds sync(const json::object& pod);
  std::chrono::milliseconds failedSync(const Error* error);  // nullptr: already told
  std::chrono::milliseconds withoutRuntime(const json::object& pod, const Error& error);
  [[nodiscard]] bool stopping() const;
  std::chrono::milliseconds end(const json::object& pod, bool gone);
  Result<Observed> observe();
  bool kill(const json::object& pod, std::chrono::seconds grace);
  Result<void> stopContainer(const json::object& pod, const Container& container, const Observed& observed, std::chrono::seconds grace);
  static std::string reasonToKill(const json::object& pod, const json::object& spec, const Container* newest, const Observed& observed);
  bool restart(const json::object& pod, const json::object& spec, const Container& container, const Observed& observed);
  void unhealthy(const std::string& container, const std::string& text);
  Result<std::string> ensureSandbox(const json::object& pod, const Observed& observed, bool& fresh);
  bool startContainer(const json::object& pod, const json::object& spec, const std::string& sandbox, const Observed& observed);
  Result<Image> ensureImage(const json::object& pod, const json::object& spec);
  Result<Image> pullImage(const json::object& pod, const json::object& spec, const std::string& reference);
  Result<std::string> pullWithSecrets(const json::object& pod, const std::string& reference);
  std::vector<Secret> pullSecrets(const json::object& pod);
  Result<void> addMounts(const json::object& pod, const json::object& spec, const std::string& podIp,
                         const std::vector<std::pair<std::string, std::string>>& environment, ::runtime::v1::ContainerConfig& config);
  bool crashLooping(const json::object& pod, const json::object& spec, const Container& newest);
  void pruneDead(const std::vector<Container>& containers);
  void publish(const json::object& pod, Observed observed);
  void publish(const json::object& pod, json::object status);
  void retryIn(std::chrono::milliseconds time) { next_ = std::min(next_, time); }
  std::filesystem::path podDirectory() const { return node_.kubeletRoot / "pods" / uid_; }
  std::filesystem::path logDirectory() const;

  NodeContext& node_;
  std::string uid_, ns_, name_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  DocumentPtr pod_;
  SteadyTime refreshAt_ = SteadyTime::max();
  bool woken_ = true, gone_ = false, stopping_ = false, finished_ = false;

  // The worker's thread only.
  struct BackOff {
    int failures = 0;
    SteadyTime until{};
    std::string last;
  };
  std::map<std::string, BackOff> pulls_;  // by image
  std::map<std::string, int> crashes_;    // by container: restarts so far in this life
  std::map<std::string, Waiting> waiting_;
  std::chrono::milliseconds next_{};
  int failures_ = 0;  // of sync in a row
  std::string written_;
  bool unwritten_ = false;  // a status is to be written again
  Prober prober_;
  std::thread thread_;
};

}  // namespace podpass::node
