#include "node/beneath.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <memory>

namespace podpass::node {
namespace {

constexpr int kDeepest = 256;  // of a tree that a container may have built; deeper ones would exhaust descriptors

int resolveBeneath(int root, const std::string& path) {
  open_how how{};
  how.flags = O_PATH | O_CLOEXEC;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
  for (int attempt = 0; attempt < 64; ++attempt) {
    const long opened = ::syscall(SYS_openat2, root, path.c_str(), &how, sizeof how);
    // EAGAIN: something was renamed while the kernel looked, so it could not tell that the walk stayed below
    if (opened >= 0 || (errno != EAGAIN && errno != EINTR)) return static_cast<int>(opened);
  }
  return -1;
}

Error escaped(const std::string& path, int number) {
  if (number == EXDEV || number == ELOOP)
    return Error{Reason::Forbidden, "the path " + path + " leads out of the volume", "symbolic links in it must stay inside the volume"};
  if (number == ENOSYS)
    return Error{Reason::Unavailable, "cannot open " + path + " safely: this kernel has no openat2", "run on Linux 5.6 or newer"};
  return systemError("open", path, number);
}

Result<void> removeContents(int directory, dev_t device, int depth) {
  if (depth > kDeepest) return Error{Reason::Unavailable, "a directory tree is deeper than " + std::to_string(kDeepest)};
  const Result<std::vector<std::string>> names = namesIn(directory);
  if (!names) return names.error();
  for (const std::string& name : *names) {
    if (::unlinkat(directory, name.c_str(), 0) == 0 || errno == ENOENT) continue;
    if (errno != EISDIR && errno != EPERM) return systemError("remove", name);
    const Descriptor child = openDirectory(directory, name);
    struct stat found {};
    if (!child || ::fstat(child.get(), &found) != 0) return systemError("remove", name);
    if (found.st_dev != device) return Error{Reason::Unavailable, "cannot remove " + name + ": something is mounted on it"};
    if (Result<void> emptied = removeContents(child.get(), device, depth + 1); !emptied) return emptied;
    if (::unlinkat(directory, name.c_str(), AT_REMOVEDIR) != 0 && errno != ENOENT) return systemError("remove", name);
  }
  return {};
}

}  // namespace

Descriptor::~Descriptor() {
  if (number_ >= 0) ::close(number_);
}

Error systemError(std::string_view what, std::string_view path, int number) {
  const Reason reason = number == ENOENT ? Reason::NotFound : number == EACCES || number == EPERM ? Reason::Forbidden : Reason::Unavailable;
  return Error{reason, "cannot " + std::string(what) + " " + std::string(path) + ": " + std::strerror(number)};
}

Descriptor openDirectory(int parent, const std::string& name) {
  return Descriptor(::openat(parent, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
}

Result<std::vector<std::string>> namesIn(int directory) {
  const int again = ::openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);  // a read position of its own
  DIR* stream = again >= 0 ? ::fdopendir(again) : nullptr;
  if (stream == nullptr) {
    const Error failed = systemError("list", "a directory");
    if (again >= 0) ::close(again);
    return failed;
  }
  const std::unique_ptr<DIR, int (*)(DIR*)> closing(stream, ::closedir);
  std::vector<std::string> names;
  while (const dirent* entry = ::readdir(stream)) {
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

Result<void> removeTree(int parent, const std::string& name) {
  if (::unlinkat(parent, name.c_str(), 0) == 0 || errno == ENOENT) return {};
  const Descriptor directory = openDirectory(parent, name);
  struct stat found {};
  if (!directory || ::fstat(directory.get(), &found) != 0) return systemError("remove", name);
  if (Result<void> emptied = removeContents(directory.get(), found.st_dev, 0); !emptied) return emptied;
  if (::unlinkat(parent, name.c_str(), AT_REMOVEDIR) != 0 && errno != ENOENT) return systemError("remove", name);
  return {};
}

Result<Descriptor> openBeneath(int root, const std::string& path) {
  Descriptor opened(resolveBeneath(root, path));
  if (!opened) return escaped(path, errno);
  return opened;
}

Result<Descriptor> makeBeneath(int root, const std::string& path, mode_t mode) {
  std::string soFar;
  Descriptor here(::openat(root, ".", O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!here) return systemError("open", path);
  for (const std::string& element : elementsOf(path)) {
    if (element == "..") return Error{Reason::Forbidden, "the path " + path + " must not contain '..'"};
    soFar += soFar.empty() ? element : "/" + element;
    Descriptor next(resolveBeneath(root, soFar));
    if (!next && errno != ENOENT) return escaped(soFar, errno);
    if (!next) {
      if (::mkdirat(here.get(), element.c_str(), 0700) != 0) return systemError("make the directory", soFar);
      next = openDirectory(here.get(), element);
      if (!next || ::fchmod(next.get(), mode) != 0) return systemError("make the directory", soFar);
    }
    here = std::move(next);
  }
  return here;
}

std::vector<std::string> elementsOf(std::string_view path) {
  std::vector<std::string> elements;
  while (!path.empty()) {
    const std::size_t slash = std::min(path.find('/'), path.size());
    if (slash > 0 && path.substr(0, slash) != ".") elements.emplace_back(path.substr(0, slash));
    path.remove_prefix(std::min(slash + 1, path.size()));
  }
  return elements;
}

bool isPlainName(std::string_view name) {
  return !name.empty() && name.size() <= 255 && name != "." && name != ".." && name.find('/') == std::string_view::npos &&
         name.find('\0') == std::string_view::npos;
}

}  // namespace podpass::node
