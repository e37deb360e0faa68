#include "crypto/pkcs11_uri.h"

#include <gtest/gtest.h>

namespace podpass::crypto {
namespace {

TEST(Pkcs11Uri, SaysModuleTokenObjectAndWhereThePinLies) {
  const Result<Pkcs11Uri> uri = parsePkcs11Uri(
      "pkcs11:token=My%20HSM;serial=0a;manufacturer=M;model=X;slot-id=7;object=sa;id=%01%00%fF;type=private?module-path=/"
      "m.so&pin-source=file:///etc/pin");
  ASSERT_TRUE(uri) << uri.error().sentence;
  EXPECT_EQ(uri->token, "My HSM");
  EXPECT_EQ(uri->id, std::string("\x01\x00\xff", 3));
  EXPECT_EQ(uri->slot, 7u);
  EXPECT_EQ(uri->modulePath, "/m.so");
  EXPECT_EQ(uri->pinSource, "/etc/pin");
  EXPECT_TRUE(uri->namesObject());
  EXPECT_EQ(pkcs11Path(*uri), "pkcs11:token=My%20HSM;serial=0a;manufacturer=M;model=X;object=sa;id=%01%00%ff;type=private;slot-id=7");
  EXPECT_EQ(parsePkcs11Uri("pkcs11:?module-path=/m&pin-source=file:/p")->pinSource, "/p");
  EXPECT_EQ(parsePkcs11Uri("pkcs11:?module-path=/m&pin-source=/p")->pinSource, "/p");
  EXPECT_FALSE(parsePkcs11Uri("pkcs11:?module-path=/m")->namesObject());
}

TEST(Pkcs11Uri, IsRefusedForOneReasonAndNeverShowsAPin) {
  struct Case {
    const char* why;
    std::string text;
    const char* says;
  };
  const Case cases[] = {{"another scheme", "file:/m", "begin with pkcs11:"},
                        {"a relative module is looked for in directories of others", "pkcs11:?module-path=m.so", "not absolute"},
                        {"a PIN that ps shows", "pkcs11:?module-path=/m&pin-value=SECRET", "holds a PIN"},
                        {"a command", "pkcs11:?module-path=/m&pin-source=|cat SECRET", "only files"},
                        {"a module by name", "pkcs11:?module-name=softhsm2", "no directory"},
                        {"twice", "pkcs11:token=a;token=b?module-path=/m", "twice"},
                        {"not known", "pkcs11:tokn=SECRET?module-path=/m", "not known"},
                        {"a query attribute in the path", "pkcs11:pin-source=SECRET?module-path=/m", "not known"},
                        {"cut", "pkcs11:token=%4", "percent"},
                        {"not hexadecimal", "pkcs11:token=%zz?module-path=/m", "percent"},
                        {"zero byte", "pkcs11:token=a%00?module-path=/m", "zero byte"},
                        {"no value", "pkcs11:SECRET?module-path=/m", "without a name"},
                        {"no number", "pkcs11:slot-id=1x?module-path=/m", "no number"},
                        {"overflow", "pkcs11:slot-id=99999999999999999999999?module-path=/m", "no number"},
                        {"huge", "pkcs11:token=" + std::string(1u << 20, 'a'), "4 KiB"}};
  for (const Case& c : cases) {
    const Result<Pkcs11Uri> uri = parsePkcs11Uri(c.text);
    ASSERT_FALSE(uri) << c.why;
    EXPECT_NE(uri.error().sentence.find(c.says), std::string::npos) << c.why << ": " << uri.error().sentence;
    EXPECT_EQ(uri.error().sentence.find("SECRET"), std::string::npos) << c.why;
    EXPECT_FALSE(uri.error().fix.empty()) << c.why;
  }
}

}  // namespace
}  // namespace podpass::crypto
