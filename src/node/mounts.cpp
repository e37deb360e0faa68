#include "node/mounts.h"

#include <sys/mount.h>

#include <algorithm>
#include <cerrno>

#include "base/file.h"
#include "node/beneath.h"

namespace podpass::node {

namespace fs = std::filesystem;

namespace {

std::string unescapedMountPath(std::string_view text) {  // "\040" is a blank
  std::string path;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size()) {
      path += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0'));
      i += 3;
    } else {
      path += text[i];
    }
  }
  return path;
}

}  // namespace

Result<std::vector<std::string>> mountsBelow(const fs::path& directory) {
  Result<std::string> table = readFile("/proc/self/mountinfo");
  if (!table) return table.error();
  const std::string prefix = directory.string() + "/";
  std::vector<std::string> found;
  for (std::size_t at = 0; at < table->size();) {
    const std::size_t end = std::min(table->find('\n', at), table->size());
    std::string_view line(table->data() + at, end - at);
    for (int field = 0; field < 4; ++field) line.remove_prefix(std::min(line.find(' '), line.size() - 1) + 1);
    const std::string path = unescapedMountPath(line.substr(0, line.find(' ')));
    if (path.starts_with(prefix)) found.push_back(path);
    at = end + 1;
  }
  std::reverse(found.begin(), found.end());
  return found;
}

Result<void> unmount(const std::string& path) {
  if (::umount2(path.c_str(), UMOUNT_NOFOLLOW) == 0 || errno == EINVAL || errno == ENOENT) return {};
  if (errno == EBUSY && ::umount2(path.c_str(), UMOUNT_NOFOLLOW | MNT_DETACH) == 0) return {};
  return systemError("unmount", path);
}

Result<void> unmountBelow(const fs::path& directory) {
  Result<std::vector<std::string>> mounts = mountsBelow(directory);
  if (!mounts) return mounts.error();
  for (const std::string& path : *mounts)
    if (Result<void> gone = unmount(path); !gone) return gone;
  mounts = mountsBelow(directory);
  if (!mounts) return mounts.error();
  if (!mounts->empty()) return Error{Reason::Unavailable, mounts->front() + " is still mounted"};
  return {};
}

}  // namespace podpass::node
