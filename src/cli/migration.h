#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/document.h"

// What a change of the issuer's URL, or of a key, still waits for.
namespace podpass::cli {

// Whether an issuer or a key can be dropped without a refused token.
struct DropVerdict {
  bool old = false;                       // something newer has taken its place; else there is nothing to drop
  bool safe = false;                      // now
  std::optional<WallTime> safeFrom = {};  // when `safe` is false; nullopt: nobody knows
  std::string why = {};                   // for people
};
DropVerdict issuerVerdict(const json::object& tokenIssuer, WallTime now);
DropVerdict keyVerdict(const json::object& signingKey, WallTime now);

// Who holds tokens, those that were seen in use last first.
struct TokenUser {
  std::string subject = {}, audiences = {};  // system:serviceaccount:NAMESPACE:NAME; by commas
  std::size_t tokens = 0;
  std::string lastUsed = {}, lastExpires = {};  // RFC 3339; lastUsed "": never seen
};
std::vector<TokenUser> usersOf(const std::vector<DocumentPtr>& issuedTokens);

struct MigrationEntry {
  std::string kind, name = {}, state = {};  // "issuer" or "key"; its URL, or name and kid
  std::int64_t liveTokens = 0;
  DropVerdict verdict = {};
  std::vector<TokenUser> users = {};  // of what is old
  std::string note = {};              // what is not known exactly
};
struct Migration {
  std::vector<MigrationEntry> entries;
  std::int64_t legacyTokens = 0;
  std::string legacyLastUsed;
  [[nodiscard]] bool safe() const;  // whatever is old can be dropped now
  [[nodiscard]] std::string text() const;
  [[nodiscard]] json::object toJson() const;
};

}  // namespace podpass::cli
