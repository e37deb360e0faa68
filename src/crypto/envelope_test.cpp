#include "crypto/envelope.h"

#include <gtest/gtest.h>

#include "base/text.h"

namespace podpass::crypto {
namespace {

Secret kek(char filledWith) { return Secret(std::string(32, filledWith)); }
Envelope with(std::vector<Secret> keks) { return *Envelope::of(keks); }

TEST(Envelope, OpensWhatItSealedAndOnlyInItsPlace) {
  const Envelope envelope = with({kek('a')});
  for (const std::string& plain : {std::string(), std::string("{\"token\":\"x\"}"), std::string(1u << 20, '\0')}) {
    const std::string sealed = envelope.seal(plain, "/registry/secrets/a/b");
    EXPECT_TRUE(Envelope::isSealed(sealed));
    const Result<Secret> opened = envelope.open(sealed, "/registry/secrets/a/b");
    ASSERT_TRUE(opened) << opened.error().sentence;
    EXPECT_EQ(opened->reveal(), plain);
    EXPECT_FALSE(envelope.open(sealed, "/registry/secrets/a/c")) << "moved to another place";
  }
  const std::string sealed = envelope.seal("the same", "p");
  EXPECT_NE(sealed, envelope.seal("the same", "p")) << "equal values must not look equal";
  EXPECT_EQ(sealed.find("the same"), std::string::npos);
}

TEST(Envelope, RefusesEveryChangedByteAndEveryTruncation) {
  const Envelope envelope = with({kek('a')});
  const std::string sealed = envelope.seal("secret value", "p");
  for (std::size_t i = 0; i < sealed.size(); ++i) {
    std::string changed = sealed;
    changed[i] = changed[i] == 'A' ? 'B' : 'A';
    EXPECT_FALSE(envelope.open(changed, "p")) << i;
    EXPECT_FALSE(envelope.open(sealed.substr(0, i), "p")) << i;
  }
  EXPECT_FALSE(envelope.open("plain text", "p"));
  EXPECT_FALSE(Envelope::isSealed("podpass:sealed:v1:"));
}

TEST(Envelope, OpensWithOldKeysAndSealsWithTheFirst) {
  const Envelope before = with({kek('a')}), during = with({kek('b'), kek('a')}), after = with({kek('b')});
  const std::string old = before.seal("v", "p");
  ASSERT_TRUE(during.open(old, "p"));
  EXPECT_EQ(after.open(old, "p").error().reason, Reason::Unavailable) << "a missing key is not a damaged value";
  const std::string renewed = during.seal(during.open(old, "p")->reveal(), "p");
  EXPECT_EQ(Envelope::kekOf(renewed), after.current());
  EXPECT_NE(before.current(), after.current());
  EXPECT_EQ(after.open(renewed, "p")->reveal(), "v");
}

TEST(Envelope, WantsKeysOf32Bytes) {
  EXPECT_FALSE(Envelope::of({}));
  EXPECT_FALSE(Envelope::of({Secret("short")}));
  EXPECT_FALSE(Envelope::of({kek('a'), Secret(std::string(33, 'b'))}));
}

}  // namespace
}  // namespace podpass::crypto
