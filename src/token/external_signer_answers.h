#pragma once

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/secret.h"
#include "token/key_ring.h"

// What an external signer's answers must be (KEP-740; spec tokens.md §6.4). It is another program: nothing that it says is believed unseen.
// Sentences are kube-apiserver's where it has one.
namespace podpass::token {

constexpr std::size_t kMaxExternalKeyId = 1024;
constexpr std::int64_t kMinExternalLife = 600;  // seconds

struct OfferedKey {
  std::string id;
  std::string der;  // SubjectPublicKeyInfo
  bool excluded = false;
};

// The ring that FetchKeys offers: all keys verify, those not excluded are published. Unavailable: no keys, an empty or too long id, the
// same id twice, an empty or unreadable key.
Result<KeyRing> ringOf(const std::vector<OfferedKey>& offered);

// How long those keys may be kept. Unavailable: not positive.
Result<std::chrono::seconds> checkRefreshHint(std::int64_t seconds);

// The longest life that the signer gives a token. Unavailable: shorter than Kubernetes asks for.
Result<std::chrono::seconds> checkMaxTokenLife(std::int64_t seconds);

// The header's key id. Unavailable: it is no JSON object with `typ`, `alg` and `kid` and nothing else, or these are not as they must be.
Result<std::string> keyIdOfHeader(std::string_view header);

// The token of claims (base64url) and what Sign answered, its signature verified. Unavailable: as keyIdOfHeader; an excluded or unknown
// key; a signature that is empty or not the key's.
Result<Secret> assembleToken(const KeyRing& ring, std::string_view header, std::string_view claims, std::string_view signature);

}  // namespace podpass::token
