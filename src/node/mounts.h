#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/result.h"

// The mount table of this process, as /proc/self/mountinfo shows it: paths must be canonical.
namespace podpass::node {

// The mount points below a directory, the newest first.
Result<std::vector<std::string>> mountsBelow(const std::filesystem::path& directory);
// What is no mount point is fine; what is busy is detached.
Result<void> unmount(const std::string& path);
// Everything below a directory. Unavailable: something is still mounted, and deleting through it would delete what is mounted.
Result<void> unmountBelow(const std::filesystem::path& directory);

}  // namespace podpass::node
