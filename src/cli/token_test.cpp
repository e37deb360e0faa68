#include <gtest/gtest.h>

#include <fstream>
#include <iostream>
#include <sstream>

#include "base/file.h"
#include "base/text.h"
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

// Standard input for the time of a test.
class Input {
 public:
  explicit Input(const std::string& text) : text_(text), before_(std::cin.rdbuf(text_.rdbuf())) {}
  ~Input() { std::cin.rdbuf(before_); }
  Input(const Input&) = delete;
  Input& operator=(const Input&) = delete;

 private:
  std::istringstream text_;
  std::streambuf* before_;
};

// An issuer over TLS whose URL is its own, and tokens of it.
class InspectVerb : public TokenVerbs {
 protected:
  InspectVerb() {
    http::ServerOptions options;
    options.tls = http::Certificates::get().files();
    options.threads = 1;
    issuer_ = http::makeServer(options, [this](std::shared_ptr<const http::Request> request) { return serve(std::move(request)); });
    EXPECT_TRUE(issuer_->start());
    url_ = "https://127.0.0.1:" + std::to_string(issuer_->port());
    known_ = write("known", "clusters: [{name: other, cluster: {server: 'https://127.0.0.1:1'}}, {name: a, cluster: {server: '" + url_ +
                                "', certificate-authority: " + http::Certificates::get().path("ca.crt") + "}}]\n");
    nobody_ = write("nobody", "clusters: []\n");
    file_ = write("token", tokenOf(url_, 3600) + "\n");
  }
  ~InspectVerb() override { stopIssuer(); }
  void stopIssuer() {
    if (issuer_) issuer_->stop(0ms);
    issuer_ = nullptr;
  }

  asio::awaitable<http::Response> serve(std::shared_ptr<const http::Request> request) {
    ++asked_;
    http::Response response;
    std::string body = token::jwks(*server_.ring.load());
    if (request->path != "/keys") body = json::serialize(json::object{{"issuer", url_}, {"jwks_uri", url_ + "/keys"}});
    response.body = std::make_shared<const std::string>(std::move(body));
    co_return response;
  }
  [[nodiscard]] std::string tokenOf(const std::string& issuer, std::int64_t life) const {
    const std::int64_t now = std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count();
    const json::object claims{
        {"aud", json::array{"vault"}}, {"exp", now + life}, {"iat", now - 7200}, {"iss", issuer}, {"sub", "somebody"}};
    return *jose::signCompact(server_.ring.load()->signer(), json::serialize(claims));
  }
  // Never shows a token, whatever it says.
  Ran inspect(std::vector<std::string> words) const {
    words.insert(words.begin(), {"token", "inspect"});
    if (std::find(words.begin(), words.end(), "--kubeconfig") == words.end()) words.insert(words.end(), {"--kubeconfig", nobody_});
    const Ran ran = podpass(std::move(words));
    const std::string token = *readFile(file_), signature = token.substr(token.rfind('.') + 1, 40);
    EXPECT_EQ((ran.out + ran.err).find(signature), std::string::npos) << ran.out << ran.err;
    return ran;
  }

  std::unique_ptr<http::Server> issuer_;
  std::string url_, known_, nobody_, file_;
  std::atomic<int> asked_ = 0;
};

bool says(const std::string& text, std::string_view what) { return text.find(what) != std::string::npos; }

TEST_F(InspectVerb, ReadsAFileOrStandardInputAndAsksNobody) {
  const Ran file = inspect({file_});
  EXPECT_EQ(file.status, 0) << file.err;
  EXPECT_TRUE(says(file.out, "subject     somebody\n")) << file.out;
  EXPECT_TRUE(says(file.out, "signature   not checked: --online asks the issuer for its keys, --jwks FILE takes them from a file\n"))
      << file.out;
  {
    const Input input(*readFile(file_));
    EXPECT_EQ(inspect({}).out, file.out);
  }
  const Input nothing("\n");
  const Ran empty = inspect({"-"});
  EXPECT_EQ(empty.status, 1);
  EXPECT_TRUE(says(empty.err, "there is no token to look at")) << empty.err;
  const Ran absent = inspect({"/no/such/file"});
  EXPECT_EQ(absent.status, 1);
  EXPECT_TRUE(says(absent.err, "/no/such/file")) << absent.err;
  EXPECT_EQ(asked_, 0);
}

TEST_F(InspectVerb, RefusesATokenAmongTheArgumentsAndNeverRepeatsIt) {
  const std::string token = server_.token("vault"), damaged = token.substr(1), cut = token.substr(0, token.rfind('.'));
  const std::vector<std::vector<std::string>> uses = {{"token", "inspect", token},
                                                      {"token", "inspect", damaged},
                                                      {"token", "inspect", cut},
                                                      {"token", "verify", token},
                                                      {"token", token},
                                                      {token},
                                                      {"token", "inspect", "-", token},
                                                      {"token", "create", "default", "--audience=" + token}};
  for (const std::vector<std::string>& words : uses) {
    const Ran refused = podpass(words);
    EXPECT_EQ(refused.status, 2) << refused.err;
    EXPECT_EQ(refused.out, "");
    EXPECT_TRUE(says(refused.err, "arguments can be read by everybody on this machine")) << refused.err;
    EXPECT_TRUE(says(refused.err, "in a file or on standard input")) << refused.err;
    EXPECT_FALSE(says(refused.err, token.substr(10, 30))) << refused.err;
  }
  EXPECT_EQ(podpass({"token", "inspect", "-o", "xml"}).status, 2);
  EXPECT_EQ(podpass({"token", "inspect", "--online", "--offline"}).status, 2);
}

TEST_F(InspectVerb, ChecksTheSignatureWithKeysFromAFile) {
  const Ran good = inspect({file_, "--jwks", jwks_, "--audience", "vault"});
  EXPECT_EQ(good.status, 0) << good.out;
  EXPECT_TRUE(says(good.out, "verdict     good\n")) << good.out;
  const Ran other = inspect({file_, "--jwks", jwks_, "--audience", "sts"});
  EXPECT_EQ(other.status, 1);
  EXPECT_TRUE(says(other.out, "refused: audience: ")) << other.out;
  const Ran unknown = inspect({file_, "--jwks", write("strangers", R"({"keys":[]})")});
  EXPECT_EQ(unknown.status, 1);
  EXPECT_TRUE(says(unknown.out, "refused: key id: ")) << unknown.out;
  EXPECT_EQ(inspect({file_, "--jwks", write("broken", "{")}).status, 1);
  EXPECT_EQ(asked_, 0);
}

TEST_F(InspectVerb, AsksTheIssuerWhenToldToOrWhenTheKubeconfigKnowsIt) {
  const std::string ca = http::Certificates::get().path("ca.crt");
  for (const std::vector<std::string>& flags : std::vector<std::vector<std::string>>{
           {"--online", "--issuer-ca", ca}, {"--online", "--kubeconfig", known_}, {"--kubeconfig", known_}}) {
    std::vector<std::string> words{file_, "-o", "json"};
    words.insert(words.end(), flags.begin(), flags.end());
    const Ran ran = inspect(words);
    EXPECT_EQ(ran.status, 0) << ran.err << ran.out;
    EXPECT_TRUE(says(ran.out, R"("signature":"good")")) << ran.out;
    EXPECT_TRUE(says(ran.out, R"("verified":true,"failedCheck":"")")) << ran.out;
  }
  const int asked = asked_;
  EXPECT_EQ(inspect({file_, "--kubeconfig", known_, "--offline"}).status, 0);
  const Ran untrusted = inspect({file_, "--online"});
  EXPECT_EQ(untrusted.status, 1) << "an issuer whose authority nobody named";
  EXPECT_EQ(asked_, asked);
  const Ran legacy = inspect({write("legacy", tokenOf("kubernetes/serviceaccount", 60)), "--online"});
  EXPECT_EQ(legacy.status, 1);
  EXPECT_TRUE(says(legacy.err, "kubectl get --raw /openid/v1/jwks")) << legacy.err;
  const Ran plain = inspect({write("plain", tokenOf("http://issuer.invalid", 60)), "--online"});
  EXPECT_EQ(plain.status, 1);
  EXPECT_TRUE(says(plain.err, "plain http")) << plain.err;

  stopIssuer();
  const Ran away = inspect({file_, "--kubeconfig", known_});
  EXPECT_EQ(away.status, 0) << "what was not asked for must not fail";
  EXPECT_TRUE(says(away.out, "not checked: the issuer was asked for its keys in vain: ")) << away.out;
  EXPECT_EQ(inspect({file_, "--online", "--kubeconfig", known_}).status, 1);
}

TEST_F(InspectVerb, NamesWhatIsWrongWithTheToken) {
  const std::string good = tokenOf(url_, 3600), payload = good.substr(good.find('.'), good.rfind('.') - good.find('.') + 1);
  struct Case {
    const char* why;
    std::string token;
    const char* verdict;
  };
  for (const Case& c :
       {Case{"expired", tokenOf(url_, -60), "refused: time: the token expired at "},
        Case{"alg none", base64UrlEncode(R"({"alg":"none"})") + payload, "refused: algorithm: the token is unsigned (alg \"none\")"},
        Case{"cut", good.substr(0, good.rfind('.') - 1), "refused: form: "}, Case{"no token at all", "hello", "refused: form: "}}) {
    SCOPED_TRACE(c.why);
    const Ran refused = inspect({write("bad", c.token), "--kubeconfig", known_});
    EXPECT_EQ(refused.status, 1);
    EXPECT_TRUE(says(refused.out, c.verdict)) << refused.out;
  }
  EXPECT_TRUE(says(inspect({write("bad", base64UrlEncode(R"({"alg":"none"})") + payload)}).out, "subject     somebody\n"))
      << "it is decoded";
}

}  // namespace
}  // namespace podpass::cli
