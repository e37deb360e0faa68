#include "crypto/rsa_generation.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>

#include <memory>
#include <thread>

#include "crypto/freeing.h"

namespace podpass::crypto {
namespace {

constexpr BN_ULONG kExponent = 65537;
constexpr int kAttempts = 8;  // a prime is unfit once in 65537, and two are too near to each other once in 2^100

using Number = std::unique_ptr<BIGNUM, Freeing<BN_clear_free>>;
using Scratch = std::unique_ptr<BN_CTX, Freeing<BN_CTX_free>>;
using Builder = std::unique_ptr<OSSL_PARAM_BLD, Freeing<OSSL_PARAM_BLD_free>>;
using Parameters = std::unique_ptr<OSSL_PARAM, Freeing<OSSL_PARAM_free>>;
using Context = std::unique_ptr<EVP_PKEY_CTX, Freeing<EVP_PKEY_CTX_free>>;

// A number whose operations take the time of its size, not of its value.
Number secretNumber() {
  Number number(BN_secure_new());
  if (number) BN_set_flags(number.get(), BN_FLG_CONSTTIME);
  return number;
}

// With both its highest bits set, so that a product of two has the full length, and prime to the exponent less one; or null.
Number findPrime(int bits) {
  const Scratch scratch(BN_CTX_secure_new());
  Number prime = secretNumber();
  if (!scratch || !prime) return nullptr;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    if (BN_generate_prime_ex2(prime.get(), bits, 0, nullptr, nullptr, nullptr, scratch.get()) != 1) return nullptr;
    if (BN_mod_word(prime.get(), kExponent) != 1) return prime;
  }
  return nullptr;
}

bool areFarApart(const BIGNUM* p, const BIGNUM* q, int bits) {
  const Number difference = secretNumber();
  return difference && BN_sub(difference.get(), p, q) == 1 && BN_num_bits(difference.get()) > bits / 2 - 100;
}

// The numbers of RFC 8017, section 3.2.
struct Rsa {
  Number n = secretNumber(), e = secretNumber(), d = secretNumber(), dP = secretNumber(), dQ = secretNumber(), qInv = secretNumber();
};

bool derive(Rsa& key, const BIGNUM* p, const BIGNUM* q) {
  const Scratch scratch(BN_CTX_secure_new());
  const Number p1 = secretNumber(), q1 = secretNumber(), product = secretNumber(), common = secretNumber(), lambda = secretNumber();
  if (!scratch || !p1 || !q1 || !product || !common || !lambda) return false;
  if (!key.n || !key.e || !key.d || !key.dP || !key.dQ || !key.qInv) return false;
  BN_CTX* const ctx = scratch.get();
  return BN_set_word(key.e.get(), kExponent) && BN_mul(key.n.get(), p, q, ctx) && BN_sub(p1.get(), p, BN_value_one()) &&
         BN_sub(q1.get(), q, BN_value_one()) && BN_mul(product.get(), p1.get(), q1.get(), ctx) &&
         BN_gcd(common.get(), p1.get(), q1.get(), ctx) && BN_div(lambda.get(), nullptr, product.get(), common.get(), ctx) &&
         BN_mod_inverse(key.d.get(), key.e.get(), lambda.get(), ctx) && BN_mod(key.dP.get(), key.d.get(), p1.get(), ctx) &&
         BN_mod(key.dQ.get(), key.d.get(), q1.get(), ctx) && BN_mod_inverse(key.qInv.get(), q, p, ctx);
}

EVP_PKEY* assemble(const Rsa& key, const BIGNUM* p, const BIGNUM* q) {
  const Builder builder(OSSL_PARAM_BLD_new());
  const std::pair<const char*, const BIGNUM*> parts[] = {{OSSL_PKEY_PARAM_RSA_N, key.n.get()},
                                                         {OSSL_PKEY_PARAM_RSA_E, key.e.get()},
                                                         {OSSL_PKEY_PARAM_RSA_D, key.d.get()},
                                                         {OSSL_PKEY_PARAM_RSA_FACTOR1, p},
                                                         {OSSL_PKEY_PARAM_RSA_FACTOR2, q},
                                                         {OSSL_PKEY_PARAM_RSA_EXPONENT1, key.dP.get()},
                                                         {OSSL_PKEY_PARAM_RSA_EXPONENT2, key.dQ.get()},
                                                         {OSSL_PKEY_PARAM_RSA_COEFFICIENT1, key.qInv.get()}};
  for (const auto& [name, number] : parts)
    if (!builder || OSSL_PARAM_BLD_push_BN(builder.get(), name, number) != 1) return nullptr;
  const Parameters parameters(OSSL_PARAM_BLD_to_param(builder.get()));
  const Context context(EVP_PKEY_CTX_new_from_name(nullptr, "RSA", nullptr));
  EVP_PKEY* made = nullptr;
  if (!parameters || !context || EVP_PKEY_fromdata_init(context.get()) != 1 ||
      EVP_PKEY_fromdata(context.get(), &made, EVP_PKEY_KEYPAIR, parameters.get()) != 1)
    return nullptr;
  return made;
}

}  // namespace

EVP_PKEY* generateRsa(int bits) {
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    Number p, q;
    {
      const std::jthread other([&] { q = findPrime(bits / 2); });
      p = findPrime(bits / 2);
    }
    if (!p || !q) return nullptr;
    if (BN_cmp(p.get(), q.get()) < 0) std::swap(p, q);
    Rsa key;
    if (!areFarApart(p.get(), q.get(), bits)) continue;
    if (!derive(key, p.get(), q.get())) return nullptr;
    if (BN_num_bits(key.d.get()) > bits / 2) return assemble(key, p.get(), q.get());
  }
  return nullptr;
}

}  // namespace podpass::crypto
