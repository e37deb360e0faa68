#include "crypto/aead.h"

#include <gtest/gtest.h>

#include "base/text.h"

namespace podpass::crypto {
namespace {

TEST(Hmac, AgreesWithRfc4231) {
  EXPECT_EQ(hexLower(hmacSha256("Jefe", "what do ya want for nothing?")),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
}

TEST(Aead, OpensOnlyWithItsKeyAndPlaceAndUnchanged) {
  const std::string key(kAeadKey, 'k'), other(kAeadKey, 'o');
  for (const std::string& plain : {std::string(), std::string("x"), std::string(5000, 'p')}) {
    const std::string sealed = encrypted(key, plain, "place");
    EXPECT_NE(sealed, encrypted(key, plain, "place")) << "a nonce each";
    const std::optional<Secret> opened = decrypted(key, sealed, "place");
    ASSERT_TRUE(opened);
    EXPECT_EQ(opened->reveal(), plain);
    EXPECT_FALSE(decrypted(other, sealed, "place"));
    EXPECT_FALSE(decrypted(key, sealed, "Place"));
    EXPECT_FALSE(decrypted(key, sealed.substr(1), "place"));
    for (const std::size_t spot : {std::size_t{0}, sealed.size() / 2, sealed.size() - 1}) {
      std::string changed = sealed;
      changed[spot] = static_cast<char>(changed[spot] ^ 1);
      EXPECT_FALSE(decrypted(key, changed, "place"));
    }
  }
  EXPECT_FALSE(decrypted(key, "", ""));
}

}  // namespace
}  // namespace podpass::crypto
