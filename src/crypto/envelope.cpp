#include "crypto/envelope.h"

#include <openssl/evp.h>

#include <optional>

#include "base/text.h"

namespace podpass::crypto {
namespace {

constexpr std::string_view kMark = "podpass:sealed:v1:";
constexpr std::size_t kKey = 32, kNonce = 12, kTag = 16, kName = 16;
constexpr int kChunk = 1 << 30;  // OpenSSL counts in int

const unsigned char* bytesOf(std::string_view text) { return reinterpret_cast<const unsigned char*>(text.data()); }
unsigned char* bytesOf(std::string& text) { return reinterpret_cast<unsigned char*>(text.data()); }

struct FreeCipher {
  void operator()(EVP_CIPHER_CTX* context) const { EVP_CIPHER_CTX_free(context); }
};
using Cipher = std::unique_ptr<EVP_CIPHER_CTX, FreeCipher>;

// nonce ‖ ciphertext ‖ tag
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

}  // namespace

Result<Envelope> Envelope::of(const std::vector<Secret>& keks) {
  if (keks.empty()) return Error{Reason::BadRequest, "there is no key-encryption key"};
  Envelope envelope;
  for (const Secret& kek : keks) {
    if (kek.reveal().size() != kKey)
      return Error{Reason::BadRequest, "a key-encryption key has " + std::to_string(kek.reveal().size()) + " bytes, expected 32"};
    envelope.keks_.push_back({hexLower(sha256("podpass kek " + std::string(kek.reveal()))).substr(0, kName), kek});
  }
  return envelope;
}

std::string Envelope::seal(std::string_view plain, std::string_view place) const {
  const Kek& kek = keks_.front();
  const Secret dataKey(randomBytes(kKey));
  return std::string(kMark) + kek.name + ":" + base64UrlEncode(encrypted(kek.key.reveal(), dataKey.reveal(), place)) + ":" +
         base64UrlEncode(encrypted(dataKey.reveal(), plain, place));
}

Result<Secret> Envelope::open(std::string_view sealed, std::string_view place) const {
  const Error damaged{Reason::Internal, "the sealed value of " + std::string(place) + " is damaged, or was moved there",
                      "restore it from a backup"};
  const std::string_view name = kekOf(sealed);
  const std::size_t start = kMark.size() + kName + 1, split = sealed.find(':', std::min(start, sealed.size()));
  if (name.empty() || split == std::string_view::npos) return damaged;
  const Result<std::string> wrapped = base64UrlDecode(sealed.substr(start, split - start)),
                            value = base64UrlDecode(sealed.substr(split + 1));
  if (!wrapped || !value) return damaged;
  for (const Kek& kek : keks_) {
    if (kek.name != name) continue;
    const std::optional<Secret> dataKey = decrypted(kek.key.reveal(), *wrapped, place);
    if (!dataKey || dataKey->reveal().size() != kKey) return damaged;
    std::optional<Secret> plain = decrypted(dataKey->reveal(), *value, place);
    if (!plain) return damaged;
    return *std::move(plain);
  }
  return Error{Reason::Unavailable,
               "the value of " + std::string(place) + " is sealed with the key-encryption key " + std::string(name) + ", which is not here",
               "add that key to the KEK file, below the current one"};
}

const std::string& Envelope::current() const { return keks_.front().name; }

std::string_view Envelope::kekOf(std::string_view text) {
  if (!text.starts_with(kMark) || text.size() <= kMark.size() + kName || text[kMark.size() + kName] != ':') return {};
  return text.substr(kMark.size(), kName);
}

}  // namespace podpass::crypto
