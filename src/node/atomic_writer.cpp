#include "node/atomic_writer.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <ctime>
#include <set>

#include "base/log.h"
#include "base/text.h"
#include "node/beneath.h"

namespace podpass::node {
namespace {

constexpr const char* kData = "..data";
constexpr const char* kNextData = "..data_tmp";
constexpr const char* kNextLink = "..link_tmp";
constexpr std::size_t kLongestPath = 4096;
constexpr std::size_t kLongestName = 255;

Error invalidPath(const std::string& problem) { return Error{Reason::BadRequest, "invalid path: " + problem}; }

bool isGenerationName(std::string_view name) {  // "..2024_05_01_10_20_30.123456789"
  return name.size() > 7 && name.starts_with("..20") && name.find_first_not_of("0123456789_.", 2) == std::string_view::npos;
}

std::string generationName(WallTime now) {
  const std::time_t seconds = std::chrono::system_clock::to_time_t(now);
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  char stamp[32];
  std::strftime(stamp, sizeof stamp, "..%Y_%m_%d_%H_%M_%S.", &parts);
  const std::string random = randomBytes(4);
  std::uint32_t number = 0;
  std::memcpy(&number, random.data(), sizeof number);
  return stamp + std::to_string(number);
}

std::string linkTarget(int directory, const char* name) {  // "" when it is no link
  char target[kLongestPath];
  const ssize_t length = ::readlinkat(directory, name, target, sizeof target);
  return length > 0 ? std::string(target, static_cast<std::size_t>(length)) : std::string();
}

bool holds(int file, std::string_view expected) {
  struct stat found {};
  if (::fstat(file, &found) != 0 || !S_ISREG(found.st_mode) || found.st_size != static_cast<off_t>(expected.size())) return false;
  char buffer[16384];
  for (;;) {
    const ssize_t got = ::read(file, buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return false;
    if (got == 0) return expected.empty();
    const std::string_view part(buffer, static_cast<std::size_t>(got));
    if (!expected.starts_with(part)) return false;
    expected.remove_prefix(part.size());
  }
}

// Whether the generation has exactly these files; `matched` counts those that agree.
bool agrees(int directory, const std::string& prefix, const Payload& payload, std::size_t& matched) {
  const Result<std::vector<std::string>> names = namesIn(directory);
  if (!names) return false;
  for (const std::string& name : *names) {
    const std::string path = prefix + name;
    if (const Descriptor child = openDirectory(directory, name)) {
      if (!agrees(child.get(), path + "/", payload, matched)) return false;
      continue;
    }
    const auto wanted = payload.find(path);
    if (wanted == payload.end()) return false;
    const Descriptor file(::openat(directory, name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
    if (!file || !holds(file.get(), wanted->second.bytes.reveal())) return false;
    ++matched;
  }
  return true;
}

// fsGroup on read-only volumes: readable and, for directories, searchable for the group (spec §3.3). Upstream logs what fails and goes on.
void giveToGroup(int file, mode_t mode, mode_t groupBits, gid_t group) {
  if (::fchown(file, static_cast<uid_t>(-1), group) != 0 || ::fchmod(file, mode | groupBits) != 0)
    log::warn("volume file not given to the pod's group", {{"gid", std::to_string(group)}, {"err", std::strerror(errno)}});
}

// One generation while it is being written.
class Generation {
 public:
  Generation(const Descriptor& volume, std::optional<gid_t> fsGroup) : volume_(volume), fsGroup_(fsGroup) {}

  Result<void> make(const Clock& clock) {
    for (int attempt = 0; attempt < 100; ++attempt) {
      name_ = generationName(clock.now());
      if (::mkdirat(volume_.get(), name_.c_str(), 0700) == 0) break;
      if (errno != EEXIST) return systemError("make the directory", name_);
    }
    root_ = openDirectory(volume_.get(), name_);
    if (!root_) return systemError("open", name_);
    return settleDirectory(root_.get());
  }
  Result<void> add(const std::string& path, const PayloadFile& file) {
    std::vector<std::string> elements = elementsOf(path);
    const std::string leaf = std::move(elements.back());
    elements.pop_back();
    Descriptor here = openDirectory(root_.get(), ".");
    for (const std::string& element : elements) {
      const bool made = ::mkdirat(here.get(), element.c_str(), 0700) == 0;
      if (!made && errno != EEXIST) return systemError("make a directory for", path);
      Descriptor next = openDirectory(here.get(), element);
      if (!next) return systemError("make a directory for", path);
      if (made)
        if (Result<void> settled = settleDirectory(next.get()); !settled) return settled;
      here = std::move(next);
    }
    return writeLeaf(here.get(), leaf, path, file);
  }
  [[nodiscard]] const std::string& name() const { return name_; }

 private:
  Result<void> settleDirectory(int directory) const {
    if (::fchmod(directory, 0755) != 0) return systemError("set the mode of", name_);
    if (fsGroup_) giveToGroup(directory, 0755, 0550 | S_ISGID, *fsGroup_);
    return {};
  }
  Result<void> writeLeaf(int directory, const std::string& leaf, const std::string& path, const PayloadFile& file) const {
    // private until its owner and mode are right; a name that is already there is a directory with the same path
    const Descriptor out(::openat(directory, leaf.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (!out) return systemError("create", path);
    std::string_view bytes = file.bytes.reveal();
    while (!bytes.empty()) {
      const ssize_t written = ::write(out.get(), bytes.data(), bytes.size());
      if (written < 0 && errno == EINTR) continue;
      if (written <= 0) return systemError("write", path);
      bytes.remove_prefix(static_cast<std::size_t>(written));
    }
    if (file.owner && ::fchown(out.get(), *file.owner, static_cast<gid_t>(-1)) != 0) return systemError("set the owner of", path);
    if (::fchmod(out.get(), file.mode) != 0) return systemError("set the mode of", path);
    if (fsGroup_) giveToGroup(out.get(), file.mode, 0440, *fsGroup_);
    return {};
  }

  const Descriptor& volume_;
  std::optional<gid_t> fsGroup_;
  std::string name_;
  Descriptor root_;
};

std::set<std::string> topLevel(const Payload& payload) {
  std::set<std::string> names;
  for (const auto& [path, file] : payload) names.insert(path.substr(0, path.find('/')));
  return names;
}

// Makes the visible names say what ..data holds; also mends what a kill after the flip left.
Result<void> linkVisible(int volume, const std::set<std::string>& names) {
  for (const std::string& name : names) {
    const std::string target = std::string(kData) + "/" + name;
    struct stat found {};
    if (::fstatat(volume, name.c_str(), &found, AT_SYMLINK_NOFOLLOW) == 0) {
      if (!S_ISLNK(found.st_mode)) continue;  // the mount point of a nested volume
      if (linkTarget(volume, name.c_str()) == target) continue;
    }
    ::unlinkat(volume, kNextLink, 0);
    if (::symlinkat(target.c_str(), volume, kNextLink) != 0 || ::renameat(volume, kNextLink, volume, name.c_str()) != 0)
      return systemError("link", name);
  }
  const Result<std::vector<std::string>> present = namesIn(volume);
  if (!present) return present.error();
  for (const std::string& name : *present)
    if (!names.contains(name) && linkTarget(volume, name.c_str()) == std::string(kData) + "/" + name) ::unlinkat(volume, name.c_str(), 0);
  return {};
}

// Generations that nobody points to, and half-made links: what a kill before the flip left.
void sweep(int volume, const std::string& current) {
  const Result<std::vector<std::string>> names = namesIn(volume);
  if (!names) return;
  for (const std::string& name : *names) {
    const bool debris = (isGenerationName(name) && name != current) || name == kNextData || name == kNextLink;
    if (!debris) continue;
    if (Result<void> removed = removeTree(volume, name); !removed)
      log::warn("volume debris not removed", {{"err", removed.error().sentence}});
  }
}

Result<Payload> cleaned(const Payload& payload) {
  Payload clean;
  for (const auto& [path, file] : payload) {
    Result<std::string> plain = cleanPayloadPath(path);
    if (!plain) return plain.error();
    clean.insert_or_assign(*std::move(plain), file);
  }
  return clean;
}

Result<void> fill(Generation& generation, const Payload& payload, const Clock& clock) {
  if (Result<void> made = generation.make(clock); !made) return made;
  for (const auto& [path, file] : payload)
    if (Result<void> added = generation.add(path, file); !added) return added;
  return {};
}

Result<void> publish(int volume, const std::string& generation) {
  if (::symlinkat(generation.c_str(), volume, kNextData) != 0) return systemError("link", kNextData);
  if (::renameat(volume, kNextData, volume, kData) != 0) return systemError("publish", generation);
  return {};
}

}  // namespace

Result<std::string> cleanPayloadPath(std::string_view path) {
  const std::string shown(path.substr(0, 256));
  if (path.empty()) return invalidPath("must not be empty: \"\"");
  if (path.front() == '/') return invalidPath("must be relative path: " + shown);
  if (path.size() > kLongestPath) return invalidPath("must be less than or equal to 4096 characters");
  if (path.find('\0') != std::string_view::npos) return invalidPath("must not contain a NUL character");
  const std::vector<std::string> elements = elementsOf(path);
  for (const std::string& element : elements) {
    if (element == "..") return invalidPath("must not contain '..': " + shown);
    if (element.size() > kLongestName) return invalidPath("filenames must be less than or equal to 255 characters");
  }
  if (elements.empty()) return invalidPath("must name a file: " + shown);
  if (elements.front().starts_with("..")) return invalidPath("must not start with '..': " + shown);
  std::string clean;
  for (const std::string& element : elements) clean += clean.empty() ? element : "/" + element;
  return clean;
}

AtomicWriter::AtomicWriter(std::filesystem::path directory, const Clock& clock) : directory_(std::move(directory)), clock_(clock) {}

Result<bool> AtomicWriter::write(const Payload& payload, std::optional<gid_t> fsGroup) const {
  const Result<Payload> clean = cleaned(payload);
  if (!clean) return clean.error();
  const Descriptor volume = openDirectory(AT_FDCWD, directory_.string());
  if (!volume) return systemError("open", directory_.string());

  const std::string current = linkTarget(volume.get(), kData);
  sweep(volume.get(), current);
  // a link that does not name a generation was not made here: as good as none
  const Descriptor old = isGenerationName(current) ? openDirectory(volume.get(), current) : Descriptor();
  std::size_t matched = 0;
  if (old && agrees(old.get(), "", *clean, matched) && matched == clean->size()) {
    if (Result<void> linked = linkVisible(volume.get(), topLevel(*clean)); !linked) return linked.error();
    return false;
  }

  Generation next(volume, fsGroup);
  Result<void> done = fill(next, *clean, clock_);
  if (done) done = publish(volume.get(), next.name());
  if (!done) {
    sweep(volume.get(), current);
    return done.error();
  }
  Result<void> linked = linkVisible(volume.get(), topLevel(*clean));
  sweep(volume.get(), next.name());
  if (!linked) return linked.error();
  return true;
}

}  // namespace podpass::node
