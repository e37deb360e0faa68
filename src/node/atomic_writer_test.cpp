#include "node/atomic_writer.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <thread>

#include "base/file.h"
#include "base/text.h"
#include "node/beneath.h"
#include "node/test_directory.h"

namespace podpass::node {
namespace {

namespace fs = std::filesystem;

Payload payloadOf(const std::vector<std::pair<std::string, std::string>>& files) {
  Payload payload;
  for (const auto& [path, bytes] : files) payload[path] = PayloadFile{Secret(bytes), 0644};
  return payload;
}

unsigned modeOf(const fs::path& path) {
  struct stat found {};
  return ::stat(path.c_str(), &found) == 0 ? found.st_mode & 07777u : 0;
}

std::vector<std::string> generations(const fs::path& volume) {
  std::vector<std::string> found;
  for (const auto& entry : fs::directory_iterator(volume))
    if (entry.is_directory() && !entry.is_symlink() && entry.path().filename().string().starts_with(".."))
      found.push_back(entry.path().filename());
  return found;
}

class AtomicWriterTest : public testing::Test {
 protected:
  FakeClock clock;
  TestDirectory volume;
  AtomicWriter writer{volume.path(), clock};
};

TEST_F(AtomicWriterTest, LaysFilesOutBehindOneLink) {
  Payload payload = payloadOf({{"token", "t1"}, {"a/b/c", "deep"}, {"./x//y", "cleaned"}});
  payload["token"].mode = 0400;
  const Result<bool> written = writer.write(payload);
  ASSERT_TRUE(written) << written.error().sentence;
  EXPECT_TRUE(*written);
  EXPECT_EQ(*readFile(volume.path() / "token"), "t1");
  EXPECT_EQ(*readFile(volume.path() / "a/b/c"), "deep");
  EXPECT_EQ(*readFile(volume.path() / "x/y"), "cleaned");
  EXPECT_EQ(fs::read_symlink(volume.path() / "token"), "..data/token");
  EXPECT_EQ(fs::read_symlink(volume.path() / "a"), "..data/a");
  const std::string generation = fs::read_symlink(volume.path() / "..data");
  EXPECT_TRUE(generation.starts_with("..2023_03_04_09_28_03.")) << generation;
  EXPECT_EQ(modeOf(volume.path() / generation), 0755u);
  EXPECT_EQ(modeOf(volume.path() / "a/b"), 0755u);
  EXPECT_EQ(modeOf(volume.path() / "token"), 0400u);
  EXPECT_EQ(modeOf(volume.path() / "x/y"), 0644u);
}

TEST_F(AtomicWriterTest, WritesNothingWhenBytesAndPathsAreTheSame) {
  ASSERT_TRUE(writer.write(payloadOf({{"a", "1"}, {"d/b", "2"}})));
  const fs::path before = fs::read_symlink(volume.path() / "..data");
  const Result<bool> again = writer.write(payloadOf({{"a", "1"}, {"d/b", "2"}}));
  ASSERT_TRUE(again);
  EXPECT_FALSE(*again);
  EXPECT_EQ(fs::read_symlink(volume.path() / "..data"), before);
  const std::pair<const char*, Payload> changes[] = {{"other bytes of the same length", payloadOf({{"a", "9"}, {"d/b", "2"}})},
                                                     {"a file less", payloadOf({{"a", "9"}})},
                                                     {"a file more", payloadOf({{"a", "9"}, {"c", ""}})},
                                                     {"nothing", payloadOf({})}};
  for (const auto& [why, payload] : changes) {
    SCOPED_TRACE(why);
    EXPECT_TRUE(*writer.write(payload));
    EXPECT_EQ(generations(volume.path()).size(), 1u);
  }
}

TEST_F(AtomicWriterTest, RemovesNamesThatAreGoneAndLeavesForeignOnes) {
  ASSERT_TRUE(fs::create_directory(volume.path() / "sub"));  // where another volume is mounted
  ASSERT_TRUE(writer.write(payloadOf({{"a", "1"}, {"d/b", "2"}, {"d/c", "3"}})));
  ASSERT_TRUE(writer.write(payloadOf({{"d/c", "3"}})));
  EXPECT_FALSE(fs::exists(fs::symlink_status(volume.path() / "a")));
  EXPECT_FALSE(fs::exists(volume.path() / "d/b"));
  EXPECT_EQ(*readFile(volume.path() / "d/c"), "3");
  EXPECT_TRUE(fs::is_directory(volume.path() / "sub"));
}

TEST_F(AtomicWriterTest, RefusesPathsThatCouldLeaveTheVolume) {
  ASSERT_TRUE(writer.write(payloadOf({{"kept", "1"}})));
  const std::pair<std::string, const char*> cases[] = {
      {"", "invalid path: must not be empty: \"\""},
      {"/etc/passwd", "invalid path: must be relative path: /etc/passwd"},
      {"../x", "invalid path: must not contain '..': ../x"},
      {"a/../../x", "invalid path: must not contain '..': a/../../x"},
      {"..data", "invalid path: must not start with '..': ..data"},
      {"./..data/x", "invalid path: must not start with '..': ./..data/x"},
      {".", "invalid path: must name a file: ."},
      {std::string("a\0b", 3), "invalid path: must not contain a NUL character"},
      {std::string(256, 'n'), "invalid path: filenames must be less than or equal to 255 characters"},
      {[] {
         std::string path = "x";
         while (path.size() <= 4096) path += "/x";
         return path;
       }(),
       "invalid path: must be less than or equal to 4096 characters"}};
  for (const auto& [path, sentence] : cases) {
    SCOPED_TRACE(sentence);
    const Result<bool> written = writer.write(payloadOf({{path, "evil"}, {"kept", "2"}}));
    ASSERT_FALSE(written);
    EXPECT_EQ(written.error().sentence, sentence);
    EXPECT_EQ(*readFile(volume.path() / "kept"), "1");
  }
  EXPECT_TRUE(writer.write(payloadOf({{"a/..b", "fine"}, {std::string(255, 'n'), "fine"}})));
}

TEST_F(AtomicWriterTest, KeepsTheOldGenerationWhenAFileCollidesWithADirectory) {
  ASSERT_TRUE(writer.write(payloadOf({{"a", "1"}})));
  EXPECT_FALSE(writer.write(payloadOf({{"a", "2"}, {"a/b", "3"}})));
  EXPECT_EQ(*readFile(volume.path() / "a"), "1");
  EXPECT_EQ(generations(volume.path()).size(), 1u);
}

TEST_F(AtomicWriterTest, MendsWhatAKillLeftAtEveryStep) {
  struct Case {
    const char* why;
    std::function<void(const fs::path&)> debris;
  };
  const TestDirectory outside;
  const Case cases[] = {
      {"killed while writing the generation",
       [](const fs::path& v) {
         fs::create_directories(v / "..2023_01_01_00_00_00.42/half");
         std::ofstream(v / "..2023_01_01_00_00_00.42/half/token") << "to";
       }},
      {"killed before the flip", [](const fs::path& v) { fs::create_symlink("..2023_01_01_00_00_00.42", v / "..data_tmp"); }},
      {"killed before the visible names were made", [](const fs::path& v) { fs::remove(v / "a"); }},
      {"killed before a stale name was removed", [](const fs::path& v) { fs::create_symlink("..data/old", v / "old"); }},
      {"killed while making a visible name", [](const fs::path& v) { fs::create_symlink("..data/a", v / "..link_tmp"); }},
      {"a visible name that leads elsewhere",
       [](const fs::path& v) {
         fs::remove(v / "a");
         fs::create_symlink("/etc/hostname", v / "a");
       }},
      {"the generation is gone", [](const fs::path& v) { fs::remove_all(v / fs::read_symlink(v / "..data")); }},
      {"..data leads to the same content outside, which somebody else may change",
       [&](const fs::path& v) {
         fs::create_directories(outside.path() / "d");
         std::ofstream(outside.path() / "a") << "1";
         std::ofstream(outside.path() / "d/b") << "1";
         fs::remove(v / "..data");
         fs::create_symlink(outside.path(), v / "..data");
       }},
      {"..data leads out of the volume", [](const fs::path& v) {
         fs::remove(v / "..data");
         fs::create_symlink("/etc", v / "..data");
       }}};
  for (const Case& c : cases) {
    for (const char* bytes : {"1", "2"}) {  // the next write brings the same, or something new
      SCOPED_TRACE(c.why);
      ASSERT_TRUE(writer.write(payloadOf({{"a", "1"}, {"d/b", "1"}})));
      c.debris(volume.path());
      const Result<bool> mended = writer.write(payloadOf({{"a", bytes}, {"d/b", "1"}}));
      ASSERT_TRUE(mended) << mended.error().sentence;
      EXPECT_EQ(*readFile(volume.path() / "a"), bytes);
      EXPECT_EQ(fs::read_symlink(volume.path() / "a"), "..data/a");
      std::set<std::string> names;
      for (const auto& entry : fs::directory_iterator(volume.path())) names.insert(entry.path().filename());
      EXPECT_EQ(names, (std::set<std::string>{"..data", "a", "d", fs::read_symlink(volume.path() / "..data")}));
    }
  }
  EXPECT_TRUE(fs::exists("/etc/passwd"));
}

TEST_F(AtomicWriterTest, ShowsReadersOneGenerationWhole) {
  const auto generation = [](int number) {
    const std::string bytes(3000, static_cast<char>('a' + number % 26));
    return payloadOf({{"one", bytes}, {"two", bytes}});
  };
  ASSERT_TRUE(writer.write(generation(0)));
  std::atomic<bool> done = false;
  std::atomic<int> mixes = 0, reads = 0;
  const auto reader = [&] {
    while (!done) {
      const Descriptor data(::open((volume.path() / "..data").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
      if (!data) continue;
      std::string bytes;
      bool vanished = false;  // the generation was replaced meanwhile: look again
      for (const char* name : {"one", "two"}) {
        const Descriptor file(::openat(data.get(), name, O_RDONLY | O_CLOEXEC));
        std::string text(4000, '\0');
        const ssize_t got = file ? ::read(file.get(), text.data(), text.size()) : -1;
        vanished = vanished || got < 0;
        if (got >= 0) bytes += text.substr(0, static_cast<std::size_t>(got));
      }
      if (vanished) continue;
      ++reads;
      if (bytes != std::string(6000, bytes.empty() ? '-' : bytes.front())) ++mixes;
    }
  };
  std::thread first(reader), second(reader);
  for (int number = 1; number < 400 || reads < 50; ++number) ASSERT_TRUE(writer.write(generation(number)));
  done = true;
  first.join();
  second.join();
  EXPECT_EQ(mixes, 0);
}

TEST_F(AtomicWriterTest, AppliesOwnersAndTheGroupBeforePublishing) {
  Payload payload = payloadOf({{"d/token", "t"}, {"open", "o"}});
  payload["d/token"].mode = 0600;
  const uid_t user = ::geteuid() == 0 ? 1234 : ::geteuid();
  const gid_t group = ::geteuid() == 0 ? 4321 : ::getegid();
  payload["d/token"].owner = user;
  ASSERT_TRUE(writer.write(payload, group));
  struct stat found {};
  ASSERT_EQ(::stat((volume.path() / "d/token").c_str(), &found), 0);
  EXPECT_EQ(found.st_uid, user);
  EXPECT_EQ(found.st_gid, group);
  EXPECT_EQ(found.st_mode & 07777u, 0640u);
  EXPECT_EQ(modeOf(volume.path() / "open"), 0644u);
  ASSERT_EQ(::stat((volume.path() / "d").c_str(), &found), 0);
  EXPECT_EQ(found.st_gid, group);
  EXPECT_EQ(found.st_mode & 07777u, 02755u);
}

TEST_F(AtomicWriterTest, KeepsTheOldContentWhenTheTmpfsIsFull) {
  if (::mount("tmpfs", volume.path().c_str(), "tmpfs", 0, "size=16k") != 0) GTEST_SKIP() << "mounting a tmpfs needs root";
  ASSERT_TRUE(writer.write(payloadOf({{"a", "small"}})));
  const Result<bool> tooMuch = writer.write(payloadOf({{"a", "new"}, {"big", std::string(64 << 10, 'b')}}));
  EXPECT_FALSE(tooMuch);
  EXPECT_EQ(*readFile(volume.path() / "a"), "small");
  EXPECT_EQ(generations(volume.path()).size(), 1u);
  EXPECT_TRUE(writer.write(payloadOf({{"a", "new"}})));
  EXPECT_EQ(*readFile(volume.path() / "a"), "new");
  EXPECT_EQ(::umount(volume.path().c_str()), 0);
}

TEST(RemoveTree, NeverFollowsALink) {
  const TestDirectory directory;
  fs::create_directories(directory.path() / "victim");
  std::ofstream(directory.path() / "victim/file") << "x";
  fs::create_directories(directory.path() / "tree/inner");
  fs::create_symlink("../../victim", directory.path() / "tree/inner/link");
  fs::create_symlink("victim", directory.path() / "top");
  const Descriptor parent = openDirectory(AT_FDCWD, directory.path());
  EXPECT_TRUE(removeTree(parent.get(), "tree"));
  EXPECT_TRUE(removeTree(parent.get(), "top"));
  EXPECT_TRUE(removeTree(parent.get(), "never-there"));
  EXPECT_FALSE(fs::exists(directory.path() / "tree"));
  EXPECT_TRUE(fs::exists(directory.path() / "victim/file"));
}

}  // namespace
}  // namespace podpass::node
