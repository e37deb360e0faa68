#pragma once

#include <chrono>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "api/client.h"
#include "base/clock.h"
#include "node/environment.h"

namespace podpass::node {

struct VolumesOptions {
  // Tests without root only: what belongs on tmpfs lies on disk when mounting is not permitted. Otherwise that is an error, never silent.
  bool allowDisk = false;
  Allocatable allocatable = {};  // zeros: all of this machine
};

// The volumes of the pods on this node: projected (secret, configMap, downwardAPI, serviceAccountToken), secret, configMap, downwardAPI,
// emptyDir and hostPath. Layout and rules: spec node.md §1–§4. Secrets and tokens lie on tmpfs; every change is published by one
// rename (AtomicWriter), so readers never see a mix. Thread-safe; sync blocks on the API.
class Volumes {
 public:
  // `root`: the kubelet root; pods live in root/pods/<uid>. `client`: acts as the node.
  Volumes(api::Client& client, const Clock& clock, std::filesystem::path root, VolumesOptions options = {});
  ~Volumes();
  Volumes(const Volumes&) = delete;
  Volumes& operator=(const Volumes&) = delete;
  // Makes or refreshes all volumes of the pod. The Error's sentence is the text of a FailedMount event:
  // `MountVolume.SetUp failed for volume "V" : …`. A failed refresh keeps the last good content.
  Result<void> sync(const json::object& pod);
  // When the pod's content wants the next look (token refresh at 80 % of its life, 24 h at most, with jitter); at most 90 s away.
  [[nodiscard]] std::chrono::milliseconds untilNextSync(const std::string& podUid) const;
  // The directory (or hostPath) to mount for a volume of the pod.
  [[nodiscard]] Result<std::filesystem::path> hostPath(const json::object& pod, const std::string& volume) const;
  // The path to mount for a volumeMount with subPath: resolved inside the volume, never outside; refuses escapes. What is missing is
  // made as a directory in emptyDir and hostPath volumes, and is an error in the others. As root the result is a bind mount under the
  // pod's directory, so that nobody can swap what it leads to before the runtime mounts it.
  [[nodiscard]] Result<std::filesystem::path> subPath(const json::object& pod, const std::string& volume, const std::string& path) const;
  // Objects whose change should refresh this pod at once: "configmaps/NS/NAME", "secrets/NS/NAME".
  [[nodiscard]] static std::vector<std::string> objects(const json::object& pod);
  // Unmounts and removes everything of the pod; its tokens are forgotten. Idempotent.
  Result<void> remove(const std::string& podUid);
  // Unmounts what was mounted for all pods: the secrets and tokens are gone with it, what lies on disk stays, and sync mounts again. For
  // when no container runs any more.
  Result<void> unmountAll();
  // Pods with a directory under root (for cleaning up after a restart).
  [[nodiscard]] std::vector<std::string> known() const;

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace podpass::node
