#include "client/remote_client.h"

#include <gtest/gtest.h>
#include <malloc.h>
#include <sys/stat.h>

#include <condition_variable>
#include <fstream>
#include <future>

#include "api/kinds.h"
#include "http/test_certificates.h"
#include "server/test_server.h"

namespace podpass::client {
namespace {

namespace asio = boost::asio;
namespace fs = std::filesystem;
using namespace std::chrono_literals;
using Type = api::WatchEvent::Type;

constexpr std::chrono::seconds kPatience{20};

// Passes on what is written first and then says that the client has gone.
class OnlyOnce final : public http::BodyWriter {
 public:
  explicit OnlyOnce(http::BodyWriter& writer) : writer_(writer) {}
  asio::awaitable<bool> write(std::shared_ptr<const std::string> bytes) override {
    co_await writer_.write(std::move(bytes));
    closed_ = true;
    co_return false;
  }
  void onClosed(std::function<void()> gone) override { writer_.onClosed(std::move(gone)); }
  [[nodiscard]] bool closed() const override { return closed_ || writer_.closed(); }

 private:
  http::BodyWriter& writer_;
  bool closed_ = false;
};

// An API server behind real TLS. Watches end after their first event, so that they must resume, and can be refused.
class Served {
 public:
  Served() {
    http::ServerOptions options;
    options.tls = http::Certificates::get().files();
    options.threads = 1;
    listener_ = http::makeServer(options, [this](std::shared_ptr<const http::Request> request) { return handle(std::move(request)); });
    const Result<void> started = listener_->start();
    EXPECT_TRUE(started);
  }
  ~Served() {
    server.api().beginShutdown();
    listener_->stop(0ms);
  }
  [[nodiscard]] Access nobody() const {
    Access access;
    access.server = "https://127.0.0.1:" + std::to_string(listener_->port());
    access.origin = "test";
    access.caPem = http::Certificates::get().text("ca.crt");
    return access;
  }
  [[nodiscard]] Access admin() const {
    Access access = nobody();
    access.clientCertificatePem = http::Certificates::get().text("client.crt");
    access.clientKeyPem = Secret(http::Certificates::get().text("client.key"));
    return access;
  }

  server::test::TestServer server;
  std::atomic<int> watches{0};
  std::atomic<int> refusal{0};  // the status that watches are refused with

 private:
  asio::awaitable<http::Response> handle(std::shared_ptr<const http::Request> request) {
    if (!request->parameter("watch")) co_return co_await server.api().handle(std::move(request));
    ++watches;
    if (refusal != 0) {
      http::Response response;
      response.status = refusal;
      const int code = refusal;
      json::object status{{"kind", "Status"}, {"status", "Failure"}, {"message", "refused by the test"}, {"code", code}};
      response.body = std::make_shared<const std::string>(json::serialize(status));
      co_return response;
    }
    http::Response response = co_await server.api().handle(std::move(request));
    if (response.stream)
      response.stream = [whole = std::move(response.stream)](http::BodyWriter& writer) -> asio::awaitable<void> {
        OnlyOnce once(writer);
        co_await whole(once);
      };
    co_return response;
  }

  std::unique_ptr<http::Server> listener_;
};

json::object configMap(const std::string& name, const std::string& value = "") {
  json::object object{{"metadata", json::object{{"name", name}, {"labels", json::object{{"app", name}}}}}};
  if (!value.empty()) object["data"] = json::object{{"key", value}};
  return object;
}

// What a watch told, as "ADDED a".
class Told {
 public:
  std::function<void(const api::WatchEvent&)> listener() {
    return [this](const api::WatchEvent& event) {
      const char* type = event.type == Type::Added ? "ADDED " : event.type == Type::Deleted ? "DELETED " : "MODIFIED ";
      const std::lock_guard lock(mutex_);
      all_.push_back(type + std::string(textAt(event.object->value, {"metadata", "name"})));
      changed_.notify_all();
    };
  }
  bool waitFor(const std::vector<std::string>& expected) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, kPatience, [&] { return all_ == expected; });
  }
  std::string text() {
    const std::lock_guard lock(mutex_);
    std::string text;
    for (const std::string& one : all_) text += one + "; ";
    return text;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::string> all_;
};

bool eventually(const std::function<bool()>& holds) {
  const auto until = std::chrono::steady_clock::now() + kPatience;
  while (!holds() && std::chrono::steady_clock::now() < until) std::this_thread::sleep_for(5ms);
  return holds();
}

TEST(RemoteClient, DoesWhatTheServerAllows) {
  const Served served;
  RemoteClient client(served.admin());
  const api::Kind& kind = api::configMapKind();
  Result<DocumentPtr> made = client.create(kind, "default", configMap("a", "1"));
  ASSERT_TRUE(made) << made.error().sentence;
  EXPECT_GT((*made)->revision, 0u);
  ASSERT_TRUE(client.create(kind, "default", configMap("b")));
  json::object changed = (*made)->value;
  changed["data"] = json::object{{"key", "2"}};
  Result<DocumentPtr> updated = client.update(kind, {"default", "a"}, changed);
  ASSERT_TRUE(updated) << updated.error().sentence;
  Result<DocumentPtr> patched = client.mergePatch(kind, {"default", "a"}, {{"data", json::object{{"other", "3"}}}});
  ASSERT_TRUE(patched) << patched.error().sentence;
  Result<DocumentPtr> got = client.get(kind, {"default", "a"});
  ASSERT_TRUE(got);
  EXPECT_EQ(textAt((*got)->value, {"data", "key"}), "2");
  EXPECT_EQ(textAt((*got)->value, {"data", "other"}), "3");
  EXPECT_EQ((*got)->revision, (*patched)->revision);
  Result<api::Listing> some = client.list(kind, "", {.labels = "app in (a, x)", .fields = "metadata.namespace=default"});
  ASSERT_TRUE(some) << some.error().sentence;
  ASSERT_EQ(some->items.size(), 1u);
  EXPECT_EQ(textAt(some->items[0]->value, {"kind"}), "ConfigMap") << "lists leave it out";
  EXPECT_GE(some->revision, (*got)->revision);
  ASSERT_TRUE(client.remove(kind, {"default", "a"}));
  json::object request{{"spec", json::object{{"audiences", json::array{"vault"}}}}};
  const Result<json::object> token = client.createSubresource(api::serviceAccountKind(), {"default", "default"}, "token", request);
  ASSERT_TRUE(token) << token.error().sentence;
  EXPECT_FALSE(textAt(*token, {"status", "token"}).empty());
}

TEST(RemoteClient, HandsTheServersReasonsOn) {
  const Served served;
  RemoteClient client(served.admin());
  const api::Kind& kind = api::configMapKind();
  ASSERT_TRUE(client.create(kind, "default", configMap("a")));
  const Result<DocumentPtr> absent = client.get(kind, {"default", "no/such"});
  ASSERT_FALSE(absent);
  EXPECT_EQ(absent.error().reason, Reason::NotFound);
  const Result<DocumentPtr> twice = client.create(kind, "default", configMap("a"));
  ASSERT_FALSE(twice);
  EXPECT_EQ(twice.error().reason, Reason::AlreadyExists);
  EXPECT_EQ(twice.error().sentence, "configmaps \"a\" already exists");
  EXPECT_EQ(twice.error().about.name, "a");
  json::object stale = configMap("a");
  makeObjectAt(stale, {"metadata"})["resourceVersion"] = "1";
  const Result<DocumentPtr> conflict = client.update(kind, {"default", "a"}, stale);
  ASSERT_FALSE(conflict);
  EXPECT_EQ(conflict.error().reason, Reason::Conflict);
  const Result<DocumentPtr> invalid = client.create(kind, "default", configMap("A B"));
  ASSERT_FALSE(invalid);
  EXPECT_EQ(invalid.error().reason, Reason::Invalid);
  ASSERT_FALSE(invalid.error().causes.empty());
  EXPECT_EQ(invalid.error().causes[0].field, "metadata.name");
  api::DeleteOptions other;
  other.uid = "another";
  EXPECT_EQ(client.remove(kind, {"default", "a"}, other).error().reason, Reason::Conflict);

  RemoteClient nobody(served.nobody());
  const Result<DocumentPtr> forbidden = nobody.get(kind, {"default", "a"});
  ASSERT_FALSE(forbidden);
  EXPECT_EQ(forbidden.error().reason, Reason::Forbidden);
  EXPECT_NE(forbidden.error().sentence.find("system:anonymous"), std::string::npos) << forbidden.error().sentence;
  EXPECT_NE(forbidden.error().fix, "");
  Access wrong = served.nobody();
  wrong.token = Secret("not a token");
  const Result<DocumentPtr> unauthorized = RemoteClient(wrong).get(kind, {"default", "a"});
  ASSERT_FALSE(unauthorized);
  EXPECT_EQ(unauthorized.error().reason, Reason::Unauthorized);
  EXPECT_NE(unauthorized.error().fix.find("not, or no longer, accepted"), std::string::npos);
}

TEST(RemoteClient, SaysWhyAServerCannotBeAsked) {
  const Served served;
  Access stranger = served.admin();
  stranger.caPem = http::Certificates::get().text("stranger-ca.crt");
  const Result<DocumentPtr> refused = RemoteClient(stranger).get(api::configMapKind(), {"default", "a"});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().reason, Reason::Unavailable);
  EXPECT_TRUE(refused.error().sentence.starts_with("the API server of the test does not answer: the certificate of "))
      << refused.error().sentence;
}

TEST(RemoteClient, ListsPageByPage) {
  Served served;
  for (int i = 0; i < 1001; ++i)
    ASSERT_EQ(
        served.server.ask("POST", "/api/v1/namespaces/default/configmaps", json::serialize(configMap("c" + std::to_string(i)))).status,
        201);
  RemoteClient client(served.admin());
  const Result<api::Listing> all = client.list(api::configMapKind(), "default", {});
  ASSERT_TRUE(all) << all.error().sentence;
  EXPECT_EQ(all->items.size(), 1001u);
}

TEST(RemoteClient, AWatchResumesWhereItWas) {
  Served served;
  RemoteClient client(served.admin());
  const api::Kind& kind = api::configMapKind();
  const Result<api::Listing> listing = client.list(kind, "default", {});
  ASSERT_TRUE(listing);
  Told told;
  Result<std::unique_ptr<api::Watching>> watching = client.watch(kind, "default", {}, listing->revision, told.listener());
  ASSERT_TRUE(watching);
  ASSERT_TRUE(client.create(kind, "default", configMap("a")));
  EXPECT_TRUE(told.waitFor({"ADDED a"})) << told.text();
  ASSERT_TRUE(client.create(kind, "default", configMap("b")));
  ASSERT_TRUE(client.remove(kind, {"default", "a"}));
  EXPECT_TRUE(told.waitFor({"ADDED a", "ADDED b", "DELETED a"})) << told.text();
  EXPECT_GE(served.watches, 2);
  watching->reset();
  ASSERT_TRUE(client.create(kind, "default", configMap("c")));
  EXPECT_TRUE(told.waitFor({"ADDED a", "ADDED b", "DELETED a"})) << told.text();
}

TEST(RemoteClient, AWatchThatIsTooOldTellsTheDifference) {
  Served served;
  RemoteClient client(served.admin());
  const api::Kind& kind = api::configMapKind();
  for (const char* name : {"gone", "kept", "changed"}) ASSERT_TRUE(client.create(kind, "default", configMap(name)));
  const Result<api::Listing> listing = client.list(kind, "default", {});
  ASSERT_TRUE(listing);
  served.refusal = 503;
  Told told;
  Result<std::unique_ptr<api::Watching>> watching = client.watch(kind, "default", {}, listing->revision, told.listener());
  ASSERT_TRUE(watching);
  ASSERT_TRUE(eventually([&] { return served.watches >= 1; }));
  ASSERT_TRUE(client.remove(kind, {"default", "gone"}));
  ASSERT_TRUE(client.create(kind, "default", configMap("new")));
  ASSERT_TRUE(client.mergePatch(kind, {"default", "changed"}, {{"data", json::object{{"key", "1"}}}}));
  served.refusal = 410;
  EXPECT_TRUE(told.waitFor({"MODIFIED changed", "ADDED new", "DELETED gone"})) << told.text();
  served.refusal = 0;
  ASSERT_TRUE(client.create(kind, "default", configMap("newest")));
  EXPECT_TRUE(told.waitFor({"MODIFIED changed", "ADDED new", "DELETED gone", "ADDED newest"})) << told.text();
}

TEST(RemoteClient, TellsOfWhatVanishedUnseenByNameAndUid) {
  Served served;
  RemoteClient client(served.admin());
  const api::Kind& kind = api::configMapKind();
  const Result<DocumentPtr> made = client.create(kind, "default", configMap("gone", "much"));
  ASSERT_TRUE(made);
  const Result<api::Listing> listing = client.list(kind, "default", {});
  ASSERT_TRUE(listing);
  served.refusal = 503;
  std::promise<json::object> told;
  Result<std::unique_ptr<api::Watching>> watching =
      client.watch(kind, "default", {}, listing->revision, [&told](const api::WatchEvent& event) { told.set_value(event.object->value); });
  ASSERT_TRUE(watching);
  ASSERT_TRUE(eventually([&] { return served.watches >= 1; }));
  ASSERT_TRUE(client.remove(kind, {"default", "gone"}));
  served.refusal = 410;
  std::future<json::object> future = told.get_future();
  ASSERT_EQ(future.wait_for(kPatience), std::future_status::ready);
  const json::object object = future.get();
  EXPECT_EQ(textAt(object, {"metadata", "name"}), "gone");
  EXPECT_EQ(textAt(object, {"metadata", "namespace"}), "default");
  EXPECT_EQ(textAt(object, {"metadata", "uid"}), textAt((*made)->value, {"metadata", "uid"}));
  EXPECT_EQ(textAt(object, {"kind"}), "ConfigMap");
  served.refusal = 0;
}

TEST(RemoteClient, ListsInPagesAndRemembersLittleOfEachObject) {
  constexpr int kObjects = 2500;
  constexpr std::size_t kBytesEach = 400;
  Served served;
  for (int i = 0; i < kObjects; ++i)
    ASSERT_EQ(
        served.server
            .ask("POST", "/api/v1/namespaces/default/configmaps",
                 R"({"metadata":{"name":"config-map-)" + std::to_string(i) + R"("},"data":{"key":")" + std::string(2000, 'x') + "\"}}")
            .status,
        201);
  RemoteClient client(served.admin());
  const api::Kind& kind = api::configMapKind();
  ASSERT_TRUE(client.get(kind, {"default", "config-map-0"})) << "its connection is there";
  const std::size_t before = mallinfo2().uordblks;
  std::vector<std::size_t> pages;
  const Result<std::uint64_t> revision =
      client.listInPages(kind, "default", {}, [&pages](const std::vector<DocumentPtr>& items) { pages.push_back(items.size()); });
  ASSERT_TRUE(revision);
  EXPECT_EQ(pages, (std::vector<std::size_t>{1000, 1000, 500}));
  Result<std::unique_ptr<api::Watching>> watching = client.watch(kind, "default", {}, *revision, [](const api::WatchEvent&) {});
  ASSERT_TRUE(watching);
  ASSERT_TRUE(eventually([&] { return served.watches >= 1; }));
  EXPECT_LT(mallinfo2().uordblks - before, kObjects * kBytesEach);
  EXPECT_EQ(client.list(kind, "default", {})->items.size(), static_cast<std::size_t>(kObjects));
}

class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    std::string pattern = (fs::temp_directory_path() / "podpass-client-XXXXXX").string();
    path = mkdtemp(pattern.data());
  }
  ~TemporaryDirectory() { fs::remove_all(path); }
  fs::path path;
};

// The server knows who asks, and refuses because nobody granted anything.
testing::AssertionResult isKnown(const Result<DocumentPtr>& answer) {
  const std::string sentence = answer ? "it was granted" : answer.error().sentence;
  if (sentence.find("User \"system:serviceaccount:default:default\" cannot") != std::string::npos) return testing::AssertionSuccess();
  return testing::AssertionFailure() << sentence;
}

TEST(RemoteClient, ReadsItsTokenFileAgainWhenTheTokenIsRefused) {
  Served served;
  const TemporaryDirectory directory;
  std::ofstream(directory.path / "token") << "an old one\n";
  Access access = served.nobody();
  access.tokenFile = directory.path / "token";
  RemoteClient client(access);
  const api::Kind& kind = api::selfSubjectReviewKind();
  EXPECT_EQ(client.create(kind, "", {}).error().reason, Reason::Unauthorized);
  std::ofstream(directory.path / "token") << served.server.token() << "\n";
  EXPECT_TRUE(isKnown(client.create(kind, "", {})));
  fs::remove(directory.path / "token");
  EXPECT_TRUE(isKnown(client.create(kind, "", {}))) << "it is kept for a while";
}

TEST(RemoteClient, AsksACredentialPlugin) {
  Served served;
  const TemporaryDirectory directory;
  Access access = served.nobody();
  access.exec = {
      (directory.path / "plugin").string(), {"get-token"}, {"TOKEN=" + served.server.token()}, "client.authentication.k8s.io/v1"};
  const auto write = [&](const std::string& script) {
    std::ofstream(access.exec.command) << "#!/bin/sh\n" << script;
    ASSERT_EQ(::chmod(access.exec.command.c_str(), 0700), 0);
  };
  const api::Kind& kind = api::selfSubjectReviewKind();
  write("echo once >> " + (directory.path / "runs").string() + R"(
case "$1 $KUBERNETES_EXEC_INFO" in get-token*ExecCredential*) printf '{"status":{"token":"%s"}}' "$TOKEN" ;; esac
)");
  RemoteClient client(access);
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(isKnown(client.create(kind, "", {})));
  EXPECT_EQ(fs::file_size(directory.path / "runs"), 5u) << "its token is kept";
  struct Case {
    const char* script;
    const char* says;
  };
  for (const Case& c : {Case{"exit 3", "exit status 3"}, Case{"echo hello", "printed no ExecCredential"},
                        Case{"echo '{}'", "printed no status.token"}, Case{"yes", "more than 1 MiB"}}) {
    SCOPED_TRACE(c.says);
    write(c.script);
    const Result<DocumentPtr> refused = RemoteClient(access).create(kind, "", {});
    ASSERT_FALSE(refused);
    EXPECT_NE(refused.error().sentence.find(c.says), std::string::npos) << refused.error().sentence;
  }
  access.exec.command = (directory.path / "absent").string();
  const Result<DocumentPtr> absent = RemoteClient(access).create(kind, "", {});
  ASSERT_FALSE(absent);
  EXPECT_NE(absent.error().sentence.find("cannot be started"), std::string::npos) << absent.error().sentence;
}

}  // namespace
}  // namespace podpass::client
