#include "node/log_rotation.h"

#include <zlib.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <vector>

#include "base/text.h"

namespace podpass::node {

namespace fs = std::filesystem;

namespace {

std::string stamp(WallTime now) {  // 20240501-102030
  std::string text = rfc3339(now).substr(0, 19);
  std::erase_if(text, [](char c) { return c == '-' || c == ':'; });
  std::replace(text.begin(), text.end(), 'T', '-');
  return text;
}

// The rotated files of a log, the oldest first; a compression that was cut short is removed.
std::vector<fs::path> rotated(const fs::path& log) {
  std::vector<fs::path> found;
  std::error_code failed;
  const std::string prefix = log.filename().string() + ".";
  for (const fs::directory_entry& entry : fs::directory_iterator(log.parent_path(), failed)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with(prefix)) continue;
    if (name.ends_with(".tmp"))
      fs::remove(entry.path(), failed);
    else
      found.push_back(entry.path());
  }
  std::sort(found.begin(), found.end());
  return found;
}

Result<void> compress(const fs::path& path) {
  const fs::path finished = path.string() + ".gz", unfinished = finished.string() + ".tmp";
  std::ifstream from(path, std::ios::binary);
  gzFile to = ::gzopen(unfinished.c_str(), "wb");
  if (!from || to == nullptr) return Error{Reason::Internal, "cannot compress " + path.string()};
  std::array<char, 65536> block{};
  bool good = true;
  while (good && from.read(block.data(), block.size()).gcount() > 0)
    good = ::gzwrite(to, block.data(), static_cast<unsigned>(from.gcount())) == from.gcount();
  good = ::gzclose(to) == Z_OK && good && !from.bad();
  std::error_code failed;
  if (good) fs::rename(unfinished, finished, failed);
  if (!good || failed) {
    fs::remove(unfinished, failed);
    return Error{Reason::Internal, "cannot write " + finished.string()};
  }
  fs::remove(path, failed);
  return {};
}

}  // namespace

Result<bool> rotateLog(const fs::path& log, const RotationLimits& limits, WallTime now, const std::function<Result<void>()>& reopen) {
  std::error_code failed;
  const std::uintmax_t size = fs::file_size(log, failed);
  if (failed || size <= limits.bytes) return false;
  std::vector<fs::path> old = rotated(log);
  const std::size_t kept = limits.files > 2 ? limits.files - 2 : 0;  // beside the new one and the one that becomes old now
  for (std::size_t at = 0; at < old.size(); ++at) {
    if (old.size() - at > kept)
      fs::remove(old[at], failed);
    else if (old[at].extension() != ".gz")
      if (Result<void> done = compress(old[at]); !done) return done.error();
  }
  const fs::path aside = log.string() + "." + stamp(now);
  fs::rename(log, aside, failed);
  if (failed) return Error{Reason::Internal, "cannot rename " + log.string() + ": " + failed.message()};
  if (Result<void> reopened = reopen(); !reopened) {
    fs::rename(aside, log, failed);
    return reopened.error();
  }
  return true;
}

}  // namespace podpass::node
