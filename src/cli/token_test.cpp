#include <gtest/gtest.h>

#include <fstream>

#include "cli/command_line.h"
#include "http/test_certificates.h"
#include "server/test_server.h"

namespace podpass::cli {
namespace {

namespace asio = boost::asio;
namespace fs = std::filesystem;
using namespace std::chrono_literals;

struct Ran {
  int status;
  std::string out, err;
};

Ran podpass(std::vector<std::string> words) {
  words.insert(words.begin(), "podpass");
  std::vector<char*> pointers;
  for (std::string& word : words) pointers.push_back(word.data());
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  const int status = run(static_cast<int>(pointers.size()), pointers.data());
  std::fflush(stdout);
  std::fflush(stderr);
  return {status, testing::internal::GetCapturedStdout(), testing::internal::GetCapturedStderr()};
}

// An API server over TLS, its clock on the present, and a kubeconfig of its admin.
class TokenVerbs : public testing::Test {
 protected:
  TokenVerbs() {
    server_.clock.stepWall(std::chrono::system_clock::now() - server_.clock.now());
    std::string pattern = (fs::temp_directory_path() / "podpass-cli-XXXXXX").string();
    directory_ = mkdtemp(pattern.data());
    http::ServerOptions options;
    options.tls = http::Certificates::get().files();
    options.threads = 1;
    listener_ = http::makeServer(options,
                                 [this](std::shared_ptr<const http::Request> request) { return server_.api().handle(std::move(request)); });
    EXPECT_TRUE(listener_->start());
    const http::Certificates& certificates = http::Certificates::get();
    kubeconfig_ = write("config",
                        "current-context: a\ncontexts: [{name: a, context: {cluster: a, user: a}}]\nclusters: [{name: a, cluster: {server: "
                        "'https://127.0.0.1:" +
                            std::to_string(listener_->port()) + "', certificate-authority: " + certificates.path("ca.crt") +
                            "}}]\nusers: [{name: a, user: {client-certificate: " + certificates.path("client.crt") +
                            ", client-key: " + certificates.path("client.key") + "}}]\n");
    jwks_ = write("jwks", token::jwks(*server_.ring.load()));
  }
  ~TokenVerbs() override {
    server_.api().beginShutdown();
    listener_->stop(0ms);
    fs::remove_all(directory_);
  }
  std::string write(const std::string& name, const std::string& text) const {
    std::ofstream(directory_ / name) << text;
    return (directory_ / name).string();
  }
  Ran create(std::vector<std::string> flags) const {
    flags.insert(flags.begin(), {"token", "create", "default", "--kubeconfig", kubeconfig_});
    return podpass(std::move(flags));
  }

  server::test::TestServer server_;
  std::unique_ptr<http::Server> listener_;
  fs::path directory_;
  std::string kubeconfig_, jwks_;
};

TEST_F(TokenVerbs, CreatesATokenAndVerifiesItOfflineAndOnline) {
  const Ran made = create({"--audience", "vault", "--audience", "other", "--duration", "1h"});
  ASSERT_EQ(made.status, 0) << made.err;
  const std::string file = write("token", made.out);
  const Ran offline = podpass({"token", "verify", file, "--jwks", jwks_, "--audience", "vault"});
  EXPECT_EQ(offline.status, 0) << offline.err;
  EXPECT_TRUE(offline.out.starts_with("the token is good: system:serviceaccount:default:default\n  audiences: vault, other\n"))
      << offline.out;
  const Ran online = podpass({"token", "verify", file, "--audience", "vault", "--kubeconfig", kubeconfig_, "-o", "json"});
  EXPECT_EQ(online.status, 0) << online.out;
  EXPECT_TRUE(online.out.starts_with(R"({"valid":true,"user":"system:serviceaccount:default:default","audiences":["vault"],)"))
      << online.out;
  const Ran whole = create({"-o", "yaml"});
  EXPECT_NE(whole.out.find("kind: TokenRequest\n"), std::string::npos) << whole.out;
}

TEST_F(TokenVerbs, ARefusalNamesTheCheck) {
  const std::string file = write("token", server_.token("vault"));
  struct Case {
    const char* why;
    std::vector<std::string> flags;
    const char* check;
  };
  const std::string strangers = write("strangers", R"({"keys":[]})");
  for (const Case& c :
       {Case{"another audience, offline", {"--jwks", jwks_, "--audience", "sts"}, "check: audience, expected \"sts\", found \"vault\""},
        Case{"another audience, online",
             {"--audience", "sts", "--kubeconfig", kubeconfig_},
             "check: audience, expected \"sts\", found \"vault\""},
        Case{"another issuer",
             {"--jwks", jwks_, "--issuer", "https://127.0.0.1"},
             "check: issuer, expected https://127.0.0.1, found https://issuer.example"},
        Case{"other keys", {"--jwks", strangers}, "check: key id, expected none"}}) {
    SCOPED_TRACE(c.why);
    std::vector<std::string> words{"token", "verify", file};
    words.insert(words.end(), c.flags.begin(), c.flags.end());
    const Ran refused = podpass(words);
    EXPECT_EQ(refused.status, 1);
    EXPECT_EQ(refused.out, "");
    EXPECT_NE(refused.err.find(c.check), std::string::npos) << refused.err;
    EXPECT_EQ(refused.err.find(server_.token("vault").substr(0, 40) + "."), std::string::npos) << "never the token";
  }
  const Ran yaml = podpass({"token", "verify", file, "--jwks", jwks_, "--audience", "sts", "-o", "yaml"});
  EXPECT_EQ(yaml.status, 1);
  EXPECT_NE(yaml.out.find("failedCheck: audience\n"), std::string::npos) << yaml.out;
}

TEST_F(TokenVerbs, ATokenWhoseServiceAccountIsGoneIsRefusedOnlineOnly) {
  const std::string file = write("token", server_.token());
  server_.ask("DELETE", "/api/v1/namespaces/default/serviceaccounts/default");
  EXPECT_EQ(podpass({"token", "verify", file, "--jwks", jwks_}).status, 0);
  const Ran refused = podpass({"token", "verify", file, "--kubeconfig", kubeconfig_});
  EXPECT_EQ(refused.status, 1);
  EXPECT_NE(refused.err.find("check: token review"), std::string::npos) << refused.err;
}

TEST_F(TokenVerbs, SaysWhatIsWrongWithItsUse) {
  EXPECT_EQ(create({"--duration", "soon"}).status, 2);
  EXPECT_EQ(create({"--bound-object-kind", "Pod"}).status, 2);
  EXPECT_EQ(create({"-o", "text"}).status, 2);
  const Ran absent = podpass({"token", "create", "nobody", "--kubeconfig", kubeconfig_});
  EXPECT_EQ(absent.status, 1);
  EXPECT_NE(absent.err.find("serviceaccounts \"nobody\" not found"), std::string::npos) << absent.err;
  const Ran unknown = podpass({"token", "create", "default", "--kubeconfig", kubeconfig_, "--context", "b"});
  EXPECT_EQ(unknown.status, 1);
  EXPECT_NE(unknown.err.find("fix: it has \"a\""), std::string::npos) << unknown.err;
  EXPECT_EQ(podpass({"verify", "--listen", "nonsense", "--issuer", "https://127.0.0.1", "--audience", "a"}).status, 2);
  EXPECT_EQ(podpass({"verify", "--listen", "127.0.0.1:0", "--issuer", "ftp://127.0.0.1", "--audience", "a"}).status, 1);
  const Ran lint = podpass({"doctor", "issuer", "http://127.0.0.1:1", "-o", "json"});
  EXPECT_EQ(lint.status, 1);
  EXPECT_TRUE(lint.out.starts_with(R"({"issuer":"http://127.0.0.1:1","good":false)")) << lint.out;
}

}  // namespace
}  // namespace podpass::cli
