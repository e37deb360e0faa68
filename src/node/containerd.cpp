#include "node/containerd.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>

#include "base/document.h"
#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "node/image_archive.h"
#include "node/mounts.h"
#include "node/nat_rules.h"
#include "node/program.h"

extern "C" {
extern const char _binary_pause_start[];
extern const char _binary_pause_end[];
}

namespace podpass::node {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

namespace {

constexpr std::size_t kLongestSocket = 100;  // sun_path holds 108, and containerd adds ".ttrpc"
constexpr int kSysResource = 24;             // CAP_SYS_RESOURCE
constexpr std::chrono::seconds kHung{10}, kSlowStart{60};

bool overlayMounts(const fs::path& directory) {
  const fs::path trial = directory / "overlay-trial";
  std::error_code ignored;
  for (const char* part : {"lower", "upper", "work", "merged"}) fs::create_directories(trial / part, ignored);
  const std::string options =
      "lowerdir=" + (trial / "lower").string() + ",upperdir=" + (trial / "upper").string() + ",workdir=" + (trial / "work").string();
  const bool mounted = ::mount("overlay", (trial / "merged").c_str(), "overlay", 0, options.c_str()) == 0;
  if (mounted) ::umount2((trial / "merged").c_str(), MNT_DETACH);
  fs::remove_all(trial, ignored);
  return mounted;
}

// A process that a killed predecessor left: ours when its command line names our configuration.
void endPredecessor(const ContainerdPlaces& places) {
  const Result<std::string> text = readFile(places.pid, 64);
  if (!text) return;
  const pid_t pid = static_cast<pid_t>(std::strtol(text->c_str(), nullptr, 10));
  if (pid <= 1) return;
  const Result<std::string> command = readFile("/proc/" + std::to_string(pid) + "/cmdline", 4096);
  if (!command || command->find(places.config.string()) == std::string::npos) return;
  ::kill(pid, SIGTERM);
  for (int turn = 0; turn < 100 && ::kill(pid, 0) == 0; ++turn) {
    if (turn == 50) ::kill(pid, SIGKILL);
    std::this_thread::sleep_for(50ms);
  }
}

}  // namespace

MachineTraits probeMachine(const fs::path& directory) {
  MachineTraits traits;
  traits.overlay = overlayMounts(directory);
  if (const Result<std::string> status = readFile("/proc/self/status")) {
    const std::size_t at = status->find("CapEff:");
    if (at != std::string::npos) traits.mayLowerOomScore = (std::strtoull(status->c_str() + at + 7, nullptr, 16) >> kSysResource & 1) != 0;
  }
  std::error_code ignored;  // v1 and hybrid have a tree for each controller, v2 one for all
  const fs::path tree = fs::exists("/sys/fs/cgroup/cgroup.controllers", ignored) ? "/sys/fs/cgroup" : "/sys/fs/cgroup/memory";
  traits.cgroups = ::access(tree.c_str(), W_OK) == 0;
  traits.masquerade = runs({programPath("iptables"), "-w", "5", "-t", "nat", "-S"}, "/dev/null", 10s);
  return traits;
}

ContainerdPlaces::ContainerdPlaces(const fs::path& directory) {
  const fs::path base = fs::absolute(directory).lexically_normal() / "containerd";
  const std::string hash = sha256(base.string());
  const std::string name = hexLower(hash.substr(0, 5));
  root = base / "root";
  config = base / "config.toml";
  cniConfig = base / "cni";
  cniState = base / "networks";
  log = base / "containerd.log";
  pid = base / "containerd.pid";
  pauseImage = base / "pause.tar";
  fs::path run = base;
  // Shims listen under `state` at s/<64 hex digits> of /run/containerd on their own; only our two sockets and fifos lie here.
  if ((base / "containerd.sock.ttrpc").string().size() > kLongestSocket) run = runDirectory = "/run/podpass-" + name;
  state = run / "state";
  socket = run / "containerd.sock";
  bridge = "pp" + name;
  const auto byte = [&](std::size_t at) { return static_cast<unsigned>(static_cast<unsigned char>(hash[at])); };
  const std::string net = "10." + std::to_string(128 + byte(5) % 112) + "." + std::to_string(byte(6)) + ".";
  subnet = net + "0/24";
  gateway = net + "1";
}

std::string containerdConfig(const ContainerdPlaces& places, const MachineTraits& traits) {
  const auto text = [](const fs::path& path) { return json::serialize(json::value(path.string())); };  // TOML's basic strings are JSON's
  const auto truth = [](bool value) { return std::string(value ? "true" : "false"); };
  return "version = 2\n"
         "root = " +
         text(places.root) +
         "\n"
         "state = " +
         text(places.state) +
         "\n"
         "disabled_plugins = [\"io.containerd.internal.v1.opt\"]\n"
         "[grpc]\n"
         "  address = " +
         text(places.socket) +
         "\n"
         "[ttrpc]\n"
         "  address = " +
         text(places.socket.string() + ".ttrpc") +
         "\n"
         "[plugins.\"io.containerd.grpc.v1.cri\"]\n"
         "  sandbox_image = \"" +
         kPauseImage +
         "\"\n"
         "  restrict_oom_score_adj = " +
         truth(!traits.mayLowerOomScore) +
         "\n"
         "  disable_cgroup = " +
         truth(!traits.cgroups) +
         "\n"
         "  stream_server_address = \"127.0.0.1\"\n"
         "  stream_server_port = \"0\"\n"
         "  [plugins.\"io.containerd.grpc.v1.cri\".containerd]\n"
         "    snapshotter = \"" +
         (traits.overlay ? "overlayfs" : "native") +
         "\"\n"
         "    default_runtime_name = \"runc\"\n"
         "    [plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc]\n"
         "      runtime_type = \"io.containerd.runc.v2\"\n"
         "  [plugins.\"io.containerd.grpc.v1.cri\".cni]\n"
         "    bin_dir = \"/usr/lib/cni\"\n"
         "    conf_dir = " +
         text(places.cniConfig) + "\n";
}

std::string cniConfig(const ContainerdPlaces& places, const MachineTraits& traits) {
  const json::array ranges = {json::array{json::object{{"subnet", places.subnet}, {"gateway", places.gateway}}}};
  json::object ipam = {{"type", "host-local"}, {"ranges", ranges}, {"dataDir", places.cniState.string()}};
  ipam["routes"] = json::array{json::object{{"dst", "0.0.0.0/0"}}};
  json::object bridge = {{"type", "bridge"},    {"bridge", places.bridge}, {"isGateway", true},
                         {"hairpinMode", true}, {"ipMasq", false},         {"ipam", std::move(ipam)}};
  json::array plugins;
  plugins.push_back(std::move(bridge));
  if (traits.masquerade) plugins.push_back(json::object{{"type", "portmap"}, {"capabilities", json::object{{"portMappings", true}}}});
  const json::object config = {{"cniVersion", "0.4.0"}, {"name", places.bridge}, {"plugins", std::move(plugins)}};
  return json::serialize(config) + "\n";
}

std::string pauseImageArchive() {
  return imageArchive(kPauseImage, "pause",
                      std::string_view(_binary_pause_start, static_cast<std::size_t>(_binary_pause_end - _binary_pause_start)));
}

Containerd::Containerd(fs::path directory, unsigned short credentialsPort)
    : directory_(std::move(directory)), places_(directory_), credentialsPort_(credentialsPort) {}
Containerd::~Containerd() { stop(); }

Result<void> Containerd::installed() const {
  for (const char* program : {"containerd", "ctr", "runc"})
    if (programPath(program).empty())
      return Error{Reason::NotFound, std::string("there is no ") + program + " on this machine",
                   "install containerd (apt install containerd), or give --containerd SOCKET; without pods: --node off"};
  return {};
}

Result<void> Containerd::start() {
  for (const fs::path& made : {places_.root, places_.state, places_.cniConfig, places_.cniState})
    if (Result<void> done = makeDirectories(made, 0711); !done) return done;
  if (Result<void> done = writeFileAtomically(places_.pauseImage, pauseImageArchive()); !done) return done;
  started_ = true;
  supervisor_ = std::thread([this] { supervise(); });
  return {};
}

Result<void> Containerd::configure() {
  const MachineTraits traits = probeMachine(places_.config.parent_path());
  if (traits.masquerade && !addNatRules(places_, credentialsPort_))
    log::warn("pods do not reach beyond this machine, or not their credentials", {{"name", places_.bridge}, {"why", "iptables failed"}});
  if (!traits.masquerade && credentialsPort_ != 0)
    log::warn("pods do not reach 169.254.170.23: iptables cannot be used", {{"name", places_.bridge}});
  if (Result<void> done = writeFileAtomically(places_.config, containerdConfig(places_, traits)); !done) return done;
  return writeFileAtomically(places_.cniConfig / "10-podpass.conflist", cniConfig(places_, traits));
}

bool Containerd::pause(std::chrono::milliseconds time) {
  std::unique_lock lock(mutex_);
  return !wake_.wait_for(lock, time, [this] { return stopping_; });
}

bool Containerd::importPauseImage() {
  return runs({programPath("ctr"), "-a", places_.socket.string(), "-n", "k8s.io", "images", "import", places_.pauseImage.string()},
              places_.log, 30s);
}

void Containerd::supervise() {
  endPredecessor(places_);
  std::chrono::milliseconds backOff = 500ms;
  bool told = false;
  do {
    if (Result<void> ready = installed(); !ready || !(ready = configure())) {
      if (!std::exchange(told, true))
        log::warn("containerd not started, and no pod runs", {{"err", log::chain(ready.error())}, {"fix", ready.error().fix}});
      backOff = 2s;  // somebody may be installing it
      continue;
    }
    const auto since = std::chrono::steady_clock::now();
    const int status = runOnce();
    if (!pause(0ms)) return;
    if (std::chrono::steady_clock::now() - since > 1min) backOff = 500ms;
    log::warn("containerd ended and is started again", {{"status", std::to_string(status)}, {"log", places_.log.string()}});
    backOff = std::min<std::chrono::milliseconds>(backOff * 2, 30s);
  } while (pause(backOff));
}

// One life of containerd: its wait status. Returns early, with containerd ended, when we are stopping.
int Containerd::runOnce() {
  const pid_t child = spawn({programPath("containerd"), "--config", places_.config.string()}, places_.log);
  if (child < 0) return -1;
  static_cast<void>(writeFileAtomically(places_.pid, std::to_string(child) + "\n"));
  {
    std::lock_guard lock(mutex_);
    child_ = child;
    answered_ = false;
    since_ = std::chrono::steady_clock::now();
  }
  bool imported = false, alive = true;
  int status = 0;
  while (alive && pause(imported ? 250ms : 20ms)) {
    std::error_code ignored;
    if (!imported && fs::exists(places_.socket, ignored) && importPauseImage()) {
      imported = true;
      std::lock_guard lock(mutex_);
      answered_ = true;
    }
    alive = !reaped(child, status);
  }
  if (!alive) return status;
  ::kill(child, SIGTERM);  // we are stopping: ask, then insist
  for (int turn = 0; turn < 500 && !reaped(child, status); ++turn) {
    if (turn == 300) ::kill(child, SIGKILL);
    std::this_thread::sleep_for(10ms);
  }
  return status;
}

// Under the lock, so that nobody kills a process id that is free again.
bool Containerd::reaped(pid_t child, int& status) {
  std::lock_guard lock(mutex_);
  if (::waitpid(child, &status, WNOHANG) == 0) return false;
  child_ = -1;
  return true;
}

void Containerd::restartHung() {
  std::lock_guard lock(mutex_);
  if (child_ <= 0 || std::chrono::steady_clock::now() - since_ < (answered_ ? kHung : kSlowStart)) return;
  log::warn("containerd did not answer and was killed", {{"log", places_.log.string()}});
  ::kill(child_, SIGKILL);
}

bool Containerd::hasTasks() const {
  std::error_code failed;
  const fs::directory_iterator tasks(places_.state / "io.containerd.runtime.v2.task" / "k8s.io", failed);
  return !failed && tasks != fs::directory_iterator();
}

void Containerd::stop() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  if (supervisor_.joinable()) supervisor_.join();
  if (!started_) return;
  started_ = false;
  std::error_code ignored;
  fs::remove(places_.pid, ignored);
  fs::remove(places_.socket, ignored);
  fs::remove(places_.socket.string() + ".ttrpc", ignored);
}

void Containerd::clear() {
  if (hasTasks()) {  // `state` is what running shims live in
    log::warn("containers still run, and their network stays", {{"name", places_.bridge}});
    return;
  }
  removeBridge(places_.bridge);
  removeNatRules(places_);
  if (Result<void> unmounted = unmountBelow(fs::weakly_canonical(places_.state)); !unmounted) {
    log::warn("containerd's mounts not removed", {{"err", log::chain(unmounted.error())}});
    return;
  }
  std::error_code ignored;
  fs::remove_all(places_.runDirectory.empty() ? places_.state : places_.runDirectory, ignored);
}

}  // namespace podpass::node
