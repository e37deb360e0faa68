#include "client/kubeconfig.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>

#include "base/text.h"

namespace podpass::client {
namespace {

namespace fs = std::filesystem;

// A directory of its own, with nothing of the machine's configuration in sight.
class Kubeconfig : public testing::Test {
 protected:
  Kubeconfig() {
    std::string pattern = (fs::temp_directory_path() / "podpass-kubeconfig-XXXXXX").string();
    directory = mkdtemp(pattern.data());
    ::setenv("HOME", directory.c_str(), 1);
    for (const char* name : {"KUBECONFIG", "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"}) ::unsetenv(name);
  }
  ~Kubeconfig() override { fs::remove_all(directory); }
  std::string write(const std::string& name, const std::string& text) const {
    fs::create_directories((directory / name).parent_path());
    std::ofstream(directory / name) << text;
    return (directory / name).string();
  }
  static std::string problemOf(const Result<Access>& access) { return access ? "" : access.error().sentence + " | " + access.error().fix; }

  fs::path directory;
};

constexpr const char* kWhole = R"(
apiVersion: v1
kind: Config
current-context: one
contexts:
- name: one
  context: {cluster: here, user: admin, namespace: team}
- name: two
  context: {cluster: there, user: robot}
- name: nobody
  context: {cluster: there}
clusters:
- name: here
  cluster: {server: "https://127.0.0.1:6443/", certificate-authority-data: Y2E=, tls-server-name: kubernetes}
- name: there
  cluster: {server: "https://[::1]:6443/k8s", certificate-authority: ca.pem, insecure-skip-tls-verify: true}
users:
- name: admin
  user: {client-certificate-data: Y2VydA==, client-key-data: a2V5}
- name: robot
  user: {token: abc}
)";

TEST_F(Kubeconfig, SaysWhereTheServerIsAndWhoAsks) {
  const std::string file = write("config", kWhole);
  write("ca.pem", "authority");
  Result<Access> access = findAccess({file, ""});
  ASSERT_TRUE(access) << access.error().sentence;
  EXPECT_EQ(access->server, "https://127.0.0.1:6443");
  EXPECT_EQ(access->ns, "team");
  EXPECT_EQ(access->caPem, "ca");
  EXPECT_EQ(access->serverName, "kubernetes");
  EXPECT_EQ(access->clientCertificatePem, "cert");
  EXPECT_EQ(access->clientKeyPem.reveal(), "key");
  EXPECT_EQ(access->origin, "context \"one\" of " + file);
  access = findAccess({file, "two"});
  ASSERT_TRUE(access) << access.error().sentence;
  EXPECT_EQ(access->server, "https://[::1]:6443/k8s");
  EXPECT_EQ(access->caPem, "authority") << "paths are relative to the file";
  EXPECT_TRUE(access->insecure);
  EXPECT_EQ(access->token.reveal(), "abc");
  EXPECT_EQ(access->ns, "default");
  access = findAccess({file, "nobody"});
  ASSERT_TRUE(access) << access.error().sentence;
  EXPECT_TRUE(access->token.empty());
}

TEST_F(Kubeconfig, IsFoundWhereKubectlFindsIt) {
  EXPECT_NE(problemOf(findAccess({})).find("no API server is known"), std::string::npos);
  write(".kube/config", kWhole);
  EXPECT_EQ(findAccess({})->ns, "team");
  const std::string first = write("first", "contexts: [{name: one, context: {cluster: here, user: admin, namespace: first}}]");
  const std::string list = (directory / "absent").string() + ":" + first + "::" + write("second", kWhole);
  ::setenv("KUBECONFIG", list.c_str(), 1);
  Result<Access> access = findAccess({});
  ASSERT_TRUE(access) << access.error().sentence;
  EXPECT_EQ(access->ns, "first") << "who names it first, decides";
  EXPECT_EQ(access->caPem, "ca");
  access = findAccess({write("third", kWhole), ""});
  EXPECT_EQ(access->ns, "team") << "the flag goes before the environment";
}

TEST_F(Kubeconfig, InsideAPodTheServiceAccountServes) {
  write("sa/ca.crt", "authority");
  write("sa/namespace", "team");
  const Result<Access> access = podAccess("fd00::1", "443", directory / "sa");
  ASSERT_TRUE(access) << access.error().sentence;
  EXPECT_EQ(access->server, "https://[fd00::1]:443");
  EXPECT_EQ(access->ns, "team");
  EXPECT_EQ(access->tokenFile, directory / "sa" / "token");
  EXPECT_FALSE(podAccess("127.0.0.1", "443", directory / "absent"));
}

TEST_F(Kubeconfig, NamesTheFileAndTheEntryThatIsWrong) {
  struct Case {
    const char* why;
    std::string text;
    const char* context;
    const char* says;
  };
  const std::string context = "current-context: a\ncontexts: [{name: a, context: {cluster: a, user: a}}]\n";
  const std::string cluster = "clusters: [{name: a, cluster: {server: 'https://127.0.0.1'}}]\n";
  const Case cases[] = {
      {"no YAML", "a: [", "", "cannot be read"},
      {"no map", "- a", "", "is not a YAML map"},
      {"empty", "{}", "", "has no current-context"},
      {"another context", kWhole, "three", R"(has no context "three" | it has "nobody", "one", "two")"},
      {"no cluster", context, "", R"(has no cluster "a")"},
      {"no server", context + "clusters: [{name: a, cluster: {}}]", "", "has no server"},
      {"no user", context + cluster, "", R"(has no user "a")"},
      {"a proxy", context + "clusters: [{name: a, cluster: {server: 'https://127.0.0.1', proxy-url: 'http://127.0.0.1'}}]", "",
       "proxy-url"},
      {"no authority file", context + "clusters: [{name: a, cluster: {server: 'https://127.0.0.1', certificate-authority: absent.pem}}]",
       "", "certificate-authority of the kubeconfig"},
      {"data that is not base64", context + cluster + "users: [{name: a, user: {client-key-data: '%%'}}]", "",
       "client-key-data in the kubeconfig"},
      {"a password", context + cluster + "users: [{name: a, user: {username: a, password: b}}]", "", "logs in with username"}};
  for (const Case& c : cases) {
    SCOPED_TRACE(c.why);
    const std::string file = write("config", c.text);
    const std::string problem = problemOf(findAccess({file, c.context}));
    EXPECT_NE(problem.find(c.says), std::string::npos) << problem;
    EXPECT_NE(problem.find(file), std::string::npos) << problem;
  }
  EXPECT_NE(problemOf(findAccess({(directory / "absent").string(), ""})).find("does not exist | give --kubeconfig"), std::string::npos);
}

}  // namespace
}  // namespace podpass::client
