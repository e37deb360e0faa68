#include "base/file_watch.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <algorithm>

namespace podpass {
namespace {

constexpr std::uint32_t kEvents =
    IN_CLOSE_WRITE | IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR;
constexpr int kLookAgain = 1'000;   // ms, while a directory is missing
constexpr int kInAnyCase = 60'000;  // ms: network file systems tell inotify nothing
constexpr int kSettle = 20;         // ms: a swap of several files is one change

void drain(int fd) {
  alignas(inotify_event) char buffer[4096];
  while (::read(fd, buffer, sizeof buffer) > 0) {
  }
}

}  // namespace

FileWatch::FileWatch(const std::vector<std::filesystem::path>& files, std::function<void()> changed)
    : changed_(std::move(changed)), inotify_(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC)), stop_(::eventfd(0, EFD_CLOEXEC)) {
  for (const std::filesystem::path& file : files) {
    const std::filesystem::path directory = std::filesystem::absolute(file).parent_path();
    if (std::find(directories_.begin(), directories_.end(), directory) == directories_.end()) directories_.push_back(directory);
  }
  watched_.assign(directories_.size(), -1);
  thread_ = std::thread([this] { run(); });
}

FileWatch::~FileWatch() {
  const std::uint64_t one = 1;
  static_cast<void>(!::write(stop_, &one, sizeof one));
  thread_.join();
  ::close(inotify_);
  ::close(stop_);
}

bool FileWatch::watchDirectories() {
  bool all = true;
  for (std::size_t i = 0; i < directories_.size(); ++i) {
    watched_[i] = ::inotify_add_watch(inotify_, directories_[i].c_str(), kEvents);  // again and again: it may be another directory by now
    all = all && watched_[i] >= 0;
  }
  return all;
}

void FileWatch::run() {
  for (;;) {
    const bool all = watchDirectories();
    changed_();
    pollfd waiting[] = {{stop_, POLLIN, 0}, {inotify_, POLLIN, 0}};
    ::poll(waiting, 2, all ? kInAnyCase : kLookAgain);
    if (waiting[0].revents == 0 && waiting[1].revents != 0) ::poll(waiting, 1, kSettle);
    if (waiting[0].revents != 0) return;
    drain(inotify_);
  }
}

}  // namespace podpass
