#include "crypto/test_pem.h"
#include "token/test_signing_keys.h"
#include "token/test_store.h"

// A server that dies at any of its writes, before or after the disk has it, and another one that goes on.
namespace podpass::token {
namespace {

constexpr const char* kLegacy = "/registry/secrets/default/t";

crypto::KeyPair given() { return crypto::readPemKeys(crypto::test::kSshEc)->front(); }
crypto::KeyPair givenToVerify() { return *crypto::KeyPair::fromPublicDer(crypto::readPemKeys(crypto::test::kSshRsa)->front().publicDer()); }

struct HandedOut {
  Secret token;
  WallTime expires;
};

// A server from its first start to the end of a rotation. It stops where `dead` says that it has died.
std::vector<HandedOut> live(Server& server, Cluster& cluster, bool takesOver, const std::function<bool()>& dead) {
  std::vector<HandedOut> tokens;
  const auto issue = [&](std::chrono::seconds life) {
    Result<Secret> token = server.token(cluster.clock, life);
    if (token) tokens.push_back({*std::move(token), cluster.clock.now() + life});
  };
  const std::function<void()> steps[] = {
      [&] {
        if (takesOver) (void)server.keys.adopt(given());
        if (takesOver && !dead()) (void)server.keys.adopt(givenToVerify());
        if (!dead()) (void)server.keys.open();
      },
      [&] { issue(7200s); },
      [&] {
        const Secret token = *server.issuer.issueLegacy({.ns = "default", .secretName = "t", .serviceAccount = {"default", "u"}});
        ASSERT_TRUE(commit(*cluster.store, {kLegacy,
                                            json::object{{"type", "kubernetes.io/service-account-token"},
                                                         {"metadata", {{"name", "t"}}},
                                                         {"data", {{"token", base64Encode(token.reveal())}}}},
                                            0}));
        cluster.change("asked", [](json::object&) {});
      },
      [&] { server.settle(); },
      [&] { cluster.clock.advance(3700s), server.settle(); },
      [&] { issue(36000s); },
      [&] { cluster.clock.advance(5000s), server.settle(); },  // legacy tokens move
      [&] { cluster.clock.advance(3700s), server.settle(); },  // the first key leaves
  };
  for (const auto& step : steps) {
    step();
    if (dead()) break;
  }
  return tokens;
}

void expectWhole(Cluster& cluster, Server& next, const std::vector<HandedOut>& tokens) {
  const Result<void> opened = next.keys.open();
  ASSERT_TRUE(opened) << opened.error().sentence;
  const auto stillGood = [&] {
    for (const HandedOut& each : tokens)
      EXPECT_TRUE(each.expires < cluster.clock.now() || next.refusal(each.token).empty()) << next.refusal(each.token);
    if (const DocumentPtr secret = cluster.store->get(kLegacy)) {
      const Secret current(*base64Decode(textAt(secret->value, {"data", "token"})));
      EXPECT_EQ(next.refusal(current), "") << "what the Secret holds";
    }
    const Result<Secret> fresh = next.token(cluster.clock);
    ASSERT_TRUE(fresh) << fresh.error().sentence;
    EXPECT_EQ(next.refusal(*fresh), "");
  };
  stillGood();
  for (int hour = 0; hour < 6; ++hour) {
    cluster.clock.advance(3700s);
    next.settle();
    stillGood();
  }
  EXPECT_TRUE(cluster.signingKey("asked").empty() || cluster.state("asked") == "Active") << "whoever looks next goes on";
}

// Every sealed key has an object that needs it.
void expectNothingLeft(Cluster& cluster) {
  ASSERT_TRUE(Server(*cluster.store, *cluster.kek, cluster.clock).keys.open());
  std::set<std::string> needed;
  const Result<Page> objects = cluster.store->range(std::string(kObjects), "", 0, 0),
                     sealed = cluster.store->range("/podpass/signingkeys/", "", 0, 0);
  for (const Entry& entry : objects->entries)
    if (textAt(entry.document->value, {"status", "state"}) != "Retired") needed.emplace(textAt(entry.document->value, {"metadata", "uid"}));
  for (const Entry& entry : sealed->entries) EXPECT_TRUE(needed.contains(entry.key.substr(entry.key.rfind('/') + 1))) << entry.key;
  EXPECT_EQ(sealed->entries.size(), needed.size());
}

class ACrash : public testing::TestWithParam<std::tuple<TroubledStore::Trouble, bool>> {};

TEST_P(ACrash, AtAnyWriteLosesNoTokenAndLeavesNoKey) {
  const auto [trouble, takesOver] = GetParam();
  std::size_t survived = 0;
  for (std::size_t last = 0; last < 100; ++last) {
    SCOPED_TRACE("the write " + std::to_string(last));
    Cluster cluster;
    TroubledStore store(*cluster.store);
    std::size_t writes = 0;
    bool died = false;
    store.commits = [&, how = trouble](const Mutation&) {
      if (died) return TroubledStore::Trouble::BeforeWriting;  // the dead write no more
      if (writes++ < last) return TroubledStore::Trouble::None;
      died = true;
      return how;
    };
    std::vector<HandedOut> tokens;
    {
      Server server(store, *cluster.kek, cluster.clock);
      tokens = live(server, cluster, takesOver, [&] { return died; });
    }
    Server next(*cluster.store, *cluster.kek, cluster.clock);
    if (takesOver) {  // the flags are given at every start
      ASSERT_TRUE(next.keys.adopt(given()));
      ASSERT_TRUE(next.keys.adopt(givenToVerify()));
    }
    expectWhole(cluster, next, tokens);
    expectNothingLeft(cluster);
    if (!died) break;
    ++survived;
  }
  EXPECT_GT(survived, 8u);
  EXPECT_LT(survived, 99u) << "or the last of them was not reached";
}

INSTANTIATE_TEST_SUITE_P(SigningKeys, ACrash,
                         testing::Combine(testing::Values(TroubledStore::Trouble::BeforeWriting, TroubledStore::Trouble::AfterWriting),
                                          testing::Bool()));

}  // namespace
}  // namespace podpass::token
