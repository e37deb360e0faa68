#include "base/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/text.h"

namespace podpass {
namespace {

Error failed(std::string_view what, const std::filesystem::path& path, int number) {
  const Reason reason = number == ENOENT ? Reason::NotFound : number == EACCES || number == EPERM ? Reason::Forbidden : Reason::Unavailable;
  return Error{reason, "cannot " + std::string(what) + " " + path.string() + ": " + std::strerror(number)};
}

// Closes on every way out.
class Descriptor {
 public:
  explicit Descriptor(int number) : number_(number) {}
  ~Descriptor() {
    if (number_ >= 0) ::close(number_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  [[nodiscard]] int get() const { return number_; }

 private:
  int number_;
};

}  // namespace

bool writeAll(int file, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(file, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
  return true;
}

Result<std::string> readFile(const std::filesystem::path& path, std::size_t limit) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0) return failed("open", path, errno);
  std::string text;
  char buffer[16384];
  for (;;) {
    const ssize_t got = ::read(file.get(), buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return failed("read", path, errno);
    if (got == 0) return text;
    text.append(buffer, static_cast<std::size_t>(got));
    if (text.size() > limit) return Error{Reason::BadRequest, path.string() + " is larger than " + std::to_string(limit) + " bytes"};
  }
}

Result<void> writeFileAtomically(const std::filesystem::path& path, std::string_view bytes, unsigned mode) {
  const std::filesystem::path temporary = path.string() + ".tmp-" + randomSuffix(8);
  {
    const Descriptor file(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode));
    if (file.get() < 0) return failed("create", temporary, errno);
    if (!writeAll(file.get(), bytes) || ::fsync(file.get()) != 0) {
      const int number = errno;
      ::unlink(temporary.c_str());
      return failed("write", temporary, number);
    }
  }
  if (::rename(temporary.c_str(), path.c_str()) != 0) {
    const int number = errno;
    ::unlink(temporary.c_str());
    return failed("replace", path, number);
  }
  const Descriptor directory(::open(path.parent_path().empty() ? "." : path.parent_path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (directory.get() >= 0) ::fsync(directory.get());  // the new name survives a power cut
  return {};
}

Result<void> makeDirectories(const std::filesystem::path& path, unsigned mode) {
  std::filesystem::path so_far;
  for (const std::filesystem::path& part : path) {
    so_far /= part;
    if (::mkdir(so_far.c_str(), mode) != 0 && errno != EEXIST) {
      const int number = errno;
      struct stat found {};
      if (::stat(so_far.c_str(), &found) != 0) return failed("make the directory", so_far, number);
    }
  }
  struct stat found {};
  if (::stat(path.c_str(), &found) != 0 || !S_ISDIR(found.st_mode))
    return Error{Reason::Unavailable, path.string() + " is not a directory"};
  return {};
}

}  // namespace podpass
