#pragma once

#include <sys/types.h>

#include <cerrno>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

// File operations below an open directory that no symbolic link, planted by a container or left over, can lead elsewhere.
namespace podpass::node {

// Owns a file descriptor; closes it on every way out.
class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int number) : number_(number) {}
  Descriptor(Descriptor&& other) noexcept : number_(other.number_) { other.number_ = -1; }
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(number_, other.number_);
    return *this;
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor();
  explicit operator bool() const { return number_ >= 0; }
  [[nodiscard]] int get() const { return number_; }

 private:
  int number_ = -1;
};

// "cannot <what> <path>: <strerror>", with the reason that fits `number`.
Error systemError(std::string_view what, std::string_view path, int number = errno);

// A directory that is no symbolic link itself; `parent` may be AT_FDCWD. Empty with errno set when it cannot be opened.
Descriptor openDirectory(int parent, const std::string& name);
// The names in a directory, without "." and "..", sorted.
Result<std::vector<std::string>> namesIn(int directory);
// Removes `name` below `parent` with everything in it; never follows links and never crosses into another filesystem. Missing is fine.
Result<void> removeTree(int parent, const std::string& name);
// Opens `path` (relative) below `root`, O_PATH. Links are followed as long as they stay below root (openat2 RESOLVE_BENEATH);
// Forbidden when one leads out, NotFound when there is nothing.
Result<Descriptor> openBeneath(int root, const std::string& path);
// As openBeneath, but makes the missing directories with exactly `mode`.
Result<Descriptor> makeBeneath(int root, const std::string& path, mode_t mode);
// The parts of a path between its slashes, empty parts and "." left out.
std::vector<std::string> elementsOf(std::string_view path);
// One plain file name: not empty, no slash, no NUL, neither "." nor "..".
bool isPlainName(std::string_view name);

}  // namespace podpass::node
