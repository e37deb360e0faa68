#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/document.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"

namespace podpass {
namespace {

TEST(Base64, HasTheVectorsOfTheRfc) {  // RFC 4648 §10
  const std::pair<const char*, const char*> cases[] = {
      {"", ""}, {"f", "Zg=="}, {"fo", "Zm8="}, {"foo", "Zm9v"}, {"foob", "Zm9vYg=="}, {"fooba", "Zm9vYmE="}, {"foobar", "Zm9vYmFy"}};
  for (const auto& [plain, text] : cases) {
    EXPECT_EQ(base64Encode(plain), text);
    EXPECT_EQ(*base64Decode(text), plain);
  }
}

TEST(Base64Url, RefusesSurplusBitsPaddingAndStrangers) {
  EXPECT_TRUE(base64UrlDecode("Zg"));
  for (const char* bad : {"Zh", "Zg==", "Z", "Zg+", "Z g", "Zm9v\n"}) EXPECT_FALSE(base64UrlDecode(bad)) << bad;
}

TEST(Rfc3339, ReadsWhatItWritesAndWhatOthersWrite) {
  const WallTime time = WallTime(std::chrono::seconds(1'677'922'083));
  EXPECT_EQ(rfc3339(time), "2023-03-04T09:28:03Z");
  EXPECT_EQ(rfc3339Micro(time + std::chrono::microseconds(42)), "2023-03-04T09:28:03.000042Z");
  EXPECT_EQ(*parseRfc3339("2023-03-04T09:28:03Z"), time);
  EXPECT_EQ(*parseRfc3339("2023-03-04T10:28:03+01:00"), time);
  EXPECT_EQ(*parseRfc3339("2023-03-04T09:28:03.5Z"), time + std::chrono::milliseconds(500));
  for (const char* bad :
       {"", "2023", "2023-02-30T00:00:00Z", "2023-03-04T25:00:00Z", "2023-03-04 09:28:03Z", "2023-03-04T09:28:03", "2023-03-04T09:28:03Zx",
        "2023-03-04T09:28:03.Z", "1677-12-31T23:59:59Z", "2262-01-01T00:00:00Z", "0000-01-01T00:00:00Z", "9999-12-31T23:59:59Z"})
    EXPECT_FALSE(parseRfc3339(bad)) << bad;
  for (const char* border : {"1678-01-01T00:00:00Z", "2261-12-31T23:59:59Z"}) EXPECT_EQ(rfc3339(*parseRfc3339(border)), border);
}

TEST(HumanDuration, IsKubectls) {
  const std::pair<std::int64_t, const char*> cases[] = {{45, "45s"},      {119, "119s"},     {303, "5m3s"},   {300, "5m"},
                                                        {720, "12m"},     {11100, "3h5m"},   {72000, "20h"},  {183600, "2d3h"},
                                                        {3456000, "40d"}, {-5, "<invalid>"}, {11340, "3h9m"}, {5760, "96m"}};
  for (const auto& [seconds, text] : cases) EXPECT_EQ(humanDuration(std::chrono::seconds(seconds)), text);
}

TEST(Names, AreFromKubernetesAlphabet) { EXPECT_EQ(randomSuffix(200).find_first_not_of("bcdfghjklmnpqrstvwxz2456789"), std::string::npos); }

TEST(Uuid, IsOfVersionFourAndNeverThereTwiceOnAnyThread) {
  std::array<std::vector<std::string>, 4> made;
  {
    std::vector<std::jthread> threads;
    for (std::vector<std::string>& mine : made)
      threads.emplace_back([&mine] {
        for (int i = 0; i < 500; ++i) mine.push_back(randomUuid());
      });
  }
  std::set<std::string> all;
  for (const std::vector<std::string>& each : made)
    for (const std::string& uuid : each) {
      ASSERT_EQ(uuid.size(), 36u);
      EXPECT_EQ(uuid.substr(8, 1) + uuid.substr(13, 2) + uuid.substr(18, 1) + uuid.substr(23, 1), "--4--");
      EXPECT_NE(std::string("89ab").find(uuid[19]), std::string::npos);
      EXPECT_EQ(uuid.find_first_not_of("0123456789abcdef-"), std::string::npos);
      all.insert(uuid);
    }
  EXPECT_EQ(all.size(), 2000u);
}

TEST(File, IsReplacedWholeAndPrivate) {
  const std::filesystem::path directory = std::filesystem::temp_directory_path() / ("podpass-" + randomSuffix(10));
  ASSERT_TRUE(makeDirectories(directory / "a" / "b"));
  ASSERT_TRUE(writeFileAtomically(directory / "f", "one"));
  ASSERT_TRUE(writeFileAtomically(directory / "f", "two"));
  EXPECT_EQ(*readFile(directory / "f"), "two");
  struct stat found {};
  ASSERT_EQ(::stat((directory / "f").c_str(), &found), 0);
  EXPECT_EQ(found.st_mode & 0777u, 0600u);
  EXPECT_EQ(readFile(directory / "none").error().reason, Reason::NotFound);
  EXPECT_EQ(readFile(directory / "f", 2).error().reason, Reason::BadRequest);
  EXPECT_FALSE(writeFileAtomically(directory / "none" / "f", "x"));
  std::filesystem::remove_all(directory);
}

TEST(File, TakesAllBytesHoweverFewTheKernelTakesAtATime) {
  const std::string bytes(1u << 20, 'x');  // more than a pipe holds
  int ends[2] = {-1, -1};
  ASSERT_EQ(::pipe(ends), 0);
  std::size_t received = 0;
  std::thread reader([&] {
    char some[5000];
    for (ssize_t count = 0; (count = ::read(ends[0], some, sizeof some)) > 0;) received += static_cast<std::size_t>(count);
  });
  EXPECT_TRUE(writeAll(ends[1], bytes));
  ::close(ends[1]);
  reader.join();
  ::close(ends[0]);
  EXPECT_EQ(received, bytes.size());
  EXPECT_FALSE(writeAll(-1, "x"));
  EXPECT_EQ(errno, EBADF);
}

TEST(Document, ReadersSurviveStrangeShapes) {
  json::object object = json::parse(R"({"a":{"b":"c","n":5,"t":true,"l":[1]},"x":3})").as_object();
  EXPECT_EQ(textAt(object, {"a", "b"}), "c");
  EXPECT_EQ(textAt(object, {"x", "b"}), "");
  EXPECT_EQ(integerAt(object, {"a", "n"}), 5);
  EXPECT_EQ(integerAt(object, {"a", "b"}, 7), 7);
  EXPECT_TRUE(booleanAt(object, {"a", "t"}));
  EXPECT_EQ(arrayAt(object, {"a", "l"})->size(), 1u);
  EXPECT_EQ(objectAt(object, {"x"}), nullptr);
  makeObjectAt(object, {"x", "y"})["z"] = 1;
  EXPECT_EQ(integerAt(object, {"x", "y", "z"}), 1);
}

// RssFile of this process: pages of files that are mapped and present, in kB.
int residentFilePages() {
  const std::string status = *readFile("/proc/self/status");
  return std::stoi(status.substr(status.find("RssFile:") + 8));
}

TEST(Memory, WhatIsGivenBackIsMappedAgainAsItWas) {
  static int written = 0;
  written = 7;
  const int before = residentFilePages();
  releaseUnusedMemory();
  EXPECT_LT(residentFilePages(), before);
  EXPECT_EQ(written, 7);
  EXPECT_EQ(base64Encode("foobar"), "Zm9vYmFy");
  EXPECT_EQ(sha256("").size(), 32u);
}

}  // namespace
}  // namespace podpass
