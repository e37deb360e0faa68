#include "node/logs.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"

namespace podpass::node {

namespace {

using namespace std::chrono_literals;
constexpr std::size_t kBlock = 64u << 10;
constexpr std::chrono::milliseconds kPoll = 50ms, kStatePoll = 1s;

class File {
 public:
  explicit File(const std::filesystem::path& path) : fd_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {}
  File(File&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  File& operator=(File&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~File() {
    if (fd_ >= 0) ::close(fd_);
  }
  [[nodiscard]] bool open() const { return fd_ >= 0; }
  [[nodiscard]] int fd() const { return fd_; }

 private:
  int fd_;
};

// Where the last `lines` lines begin.
off_t tailStart(const File& file, std::int64_t lines) {
  struct stat status {};
  if (::fstat(file.fd(), &status) != 0) return 0;
  if (lines <= 0) return status.st_size;
  std::string block(kBlock, '\0');
  off_t end = status.st_size;
  bool last = true;  // the newline that ends the file ends the last line, it does not begin another
  while (end > 0) {
    const off_t begin = std::max<off_t>(0, end - static_cast<off_t>(kBlock));
    const ssize_t got = ::pread(file.fd(), block.data(), static_cast<std::size_t>(end - begin), begin);
    if (got <= 0) return 0;
    for (ssize_t at = got; at-- > 0;) {
      const bool newline = block[static_cast<std::size_t>(at)] == '\n';
      if (newline && !last && --lines == 0) return begin + at + 1;
      last = false;
    }
    end = begin;
  }
  return 0;
}

class FileLog final : public api::LogStream {
 public:
  FileLog(std::filesystem::path path, File file, api::LogRequest request, std::function<bool()> running)
      : path_(std::move(path)), file_(std::move(file)), request_(std::move(request)), running_(std::move(running)) {
    if (request_.tailLines) ::lseek(file_.fd(), tailStart(file_, *request_.tailLines), SEEK_SET);
  }

  std::optional<std::string> next(std::chrono::milliseconds patience) override {
    const auto end = std::chrono::steady_clock::now() + patience;
    while (!ended_) {
      std::string out = take();
      if (!out.empty()) return out;
      if (ended_) break;
      if (rotated()) continue;
      if (!request_.follow || over()) break;
      if (std::chrono::steady_clock::now() >= end) return std::string();
      std::this_thread::sleep_for(kPoll);
    }
    ended_ = true;
    return std::nullopt;
  }

 private:
  // What can be said from the bytes that are there; "" at the end of the file.
  std::string take() {
    std::string out;
    std::string block(kBlock, '\0');
    for (;;) {
      const ssize_t got = ::read(file_.fd(), block.data(), block.size());
      if (got <= 0) return out;
      rest_.append(block, 0, static_cast<std::size_t>(got));
      std::size_t at = 0;
      for (std::size_t end = 0; (end = rest_.find('\n', at)) != std::string::npos; at = end + 1)
        say(std::string_view(rest_).substr(at, end - at), out);
      rest_.erase(0, at);
      if (request_.limitBytes && sent_ + static_cast<std::int64_t>(out.size()) >= *request_.limitBytes) {
        out.resize(static_cast<std::size_t>(*request_.limitBytes - sent_));
        ended_ = true;
      }
      sent_ += static_cast<std::int64_t>(out.size());
      if (!out.empty() || ended_) return out;
    }
  }

  void say(std::string_view line, std::string& out) const {
    const std::optional<LogLine> parsed = parseLogLine(line);
    if (!parsed) return;
    if (request_.since) {
      const Result<WallTime> time = parseRfc3339(parsed->time);
      if (time && *time < *request_.since) return;
    }
    if (request_.timestamps) out.append(parsed->time).append(" ");
    out.append(parsed->content);
    if (!parsed->partial) out.push_back('\n');
  }

  // The path leads to another file now, and the old one has been read to its end.
  bool rotated() {
    if (!request_.follow) return false;
    struct stat mine {
    }, there{};
    if (::fstat(file_.fd(), &mine) != 0 || ::stat(path_.c_str(), &there) != 0 || mine.st_ino == there.st_ino) return false;
    File next(path_);
    if (!next.open()) return false;
    file_ = std::move(next);
    return true;
  }

  // The container has ended and what it wrote last had a turn to be read.
  bool over() {
    if (finished_) return true;
    if (std::chrono::steady_clock::now() < nextLook_) return false;
    nextLook_ = std::chrono::steady_clock::now() + kStatePoll;
    finished_ = !running_();
    return false;
  }

  std::filesystem::path path_;
  File file_;
  api::LogRequest request_;
  std::function<bool()> running_;
  std::string rest_;  // the beginning of a line
  std::int64_t sent_ = 0;
  bool ended_ = false, finished_ = false;
  std::chrono::steady_clock::time_point nextLook_{};
};

}  // namespace

std::optional<LogLine> parseLogLine(std::string_view line) {
  LogLine parsed;
  std::array<std::string_view, 3> words;
  for (std::string_view& word : words) {
    const std::size_t space = line.find(' ');
    if (space == std::string_view::npos || space == 0) return std::nullopt;
    word = line.substr(0, space);
    line.remove_prefix(space + 1);
  }
  if (words[1] != "stdout" && words[1] != "stderr") return std::nullopt;
  const std::string_view tag = words[2].substr(0, words[2].find(':'));
  if (tag != "P" && tag != "F") return std::nullopt;
  parsed.time = words[0];
  parsed.stream = words[1];
  parsed.content = line;
  parsed.partial = tag == "P";
  return parsed;
}

Result<std::unique_ptr<api::LogStream>> openLog(std::filesystem::path path, api::LogRequest request, std::function<bool()> running) {
  File file(path);
  if (!file.open()) return Error{Reason::NotFound, "failed to try resolving symlinks in path " + quoted(path.string())};
  return std::unique_ptr<api::LogStream>(
      std::make_unique<FileLog>(std::move(path), std::move(file), std::move(request), std::move(running)));
}

}  // namespace podpass::node
