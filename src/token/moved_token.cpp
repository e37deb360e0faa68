#include "token/moved_token.h"

#include <string>

#include "base/text.h"

namespace podpass::token {
namespace {

constexpr std::size_t kHash = 43;       // characters
constexpr std::size_t kRemembered = 4;  // rotations within one life of a JWKS

std::string hashOf(std::string_view token) { return base64UrlEncode(sha256(token)); }

// What follows NOW, as ".OLD.OLDER"; "" when the annotation is about another token than `now`.
std::string_view olderThan(const json::object& secret, std::string_view now) {
  const std::string_view said = textAt(secret, {"metadata", "annotations", kMovedFrom});
  return said.starts_with(now) ? said.substr(now.size()) : std::string_view();
}

}  // namespace

void recordMove(json::object& secret, std::string_view old, std::string_view next) {
  const std::string replaced = hashOf(old);
  const std::string older = "." + replaced + std::string(olderThan(secret, replaced));
  makeObjectAt(secret, {"metadata", "annotations"})[kMovedFrom] = hashOf(next) + older.substr(0, kRemembered * (kHash + 1));
}

bool hasReplaced(const json::object& secret, std::string_view stored, std::string_view presented) {
  return !stored.empty() && (std::string(olderThan(secret, hashOf(stored))) + ".").find("." + hashOf(presented) + ".") != std::string::npos;
}

}  // namespace podpass::token
