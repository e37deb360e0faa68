#include "token/key_rotation.h"

#include <gtest/gtest.h>

namespace podpass::token {
namespace {

using namespace std::chrono_literals;
using What = RotationStep::What;

const WallTime kStart{std::chrono::seconds(1'700'000'000)};

// The keys as they are written down, and what a server does to them.
struct Ledger {
  std::vector<KeyLife> keys;
  WallTime now = kStart;
  RotationPolicy policy{.algorithms = {"RS256"}};

  KeyLife& at(const std::string& name) {
    for (KeyLife& key : keys)
      if (key.name == name) return key;
    throw std::out_of_range(name);
  }
  RotationStep next() const { return nextStep(keys, policy, now); }
  void apply(const RotationStep& step) {
    switch (step.what) {
      case What::Create:
        keys.push_back({.name = step.subject, .algorithm = step.algorithm});
        break;
      case What::Generate:
        at(step.subject).state = KeyState::Published;
        at(step.subject).published = now;
        break;
      case What::Activate:
        at(step.subject).state = KeyState::Active;
        at(step.subject).activated = now;
        break;
      case What::Retire:
        at(step.subject).state = KeyState::Retiring;
        at(step.subject).retiring = now;
        break;
      case What::MoveLegacy:
        at(step.subject).legacyTokensMoved = now;
        break;
      case What::Drop:
        at(step.subject).state = KeyState::Retired;
        at(step.subject).retired = now;
        break;
      case What::Forget:
        std::erase_if(keys, [&](const KeyLife& key) { return key.name == step.subject; });
        break;
      case What::Wait:
        break;
    }
  }
  std::vector<What> settle() {  // what is done until there is nothing to do now
    std::vector<What> done;
    for (int i = 0; i < 50; ++i) {
      const RotationStep step = next();
      if (step.what == What::Wait) break;
      apply(step);
      done.push_back(step.what);
    }
    return done;
  }
};
using Steps = std::vector<What>;

TEST(KeyRotation, TheFirstKeySignsAtOnce) {
  Ledger ledger;
  EXPECT_EQ(ledger.settle(), (Steps{What::Create, What::Generate, What::Activate}));
  EXPECT_EQ(signerOf(ledger.keys, "RS256")->name, "rs256-1");
  EXPECT_EQ(ledger.next().due, WallTime::max()) << "without a schedule nothing falls due";
}

TEST(KeyRotation, ANewKeyIsSeenByAllBeforeItSignsAndTheOldOneOutlivesItsTokens) {
  Ledger ledger;
  ledger.settle();
  ledger.at("rs256-1").tokensUntil = kStart + 10h;
  ledger.keys.push_back({.name = "by-hand", .algorithm = "RS256"});  // kubectl create
  EXPECT_EQ(ledger.settle(), Steps{What::Generate});
  EXPECT_EQ(ledger.next().due, kStart + 3630s) << "a reader's copy may be a moment older than the publication";
  ledger.now = kStart + 3629s;
  EXPECT_EQ(ledger.settle(), Steps{});
  EXPECT_EQ(signerOf(ledger.keys, "RS256")->name, "rs256-1");
  ledger.now = kStart + 3630s;
  EXPECT_EQ(ledger.settle(), (Steps{What::Activate, What::Retire}));
  EXPECT_EQ(signerOf(ledger.keys, "RS256")->name, "by-hand");
  ledger.now = kStart + 10h + 60s;
  EXPECT_EQ(ledger.settle(), Steps{}) << "verifiers accept its last token until now";
  ledger.now = kStart + 10h + 61s;
  EXPECT_EQ(ledger.settle(), Steps{What::MoveLegacy});
  ledger.now += 3599s;
  EXPECT_EQ(ledger.settle(), Steps{});
  ledger.now += 1s;
  EXPECT_EQ(ledger.settle(), Steps{What::Drop});
}

TEST(KeyRotation, GoesOnFromWhereverItWasInterrupted) {
  // The whole life of a scheduled rotation, cut after each step: what the next server does must not depend on who did the last one, or
  // when, and each step must be found again until its outcome is written down.
  Ledger whole;
  whole.policy.every = 24h;
  Steps all;
  std::vector<Ledger> cuts;
  for (int i = 0; i < 200 && std::count(all.begin(), all.end(), What::Drop) < 3; ++i) {
    const RotationStep step = whole.next();
    EXPECT_EQ(step, whole.next());
    cuts.push_back(whole);
    if (step.what == What::Wait) {
      ASSERT_NE(step.due, WallTime::max());
      whole.now = step.due;
    } else {
      whole.apply(step);
      all.push_back(step.what);
    }
    int signers = 0;
    for (const KeyLife& key : whole.keys) signers += key.state == KeyState::Active ? 1 : 0;
    if (all.size() < 3) continue;
    EXPECT_TRUE(signers == 1 || (signers == 2 && all.back() == What::Activate)) << i;
  }
  ASSERT_EQ(std::count(all.begin(), all.end(), What::Drop), 3);
  for (Ledger& cut : cuts) {
    for (const auto late : {0s, 1s, 36000s, 8640000s}) {  // and the next server may come much later
      Ledger later = cut;
      later.now += late;
      later.settle();
      ASSERT_NE(signerOf(later.keys, "RS256"), nullptr);
      int active = 0;
      for (const KeyLife& key : later.keys) active += key.state == KeyState::Active ? 1 : 0;
      EXPECT_EQ(active, 1);
    }
  }
}

TEST(KeyRotation, KeepsToItsSchedule) {
  Ledger ledger;
  ledger.policy.every = 30 * 24h;
  ledger.settle();
  EXPECT_EQ(ledger.next().due, kStart + 30 * 24h - 3630s) << "early enough to be seen by all on the day";
  ledger.now = ledger.next().due;
  EXPECT_EQ(ledger.settle(), (Steps{What::Create, What::Generate}));
  ledger.now = kStart + 30 * 24h;
  ledger.settle();
  EXPECT_EQ(signerOf(ledger.keys, "RS256")->name, "rs256-2");
}

TEST(KeyRotation, AShortCacheLifeHasAShortMargin) {
  Ledger ledger;
  ledger.policy.cacheLife = 2s;
  ledger.settle();
  ledger.keys.push_back({.name = "by-hand", .algorithm = "RS256"});
  ledger.settle();
  EXPECT_EQ(ledger.next().due, kStart + 4s);
}

TEST(KeyRotation, ARevokedSignerIsReplacedAtOnceWhenNothingElseCanSign) {
  Ledger ledger;
  ledger.settle();
  ledger.at("rs256-1").revoked = true;
  EXPECT_EQ(ledger.settle(), (Steps{What::Drop, What::Create, What::Generate, What::Activate}));
  EXPECT_EQ(ledger.at("rs256-1").state, KeyState::Retired);
}

TEST(KeyRotation, TheFirstKeysOfAllAlgorithmsSignAtOnce) {
  Ledger ledger;
  ledger.policy.algorithms = {"ES384", "EdDSA", "RS256"};
  EXPECT_EQ(ledger.settle(), (Steps{What::Create, What::Generate, What::Create, What::Generate, What::Create, What::Generate,
                                    What::Activate, What::Activate, What::Activate}));
}

TEST(KeyRotation, AnAlgorithmsChangeIsARotationToo) {
  Ledger ledger;
  ledger.settle();
  ledger.now += 1s;
  ledger.policy.algorithms = {"ES256", "EdDSA"};
  EXPECT_EQ(ledger.settle(), (Steps{What::Create, What::Generate, What::Create, What::Generate}));
  EXPECT_EQ(ledger.at("rs256-1").state, KeyState::Active) << "until the new ones are seen by all";
  ledger.now += 3630s;
  EXPECT_EQ(ledger.settle(), (Steps{What::Activate, What::Activate, What::Retire}));
  EXPECT_EQ(ledger.at("rs256-1").state, KeyState::Retiring);
}

TEST(KeyRotation, NeverDropsAKeyWhoseTokensItCannotCount) {
  Ledger ledger;
  ledger.settle();
  ledger.keys.push_back({.name = "imported", .algorithm = "RS256", .state = KeyState::Retiring, .unbounded = true});
  ledger.now += 87600h;
  EXPECT_EQ(ledger.settle(), Steps{});
  ledger.at("imported").revoked = true;
  EXPECT_EQ(ledger.settle(), Steps{What::Drop});
}

TEST(KeyRotation, RemembersTenRetiredKeys) {
  Ledger ledger;
  ledger.settle();
  for (int i = 0; i < 12; ++i)
    ledger.keys.push_back(
        {.name = "old-" + std::to_string(i), .algorithm = "RS256", .state = KeyState::Retired, .retired = kStart + i * 1h});
  EXPECT_EQ(ledger.settle(), (Steps{What::Forget, What::Forget}));
  EXPECT_THROW(ledger.at("old-1"), std::out_of_range);
  EXPECT_NO_THROW(ledger.at("old-2"));
}

TEST(KeyRotation, NamesSeriesOfOneAlgorithmApart) {
  Ledger ledger;
  ledger.keys = {{.name = "rs256-3072-7", .algorithm = "RS256-3072", .state = KeyState::Retired},
                 {.name = "rs256-2", .algorithm = "RS256", .state = KeyState::Retired},
                 {.name = "rs256-x", .algorithm = "RS256", .state = KeyState::Retired}};
  EXPECT_EQ(ledger.next(), (RotationStep{.what = What::Create, .subject = "rs256-3", .algorithm = "RS256"}));
}

TEST(KeyRotation, AKeyThatCannotBeMadeAsksForNoOtherAndHoldsUpNone) {
  Ledger first;  // nothing has ever signed
  first.policy.algorithms = {"ES256", "RS256"};
  first.keys = {{.name = "es256-1", .algorithm = "ES256", .stuck = true}};
  EXPECT_EQ(first.settle(), (std::vector{What::Create, What::Generate, What::Activate})) << "the other algorithm goes on";
  EXPECT_EQ(first.at("rs256-1").state, KeyState::Active);
  EXPECT_EQ(first.keys.size(), 2u) << "no es256-2";
  Ledger alone;
  alone.keys = {{.name = "rs256-1", .algorithm = "RS256", .stuck = true}};
  EXPECT_EQ(alone.settle(), std::vector<What>{});

  Ledger due;  // the next rotation by the clock is long due
  due.policy.every = 24h;
  due.keys = {{.name = "rs256-1", .algorithm = "RS256", .state = KeyState::Active, .published = kStart, .activated = kStart},
              {.name = "rs256-2", .algorithm = "RS256", .stuck = true}};
  due.now += 100h;
  EXPECT_EQ(due.settle(), std::vector<What>{});
  due.at("rs256-2").stuck = false;
  EXPECT_EQ(due.settle(), std::vector{What::Generate}) << "it can be made again";
}

}  // namespace
}  // namespace podpass::token
