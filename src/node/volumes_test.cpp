#include "node/volumes.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/magic.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <fstream>

#include "base/file.h"
#include "node/projection.h"
#include "node/test_client.h"
#include "node/test_directory.h"

namespace podpass::node {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

struct stat statusOf(const fs::path& path) {
  struct stat found {};
  EXPECT_EQ(::stat(path.c_str(), &found), 0) << path;
  return found;
}
unsigned modeOf(const fs::path& path) { return statusOf(path).st_mode & 07777u; }

bool mayMount() {
  const TestDirectory place;
  if (::mount("tmpfs", place.path().c_str(), "tmpfs", 0, "size=4k") != 0) return false;
  return ::umount(place.path().c_str()) == 0;
}

class VolumesTest : public testing::Test {
 protected:
  VolumesTest() {
    client.clock = &clock;
    client.put("secrets", R"({"metadata":{"namespace":"ns","name":"s"},"data":{"user":"cm9vdA==","bin":"/wA="}})");
    client.put("configmaps", R"({"metadata":{"namespace":"ns","name":"c"},"data":{"text":"hello"},"binaryData":{"raw":"/w=="}})");
    options.allowDisk = true;
    options.allocatable = {4000, 8LL << 30, 1LL << 40};
    volumes = std::make_unique<Volumes>(client, clock, root.path(), options);
  }
  ~VolumesTest() override {
    for (const std::string& uid : volumes->known()) EXPECT_TRUE(volumes->remove(uid));
  }
  static json::object podWith(std::string_view volumeList, std::string_view more = R"("containers":[{"name":"main"}])") {
    return json::parse(
               R"({"metadata":{"namespace":"ns","name":"p","uid":"uid-1","labels":{"app":"web"}},"spec":{"serviceAccountName":"robot",)" +
               std::string(more) + R"(,"volumes":)" + std::string(volumeList) + "}}")
        .as_object();
  }
  std::string synced(const json::object& pod) {
    const Result<void> done = volumes->sync(pod);
    return done ? "" : done.error().sentence;
  }
  fs::path at(const json::object& pod, const std::string& name) {
    const Result<fs::path> path = volumes->hostPath(pod, name);
    return path ? *path : fs::path("/nonexistent/" + path.error().sentence);
  }
  static std::string textOf(const fs::path& path) {
    const Result<std::string> text = readFile(path);
    return text ? *text : "error: " + text.error().sentence;
  }
  static std::set<std::string> visible(const fs::path& directory) {
    std::set<std::string> names;
    for (const auto& entry : fs::directory_iterator(directory))
      if (!entry.path().filename().string().starts_with("..")) names.insert(entry.path().filename());
    return names;
  }

  FakeClock clock;
  TestClient client;
  TestDirectory root;
  VolumesOptions options;
  std::unique_ptr<Volumes> volumes;
};

constexpr const char* kAllSources = R"([{"name":"all","projected":{"defaultMode":420,"sources":[
    {"secret":{"name":"s","items":[{"key":"user","path":"login/user","mode":256}]}},
    {"configMap":{"name":"c"}},
    {"downwardAPI":{"items":[{"path":"labels","fieldRef":{"fieldPath":"metadata.labels"}},
                             {"path":"cpu","resourceFieldRef":{"containerName":"main","resource":"limits.cpu","divisor":"1m"}}]}},
    {"serviceAccountToken":{"path":"token","audience":"vault","expirationSeconds":600}}]}}])";

TEST_F(VolumesTest, ShowsEverySourceOfAProjectedVolume) {
  const json::object pod = podWith(kAllSources);
  ASSERT_EQ(synced(pod), "");
  const fs::path all = at(pod, "all");
  EXPECT_EQ(all, fs::canonical(root.path()) / "pods/uid-1/volumes/kubernetes.io~projected/all");
  EXPECT_EQ(visible(all), (std::set<std::string>{"login", "text", "raw", "labels", "cpu", "token"}));
  EXPECT_EQ(textOf(all / "login/user"), "root");
  EXPECT_EQ(modeOf(all / "login/user"), 0400u);
  EXPECT_EQ(textOf(all / "raw"), "\xff");
  EXPECT_EQ(textOf(all / "labels"), "app=\"web\"");
  EXPECT_EQ(textOf(all / "cpu"), "4000");
  EXPECT_EQ(textOf(all / "token"), "token-1:vault");
  EXPECT_EQ(modeOf(all / "token"), 0644u);
  EXPECT_EQ(modeOf(all), 0777u);
  EXPECT_EQ(Volumes::objects(pod), (std::vector<std::string>{"configmaps/ns/c", "secrets/ns/s"}));
}

TEST_F(VolumesTest, ShowsSecretConfigMapAndDownwardApiVolumes) {
  const json::object pod = podWith(R"([{"name":"sec","secret":{"secretName":"s","defaultMode":256}},
      {"name":"conf","configMap":{"name":"c","defaultMode":420,"items":[{"key":"text","path":"deep/er/t"}]}},
      {"name":"down","downwardAPI":{"defaultMode":420,"items":[{"path":"name","fieldRef":{"fieldPath":"metadata.name"}}]}},
      {"name":"maybe","secret":{"secretName":"none","optional":true,"defaultMode":420}},
      {"name":"some","secret":{"secretName":"s","optional":true,"defaultMode":420,"items":[{"key":"user","path":"u"},{"key":"none","path":"n"}]}}])");
  ASSERT_EQ(synced(pod), "");
  EXPECT_EQ(textOf(at(pod, "sec") / "bin"), std::string("\xff\0", 2));
  EXPECT_EQ(modeOf(at(pod, "sec") / "user"), 0400u);
  EXPECT_EQ(visible(at(pod, "conf")), std::set<std::string>{"deep"});
  EXPECT_EQ(textOf(at(pod, "conf") / "deep/er/t"), "hello");
  EXPECT_EQ(textOf(at(pod, "down") / "name"), "p");
  EXPECT_EQ(visible(at(pod, "maybe")), std::set<std::string>{});
  EXPECT_EQ(visible(at(pod, "some")), std::set<std::string>{"u"});
}

TEST_F(VolumesTest, SaysWhatEachSourceLacks) {
  const std::pair<const char*, const char*> cases[] = {
      {R"({"secret":{"secretName":"none","defaultMode":420}})", "secret \"none\" not found"},
      {R"({"configMap":{"name":"none","defaultMode":420}})", "configmap \"none\" not found"},
      {R"({"secret":{"secretName":"s","defaultMode":420,"items":[{"key":"k","path":"p"}]}})", "references non-existent secret key: k"},
      {R"({"configMap":{"name":"c","defaultMode":420,"items":[{"key":"k","path":"p"}]}})",
       "configmap references non-existent config key: k"},
      {R"({"secret":{"secretName":"s"}})", "No defaultMode used, not even the default value for it"},
      {R"({"projected":{"defaultMode":420,"sources":[{"secret":{"name":"n1"}},{"configMap":{"name":"n2"}}]}})",
       "[secret \"n1\" not found, configmap \"n2\" not found]"},
      {R"({"projected":{"defaultMode":420,"sources":[{"clusterTrustBundle":{"name":"b","path":"p"}}]}})",
       "projected volume source clusterTrustBundle is not supported by this node agent"},
      {R"({"projected":{"defaultMode":420,"sources":[{"podCertificate":{}}]}})",
       "projected volume source podCertificate is not supported by this node agent"},
      {R"({"downwardAPI":{"defaultMode":420,"items":[{"path":"p","fieldRef":{"fieldPath":"status.podIP"}},{"path":"q"}]}})",
       "[unsupported fieldPath: status.podIP, downwardAPI item has neither fieldRef nor resourceFieldRef]"},
      {R"({"secret":{"secretName":"s","defaultMode":420,"items":[{"key":"user","path":"../../evil"}]}})",
       "invalid path: must not contain '..': ../../evil"},
      {R"({"secret":{"secretName":"s","defaultMode":420,"items":[{"key":"user","path":"p","mode":512}]}})",
       "mode 512 must be a number between 0 and 0777 (octal), both inclusive"},
      {R"({"nfs":{}})", "no volume plugin matched"},
      {R"({"emptyDir":{"medium":"HugePages"}})", "unsupported storage medium \"HugePages\""}};
  for (const auto& [source, sentence] : cases) {
    SCOPED_TRACE(source);
    EXPECT_EQ(synced(podWith(R"([{"name":"V",)" + std::string(source).substr(1) + "]")),
              "MountVolume.SetUp failed for volume \"V\" : " + std::string(sentence));
    EXPECT_TRUE(volumes->remove("uid-1"));
  }
}

TEST_F(VolumesTest, DoesNotTakeAnOutageForAMissingOptionalObject) {
  client.fail("get", "secrets", {Reason::Forbidden, "secrets \"s\" is forbidden"});
  EXPECT_EQ(synced(podWith(R"([{"name":"V","secret":{"secretName":"s","optional":true,"defaultMode":420}}])")),
            "MountVolume.SetUp failed for volume \"V\" : secrets \"s\" is forbidden");
}

TEST_F(VolumesTest, RefusesNamesThatAreNoFileNames) {
  for (const char* name : {"..", "a/b", "", "."})
    EXPECT_NE(synced(podWith(R"([{"name":")" + std::string(name) + R"(","emptyDir":{}}])")), "") << name;
  json::object pod = podWith("[]");
  for (const char* uid : {"", "..", "../../etc"}) {
    pod["metadata"].as_object()["uid"] = uid;
    EXPECT_FALSE(volumes->sync(pod)) << uid;
    EXPECT_FALSE(volumes->remove(uid)) << uid;
  }
}

TEST_F(VolumesTest, LaterSourcesWin) {
  client.put("secrets", R"({"metadata":{"namespace":"ns","name":"t"},"data":{"token":"bm8="}})");
  const json::object pod = podWith(R"([{"name":"V","projected":{"defaultMode":420,"sources":[
      {"secret":{"name":"t"}},{"serviceAccountToken":{"path":"./token"}}]}}])");
  ASSERT_EQ(synced(pod), "");
  EXPECT_EQ(textOf(at(pod, "V") / "token"), "token-1:");
}

TEST_F(VolumesTest, KeepsTheLastGoodOfAFailingSourceAndRefreshesTheOthers) {
  const json::object pod = podWith(kAllSources);
  ASSERT_EQ(synced(pod), "");
  client.erase("configmaps", "ns", "c");
  client.put("secrets", R"({"metadata":{"namespace":"ns","name":"s"},"data":{"user":"bmV3"}})");
  clock.advance(481s);
  EXPECT_EQ(synced(pod), "MountVolume.SetUp failed for volume \"all\" : configmap \"c\" not found");
  const fs::path all = at(pod, "all");
  EXPECT_EQ(textOf(all / "text"), "hello");
  EXPECT_EQ(textOf(all / "login/user"), "new");
  EXPECT_EQ(textOf(all / "token"), "token-2:vault");
}

TEST_F(VolumesTest, RemovesTheFilesOfAnOptionalObjectThatWent) {
  const json::object pod = podWith(R"([{"name":"V","configMap":{"name":"c","optional":true,"defaultMode":420}}])");
  ASSERT_EQ(synced(pod), "");
  EXPECT_EQ(visible(at(pod, "V")), (std::set<std::string>{"raw", "text"}));
  client.erase("configmaps", "ns", "c");
  ASSERT_EQ(synced(pod), "");
  EXPECT_EQ(visible(at(pod, "V")), std::set<std::string>{});
}

TEST_F(VolumesTest, KeepsContentThatARestartedAgentCannotReadAgain) {
  const json::object pod = podWith(kAllSources);
  ASSERT_EQ(synced(pod), "");
  volumes = std::make_unique<Volumes>(client, clock, root.path(), options);
  client.fail("token", "serviceaccounts", {Reason::Unavailable, "away"});
  EXPECT_EQ(synced(pod), "MountVolume.SetUp failed for volume \"all\" : failed to fetch token: away");
  EXPECT_EQ(textOf(at(pod, "all") / "token"), "token-1:vault");
  EXPECT_EQ(volumes->known(), std::vector<std::string>{"uid-1"});
}

TEST_F(VolumesTest, KeepsAnExpiredTokenFileAndSaysSo) {
  const json::object pod = podWith(kAllSources);
  ASSERT_EQ(synced(pod), "");
  client.fail("token", "serviceaccounts", {Reason::Unavailable, "away"});
  clock.advance(601s);
  EXPECT_NE(synced(pod).find("expired and refresh failed: away"), std::string::npos);
  EXPECT_EQ(textOf(at(pod, "all") / "token"), "token-1:vault");
}

TEST_F(VolumesTest, WantsToBeSyncedWhenATokenIsDueAndAtMostNinetySecondsLater) {
  EXPECT_EQ(volumes->untilNextSync("uid-1"), 90s);
  const json::object pod = podWith(kAllSources);
  ASSERT_EQ(synced(pod), "");
  EXPECT_GE(volumes->untilNextSync("uid-1"), 60s);
  EXPECT_LE(volumes->untilNextSync("uid-1"), 90s);
  clock.advance(460s);
  ASSERT_EQ(synced(pod), "");
  EXPECT_LE(volumes->untilNextSync("uid-1"), 20s + 1ms);
  clock.advance(21s);
  EXPECT_EQ(volumes->untilNextSync("uid-1"), 0ms);
  ASSERT_EQ(synced(pod), "");
  EXPECT_GE(volumes->untilNextSync("uid-1"), 60s);
  client.erase("secrets", "ns", "s");
  EXPECT_NE(synced(pod), "");
  EXPECT_EQ(volumes->untilNextSync("uid-1"), 500ms);
  EXPECT_NE(synced(pod), "");
  EXPECT_EQ(volumes->untilNextSync("uid-1"), 1s);
}

TEST_F(VolumesTest, GivesTheTokenToThePodsUsersAlone) {
  if (::geteuid() != 0) GTEST_SKIP() << "giving files to other users needs root";
  struct Case {
    const char* why;
    const char* spec;
    unsigned mode;
    uid_t uid;
    gid_t gid;
  };
  const Case cases[] = {
      {"one user", R"("securityContext":{"runAsUser":7},"containers":[{"name":"a"}])", 0600, 7, 0},
      {"a container overrides it for all",
       R"("securityContext":{"runAsUser":7},"containers":[{"name":"a","securityContext":{"runAsUser":8}}])", 0600, 8, 0},
      {"they differ", R"("securityContext":{"runAsUser":7},"containers":[{"name":"a"},{"name":"b","securityContext":{"runAsUser":8}}])",
       0644, 0, 0},
      {"init containers count", R"("containers":[{"name":"a","securityContext":{"runAsUser":8}}],"initContainers":[{"name":"i"}])", 0644, 0,
       0},
      {"a group only", R"("securityContext":{"fsGroup":9},"containers":[{"name":"a"}])", 0640, 0, 9},
      {"both", R"("securityContext":{"fsGroup":9,"runAsUser":7},"containers":[{"name":"a"}])", 0640, 7, 9},
      {"neither", R"("containers":[{"name":"a"}])", 0644, 0, 0}};
  for (const Case& c : cases) {
    SCOPED_TRACE(c.why);
    const json::object pod = podWith(R"([{"name":"V","projected":{"defaultMode":420,"sources":[{"serviceAccountToken":{"path":"token"}}]}},
        {"name":"S","secret":{"secretName":"s","defaultMode":256}}])",
                                     c.spec);
    ASSERT_EQ(synced(pod), "");
    const struct stat token = statusOf(at(pod, "V") / "token");
    EXPECT_EQ(token.st_mode & 07777u, c.mode);
    EXPECT_EQ(token.st_uid, c.uid);
    EXPECT_EQ(token.st_gid, c.gid);
    EXPECT_EQ(modeOf(at(pod, "S") / "user"), c.gid != 0 ? 0440u : 0400u);
    EXPECT_EQ(modeOf(at(pod, "V")), c.gid != 0 ? 02777u : 0777u);
    EXPECT_TRUE(volumes->remove("uid-1"));
  }
}

TEST_F(VolumesTest, KeepsSecretsInMemoryAndUnmountsThem) {
  if (!mayMount()) GTEST_SKIP() << "mounting a tmpfs needs root";
  const json::object pod = podWith(R"([{"name":"all","projected":{"defaultMode":420,"sources":[{"serviceAccountToken":{"path":"token"}}]}},
      {"name":"conf","configMap":{"name":"c","defaultMode":420}},{"name":"mem","emptyDir":{"medium":"Memory","sizeLimit":"64Ki"}}])");
  ASSERT_EQ(synced(pod), "");
  ASSERT_EQ(synced(pod), "") << "mounted once";
  const auto isTmpfs = [](const fs::path& path) {
    struct stat here {
    }, above{};
    return ::stat(path.c_str(), &here) == 0 && ::stat(path.parent_path().c_str(), &above) == 0 && here.st_dev != above.st_dev;
  };
  EXPECT_TRUE(isTmpfs(at(pod, "all")));
  EXPECT_TRUE(isTmpfs(at(pod, "mem")));
  EXPECT_FALSE(isTmpfs(at(pod, "conf")));
  struct statfs memory {};
  ASSERT_EQ(::statfs(at(pod, "mem").c_str(), &memory), 0);
  EXPECT_EQ(static_cast<std::uint64_t>(memory.f_blocks) * static_cast<std::uint64_t>(memory.f_bsize), 64u << 10);
  ASSERT_TRUE(volumes->remove("uid-1"));
  EXPECT_FALSE(fs::exists(root.path() / "pods/uid-1"));
  EXPECT_TRUE(volumes->remove("uid-1")) << "idempotent";
  EXPECT_EQ(readFile("/proc/self/mountinfo")->find(root.path().string()), std::string::npos);
}

TEST_F(VolumesTest, NeverPutsSecretsOnDiskSilently) {
  if (mayMount()) GTEST_SKIP() << "this user may mount a tmpfs";
  volumes = std::make_unique<Volumes>(client, clock, root.path());
  const std::string sentence = synced(podWith(R"([{"name":"V","secret":{"secretName":"s","defaultMode":420}}])"));
  EXPECT_NE(sentence.find("mounting needs root"), std::string::npos) << sentence;
}

TEST_F(VolumesTest, LeavesAnEmptyDirToItsContainers) {
  const json::object pod = podWith(R"([{"name":"e","emptyDir":{}}])");
  ASSERT_EQ(synced(pod), "");
  EXPECT_EQ(modeOf(at(pod, "e")), 0777u);
  std::ofstream(at(pod, "e") / "data") << "mine";
  ASSERT_EQ(::chmod(at(pod, "e").c_str(), 0700), 0);
  ASSERT_EQ(synced(pod), "");
  EXPECT_EQ(modeOf(at(pod, "e")), 0700u);
  EXPECT_EQ(textOf(at(pod, "e") / "data"), "mine");
}

TEST_F(VolumesTest, MakesMountPointsOfNestedVolumes) {
  const json::object pod = podWith(R"([{"name":"out","configMap":{"name":"c","defaultMode":420}},{"name":"in","emptyDir":{}}])",
                                   R"("containers":[{"name":"a","volumeMounts":[{"name":"out","mountPath":"/etc/x/"},
          {"name":"in","mountPath":"/etc/x/sub"},{"name":"in","mountPath":"/etc/x/sub/deeper"},{"name":"in","mountPath":"/etc/xy"}]}])");
  ASSERT_EQ(synced(pod), "");
  ASSERT_EQ(synced(pod), "");
  EXPECT_EQ(visible(at(pod, "out")), (std::set<std::string>{"raw", "sub", "text"}));
  EXPECT_EQ(modeOf(at(pod, "out") / "sub"), 0755u);
  EXPECT_TRUE(fs::is_empty(at(pod, "out") / "sub"));
}

TEST_F(VolumesTest, ChecksHostPathsAsKubeletDoes) {
  const TestDirectory host;
  std::ofstream(host.path() / "file") << "x";
  const std::string base = host.path().string();
  const std::string checkFailed = "MountVolume.SetUp failed for volume \"V\" : hostPath type check failed: " + base;
  struct Case {
    std::string path, type, sentence;
  };
  const Case cases[] = {{base, "", ""},
                        {base + "/none", "", ""},
                        {base, "Directory", ""},
                        {base + "/file", "Directory", checkFailed + "/file is not a directory"},
                        {base + "/none", "Directory", checkFailed + "/none is not a directory"},
                        {base + "/new/dir", "DirectoryOrCreate", ""},
                        {base + "/file", "DirectoryOrCreate", checkFailed + "/file is not a directory"},
                        {base + "/file", "File", ""},
                        {base + "/none", "File", checkFailed + "/none is not a file"},
                        {base + "/made", "FileOrCreate", ""},
                        {base, "FileOrCreate", checkFailed + " is not a file"},
                        {base, "Socket", checkFailed + " is not a socket file"},
                        {"/dev/null", "CharDevice", ""},
                        {base, "CharDevice", checkFailed + " is not a character device"},
                        {base, "BlockDevice", checkFailed + " is not a block device"},
                        {base, "Floppy", "MountVolume.SetUp failed for volume \"V\" : Floppy is an invalid volume type"}};
  for (const Case& c : cases) {
    SCOPED_TRACE(c.path + " " + c.type);
    const json::object pod = podWith(R"([{"name":"V","hostPath":{"path":")" + c.path + R"(","type":")" + c.type + R"("}}])");
    EXPECT_EQ(synced(pod), c.sentence);
    EXPECT_EQ(at(pod, "V"), c.path);
  }
  EXPECT_TRUE(fs::is_directory(host.path() / "new/dir"));
  EXPECT_TRUE(fs::is_regular_file(host.path() / "made"));
  EXPECT_NE(synced(podWith(R"([{"name":"V","hostPath":{"path":"/tmp/../etc"}}])")), "");
  EXPECT_TRUE(volumes->remove("uid-1"));
  EXPECT_TRUE(fs::exists(host.path() / "file")) << "removing the pod leaves the host alone";
}

class SubPathTest : public VolumesTest {
 protected:
  SubPathTest()
      : pod(podWith(
            R"([{"name":"e","emptyDir":{}},{"name":"c","configMap":{"name":"c","defaultMode":420,"items":[{"key":"text","path":"d/t"}]}}])")) {
    EXPECT_EQ(synced(pod), "");
  }
  std::string outcome(const std::string& volume, const std::string& path) {
    const Result<fs::path> found = volumes->subPath(pod, volume, path);
    return found ? "ok" : found.error().sentence;
  }
  const json::object pod;
};

TEST_F(SubPathTest, LeadsToFilesAndDirectoriesInside) {
  std::ofstream(at(pod, "e") / "real") << "inside";
  fs::create_symlink("real", at(pod, "e") / "link");
  for (const char* path : {"real", "link", "./link"}) EXPECT_EQ(textOf(*volumes->subPath(pod, "e", path)), "inside") << path;
  EXPECT_EQ(textOf(*volumes->subPath(pod, "c", "d/t")), "hello");
  EXPECT_EQ(textOf(*volumes->subPath(pod, "c", "d") / "t"), "hello");
  EXPECT_EQ(*volumes->subPath(pod, "c", ""), at(pod, "c"));
}

TEST_F(SubPathTest, PinsOneGeneration) {
  if (!mayMount()) GTEST_SKIP() << "binding needs root";
  const Result<fs::path> before = volumes->subPath(pod, "c", "d/t");
  ASSERT_TRUE(before);
  const Result<fs::path> again = volumes->subPath(pod, "c", "d/t");
  EXPECT_EQ(*before, *again);
  client.put("configmaps", R"({"metadata":{"namespace":"ns","name":"c"},"data":{"text":"changed"}})");
  ASSERT_EQ(synced(pod), "");
  EXPECT_EQ(textOf(*before), "hello") << "what a running container sees";
  EXPECT_EQ(textOf(*volumes->subPath(pod, "c", "d/t")), "changed") << "what the next one is given";
}

TEST_F(SubPathTest, MakesWhatIsMissingOnlyWhereContainersWrite) {
  const Result<fs::path> made = volumes->subPath(pod, "e", "new/deep");
  ASSERT_TRUE(made) << made.error().sentence;
  EXPECT_TRUE(fs::is_directory(at(pod, "e") / "new/deep"));
  EXPECT_EQ(modeOf(at(pod, "e") / "new/deep"), 0777u);
  EXPECT_EQ(outcome("c", "typo"), "subPath \"typo\" of volume \"c\" does not exist");
}

TEST_F(SubPathTest, RefusesEveryWayOut) {
  const TestDirectory outside;
  std::ofstream(outside.path() / "secret") << "host";
  const fs::path e = at(pod, "e");
  fs::create_directory(e / "dir");
  fs::create_symlink("/etc/passwd", e / "absolute");
  fs::create_symlink(outside.path(), e / "away");
  fs::create_symlink("../../..", e / "up");
  fs::create_symlink("dir/../../x", e / "sly");
  fs::create_symlink("loop", e / "loop");
  fs::create_symlink("/proc/self/root", e / "magic");
  fs::create_symlink(outside.path() / "fresh", e / "dangling");
  for (const char* path :
       {"absolute", "away", "away/secret", "away/made", "up", "up/etc", "sly", "loop", "magic/etc", "dangling", "dangling/x"}) {
    const Result<fs::path> found = volumes->subPath(pod, "e", path);
    ASSERT_FALSE(found) << path;
    EXPECT_EQ(found.error().reason, Reason::Forbidden) << path << ": " << found.error().sentence;
  }
  EXPECT_EQ(outcome("e", "/etc"), "subPath \"/etc\" of volume \"e\" must be a relative path");
  EXPECT_EQ(outcome("e", "dir/../../.."), "subPath \"dir/../../..\" of volume \"e\" must not contain '..'");
  EXPECT_EQ(outcome("none", "x"), "the pod has no volume \"none\"");
  EXPECT_FALSE(fs::exists(outside.path() / "made"));
  EXPECT_FALSE(fs::exists(outside.path() / "fresh"));
  ASSERT_TRUE(volumes->subPath(pod, "e", "dir"));
  ASSERT_TRUE(volumes->remove("uid-1"));
  EXPECT_TRUE(fs::exists(outside.path() / "secret")) << "removing a pod follows no link";
}

}  // namespace
}  // namespace podpass::node
