#include "token/revocations.h"

#include <gtest/gtest.h>

#include <future>

#include "base/text.h"

namespace podpass::token {
namespace {

using namespace std::chrono_literals;

constexpr std::int64_t kNow = 1'700'000'000;
constexpr const char* kUid = "22222222-3333-4444-8555-666666666666";

WallTime at(std::int64_t seconds) { return WallTime(std::chrono::seconds(seconds)); }

struct Server {
  FakeClock clock{at(kNow)};
  std::unique_ptr<Store> store = makeMemoryStore();
  std::optional<WallTime> until = at(kNow + 3600);
  Revocations revocations{*store, clock, [this] { return until; }};
  Server() { EXPECT_TRUE(revocations.start()); }

  void write(const std::string& key, std::optional<json::object> value) {
    std::promise<bool> done;
    store->commit({key, std::move(value), std::nullopt}, [&done](const Result<Entry>& entry) { done.set_value(static_cast<bool>(entry)); });
    EXPECT_TRUE(done.get_future().get());
  }
  void revoke(const std::string& name, const std::string& spec, std::int64_t created = kNow) {
    write(keyOf(name),
          json::object{{"metadata", {{"name", name}, {"creationTimestamp", rfc3339(at(created))}}}, {"spec", json::parse(spec)}});
  }
  static std::string keyOf(const std::string& name) { return "/registry/tokenrevocations.identity.podpass.dev/" + name; }
  bool exists(const std::string& name) const { return store->get(keyOf(name)) != nullptr; }
};

Revocable token() {
  return {.jti = "id-1", .ns = "default", .account = "reader", .pod = "web-0", .podUid = kUid, .node = "node-1", .issuedAt = kNow - 10};
}

TEST(Revocations, CoverWhatTheyNameAndNothingElse) {
  struct Case {
    const char* why;
    std::string spec;
    bool covers;
  };
  const Case cases[] = {{"its own id", R"({"jti":"id-1"})", true},
                        {"another's id", R"({"jti":"id-2"})", false},
                        {"its account", R"({"serviceAccount":{"namespace":"default","name":"reader"}})", true},
                        {"an account of that name elsewhere", R"({"serviceAccount":{"namespace":"other","name":"reader"}})", false},
                        {"its pod", R"({"pod":{"namespace":"default","name":"web-0"}})", true},
                        {"exactly its pod", R"({"pod":{"namespace":"default","name":"web-0","uid":")" + std::string(kUid) + "\"}}", true},
                        {"an earlier pod of that name", R"({"pod":{"namespace":"default","name":"web-0","uid":"older"}})", false},
                        {"its node", R"({"node":{"name":"node-1"}})", true},
                        {"another node", R"({"node":{"name":"node-2"}})", false},
                        {"an id that looks like an account", R"({"jti":"sa/default/reader"})", false},
                        {"its account, but issued later", R"({"node":{"name":"node-1"},"issuedBefore":"2023-11-14T22:13:09Z"})", false},
                        {"its account, in the last second", R"({"node":{"name":"node-1"},"issuedBefore":"2023-11-14T22:13:10Z"})", true},
                        {"its id, whatever the clock said", R"({"jti":"id-1","issuedBefore":"2020-01-01T00:00:00Z"})", true}};
  for (const Case& c : cases) {
    SCOPED_TRACE(c.why);
    Server server;
    EXPECT_TRUE(server.revocations.check(token()));
    server.revoke("r", c.spec);
    const Result<void> checked = server.revocations.check(token());
    EXPECT_EQ(static_cast<bool>(checked), !c.covers);
    if (c.covers && !checked) {
      EXPECT_EQ(checked.error().reason, Reason::Unauthorized);
      EXPECT_NE(checked.error().sentence.find("revoked"), std::string::npos);
    }
    server.write(Server::keyOf("r"), std::nullopt);
    EXPECT_TRUE(server.revocations.check(token())) << "taken back";
  }
}

TEST(Revocations, TheLatestOfASubjectDecidesAndTheOthersStay) {
  Server server;
  const std::string spec = R"({"serviceAccount":{"namespace":"default","name":"reader"}})";
  server.revoke("early", spec, kNow - 100);
  server.revoke("late", spec, kNow);
  server.revoke("middle", spec, kNow - 50);
  EXPECT_FALSE(server.revocations.check(token()));
  server.write(Server::keyOf("late"), std::nullopt);
  EXPECT_TRUE(server.revocations.check(token()));
  Revocable old = token();
  old.issuedAt = kNow - 60;
  EXPECT_FALSE(server.revocations.check(old));
}

TEST(Revocations, AreReadAtTheStart) {
  Server server;
  server.revoke("r", R"({"jti":"id-1"})");
  Revocations other(*server.store, server.clock, [] { return std::nullopt; });
  EXPECT_TRUE(other.check(token()));
  ASSERT_TRUE(other.start());
  EXPECT_FALSE(other.check(token()));
}

TEST(Revocations, GoWhenNoTokenTheyCoverCanBeAlive) {
  Server server;
  server.revoke("r", R"({"jti":"id-1"})");
  ASSERT_EQ(*server.revocations.sweep(), 0u);
  EXPECT_EQ(textAt(server.store->get(Server::keyOf("r"))->value, {"status", "expires"}), "") << "such a token may be on its way";
  server.clock.advance(31s);
  ASSERT_EQ(*server.revocations.sweep(), 0u);
  EXPECT_EQ(textAt(server.store->get(Server::keyOf("r"))->value, {"status", "expires"}), rfc3339(at(kNow + 3720)));
  EXPECT_FALSE(server.revocations.check(token()));
  server.until = at(kNow + 9999);  // later tokens are none of its business
  server.clock.advance(3689s);
  ASSERT_EQ(*server.revocations.sweep(), 0u);
  EXPECT_TRUE(server.exists("r"));
  server.clock.advance(1s);
  ASSERT_EQ(*server.revocations.sweep(), 1u);
  EXPECT_FALSE(server.exists("r"));
}

TEST(Revocations, StayWhileNobodyKnowsHowLongTokensLive) {
  Server server;
  server.until = std::nullopt;
  server.revoke("r", R"({"jti":"id-1"})");
  server.clock.advance(std::chrono::hours(24 * 365));
  EXPECT_EQ(*server.revocations.sweep(), 0u);
  EXPECT_TRUE(server.exists("r"));
}

TEST(Revocations, StayWhileALegacyTokenOfThatTimeStands) {
  Server server;
  const std::string secret = "/registry/secrets/default/reader-token";
  server.write(secret, json::object{{"type", "kubernetes.io/service-account-token"},
                                    {"metadata",
                                     {{"name", "reader-token"},
                                      {"creationTimestamp", rfc3339(at(kNow - 5))},
                                      {"annotations", {{"kubernetes.io/service-account.name", "reader"}}}}}});
  server.revoke("r", R"({"serviceAccount":{"namespace":"default","name":"reader"}})");
  server.clock.advance(31s);
  ASSERT_EQ(*server.revocations.sweep(), 0u);
  server.clock.advance(4000s);
  ASSERT_EQ(*server.revocations.sweep(), 0u);
  server.write(secret, std::nullopt);
  EXPECT_EQ(*server.revocations.sweep(), 1u);
}

TEST(Revocations, TellRelyingPartiesWhatClaimsToRefuse) {
  Server server;
  EXPECT_EQ(*server.revocations.document("https://issuer.example"), R"({"issuer":"https://issuer.example","revocations":[]})");
  server.revoke("a", R"({"jti":"id-1","reason":"on a laptop that was lost"})");
  server.revoke("b", R"({"serviceAccount":{"namespace":"default","name":"reader"}})");
  EXPECT_EQ(*server.revocations.document("https://issuer.example"),
            R"({"issuer":"https://issuer.example","revocations":[{"jti":"id-1"},)"
            R"({"sub":"system:serviceaccount:default:reader","issuedBefore":1700000000}]})");
  server.clock.advance(31s);
  ASSERT_TRUE(server.revocations.sweep());
  EXPECT_NE(server.revocations.document("https://issuer.example")->find(R"({"jti":"id-1","expires":1700003720})"), std::string::npos);
}

}  // namespace
}  // namespace podpass::token
