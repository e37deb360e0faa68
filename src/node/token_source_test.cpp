// g++ 12 takes a test's callback that captures a local for one that outlives it.
#pragma GCC diagnostic ignored "-Wdangling-pointer"
#include "node/token_source.h"

#include <gtest/gtest.h>

#include <thread>

#include "node/test_client.h"

namespace podpass::node {
namespace {

using namespace std::chrono_literals;

TokenKey keyOf(std::int64_t seconds = 3600) { return {"ns", "robot", "pod", "uid-1", "sts.amazonaws.com", seconds}; }

class TokenSourceTest : public testing::Test {
 protected:
  TokenSourceTest() { client.clock = &clock; }
  std::string tokenNow(const TokenKey& key) {
    const Result<ServedToken> token = tokens.get(key);
    return token ? std::string(token->text.reveal()) : "error: " + token.error().sentence;
  }
  int requests() const { return client.calls("token", "serviceaccounts"); }

  FakeClock clock;
  TestClient client;
  TokenSource tokens{client, clock, [] { return 0s; }};
};

TEST_F(TokenSourceTest, AsksForATokenBoundToThePod) {
  json::object seen;
  client.answer = [&](std::string_view, const api::ObjectName& name, std::string_view subresource, const json::object& body) {
    EXPECT_EQ(name.ns, "ns");
    EXPECT_EQ(name.name, "robot");
    EXPECT_EQ(subresource, "token");
    seen = body;
    return client.issueToken(name, body);
  };
  TokenKey key = keyOf();
  EXPECT_EQ(tokenNow(key), "token-1:sts.amazonaws.com");
  EXPECT_EQ(json::value(seen), json::parse(R"({"apiVersion":"authentication.k8s.io/v1","kind":"TokenRequest","spec":{
      "audiences":["sts.amazonaws.com"],"expirationSeconds":3600,
      "boundObjectRef":{"apiVersion":"v1","kind":"Pod","name":"pod","uid":"uid-1"}}})"));
  key.audience = "";
  EXPECT_EQ(tokenNow(key), "token-2:");
  EXPECT_FALSE(seen["spec"].as_object().contains("audiences"));
}

TEST_F(TokenSourceTest, RenewsAtFourFifthsOfItsLifeOrADay) {
  const std::pair<std::int64_t, std::chrono::milliseconds> cases[] = {
      {600, 480s}, {3600, 2880s}, {3607, 2885600ms}, {86400, 69120s}, {365 * 86400, 86400s}};
  for (const auto& [life, due] : cases) {
    SCOPED_TRACE(life);
    clock = FakeClock();  // a whole second: expirationTimestamp has no fractions
    const TokenKey key = keyOf(life);
    const std::string first = tokenNow(key);
    EXPECT_EQ(*tokens.untilRefresh("uid-1"), due + 1ms);
    clock.advance(due - 1s);
    EXPECT_EQ(tokenNow(key), first);
    clock.advance(1s);
    EXPECT_EQ(tokenNow(key), first) << "due means later than, as upstream";
    clock.advance(1s);
    EXPECT_EQ(*tokens.untilRefresh("uid-1"), 0ms);
    EXPECT_NE(tokenNow(key), first);
    tokens.forget("uid-1");
  }
}

TEST_F(TokenSourceTest, IsEarlierByTheJitter) {
  TokenSource early(client, clock, [] { return 9s; });
  ASSERT_TRUE(early.get(keyOf(600)));
  EXPECT_EQ(*early.untilRefresh("uid-1"), 471s + 1ms);
  clock.advance(471s);
  ASSERT_TRUE(early.get(keyOf(600)));
  EXPECT_EQ(requests(), 1);
  clock.advance(1s);
  ASSERT_TRUE(early.get(keyOf(600)));
  EXPECT_EQ(requests(), 2);
}

TEST_F(TokenSourceTest, GoesByTheLifeThatTheServerGranted) {
  struct Case {
    const char* why;
    std::function<void(json::object&)> shape;
    std::chrono::milliseconds due;
  };
  const Case cases[] = {{"shortened",
                         [&](json::object& a) {
                           a["spec"].as_object()["expirationSeconds"] = 1000;
                           a["status"].as_object()["expirationTimestamp"] = rfc3339(clock.now() + 1000s);
                         },
                         800s},
                        {"not said, but in the token",
                         [&](json::object& a) {
                           a["spec"].as_object().erase("expirationSeconds");
                           a["status"].as_object()["token"] = "e30." + base64UrlEncode(R"({"iat":1000,"exp":3000})") + ".c2ln";
                           a["status"].as_object()["expirationTimestamp"] = rfc3339(clock.now() + 2000s);
                         },
                         1600s},
                        {"said nowhere",
                         [](json::object& a) {
                           a["spec"].as_object().erase("expirationSeconds");
                           a["status"].as_object().erase("expirationTimestamp");
                         },
                         2880s}};
  for (const Case& c : cases) {
    SCOPED_TRACE(c.why);
    client.answer = [&](std::string_view, const api::ObjectName& name, std::string_view, const json::object& body) {
      Result<json::object> answer = client.issueToken(name, body);
      c.shape(*answer);
      return answer;
    };
    ASSERT_TRUE(tokens.get(keyOf()));
    EXPECT_EQ(*tokens.untilRefresh("uid-1"), c.due + 1ms);
    tokens.forget("uid-1");
  }
}

TEST_F(TokenSourceTest, KeepsTheOldTokenWhileRenewingFailsAndTriesLessAndLessOften) {
  const TokenKey key = keyOf(600);
  const std::string first = tokenNow(key);
  client.fail("token", "serviceaccounts", {Reason::Unavailable, "the server is away"});
  clock.advance(481s);
  EXPECT_EQ(tokenNow(key), first);
  EXPECT_EQ(requests(), 2);
  EXPECT_EQ(tokenNow(key), first);
  EXPECT_EQ(requests(), 2) << "the pause after a failure";
  const std::chrono::milliseconds pause = *tokens.untilRefresh("uid-1");
  EXPECT_GE(pause, 1s);
  EXPECT_LE(pause, 1250ms);
  clock.advance(pause);
  EXPECT_FALSE(tokens.get(key)->failing) << "a fifth of its life remains";
  EXPECT_EQ(requests(), 3);
  EXPECT_GE(*tokens.untilRefresh("uid-1"), 2s);
  clock.advance(70s);  // less than a tenth remains
  const Result<ServedToken> late = tokens.get(key);
  ASSERT_TRUE(late);
  ASSERT_TRUE(late->failing);
  EXPECT_NE(late->failing->sentence.find("the server is away"), std::string::npos);
  client.mend();
  clock.advance(65s);
  EXPECT_EQ(tokenNow(key), "token-2:sts.amazonaws.com");
}

TEST_F(TokenSourceTest, SaysWhenThereIsNoTokenAndWhenTheLastOneExpired) {
  client.fail("token", "serviceaccounts", {Reason::NotFound, "serviceaccounts \"robot\" not found"});
  EXPECT_EQ(tokenNow(keyOf(600)), "error: failed to fetch token: serviceaccounts \"robot\" not found");
  EXPECT_FALSE(tokens.untilRefresh("uid-1")) << "who sets the volume up decides when to come back";
  client.mend();
  const std::string first = tokenNow(keyOf(600));
  client.fail("token", "serviceaccounts", {Reason::Forbidden, "no"});
  clock.advance(600s);
  EXPECT_EQ(tokenNow(keyOf(600)), first) << "the last second of its life";
  clock.advance(61s);
  EXPECT_EQ(tokenNow(keyOf(600)), "error: token \"robot/ns/[sts.amazonaws.com]/600/Pod pod uid-1\" expired and refresh failed: no");
}

TEST_F(TokenSourceTest, FollowsBothClocks) {
  const TokenKey key = keyOf(600);
  std::string before = tokenNow(key);
  clock.advance(31s);
  clock.stepWall(500s);
  std::string now = tokenNow(key);
  EXPECT_NE(now, before) << "the wall jumped ahead, as after a suspend";
  before = now;
  clock.advance(31s);
  clock.stepWall(-100s);
  now = tokenNow(key);
  EXPECT_NE(now, before) << "the wall was set back behind the issue";
  before = now;
  clock.advance(200s);
  clock.stepWall(-150s);
  EXPECT_EQ(tokenNow(key), before);
  clock.advance(281s);
  EXPECT_NE(tokenNow(key), before) << "481 s have passed, though the wall says 331";
}

TEST_F(TokenSourceTest, DoesNotAskAgainAndAgainWhenTheClocksDisagree) {
  FakeClock server;
  client.clock = &server;
  for (const auto skew : {-2000s, 2000s}) {
    server.stepWall(skew);
    ASSERT_TRUE(tokens.get(keyOf(600)));
    const int before = requests();
    for (int look = 0; look < 5; ++look) ASSERT_TRUE(tokens.get(keyOf(600)));
    EXPECT_EQ(requests(), before);
    EXPECT_GE(*tokens.untilRefresh("uid-1"), 30s);
    server.stepWall(-skew);
    tokens.forget("uid-1");
  }
}

TEST_F(TokenSourceTest, AsksOnceForManyWhoWantTheSame) {
  std::mutex mutex;
  std::condition_variable changed;
  bool asked = false, release = false;
  client.answer = [&](std::string_view, const api::ObjectName& name, std::string_view, const json::object& body) {
    std::unique_lock lock(mutex);
    asked = true;
    changed.notify_all();
    changed.wait(lock, [&] { return release; });
    return client.issueToken(name, body);
  };
  std::vector<std::string> got(8);
  std::vector<std::thread> askers;
  for (std::string& slot : got) askers.emplace_back([&] { slot = tokenNow(keyOf()); });
  {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return asked; });
    release = true;
    changed.notify_all();
  }
  for (std::thread& asker : askers) asker.join();
  for (const std::string& token : got) EXPECT_EQ(token, "token-1:sts.amazonaws.com");
  EXPECT_EQ(requests(), 1);
}

TEST_F(TokenSourceTest, TellsKeysApartAndForgetsAPod) {
  TokenKey other = keyOf();
  other.podUid = "uid-2";
  const std::string first = tokenNow(keyOf()), second = tokenNow(other);
  EXPECT_NE(first, second);
  tokens.forget("uid-1");
  EXPECT_EQ(tokenNow(other), second);
  EXPECT_NE(tokenNow(keyOf()), first);
}

}  // namespace
}  // namespace podpass::node
