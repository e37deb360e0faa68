#include "crypto/key.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include <array>
#include <mutex>

#include "base/text.h"
#include "crypto/freeing.h"
#include "crypto/rsa_generation.h"

namespace podpass::crypto {
namespace {

using Bio = std::unique_ptr<BIO, Freeing<BIO_free_all>>;
using BigNumber = std::unique_ptr<BIGNUM, Freeing<BN_free>>;
using Context = std::unique_ptr<EVP_PKEY_CTX, Freeing<EVP_PKEY_CTX_free>>;
using Digest = std::unique_ptr<EVP_MD_CTX, Freeing<EVP_MD_CTX_free>>;
using Signature = std::unique_ptr<ECDSA_SIG, Freeing<ECDSA_SIG_free>>;
using Builder = std::unique_ptr<OSSL_PARAM_BLD, Freeing<OSSL_PARAM_BLD_free>>;
using Parameters = std::unique_ptr<OSSL_PARAM, Freeing<OSSL_PARAM_free>>;

struct Curve {
  std::string_view jose, openssl, alg;
  std::size_t width;
};
constexpr std::array<Curve, 3> kCurves{
    {{"P-256", "prime256v1", "ES256", 32}, {"P-384", "secp384r1", "ES384", 48}, {"P-521", "secp521r1", "ES512", 66}}};

struct NamedType {
  KeyType type;
  std::string_view name;
};
constexpr std::array<NamedType, 7> kTypes{{{KeyType::Rsa2048, "RS256"},
                                           {KeyType::Rsa3072, "RS256-3072"},
                                           {KeyType::Rsa4096, "RS256-4096"},
                                           {KeyType::P256, "ES256"},
                                           {KeyType::P384, "ES384"},
                                           {KeyType::P521, "ES512"},
                                           {KeyType::Ed25519, "EdDSA"}}};

const unsigned char* bytesOf(std::string_view text) { return reinterpret_cast<const unsigned char*>(text.data()); }
unsigned char* bytesOf(std::string& text) { return reinterpret_cast<unsigned char*>(text.data()); }

Error failed(std::string sentence) {
  ERR_clear_error();
  return Error{Reason::BadRequest, std::move(sentence)};
}

const Curve* curveOf(EVP_PKEY* key) {
  if (EVP_PKEY_get_base_id(key) != EVP_PKEY_EC) return nullptr;
  char name[64] = {};
  std::size_t length = 0;
  if (EVP_PKEY_get_group_name(key, name, sizeof name, &length) != 1) return nullptr;
  for (const Curve& curve : kCurves)
    if (std::string_view(name, length) == curve.openssl) return &curve;
  return nullptr;
}

std::string bigEndian(const BIGNUM* number, std::size_t width) {
  std::string bytes(width, '\0');
  BN_bn2binpad(number, bytesOf(bytes), static_cast<int>(width));
  return bytes;
}

Result<BigNumber> number(EVP_PKEY* key, const char* name) {
  BIGNUM* value = nullptr;
  if (EVP_PKEY_get_bn_param(key, name, &value) != 1) return failed(std::string("the key has no component ") + name);
  return BigNumber(value);
}

// Fetched once: to look a hash up by name at each use costs more than to hash a token.
const EVP_MD* hashFor(EVP_PKEY* key) {
  static const EVP_MD* const sha256 = EVP_MD_fetch(nullptr, "SHA256", nullptr);
  static const EVP_MD* const sha384 = EVP_MD_fetch(nullptr, "SHA384", nullptr);
  static const EVP_MD* const sha512 = EVP_MD_fetch(nullptr, "SHA512", nullptr);
  if (EVP_PKEY_get_base_id(key) == EVP_PKEY_ED25519) return nullptr;
  const Curve* curve = curveOf(key);
  if (curve == nullptr || curve->width == 32) return sha256;
  return curve->width == 48 ? sha384 : sha512;
}

// RFC 7518 §3.4: r‖s at the curve's width, never DER.
Result<std::string> fixedWidth(std::string_view der, std::size_t width) {
  const unsigned char* at = bytesOf(der);
  const Signature signature(d2i_ECDSA_SIG(nullptr, &at, static_cast<long>(der.size())));
  if (!signature) return failed("the signature is not an ECDSA signature");
  return bigEndian(ECDSA_SIG_get0_r(signature.get()), width) + bigEndian(ECDSA_SIG_get0_s(signature.get()), width);
}

std::string derOf(std::string_view fixed) {
  const std::size_t width = fixed.size() / 2;
  const Signature signature(ECDSA_SIG_new());
  ECDSA_SIG_set0(signature.get(), BN_bin2bn(bytesOf(fixed), static_cast<int>(width), nullptr),
                 BN_bin2bn(bytesOf(fixed.substr(width)), static_cast<int>(width), nullptr));
  unsigned char* out = nullptr;
  const int length = i2d_ECDSA_SIG(signature.get(), &out);
  std::string der(reinterpret_cast<char*>(out), length > 0 ? static_cast<std::size_t>(length) : 0);
  OPENSSL_free(out);
  return der;
}

Result<EVP_PKEY*> fromParameters(const char* type, OSSL_PARAM_BLD* builder) {
  const Parameters parameters(OSSL_PARAM_BLD_to_param(builder));
  const Context context(EVP_PKEY_CTX_new_from_name(nullptr, type, nullptr));
  EVP_PKEY* key = nullptr;
  if (EVP_PKEY_fromdata_init(context.get()) != 1 || EVP_PKEY_fromdata(context.get(), &key, EVP_PKEY_PUBLIC_KEY, parameters.get()) != 1)
    return failed(std::string("not a valid ") + type + " public key");
  return key;
}

// A point off the curve leaks secrets in other protocols: refuse it where it comes in. Not for RSA, where OpenSSL looks for primes in the
// modulus, and a stranger's JWKS would choose how long.
bool isOnCurve(EVP_PKEY* key) {
  const Context check(EVP_PKEY_CTX_new(key, nullptr));
  return EVP_PKEY_public_check(check.get()) == 1;
}

bool supported(EVP_PKEY* key) {
  const int type = EVP_PKEY_get_base_id(key);
  if (type == EVP_PKEY_RSA) return EVP_PKEY_get_bits(key) >= 2048 && EVP_PKEY_get_bits(key) <= 8192;
  return type == EVP_PKEY_ED25519 || curveOf(key) != nullptr;
}

Result<std::shared_ptr<EVP_PKEY>> owned(EVP_PKEY* key, std::string_view what) {
  if (key == nullptr) return failed("cannot read " + std::string(what));
  std::shared_ptr<EVP_PKEY> owner(key, EVP_PKEY_free);
  if (!supported(key))
    return failed("unsupported key in " + std::string(what) + ": need RSA of 2048 to 8192 bits, P-256, P-384, P-521 or Ed25519");
  return owner;
}

using X509Certificate = std::unique_ptr<X509, Freeing<X509_free>>;

// A block's key; null when the block is of no kind that holds one.
EVP_PKEY* keyOfBlock(std::string_view label, const unsigned char* der, long size) {
  if (label == "PRIVATE KEY" || label == "RSA PRIVATE KEY" || label == "EC PRIVATE KEY") return d2i_AutoPrivateKey(nullptr, &der, size);
  if (label == "PUBLIC KEY") return d2i_PUBKEY(nullptr, &der, size);
  if (label == "RSA PUBLIC KEY") return d2i_PublicKey(EVP_PKEY_RSA, nullptr, &der, size);
  if (label != "CERTIFICATE") return nullptr;
  const X509Certificate certificate(d2i_X509(nullptr, &der, size));
  return certificate ? X509_get_pubkey(certificate.get()) : nullptr;
}

// Formats that people have and podpass does not read, each with the way out.
Result<void> refuseOtherFormats(std::string_view text) {
  const auto holds = [&](std::string_view words) { return text.find(words) != std::string_view::npos; };
  const auto refuse = [](const char* sentence, const char* fix) { return Error{Reason::BadRequest, sentence, fix}; };
  if (holds("BEGIN OPENSSH PRIVATE KEY"))
    return refuse("the private key is in OpenSSH's own format", "convert a copy of it: ssh-keygen -p -N '' -m PEM -f COPY");
  if (holds("BEGIN SSH2 PUBLIC KEY") || text.starts_with("ssh-") || text.starts_with("ecdsa-sha2-"))
    return refuse("the public key is in OpenSSH's own format", "convert it: ssh-keygen -e -m PKCS8 -f KEY.pub");
  if (holds("BEGIN ENCRYPTED PRIVATE KEY") || holds("Proc-Type: 4,ENCRYPTED"))
    return refuse("the private key needs a pass phrase, and a daemon has nobody to ask", "decrypt it: openssl pkey -in KEY -out PLAIN");
  return {};
}

}  // namespace

Result<std::vector<KeyPair>> readPemKeys(std::string_view text) {
  if (text.size() > 1u << 20) return failed("the key file is larger than 1 MiB");
  if (Result<void> readable = refuseOtherFormats(text); !readable) return readable.error();
  const Bio source(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
  std::vector<KeyPair> keys;
  char *label = nullptr, *header = nullptr;
  unsigned char* der = nullptr;
  long size = 0;
  while (PEM_read_bio(source.get(), &label, &header, &der, &size) == 1) {
    EVP_PKEY* key = keyOfBlock(label, der, size);
    const std::string what = "the block " + std::string(label);
    const bool meant = key != nullptr || what.ends_with(" KEY") || what.ends_with(" CERTIFICATE");
    OPENSSL_clear_free(der, static_cast<std::size_t>(size));
    OPENSSL_free(label);
    OPENSSL_free(header);
    if (!meant) continue;
    auto owner = owned(key, what);
    if (!owner) return owner.error();
    keys.push_back(KeyPair(*std::move(owner)));
  }
  ERR_clear_error();
  if (keys.empty()) return failed("the file holds no RSA, EC or Ed25519 key in PEM form");
  return keys;
}

// OpenSSL's contexts of one key, set up once and used again by whoever comes next: setting one up takes a fifth of the time of an RSA
// verification. Ed25519 hashes the message itself, and has contexts that can't be used twice. Thread-safe.
class KeyPair::Contexts {
 public:
  explicit Contexts(EVP_PKEY* key) : key_(key), curve_(curveOf(key)), hash_(hashFor(key)) {}
  [[nodiscard]] const Curve* curve() const { return curve_; }
  [[nodiscard]] const EVP_MD* hash() const { return hash_; }

  bool sign(std::string_view message, std::string& signature) {
    std::size_t length = signature.size();
    bool good = false;
    if (hash_ == nullptr) {
      const Digest whole(EVP_MD_CTX_new());
      good = EVP_DigestSignInit(whole.get(), nullptr, nullptr, nullptr, key_) == 1 &&
             EVP_DigestSign(whole.get(), bytesOf(signature), &length, bytesOf(message), message.size()) == 1;
    } else {
      good = with(signing_, EVP_PKEY_sign_init, message, [&](EVP_PKEY_CTX* context, const unsigned char* digest, std::size_t size) {
        return EVP_PKEY_sign(context, bytesOf(signature), &length, digest, size) == 1;
      });
    }
    signature.resize(good ? length : 0);
    return good;
  }

  bool verify(std::string_view message, std::string_view signature) {
    if (hash_ == nullptr) {
      const Digest whole(EVP_MD_CTX_new());
      return EVP_DigestVerifyInit(whole.get(), nullptr, nullptr, nullptr, key_) == 1 &&
             EVP_DigestVerify(whole.get(), bytesOf(signature), signature.size(), bytesOf(message), message.size()) == 1;
    }
    return with(verifying_, EVP_PKEY_verify_init, message, [&](EVP_PKEY_CTX* context, const unsigned char* digest, std::size_t size) {
      return EVP_PKEY_verify(context, bytesOf(signature), signature.size(), digest, size) == 1;
    });
  }

 private:
  using Idle = std::vector<Context>;

  template <class Work>
  bool with(Idle& idle, int (*init)(EVP_PKEY_CTX*), std::string_view message, Work work) {
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int size = 0;
    if (EVP_Digest(message.data(), message.size(), digest, &size, hash_, nullptr) != 1) return false;
    Context context = take(idle);
    if (!context) {
      context.reset(EVP_PKEY_CTX_new(key_, nullptr));
      const bool rsa = curve_ == nullptr;
      if (!context || init(context.get()) != 1 || (rsa && EVP_PKEY_CTX_set_rsa_padding(context.get(), RSA_PKCS1_PADDING) != 1) ||
          EVP_PKEY_CTX_set_signature_md(context.get(), hash_) != 1)
        return false;
    }
    const bool good = work(context.get(), digest, size);
    const std::lock_guard lock(mutex_);
    idle.push_back(std::move(context));  // never more than there were threads at once
    return good;
  }

  Context take(Idle& idle) {
    const std::lock_guard lock(mutex_);
    if (idle.empty()) return nullptr;
    Context context = std::move(idle.back());
    idle.pop_back();
    return context;
  }

  EVP_PKEY* key_;  // the KeyPair's
  const Curve* curve_;
  const EVP_MD* hash_;
  std::mutex mutex_;
  Idle signing_, verifying_;
};

struct KeyPair::Elsewhere {
  std::string heldBy;
  SignDigest sign;
};

KeyPair::KeyPair(std::shared_ptr<evp_pkey_st> key) : key_(std::move(key)), contexts_(std::make_shared<Contexts>(key_.get())) {}

std::string_view nameOf(KeyType type) {
  for (const NamedType& each : kTypes)
    if (each.type == type) return each.name;
  return {};
}

Result<KeyType> keyTypeNamed(std::string_view name) {
  for (const NamedType& each : kTypes)
    if (each.name == name) return each.type;
  std::string known;
  for (const std::string_view each : keyTypeNames()) known += (known.empty() ? "" : ", ") + std::string(each);
  return Error{Reason::BadRequest, "unknown signing algorithm " + quoted(name.substr(0, 32)), "choose one of " + known};
}

const std::vector<std::string_view>& keyTypeNames() {
  static const std::vector<std::string_view> names = [] {
    std::vector<std::string_view> all;
    for (const NamedType& each : kTypes) all.push_back(each.name);
    return all;
  }();
  return names;
}

Result<KeyPair> KeyPair::generate(KeyType type) {
  EVP_PKEY* key = nullptr;
  switch (type) {
    case KeyType::Rsa2048:
      key = generateRsa(2048);
      break;
    case KeyType::Rsa3072:
      key = generateRsa(3072);
      break;
    case KeyType::Rsa4096:
      key = generateRsa(4096);
      break;
    case KeyType::P256:
      key = EVP_EC_gen("P-256");
      break;
    case KeyType::P384:
      key = EVP_EC_gen("P-384");
      break;
    case KeyType::P521:
      key = EVP_EC_gen("P-521");
      break;
    case KeyType::Ed25519:
      key = EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519");
      break;
  }
  auto owner = owned(key, "the generated key");
  if (!owner) return owner.error();
  return KeyPair(*std::move(owner));
}

Result<KeyPair> KeyPair::fromPrivatePem(std::string_view pem) {
  if (pem.empty()) return failed("cannot read the PEM private key: it is empty");
  const Bio source(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  // no pass phrase prompt: a daemon has nobody to ask
  auto owner = owned(PEM_read_bio_PrivateKey(
                         source.get(), nullptr, [](char*, int, int, void*) { return 0; }, nullptr),
                     "the PEM private key");
  if (!owner) return owner.error();
  return KeyPair(*std::move(owner));
}

Result<KeyPair> KeyPair::fromPublicPem(std::string_view pem) {
  if (pem.empty()) return failed("cannot read the PEM public key: it is empty");
  const auto source = [&] { return Bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size()))); };
  EVP_PKEY* key = nullptr;
  if (pem.find("BEGIN CERTIFICATE") != std::string_view::npos) {
    const X509Certificate certificate(PEM_read_bio_X509(source().get(), nullptr, nullptr, nullptr));
    key = certificate ? X509_get_pubkey(certificate.get()) : nullptr;
  } else {
    key = PEM_read_bio_PUBKEY(source().get(), nullptr, nullptr, nullptr);
  }
  auto owner = owned(key, "the PEM public key");
  if (!owner) return owner.error();
  return KeyPair(*std::move(owner));
}

Result<KeyPair> KeyPair::fromPublicDer(std::string_view spki) {
  const unsigned char* at = bytesOf(spki);
  auto owner = owned(d2i_PUBKEY(nullptr, &at, static_cast<long>(spki.size())), "the DER public key");
  if (!owner) return owner.error();
  return KeyPair(*std::move(owner));
}

Result<KeyPair> KeyPair::fromRsaComponents(std::string_view n, std::string_view e) {
  // before any arithmetic
  if (n.size() < 256 || n.size() > 1025 || e.empty() || e.size() > 8)
    return failed("an RSA key needs a modulus of 2048 to 8192 bits and an exponent below 2^64");
  const BigNumber modulus(BN_bin2bn(bytesOf(n), static_cast<int>(n.size()), nullptr));
  const BigNumber exponent(BN_bin2bn(bytesOf(e), static_cast<int>(e.size()), nullptr));
  if (!BN_is_odd(modulus.get()) || !BN_is_odd(exponent.get()) || BN_is_one(exponent.get()))
    return failed("an RSA key needs an odd modulus and an odd exponent above 1");
  const Builder builder(OSSL_PARAM_BLD_new());
  OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_N, modulus.get());
  OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_E, exponent.get());
  Result<EVP_PKEY*> key = fromParameters("RSA", builder.get());
  if (!key) return key.error();
  auto owner = owned(*key, "the RSA components");
  if (!owner) return owner.error();
  return KeyPair(*std::move(owner));
}

Result<KeyPair> KeyPair::fromEcPoint(std::string_view curve, std::string_view x, std::string_view y) {
  for (const Curve& known : kCurves) {
    if (known.jose != curve) continue;
    if (x.size() != known.width || y.size() != known.width) return failed("an EC coordinate has the wrong width for " + std::string(curve));
    std::string point(1, '\x04');  // uncompressed
    point.append(x).append(y);
    const Builder builder(OSSL_PARAM_BLD_new());
    OSSL_PARAM_BLD_push_utf8_string(builder.get(), OSSL_PKEY_PARAM_GROUP_NAME, known.openssl.data(), known.openssl.size());
    OSSL_PARAM_BLD_push_octet_string(builder.get(), OSSL_PKEY_PARAM_PUB_KEY, point.data(), point.size());
    Result<EVP_PKEY*> key = fromParameters("EC", builder.get());
    if (!key) return key.error();
    auto owner = owned(*key, "the EC point");
    if (!owner) return owner.error();
    if (!isOnCurve(owner->get())) return failed("not a valid EC public key");
    return KeyPair(*std::move(owner));
  }
  return failed("unknown curve: need P-256, P-384 or P-521");
}

Result<KeyPair> KeyPair::fromEd25519(std::string_view x) {
  auto owner = owned(EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr, bytesOf(x), x.size()), "the Ed25519 key");
  if (!owner) return owner.error();
  return KeyPair(*std::move(owner));
}

KeyPair KeyPair::heldElsewhere(const KeyPair& publicHalf, std::string heldBy, SignDigest sign) {
  KeyPair pair(publicHalf.key_);
  pair.elsewhere_ = std::make_shared<const Elsewhere>(Elsewhere{std::move(heldBy), std::move(sign)});
  return pair;
}

const std::string& KeyPair::heldBy() const {
  static const std::string here;
  return elsewhere_ ? elsewhere_->heldBy : here;
}

bool KeyPair::hasPrivate() const {
  if (elsewhere_) return true;
  if (EVP_PKEY_get_base_id(key_.get()) == EVP_PKEY_ED25519) {
    std::size_t length = 0;
    return EVP_PKEY_get_raw_private_key(key_.get(), nullptr, &length) == 1;
  }
  const char* name = EVP_PKEY_get_base_id(key_.get()) == EVP_PKEY_RSA ? OSSL_PKEY_PARAM_RSA_D : OSSL_PKEY_PARAM_PRIV_KEY;
  BIGNUM* secret = nullptr;
  const bool has = EVP_PKEY_get_bn_param(key_.get(), name, &secret) == 1;
  BN_clear_free(secret);
  ERR_clear_error();
  return has;
}

std::string KeyPair::algorithm() const {
  const int type = EVP_PKEY_get_base_id(key_.get());
  if (type == EVP_PKEY_RSA) return "RS256";
  if (type == EVP_PKEY_ED25519) return "EdDSA";
  const Curve* curve = curveOf(key_.get());
  return curve == nullptr ? std::string() : std::string(curve->alg);
}

std::optional<KeyType> KeyPair::type() const {
  std::string name = algorithm();
  if (name == "RS256" && bits() != 2048) name += "-" + std::to_string(bits());
  const Result<KeyType> found = keyTypeNamed(name);
  return found ? std::optional(*found) : std::nullopt;
}

int KeyPair::bits() const { return EVP_PKEY_get_bits(key_.get()); }

std::string KeyPair::publicDer() const {
  unsigned char* out = nullptr;
  const int length = i2d_PUBKEY(key_.get(), &out);
  std::string der(reinterpret_cast<char*>(out), length > 0 ? static_cast<std::size_t>(length) : 0);
  OPENSSL_free(out);
  return der;
}

std::string KeyPair::publicPem() const {
  const Bio sink(BIO_new(BIO_s_mem()));
  PEM_write_bio_PUBKEY(sink.get(), key_.get());
  char* text = nullptr;
  const long length = BIO_get_mem_data(sink.get(), &text);
  return std::string(text, static_cast<std::size_t>(length));
}

Secret KeyPair::privatePem() const {
  if (elsewhere_) return Secret();
  const Bio sink(BIO_new(BIO_s_secmem()));
  PEM_write_bio_PKCS8PrivateKey(sink.get(), key_.get(), nullptr, nullptr, 0, nullptr, nullptr);
  char* text = nullptr;
  const long length = BIO_get_mem_data(sink.get(), &text);
  return Secret(std::string_view(text, length > 0 ? static_cast<std::size_t>(length) : 0));
}

Result<std::string> KeyPair::sign(std::string_view message) const {
  if (elsewhere_) {
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int size = 0;
    if (contexts_->hash() == nullptr || EVP_Digest(message.data(), message.size(), digest, &size, contexts_->hash(), nullptr) != 1)
      return Error{Reason::Internal, "this kind of key signs no digest"};
    Result<std::string> signature = elsewhere_->sign(std::string_view(reinterpret_cast<const char*>(digest), size));
    // a fault in somebody's RSA gives its key away, and a token that nobody accepts helps nobody
    if (signature && !verify(message, *signature))
      return Error{Reason::Internal, elsewhere_->heldBy + " signs, but not with the private half of its public key",
                   "put the right public key beside it"};
    return signature;
  }
  std::string signature(static_cast<std::size_t>(EVP_PKEY_get_size(key_.get())), '\0');
  if (!contexts_->sign(message, signature)) {
    ERR_clear_error();
    return Error{Reason::Internal, "the key cannot sign"};
  }
  const Curve* curve = contexts_->curve();
  if (curve != nullptr) return fixedWidth(signature, curve->width);
  return signature;
}

bool KeyPair::verify(std::string_view message, std::string_view signature) const {
  const Curve* curve = contexts_->curve();
  std::string der;
  if (curve != nullptr) {
    if (signature.size() != curve->width * 2) return false;
    der = derOf(signature);
    signature = der;
  }
  const bool good = contexts_->verify(message, signature);
  if (!good) ERR_clear_error();
  return good;
}

bool KeyPair::verifyRsa(std::string_view message, std::string_view signature, int bits) const {
  if (EVP_PKEY_get_base_id(key_.get()) != EVP_PKEY_RSA) return false;
  const Digest context(EVP_MD_CTX_new());  // PKCS#1 v1.5 is the padding of a context that nobody told another
  const bool good = EVP_DigestVerifyInit(context.get(), nullptr, bits == 384 ? EVP_sha384() : EVP_sha512(), nullptr, key_.get()) == 1 &&
                    EVP_DigestVerify(context.get(), bytesOf(signature), signature.size(), bytesOf(message), message.size()) == 1;
  if (!good) ERR_clear_error();
  return good;
}

Result<std::pair<std::string, std::string>> KeyPair::rsaComponents() const {
  Result<BigNumber> n = number(key_.get(), OSSL_PKEY_PARAM_RSA_N);
  Result<BigNumber> e = number(key_.get(), OSSL_PKEY_PARAM_RSA_E);
  if (!n) return n.error();
  if (!e) return e.error();
  const auto width = [](const BigNumber& value) { return static_cast<std::size_t>(BN_num_bytes(value.get())); };
  return std::pair(bigEndian(n->get(), width(*n)), bigEndian(e->get(), width(*e)));
}

Result<std::pair<std::string, std::string>> KeyPair::ecPoint() const {
  if (EVP_PKEY_get_base_id(key_.get()) == EVP_PKEY_ED25519) {
    std::string x(32, '\0');
    std::size_t length = x.size();
    EVP_PKEY_get_raw_public_key(key_.get(), bytesOf(x), &length);
    return std::pair(x, std::string());
  }
  const Curve* curve = curveOf(key_.get());
  if (curve == nullptr) return failed("not an EC key");
  Result<BigNumber> x = number(key_.get(), OSSL_PKEY_PARAM_EC_PUB_X);
  Result<BigNumber> y = number(key_.get(), OSSL_PKEY_PARAM_EC_PUB_Y);
  if (!x) return x.error();
  if (!y) return y.error();
  return std::pair(bigEndian(x->get(), curve->width), bigEndian(y->get(), curve->width));
}

std::string KeyPair::curve() const {
  const Curve* curve = curveOf(key_.get());
  return curve == nullptr ? std::string() : std::string(curve->jose);
}

}  // namespace podpass::crypto
