#include "crypto/rsa_generation.h"

#include <gtest/gtest.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>

#include <memory>
#include <set>

namespace podpass::crypto {
namespace {

using Key = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;
using Number = std::unique_ptr<BIGNUM, decltype(&BN_free)>;

Number numberOf(const Key& key, const char* name) {
  BIGNUM* number = nullptr;
  EVP_PKEY_get_bn_param(key.get(), name, &number);
  return {number, &BN_free};
}

// OpenSSL judges the whole: the primes by its own tests, the exponents and the coefficient against them.
TEST(RsaGeneration, MakesKeysThatOpenSslHoldsToBeSound) {
  for (const int bits : {2048, 2048, 2048, 3072, 4096}) {
    SCOPED_TRACE(bits);
    const Key key(generateRsa(bits), &EVP_PKEY_free);
    ASSERT_NE(key, nullptr);
    EXPECT_EQ(EVP_PKEY_get_bits(key.get()), bits);
    const std::unique_ptr<EVP_PKEY_CTX, decltype(&EVP_PKEY_CTX_free)> context(EVP_PKEY_CTX_new(key.get(), nullptr), &EVP_PKEY_CTX_free);
    EXPECT_EQ(EVP_PKEY_check(context.get()), 1);
    EXPECT_EQ(EVP_PKEY_pairwise_check(context.get()), 1);
    EXPECT_TRUE(BN_is_word(numberOf(key, OSSL_PKEY_PARAM_RSA_E).get(), 65537));
    for (const char* prime : {OSSL_PKEY_PARAM_RSA_FACTOR1, OSSL_PKEY_PARAM_RSA_FACTOR2})
      EXPECT_EQ(BN_num_bits(numberOf(key, prime).get()), bits / 2);
  }
}

TEST(RsaGeneration, NeverMakesAPrimeTwice) {
  std::set<std::string> seen;
  for (int i = 0; i < 4; ++i) {
    const Key key(generateRsa(2048), &EVP_PKEY_free);
    ASSERT_NE(key, nullptr);
    for (const char* prime : {OSSL_PKEY_PARAM_RSA_FACTOR1, OSSL_PKEY_PARAM_RSA_FACTOR2}) {
      const std::unique_ptr<char, void (*)(char*)> hex(BN_bn2hex(numberOf(key, prime).get()), [](char* text) { OPENSSL_free(text); });
      EXPECT_TRUE(seen.insert(hex.get()).second);
    }
  }
}

}  // namespace
}  // namespace podpass::crypto
