#pragma once

#include <filesystem>

#include "base/text.h"

namespace podpass::node {

// A directory of its own for one test, gone with it.
class TestDirectory {
 public:
  TestDirectory() : path_(std::filesystem::temp_directory_path() / ("podpass-node-" + randomSuffix(12))) {
    std::filesystem::create_directories(path_);
  }
  ~TestDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TestDirectory(const TestDirectory&) = delete;
  TestDirectory& operator=(const TestDirectory&) = delete;
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace podpass::node
