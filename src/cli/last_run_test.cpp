#include "cli/last_run.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "base/file.h"

namespace podpass::cli {
namespace {

struct Directory {
  std::filesystem::path path = std::filesystem::temp_directory_path() / ("podpass-last-run-" + std::to_string(::getpid()));
  Directory() { std::filesystem::create_directories(path); }
  ~Directory() { std::filesystem::remove_all(path); }
};

TEST(LastRun, TellsWhereTheLastRunServed) {
  const Directory directory;
  ASSERT_TRUE(writeFileAtomically(directory.path / "endpoints.json",
                                  R"({"apiserver":"https://127.0.0.1:41234","sts":"http://[::1]:80","issuer":"https://issuer.example/id"})",
                                  0644));
  const LastRun last(directory.path);
  EXPECT_EQ(last.port("apiserver"), 41234);
  EXPECT_EQ(last.port("sts"), 80);
  EXPECT_EQ(last.url("issuer"), "https://issuer.example/id");
  EXPECT_EQ(last.port("webhook"), 0);
  EXPECT_EQ(last.url("webhook"), "");
}

TEST(LastRun, TakesAnythingElseForNone) {
  const Directory directory;
  EXPECT_EQ(LastRun(directory.path).port("apiserver"), 0) << "a new directory";
  for (const char* text : {"", "[]", "{\"apiserver\":1}", "{\"apiserver\":\"https://127.0.0.1:99999\"}", "{\"apiserver\":\"127.0.0.1:1\"}",
                           "{\"apiserver\":\"https://127.0.0.1:41234\""}) {
    SCOPED_TRACE(text);
    ASSERT_TRUE(writeFileAtomically(directory.path / "endpoints.json", text, 0644));
    EXPECT_EQ(LastRun(directory.path).port("apiserver"), 0);
  }
}

}  // namespace
}  // namespace podpass::cli
