#include "crypto/envelope.h"

#include <algorithm>
#include <optional>

#include "base/text.h"
#include "crypto/aead.h"

namespace podpass::crypto {
namespace {

constexpr std::string_view kMark = "podpass:sealed:v1:";
constexpr std::size_t kName = 16;

}  // namespace

Result<Envelope> Envelope::of(const std::vector<Secret>& keks) {
  if (keks.empty()) return Error{Reason::BadRequest, "there is no key-encryption key"};
  Envelope envelope;
  for (const Secret& kek : keks) {
    if (kek.reveal().size() != kAeadKey)
      return Error{Reason::BadRequest, "a key-encryption key has " + std::to_string(kek.reveal().size()) + " bytes, expected 32"};
    std::string named = "podpass kek ";
    named.reserve(named.size() + kAeadKey);
    named += kek.reveal();
    envelope.keks_.push_back({hexLower(sha256(named)).substr(0, kName), kek});
    OPENSSL_cleanse(named.data(), named.size());
  }
  return envelope;
}

Envelope Envelope::opening(const Envelope& older) const {
  Envelope both = *this;
  for (const Kek& kek : older.keks_)
    if (std::none_of(keks_.begin(), keks_.end(), [&](const Kek& own) { return own.name == kek.name; })) both.keks_.push_back(kek);
  return both;
}

std::string Envelope::seal(std::string_view plain, std::string_view place) const {
  const Kek& kek = keks_.front();
  const Secret dataKey(randomBytes(kAeadKey));
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
    if (!dataKey || dataKey->reveal().size() != kAeadKey) return damaged;
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
