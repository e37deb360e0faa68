#pragma once

#include <filesystem>
#include <functional>
#include <thread>
#include <vector>

// Tells when files may have changed: rewritten, renamed into place, or swapped behind a symbolic link as ConfigMap and Secret mounts do.
// The directories of the files are watched (inotify); one that does not exist yet is looked for every second.
namespace podpass {

class FileWatch {
 public:
  // `changed` runs on the watch's own thread: once at the beginning, then after every event; events that come together are one. It compares
  // for itself whether anything is different, and may be told in vain.
  FileWatch(const std::vector<std::filesystem::path>& files, std::function<void()> changed);
  ~FileWatch();  // no call comes afterwards
  FileWatch(const FileWatch&) = delete;
  FileWatch& operator=(const FileWatch&) = delete;

 private:
  void run();
  bool watchDirectories();

  std::vector<std::filesystem::path> directories_;
  std::function<void()> changed_;
  int inotify_;
  int stop_;  // an eventfd
  std::vector<int> watched_;
  std::thread thread_;
};

}  // namespace podpass
