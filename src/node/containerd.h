#pragma once

#include <sys/types.h>

#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <mutex>
#include <string>
#include <thread>

#include "base/result.h"

namespace podpass::node {

// What the machine allows, found by trying.
struct MachineTraits {
  bool overlay = true;           // overlayfs can be mounted in the data directory
  bool mayLowerOomScore = true;  // CAP_SYS_RESOURCE; without it no sandbox starts unless the CRI plugin is told
  bool cgroups = true;           // the cgroup tree (v1, hybrid or v2) can be written
  bool masquerade = true;        // iptables' nat table works
};
MachineTraits probeMachine(const std::filesystem::path& directory);

// Where a private containerd of a data directory has its things; all names derive from the directory, so that several run on one machine.
struct ContainerdPlaces {
  explicit ContainerdPlaces(const std::filesystem::path& directory);
  std::filesystem::path root, state, socket, config, cniConfig, cniState, log, pid, pauseImage;
  std::filesystem::path runDirectory;  // /run/podpass-<hash> when a socket in the data directory had too long a path; else empty
  std::string bridge;                  // network interface, 15 characters at most
  std::string subnet, gateway;         // 10.x.y.0/24, 10.x.y.1: under which pods reach this machine
};
std::string containerdConfig(const ContainerdPlaces& places, const MachineTraits& traits);
std::string cniConfig(const ContainerdPlaces& places, const MachineTraits& traits);
// Gives this machine the pods' bridge with the gateway's address, as the CNI plugin would with the first pod. Idempotent; needs root.
Result<void> makeBridge(const ContainerdPlaces& places);
void removeBridge(const std::string& bridge);  // what is not there is fine
// An OCI image archive of the sandbox's process, named kPauseImage. No registry is needed.
std::string pauseImageArchive();
inline constexpr const char* kPauseImage = "podpass.dev/pause:1";

// A containerd of our own with runc, bridge networking and a sandbox image, all under one directory. It is started, and started again,
// with back-off, when it dies, and looked for again when this machine has none. What a killed predecessor left running is taken over:
// its containers live on. Thread-safe.
class Containerd {
 public:
  // `credentialsPort`: where the gateway serves pods their credentials; they find it at 169.254.170.23. 0: nowhere.
  explicit Containerd(std::filesystem::path directory, unsigned short credentialsPort = 0);
  ~Containerd();
  Containerd(const Containerd&) = delete;
  Containerd& operator=(const Containerd&) = delete;
  // Writes the configuration and begins to supervise; containerd itself comes up later.
  Result<void> start();
  // Ends containerd (its containers go on) and removes its sockets. Idempotent.
  void stop();
  // After stop(), and when no pods are left: removes the bridge, mounts and directories that lie outside the data directory.
  void clear();
  // Kills a containerd that no longer answers, unless it has just been started; the supervisor starts it again.
  void restartHung();
  // NotFound: a program is missing on this machine, and nothing can run until it is installed.
  [[nodiscard]] Result<void> installed() const;
  // Containers or sandboxes are running, whether containerd itself does or not.
  [[nodiscard]] bool hasTasks() const;
  [[nodiscard]] const ContainerdPlaces& places() const { return places_; }

 private:
  void supervise();
  Result<void> configure();
  int runOnce();
  bool reaped(pid_t child, int& status);
  bool importPauseImage();
  bool pause(std::chrono::milliseconds time);  // false: stopping

  std::filesystem::path directory_;
  ContainerdPlaces places_;
  unsigned short credentialsPort_;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool stopping_ = false;
  bool started_ = false;
  std::thread supervisor_;
  // guarded by mutex_; child_ is the supervisor's to reap
  pid_t child_ = -1;
  bool answered_ = false;
  std::chrono::steady_clock::time_point since_{};
};

}  // namespace podpass::node
