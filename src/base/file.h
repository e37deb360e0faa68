#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "base/result.h"

namespace podpass {

// The whole file. NotFound when there is none; BadRequest when it is larger than `limit` bytes.
Result<std::string> readFile(const std::filesystem::path& path, std::size_t limit = 16u << 20);

// Replaces `path` atomically: a temporary sibling created with `mode` by open(), written, fsynced, renamed, directory fsynced.
Result<void> writeFileAtomically(const std::filesystem::path& path, std::string_view bytes, unsigned mode = 0600);

// All of it, at the open file's position, however often the kernel takes a part or is interrupted. False: errno says why.
bool writeAll(int file, std::string_view bytes);

// mkdir -p with `mode` for the directories that are made.
Result<void> makeDirectories(const std::filesystem::path& path, unsigned mode = 0700);

}  // namespace podpass
