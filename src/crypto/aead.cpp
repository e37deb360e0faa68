#include "crypto/aead.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <memory>
#include <new>

#include "base/text.h"
#include "crypto/freeing.h"

namespace podpass::crypto {
namespace {

constexpr std::size_t kNonce = 12, kTag = 16;
constexpr int kChunk = 1 << 30;  // OpenSSL counts in int

const unsigned char* bytesOf(std::string_view text) { return reinterpret_cast<const unsigned char*>(text.data()); }
unsigned char* bytesOf(std::string& text) { return reinterpret_cast<unsigned char*>(text.data()); }

using Cipher = std::unique_ptr<EVP_CIPHER_CTX, Freeing<EVP_CIPHER_CTX_free>>;

}  // namespace

std::string encrypted(std::string_view key, std::string_view plain, std::string_view place) {
  std::string out = randomBytes(kNonce);
  out.resize(kNonce + plain.size() + kTag);
  unsigned char* at = bytesOf(out) + kNonce;
  const Cipher cipher(EVP_CIPHER_CTX_new());
  int length = 0;
  const bool done = plain.size() < kChunk &&
                    EVP_EncryptInit_ex(cipher.get(), EVP_aes_256_gcm(), nullptr, bytesOf(key), bytesOf(out)) == 1 &&
                    EVP_EncryptUpdate(cipher.get(), nullptr, &length, bytesOf(place), static_cast<int>(place.size())) == 1 &&
                    EVP_EncryptUpdate(cipher.get(), at, &length, bytesOf(plain), static_cast<int>(plain.size())) == 1 &&
                    EVP_EncryptFinal_ex(cipher.get(), at + length, &length) == 1 &&
                    EVP_CIPHER_CTX_ctrl(cipher.get(), EVP_CTRL_GCM_GET_TAG, kTag, at + plain.size()) == 1;
  if (!done) throw std::bad_alloc();  // with fixed sizes nothing but memory can fail; a value must never be stored unsealed instead
  return out;
}

std::optional<Secret> decrypted(std::string_view key, std::string_view sealed, std::string_view place) {
  if (sealed.size() < kNonce + kTag || sealed.size() >= kChunk) return std::nullopt;
  std::string tag(sealed.substr(sealed.size() - kTag));
  const std::string_view body = sealed.substr(kNonce, sealed.size() - kNonce - kTag);
  std::string plain(body.size(), '\0');
  const Cipher cipher(EVP_CIPHER_CTX_new());
  int length = 0;
  const bool good = EVP_DecryptInit_ex(cipher.get(), EVP_aes_256_gcm(), nullptr, bytesOf(key), bytesOf(sealed)) == 1 &&
                    EVP_DecryptUpdate(cipher.get(), nullptr, &length, bytesOf(place), static_cast<int>(place.size())) == 1 &&
                    EVP_DecryptUpdate(cipher.get(), bytesOf(plain), &length, bytesOf(body), static_cast<int>(body.size())) == 1 &&
                    EVP_CIPHER_CTX_ctrl(cipher.get(), EVP_CTRL_GCM_SET_TAG, kTag, tag.data()) == 1 &&
                    EVP_DecryptFinal_ex(cipher.get(), bytesOf(plain) + length, &length) == 1;
  std::optional<Secret> opened;
  if (good) opened.emplace(plain);
  OPENSSL_cleanse(plain.data(), plain.size());
  return opened;
}

std::string hmacSha256(std::string_view key, std::string_view message) {
  std::string mac(32, '\0');
  unsigned length = 0;
  if (HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()), bytesOf(message), message.size(), bytesOf(mac), &length) == nullptr)
    throw std::bad_alloc();  // its only failure
  return mac;
}

}  // namespace podpass::crypto
