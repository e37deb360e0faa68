#include <gtest/gtest.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "base/file.h"
#include "base/text.h"
#include "crypto/certificate.h"
#include "server/registry.h"
#include "server/test_server.h"

namespace podpass::server::test {
namespace {

using namespace std::chrono_literals;

constexpr const char* kPods = "/api/v1/namespaces/default/pods";
constexpr const char* kPod = R"({"metadata":{"name":"p","labels":{"app":"web"}},"spec":{"containers":[{"name":"c","image":"i"}]}})";

std::string mutatingUrl(const std::string& name = "") {
  return "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations" + (name.empty() ? "" : "/" + name);
}

// An HTTPS server on loopback that answers AdmissionReviews as it is told, and keeps what it was asked.
class TestWebhook {
 public:
  TestWebhook() {
    static std::atomic<int> count = 0;
    directory_ = std::filesystem::temp_directory_path() / ("podpass-webhook-" + std::to_string(::getpid()) + "-" + std::to_string(count++));
    EXPECT_TRUE(makeDirectories(directory_));
    const WallTime now = SystemClock().now();
    const crypto::Authority authority = *crypto::Authority::make("webhook-ca", now);
    caBundle = base64Encode(authority.certificatePem());
    const crypto::IssuedCertificate issued =
        *authority.issue({.commonName = "webhook", .dnsNames = {"hook.tools.svc"}, .addresses = {"127.0.0.1"}, .forServer = true}, now);
    EXPECT_TRUE(writeFileAtomically(directory_ / "tls.crt", issued.certificatePem));
    EXPECT_TRUE(writeFileAtomically(directory_ / "tls.key", issued.keyPem.reveal()));
    start(0);
  }
  ~TestWebhook() {
    server_->stop(0ms);
    std::filesystem::remove_all(directory_);
  }

  [[nodiscard]] std::string authority() const { return "127.0.0.1:" + std::to_string(server_->port()); }
  [[nodiscard]] std::string url(const std::string& path = "/") const { return "https://" + authority() + path; }
  // A webhook for the creation of pods; `more` adds to it or replaces.
  [[nodiscard]] json::object webhook(const std::string& name, json::object more = {}, const std::string& path = "/") const {
    json::object one{
        {"name", name},
        {"clientConfig", {{"url", url(path)}, {"caBundle", caBundle}}},
        {"rules", json::array{{{"operations", {"CREATE"}}, {"apiGroups", {""}}, {"apiVersions", {"v1"}}, {"resources", {"pods"}}}}},
        {"sideEffects", "None"},
        {"admissionReviewVersions", {"v1"}}};
    for (auto& [key, value] : more) one[key] = value;
    return one;
  }
  std::vector<json::object> asked() {
    std::lock_guard lock(mutex_);
    return asked_;
  }
  [[nodiscard]] int mostAtOnce() const { return mostAtOnce_; }
  // Stops listening, and listens there again when what is returned is called.
  std::function<void()> interrupt() {
    const unsigned short port = server_->port();
    server_->stop(0ms);
    return [this, port] { start(port); };
  }

  std::string caBundle;
  // The `response` for a request (uid and allowed are filled in unless it has them); runs on the webhook's thread.
  std::function<json::object(const json::object& request, const std::string& path)> respond;
  std::optional<std::pair<int, std::string>> raw;                  // an answer as it stands, instead
  std::optional<std::string> kind;                                 // another kind than AdmissionReview
  std::function<asio::awaitable<void>(http::BodyWriter&)> stream;  // an answer bit by bit, instead
  bool hangs = false, slow = false;

 private:
  void start(unsigned short port) {
    http::ServerOptions options{
        .port = port, .tls = http::TlsFiles{directory_ / "tls.crt", directory_ / "tls.key", ""}, .threads = 1, .limits = {}};
    server_ =
        http::makeServer(std::move(options), [this](std::shared_ptr<const http::Request> request) { return serve(std::move(request)); });
    EXPECT_TRUE(server_->start());
  }

  asio::awaitable<http::Response> serve(std::shared_ptr<const http::Request> request) {
    json::object review = json::parse(request->body).as_object();
    review["path"] = request->path;
    review["query"] = request->query;
    review["agent"] = request->headers.find("user-agent");
    review["connection"] = request->remote + " over HTTP/" + std::to_string(request->versionMajor);
    {
      std::lock_guard lock(mutex_);
      asked_.push_back(review);
    }
    http::Response response;
    if (hangs || slow) {
      mostAtOnce_ = std::max<int>(mostAtOnce_, ++atOnce_);
      asio::steady_timer timer(co_await asio::this_coro::executor, hangs ? 1500ms : 100ms);
      co_await timer.async_wait(asio::as_tuple(asio::use_awaitable));
      --atOnce_;
      if (hangs) co_return response;
    }
    if (stream) {
      response.stream = stream;
      co_return response;
    }
    if (raw) {
      response.status = raw->first;
      response.body = std::make_shared<const std::string>(raw->second);
      co_return response;
    }
    const json::object& asking = review.at("request").as_object();
    json::object said = respond ? respond(asking, request->path) : json::object();
    if (!said.contains("uid")) said["uid"] = asking.at("uid");
    if (!said.contains("allowed")) said["allowed"] = true;
    const json::object answer{
        {"kind", kind.value_or("AdmissionReview")}, {"apiVersion", review.at("apiVersion")}, {"response", std::move(said)}};
    response.body = std::make_shared<const std::string>(json::serialize(answer));
    co_return response;
  }

  std::filesystem::path directory_;
  std::unique_ptr<http::Server> server_;
  std::mutex mutex_;
  std::vector<json::object> asked_;
  std::atomic<int> atOnce_ = 0, mostAtOnce_ = 0;  // calls that wait
};

// A byte every tenth of a second, for as long as somebody listens.
asio::awaitable<void> trickle(http::BodyWriter& writer) {
  asio::steady_timer timer(co_await asio::this_coro::executor);
  const auto byte = std::make_shared<const std::string>(" ");
  for (;;) {
    const bool taken = co_await writer.write(byte);
    if (!taken) co_return;
    timer.expires_after(100ms);
    co_await timer.async_wait(asio::as_tuple(asio::use_awaitable));
  }
}

asio::awaitable<void> cutOff(http::BodyWriter& writer) {
  const auto half = std::make_shared<const std::string>(R"({"kind":"AdmissionReview","resp)");
  co_await writer.write(half);
  throw std::runtime_error("the webhook died");
}

json::object patch(const std::string& operations) { return {{"patchType", "JSONPatch"}, {"patch", base64Encode(operations)}}; }

std::string configuration(const std::string& kind, const std::string& name, const json::array& webhooks) {
  return json::serialize(json::object{
      {"kind", kind}, {"apiVersion", "admissionregistration.k8s.io/v1"}, {"metadata", {{"name", name}}}, {"webhooks", webhooks}});
}

void install(TestServer& server, const std::string& name, const json::array& webhooks) {
  const Answer made = server.ask("POST", mutatingUrl(), configuration("MutatingWebhookConfiguration", name, webhooks));
  ASSERT_EQ(made.status, 201) << made.text;
}

void installValidating(TestServer& server, const std::string& name, const json::array& webhooks) {
  const Answer made = server.ask("POST", "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations",
                                 configuration("ValidatingWebhookConfiguration", name, webhooks));
  ASSERT_EQ(made.status, 201) << made.text;
}

TEST(Webhook, SeesTheRequestAndChangesTheObject) {
  TestWebhook webhook;
  webhook.respond = [](const json::object&, const std::string&) {
    json::object said =
        patch(R"([{"op":"add","path":"/metadata/labels/seen","value":"yes"},{"op":"replace","path":"/metadata/uid","value":"forged"}])");
    said["warnings"] = json::array{"hello \"w\""};
    return said;
  };
  TestServer server;
  install(server, "a", {webhook.webhook("a.b.c", {{"timeoutSeconds", 7}}, "/mutate")});
  const Answer made = server.ask("POST", std::string(kPods) + "?fieldManager=me", kPod);
  ASSERT_EQ(made.status, 201) << made.text;
  EXPECT_EQ(textAt(made.body, {"metadata", "labels", "seen"}), "yes");
  EXPECT_EQ(textAt(made.body, {"metadata", "uid"}).size(), 36u);  // what the server says of an object is not the webhook's to change
  EXPECT_EQ(made.headers.find("warning"), R"(299 - "hello \"w\"")");

  ASSERT_EQ(webhook.asked().size(), 1u);
  const json::object review = webhook.asked()[0];
  EXPECT_EQ(textAt(review, {"path"}), "/mutate");
  EXPECT_EQ(textAt(review, {"query"}), "timeout=7s");
  EXPECT_EQ(textAt(review, {"agent"}), "kube-apiserver-admission");
  const json::object& request = review.at("request").as_object();
  EXPECT_EQ(json::serialize(request.at("kind")), R"({"group":"","version":"v1","kind":"Pod"})");
  EXPECT_EQ(json::serialize(request.at("requestResource")), R"({"group":"","version":"v1","resource":"pods"})");
  EXPECT_FALSE(request.contains("subResource"));
  EXPECT_EQ(textAt(request, {"name"}), "p");
  EXPECT_EQ(textAt(request, {"namespace"}), "default");
  EXPECT_EQ(textAt(request, {"operation"}), "CREATE");
  EXPECT_EQ(textAt(request, {"userInfo", "username"}), "admin");
  EXPECT_EQ(textAt(request, {"object", "spec", "serviceAccountName"}), "default");  // the plugins came first
  EXPECT_TRUE(request.at("oldObject").is_null());
  EXPECT_EQ(json::serialize(request.at("options")), R"({"kind":"CreateOptions","apiVersion":"meta.k8s.io/v1","fieldManager":"me"})");
}

TEST(Webhook, ItsRefusalReachesTheClientAsItWordedIt) {
  struct Case {
    const char* why;
    json::object status;
    int code;
    const char* reason;
    const char* message;
  };
  const Case cases[] = {
      {"nothing is said", {}, 400, "", "admission webhook \"a.b.c\" denied the request without explanation"},
      {"a message", {{"message", "no"}}, 400, "", "admission webhook \"a.b.c\" denied the request: no"},
      {"a reason only",
       {{"reason", "Forbidden"}, {"code", 403}},
       403,
       "Forbidden",
       "admission webhook \"a.b.c\" denied the request: Forbidden"},
      {"a code below 400 is raised", {{"message", "no"}, {"code", 200}}, 400, "", "admission webhook \"a.b.c\" denied the request: no"},
      {"any code above is kept", {{"message", "no"}, {"code", 418}}, 418, "", "admission webhook \"a.b.c\" denied the request: no"},
      {"so is 401, with its message", {{"message", "no"}, {"code", 401}}, 401, "", "admission webhook \"a.b.c\" denied the request: no"}};
  TestWebhook webhook;
  json::object status;
  webhook.respond = [&](const json::object&, const std::string&) { return json::object{{"allowed", false}, {"status", status}}; };
  TestServer mutating, validating;
  install(mutating, "a", {webhook.webhook("a.b.c")});
  installValidating(validating, "a", {webhook.webhook("a.b.c")});
  for (const Case& c : cases) {
    SCOPED_TRACE(c.why);
    status = c.status;
    for (TestServer* server : {&mutating, &validating}) {
      const Answer refused = server->ask("POST", kPods, kPod);
      EXPECT_EQ(refused.status, c.code);
      EXPECT_EQ(integerAt(refused.body, {"code"}), c.code);
      EXPECT_EQ(refused.reason(), c.reason);
      EXPECT_EQ(refused.message(), c.message);
      EXPECT_EQ(server->ask("GET", std::string(kPods) + "/p").status, 404);
    }
  }
}

TEST(Webhook, ALieIsAFailedCall) {
  struct Case {
    const char* why;
    std::function<void(TestWebhook&)> lie;
    std::string says;  // after the webhook's name
  };
  const auto saying = [](json::object said) {
    return [said](TestWebhook& webhook) { webhook.respond = [said](const json::object&, const std::string&) { return said; }; };
  };
  const auto raw = [](int code, std::string body) { return [=](TestWebhook& webhook) { webhook.raw = std::pair(code, body); }; };
  const Case cases[] = {
      {"another call's uid", saying({{"uid", "x"}}), "received invalid webhook response: expected response.uid="},
      {"a patch of no type", saying({{"patch", "W10="}}),
       "received invalid webhook response: webhook returned response.patch but not response.patchType"},
      {"a type without a patch", saying({{"patchType", "JSONPatch"}}),
       "received invalid webhook response: webhook returned response.patchType but not response.patch"},
      {"a type that is none", saying({{"patchType", "Magic"}, {"patch", "W10="}}), "unsupported patch type \"Magic\""},
      {"another kind", [](TestWebhook& webhook) { webhook.kind = "Lie"; },
       "received invalid webhook response: expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview, got "
       "admission.k8s.io/v1, Kind=Lie"},
      {"no response in it", raw(200, R"({"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1"})"),
       "received invalid webhook response: webhook response was absent"},
      {"a web page", raw(200, "<html>"), "failed to call webhook: couldn't get version/kind; json parse error: "},
      {"nothing there", raw(404, "gone"), "failed to call webhook: the server could not find the requested resource"},
      {"a crash", raw(500, "boom"), "failed to call webhook: an error on the server (\"boom\") has prevented the request from succeeding"},
      {"a redirect", raw(302, ""),
       "failed to call webhook: the server responded with the status code 302 but did not return more details"}};
  for (const Case& c : cases) {
    SCOPED_TRACE(c.why);
    TestWebhook webhook;
    c.lie(webhook);
    TestServer server;
    install(server, "a", {webhook.webhook("a.b.c")});
    const Answer refused = server.ask("POST", kPods, kPod);
    EXPECT_EQ(refused.status, 500);
    EXPECT_EQ(refused.reason(), "InternalError");
    const std::string expected = "Internal error occurred: failed calling webhook \"a.b.c\": " + c.says;
    EXPECT_EQ(refused.message().substr(0, expected.size()), expected);
    // with failurePolicy Ignore the same lie costs nothing
    ASSERT_EQ(server.ask("DELETE", mutatingUrl("a")).status, 200);
    install(server, "b", {webhook.webhook("a.b.c", {{"failurePolicy", "Ignore"}})});
    EXPECT_EQ(server.ask("POST", kPods, kPod).status, 201);
  }
}

TEST(Webhook, AnAnswerWithoutEndOrMeasureCostsItsTimeoutAndNothingElse) {
  struct Case {
    const char* why;
    std::function<void(TestWebhook&)> spoil;
    const char* says;
  };
  const Case cases[] = {
      {"ten megabytes", [](TestWebhook& webhook) { webhook.raw = std::pair(200, std::string(10 << 20, ' ')); },
       "is larger than 8388608 bytes"},
      {"garbage", [](TestWebhook& webhook) { webhook.raw = std::pair(200, std::string("\x00\xff\xfe{", 4)); }, "json parse error"},
      {"a slow trickle", [](TestWebhook& webhook) { webhook.stream = trickle; }, "context deadline exceeded"},
      {"an end in the middle", [](TestWebhook& webhook) { webhook.stream = cutOff; }, "reset the stream"}};
  for (const Case& c : cases) {
    SCOPED_TRACE(c.why);
    TestWebhook webhook, good;
    c.spoil(webhook);
    TestServer server;
    install(server, "a", {webhook.webhook("a.b.c", {{"timeoutSeconds", 1}})});
    const Answer refused = server.ask("POST", kPods, kPod);
    EXPECT_EQ(refused.status, 500);
    EXPECT_EQ(refused.message().find("Internal error occurred: failed calling webhook \"a.b.c\": failed to call webhook: "), 0u)
        << refused.message();
    EXPECT_NE(refused.message().find(c.says), std::string::npos) << refused.message();
    ASSERT_EQ(server.ask("DELETE", mutatingUrl("a")).status, 200);
    good.respond = [](const json::object&, const std::string&) {
      return patch(R"([{"op":"add","path":"/metadata/labels/seen","value":"yes"}])");
    };
    install(server, "b", {webhook.webhook("a.b.c", {{"timeoutSeconds", 1}, {"failurePolicy", "Ignore"}}), good.webhook("good.b.c")});
    const Answer made = server.ask("POST", kPods, kPod);
    EXPECT_EQ(made.status, 201) << made.text;
    EXPECT_EQ(textAt(made.body, {"metadata", "labels", "seen"}), "yes") << "the next webhook is asked all the same";
  }
}

TEST(Webhook, CallsAtOnceShareAConnectionThatIsKept) {
  TestWebhook webhook;
  webhook.slow = true;
  TestServer server;
  json::array five;
  for (const char* name : {"a", "b", "c", "d", "e"}) five.push_back(webhook.webhook(std::string(name) + ".b.c"));
  installValidating(server, "a", five);
  for (int i = 0; i < 3; ++i) ASSERT_EQ(server.ask("POST", std::string(kPods) + "?dryRun=All", kPod).status, 201);
  EXPECT_EQ(webhook.mostAtOnce(), 5);
  std::set<std::string> connections;
  for (const json::object& each : webhook.asked()) connections.emplace(textAt(each, {"connection"}));
  ASSERT_EQ(connections.size(), 1u);
  EXPECT_TRUE(connections.begin()->ends_with("over HTTP/2")) << *connections.begin();
}

TEST(Webhook, ARestartedOneIsReachedAgain) {
  TestServer server;
  TestWebhook webhook;
  install(server, "a", {webhook.webhook("a.b.c")});
  ASSERT_EQ(server.ask("POST", std::string(kPods) + "?dryRun=All", kPod).status, 201);
  const std::function<void()> again = webhook.interrupt();
  const Answer away = server.ask("POST", std::string(kPods) + "?dryRun=All", kPod);
  EXPECT_EQ(away.status, 500);
  EXPECT_NE(away.message().find("connect: connection refused"), std::string::npos) << away.message();
  again();
  EXPECT_EQ(server.ask("POST", std::string(kPods) + "?dryRun=All", kPod).status, 201);
}

TEST(Webhook, APatchThatDoesNotApplyIsRefusedWhateverTheFailurePolicy) {
  TestWebhook webhook;
  webhook.respond = [](const json::object&, const std::string&) { return patch(R"([{"op":"remove","path":"/nope/x"}])"); };
  TestServer server;
  install(server, "a", {webhook.webhook("a.b.c", {{"failurePolicy", "Ignore"}})});
  const Answer refused = server.ask("POST", kPods, kPod);
  EXPECT_EQ(refused.status, 500);
  EXPECT_EQ(refused.message(), "Internal error occurred: remove operation does not apply: doc is missing path: \"/nope/x\": missing value");
}

TEST(Webhook, OneThatHangsCostsItsTimeout) {
  TestWebhook webhook;
  webhook.hangs = true;
  TestServer server;
  install(server, "a", {webhook.webhook("a.b.c", {{"timeoutSeconds", 1}})});
  const Answer refused = server.ask("POST", kPods, kPod);
  EXPECT_EQ(refused.status, 500);
  EXPECT_EQ(refused.message(), "Internal error occurred: failed calling webhook \"a.b.c\": failed to call webhook: Post \"" +
                                   webhook.url() + "?timeout=1s\": context deadline exceeded");
  EXPECT_EQ(server.ask("POST", "/api/v1/namespaces/default/configmaps", R"({"metadata":{"name":"a"}})").status, 201);
}

TEST(Webhook, OneThatIsNotThereIsNamedWithItsAddress) {
  TestServer server;
  std::string address;
  json::object one;
  {
    TestWebhook gone;
    address = gone.authority();
    one = gone.webhook("a.b.c");
  }
  install(server, "a", {one});
  EXPECT_EQ(server.ask("POST", kPods, kPod).message(),
            "Internal error occurred: failed calling webhook \"a.b.c\": failed to call webhook: Post \"https://" + address +
                "/?timeout=10s\": dial tcp " + address + ": connect: connection refused");
}

TEST(Webhook, AStrangersCertificateIsNotBelieved) {
  TestWebhook webhook, other;
  TestServer server;
  install(server, "a", {webhook.webhook("a.b.c", {{"clientConfig", {{"url", webhook.url()}, {"caBundle", other.caBundle}}}})});
  EXPECT_EQ(server.ask("POST", kPods, kPod).status, 500);
  EXPECT_TRUE(webhook.asked().empty());
}

TEST(Webhook, AServiceIsReachedWhereItIsRegistered) {
  TestWebhook webhook;
  TestServer server;
  const json::object service{{"service", {{"namespace", "tools"}, {"name", "hook"}, {"path", "/m"}}}, {"caBundle", webhook.caBundle}};
  install(server, "a", {webhook.webhook("a.b.c", {{"clientConfig", service}})});
  EXPECT_EQ(server.ask("POST", kPods, kPod).message(),
            "Internal error occurred: failed calling webhook \"a.b.c\": failed to call webhook: Post "
            "\"https://hook.tools.svc:443/m?timeout=10s\": "
            "service \"hook\" not found");
  server.webhooks.registerService("tools", "hook", webhook.authority());
  EXPECT_EQ(server.ask("POST", kPods, kPod).status, 201);
  EXPECT_EQ(textAt(webhook.asked().at(0), {"path"}), "/m");
}

TEST(Webhook, AreAskedInTheOrderOfTheirConfigurationsAndAgainWhenTheyAskForIt) {
  TestWebhook webhook;
  webhook.respond = [](const json::object& request, const std::string& path) {
    if (path != "/sidecar" || request.at("object").as_object().at("spec").as_object().at("containers").as_array().size() > 1)
      return json::object();
    return patch(R"([{"op":"add","path":"/spec/containers/-","value":{"name":"side","image":"s"}}])");
  };
  TestServer server;
  install(server, "b",
          {webhook.webhook("side.b.c", {}, "/sidecar"), webhook.webhook("last.b.c", {{"reinvocationPolicy", "IfNeeded"}}, "/last")});
  install(server, "a",
          {webhook.webhook("first.b.c", {{"reinvocationPolicy", "IfNeeded"}}, "/first"), webhook.webhook("never.b.c", {}, "/never")});
  const Answer made = server.ask("POST", kPods, kPod);
  ASSERT_EQ(made.status, 201) << made.text;
  std::vector<std::string> paths;
  for (const json::object& each : webhook.asked()) paths.emplace_back(textAt(each, {"path"}));
  // `last` too: between the rounds the service account's token was mounted into the new container
  EXPECT_EQ(paths, (std::vector<std::string>{"/first", "/never", "/sidecar", "/last", "/first", "/last"}));
  const json::array& containers = made.body.at("spec").as_object().at("containers").as_array();
  ASSERT_EQ(containers.size(), 2u);
  EXPECT_EQ(textAt(containers[1].as_object().at("volumeMounts").as_array().at(0).as_object(), {"mountPath"}),
            "/var/run/secrets/kubernetes.io/serviceaccount");
}

TEST(Webhook, ValidatingOnesSeeTheFinalObjectAndTheFirstRefusalWins) {
  TestWebhook webhook;
  webhook.respond = [](const json::object& request, const std::string& path) {
    if (path == "/change") return patch(R"([{"op":"add","path":"/metadata/labels/changed","value":"yes"}])");
    const bool seen = textAt(request, {"object", "metadata", "labels", "changed"}) == "yes";
    return json::object{{"allowed", path == "/good"}, {"status", {{"message", path + (seen ? " saw the change" : " did not see it")}}}};
  };
  TestServer server;
  install(server, "z", {webhook.webhook("change.b.c", {}, "/change")});
  installValidating(
      server, "a",
      {webhook.webhook("good.b.c", {}, "/good"), webhook.webhook("one.b.c", {}, "/one"), webhook.webhook("two.b.c", {}, "/two")});
  EXPECT_EQ(server.ask("POST", kPods, kPod).message(), "admission webhook \"one.b.c\" denied the request: /one saw the change");
  EXPECT_EQ(webhook.asked().size(), 4u);
}

TEST(Webhook, SelectorsChooseByNamespaceAndByEitherObject) {
  TestWebhook webhook;
  const json::array all{{{"operations", {"*"}}, {"apiGroups", {"*"}}, {"apiVersions", {"*"}}, {"resources", {"*/*"}}}};
  TestServer server;
  install(server, "a",
          {webhook.webhook("ns.b.c", {{"rules", all}, {"namespaceSelector", {{"matchLabels", {{"hooked", "yes"}}}}}}, "/ns"),
           webhook.webhook("object.b.c", {{"rules", all}, {"objectSelector", {{"matchLabels", {{"app", "web"}}}}}}, "/object")});
  auto paths = [&, at = std::size_t{0}]() mutable {
    std::string out;
    const std::vector<json::object> asked = webhook.asked();
    for (; at < asked.size(); ++at)
      out += std::string(textAt(asked[at], {"path"})) + " " + std::string(textAt(asked[at], {"request", "operation"})) + ";";
    return out;
  };
  EXPECT_EQ(server.ask("POST", kPods, kPod).status, 201);
  EXPECT_EQ(paths(), "/object CREATE;");
  const http::Headers merge = headers({{"Content-Type", "application/merge-patch+json"}});
  EXPECT_EQ(server.ask("PATCH", std::string(kPods) + "/p", R"({"metadata":{"labels":{"app":"db"}}})", merge).status, 200);
  EXPECT_EQ(paths(), "/object UPDATE;");  // the old object had the label
  EXPECT_EQ(server.ask("PATCH", "/api/v1/namespaces/default", R"({"metadata":{"labels":{"hooked":"yes"}}})", merge).status, 200);
  EXPECT_EQ(paths(), "/ns UPDATE;");  // a namespace is chosen by what it is about to say
  EXPECT_EQ(server.ask("DELETE", std::string(kPods) + "/p").status, 200);
  EXPECT_EQ(paths(), "/ns DELETE;");
  EXPECT_EQ(textAt(webhook.asked().back(), {"request", "oldObject", "metadata", "name"}), "p");
  EXPECT_TRUE(webhook.asked().back().at("request").as_object().at("object").is_null());
  server.token();
  EXPECT_EQ(paths(), "/ns CREATE;");  // serviceaccounts/token
  EXPECT_EQ(textAt(webhook.asked().back(), {"request", "kind", "kind"}), "TokenRequest");
  EXPECT_EQ(textAt(webhook.asked().back(), {"request", "subResource"}), "token");
  const json::object shown = *objectAt(webhook.asked().back(), {"request", "object"});
  EXPECT_EQ(textAt(shown, {"metadata", "name"}), "default") << "defaulted, and not signed yet";
  EXPECT_EQ(json::serialize(shown.at("spec").as_object().at("audiences")), R"(["https://kubernetes.default.svc"])");
  EXPECT_EQ(integerAt(shown, {"spec", "expirationSeconds"}), 3600);
  EXPECT_FALSE(shown.contains("status"));
  EXPECT_EQ(server.ask("POST", "/api/v1/namespaces/default/serviceaccounts/ghost/token", "{}").status, 404);
  EXPECT_EQ(paths(), "") << "what is refused anyway is shown to nobody";
  EXPECT_EQ(server.ask("DELETE", mutatingUrl("a")).status, 200);
  EXPECT_EQ(paths(), "");  // configurations are exempt, and the change counts at once
  EXPECT_EQ(server.ask("POST", kPods, kPod).status, 201);
  EXPECT_EQ(paths(), "");
}

TEST(Webhook, ADryRunIsSentAsOne) {
  TestWebhook webhook;
  TestServer server;
  install(server, "a", {webhook.webhook("a.b.c", {{"sideEffects", "NoneOnDryRun"}})});
  EXPECT_EQ(server.ask("POST", std::string(kPods) + "?dryRun=All", kPod).status, 201);
  EXPECT_TRUE(booleanAt(webhook.asked().at(0), {"request", "dryRun"}));
}

TEST(WebhookRule, NamesResourcesAndSubresources) {
  struct Case {
    const char* resource;
    const char* subresource;
    bool matches;
  };
  const Case cases[] = {{"pods", "", true},
                        {"pods", "status", false},
                        {"pods/status", "status", true},
                        {"pods/status", "", false},
                        {"pods/*", "", true},
                        {"pods/*", "log", true},
                        {"*", "", true},
                        {"*", "status", false},
                        {"*/status", "status", true},
                        {"*/*", "status", true},
                        {"secrets", "", false}};
  const auth::User user{.name = "u"};
  for (const Case& c : cases) {
    SCOPED_TRACE(std::string(c.resource) + " for pods/" + c.subresource);
    const WebhookRule rule{{"UPDATE"}, {""}, {"v1"}, {c.resource}};
    EXPECT_EQ(rule.matches({user, *api::findKind("", "v1", "pods"), "UPDATE", "default", "p", c.subresource}), c.matches);
    EXPECT_FALSE(rule.matches({user, *api::findKind("", "v1", "pods"), "CREATE", "default", "p", c.subresource}));
  }
  const AdmissionRequest node{user, *api::findKind("", "v1", "nodes"), "CREATE", "", "n"};
  EXPECT_FALSE((WebhookRule{{"*"}, {"*"}, {"*"}, {"*"}, "Namespaced"}.matches(node)));
  EXPECT_TRUE((WebhookRule{{"*"}, {"*"}, {"*"}, {"*"}, "Cluster"}.matches(node)));
}

// matchPolicy Equivalent asks for requests in other groups and versions of the same objects. There are none as long as this holds; a kind
// that is served twice needs rules that match both, and the conversion to what the rule names.
TEST(WebhookRule, ExactAndEquivalentAreTheSameBecauseEveryObjectIsServedOnce) {
  std::map<std::string, std::string> served;  // where the objects lie → by which group and version
  for (const api::Kind* kind : api::allKinds()) {
    if (kind->isVirtual) continue;
    const auto [at, isNew] = served.emplace(Registry::prefixOf(*kind, ""), std::string(kind->group) + "/" + std::string(kind->version));
    EXPECT_TRUE(isNew) << kind->plural << " is served as " << at->second << " and as " << kind->group << "/" << kind->version;
  }
  std::map<std::string, std::string> versions;
  for (const api::Kind* kind : api::allKinds()) {
    const auto [at, isNew] =
        versions.emplace(std::string(kind->group) + "/" + std::string(kind->plural) + "/" + std::string(kind->kind), kind->version);
    EXPECT_TRUE(isNew || at->second == kind->version) << kind->plural;
  }
  TestWebhook webhook;
  TestServer server;
  for (const char* policy : {"Exact", "Equivalent"}) {
    json::object one = webhook.webhook("a.b.c", {{"matchPolicy", policy}});
    install(server, "a", {one});
    ASSERT_EQ(server.ask("POST", std::string(kPods) + "?dryRun=All", kPod).status, 201);
    ASSERT_EQ(server.ask("DELETE", mutatingUrl("a")).status, 200);
  }
  EXPECT_EQ(webhook.asked().size(), 2u);
  EXPECT_EQ(server
                .ask("POST", mutatingUrl(),
                     configuration("MutatingWebhookConfiguration", "a", {webhook.webhook("a.b.c", {{"matchPolicy", "Fuzzy"}})}))
                .status,
            422);
}

TEST(WebhookConfiguration, WhatCannotBeHonouredIsRefusedWhenItIsWritten) {
  TestServer server;
  TestWebhook webhook;
  const json::object conditions{{"matchConditions", json::array{{{"name", "c"}, {"expression", "true"}}}}};
  EXPECT_EQ(
      server.ask("POST", mutatingUrl(), configuration("MutatingWebhookConfiguration", "a", {webhook.webhook("a.b.c", conditions)})).status,
      422);
  const json::object plain{{"clientConfig", {{"url", "http://127.0.0.1/"}}}};
  EXPECT_EQ(server.ask("POST", mutatingUrl(), configuration("MutatingWebhookConfiguration", "a", {webhook.webhook("a.b.c", plain)})).status,
            422);
}

}  // namespace
}  // namespace podpass::server::test
