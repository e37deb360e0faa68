#include "cli/key_flags.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "base/file.h"
#include "base/text.h"
#include "crypto/test_pem.h"

namespace podpass::cli {
namespace {

using namespace std::chrono_literals;

struct Directory {
  std::filesystem::path path = std::filesystem::temp_directory_path() / ("podpass-flags-" + randomUuid());
  Directory() { std::filesystem::create_directories(path); }
  ~Directory() { std::filesystem::remove_all(path); }
  std::string write(const char* name, std::string_view text, unsigned mode = 0600) const {
    EXPECT_TRUE(writeFileAtomically(path / name, text, mode));
    return (path / name).string();
  }
};

TEST(Duration, IsWrittenAsPeopleWriteIt) {
  struct Case {
    const char* text;
    std::chrono::seconds value;
  };
  for (const Case& c : {Case{"0", 0s}, Case{"90s", 90s}, Case{"1h30m", 5400s}, Case{"30d", 30 * 86400s}})
    EXPECT_EQ(*parseDuration(c.text), c.value) << c.text;
  for (const char* bad : {"", "30", "d", "-1h", "1.5h", "1h ", "1w", "0s", "99999999999s"}) EXPECT_FALSE(parseDuration(bad)) << bad;
}

TEST(KeyFlags, SayWhatIsWrongWithThem) {
  struct Case {
    const char* why;
    KeyFlags flags;
  };
  const Directory directory;
  for (const Case& c : {Case{"no algorithm", {.algorithm = "RS1"}}, Case{"no audience", {.algorithmForAudience = {"RS256"}}},
                        Case{"no duration", {.rotation = "monthly"}}, Case{"rotates faster than keys are seen", {.rotation = "30m"}},
                        Case{"no such file", {.signingKeyFile = (directory.path / "none").string()}},
                        Case{"only a public key", {.signingKeyFile = directory.write("p", crypto::test::kSshRsaPublicSpki)}}})
    EXPECT_FALSE(c.flags.settings()) << c.why;
  EXPECT_EQ((KeyFlags{.signingKeyFile = directory.write("ec", crypto::test::kSshEc)}).settings()->algorithms.standard,
            crypto::KeyType::P256)
      << "what is taken over says what comes next";
  for (const KeyFlags& flags :
       {KeyFlags{.issuers = {"https://a", "https://a"}}, KeyFlags{.issuers = {""}}, KeyFlags{.issuers = {"kubernetes/serviceaccount"}}})
    EXPECT_FALSE(flags.acceptedIssuers("https://own"));
  for (const char* uri : {"http://a/jwks", "HTTP://a/jwks", "https://", "https:///jwks", "https://a b/jwks", "https://user:word@a/jwks",
                          "https://a/jwks#keys", "a/jwks", "file:///jwks", "https://a/\njwks"})
    EXPECT_FALSE(KeyFlags{.jwksUri = uri}.acceptedIssuers("https://own")) << uri;
  for (const char* uri : {"https://a/jwks", "https://[::1]:8443/", "https://a?keys=1"})
    EXPECT_TRUE(KeyFlags{.jwksUri = uri}.acceptedIssuers("https://own")) << uri;
  EXPECT_EQ(*KeyFlags{}.acceptedIssuers("https://own"), std::vector<std::string>{"https://own"});
}

TEST(KeyFlags, TakeTheKekFromAFileACredentialOrMakeOne) {
  const Directory directory;
  const std::string line(token::newKekLine()->reveal());
  const std::string own = directory.write("own", line),
                    name = (*KeyFlags{.kekFile = own}.openKeyEncryption(directory.path))->envelope()->current();
  directory.write("podpass-kek", line);
  ASSERT_EQ(::setenv("CREDENTIALS_DIRECTORY", directory.path.c_str(), 1), 0);
  EXPECT_EQ((*KeyFlags{}.openKeyEncryption(directory.path))->envelope()->current(), name);
  ::unsetenv("CREDENTIALS_DIRECTORY");
  EXPECT_NE((*KeyFlags{}.openKeyEncryption(directory.path))->envelope()->current(), name);
  EXPECT_TRUE(std::filesystem::exists(directory.path / "kek"));
  EXPECT_FALSE(KeyFlags{.kekFile = "/nowhere/kek"}.openKeyEncryption(directory.path)) << "a key that was named is not made";
}

TEST(KeyFlags, MoveKeysThatLayInTheClearIntoTheStore) {
  const Directory directory;
  const SystemClock clock;
  const std::unique_ptr<Store> store = makeMemoryStore();
  const auto kek = *KeyFlags{}.openKeyEncryption(directory.path);
  const std::string clear = directory.write("signing.key", crypto::test::kSshRsa);
  token::SigningKeys keys(*store, *kek, clock, *KeyFlags{}.settings());
  const KeyFlags flags{.keyFiles = {directory.write("others", std::string(crypto::test::kSshEc) + std::string(crypto::test::kEd25519))}};
  ASSERT_TRUE(flags.open(keys, directory.path));
  EXPECT_FALSE(std::filesystem::exists(clear));
  const auto ring = keys.ring().load();
  EXPECT_EQ(ring->signer().key.publicDer(), crypto::readPemKeys(crypto::test::kSshRsa)->front().publicDer());
  ASSERT_EQ(ring->keys().size(), 3u);
  for (const token::KeyPtr& key : ring->keys())
    EXPECT_EQ(key->key.hasPrivate(), key->kid == ring->signer().kid) << "others' keys only verify";
}

}  // namespace
}  // namespace podpass::cli
