#pragma once

#include <openssl/types.h>

namespace podpass::crypto {

// A fresh RSA key of `bits` (2048 to 4096, even) with the public exponent 65537, or null and OpenSSL's error queue says why. The caller
// owns it. Its primes are random probable primes (FIPS 186-5, A.1.3), which two threads search for, because a first start waits for them.
// EVP_PKEY_generate takes three times the work for the same strength: it builds each prime around two auxiliary ones (A.1.6).
EVP_PKEY* generateRsa(int bits);

}  // namespace podpass::crypto
