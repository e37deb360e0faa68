#include <gtest/gtest.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <future>

#include "api/patch.h"
#include "base/text.h"
#include "irsa/webhook.h"

namespace podpass::irsa {
namespace {

using namespace std::chrono_literals;

constexpr const char* kArn = "arn:aws:iam::210987654321:role/reader";

// A webhook whose live reads are answered by `read`.
class Answering {
 public:
  explicit Answering(WebhookOptions options = {}, LiveReads::Read read = nothing) : webhook(std::move(options), sources, std::move(read)) {}
  ~Answering() { webhook.stop(); }
  Answering(const Answering&) = delete;
  Answering& operator=(const Answering&) = delete;

  static Result<std::optional<Account>> nothing(const std::string&, const std::string&) { return std::optional<Account>(); }

  http::Response ask(http::Request request, bool metrics = false) {
    auto shared = std::make_shared<const http::Request>(std::move(request));
    http::Response response;
    asio::co_spawn(loop, metrics ? webhook.serveMetrics(shared) : webhook.serve(shared),
                   [&response](std::exception_ptr thrown, http::Response answer) {
                     EXPECT_FALSE(thrown);
                     response = std::move(answer);
                   });
    loop.restart();
    loop.run();
    return response;
  }
  std::string get(const std::string& path, bool metrics = false) {
    http::Request request;
    request.method = "GET";
    request.path = path;
    return *ask(std::move(request), metrics).body;
  }
  // The answer to a pod of that service account.
  json::object mutate(const std::string& account, const std::string& ns = "shop") {
    http::Request request;
    request.method = "POST";
    request.path = "/mutate";
    request.query = "timeout=10s";
    request.headers.add("Content-Type", "application/json");
    request.body = R"({"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":"u","namespace":")" + ns +
                   R"(","object":{"metadata":{"generateName":"p-"},"spec":{"serviceAccountName":")" + account +
                   R"(","containers":[{"name":"c"}]}}}})";
    return json::parse(*ask(std::move(request)).body).at("response").as_object();
  }
  static std::string patchIn(const json::object& response) { return *base64Decode(textAt(response, {"patch"})); }

  asio::io_context loop;
  WebhookSources sources;
  Webhook webhook;
};

Account withRole(std::string arn = kArn) { return {{std::move(arn), "sts.amazonaws.com", false, 86400}}; }

TEST(Webhook, MutatesThePodsOfAnnotatedServiceAccounts) {
  Answering server;
  server.sources.accounts.put("shop", "cart", withRole());
  server.sources.accounts.put("shop", "plain", withRole(""));
  const json::object response = server.mutate("cart");
  EXPECT_TRUE(response.at("allowed").as_bool());
  EXPECT_EQ(response.at("patchType"), "JSONPatch");
  EXPECT_NE(Answering::patchIn(response).find(kArn), std::string::npos);
  EXPECT_NE(json::serialize(response.at("warnings")).find("shop/cart may assume arn:aws:iam::210987654321:role/reader"), std::string::npos);
  EXPECT_EQ(json::serialize(server.mutate("plain")), R"({"uid":"u","allowed":true})");
  EXPECT_EQ(json::serialize(server.mutate("")), R"({"uid":"u","allowed":true})") << "no service account: nothing to look up";
  const std::string metrics = server.get("/metrics", true);
  EXPECT_NE(metrics.find("pod_identity_webhook_used 1\n"), std::string::npos);
  EXPECT_NE(metrics.find("pod_identity_webhook_pod_count{method=\"sts_web_identity\"} 1\n"), std::string::npos);
  EXPECT_NE(metrics.find("pod_identity_webhook_missing_sa_count 0\n"), std::string::npos);
  EXPECT_NE(metrics.find("http_request_count{code=\"200\",path=\"/mutate\",verb=\"POST\"} 3\n"), std::string::npos) << metrics;
}

TEST(Webhook, WarnsOfARoleThatIsNoneAndMutatesAllTheSame) {
  Answering server;
  server.sources.accounts.put("shop", "cart", withRole("reader"));
  const json::object response = server.mutate("cart");
  EXPECT_NE(json::serialize(response.at("warnings")).find("is not an IAM role ARN: reader"), std::string::npos);
  EXPECT_NE(Answering::patchIn(response).find(R"("value":"reader")"), std::string::npos);
}

TEST(Webhook, PrefersTheAccountThenItsEntryThenTheWildcard) {
  Answering server;
  AwsSettings settings;
  const Result<ParsedIdentityMap> map =
      parseIdentityMap(R"({"shop/cart":{"RoleARN":"entry"},"*/cart":{"rolearn":"wildcard","AUDIENCE":"mine"},"*/x":{}})", settings);
  ASSERT_TRUE(map);
  server.sources.identityMap.store(std::make_shared<const IdentityMap>((*map).entries));
  EXPECT_NE(Answering::patchIn(server.mutate("cart")).find(R"("entry")"), std::string::npos) << "the entry needs no account";
  EXPECT_NE(Answering::patchIn(server.mutate("cart", "other")).find(R"("audience":"mine")"), std::string::npos);
  server.sources.accounts.put("shop", "cart", withRole());
  EXPECT_NE(Answering::patchIn(server.mutate("cart")).find(kArn), std::string::npos);
  server.sources.accounts.put("shop", "cart", withRole(""));
  EXPECT_NE(Answering::patchIn(server.mutate("cart")).find(R"("entry")"), std::string::npos);
  EXPECT_FALSE(server.mutate("x").contains("patch")) << "an entry without a role";
}

TEST(Webhook, GivesContainerCredentialsBeforeAnythingElse) {
  Answering server;
  server.sources.accounts.put("shop", "cart", withRole());
  server.sources.credentials.store(std::make_shared<const CredentialsAccounts>(
      *parseCredentialsFile(R"({"identities":[{"namespace":"shop","serviceAccount":"cart"}]})")));
  const std::string patch = Answering::patchIn(server.mutate("cart"));
  EXPECT_NE(patch.find(R"({"eks.amazonaws.com/pod-identity":"enabled"})"), std::string::npos) << patch;
  EXPECT_EQ(patch.find("AWS_ROLE_ARN"), std::string::npos);
  EXPECT_NE(server.get("/metrics", true).find("{method=\"container_credentials\"} 1\n"), std::string::npos);
}

TEST(Webhook, WarnsAPodOfTheHostsNetworkWhereItFindsNoCredentials) {
  for (const bool needed : {true, false})
    for (const bool host : {true, false}) {
      WebhookOptions options;
      options.credentialsNeedPodNetwork = needed;
      Answering server(options);
      server.sources.associations.store(std::make_shared<const CredentialsAccounts>(CredentialsAccounts{"shop/cart"}));
      http::Request request;
      request.path = "/mutate";
      request.headers.add("Content-Type", "application/json");
      request.body = std::string(R"({"request":{"uid":"u","namespace":"shop","object":{"spec":{"hostNetwork":)") +
                     (host ? "true" : "false") + R"(,"serviceAccountName":"cart","containers":[{"name":"c"}]}}}})";
      const std::string answer = *server.ask(std::move(request)).body;
      EXPECT_EQ(answer.find("a pod with hostNetwork does not reach http://169.254.170.23/v1/credentials") != std::string::npos,
                needed && host)
          << answer;
    }
}

TEST(Webhook, SpreadsTheEndOfContainerCredentialsTokensOverTwoHours) {
  Answering server;
  server.sources.credentials.store(std::make_shared<const CredentialsAccounts>(CredentialsAccounts{"shop/cart"}));
  std::set<std::int64_t> lives;
  for (int i = 0; i < 300; ++i) {
    const json::array patch = json::parse(Answering::patchIn(server.mutate("cart"))).as_array();
    for (const json::value& operation : patch)
      if (operation.at("path") == "/spec/volumes")
        lives.insert(operation.at_pointer("/value/0/projected/sources/0/serviceAccountToken/expirationSeconds").as_int64());
  }
  EXPECT_GE(*lives.begin(), 79200);
  EXPECT_LE(*lives.rbegin(), 86400);
  EXPECT_GT(lives.size(), 100u) << "a fleet that started together would ask together";
  EXPECT_LT(*lives.begin(), 80200);
  EXPECT_GT(*lives.rbegin(), 85400) << "300 of them reach both ends but for one time in 10^19";
}

TEST(Webhook, GivesContainerCredentialsToAssociatedAccounts) {
  Answering server;
  server.sources.associations.store(std::make_shared<const CredentialsAccounts>(CredentialsAccounts{"shop/cart"}));
  EXPECT_NE(Answering::patchIn(server.mutate("cart")).find("AWS_CONTAINER_CREDENTIALS_FULL_URI"), std::string::npos);
}

TEST(Webhook, AppliesTokenInjectionsBesideTheRole) {
  Answering server;
  const auto injection = [](const char* text) { return *TokenInjection::read(json::parse(text).as_object()); };
  server.sources.injections.store(std::make_shared<const std::vector<TokenInjection>>(
      std::vector{injection(R"({"metadata":{"name":"vault"},"spec":{"profile":"Vault"}})"),
                  injection(R"({"metadata":{"name":"twice"},"spec":{"profile":"Vault","match":{"serviceAccounts":["shop/cart"]}}})")}));
  Account account = withRole();
  account.annotations = R"({"identity.podpass.dev/vault-role":"reader"})";
  server.sources.accounts.put("shop", "cart", account);
  const std::string patch = Answering::patchIn(server.mutate("cart"));
  EXPECT_NE(patch.find("AWS_ROLE_ARN"), std::string::npos);
  const std::size_t first = patch.find(R"("name":"vault-token","projected")");
  ASSERT_NE(first, std::string::npos) << patch;
  EXPECT_EQ(patch.find(R"("name":"vault-token","projected")", first + 1), std::string::npos);
  EXPECT_NE(server.get("/metrics", true).find("{method=\"token_injection\"} 1\n"), std::string::npos);
}

TEST(Webhook, DeniesAPodWhoseTokenCannotLiveThatLong) {
  Answering server;
  const char* text =
      R"({"metadata":{"name":"azure"},"spec":{"profile":"AzureWorkloadIdentity","match":{"serviceAccounts":["shop/cart"]}}})";
  server.sources.injections.store(
      std::make_shared<const std::vector<TokenInjection>>(std::vector{*TokenInjection::read(json::parse(text).as_object())}));
  Account account;
  account.annotations = R"({"azure.workload.identity/service-account-token-expiration":"60"})";
  server.sources.accounts.put("shop", "cart", account);
  const json::object denied = server.mutate("cart");
  EXPECT_FALSE(denied.at("allowed").as_bool());
  EXPECT_EQ(textAt(denied, {"status", "message"}), "token expiration 60 not valid. Expected value to be between 3600 and 86400");
  account.annotations = R"({"azure.workload.identity/service-account-token-expiration":"7200"})";
  server.sources.accounts.put("shop", "cart", account);
  EXPECT_NE(Answering::patchIn(server.mutate("cart")).find("\"expirationSeconds\":7200"), std::string::npos);
}

TEST(Webhook, ATokenInjectionMaySayMoreAboutTheRoleOfAws) {
  Answering server;
  const char* text = R"({"metadata":{"name":"endpoint"},"spec":{"profile":"AWSWebIdentity","env":[{"name":"AWS_CA_BUNDLE","value":"/ca"},
      {"name":"AWS_REGION","value":"eu-west-1"},{"name":"AWS_ROLE_ARN","value":"another"}]}})";
  server.sources.injections.store(
      std::make_shared<const std::vector<TokenInjection>>(std::vector{*TokenInjection::read(json::parse(text).as_object())}));
  Account account = withRole();
  account.annotations = R"({"eks.amazonaws.com/role-arn":"reader"})";
  server.sources.accounts.put("shop", "cart", account);
  const std::string patch = Answering::patchIn(server.mutate("cart"));
  EXPECT_NE(patch.find(R"({"name":"AWS_CA_BUNDLE","value":"/ca"},{"name":"AWS_REGION","value":"eu-west-1"}])"), std::string::npos) << patch;
  EXPECT_EQ(patch.find("another"), std::string::npos) << "what the webhook of AWS says is not overridden";
  const std::size_t volume = patch.find(R"("name":"aws-iam-token","projected")");
  ASSERT_NE(volume, std::string::npos);
  EXPECT_EQ(patch.find(R"("name":"aws-iam-token","projected")", volume + 1), std::string::npos);
}

TEST(Webhook, ReadsAnAccountThatItDoesNotKnow) {
  std::atomic<int> reads = 0;
  Answering server({}, [&reads](const std::string& ns, const std::string& name) -> Result<std::optional<Account>> {
    ++reads;
    if (name == "gone") return std::optional<Account>();
    if (name == "unreadable") return Error{Reason::Unavailable, "connection refused"};
    EXPECT_EQ(ns + "/" + name, "shop/cart");
    return std::optional<Account>(withRole());
  });
  EXPECT_NE(Answering::patchIn(server.mutate("cart")).find(kArn), std::string::npos);
  EXPECT_EQ(json::serialize(server.mutate("gone")), R"({"uid":"u","allowed":true})") << "there is none: the API server will say so";
  const json::object denied = server.mutate("unreadable");
  EXPECT_FALSE(denied.at("allowed").as_bool());
  EXPECT_NE(textAt(denied, {"status", "message"}).find("shop/unreadable could not be read (connection refused)"), std::string_view::npos);
  EXPECT_EQ(reads, 3);
  EXPECT_NE(server.get("/metrics", true).find("pod_identity_webhook_missing_sa_count 3\n"), std::string::npos);
}

TEST(Webhook, AdmitsWhatItCannotKnowWhenToldTo) {
  WebhookOptions options;
  options.denyUnknown = false;
  Answering server(options, [](const std::string&, const std::string&) -> Result<std::optional<Account>> {
    return Error{Reason::Unavailable, "down"};
  });
  EXPECT_EQ(json::serialize(server.mutate("cart")), R"({"uid":"u","allowed":true})");
}

TEST(Webhook, WaitsForALiveReadNoLongerThanItsPatience) {
  std::promise<void> release;
  WebhookOptions options;
  options.patience = 50ms;
  Answering server(options,
                   [future = release.get_future().share()](const std::string&, const std::string&) -> Result<std::optional<Account>> {
                     future.wait();
                     return std::optional<Account>();
                   });
  const json::object denied = server.mutate("cart");
  EXPECT_NE(textAt(denied, {"status", "message"}).find("did not answer within 50 ms"), std::string_view::npos);
  release.set_value();
}

TEST(Webhook, AnswersTheOtherRequestsAsTheAmazonWebhookDoes) {
  WebhookOptions debugging;
  debugging.debugHandlers = true;
  Answering server(debugging), closed;
  struct Case {
    const char *why, *path, *query, *type, *body;
    int status;
    const char* answer;
  };
  const Case cases[] = {
      {"health", "/healthz", "", "", "", 200, "ok"},
      {"unknown path", "/mutate/", "", "application/json", "{}", 404, "404 page not found\n"},
      {"a parameter of the type", "/mutate", "", "application/json; charset=utf-8", "{}", 415,
       "Invalid Content-Type, expected `application/json`\n"},
      {"no type", "/mutate", "", "", "{}", 415, "Invalid Content-Type, expected `application/json`\n"},
      {"malformed query", "/mutate", "timeout=%zz", "application/json", "{}", 400, R"({"error": "error parsing form"})"},
      {"empty body", "/mutate", "", "application/json", "", 200,
       R"({"response":{"uid":"","allowed":false,"status":{"metadata":{},"message":"bad content"}}})"},
      {"truncated", "/mutate", "", "application/json", R"({"request":{)", 200,
       R"({"response":{"uid":"","allowed":false,"status":{"metadata":{},"message":"couldn't get version/kind; json parse error: unexpected end of JSON input"}}})"},
      {"deny", "/debug/alpha/deny", "", "application/json", R"({"request":{"uid":"u"}})", 200,
       R"({"response":{"uid":"u","allowed":false,"status":{"metadata":{},"message":"Test deny message"}}})"},
      {"500", "/debug/alpha/500", "", "application/json", "{}", 500, "test error\n"}};
  for (const Case& c : cases) {
    SCOPED_TRACE(c.why);
    http::Request request;
    request.method = "POST";
    request.path = c.path;
    request.query = c.query;
    if (*c.type != 0) request.headers.add("Content-Type", c.type);
    request.body = c.body;
    const http::Response response = server.ask(request);
    EXPECT_EQ(response.status, c.status);
    EXPECT_EQ(*response.body, c.answer);
  }
  http::Request huge;
  huge.path = "/mutate";
  huge.bodyTooLarge = true;
  EXPECT_EQ(server.ask(huge).status, 413);
  EXPECT_EQ(closed.get("/debug/alpha/deny"), "404 page not found\n") << "not unless asked for";
  EXPECT_EQ(closed.get("/debug/alpha/cache", true), "404 page not found\n");
  EXPECT_EQ(server.get("/debug/alpha/cache", true), "{}");
  server.sources.accounts.put("shop", "cart", withRole());
  EXPECT_EQ(server.get("/debug/alpha/cache", true),
            "{\n \"shop/cart\": {\n  \"RoleARN\": \"arn:aws:iam::210987654321:role/reader\",\n  \"Audience\": \"sts.amazonaws.com\",\n"
            "  \"UseRegionalSTS\": false,\n  \"TokenExpiration\": 86400\n }\n}");
  server.get("/debug/alpha/cache/clear", true);
  EXPECT_EQ(server.get("/debug/alpha/cache", true), "{}");
}

// Their names and types are those of the Amazon EKS webhook: dashboards are made of them.
TEST(Webhook, HasTheMetricsOfTheOriginal) {
  Answering server;
  server.get("/healthz");
  const std::string metrics = server.get("/metrics", true);
  for (const char* line : {"# TYPE pod_identity_webhook_used gauge\n", "# TYPE pod_identity_webhook_pod_count counter\n",
                           "# TYPE pod_identity_webhook_missing_sa_count counter\n", "# TYPE http_request_count counter\n",
                           "# TYPE http_request_latencies histogram\n", "# TYPE http_request_duration_microseconds summary\n",
                           "# TYPE certificate_manager_server_rotation_seconds histogram\n",
                           "http_request_count{code=\"200\",path=\"/healthz\",verb=\"GET\"} 1\n",
                           "http_request_latencies_bucket{path=\"/healthz\",verb=\"GET\",le=\"8000000\"} 1\n",
                           "http_request_duration_microseconds_count{path=\"/healthz\",verb=\"GET\"} 1\n"})
    EXPECT_NE(metrics.find(line), std::string::npos) << line;
}

TEST(Webhook, IsReadyOnceItKnowsAndUntilItIsToldToGo) {
  Answering server;
  bool synced = false;
  server.webhook.readyWhen([&synced] { return synced; });
  const auto ask = [&server](const char* path) {
    http::Request request;
    request.path = path;
    return server.ask(std::move(request));
  };
  EXPECT_EQ(ask("/readyz").status, 503);
  EXPECT_EQ(ask("/healthz").status, 200);
  synced = true;
  EXPECT_EQ(ask("/readyz").status, 200);
  EXPECT_FALSE(ask("/healthz").headers.has("Connection"));
  server.sources.accounts.put("shop", "cart", withRole());
  server.webhook.drain();
  EXPECT_EQ(ask("/readyz").status, 503);
  EXPECT_EQ(ask("/healthz").status, 200) << "nobody must restart it";
  EXPECT_TRUE(server.mutate("cart").contains("patch"));
  EXPECT_EQ(ask("/healthz").headers.find("Connection"), "close") << "the next call finds another replica";
}

TEST(Webhook, KeepsAPodWithDuplicateNamesForTheApiServerToRefuse) {
  Answering server;
  server.sources.accounts.put("shop", "cart", withRole());
  http::Request request;
  request.path = "/mutate";
  request.headers.add("Content-Type", "application/json");
  request.body =
      R"({"request":{"uid":"u","namespace":"shop","object":{"metadata":{"name":"a","name":"b"},"spec":{"serviceAccountName":"x","serviceAccountName":"cart",)"
      R"("containers":[{"name":"c"},{"name":"c"}],"volumes":[{"name":"v"},{"name":"v"}]}}}})";
  const json::value answer = json::parse(*server.ask(request).body);
  const json::array patch = json::parse(Answering::patchIn(answer.at("response").as_object())).as_array();
  EXPECT_EQ(patch.at(1).at("value").as_array().size(), 2u);
}

TEST(IdentityMap, SkipsWhatItCannotUseAndSaysSo) {
  AwsSettings settings;
  settings.expirationSeconds = 7200;
  const Result<ParsedIdentityMap> map = parseIdentityMap(
      R"({"a/b":{"RoleARN":"r","UseRegionalSTS":true,"TokenExpiration":60},"noslash":{},"a/c":null,"a/d":{"RoleARN":7},"a/e":{"Audience":""}})",
      settings);
  ASSERT_TRUE(map);
  EXPECT_EQ((*map).skipped.size(), 3u);
  EXPECT_EQ((*map).entries.at("a/b"), (RoleSettings{"r", "sts.amazonaws.com", true, 60})) << "taken as it is, without a minimum";
  EXPECT_EQ((*map).entries.at("a/e"), (RoleSettings{"", "sts.amazonaws.com", false, 7200}));
  EXPECT_FALSE(parseIdentityMap("[1]", settings));
  EXPECT_FALSE(parseIdentityMap("{", settings));
}

TEST(CredentialsFile, IsRefusedWholeWhenItIsMalformed) {
  EXPECT_EQ(*parseCredentialsFile(R"({"identities":[{"namespace":"a","serviceAccount":"b","x":1}],"y":2})"), CredentialsAccounts{"a/b"});
  EXPECT_TRUE((*parseCredentialsFile("{}")).empty());
  for (const char* bad :
       {"", "[]", R"({"identities":{}})", R"({"identities":["a/b"]})", R"({"identities":[{"namespace":1,"serviceAccount":"b"}]})"})
    EXPECT_FALSE(parseCredentialsFile(bad)) << bad;
}

}  // namespace
}  // namespace podpass::irsa
