#include "token/inventory_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <cerrno>
#include <cstring>

#include "base/file.h"

namespace podpass::token {
namespace {

constexpr std::string_view kMagic = "podpass tokens 1\n";
constexpr std::size_t kHead = 2 * sizeof(std::uint32_t);

Error failed(const char* what, const std::filesystem::path& path) {
  const int number = errno;
  const Reason reason = number == EACCES || number == EPERM ? Reason::Forbidden : Reason::Unavailable;
  return Error{reason, std::string("cannot ") + what + " " + path.string() + ": " + std::strerror(number)};
}

std::uint32_t checksum(std::string_view bytes) {
  return static_cast<std::uint32_t>(crc32(0, reinterpret_cast<const Bytef*>(bytes.data()), static_cast<uInt>(bytes.size())));
}

// Pages come and go with the kernel's cache: a large inventory is not in memory twice while it is read.
class Mapping {
 public:
  Mapping(int file, std::size_t size) : size_(size), at_(size == 0 ? nullptr : ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file, 0)) {}
  ~Mapping() {
    if (good() && size_ > 0) ::munmap(at_, size_);
  }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  [[nodiscard]] bool good() const { return at_ != MAP_FAILED; }
  [[nodiscard]] std::string_view bytes() const { return {static_cast<const char*>(at_), size_}; }

 private:
  std::size_t size_;
  void* at_;
};

// The frame at the head of `rest`; nullopt when none is there.
std::optional<std::string_view> frameAt(std::string_view rest) {
  if (rest.size() < kHead) return std::nullopt;
  std::uint32_t length = 0, sum = 0;
  std::memcpy(&length, rest.data(), sizeof length);
  std::memcpy(&sum, rest.data() + sizeof length, sizeof sum);
  if (length == 0 || length > InventoryFile::kMostFrame || length > rest.size() - kHead) return std::nullopt;
  const std::string_view bytes = rest.substr(kHead, length);
  return checksum(bytes) == sum ? std::optional(bytes) : std::nullopt;
}

}  // namespace

InventoryFile::~InventoryFile() {
  if (file_ >= 0) ::close(file_);
}

void InventoryFile::frame(std::string_view bytes, std::string& out) {
  const auto length = static_cast<std::uint32_t>(bytes.size());
  const std::uint32_t sum = checksum(bytes);
  char head[kHead];
  std::memcpy(head, &length, sizeof length);
  std::memcpy(head + sizeof length, &sum, sizeof sum);
  out.append(head, sizeof head);
  out += bytes;
}

Result<InventoryFile::Found> InventoryFile::open(std::filesystem::path path, const std::function<void(std::string_view bytes)>& each) {
  path_ = std::move(path);
  file_ = ::open(path_.c_str(), O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  struct stat about {};
  if (file_ < 0 || ::fstat(file_, &about) != 0) return failed("open", path_);
  const Mapping mapping(file_, static_cast<std::size_t>(about.st_size));
  if (!mapping.good()) return failed("read", path_);
  std::string_view rest = mapping.bytes();
  Found found;
  std::size_t good = 0;
  if (rest.starts_with(kMagic)) rest.remove_prefix(good = kMagic.size());
  while (!rest.empty()) {
    if (const std::optional<std::string_view> bytes = frameAt(rest)) {
      found.damagedBytes += static_cast<std::size_t>(rest.data() - mapping.bytes().data()) - good;
      each(*bytes);
      ++found.frames;
      rest.remove_prefix(kHead + bytes->size());
      good = static_cast<std::size_t>(rest.data() - mapping.bytes().data());
    } else {
      rest.remove_prefix(1);
    }
  }
  size_ = good;
  if (mapping.bytes().size() > good + kHead + kMostFrame) found.damagedBytes += mapping.bytes().size() - good;  // no one frame cut short
  if (size_ < mapping.bytes().size() && ::ftruncate(file_, static_cast<off_t>(size_)) != 0) return failed("cut", path_);
  if (size_ == 0)
    if (Result<void> begun = append(kMagic); !begun) return begun.error();
  return found;
}

Result<void> InventoryFile::append(std::string_view frames) {
  if (writeAll(file_, frames)) {
    size_ += frames.size();
    return {};
  }
  const Error error = failed("write", path_);
  (void)::ftruncate(file_, static_cast<off_t>(size_));
  return error;
}

Result<void> InventoryFile::sync() { return ::fdatasync(file_) == 0 ? Result<void>() : Result<void>(failed("write", path_)); }

Result<void> InventoryFile::rewrite(const std::function<bool(std::string& frames)>& next) {
  const std::filesystem::path beside = path_.string() + ".new";
  ::unlink(beside.c_str());  // of a process that died within
  const int file = ::open(beside.c_str(), O_RDWR | O_APPEND | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (file < 0) return failed("create", beside);
  std::string frames(kMagic);
  std::size_t size = 0;
  bool more = true, written = true;
  while (more && written) {
    more = next(frames);
    written = writeAll(file, frames);
    size += frames.size();
    frames.clear();
  }
  if (!written || ::fsync(file) != 0 || ::rename(beside.c_str(), path_.c_str()) != 0) {
    const Error error = failed("write", beside);
    ::close(file);
    ::unlink(beside.c_str());
    return error;
  }
  if (file_ >= 0) ::close(file_);
  file_ = file;
  size_ = size;
  const std::filesystem::path folder = path_.parent_path().empty() ? "." : path_.parent_path();
  const int directory = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (directory >= 0) {
    ::fsync(directory);  // the new name survives a power cut
    ::close(directory);
  }
  return {};
}

}  // namespace podpass::token
