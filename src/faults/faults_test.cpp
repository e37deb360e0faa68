#include "faults/faults.h"

#include <gtest/gtest.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_future.hpp>
#include <future>

#include "api/codec.h"
#include "base/text.h"
#include "irsa/sts_answer.h"
#include "irsa/test_sts.h"

namespace podpass::faults {
namespace {

using namespace std::chrono_literals;

class FaultsTest : public testing::Test {
 protected:
  static void SetUpTestSuite() { api::serveFaults(); }
  FaultsTest() {
    const Result<void> started = faults.start(*store, client, [this] { ++forgotten; });
    EXPECT_TRUE(started);
  }
  ~FaultsTest() override { faults.stop(); }

  void commit(const std::string& name, std::optional<json::object> object) {
    std::promise<bool> done;
    store->commit({"/registry/faults.identity.podpass.dev/" + name, std::move(object), std::nullopt},
                  [&done](const Result<Entry>& entry) { done.set_value(bool(entry)); });
    ASSERT_TRUE(done.get_future().get());
  }
  void create(const std::string& name, json::object spec) {
    const json::object metadata{{"name", name}, {"uid", name + "-uid"}, {"creationTimestamp", rfc3339(clock.now())}};
    commit(name, json::object{{"metadata", metadata}, {"spec", std::move(spec)}});
  }
  void remove(const std::string& name) { commit(name, std::nullopt); }

  // What comes of a request; a connection that is closed has status 0.
  http::Response ask(Place place, const std::string& path, int version = 1) {
    http::Request request;
    request.path = path;
    request.versionMajor = version;
    http::Handler good = [](std::shared_ptr<const http::Request>) -> http::asio::awaitable<http::Response> {
      http::Response response;
      response.body = std::make_shared<const std::string>("good");
      co_return response;
    };
    const http::Handler handler = faults.around(place)(std::move(good));
    http::asio::io_context here(1);
    auto done = http::asio::co_spawn(here, handler(std::make_shared<const http::Request>(request)), http::asio::use_future);
    here.run();
    http::Response response = done.get();
    if (response.takeOver) response.status = 0;
    return response;
  }
  int statusOf(Place place, const std::string& path, int version = 1) { return ask(place, path, version).status; }

  FakeClock clock;
  const std::unique_ptr<Store> store = makeMemoryStore();
  irsa::test::Api client;
  std::atomic<int> forgotten{0};
  Faults faults{clock};
};

constexpr const char* kJwks = "/openid/v1/jwks";

TEST_F(FaultsTest, AreInForceFromTheAnswerOfTheirCreationToThatOfTheirDeletion) {
  for (int i = 0; i < 20; ++i) {
    ASSERT_EQ(statusOf(Place::STS, "/"), 200);
    create("down", {{"type", "STSDown"}, {"answer", "Unavailable"}});
    ASSERT_EQ(statusOf(Place::STS, "/"), 503);
    remove("down");
  }
  create("down", {{"type", "STSDown"}});
  faults.stop();
  EXPECT_EQ(statusOf(Place::STS, "/"), 200) << "and none outlives the rehearsal";
}

TEST_F(FaultsTest, StrikeOnlyWhatTheyName) {
  struct Case {
    const char* type;
    Place place;
    const char* path;
    std::vector<std::pair<Place, const char*>> others;
  };
  const Case cases[] = {
      {"STSDown",
       Place::STS,
       "/",
       {{Place::APIServer, "/"}, {Place::Webhook, "/mutate"}, {Place::ContainerCredentials, "/v1/credentials"}}},
      {"IssuerDown", Place::APIServer, kJwks, {{Place::APIServer, "/api/v1/pods"}, {Place::STS, kJwks}}},
      {"IssuerDown", Place::APIServer, "/.well-known/openid-configuration", {{Place::APIServer, "/readyz"}}},
      {"WebhookDown", Place::Webhook, "/mutate", {{Place::Webhook, "/healthz"}, {Place::APIServer, "/mutate"}}},
      {"CredentialsDown", Place::ContainerCredentials, "/v1/credentials", {{Place::ContainerCredentials, "/"}, {Place::STS, "/"}}}};
  for (const Case& c : cases) {
    SCOPED_TRACE(c.type);
    create("f", {{"type", c.type}});
    EXPECT_EQ(statusOf(c.place, c.path), 0) << "the connection ends without an answer";
    EXPECT_EQ(statusOf(c.place, c.path, 2), 503) << "of HTTP/2 only a stream could end";
    for (const auto& [place, path] : c.others) EXPECT_EQ(statusOf(place, path), 200) << path;
    remove("f");
    EXPECT_EQ(statusOf(c.place, c.path), 200);
  }
}

TEST_F(FaultsTest, AnswerInTheWordsOfWhoFails) {
  create("f", {{"type", "STSThrottling"}});
  const http::Response throttled = ask(Place::STS, "/");
  EXPECT_EQ(throttled.status, 400);
  const std::string id(throttled.headers.find("x-amzn-RequestId"));
  EXPECT_EQ(*throttled.body, *irsa::errorAnswer(irsa::throttled(), id).body) << "byte for byte what an overloaded STS says";
  remove("f");
  struct Case {
    Place place;
    const char *type, *answer, *path;
    int status;
    const char* says;
  };
  const Case cases[] = {
      {Place::STS, "STSDown", "InternalError", "/", 500, "<Code>InternalFailure</Code>"},
      {Place::STS, "STSDown", "Unavailable", "/", 503, "<Type>Receiver</Type>"},
      {Place::STS, "STSDown", "HTMLPage", "/", 200, "<!DOCTYPE html>"},
      {Place::ContainerCredentials, "CredentialsDown", "InternalError", "/v1/credentials", 500, "(InternalServerException)"},
      {Place::ContainerCredentials, "CredentialsDown", "Unavailable", "/v1/credentials", 503, ", fault: server\n"},
      {Place::APIServer, "IssuerDown", "Unavailable", kJwks, 503, "503 Service Unavailable"},
      {Place::Webhook, "WebhookDown", "InternalError", "/mutate", 500, "500 Internal Server Error"}};
  for (const Case& c : cases) {
    SCOPED_TRACE(c.says);
    create("f", {{"type", c.type}, {"answer", c.answer}});
    const http::Response response = ask(c.place, c.path);
    EXPECT_EQ(response.status, c.status);
    EXPECT_NE(response.body->find(c.says), std::string::npos) << *response.body;
    remove("f");
  }
}

TEST_F(FaultsTest, StrikeAsOftenAsTheySay) {
  create("twice", {{"type", "STSThrottling"}, {"times", 2}});
  std::vector<int> seen;
  for (int i = 0; i < 4; ++i) seen.push_back(statusOf(Place::STS, "/"));
  EXPECT_EQ(seen, (std::vector<int>{400, 400, 200, 200})) << "what a client that tries again must get through";
  remove("twice");
  for (const std::int64_t percent : {1, 10, 33, 50, 99, 100}) {
    create("some", {{"type", "STSThrottling"}, {"percent", percent}});
    EXPECT_EQ(statusOf(Place::STS, "/"), 400) << "the first one is struck";
    int struck = 1;
    for (int i = 1; i < 200; ++i) struck += statusOf(Place::STS, "/") == 400 ? 1 : 0;
    EXPECT_EQ(struck, 2 * percent);
    remove("some");
  }
}

TEST_F(FaultsTest, AStaleJwksHoldsNoKeyThatSigns) {
  create("stale", {{"type", "JWKSStale"}});
  EXPECT_EQ(forgotten, 1) << "or a relying party would not look";
  const json::value jwks = json::parse(*ask(Place::APIServer, kJwks).body);
  ASSERT_EQ(jwks.at("keys").as_array().size(), 1u);
  EXPECT_TRUE(jwks.at("keys").at(0).as_object().contains("kid"));
  EXPECT_FALSE(jwks.at("keys").at(0).as_object().contains("d"));
  EXPECT_EQ(*ask(Place::APIServer, kJwks).body, json::serialize(jwks)) << "the same every time";
  EXPECT_EQ(*ask(Place::APIServer, "/.well-known/openid-configuration").body, "good");
  remove("stale");
  EXPECT_EQ(forgotten, 2);
  EXPECT_EQ(*ask(Place::APIServer, kJwks).body, "good");
}

TEST_F(FaultsTest, AClockIsOffAndSaysSo) {
  const Clock &sts = faults.clock(Place::STS), &apiServer = faults.clock(Place::APIServer);
  EXPECT_TRUE(ask(Place::STS, "/").headers.find("Date").empty()) << "the server's own";
  create("fast", {{"type", "ClockSkew"}, {"skewSeconds", 600}});
  EXPECT_EQ(sts.now(), clock.now() + 600s);
  EXPECT_EQ(sts.steady(), clock.steady()) << "nothing is waited for longer";
  EXPECT_EQ(apiServer.now(), clock.now());
  EXPECT_EQ(ask(Place::STS, "/").headers.find("Date"), "Sat, 04 Mar 2023 09:38:03 GMT") << "or clients could not correct theirs";
  create("slow", {{"type", "ClockSkew"}, {"skewSeconds", -900}, {"component", "APIServer"}});
  EXPECT_EQ(apiServer.now(), clock.now() - 900s);
  remove("fast");
  remove("slow");
  EXPECT_EQ(sts.now(), clock.now());
  EXPECT_EQ(apiServer.now(), clock.now());
}

TEST_F(FaultsTest, WhatWasIssuedBeforeHasExpiredAndWhatIsIssuedLaterHasNot) {
  const auto second = [this] { return std::chrono::floor<std::chrono::seconds>(clock.now().time_since_epoch()); };
  const std::chrono::seconds before = second();
  create("now", {{"type", "TokensExpired"}});
  for (const Place place : {Place::STS, Place::APIServer}) {
    EXPECT_GT(faults.clock(place).nowFor(before), clock.now() + 24h * 366) << "beyond the longest life of a token";
    EXPECT_EQ(faults.clock(place).nowFor(before + 1s), clock.now());
    EXPECT_EQ(faults.clock(place).now(), clock.now());
  }
  remove("now");
  EXPECT_EQ(faults.clock(Place::STS).nowFor(before), clock.now());
}

TEST_F(FaultsTest, ExpiryReachesEveryVerdictOfSts) {
  irsa::test::Sts sts;
  token::RelyingParty party{sts.pool, faults.clock(Place::STS)};
  irsa::StsDirectory directory{sts.api, party, "000000000000"};
  ASSERT_TRUE(directory.start());
  irsa::StsService rehearsed{sts.keys, directory, party, sts.refusals, faults.clock(Place::STS)};
  const auto asked = [&](const std::string& token) {
    http::asio::io_context here(1);
    auto request = std::make_shared<const http::Request>(irsa::test::Sts::assume("role0", token));
    auto done = http::asio::co_spawn(here, rehearsed.handle(std::move(request)), http::asio::use_future);
    here.run();
    return *done.get().body;
  };
  const std::string token = sts.token();
  EXPECT_NE(asked(token).find("<AssumeRoleWithWebIdentityResult>"), std::string::npos);
  create("now", {{"type", "TokensExpired"}});
  const std::string refused = asked(token);
  EXPECT_NE(refused.find("<Code>ExpiredTokenException</Code>"), std::string::npos) << refused;
  EXPECT_NE(refused.find("Token expired: current date/time 1993"), std::string::npos) << refused;
  EXPECT_NE(refused.find("must be before the expiration date/time 1677922683"), std::string::npos) << refused;
  clock.advance(1s);
  sts.clock.advance(1s);
  EXPECT_NE(asked(sts.token()).find("<AssumeRoleWithWebIdentityResult>"), std::string::npos) << "a new token is good";
}

TEST_F(FaultsTest, BeginAndEndAreEvents) {
  create("f", {{"type", "STSThrottling"}});
  ask(Place::STS, "/");
  remove("f");
  faults.stop();
  ASSERT_EQ(client.events.size(), 2u);
  EXPECT_EQ(textAt(client.events[0]->value, {"reason"}), "FaultBegan");
  EXPECT_EQ(textAt(client.events[1]->value, {"reason"}), "FaultEnded");
  EXPECT_EQ(textAt(client.events[1]->value, {"message"}), "STSThrottling struck 1 requests");
  for (const DocumentPtr& event : client.events) EXPECT_EQ(textAt(event->value, {"involvedObject", "name"}), "f");
}

TEST(FaultOf, ReadsTheCommandLine) {
  struct Case {
    const char *argument, *spec;  // "": refused
  };
  for (const Case& c :
       {Case{"TokensExpired", R"({"type":"TokensExpired"})"}, Case{"ClockSkew=-600", R"({"type":"ClockSkew","skewSeconds":-600})"},
        Case{"STSThrottling", R"({"type":"STSThrottling"})"}, Case{"STSThrottling=30", R"({"type":"STSThrottling","percent":30})"},
        Case{"WebhookDown=Slow", R"({"type":"WebhookDown","answer":"Slow"})"}, Case{"ClockSkew=soon", ""}, Case{"ClockSkew=1s", ""},
        Case{"KeyRevoked=now", ""}}) {
    SCOPED_TRACE(c.argument);
    const Result<json::object> fault = faultOf(c.argument);
    EXPECT_EQ(fault ? json::serialize(fault->at("spec")) : "", c.spec);
  }
}

TEST(FaultKind, SaysWhatItCannotBe) {
  api::serveFaults();
  const api::Kind& kind = *api::findKind("identity.podpass.dev", "v1", "faults");
  struct Case {
    const char *spec, *field;  // "": good
  };
  for (const Case& c :
       {Case{R"({"type":"TokensExpired"})", ""}, Case{R"({"type":"STSDown","percent":50,"times":3,"answer":"Slow"})", ""},
        Case{R"({"type":"Nothing"})", "spec.type"}, Case{R"({"type":"ClockSkew"})", "spec.skewSeconds"},
        Case{R"({"type":"ClockSkew","skewSeconds":1,"times":1})", "spec.times"},
        Case{R"({"type":"STSThrottling","percent":101})", "spec.percent"}, Case{R"({"type":"STSThrottling","percent":0})", "spec.percent"},
        Case{R"({"type":"STSThrottling","answer":"Slow"})", "spec.answer"}, Case{R"({"type":"STSDown","answer":"Teapot"})", "spec.answer"},
        Case{R"({"type":"TokensExpired","skewSeconds":1})", "spec.skewSeconds"}}) {
    SCOPED_TRACE(c.spec);
    const json::object object{{"apiVersion", "identity.podpass.dev/v1"},
                              {"kind", "Fault"},
                              {"metadata", json::object{{"name", "f"}}},
                              {"spec", json::parse(c.spec)}};
    const std::vector<Cause> causes = api::validate(kind, object);
    EXPECT_EQ(causes.empty() ? "" : causes[0].field, c.field);
  }
}

}  // namespace
}  // namespace podpass::faults
