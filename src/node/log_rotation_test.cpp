#include "node/log_rotation.h"

#include <zlib.h>

#include "node/test_node.h"

namespace podpass::node {
namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;

class LogRotation : public ::testing::Test {
 protected:
  void write(const std::string& text) { ASSERT_TRUE(writeFileAtomically(log_, text)); }
  Result<bool> rotate() {
    clock_.advance(1s);
    return rotateLog(log_, {.bytes = 10, .files = 3}, clock_.now(), [this]() -> Result<void> {
      if (!runtimeAnswers_) return Error{Reason::Unavailable, "away"};
      return writeFileAtomically(log_, "");
    });
  }
  std::vector<std::string> names() {
    std::vector<std::string> found;
    for (const auto& entry : fs::directory_iterator(directory_.path())) found.push_back(entry.path().filename().string());
    std::sort(found.begin(), found.end());
    return found;
  }
  TestDirectory directory_;
  fs::path log_ = directory_.path() / "0.log";
  FakeClock clock_;
  bool runtimeAnswers_ = true;
};

using Names = std::vector<std::string>;

TEST_F(LogRotation, WaitsForTheLimitAndKeepsTheNewest) {
  write("0123456789");
  EXPECT_FALSE(*rotate()) << "at the limit, not past it";
  for (const char* text : {"first......", "second.....", "third......", "fourth....."}) {
    write(text);
    ASSERT_TRUE(*rotate());
  }
  const std::string third = "0.log.20230304-092807", fourth = "0.log.20230304-092808";
  EXPECT_EQ(names(), (Names{"0.log", third + ".gz", fourth}));
  EXPECT_EQ(*readFile(directory_.path() / fourth), "fourth.....");
  gzFile zipped = ::gzopen((directory_.path() / (third + ".gz")).c_str(), "rb");
  char text[64] = {};
  EXPECT_EQ(::gzread(zipped, text, sizeof(text)), 11);
  ::gzclose(zipped);
  EXPECT_STREQ(text, "third......");
}

TEST_F(LogRotation, LosesNothingWhenTheRuntimeDoesNotReopen) {
  write("0123456789+");
  runtimeAnswers_ = false;
  EXPECT_FALSE(rotate());
  EXPECT_EQ(names(), Names{"0.log"});
  EXPECT_EQ(*readFile(log_), "0123456789+");
}

TEST_F(LogRotation, ClearsAwayWhatWasCutShort) {
  ASSERT_TRUE(writeFileAtomically(log_.string() + ".20200101-000000.gz.tmp", "half"));
  write("0123456789+");
  EXPECT_TRUE(*rotate());
  EXPECT_EQ(names().size(), 2u);
}

TEST(Logs, OfARunningContainerAreRotated) {
  SKIP_WITHOUT_ROOT();
  TestNode node;
  ASSERT_NO_FATAL_FAILURE(node.start());
  ASSERT_NO_FATAL_FAILURE(node.importBox());
  node.runPod("p", {"flood", "11000000", ",", "print", "before", ",", "sleep", "15", ",", "print", "after", ",", "sleep", "600"});
  const fs::path directory = node.directory() / "logs" / "pods" / "default_p_uid-p" / "c";
  const auto count = [&] {
    std::error_code failed;
    return std::distance(fs::directory_iterator(directory, failed), fs::directory_iterator());
  };
  EXPECT_TRUE(node.until([&] { return count() == 2; })) << "not rotated";
  EXPECT_TRUE(node.logs("p", "after\n")) << "the new log is where the container writes";
}

}  // namespace
}  // namespace podpass::node
