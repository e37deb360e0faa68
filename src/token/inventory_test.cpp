#include "token/inventory.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>

#include "base/file.h"
#include "base/text.h"
#include "jose/test_keys.h"
#include "token/verifier.h"

namespace podpass::token {
namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;

class Folder {
 public:
  Folder() { fs::create_directory(path_); }
  ~Folder() { fs::remove_all(path_); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  [[nodiscard]] fs::path file() const { return path_ / "tokens"; }

 private:
  fs::path path_ = fs::temp_directory_path() / ("podpass-inventory-" + randomUuid());
};

std::int64_t secondsOf(WallTime time) { return std::chrono::floor<std::chrono::seconds>(time.time_since_epoch()).count(); }

struct Life {
  explicit Life(const fs::path& file, const Clock& clock, InventoryLimits limits = {}, std::optional<WallTime> tokensUntil = WallTime{})
      : time(clock),
        inventory(
            file, clock, [tokensUntil] { return tokensUntil; }, limits),
        started(inventory.start()) {}

  BoundClaims claims(std::chrono::seconds life, const std::string& pod = "") const {
    BoundClaims made{.ns = "shop", .serviceAccount = {"cart", "8b6dd34c-8d5f-4a5f-8b0e-0d7c2d5c5f01"}, .audiences = {"api", "vault"}};
    if (!pod.empty()) made.pod = {pod, randomUuid()};
    made.issuedAt = secondsOf(time.now());
    made.expires = made.issuedAt + life.count();
    made.jti = randomUuid();
    return made;
  }
  std::string add(std::chrono::seconds life, const std::string& pod = "") {
    const BoundClaims made = claims(life, pod);
    inventory.add(made, {"https://issuer", "kid-1", "system:node:n1"});
    return made.jti;
  }
  std::set<std::string> jtis() {
    std::set<std::string> all;
    inventory.visit(0, [&](std::uint64_t, const IssuedToken& token) {
      all.insert(textOf(token.jti));
      return true;
    });
    return all;
  }
  std::int64_t lastUse(const std::string& jti) {
    std::int64_t at = -1;
    inventory.find(jti, [&](const IssuedToken& token) { at = token.lastUsed; });
    return at;
  }

  const Clock& time;
  Inventory inventory;
  Result<void> started;
};

TEST(IssuedToken, IsReadAsItWasWritten) {
  BoundClaims claims{.ns = "shop", .serviceAccount = {"cart", randomUuid()}, .audiences = {"api", "", "ü"}};
  claims.pod = {"web-0", "no-uuid"};
  claims.node = {"n1", randomUuid()};
  claims.issuedAt = 1;
  claims.expires = std::int64_t{1} << 33;
  claims.jti = randomUuid();
  std::string bytes;
  ASSERT_TRUE(encodeRecord(claims, {"https://issuer", "kid", "admin"}, bytes));
  const std::optional<TokenRecord> record = decodeRecord(bytes);
  ASSERT_TRUE(record);
  const std::optional<IssuedToken> token = readRecord(*record);
  ASSERT_TRUE(token);
  EXPECT_EQ(textOf(token->jti), claims.jti);
  EXPECT_EQ(token->expires, claims.expires);
  EXPECT_EQ(token->ns, "shop");
  EXPECT_EQ(token->account.uid(), claims.serviceAccount.uid);
  EXPECT_EQ(token->boundKind, "Pod");
  EXPECT_EQ(token->bound.name, "web-0");
  EXPECT_EQ(token->bound.uid(), "no-uuid");
  EXPECT_EQ(token->node.uid(), claims.node.uid);
  EXPECT_EQ(token->audiences, (std::vector<std::string_view>{"api", "", "ü"}));
  EXPECT_EQ(token->issuer, "https://issuer");
  EXPECT_EQ(token->kid, "kid");
  EXPECT_EQ(token->requester, "admin");
  for (std::size_t size = 0; size < bytes.size(); ++size) EXPECT_FALSE(decodeRecord(bytes.substr(0, size))) << size;
}

TEST(IssuedToken, IsBoundedWhateverIsAskedFor) {
  BoundClaims claims{.ns = "shop", .serviceAccount = {"cart", randomUuid()}};
  for (int i = 0; i < 10'000; ++i) claims.audiences.push_back("audience-" + std::to_string(i));
  claims.jti = randomUuid();
  std::string requester;
  for (int i = 0; i < 5000; ++i) requester += "ü";
  std::string bytes;
  ASSERT_TRUE(encodeRecord(claims, {"https://issuer", "kid", requester}, bytes));
  EXPECT_LT(bytes.size(), 2 * kMostPart);
  const std::optional<IssuedToken> token = readRecord(*decodeRecord(bytes));
  ASSERT_TRUE(token);
  EXPECT_EQ(token->audiences.front(), "audience-0");
  EXPECT_EQ(token->audiences.back(), "(and " + std::to_string(10'001 - token->audiences.size()) + " more)");
  EXPECT_EQ(token->requester.size() % 2, 0u) << "cut within a character";
  claims.jti = "not one of ours";
  EXPECT_FALSE(encodeRecord(claims, {}, bytes));
}

TEST(InternedTexts, HoldEachTextOnceAndLetItGo) {
  InternedTexts texts;
  const InternedTexts::Id a = texts.take("one"), b = texts.take("one"), c = texts.take("");
  EXPECT_EQ(a, b);
  EXPECT_EQ(texts.at(c), "");
  EXPECT_EQ(texts.bytes(), 3u);
  texts.release(a);
  EXPECT_EQ(texts.at(b), "one");
  texts.release(b);
  EXPECT_EQ(texts.bytes(), 0u);
  EXPECT_EQ(texts.take("two"), a) << "the place is used again";
}

TEST(Inventory, ShowsATokenAtOnceAndUntilItExpires) {
  const Folder folder;
  FakeClock clock;
  Life life(folder.file(), clock);
  ASSERT_TRUE(life.started);
  const std::string brief = life.add(600s), longer = life.add(3600s);
  EXPECT_EQ(life.jtis(), (std::set{brief, longer}));
  clock.advance(600s);
  EXPECT_EQ(life.jtis().size(), 2u) << "the last second";
  clock.advance(1s);
  EXPECT_EQ(life.jtis(), std::set{longer});
  EXPECT_FALSE(life.inventory.find(brief, [](const IssuedToken&) {}));
  life.inventory.sweep();
  EXPECT_EQ(life.inventory.size(), 1u);
  EXPECT_TRUE(life.inventory.find(longer, [](const IssuedToken&) {}));
  struct stat about {};
  ASSERT_EQ(::stat(folder.file().c_str(), &about), 0);
  EXPECT_EQ(about.st_mode & 0777, 0600u);
}

TEST(Inventory, GoesOnAfterAnyNumber) {
  const Folder folder;
  FakeClock clock;
  Life life(folder.file(), clock);
  std::set<std::string> all;
  std::vector<std::string> seen;
  for (int i = 0; i < 10; ++i) all.insert(life.add(600s));
  std::uint64_t after = 0;
  for (bool more = true; more;) {
    more = false;
    std::size_t page = 0;
    life.inventory.visit(after, [&](std::uint64_t number, const IssuedToken& token) {
      if (page++ == 3) return !(more = true);
      after = number;
      seen.push_back(textOf(token.jti));
      return true;
    });
  }
  EXPECT_EQ(seen.size(), all.size());
  EXPECT_EQ(std::set(seen.begin(), seen.end()), all);
}

TEST(Inventory, IsTheSameAfterARestart) {
  const Folder folder;
  FakeClock clock;
  std::vector<std::string> before;
  {
    Life life(folder.file(), clock);
    for (int i = 0; i < 100; ++i) before.push_back(life.add(3600s, "web-" + std::to_string(i)));
    life.add(600s);
    life.inventory.used(before[7]);
  }
  clock.advance(700s);
  Life life(folder.file(), clock);
  EXPECT_EQ(life.jtis(), std::set(before.begin(), before.end()));
  EXPECT_EQ(life.lastUse(before[7]), secondsOf(clock.now()) - 700);
  EXPECT_EQ(life.lastUse(before[8]), 0);
  const Inventory::Gaps gaps = life.inventory.gaps();
  EXPECT_EQ(gaps.until, WallTime{});
  EXPECT_FALSE(gaps.killedAfter);
  EXPECT_EQ(gaps.unlisted, 0u);
}

TEST(Inventory, RemembersUsesToFiveMinutes) {
  const Folder folder;
  FakeClock clock;
  Life life(folder.file(), clock);
  const std::string jti = life.add(3600s);
  const std::int64_t first = secondsOf(clock.now());
  life.inventory.used(jti);
  EXPECT_EQ(life.lastUse(jti), first);
  clock.advance(299s);
  life.inventory.used(jti);
  EXPECT_EQ(life.lastUse(jti), first);
  clock.advance(1s);
  life.inventory.used(jti);
  EXPECT_EQ(life.lastUse(jti), first + 300);
  life.inventory.used(randomUuid());
  life.inventory.used("no jti of ours");
  EXPECT_EQ(life.jtis().size(), 1u);
}

TEST(Inventory, OnlyTheLastMomentIsMissingAfterAKill) {
  const Folder folder;
  FakeClock clock;
  const WallTime promised = clock.now() + 7200s;
  const pid_t child = ::fork();
  if (child == 0) {
    FakeClock own;
    Life life(folder.file(), own);
    for (int i = 0; i < 50; ++i) life.add(3600s);
    life.inventory.write();
    ::kill(::getpid(), SIGKILL);
  }
  ASSERT_GT(child, 0);
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status));
  {
    Life life(folder.file(), clock, {}, promised);
    EXPECT_EQ(life.jtis().size(), 50u);
    const Inventory::Gaps gaps = life.inventory.gaps();
    ASSERT_TRUE(gaps.killedAfter);
    EXPECT_EQ(*gaps.killedAfter, clock.now());
    EXPECT_EQ(gaps.killedUntil, promised);
    EXPECT_EQ(gaps.until, WallTime{}) << "the inventory itself is whole";
  }
  clock.advance(3600s);
  EXPECT_TRUE(Life(folder.file(), clock).inventory.gaps().killedAfter) << "it stays known";
  clock.advance(3601s);
  EXPECT_FALSE(Life(folder.file(), clock).inventory.gaps().killedAfter) << "until no token of that moment lives";
}

TEST(Inventory, ThatBeganLaterSaysSo) {
  const Folder folder;
  FakeClock clock;
  const WallTime promised = clock.now() + 86400s;
  EXPECT_EQ(Life(folder.file(), clock, {}, promised).inventory.gaps().until, promised);
  EXPECT_EQ(Life(folder.file(), clock).inventory.gaps().until, promised) << "the file remembers";
  const Folder other;
  EXPECT_EQ(Life(other.file(), clock, {}, std::nullopt).inventory.gaps().until, WallTime::max());
  EXPECT_EQ(Life(other.file(), clock).inventory.gaps().until, WallTime::max());
}

// Cut at every length: what is whole before the cut is there, and nothing else; damage in the middle costs what it covers.
TEST(Inventory, ReadsWhatIsLeftOfItsFile) {
  const Folder folder;
  FakeClock clock;
  std::set<std::string> all;
  {
    Life life(folder.file(), clock);
    for (int i = 0; i < 5; ++i) all.insert(life.add(3600s, "web"));
  }
  const std::string whole = *readFile(folder.file());
  std::size_t most = 0;
  for (std::size_t size = 0; size <= whole.size(); size += 31) {
    ASSERT_TRUE(writeFileAtomically(folder.file(), whole.substr(0, size)));
    Life life(folder.file(), clock);
    const std::set<std::string> left = life.jtis();
    ASSERT_LE(most, left.size()) << size;
    most = left.size();
    ASSERT_TRUE(std::includes(all.begin(), all.end(), left.begin(), left.end())) << size;
    const std::string more = life.add(3600s);
    life.inventory.stop();
    Life again(folder.file(), clock);
    ASSERT_EQ(again.jtis().size(), left.size() + 1) << size;
    ASSERT_TRUE(again.jtis().contains(more));
  }
  EXPECT_GE(most, 4u);
  for (std::size_t at = 17; at < whole.size(); at += 37) {
    std::string damaged = whole;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x55);
    ASSERT_TRUE(writeFileAtomically(folder.file(), damaged));
    Life life(folder.file(), clock, {}, WallTime(clock.now() + 99s));
    ASSERT_GE(life.jtis().size(), all.size() - 1) << at;
    if (life.jtis().size() < all.size()) {
      ASSERT_EQ(life.inventory.gaps().until, clock.now() + 99s) << "it says that something is lost: " << at;
    }
  }
}

TEST(Inventory, OverItsLimitForgetsWhatExpiresFirstAndSaysSo) {
  const Folder folder;
  FakeClock clock;
  {
    Life life(folder.file(), clock, {.tokens = 64});
    for (int i = 0; i < 64; ++i) life.add(std::chrono::seconds(6000 - 10 * i));
    life.inventory.write();
    EXPECT_EQ(life.inventory.size(), 64u);
    EXPECT_EQ(life.inventory.gaps().unlisted, 0u);
    const std::string latest = life.add(9000s);
    life.inventory.write();
    EXPECT_EQ(life.inventory.size(), 60u) << "a sixteenth goes at once";
    EXPECT_EQ(life.inventory.gaps().unlisted, 5u);
    EXPECT_EQ(secondsOf(life.inventory.gaps().until), secondsOf(clock.now()) + 6000 - 590) << "the latest of those that went";
    EXPECT_TRUE(life.jtis().contains(latest));
  }
  EXPECT_EQ(secondsOf(Life(folder.file(), clock).inventory.gaps().until), secondsOf(clock.now()) + 5410) << "a restart does not hide it";
}

TEST(Inventory, OverItsLimitOfTextsForgetsToo) {
  const Folder folder;
  FakeClock clock;
  Life life(folder.file(), clock, {.texts = 20'000});
  for (int i = 0; i < 300; ++i) {
    BoundClaims claims = life.claims(600s);  // all expire in the same second
    claims.audiences = {std::string(200, 'a') + std::to_string(i)};
    life.inventory.add(claims, {});
  }
  life.inventory.write();
  EXPECT_LT(life.inventory.size(), 100u);
  EXPECT_GT(life.inventory.size(), 60u) << "not more than need be";
  EXPECT_EQ(life.inventory.gaps().unlisted + life.inventory.size(), 300u);
}

TEST(Inventory, DropsAndCountsWhatTheQueueCannotHold) {
  const Folder folder;
  FakeClock clock;
  Inventory inventory(folder.file(), clock, [] { return WallTime{}; }, {.queue = 8 * 1024});  // no thread empties it
  for (int i = 0; i < 200; ++i) {
    BoundClaims claims{.ns = "shop", .serviceAccount = {"cart", "u"}, .expires = secondsOf(clock.now()) + 600};
    claims.jti = randomUuid();
    inventory.add(claims, {});
  }
  std::size_t shown = 0;
  inventory.visit(0, [&](std::uint64_t, const IssuedToken&) { return ++shown > 0; });
  EXPECT_LT(shown, 200u);
  EXPECT_EQ(inventory.gaps().unlisted, 200 - shown);
  EXPECT_EQ(secondsOf(inventory.gaps().until), secondsOf(clock.now()) + 600);
}

// The file may not grow: what a full disk answers.
TEST(Inventory, KeepsEverythingWhileTheDiskIsFull) {
  const Folder folder;
  FakeClock clock;
  const pid_t child = ::fork();
  if (child == 0) {
    ::signal(SIGXFSZ, SIG_IGN);
    const rlimit none{1024, RLIM_INFINITY}, any{RLIM_INFINITY, RLIM_INFINITY};
    Life life(folder.file(), clock);
    ::setrlimit(RLIMIT_FSIZE, &none);
    for (int i = 0; i < 100; ++i) life.add(3600s);
    life.inventory.write();
    const bool shown = life.jtis().size() == 100 && fs::file_size(folder.file()) < 1024;
    ::setrlimit(RLIMIT_FSIZE, &any);
    life.add(3600s);
    life.inventory.stop();
    ::_exit(shown ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  Life life(folder.file(), clock);
  EXPECT_EQ(life.jtis().size(), 101u);
  EXPECT_FALSE(life.inventory.gaps().killedAfter);
}

TEST(Inventory, WorksInMemoryWhenItsFileCannotBeUsed) {
  const Folder folder;
  FakeClock clock;
  fs::create_directory(folder.file());
  Life life(folder.file(), clock);
  ASSERT_FALSE(life.started);
  EXPECT_NE(life.started.error().sentence.find("cannot open"), std::string::npos);
  const std::string jti = life.add(600s);
  EXPECT_EQ(life.jtis(), std::set{jti});
  EXPECT_EQ(life.inventory.gaps().until, WallTime::max()) << "what came before is not known";
}

TEST(Inventory, WritesItsFileAnewWhenMostOfItIsDead) {
  const Folder folder;
  FakeClock clock;
  const auto fill = [&](Life& life) {
    for (int i = 0; i < 8000; ++i) life.add(600s, "web-" + std::to_string(i));
    life.inventory.write();
  };
  {
    Life life(folder.file(), clock);
    fill(life);
  }
  const std::size_t full = fs::file_size(folder.file());
  ASSERT_GT(full, 1u << 20);
  clock.advance(601s);
  {
    Life life(folder.file(), clock);
    life.inventory.write();
    EXPECT_LT(fs::file_size(folder.file()), 1000u);
    life.add(600s);
  }
  EXPECT_EQ(Life(folder.file(), clock).jtis().size(), 1u);
}

TEST(Inventory, TakesManyThreadsAtOnce) {
  const Folder folder;
  FakeClock clock;
  constexpr int kThreads = 4, kEach = 500;
  {
    Life life(folder.file(), clock);
    std::vector<std::thread> threads;
    for (int i = 0; i < kThreads; ++i)
      threads.emplace_back([&life] {
        for (int each = 0; each < kEach; ++each) life.inventory.used(life.add(3600s));
      });
    std::size_t last = 0;
    while (last < std::size_t{kThreads} * kEach) {
      const std::size_t now = life.jtis().size();
      ASSERT_GE(now, last);
      last = now;
      life.inventory.write();
      life.inventory.sweep();
    }
    for (std::thread& thread : threads) thread.join();
    for (const std::string& jti : life.jtis()) EXPECT_EQ(life.lastUse(jti), secondsOf(clock.now()));
  }
  EXPECT_EQ(Life(folder.file(), clock).jtis().size(), std::size_t{kThreads} * kEach);
}

// The issuer tells of each token, and the verifier of the first use and of one every 10 s.
TEST(Inventory, IsToldByTheIssuerAndTheVerifier) {
  const Folder folder;
  FakeClock clock;
  Life life(folder.file(), clock);
  const Snapshot<KeyRing> ring(std::make_shared<const KeyRing>(
      std::vector{std::make_shared<const jose::Key>(*jose::makeKey(*crypto::KeyPair::fromPrivatePem(jose::test::kEcPem)))}));
  const Issuer issuer("https://issuer", ring, nullptr, &life.inventory);
  const auto object = std::make_shared<Document>(Document{json::object{{"metadata", {{"uid", "u"}}}}, "", 1});
  Verifier verifier(
      {"https://issuer"}, {"api"}, ring, [&](auto&&...) -> Result<DocumentPtr> { return DocumentPtr(object); }, clock);
  std::atomic<int> uses = 0;
  verifier.onUse([&](std::string_view jti) {
    ++uses;
    life.inventory.used(jti);
  });
  BoundClaims claims = life.claims(3600s);
  claims.serviceAccount.uid = "u";
  const Secret token = *issuer.issue(claims, "admin");
  std::string requester;
  ASSERT_TRUE(life.inventory.find(claims.jti, [&](const IssuedToken& found) { requester = found.requester; }));
  EXPECT_EQ(requester, "admin");
  const std::vector<std::string> others{"elsewhere"};
  EXPECT_FALSE(verifier.verify(token.reveal(), others));
  EXPECT_EQ(life.lastUse(claims.jti), 0) << "a refusal is no use";
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(verifier.verify(token.reveal(), {}));
  EXPECT_EQ(uses, 1);
  EXPECT_EQ(life.lastUse(claims.jti), secondsOf(clock.now()));
  clock.advance(301s);
  EXPECT_TRUE(verifier.verify(token.reveal(), {}));
  EXPECT_EQ(life.lastUse(claims.jti), secondsOf(clock.now()));
}

}  // namespace
}  // namespace podpass::token
