#include <dlfcn.h>
#include <gtest/gtest.h>

#include "crypto/test_softhsm.h"
#include "token/test_signing_keys.h"

// The ring whose private halves are in a token: a real SoftHSM, behind a module that can fail.
namespace podpass::token {
namespace {

using crypto::test::SoftHsm;

constexpr unsigned long kDeviceRemoved = 0x32, kMechanismInvalid = 0x70;

void fail(const char* function, unsigned long result, int times) {
  static void* const library = ::dlopen(PODPASS_TEST_FAULTY_MODULE, RTLD_NOW | RTLD_LOCAL);
  reinterpret_cast<void (*)(const char*, unsigned long, int)>(::dlsym(library, "podpass_test_fault"))(function, result, times);
}

struct Cluster {
  SoftHsm hsm;
  FakeClock clock{WallTime(std::chrono::seconds(1'700'000'000))};
  std::unique_ptr<Store> store = makeMemoryStore();
  std::unique_ptr<KeyEncryption> kek = encryption();
  std::shared_ptr<crypto::Pkcs11Token> token = *hsm.open("", PODPASS_TEST_FAULTY_MODULE);
  ~Cluster() { fail("", 0, 0); }

  std::unique_ptr<SigningKeys> server(bool withToken = true) const {
    SigningKeys::Settings how = settings();
    if (withToken) how.token = token;
    return std::make_unique<SigningKeys>(*store, *kek, clock, std::move(how));
  }
  json::object key(const std::string& name) const {
    const DocumentPtr found = store->get(std::string(kObjects) + name);
    return found ? found->value : json::object();
  }
  std::string status(const std::string& name, std::string_view member) const { return std::string(textAt(key(name), {"status", member})); }
  void ask(const std::string& name, const std::string& object = "", const std::string& algorithm = "ES256") const {
    json::object spec{{"algorithm", algorithm}};
    if (!object.empty()) spec["object"] = object;
    json::object whole{{"kind", "SigningKey"},
                       {"apiVersion", "identity.podpass.dev/v1"},
                       {"metadata", json::object{{"name", name}, {"uid", randomUuid()}}},
                       {"spec", std::move(spec)}};
    ASSERT_TRUE(commit(*store, {std::string(kObjects) + name, std::move(whole), 0}));
  }
  // Whether all that is sealed of the keys says where they are, and nothing of a private half.
  bool storeHasNoPrivateHalf() const {
    bool none = true;
    const Result<Page> sealed = store->range("/podpass/signingkeys/", "", 0, 0);
    for (const Entry& entry : sealed->entries) {
      const Result<Secret> text = kek->envelope()->open(textAt(entry.document->value, {"sealed"}), entry.key);
      none = none && text && text->reveal().starts_with("pkcs11:") && text->reveal().find("PRIVATE") == std::string_view::npos;
    }
    return none;
  }
  bool tokenHas(const std::string& label) const { return static_cast<bool>(token->keyPair({.label = label})); }
};

bool signsWell(const SigningKeys& keys) {
  const auto ring = keys.ring().load();
  const Result<std::string> compact = jose::signCompact(ring->signer(), "{}");
  const Result<jose::UnverifiedJws> jws = compact ? jose::parseCompactJws(*compact) : Result<jose::UnverifiedJws>(compact.error());
  return jws && jose::verifies(ring->signer(), *jws);
}

TEST(SigningKeysInAToken, AreMadeThereRotatedThereAndDestroyedThere) {
  Cluster cluster;
  const auto keys = cluster.server();
  ASSERT_TRUE(keys->open());
  EXPECT_TRUE(signsWell(*keys));
  EXPECT_TRUE(cluster.storeHasNoPrivateHalf());
  EXPECT_NE(cluster.status("es256-1", "heldBy").find("pkcs11:token=podpass;object=podpass%20es256-1;id="), std::string::npos)
      << cluster.status("es256-1", "heldBy");
  EXPECT_TRUE(cluster.tokenHas("podpass es256-1"));

  const auto again = cluster.server();  // a restart
  ASSERT_TRUE(again->open());
  EXPECT_EQ(again->ring().load()->signer().kid, keys->ring().load()->signer().kid);
  EXPECT_TRUE(signsWell(*again));

  ASSERT_NO_FATAL_FAILURE(cluster.ask("asked"));
  EXPECT_EQ(settle(*keys), std::vector{What::Generate});
  cluster.clock.advance(3781s);
  EXPECT_EQ(settle(*keys), (std::vector{What::Activate, What::Retire}));
  EXPECT_EQ(keys->ring().load()->signer().kid, cluster.status("asked", "kid"));
  EXPECT_TRUE(signsWell(*keys));
  EXPECT_TRUE(cluster.tokenHas("podpass es256-1"));
  cluster.clock.advance(3599s);
  EXPECT_EQ(settle(*keys), std::vector{What::MoveLegacy});
  EXPECT_TRUE(cluster.tokenHas("podpass es256-1")) << "relying parties may still hold its public half";
  cluster.clock.advance(1s);
  EXPECT_EQ(settle(*keys), std::vector{What::Drop});
  EXPECT_FALSE(cluster.tokenHas("podpass es256-1")) << "what podpass made it destroys";
  EXPECT_TRUE(cluster.tokenHas("podpass asked"));
}

TEST(SigningKeysInAToken, AnOperatorsKeyIsTakenByItsLabelAndStaysInTheToken) {
  Cluster cluster;
  const auto keys = cluster.server();
  ASSERT_TRUE(keys->open());
  // by another process, while this one runs; SoftHSM would not notice it if a key were made here afterwards
  cluster.hsm.tool("--keypairgen --key-type EC:prime256v1 --label ceremony --id 01");
  cluster.hsm.tool("--keypairgen --key-type rsa:2048 --label other --id 02");
  ASSERT_NO_FATAL_FAILURE(cluster.ask("from-ceremony", "ceremony"));
  EXPECT_EQ(settle(*keys), std::vector{What::Generate});
  EXPECT_NE(cluster.status("from-ceremony", "heldBy").find("object=ceremony;id=%01"), std::string::npos);

  ASSERT_NO_FATAL_FAILURE(cluster.ask("wrong-type", "other"));
  ASSERT_NO_FATAL_FAILURE(cluster.ask("missing", "none"));
  ASSERT_NO_FATAL_FAILURE(cluster.ask("twice", "ceremony"));
  EXPECT_EQ(settle(*keys), std::vector<What>{});
  EXPECT_NE(cluster.status("wrong-type", "message").find("another type than spec.algorithm ES256"), std::string::npos);
  EXPECT_NE(cluster.status("missing", "message").find("no private key pkcs11:token=podpass;object=none"), std::string::npos);
  EXPECT_NE(cluster.status("twice", "message").find("in the ring already, as from-ceremony"), std::string::npos);

  // keys that cannot be made do not hold up the one that is under way
  cluster.clock.advance(3781s);
  EXPECT_EQ(settle(*keys), (std::vector{What::Activate, What::Retire}));
  EXPECT_TRUE(signsWell(*keys));

  json::object revoked = cluster.key("from-ceremony");
  revoked.at("spec").as_object()["revoked"] = true;
  ASSERT_TRUE(commit(*cluster.store, {std::string(kObjects) + "from-ceremony", std::move(revoked), std::nullopt}));
  (void)settle(*keys);
  EXPECT_EQ(cluster.status("from-ceremony", "state"), "Retired");
  EXPECT_TRUE(cluster.tokenHas("ceremony")) << "what an operator made is his to destroy";
}

TEST(SigningKeysInAToken, AKeyOfTheTokenIsAdoptedOnceAndRotatesInTheToken) {
  Cluster cluster;
  cluster.hsm.tool("--keypairgen --key-type EC:prime256v1 --label sa --id 01");
  for (int start = 0; start < 2; ++start) {
    const auto keys = cluster.server();
    ASSERT_TRUE(keys->adopt(*cluster.token->keyPair({.label = "sa"})));
    ASSERT_TRUE(keys->open());
    EXPECT_EQ(keys->ring().load()->keys().size(), 1u);
    EXPECT_NE(keys->ring().load()->signer().key.heldBy().find("object=sa"), std::string::npos);
    EXPECT_TRUE(signsWell(*keys));
  }
  EXPECT_TRUE(cluster.storeHasNoPrivateHalf());
}

TEST(SigningKeysInAToken, WithoutTheTokenThereIsNoStartAndTheReasonIsTold) {
  Cluster cluster;
  ASSERT_TRUE(cluster.server()->open());
  const Result<void> without = cluster.server(false)->open();
  ASSERT_FALSE(without);
  EXPECT_NE(without.error().sentence.find("no PKCS#11 token is given"), std::string::npos) << without.error().sentence;
  EXPECT_EQ(without.error().fix, "give --signing-key-pkcs11 URI");
  const std::string heldBy = cluster.status("es256-1", "heldBy");
  ASSERT_TRUE(cluster.token->destroy({.label = "podpass es256-1", .id = crypto::parsePkcs11Uri(heldBy)->id}));
  const Result<void> gone = cluster.server()->open();
  ASSERT_FALSE(gone);
  EXPECT_NE(gone.error().sentence.find("with the expected public half"), std::string::npos) << gone.error().sentence;
}

TEST(SigningKeysInAToken, ATokenThatMakesNoKeysSaysSoAndTheOldKeyGoesOn) {
  Cluster cluster;
  const auto keys = cluster.server();
  ASSERT_TRUE(keys->open());
  const std::string kid = keys->ring().load()->signer().kid;
  ASSERT_NO_FATAL_FAILURE(cluster.ask("asked"));
  fail("C_GenerateKeyPair", kMechanismInvalid, 1);
  const Result<RotationStep> refused = keys->advance();
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().sentence.find("cannot make a key pair: CKR_MECHANISM_INVALID"), std::string::npos) << refused.error().sentence;
  EXPECT_NE(cluster.status("asked", "message").find("CKR_MECHANISM_INVALID"), std::string::npos);
  EXPECT_EQ(cluster.key("asked").at("status").as_object().contains("state"), false) << "it is Pending";
  EXPECT_EQ(keys->ring().load()->signer().kid, kid);
  EXPECT_TRUE(signsWell(*keys));
  EXPECT_EQ(settle(*keys), std::vector{What::Generate}) << "the next attempt succeeds";
  EXPECT_EQ(cluster.status("asked", "message"), "");

  Cluster fresh;
  fail("C_GenerateKeyPair", kMechanismInvalid, 100);
  const Result<void> first = fresh.server()->open();
  ASSERT_FALSE(first) << "there is no other key";
  EXPECT_NE(first.error().sentence.find("CKR_MECHANISM_INVALID"), std::string::npos) << first.error().sentence;
}

TEST(SigningKeysInAToken, AKeyThatEndsWhileTheTokenIsAwayIsDestroyedAtTheNextStart) {
  Cluster cluster;
  const auto keys = cluster.server();
  ASSERT_TRUE(keys->open());
  ASSERT_NO_FATAL_FAILURE(cluster.ask("asked"));
  ASSERT_EQ(settle(*keys), std::vector{What::Generate});
  json::object revoked = cluster.key("asked");
  revoked.at("spec").as_object()["revoked"] = true;
  ASSERT_TRUE(commit(*cluster.store, {std::string(kObjects) + "asked", std::move(revoked), std::nullopt}));
  fail("C_OpenSession", kDeviceRemoved, 1'000'000);
  EXPECT_EQ(settle(*keys), std::vector{What::Drop});
  EXPECT_EQ(cluster.status("asked", "state"), "Retired") << "it verifies nothing any more, wherever it is";
  fail("", 0, 0);
  bool destroyed = false;
  for (const auto end = std::chrono::steady_clock::now() + 20s; !destroyed && std::chrono::steady_clock::now() < end;) {
    destroyed = cluster.server()->open() && !cluster.tokenHas("podpass asked");
    std::this_thread::sleep_for(20ms);
  }
  EXPECT_TRUE(destroyed);
  EXPECT_TRUE(cluster.tokenHas("podpass es256-1"));
}

TEST(SigningKeysInAToken, TokensAreRefusedWhileItIsAwayAndComeAgainAfterwards) {
  Cluster cluster;
  const auto keys = cluster.server();
  ASSERT_TRUE(keys->open());
  const Issuer issuer("https://issuer.example", keys->ring());
  const BoundClaims claims{.ns = "default", .serviceAccount = {"default", "u"}, .audiences = {"a"}, .issuedAt = 1, .expires = 2};
  ASSERT_TRUE(issuer.issue(claims));
  fail("C_GetSlotList", kDeviceRemoved, 1'000'000);
  fail("C_Sign", kDeviceRemoved, 1);
  const Result<Secret> away = issuer.issue(claims);
  ASSERT_FALSE(away);
  EXPECT_EQ(away.error().reason, Reason::Unavailable);
  fail("", 0, 0);
  bool back = false;
  for (const auto end = std::chrono::steady_clock::now() + 20s; !back && std::chrono::steady_clock::now() < end;) {
    back = static_cast<bool>(issuer.issue(claims));
    std::this_thread::sleep_for(20ms);
  }
  EXPECT_TRUE(back);
}

TEST(KekInAToken, LiesWrappedInItsFileAndOpensNothingWithoutTheToken) {
  const SoftHsm hsm;
  hsm.tool("--keygen --key-type AES:32 --label kek --id 01 --sensitive");
  const auto token = *hsm.open(";object=kek");
  const std::filesystem::path file = hsm.path / "kek";
  std::string sealed;
  {
    const auto kek = KeyEncryption::open(file, true, token);
    ASSERT_TRUE(kek) << kek.error().sentence;
    sealed = (*kek)->envelope()->seal("value", "place");
  }
  EXPECT_TRUE(readFile(file)->starts_with("wrapped:"));
  const auto again = KeyEncryption::open(file, true, token);
  ASSERT_TRUE(again) << again.error().sentence;
  EXPECT_EQ((*again)->envelope()->open(sealed, "place")->reveal(), "value");
  EXPECT_FALSE(*(*again)->reload());

  const auto without = KeyEncryption::open(file, true);
  ASSERT_FALSE(without);
  EXPECT_NE(without.error().sentence.find("line 1 is wrapped by a PKCS#11 token"), std::string::npos) << without.error().sentence;
  EXPECT_EQ(without.error().fix, "give --kek-pkcs11 URI");

  // a new key above, as `podpass keys rewrap` writes it; the old one still opens
  const std::string old = *readFile(file);
  ASSERT_TRUE(writeFileAtomically(file, std::string(newKekLine(token.get())->reveal()) + old, 0600));
  EXPECT_TRUE(*(*again)->reload());
  EXPECT_EQ((*again)->envelope()->open(sealed, "place")->reveal(), "value");
  EXPECT_NE((*again)->envelope()->current(), crypto::Envelope::kekOf(sealed));

  struct Case {
    const char* why;
    std::string text;
    const char* says;
  };
  for (const Case& c : {Case{"not base64url", "wrapped:***", "no base64url"}, Case{"cut", old.substr(0, 40), "is not unwrapped"},
                        Case{"empty", "wrapped:", "is not unwrapped"},
                        Case{"another's", "wrapped:" + base64UrlEncode(std::string(60, 'x')), "wrapped with another key"}}) {
    ASSERT_TRUE(writeFileAtomically(file, c.text, 0600));
    const auto bad = KeyEncryption::open(file, true, token);
    ASSERT_FALSE(bad) << c.why;
    EXPECT_NE(bad.error().sentence.find(c.says), std::string::npos) << c.why << ": " << bad.error().sentence;
    EXPECT_FALSE((*again)->reload()) << c.why << ": the keys that are there stay";
    EXPECT_EQ((*again)->envelope()->open(sealed, "place")->reveal(), "value");
  }
}

}  // namespace
}  // namespace podpass::token
