#include "crypto/pkcs11.h"

#include <dlfcn.h>
#include <gtest/gtest.h>
#include <p11-kit/pkcs11.h>

#include <thread>

#include "crypto/test_softhsm.h"

namespace podpass::crypto {
namespace {

using test::SoftHsm;

// What test_faulty_module.c offers besides PKCS#11.
template <class Function>
Function* control(const char* name) {
  static void* const library = ::dlopen(PODPASS_TEST_FAULTY_MODULE, RTLD_NOW | RTLD_LOCAL);
  return reinterpret_cast<Function*>(::dlsym(library, name));
}
void fail(const char* function, CK_RV result, int times) {
  control<void(const char*, unsigned long, int)>("podpass_test_fault")(function, result, times);
}
void setFlags(CK_FLAGS flags) { control<void(unsigned long)>("podpass_test_flags")(flags); }
void lie(bool yes) { control<void(int)>("podpass_test_lies")(yes ? 1 : 0); }
void allowSessions(long most) { control<void(long)>("podpass_test_sessions")(most); }

// A token behind the faulty module, with one P-256 key.
struct Faulty {
  SoftHsm hsm;
  std::shared_ptr<Pkcs11Token> token = *hsm.open("", PODPASS_TEST_FAULTY_MODULE);
  KeyPair key = *token->generate(KeyType::P256, {.label = "sa", .id = "1"});
  ~Faulty() {
    fail("", CKR_OK, 0);
    setFlags(0);
    lie(false);
    allowSessions(1'000'000);
  }
  // Signs until that goes as it should: whether it did, within the time of a few reconnections.
  bool later(const std::function<bool(const Result<std::string>&)>& good) const {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (std::chrono::steady_clock::now() < end) {
      if (good(key.sign("m"))) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    return false;
  }
};

TEST(Pkcs11, KeysThatWereMadeInTheTokenSignAndNeverLeaveIt) {
  const SoftHsm hsm;
  const auto token = *hsm.open();
  for (const KeyType type : {KeyType::Rsa2048, KeyType::P256, KeyType::P384, KeyType::P521}) {
    SCOPED_TRACE(nameOf(type));
    const std::string id = "id of " + std::string(nameOf(type));
    const Result<KeyPair> pair = token->generate(type, {.label = std::string(nameOf(type)), .id = id});
    ASSERT_TRUE(pair) << pair.error().sentence;
    EXPECT_EQ(pair->type(), type);
    EXPECT_TRUE(pair->hasPrivate());
    EXPECT_TRUE(pair->privatePem().empty());
    EXPECT_NE(pair->heldBy().find("pkcs11:token=podpass;object="), std::string::npos) << pair->heldBy();
    const Result<std::string> signature = pair->sign("message");
    ASSERT_TRUE(signature) << signature.error().sentence;
    const KeyPair half = *KeyPair::fromPublicDer(pair->publicDer());
    EXPECT_TRUE(half.verify("message", *signature)) << "OpenSSL must agree";
    EXPECT_FALSE(half.verify("massage", *signature));
    const Result<KeyPair> again = token->keyPair({.id = id});
    ASSERT_TRUE(again) << again.error().sentence;
    EXPECT_EQ(again->publicDer(), pair->publicDer());
    ASSERT_TRUE(token->destroy({.label = std::string(nameOf(type)), .id = id}));
    EXPECT_EQ(token->keyPair({.id = id}).error().reason, Reason::NotFound);
    EXPECT_TRUE(token->destroy({.label = std::string(nameOf(type)), .id = id})) << "a second time, as after a crash";
  }
  EXPECT_EQ(token->generate(KeyType::Ed25519, {.label = "ed"}).error().reason, Reason::BadRequest);
  EXPECT_FALSE(token->destroy({})) << "which would be every key";
  EXPECT_FALSE(token->destroy({.label = "a"}));
}

TEST(Pkcs11, TakesKeysThatAnotherToolMade) {
  const SoftHsm hsm;
  hsm.tool("--keypairgen --key-type rsa:2048 --label sa-rsa --id 0a");
  hsm.tool("--keypairgen --key-type EC:secp384r1 --label sa-ec --id 0b");
  const auto token = *hsm.open();
  EXPECT_EQ(token->keyPair({.label = "sa-rsa"})->algorithm(), "RS256");
  EXPECT_EQ(token->keyPair({.id = "\x0b"})->algorithm(), "ES384");
  EXPECT_EQ(token->keyPair({.label = "sa-rsa", .id = "\x0b"}).error().reason, Reason::NotFound) << "both must fit";
}

TEST(Pkcs11, SaysWhichKeyCannotBeUsedAndWhy) {
  const SoftHsm hsm;
  hsm.tool("--keypairgen --key-type EC:secp256k1 --label koblitz --id 01");
  hsm.tool("--keypairgen --key-type EC:edwards25519 --label edwards --id 02");
  hsm.tool("--keypairgen --key-type rsa:1024 --label short --id 03");
  hsm.tool("--keypairgen --key-type EC:prime256v1 --label twice --id 04");
  hsm.tool("--keypairgen --key-type EC:prime256v1 --label twice --id 05");
  hsm.tool("--keypairgen --key-type EC:prime256v1 --label alone --id 06");
  hsm.tool("--delete-object --type pubkey --id 06");
  hsm.tool("--keygen --key-type AES:32 --label aes --id 07");
  hsm.tool("--keypairgen --key-type EC:prime256v1 --label mixed --id 08");
  hsm.tool("--delete-object --type pubkey --id 08");
  const std::string other = hsm.write("other.der", KeyPair::generate(KeyType::P256)->publicDer());
  hsm.tool("--write-object " + other + " --type pubkey --id 08 --label mixed");
  const auto token = *hsm.open();
  struct Case {
    const char* label;
    Reason reason;
    const char* says;
  };
  for (const Case& c :
       {Case{"koblitz", Reason::BadRequest, "curve"}, Case{"edwards", Reason::BadRequest, "neither an RSA nor an EC"},
        Case{"short", Reason::BadRequest, "2048"}, Case{"twice", Reason::BadRequest, "2 private keys fit"},
        Case{"alone", Reason::BadRequest, "public half is not in the token"}, Case{"aes", Reason::NotFound, "no private key"},
        Case{"mixed", Reason::Internal, "not with the private half of its public key"},
        Case{"none", Reason::NotFound, "no private key pkcs11:token=podpass;object=none"}}) {
    const Result<KeyPair> pair = token->keyPair({.label = c.label});
    ASSERT_FALSE(pair) << c.label;
    EXPECT_EQ(pair.error().reason, c.reason) << c.label;
    EXPECT_NE(pair.error().sentence.find(c.says), std::string::npos) << c.label << ": " << pair.error().sentence;
    EXPECT_FALSE(pair.error().fix.empty()) << c.label;
  }
}

TEST(Pkcs11, TheRightOneOfSeveralIsFoundByItsPublicHalf) {
  const SoftHsm hsm;
  const auto token = *hsm.open();
  const KeyPair first = *token->generate(KeyType::P256, {.label = "a", .id = "1"});
  const KeyPair second = *token->generate(KeyType::P256, {.label = "a", .id = "2"});
  EXPECT_EQ(token->keyPair({.label = "a"}).error().reason, Reason::BadRequest);
  EXPECT_EQ(token->keyPair({.label = "a"}, second.publicDer())->heldBy(), second.heldBy());
  EXPECT_EQ(token->keyPair({.id = "1"}, second.publicDer()).error().reason, Reason::NotFound) << "a key that was replaced under its id";
}

TEST(Pkcs11, SaysWhatIsWrongWithModuleTokenAndPin) {
  const SoftHsm hsm;
  hsm.write("short", "x");
  hsm.write("wrong", "9999");
  hsm.write("empty", "\n");
  hsm.write("open", "4321", 0644);
  hsm.makeToken("twin");
  hsm.makeToken("twin");
  const std::string module = std::string("?module-path=") + PODPASS_TEST_SOFTHSM,
                    pin = module + "&pin-source=" + (hsm.path / "pin").string();
  const auto source = [&](const char* name) { return "pkcs11:token=podpass" + module + "&pin-source=" + (hsm.path / name).string(); };
  struct Case {
    const char* why;
    std::string uri;
    Reason reason;
    const char* says;
  };
  const Case cases[] = {{"no module", "pkcs11:?module-path=/nowhere/module.so", Reason::NotFound, "there is no PKCS#11 module"},
                        {"no library", "pkcs11:?module-path=" + (hsm.path / "pin").string(), Reason::BadRequest, "cannot load"},
                        {"a directory", "pkcs11:?module-path=" + hsm.path.string(), Reason::BadRequest, "cannot load"},
                        {"another library", "pkcs11:?module-path=" PODPASS_TEST_NO_MODULE, Reason::BadRequest, "no PKCS#11 module"},
                        {"no token", "pkcs11:token=other" + pin, Reason::Unavailable, "\"podpass\""},
                        {"two tokens", "pkcs11:token=twin" + pin, Reason::BadRequest, "2 PKCS#11 tokens fit"},
                        {"another serial", "pkcs11:token=podpass;serial=1" + pin, Reason::Unavailable, "serial=1"},
                        {"another slot", "pkcs11:token=podpass;slot-id=77" + pin, Reason::Unavailable, "slot-id=77"},
                        {"no PIN", "pkcs11:token=podpass" + module, Reason::BadRequest, "wants a PIN"},
                        {"no PIN file", source("none"), Reason::NotFound, "PIN"},
                        {"an empty one", source("empty"), Reason::BadRequest, "no PIN"},
                        {"one that others read", source("open"), Reason::BadRequest, "read by others"},
                        {"too short a PIN", source("short"), Reason::Forbidden, "refuses the PIN"},
                        {"wrong PIN", source("wrong"), Reason::Forbidden, "CKR_PIN_INCORRECT"}};
  for (const Case& c : cases) {
    const auto token = Pkcs11Token::open(*parsePkcs11Uri(c.uri));
    ASSERT_FALSE(token) << c.why;
    EXPECT_EQ(token.error().reason, c.reason) << c.why << ": " << token.error().sentence;
    EXPECT_NE(token.error().sentence.find(c.says), std::string::npos) << c.why << ": " << token.error().sentence;
    EXPECT_EQ(token.error().sentence.find("9999"), std::string::npos) << "a PIN is never told";
    EXPECT_FALSE(token.error().fix.empty()) << c.why;
  }
}

TEST(Pkcs11, DoesNotSpendTheLastTriesOfAPin) {
  const SoftHsm hsm;
  struct Case {
    const char* why;
    CK_FLAGS flags;
    const char* says;
  };
  for (const Case& c : {Case{"locked", CKF_USER_PIN_LOCKED, "has locked"}, Case{"one try left", CKF_USER_PIN_FINAL_TRY, "none is tried"}}) {
    setFlags(c.flags);
    const auto token = hsm.open("", PODPASS_TEST_FAULTY_MODULE);
    setFlags(0);
    ASSERT_FALSE(token) << c.why;
    EXPECT_EQ(token.error().reason, Reason::Forbidden);
    EXPECT_NE(token.error().sentence.find(c.says), std::string::npos) << token.error().sentence;
  }
  fail("C_Login", CKR_PIN_LOCKED, 1);
  EXPECT_NE(hsm.open("", PODPASS_TEST_FAULTY_MODULE).error().sentence.find("has locked"), std::string::npos);
  fail("C_Login", CKR_PIN_EXPIRED, 1);
  EXPECT_NE(hsm.open("", PODPASS_TEST_FAULTY_MODULE).error().sentence.find("CKR_PIN_EXPIRED"), std::string::npos);
}

TEST(Pkcs11, APinThatWasRefusedIsTriedAgainOnlyWhenItsFileChanged) {
  Faulty faulty;
  const auto logins = control<long()>("podpass_test_logins");
  faulty.hsm.write("pin", "9999");
  fail("C_Sign", CKR_DEVICE_REMOVED, 1);
  EXPECT_EQ(faulty.key.sign("m").error().reason, Reason::Forbidden);
  const long before = logins();
  const auto refusal = faulty.later([](const Result<std::string>& signature) {
    return !signature && signature.error().sentence.find("not tried twice") != std::string::npos;
  });
  EXPECT_TRUE(refusal);
  EXPECT_EQ(logins(), before);
  faulty.hsm.write("pin", "4321");
  EXPECT_TRUE(faulty.later([](const Result<std::string>& signature) { return static_cast<bool>(signature); }));
}

TEST(Pkcs11, ComesBackAfterTheTokenWasAway) {
  Faulty faulty;
  for (const CK_RV lost : {CKR_SESSION_HANDLE_INVALID, CKR_SESSION_CLOSED, CKR_DEVICE_REMOVED, CKR_TOKEN_NOT_PRESENT,
                           CKR_USER_NOT_LOGGED_IN, CKR_KEY_HANDLE_INVALID, CKR_DEVICE_ERROR, CKR_GENERAL_ERROR}) {
    fail("C_Sign", lost, 1);
    const Result<std::string> signature = faulty.key.sign("m");
    EXPECT_TRUE(signature) << lost << ": " << signature.error().sentence;
  }
  fail("C_Sign", CKR_DEVICE_REMOVED, 2);
  EXPECT_EQ(faulty.key.sign("m").error().reason, Reason::Unavailable) << "gone for good: one new attempt, not many";
  fail("C_Sign", CKR_DATA_LEN_RANGE, 1);
  const Result<std::string> other = faulty.key.sign("m");
  EXPECT_EQ(other.error().reason, Reason::Internal);
  EXPECT_NE(other.error().sentence.find("CKR_DATA_LEN_RANGE"), std::string::npos) << other.error().sentence;
  EXPECT_TRUE(faulty.key.sign("m")) << "and none of it leaves a session behind that cannot be used";
}

TEST(Pkcs11, IsUnavailableWhileTheTokenIsAwayAndComesBackByItself) {
  Faulty faulty;
  fail("C_GetSlotList", CKR_TOKEN_NOT_PRESENT, 1'000'000);
  fail("C_Sign", CKR_DEVICE_REMOVED, 1);
  for (int i = 0; i < 3; ++i) {
    const Result<std::string> away = faulty.key.sign("m");
    ASSERT_FALSE(away);
    EXPECT_EQ(away.error().reason, Reason::Unavailable);
    EXPECT_NE(away.error().sentence.find("there is no PKCS#11 token pkcs11:token=podpass"), std::string::npos) << away.error().sentence;
  }
  fail("", CKR_OK, 0);
  EXPECT_TRUE(faulty.later([](const Result<std::string>& signature) { return static_cast<bool>(signature); }));
}

TEST(Pkcs11, NeverHandsOutASignatureThatIsWrong) {
  Faulty faulty;
  lie(true);
  const Result<std::string> signature = faulty.key.sign("m");
  ASSERT_FALSE(signature);
  EXPECT_NE(signature.error().sentence.find("pkcs11:token=podpass;object=sa"), std::string::npos) << signature.error().sentence;
}

TEST(Pkcs11, ManyThreadsShareTheSessionsThatATokenHas) {
  Faulty faulty;
  allowSessions(3);
  std::atomic<int> signedCount = 0;
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 8; ++i)
      threads.emplace_back([&] {
        for (int n = 0; n < 20; ++n) {
          const Result<std::string> signature = faulty.key.sign("m");
          EXPECT_TRUE(signature) << signature.error().sentence;
          signedCount += signature ? 1 : 0;
        }
      });
  }
  EXPECT_EQ(signedCount, 160);
}

TEST(Pkcs11, WrapsAKeyForItsPlaceOnly) {
  const SoftHsm hsm;
  hsm.tool("--keygen --key-type AES:32 --label kek --id 01 --sensitive");
  hsm.tool("--keygen --key-type AES:32 --label other --id 02 --sensitive");
  hsm.tool("--keygen --key-type AES:32 --label kek2 --id 03 --sensitive");
  hsm.tool("--keygen --key-type AES:32 --label kek2 --id 04 --sensitive");
  const auto token = *hsm.open(";object=kek");
  const Secret plain(std::string(32, 'k'));
  const Result<std::string> wrapped = token->wrap(plain, "place");
  ASSERT_TRUE(wrapped) << wrapped.error().sentence;
  EXPECT_EQ(wrapped->find(plain.reveal()), std::string::npos);
  EXPECT_NE(*wrapped, *token->wrap(plain, "place"));
  EXPECT_TRUE(*token->unwrap(*wrapped, "place") == plain);
  EXPECT_EQ(token->unwrap(*wrapped, "elsewhere").error().reason, Reason::BadRequest);
  EXPECT_EQ(token->unwrap(wrapped->substr(0, 20), "place").error().reason, Reason::BadRequest);
  std::string changed = *wrapped;
  changed[20] = static_cast<char>(changed[20] ^ 1);
  EXPECT_EQ(token->unwrap(changed, "place").error().reason, Reason::BadRequest);
  EXPECT_EQ((*hsm.open(";object=other"))->unwrap(*wrapped, "place").error().reason, Reason::BadRequest);
  EXPECT_EQ((*hsm.open(";object=none"))->unwrap(*wrapped, "place").error().reason, Reason::NotFound);
  EXPECT_EQ((*hsm.open(";object=kek2"))->wrap(plain, "place").error().reason, Reason::BadRequest);
}

}  // namespace
}  // namespace podpass::crypto
