#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "base/file.h"
#include "crypto/certificate.h"
#include "http/client.h"
#include "irsa/webhook_server.h"

namespace podpass::irsa {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

// A directory with a certificate of an authority of its own, and a webhook that serves with it.
class Serving {
 public:
  Serving() : directory(made()) {
    writeCertificate("first");
    listeners.bind = "127.0.0.1";
    listeners.port = 0;
    listeners.metricsPort = 0;
    listeners.tls.certificate = directory / "tls.crt";
    listeners.tls.key = directory / "tls.key";
    listeners.credentialsFile = directory / "mount" / "config.json";
    listeners.threads = 1;
  }
  ~Serving() {
    server.reset();
    fs::remove_all(directory);
  }
  Serving(const Serving&) = delete;
  Serving& operator=(const Serving&) = delete;

  void start() {
    server = std::make_unique<WebhookServer>(listeners, WebhookOptions{}, sources, [](const std::string&, const std::string&) {
      return Result<std::optional<Account>>(std::optional<Account>());
    });
    const Result<void> started = server->start(listeners.tls);
    ASSERT_TRUE(started) << started.error().sentence;
  }
  // By an authority of that name; its certificate is what clients have to trust.
  void writeCertificate(const std::string& name) {
    const WallTime now = SystemClock().now();
    const Result<crypto::Authority> authority = crypto::Authority::make(name, now);
    const Result<crypto::IssuedCertificate> issued =
        (*authority).issue({.commonName = "webhook", .addresses = {"127.0.0.1"}, .forServer = true}, now);
    ASSERT_TRUE(writeFileAtomically(directory / (name + "-ca.crt"), (*authority).certificatePem()));
    ASSERT_TRUE(writeFileAtomically(directory / "tls.key", (*issued).keyPem.reveal()));
    ASSERT_TRUE(writeFileAtomically(directory / "tls.crt", (*issued).certificatePem));
  }
  Result<http::Fetched> healthTrusting(const std::string& authority) const {
    http::FetchOptions options;
    options.caPem = *readFile(directory / (authority + "-ca.crt"));
    return http::fetch("https://127.0.0.1:" + std::to_string(server->port()) + "/healthz", options);
  }

  fs::path directory;
  WebhookListeners listeners;
  WebhookSources sources;
  std::unique_ptr<WebhookServer> server;

 private:
  static fs::path made() {
    std::string pattern = (fs::temp_directory_path() / "podpass-webhook-XXXXXX").string();
    return mkdtemp(pattern.data());
  }
};

bool eventually(const std::function<bool()>& true_) {
  for (int i = 0; i < 500; ++i) {
    if (true_()) return true;
    std::this_thread::sleep_for(10ms);  // between looks at what inotify causes elsewhere
  }
  return false;
}

TEST(WebhookServer, ShowsANewCertificateWithoutARestart) {
  Serving serving;
  serving.start();
  ASSERT_TRUE(serving.healthTrusting("first"));
  EXPECT_EQ((*serving.healthTrusting("first")).body, "ok");
  serving.writeCertificate("second");
  EXPECT_TRUE(eventually([&] { return bool(serving.healthTrusting("second")); }));
  EXPECT_FALSE(serving.healthTrusting("first"));
  ASSERT_TRUE(writeFileAtomically(serving.directory / "tls.crt", "no certificate"));
  std::this_thread::sleep_for(50ms);
  EXPECT_TRUE(serving.healthTrusting("second")) << "what cannot be used does not replace what can";
}

TEST(WebhookServer, ServesMetricsWithoutTls) {
  Serving serving;
  serving.start();
  const Result<http::Fetched> metrics = http::fetch("http://127.0.0.1:" + std::to_string(serving.server->metricsPort()) + "/metrics", {});
  ASSERT_TRUE(metrics) << metrics.error().sentence;
  EXPECT_NE((*metrics).body.find("pod_identity_webhook_used 0\n"), std::string::npos);
}

TEST(WebhookServer, FollowsTheCredentialsFileThroughAMount) {
  Serving serving;
  serving.start();
  EXPECT_TRUE(serving.sources.credentials.load()->empty()) << "the directory does not even exist";
  const fs::path mount = serving.directory / "mount";
  const auto swapTo = [&mount](const std::string& version, const std::string& text) {  // as the kubelet's atomic writer does
    fs::create_directories(mount / version);
    std::ofstream(mount / version / "config.json") << text;
    fs::remove(mount / "..next");
    fs::create_symlink(version, mount / "..next");
    fs::rename(mount / "..next", mount / "..data");
    if (!fs::is_symlink(mount / "config.json")) fs::create_symlink("..data/config.json", mount / "config.json");
  };
  const auto holds = [&serving](const char* key) { return serving.sources.credentials.load()->contains(key); };
  swapTo("..1", R"({"identities":[{"namespace":"a","serviceAccount":"b"}]})");
  EXPECT_TRUE(eventually([&] { return holds("a/b"); }));
  swapTo("..2", R"({"identities":[{"namespace":"c","serviceAccount":"d"}]})");
  EXPECT_TRUE(eventually([&] { return holds("c/d") && !holds("a/b"); }));
  swapTo("..3", R"({"identities":)");
  swapTo("..4", R"({"identities":[{"namespace":"e","serviceAccount":"f"},{"namespace":"c","serviceAccount":"d"}]})");
  EXPECT_TRUE(eventually([&] { return holds("e/f") && holds("c/d"); })) << "a malformed file in between changed nothing";
  fs::remove(mount / "config.json");
  EXPECT_TRUE(eventually([&] { return serving.sources.credentials.load()->empty(); }));
}

TEST(WebhookServer, SaysWhyItCannotStart) {
  Serving serving;
  serving.listeners.tls.key = serving.directory / "missing.key";
  WebhookServer server(serving.listeners, {}, serving.sources, nullptr);
  const Result<void> started = server.start(serving.listeners.tls);
  ASSERT_FALSE(started);
  EXPECT_NE(started.error().sentence.find("missing.key"), std::string::npos);
}

}  // namespace
}  // namespace podpass::irsa
