#pragma once

#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/clock.h"
#include "node/runtime.h"

namespace podpass::node {

struct DiskUse {
  std::uint64_t capacity = 0, available = 0;  // bytes
};

// When images are removed, in kubelet's numbers: above `high` percent of the disk in use, down to `low`, none younger than `youngest`.
struct CollectionLimits {
  unsigned high = 85, low = 80;
  std::chrono::minutes youngest{2};
};

// Removes images that no container has used for the longest time when the disk fills up. Remembers when it saw an image first, and in use
// last, so it is called every few minutes. Not thread-safe.
class ImageCollector {
 public:
  ImageCollector(const Clock& clock, CollectionLimits limits = {}) : clock_(clock), limits_(limits) {}
  // Ids of the images to remove now, the longest unused first. `used`: ids of images of containers, running or not.
  std::vector<std::string> choose(const std::vector<StoredImage>& images, const std::set<std::string>& used, const DiskUse& disk);

 private:
  struct Seen {
    SteadyTime first, used;
  };
  const Clock& clock_;
  CollectionLimits limits_;
  std::map<std::string, Seen> seen_;  // by id, of images that are there
};

// Of the filesystem that holds `directory`; zeros when it cannot be told.
DiskUse diskUse(const std::filesystem::path& directory);

}  // namespace podpass::node
