#include <atomic>
#include <mutex>
#include <set>
#include <thread>

#include "base/file.h"
#include "crypto/test_pem.h"
#include "token/test_signing_keys.h"
#include "token/test_store.h"

namespace podpass::token {
namespace {

TEST(SigningKeys, TrustNoKeyBecauseItsObjectSaysSo) {
  Cluster cluster;
  Server server(*cluster.store, *cluster.kek, cluster.clock);
  ASSERT_TRUE(server.keys.open());
  cluster.change("asked", [](json::object&) {});
  server.settle();
  cluster.clock.advance(3781s);
  server.settle();
  ASSERT_EQ(cluster.state("es256-1"), "Retiring");

  const jose::Key stranger = *jose::makeKey(*crypto::KeyPair::generate(crypto::KeyType::P256));
  const json::object jwk = jose::toJwk(stranger);
  for (const char* state : {"Published", "Active", "Retiring"})
    cluster.change("forged-" + hexLower(state), [&](json::object& object) {
      object["status"] = {{"kid", stranger.kid}, {"state", state}, {"publicKey", jwk}, {"imported", true}, {"verifyOnly", true}};
    });
  cluster.change("es256-1", [&](json::object& object) {
    makeObjectAt(object, {"status"})["kid"] = stranger.kid;
    makeObjectAt(object, {"status"})["publicKey"] = jwk;
  });
  Server next(*cluster.store, *cluster.kek, cluster.clock);
  (void)next.keys.open();
  const auto ring = next.keys.ring().load();
  EXPECT_TRUE(ring == nullptr || ring->find(stranger.kid) == nullptr);
  server.settle();
  EXPECT_EQ(server.keys.ring().load()->find(stranger.kid), nullptr);
}

TEST(SigningKeys, MakesAKeyOnceAndKeepsItsPrivateHalfSealedAndOutOfTheApi) {
  Cluster cluster;
  Server first(*cluster.store, *cluster.kek, cluster.clock);
  ASSERT_TRUE(first.keys.open());
  const std::string kid = first.keys.ring().load()->signer().kid;
  Server second(*cluster.store, *cluster.kek, cluster.clock);
  ASSERT_TRUE(second.keys.open());
  EXPECT_EQ(second.keys.ring().load()->signer().kid, kid);
  EXPECT_EQ(second.refusal(*first.token(cluster.clock)), "");

  const json::object object = cluster.signingKey("es256-1");
  EXPECT_EQ(textAt(object, {"status", "kid"}), kid);
  EXPECT_EQ(textAt(object, {"status", "publicKey", "kid"}), kid);
  EXPECT_EQ(json::serialize(object).find("\"d\""), std::string::npos);
  const Result<Page> all = cluster.store->range("", "", 0, 0);
  for (const Entry& entry : all->entries) EXPECT_EQ(entry.document->text.find("PRIVATE KEY"), std::string::npos) << entry.key;
  const auto stranger = KeyEncryption::of(*crypto::Envelope::of({Secret(std::string(32, 'x'))}));
  Server locked(*cluster.store, *stranger, cluster.clock);
  EXPECT_EQ(locked.keys.open().error().reason, Reason::Unavailable) << "without its key-encryption key it must not start anew";
}

TEST(SigningKeys, ServersThatStartTogetherAgreeOnOneKey) {
  Cluster cluster;
  std::vector<std::unique_ptr<Server>> servers;
  for (int i = 0; i < 4; ++i) servers.push_back(std::make_unique<Server>(*cluster.store, *cluster.kek, cluster.clock));
  {
    std::vector<std::jthread> starting;
    for (auto& server : servers) starting.emplace_back([&server] { EXPECT_TRUE(server->keys.open()); });
  }
  for (auto& server : servers) EXPECT_EQ(server->keys.ring().load()->signer().kid, servers[0]->keys.ring().load()->signer().kid);
  EXPECT_EQ(cluster.store->range(std::string(kObjects), "", 0, 0)->entries.size(), 1u);
}

TEST(SigningKeys, RotateOnlineWithoutARefusedToken) {
  Cluster cluster;
  Server server(*cluster.store, *cluster.kek, cluster.clock);
  ASSERT_TRUE(server.keys.open());
  const std::string first = server.keys.ring().load()->signer().kid;
  const Secret longLived = *server.token(cluster.clock, 36000s);
  cluster.change("asked", [](json::object&) {});
  EXPECT_EQ(server.settle(), std::vector{What::Generate});
  EXPECT_EQ(server.keys.ring().load()->signer().kid, first);
  EXPECT_EQ(server.keys.ring().load()->keys().size(), 2u) << "both are published";
  cluster.clock.advance(3781s);
  EXPECT_EQ(server.settle(), (std::vector{What::Activate, What::Retire}));
  EXPECT_NE(server.keys.ring().load()->signer().kid, first);
  EXPECT_EQ(cluster.state("es256-1"), "Retiring");
  cluster.clock.advance(36000s - 3781s + 60s);  // the last second in which it is accepted
  EXPECT_EQ(server.settle(), std::vector<What>{});
  EXPECT_EQ(server.refusal(longLived), "");
  cluster.clock.advance(36000s / 8 + 3900s);  // what was promised ahead, and the readers' cache
  EXPECT_EQ(server.settle(), (std::vector{What::MoveLegacy, What::Drop}));
  EXPECT_EQ(server.keys.ring().load()->find(first), nullptr);
  const Result<Page> halves = cluster.store->range("/podpass/signingkeys/", "", 0, 0);
  EXPECT_EQ(halves->entries.size(), 1u) << "the retired key's private half is gone";
}

TEST(SigningKeys, AServerThatIsBehindSignsWithTheNewKeyWhenItsOwnHasLeft) {
  Cluster cluster;
  Server server(*cluster.store, *cluster.kek, cluster.clock), behind(*cluster.store, *cluster.kek, cluster.clock);
  ASSERT_TRUE(server.keys.open());
  ASSERT_TRUE(behind.keys.open());
  cluster.change("es256-1", [](json::object& object) { makeObjectAt(object, {"spec"})["revoked"] = true; });
  server.settle();
  EXPECT_EQ(cluster.state("es256-1"), "Retired");
  const Result<Secret> token = behind.token(cluster.clock);  // no watch has told it yet
  ASSERT_TRUE(token) << token.error().sentence;
  EXPECT_EQ(server.refusal(*token), "");
}

TEST(SigningKeys, RevokingEndsAKeyAtOnce) {
  Cluster cluster;
  Server server(*cluster.store, *cluster.kek, cluster.clock);
  ASSERT_TRUE(server.keys.open());
  const Secret token = *server.token(cluster.clock);
  ASSERT_EQ(server.refusal(token), "");
  cluster.change("es256-1", [](json::object& object) { makeObjectAt(object, {"spec"})["revoked"] = true; });
  EXPECT_EQ(server.settle(), (std::vector{What::Drop, What::Create, What::Generate, What::Activate}));
  EXPECT_EQ(server.refusal(token), "invalid signature, no keys found");
  EXPECT_EQ(server.refusal(*server.token(cluster.clock)), "");
}

TEST(SigningKeys, TakeOverFromFilesThatAnotherApiServerSignedWith) {
  Cluster cluster;
  const crypto::KeyPair signing = crypto::readPemKeys(crypto::test::kSshRsa)->front(),
                        older = crypto::readPemKeys(crypto::test::kSshEc)->front();
  const crypto::KeyPair olderPublic = *crypto::KeyPair::fromPublicDer(older.publicDer());
  SigningKeys::Settings how = settings();
  how.algorithms.standard = crypto::KeyType::Rsa2048;
  Server server(*cluster.store, *cluster.kek, cluster.clock, how);
  for (int start = 0; start < 2; ++start) {  // the flags are given at every start
    ASSERT_TRUE(server.keys.adopt(signing));
    ASSERT_TRUE(server.keys.adopt(olderPublic));
    ASSERT_TRUE(server.keys.open());
    const auto ring = server.keys.ring().load();
    ASSERT_EQ(ring->keys().size(), 2u);
    EXPECT_EQ(ring->signer().key.publicDer(), signing.publicDer());
  }
  const std::string theirs = *jose::signCompact(
      *jose::makeKey(older),
      R"({"aud":["https://kubernetes.default.svc"],"exp":1700000600,"iat":1700000000,"iss":"https://issuer.example","kubernetes.io":{"namespace":"default","serviceaccount":{"name":"default","uid":"u"}},"nbf":1700000000,"sub":"system:serviceaccount:default:default"})");
  EXPECT_EQ(server.refusal(Secret(theirs)), "");
  cluster.change("asked", [](json::object& object) { makeObjectAt(object, {"spec"})["algorithm"] = "RS256"; });
  server.settle();
  cluster.clock.advance(3781s);
  EXPECT_EQ(server.settle(), (std::vector{What::Activate, What::Retire}));
  ASSERT_TRUE(server.keys.adopt(signing));
  EXPECT_NE(server.keys.ring().load()->signer().key.publicDer(), signing.publicDer()) << "the flag must not undo the rotation";
}

TEST(SigningKeys, AKeyGivenLaterIsPublishedBeforeItSigns) {
  Cluster cluster;
  Server server(*cluster.store, *cluster.kek, cluster.clock);
  ASSERT_TRUE(server.keys.open());
  const std::string own = server.keys.ring().load()->signer().kid;
  const jose::Key given = *jose::makeKey(crypto::readPemKeys(crypto::test::kSshEc)->front());
  ASSERT_TRUE(server.keys.adopt(given.key));
  ASSERT_TRUE(server.keys.open());
  EXPECT_EQ(server.keys.ring().load()->signer().kid, own) << "nobody has seen the other yet";
  EXPECT_NE(server.keys.ring().load()->find(given.kid), nullptr);
  cluster.clock.advance(3629s);
  EXPECT_EQ(server.settle(), std::vector<What>{});
  cluster.clock.advance(2s);
  EXPECT_EQ(server.settle(), (std::vector{What::Activate, What::Retire}));
  EXPECT_EQ(server.keys.ring().load()->signer().kid, given.kid);
}

TEST(SigningKeys, AKeyThatVerifiedSignsOnceItsPrivateHalfIsGiven) {
  Cluster cluster;
  const jose::Key given = *jose::makeKey(crypto::readPemKeys(crypto::test::kSshEc)->front());
  {
    Server server(*cluster.store, *cluster.kek, cluster.clock);
    ASSERT_TRUE(server.keys.adopt(*crypto::KeyPair::fromPublicDer(given.key.publicDer())));
    ASSERT_TRUE(server.keys.open());
    EXPECT_NE(server.keys.ring().load()->signer().kid, given.kid);
  }
  cluster.clock.advance(3700s);
  Server server(*cluster.store, *cluster.kek, cluster.clock);
  ASSERT_TRUE(server.keys.adopt(given.key));
  ASSERT_TRUE(server.keys.open());
  EXPECT_EQ(server.keys.ring().load()->signer().kid, given.kid) << "it has been published for long enough";
  EXPECT_EQ(server.refusal(*server.token(cluster.clock)), "");
  ASSERT_TRUE(server.keys.adopt(*crypto::KeyPair::fromPublicDer(given.key.publicDer())));
  EXPECT_TRUE(Server(*cluster.store, *cluster.kek, cluster.clock).keys.open()) << "and keeps it when the public file is given, too";
}

TEST(SigningKeys, LegacyTokensMoveToTheNextKeyAndTheMountedCopyStaysGoodUntilThen) {
  Cluster cluster;
  Server server(*cluster.store, *cluster.kek, cluster.clock);
  ASSERT_TRUE(server.keys.open());
  const Secret old = *server.issuer.issueLegacy({.ns = "default", .secretName = "t", .serviceAccount = {"default", "u"}});
  ASSERT_TRUE(commit(*cluster.store, {"/registry/secrets/default/t",
                                      json::object{{"type", "kubernetes.io/service-account-token"},
                                                   {"metadata", {{"name", "t"}}},
                                                   {"data", {{"token", base64Encode(old.reveal())}}}},
                                      0}));
  ASSERT_EQ(server.refusal(old), "");
  cluster.change("asked", [](json::object&) {});
  server.settle();
  cluster.clock.advance(3781s);
  server.settle();
  cluster.clock.advance(62s);
  EXPECT_EQ(server.settle(), std::vector{What::MoveLegacy});
  const Secret moved(*base64Decode(textAt(cluster.store->get("/registry/secrets/default/t")->value, {"data", "token"})));
  EXPECT_FALSE(moved == old);
  EXPECT_EQ(server.refusal(moved), "");
  EXPECT_EQ(server.refusal(old), "") << "pods still have it mounted";

  const json::object secret = cluster.store->get("/registry/secrets/default/t")->value;
  const Secret another = *server.issuer.issueLegacy({.ns = "default", .secretName = "t", .serviceAccount = {"default", "u"}});
  for (const std::string& token : {std::string(), base64Encode(another.reveal())}) {
    json::object changed = secret;
    makeObjectAt(changed, {"data"})["token"] = token;
    ASSERT_TRUE(commit(*cluster.store, {"/registry/secrets/default/t", std::move(changed), std::nullopt}));
    EXPECT_EQ(server.refusal(old), "Token does not match server's copy") << "who empties or changes the token ends the old one, too";
  }
  ASSERT_TRUE(commit(*cluster.store, {"/registry/secrets/default/t", secret, std::nullopt}));
  cluster.clock.advance(3781s);
  EXPECT_EQ(server.settle(), std::vector{What::Drop});
  EXPECT_EQ(server.refusal(moved), "");
  EXPECT_EQ(server.refusal(old), "invalid signature, no keys found");
}

TEST(SigningKeys, AServerThatDiedWhileLegacyTokensMovedDoesNotShortenTheirReadersTime) {
  Cluster cluster;
  TroubledStore store(*cluster.store);
  Server server(store, *cluster.kek, cluster.clock);
  ASSERT_TRUE(server.keys.open());
  const Secret old = *server.issuer.issueLegacy({.ns = "default", .secretName = "t", .serviceAccount = {"default", "u"}});
  ASSERT_TRUE(commit(*cluster.store, {"/registry/secrets/default/t",
                                      json::object{{"type", "kubernetes.io/service-account-token"},
                                                   {"metadata", {{"name", "t"}}},
                                                   {"data", {{"token", base64Encode(old.reveal())}}}},
                                      0}));
  cluster.change("asked", [](json::object&) {});
  server.settle();
  cluster.clock.advance(3781s);
  server.settle();
  cluster.clock.advance(36000s);
  store.commits = [](const Mutation& mutation) {
    return mutation.key.starts_with(kObjects) ? TroubledStore::Trouble::BeforeWriting : TroubledStore::Trouble::None;
  };
  EXPECT_FALSE(server.keys.advance()) << "the Secret is written, that it was is not";
  Server next(*cluster.store, *cluster.kek, cluster.clock);
  ASSERT_TRUE(next.keys.open());
  EXPECT_EQ(cluster.state("es256-1"), "Retiring");
  EXPECT_EQ(next.refusal(old), "") << "pods still have it mounted";
  cluster.clock.advance(3599s);
  next.settle();
  EXPECT_EQ(next.refusal(old), "");
  cluster.clock.advance(2s);
  EXPECT_EQ(next.settle(), std::vector{What::Drop});
}

TEST(SigningKeys, SealTheirPrivateHalvesAnewWhenTheKekIsReplaced) {
  const std::filesystem::path directory = std::filesystem::temp_directory_path() / ("podpass-kek-" + randomUuid());
  ASSERT_TRUE(makeDirectories(directory));
  const std::filesystem::path file = directory / "kek";
  EXPECT_EQ(KeyEncryption::open(file, false).error().reason, Reason::NotFound);
  auto kek = KeyEncryption::open(file, true);
  ASSERT_TRUE(kek) << kek.error().sentence;
  Cluster cluster;
  Server server(*cluster.store, **kek, cluster.clock);
  ASSERT_TRUE(server.keys.open());
  const std::string before = (*kek)->envelope()->current(), oldLine = *readFile(file);
  const Result<bool> unchanged = (*kek)->reload();
  EXPECT_FALSE(*unchanged);
  ASSERT_TRUE(writeFileAtomically(file, std::string(newKekLine()->reveal()) + "# the one before\n" + oldLine, 0600));
  EXPECT_TRUE(*(*kek)->reload());
  EXPECT_EQ(*server.keys.rewrap(), 1u);
  EXPECT_EQ(*server.keys.rewrap(), 0u);
  EXPECT_NE((*kek)->envelope()->current(), before);
  EXPECT_EQ(textAt(cluster.signingKey("es256-1"), {"status", "sealedBy"}), (*kek)->envelope()->current());
  const auto alone = KeyEncryption::of(*crypto::Envelope::of({Secret(std::string(32, 'q'))}));
  EXPECT_FALSE(Server(*cluster.store, *alone, cluster.clock).keys.open());

  ASSERT_TRUE(writeFileAtomically(file, "not a key\n", 0600));
  EXPECT_FALSE((*kek)->reload()) << "and the old keys stay";
  EXPECT_TRUE(Server(*cluster.store, **kek, cluster.clock).keys.open());
  ASSERT_TRUE(writeFileAtomically(file, oldLine, 0644));
  EXPECT_NE(KeyEncryption::open(file, false).error().sentence.find("can be read by others"), std::string::npos);
  std::filesystem::remove_all(directory);
}

struct KekFile {
  std::filesystem::path directory = std::filesystem::temp_directory_path() / ("podpass-kek-" + randomUuid()), file = directory / "kek";
  KekFile() { EXPECT_TRUE(makeDirectories(directory)); }
  ~KekFile() { std::filesystem::remove_all(directory); }
  void replace() const { ASSERT_TRUE(writeFileAtomically(file, newKekLine()->reveal(), 0600)); }
};

TEST(SigningKeys, AKekFileThatIsReplacedRatherThanAddedToLosesNothing) {
  const KekFile kekFile;
  const FakeClock clock{WallTime(std::chrono::seconds(1'700'000'000))};
  constexpr const char* kSecret = "/registry/secrets/default/s";
  std::string kid;
  {
    auto kek = KeyEncryption::open(kekFile.file, true);
    auto store = openSqliteStore(kekFile.directory / "store", 100, (*kek)->atRest());
    ASSERT_TRUE(store) << store.error().sentence;
    Server server(**store, **kek, clock);
    ASSERT_TRUE(server.keys.open());
    ASSERT_TRUE(commit(**store, {kSecret, json::object{{"metadata", {{"name", "s"}}}, {"data", {{"k", "dg=="}}}}, 0}));
    kid = server.keys.ring().load()->signer().kid;
    for (int times = 0; times < 2; ++times) {  // twice before anything is sealed anew
      kekFile.replace();
      const Result<bool> anew = (*kek)->reload();
      ASSERT_TRUE(anew);
      EXPECT_TRUE(*anew);
    }
    std::promise<Result<std::size_t>> resealed;
    (*store)->reseal([&](Result<std::size_t> done) { resealed.set_value(std::move(done)); });
    EXPECT_EQ(*resealed.get_future().get(), 1u);
    const Result<std::size_t> keys = server.keys.rewrap();
    ASSERT_TRUE(keys) << keys.error().sentence;
    EXPECT_EQ(*keys, 1u);
    EXPECT_EQ((*kek)->envelope()->size(), 3u);
    (*kek)->settle();
    EXPECT_EQ((*kek)->envelope()->size(), 1u);
    EXPECT_TRUE(Server(**store, **kek, clock).keys.open());
  }
  auto kek = KeyEncryption::open(kekFile.file, false);
  auto store = openSqliteStore(kekFile.directory / "store", 100, (*kek)->atRest());
  ASSERT_TRUE(store) << store.error().sentence;
  Server server(**store, **kek, clock);
  const Result<void> opened = server.keys.open();
  ASSERT_TRUE(opened) << opened.error().sentence;
  EXPECT_EQ(server.keys.ring().load()->signer().kid, kid);
  EXPECT_EQ(textAt((*store)->get(kSecret)->value, {"data", "k"}), "dg==");
}

TEST(SigningKeys, KeepTheOldKekUntilEverythingIsSealedAnew) {
  const KekFile kekFile;
  auto kek = KeyEncryption::open(kekFile.file, true);
  Cluster cluster;
  TroubledStore store(*cluster.store);
  std::atomic<int> failures = 0, writesFail = 0;
  store.reseals = [&] { return failures++ < 2; };
  store.commits = [&](const Mutation& mutation) {
    return mutation.key.starts_with("/podpass/") && writesFail-- > 0 ? TroubledStore::Trouble::BeforeWriting : TroubledStore::Trouble::None;
  };
  Server server(store, **kek, cluster.clock);
  ASSERT_TRUE(server.keys.open());
  kekFile.replace();
  writesFail = 1;
  ASSERT_TRUE(server.keys.start());
  const SystemClock clock;
  const SteadyTime end = clock.steady() + 60s;
  while ((failures < 4 || (*kek)->envelope()->size() != 1u) && clock.steady() < end) std::this_thread::sleep_for(20ms);
  server.keys.stop();
  EXPECT_GE(failures, 4) << "two that the store refused, one whose keys could not be written, and one that was whole";
  EXPECT_EQ((*kek)->envelope()->size(), 1u) << "and then the old one is let go";
  const auto alone = KeyEncryption::open(kekFile.file, false);
  EXPECT_TRUE(Server(*cluster.store, **alone, cluster.clock).keys.open());
}

TEST(SigningKeys, NothingThatACrashLeftSealedOutlivesTheNextStart) {
  Cluster cluster;
  Server server(*cluster.store, *cluster.kek, cluster.clock);
  ASSERT_TRUE(server.keys.open());
  const std::string sealed = "/podpass/signingkeys/", uid(textAt(cluster.signingKey("es256-1"), {"metadata", "uid"}));
  const json::object half = cluster.store->get(sealed + uid)->value;
  cluster.change("es256-1", [](json::object& object) { makeObjectAt(object, {"spec"})["revoked"] = true; });
  server.settle();
  ASSERT_EQ(cluster.state("es256-1"), "Retired");
  ASSERT_FALSE(cluster.store->get(sealed + uid));
  const auto leave = [&](const std::string& name, const char* made) {
    json::object left = half;
    makeObjectAt(left, {"metadata"})["creationTimestamp"] = made;
    ASSERT_TRUE(commit(*cluster.store, {sealed + name, std::move(left), std::nullopt}));
  };
  leave(uid, "2023-11-14T22:13:20Z");     // the server died after it had written Retired
  leave("gone", "2023-11-14T22:03:19Z");  // or after the object was deleted
  leave("new", "2023-11-14T22:13:20Z");   // another server is about to make its object
  ASSERT_TRUE(Server(*cluster.store, *cluster.kek, cluster.clock).keys.open());
  EXPECT_FALSE(cluster.store->get(sealed + uid));
  EXPECT_FALSE(cluster.store->get(sealed + "gone"));
  EXPECT_TRUE(cluster.store->get(sealed + "new"));
  EXPECT_EQ(server.refusal(*server.token(cluster.clock)), "");
}

TEST(SigningKeys, ThatCannotBeReadAreNotTakenForNone) {
  Cluster cluster;
  TroubledStore store(*cluster.store);
  Server server(store, *cluster.kek, cluster.clock);
  ASSERT_TRUE(server.keys.open());
  ASSERT_TRUE(server.token(cluster.clock));
  ASSERT_TRUE(server.keys.tokensUntil().has_value());
  store.ranges = [](const std::string&) { return true; };
  EXPECT_FALSE(server.keys.tokensUntil().has_value()) << "or revocations would end before the tokens do";
  EXPECT_EQ(server.keys.advance().error().reason, Reason::Unavailable) << "or another key would be made";
  EXPECT_FALSE(server.keys.rewrap());
  EXPECT_EQ(server.token(cluster.clock, 36000s).error().reason, Reason::Unavailable);
  store.ranges = [](const std::string&) { return false; };
  EXPECT_EQ(server.keys.advance()->what, What::Wait);
  EXPECT_EQ(server.keys.ring().load()->keys().size(), 1u);
}

// The system's clock, twenty times as fast: the minute of leeway that a retiring key waits for is three seconds.
class FastClock final : public Clock {
 public:
  [[nodiscard]] WallTime now() const override { return WallTime(std::chrono::seconds(1'700'000'000)) + (steady() - start_); }
  [[nodiscard]] SteadyTime steady() const override { return start_ + 20 * (std::chrono::steady_clock::now() - start_); }

 private:
  const SteadyTime start_ = std::chrono::steady_clock::now();
};

TEST(SigningKeys, RefuseNoTokenWhileTheyRotateUnderLoad) {
  const FastClock clock;
  Cluster cluster;
  SigningKeys::Settings how = settings();
  how.every = 120s;
  how.cacheLife = 40s;
  Server one(*cluster.store, *cluster.kek, clock, how), two(*cluster.store, *cluster.kek, clock, how);
  ASSERT_TRUE(one.keys.open());
  ASSERT_TRUE(two.keys.open());
  const std::string first = one.keys.ring().load()->signer().kid, place = "/registry/secrets/default/t";
  const Secret legacy = *one.issuer.issueLegacy({.ns = "default", .secretName = "t", .serviceAccount = {"default", "u"}});
  ASSERT_TRUE(commit(*cluster.store, {place,
                                      json::object{{"type", "kubernetes.io/service-account-token"},
                                                   {"metadata", {{"name", "t"}}},
                                                   {"data", {{"token", base64Encode(legacy.reveal())}}}},
                                      0}));
  const auto mounted = [&] { return Secret(*base64Decode(textAt(cluster.store->get(place)->value, {"data", "token"}))); };
  ASSERT_TRUE(one.keys.start());
  ASSERT_TRUE(two.keys.start());
  std::atomic<bool> over = false;
  std::atomic<int> refused = 0, checked = 0;
  std::mutex mutex;
  std::set<std::string> signers, legacySigners, why;  // guarded by mutex
  const auto work = [&](Server& signer, Server& verifier) {
    // a relying party: its copy of the keys is as old as the JWKS allows; and a pod, whose mounted token is a while behind
    std::vector<jose::Key> cached = *jose::parseJwks(jwks(*verifier.keys.ring().load()));
    Secret old = mounted();
    SteadyTime fetched = clock.steady();
    while (!over) {
      const Result<Secret> token = signer.token(clock, 60s);
      const Result<jose::UnverifiedJws> jws = token ? jose::parseCompactJws(token->reveal()) : Result<jose::UnverifiedJws>(token.error());
      if (clock.steady() - fetched > how.cacheLife) {
        cached = *jose::parseJwks(jwks(*verifier.keys.ring().load()));
        fetched = clock.steady();
      }
      if (clock.steady() - fetched > how.cacheLife / 4) old = mounted();
      const bool relied = jws && std::any_of(cached.begin(), cached.end(),
                                             [&](const jose::Key& key) { return key.kid == jws->kid && jose::verifies(key, *jws); });
      const std::string refusal = token ? verifier.refusal(*token) : token.error().sentence, oldRefusal = verifier.refusal(old);
      ++checked;
      const std::lock_guard lock(mutex);
      if (jws) signers.insert(jws->kid);
      legacySigners.insert(jose::parseCompactJws(old.reveal())->kid);
      if (relied && refusal.empty() && oldRefusal.empty()) continue;
      ++refused;
      why.insert((relied ? "" : "by a relying party ") + refusal + (oldRefusal.empty() ? "" : " legacy: " + oldRefusal));
    }
  };
  const auto retired = [&] {
    std::size_t count = 0;
    const auto kept = cluster.store->range(std::string(kObjects), "", 0, 0);  // named: a range-for does not keep what it reaches into
    for (const Entry& entry : kept->entries) count += textAt(entry.document->value, {"status", "state"}) == "Retired" ? 1 : 0;
    return count;
  };
  {
    std::vector<std::jthread> load;
    load.emplace_back([&] { work(one, two); });
    load.emplace_back([&] { work(two, one); });
    const SteadyTime end = std::chrono::steady_clock::now() + 120s;
    while (retired() < 2 && std::chrono::steady_clock::now() < end) std::this_thread::sleep_for(20ms);  // the clock is the system's here
    over = true;
  }
  one.keys.stop();
  two.keys.stop();
  EXPECT_GE(retired(), 2u);
  EXPECT_EQ(refused, 0) << (why.empty() ? "" : *why.begin());
  EXPECT_GT(checked, 100);
  EXPECT_GE(signers.size(), 3u);
  EXPECT_GE(legacySigners.size(), 2u) << "it was signed anew while it was used";
  EXPECT_NE(one.keys.ring().load()->signer().kid, first);
}

}  // namespace
}  // namespace podpass::token
