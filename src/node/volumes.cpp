#include "node/volumes.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <mutex>
#include <random>

#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "node/atomic_writer.h"
#include "node/beneath.h"
#include "node/mounts.h"
#include "node/projection.h"
#include "node/token_source.h"

namespace podpass::node {
namespace {

using std::chrono::milliseconds;
namespace fs = std::filesystem;

constexpr milliseconds kShortestRound{60'000};
constexpr milliseconds kLongestRound{90'000};  // the margin of a 600 s token allows no more (spec §3.4)
constexpr milliseconds kFirstRetry{500};
constexpr mode_t kVolumeMode = 0777;

milliseconds randomUpTo(milliseconds most) {
  thread_local std::minstd_rand generator{std::random_device{}()};
  return milliseconds(std::uniform_int_distribution<milliseconds::rep>(0, most.count())(generator));
}

std::string_view pluginOf(const json::object& volume) {
  if (volume.contains("projected")) return "kubernetes.io~projected";
  if (volume.contains("secret")) return "kubernetes.io~secret";
  if (volume.contains("configMap")) return "kubernetes.io~configmap";
  if (volume.contains("downwardAPI")) return "kubernetes.io~downward-api";
  if (volume.contains("emptyDir")) return "kubernetes.io~empty-dir";
  return {};
}

std::string_view nameOf(const json::object& volume) { return textAt(volume, {"name"}); }

const json::object* volumeNamed(const json::object& pod, std::string_view name) {
  const json::array* volumes = arrayAt(pod, {"spec", "volumes"});
  if (volumes == nullptr) return nullptr;
  for (const json::value& volume : *volumes)
    if (volume.is_object() && nameOf(volume.get_object()) == name) return &volume.get_object();
  return nullptr;
}

// ---- hostPath: kubelet's checks and texts --------------------------------------------------------------------------------------------

Result<void> madeForHostPath(const std::string& path, bool directory) {
  if (directory) return makeDirectories(path, 0755);
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CREAT | O_CLOEXEC, 0644));
  if (!file) return systemError("create", path);
  return {};
}

Result<void> checkHostPath(const json::object& source) {
  const std::string path(textAt(source, {"path"}));
  std::string type(textAt(source, {"type"}));
  const std::vector<std::string> elements = elementsOf(path);
  if (!path.starts_with('/')) return Error{Reason::BadRequest, "hostPath " + podpass::quoted(path) + " must be an absolute path"};
  if (std::find(elements.begin(), elements.end(), "..") != elements.end())
    return Error{Reason::BadRequest, "hostPath " + podpass::quoted(path) + " must not contain '..'"};
  struct Check {
    std::string_view type;
    mode_t format;
    const char* noun;
  };
  constexpr Check kChecks[] = {{"Directory", S_IFDIR, "directory"},
                               {"File", S_IFREG, "file"},
                               {"Socket", S_IFSOCK, "socket file"},
                               {"CharDevice", S_IFCHR, "character device"},
                               {"BlockDevice", S_IFBLK, "block device"}};
  if (type.empty()) return {};
  struct stat found {};
  bool present = ::stat(path.c_str(), &found) == 0;
  if (type == "DirectoryOrCreate" || type == "FileOrCreate") {
    type.resize(type.size() - std::strlen("OrCreate"));
    if (!present)
      if (Result<void> made = madeForHostPath(path, type == "Directory"); !made) return made;
    present = present || ::stat(path.c_str(), &found) == 0;
  }
  for (const Check& check : kChecks) {
    if (check.type != type) continue;
    if (present && (found.st_mode & S_IFMT) == check.format) return {};
    return Error{Reason::BadRequest, "hostPath type check failed: " + path + " is not a " + check.noun};
  }
  return Error{Reason::BadRequest, type + " is an invalid volume type"};
}

// ---- mounts --------------------------------------------------------------------------------------------------------------------------

bool isMountedTmpfs(const fs::path& directory) {
  struct statfs filesystem {};
  struct stat own {
  }, parent{};
  return ::statfs(directory.c_str(), &filesystem) == 0 && filesystem.f_type == TMPFS_MAGIC && ::stat(directory.c_str(), &own) == 0 &&
         ::stat(directory.parent_path().c_str(), &parent) == 0 && own.st_dev != parent.st_dev;
}

Result<void> mountTmpfs(const fs::path& directory, std::int64_t sizeLimit) {
  std::string options = "mode=0777";
  if (sizeLimit > 0) options += ",size=" + std::to_string(sizeLimit);
  // noswap: what lies here must not reach a disk; kernels before 6.3 do not know the word
  for (const std::string& data : {options + ",noswap", options}) {
    if (::mount("tmpfs", directory.c_str(), "tmpfs", MS_NOSUID | MS_NODEV, data.c_str()) == 0) return {};
    if (errno != EINVAL) break;
  }
  Error failed = systemError("mount a tmpfs at", directory.string());
  if (failed.reason == Reason::Forbidden) {
    failed.sentence += "; secrets, tokens and memory volumes are kept off the disk, and mounting needs root";
    failed.fix = "run the node agent as root (CAP_SYS_ADMIN)";
  }
  return failed;
}

// ---- directories ---------------------------------------------------------------------------------------------------------------------

// The volume's own directory: for everybody, and with fsGroup for that group's new files too (spec §3.3).
Result<void> settle(const fs::path& directory, std::optional<gid_t> group) {
  const Descriptor opened = openDirectory(AT_FDCWD, directory.string());
  struct stat found {};
  if (!opened || ::fstat(opened.get(), &found) != 0) return systemError("open", directory.string());
  if (group && found.st_gid != *group && ::fchown(opened.get(), static_cast<uid_t>(-1), *group) != 0)
    log::warn("volume not given to the pod's group", {{"gid", std::to_string(*group)}, {"err", std::strerror(errno)}});
  const mode_t mode = group ? kVolumeMode | S_ISGID : kVolumeMode;
  if ((found.st_mode & 07777) != mode && ::fchmod(opened.get(), mode) != 0) return systemError("set the mode of", directory.string());
  return {};
}

// Directories for other volumes that are mounted inside this one: the runtime could not make them in a read-only volume (spec §1.8).
Result<void> makeMountPoints(const fs::path& directory, const json::object& pod, std::string_view volume) {
  const Descriptor root = openDirectory(AT_FDCWD, directory.string());
  if (!root) return systemError("open", directory.string());
  for (const std::string_view list : {"initContainers", "containers"}) {
    const json::array* containers = arrayAt(pod, {"spec", list});
    if (containers == nullptr) continue;
    for (const json::value& container : *containers) {
      const json::array* mounts = container.is_object() ? arrayAt(container.get_object(), {"volumeMounts"}) : nullptr;
      if (mounts == nullptr) continue;
      std::vector<std::string> mine, all;
      for (const json::value& mount : *mounts) {
        if (!mount.is_object()) continue;
        const std::string path = fs::path(textAt(mount.get_object(), {"mountPath"})).lexically_normal().string();
        all.push_back(path.ends_with('/') ? path.substr(0, path.size() - 1) : path);
        if (textAt(mount.get_object(), {"name"}) == volume && textAt(mount.get_object(), {"subPath"}).empty()) mine.push_back(all.back());
      }
      std::sort(all.begin(), all.end());
      for (const std::string& outer : mine) {
        std::string previous;
        for (const std::string& inner : all) {
          if (!inner.starts_with(outer + "/") || (!previous.empty() && inner.starts_with(previous + "/"))) continue;
          previous = inner;
          if (Result<Descriptor> made = makeBeneath(root.get(), inner.substr(outer.size() + 1), 0755); !made) return made.error();
        }
      }
    }
  }
  return {};
}

}  // namespace

struct Volumes::Parts {
  struct PodState {
    std::mutex busy;  // one sync, subPath or remove of a pod at a time
    std::map<std::string, LastGood> lastGood;
    // guarded by `mutex` of Parts, so that untilNextSync does not wait for the API
    SteadyTime next;
    int failures = 0;
  };

  Parts(api::Client& apiClient, const Clock& aClock, fs::path where, VolumesOptions some)
      : clock(aClock), root(std::move(where)), options(some), tokens(apiClient, aClock), projector(apiClient, tokens, some.allocatable) {}

  [[nodiscard]] fs::path podDirectory(std::string_view uid) const { return root / "pods" / uid; }
  [[nodiscard]] fs::path volumeDirectory(std::string_view uid, const json::object& volume) const {
    return podDirectory(uid) / "volumes" / pluginOf(volume) / nameOf(volume);
  }
  [[nodiscard]] std::shared_ptr<PodState> stateOf(const std::string& uid) {
    std::lock_guard lock(mutex);
    std::shared_ptr<PodState>& state = pods[uid];
    if (!state) state = std::make_shared<PodState>();
    return state;
  }

  Result<void> setUp(const json::object& pod, const json::object& volume, PodState& state) {
    if (!isPlainName(nameOf(volume)))
      return Error{Reason::BadRequest, "the volume name " + podpass::quoted(nameOf(volume)) + " is not a file name"};
    if (const json::object* source = objectAt(volume, {"hostPath"})) return checkHostPath(*source);
    const std::string_view uid = textAt(pod, {"metadata", "uid"});
    if (const json::object* source = objectAt(volume, {"emptyDir"})) return setUpEmptyDir(pod, volume, *source);
    if (!isProjection(volume))
      return Error{Reason::BadRequest, "no volume plugin matched", "use projected, secret, configMap, downwardAPI, emptyDir or hostPath"};

    // first all that may fail for want of an object, so that nothing on disk is touched then
    LastGood& lastGood = state.lastGood[std::string(nameOf(volume))];
    Projection projection = projector.collect(pod, volume, lastGood);
    if (projection.incomplete) return aggregate(projection.failures);
    const fs::path directory = volumeDirectory(uid, volume);
    const bool onDisk = volume.contains("configMap");  // nothing secret in it
    if (Result<void> made = makeDirectory(directory, !onDisk, 0); !made) return made;
    if (Result<void> settled = settle(directory, fsGroup(pod)); !settled) return settled;
    if (Result<void> made = makeMountPoints(directory, pod, nameOf(volume)); !made) return made;
    const Result<bool> written = AtomicWriter(directory, clock).write(projection.files, fsGroup(pod));
    if (!written) projection.failures.push_back(written.error());
    if (!projection.failures.empty()) return aggregate(projection.failures);
    return {};
  }

  // Made once: what the containers did to it since, its mode too, is theirs.
  Result<void> setUpEmptyDir(const json::object& pod, const json::object& volume, const json::object& source) {
    const std::string_view uid = textAt(pod, {"metadata", "uid"}), medium = textAt(source, {"medium"});
    if (!medium.empty() && medium != "Memory") return Error{Reason::BadRequest, "unsupported storage medium " + podpass::quoted(medium)};
    const bool memory = medium == "Memory";
    std::int64_t limit = 0;
    if (const json::value* text = source.if_contains("sizeLimit"); memory && text != nullptr && !text->is_null()) {
      Result<std::int64_t> size = quantityUnits(text->is_string() ? std::string(text->get_string()) : json::serialize(*text));
      if (!size) return Error{Reason::BadRequest, "sizeLimit: " + size.error().sentence};
      limit = *size;
    }
    const fs::path directory = volumeDirectory(uid, volume);
    const fs::path marker = podDirectory(uid) / "plugins" / "kubernetes.io~empty-dir" / nameOf(volume) / "ready";
    struct stat found {};
    const bool ready = ::lstat(marker.c_str(), &found) == 0 && ::lstat(directory.c_str(), &found) == 0 && S_ISDIR(found.st_mode);
    // after a reboot the marker is there and the memory is gone
    if (ready && (!memory || options.allowDisk || isMountedTmpfs(directory))) return {};
    if (Result<void> made = makeDirectory(directory, memory, limit); !made) return made;
    if (Result<void> settled = settle(directory, fsGroup(pod)); !settled) return settled;
    if (Result<void> made = makeDirectories(marker.parent_path(), 0750); !made) return made;
    return writeFileAtomically(marker, "", 0600);
  }

  Result<void> makeDirectory(const fs::path& directory, bool memory, std::int64_t sizeLimit) {
    if (Result<void> made = makeDirectories(directory.parent_path(), 0750); !made) return made;
    if (::mkdir(directory.c_str(), 0750) != 0 && errno != EEXIST) return systemError("make the directory", directory.string());
    if (!memory || isMountedTmpfs(directory)) return {};
    Result<void> mounted = mountTmpfs(directory, sizeLimit);
    if (!mounted && options.allowDisk && mounted.error().reason == Reason::Forbidden) return {};
    return mounted;
  }

  void plan(PodState& state, bool failed) {
    const milliseconds pause = failed ? std::min(kFirstRetry * (1 << std::min(state.failures, 8)), kLongestRound)
                                      : kShortestRound + randomUpTo(kLongestRound - kShortestRound);
    std::lock_guard lock(mutex);
    state.failures = failed ? state.failures + 1 : 0;
    state.next = clock.steady() + pause;
  }

  // Binds what was opened to a place that only root can change; the path of that place.
  Result<fs::path> pin(const Descriptor& opened, std::string_view uid, const std::string& volume, const std::string& path) {
    const std::string source = "/proc/self/fd/" + std::to_string(opened.get());
    const fs::path target = podDirectory(uid) / "volume-subpaths" / volume / hexLower(sha256(path)).substr(0, 16);
    struct stat wanted {
    }, there{};
    if (::fstat(opened.get(), &wanted) != 0) return systemError("look at", path);
    const auto same = [&] {
      return ::lstat(target.c_str(), &there) == 0 && there.st_dev == wanted.st_dev && there.st_ino == wanted.st_ino;
    };
    if (same()) return target;
    if (Result<void> made = makeDirectories(target.parent_path(), 0750); !made) return made.error();
    if (Result<void> freed = unpin(target); !freed) return freed.error();
    if (S_ISDIR(wanted.st_mode)) {
      if (::mkdir(target.c_str(), 0750) != 0) return systemError("make the directory", target.string());
    } else if (!Descriptor(::open(target.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0640))) {
      return systemError("create", target.string());
    }
    if (::mount(source.c_str(), target.c_str(), nullptr, MS_BIND, nullptr) == 0) return target;
    if (errno != EPERM || !options.allowDisk) return systemError("bind", target.string());
    std::error_code failed;
    fs::path resolved = fs::read_symlink(source, failed);
    if (failed) return Error{Reason::Unavailable, "cannot resolve subPath " + podpass::quoted(path) + ": " + failed.message()};
    return resolved;
  }
  // Unmounts what earlier containers were given there (theirs stays mounted) and removes the place.
  static Result<void> unpin(const fs::path& target) {
    Result<std::vector<std::string>> mounts = mountsBelow(target.parent_path());
    if (!mounts) return mounts.error();
    for (const std::string& mounted : *mounts)
      if (mounted == target)
        if (Result<void> gone = unmount(mounted); !gone) return gone;
    // rmdir and unlink refuse mount points and full directories
    if (::unlink(target.c_str()) != 0 && errno != ENOENT && ::rmdir(target.c_str()) != 0) return systemError("remove", target.string());
    return {};
  }

  const Clock& clock;
  fs::path root;
  VolumesOptions options;
  TokenSource tokens;
  Projector projector;
  std::mutex mutex;
  std::map<std::string, std::shared_ptr<PodState>> pods;
};

Volumes::Volumes(api::Client& client, const Clock& clock, fs::path root, VolumesOptions options) {
  std::error_code ignored;
  fs::path plain = fs::weakly_canonical(fs::absolute(root, ignored), ignored);  // as /proc/self/mountinfo spells it
  parts_ = std::make_unique<Parts>(client, clock, plain.empty() ? std::move(root) : std::move(plain), options);
}

Volumes::~Volumes() = default;

Result<void> Volumes::sync(const json::object& pod) {
  const std::string uid(textAt(pod, {"metadata", "uid"}));
  if (!isPlainName(uid)) return Error{Reason::BadRequest, "the pod's uid " + podpass::quoted(uid) + " is not a file name"};
  const std::shared_ptr<Parts::PodState> state = parts_->stateOf(uid);
  std::lock_guard turn(state->busy);
  std::vector<Error> failures;
  if (const json::array* volumes = arrayAt(pod, {"spec", "volumes"})) {
    for (const json::value& volume : *volumes) {
      if (!volume.is_object()) continue;
      Result<void> done = parts_->setUp(pod, volume.get_object(), *state);
      if (done) continue;
      Error failed = done.error();
      failed.sentence = "MountVolume.SetUp failed for volume \"" + std::string(nameOf(volume.get_object())) + "\" : " + failed.sentence;
      failures.push_back(std::move(failed));
    }
  }
  parts_->plan(*state, !failures.empty());
  if (failures.empty()) return {};
  Error first = failures.front();
  for (std::size_t i = 1; i < failures.size(); ++i) first.sentence += "; " + failures[i].sentence;
  return first;
}

milliseconds Volumes::untilNextSync(const std::string& podUid) const {
  milliseconds wait = kLongestRound;
  {
    std::lock_guard lock(parts_->mutex);
    const auto found = parts_->pods.find(podUid);
    if (found == parts_->pods.end()) return wait;
    wait = std::min(wait, std::chrono::ceil<milliseconds>(found->second->next - parts_->clock.steady()));
  }
  wait = std::min(wait, parts_->tokens.untilRefresh(podUid).value_or(wait));
  return std::max(wait, milliseconds(0));
}

Result<fs::path> Volumes::hostPath(const json::object& pod, const std::string& volume) const {
  const json::object* found = volumeNamed(pod, volume);
  if (found == nullptr) return Error{Reason::NotFound, "the pod has no volume " + podpass::quoted(volume)};
  if (const json::object* source = objectAt(*found, {"hostPath"})) return fs::path(textAt(*source, {"path"}));
  const std::string_view uid = textAt(pod, {"metadata", "uid"});
  if (!isPlainName(uid) || !isPlainName(volume) || pluginOf(*found).empty())
    return Error{Reason::BadRequest, "volume " + podpass::quoted(volume) + " cannot be mounted"};
  fs::path directory = parts_->volumeDirectory(uid, *found);
  if (!openDirectory(AT_FDCWD, directory.string())) return Error{Reason::NotFound, "volume " + podpass::quoted(volume) + " is not set up"};
  return directory;
}

Result<fs::path> Volumes::subPath(const json::object& pod, const std::string& volume, const std::string& path) const {
  Result<fs::path> base = hostPath(pod, volume);
  if (!base || path.empty()) return base;
  const std::string where = "subPath " + podpass::quoted(path) + " of volume " + podpass::quoted(volume);
  const std::vector<std::string> elements = elementsOf(path);
  if (path.starts_with('/')) return Error{Reason::BadRequest, where + " must be a relative path"};
  if (path.find('\0') != std::string::npos) return Error{Reason::BadRequest, where + " must not contain a NUL character"};
  if (std::find(elements.begin(), elements.end(), "..") != elements.end())
    return Error{Reason::BadRequest, where + " must not contain '..'"};
  if (elements.empty()) return base;
  std::string plain;
  for (const std::string& element : elements) plain += plain.empty() ? element : "/" + element;

  const std::string uid(textAt(pod, {"metadata", "uid"}));
  if (!isPlainName(uid) || !isPlainName(volume)) return Error{Reason::BadRequest, where + " cannot be mounted"};
  const std::shared_ptr<Parts::PodState> state = parts_->stateOf(uid);
  std::lock_guard turn(state->busy);
  const Descriptor root(::open(base->c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  struct stat found {};
  if (!root || ::fstat(root.get(), &found) != 0) return systemError("open", base->string());
  Result<Descriptor> opened = openBeneath(root.get(), plain);
  // in the volumes that we write a missing path is a typo; an empty directory in its place would hide it
  const bool theirs = !isProjection(*volumeNamed(pod, volume));
  if (!opened && opened.error().reason == Reason::NotFound && theirs) opened = makeBeneath(root.get(), plain, found.st_mode & 07777);
  if (!opened) {
    const bool missing = opened.error().reason == Reason::NotFound;
    return Error{opened.error().reason, where + (missing ? " does not exist" : ": " + opened.error().sentence), opened.error().fix};
  }
  return parts_->pin(*opened, uid, volume, plain);
}

std::vector<std::string> Volumes::objects(const json::object& pod) { return projectedObjects(pod); }

Result<void> Volumes::remove(const std::string& podUid) {
  if (!isPlainName(podUid)) return Error{Reason::BadRequest, "the pod's uid " + podpass::quoted(podUid) + " is not a file name"};
  const std::shared_ptr<Parts::PodState> state = parts_->stateOf(podUid);
  std::lock_guard turn(state->busy);
  parts_->tokens.forget(podUid);
  state->lastGood.clear();
  const Descriptor pods = openDirectory(AT_FDCWD, (parts_->root / "pods").string());
  if (!pods) {
    if (errno == ENOENT) return {};
    return systemError("open", (parts_->root / "pods").string());
  }
  if (Result<void> unmounted = unmountBelow(parts_->podDirectory(podUid)); !unmounted) return unmounted;
  if (Result<void> removed = removeTree(pods.get(), podUid); !removed) return removed;
  // last, so that a sync that came meanwhile waited for us
  std::lock_guard lock(parts_->mutex);
  parts_->pods.erase(podUid);
  return {};
}

Result<void> Volumes::unmountAll() { return unmountBelow(parts_->root / "pods"); }

std::vector<std::string> Volumes::known() const {
  const Descriptor pods = openDirectory(AT_FDCWD, (parts_->root / "pods").string());
  if (!pods) return {};
  Result<std::vector<std::string>> names = namesIn(pods.get());
  if (!names) return {};
  std::erase_if(*names, [&](const std::string& name) { return !openDirectory(pods.get(), name); });
  return *names;
}

}  // namespace podpass::node
