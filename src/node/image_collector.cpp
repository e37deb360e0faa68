#include "node/image_collector.h"

#include <sys/statvfs.h>

#include <algorithm>

namespace podpass::node {

std::vector<std::string> ImageCollector::choose(const std::vector<StoredImage>& images, const std::set<std::string>& used,
                                                const DiskUse& disk) {
  const SteadyTime now = clock_.steady();
  std::map<std::string, Seen> seen;
  std::vector<const StoredImage*> unused;
  for (const StoredImage& image : images) {
    const auto before = seen_.find(image.id);
    Seen& times = seen[image.id] = before == seen_.end() ? Seen{now, now} : before->second;
    if (used.contains(image.id))
      times.used = now;
    else if (!image.pinned && now - times.first >= limits_.youngest)
      unused.push_back(&image);
  }
  seen_ = std::move(seen);
  if (disk.capacity == 0 || (disk.capacity - disk.available) * 100 < disk.capacity * limits_.high) return {};
  std::sort(unused.begin(), unused.end(), [this](const StoredImage* a, const StoredImage* b) {
    return std::pair(seen_[a->id].used, seen_[a->id].first) < std::pair(seen_[b->id].used, seen_[b->id].first);
  });
  std::vector<std::string> chosen;
  std::uint64_t available = disk.available;
  for (const StoredImage* image : unused) {
    if ((disk.capacity - std::min(available, disk.capacity)) * 100 <= disk.capacity * limits_.low) break;
    chosen.push_back(image->id);
    available += image->bytes;
  }
  return chosen;
}

DiskUse diskUse(const std::filesystem::path& directory) {
  struct statvfs disk {};
  if (::statvfs(directory.c_str(), &disk) != 0) return {};
  return {disk.f_blocks * disk.f_frsize, disk.f_bavail * disk.f_frsize};
}

}  // namespace podpass::node
