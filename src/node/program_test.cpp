#include "node/program.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>

#include "node/test_directory.h"

namespace podpass::node {
namespace {

using namespace std::chrono_literals;

// PATH for the time of a test.
class Path {
 public:
  explicit Path(const std::string& value) : before_(std::getenv("PATH")) { ::setenv("PATH", value.c_str(), 1); }
  ~Path() { ::setenv("PATH", before_.c_str(), 1); }
  Path(const Path&) = delete;
  Path& operator=(const Path&) = delete;

 private:
  std::string before_;
};

TEST(Program, IsFoundWithAnEmptyPathAndFindsOthers) {
  const Path empty("");
  EXPECT_NE(programPath("sh"), "");
  EXPECT_TRUE(runs({programPath("sh"), "-c", "env >/dev/null"}, "/dev/null", 10s)) << "what we start finds its own programs";
  EXPECT_EQ(programPath("no-such-program"), "");
}

TEST(Program, IsFoundInPathFirstAndNeverInTheCurrentDirectory) {
  const TestDirectory directory;
  const std::string own = (directory.path() / "sh").string();
  std::ofstream(own) << "#!/bin/sh\n";
  std::filesystem::permissions(own, std::filesystem::perms::owner_all);
  const Path path(directory.path().string());
  EXPECT_EQ(programPath("sh"), own);
  const Path relative(".:");
  const std::filesystem::path before = std::filesystem::current_path();
  std::filesystem::current_path(directory.path());
  EXPECT_NE(programPath("sh"), "./sh");
  EXPECT_NE(programPath("sh"), "");
  std::filesystem::current_path(before);
}

}  // namespace
}  // namespace podpass::node
