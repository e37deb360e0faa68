#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace podpass::token {

// An append-only file (0600) of frames: a length, a CRC-32 and the bytes. What was half written when the process or the machine died is
// cut off when it is opened; what was damaged elsewhere is skipped and counted. For one thread.
class InventoryFile {
 public:
  static constexpr std::size_t kMostFrame = 64u << 10;  // bytes in a frame

  struct Found {
    std::size_t frames = 0, damagedBytes = 0;  // damaged: not those of a frame that was cut short at the end
  };
  InventoryFile() = default;
  ~InventoryFile();
  InventoryFile(const InventoryFile&) = delete;
  InventoryFile& operator=(const InventoryFile&) = delete;

  // Opens it, or makes it, and shows each frame in order. Unavailable or Forbidden: it cannot be read or written.
  Result<Found> open(std::filesystem::path path, const std::function<void(std::string_view bytes)>& each);
  static void frame(std::string_view bytes, std::string& out);
  // All of `frames` or none: when the disk is full the file is as it was before.
  Result<void> append(std::string_view frames);
  Result<void> sync();  // what was appended survives a power failure
  // Replaces the file by what `next` puts into its argument, call by call, until it says false. When it fails the file is as it was.
  Result<void> rewrite(const std::function<bool(std::string& frames)>& next);
  [[nodiscard]] std::size_t size() const { return size_; }

 private:
  std::filesystem::path path_;
  int file_ = -1;
  std::size_t size_ = 0;
};

}  // namespace podpass::token
