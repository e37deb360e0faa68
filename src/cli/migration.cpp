#include "cli/migration.h"

#include <algorithm>
#include <map>

#include "base/text.h"

namespace podpass::cli {
namespace {

using namespace std::chrono_literals;

constexpr auto kLeeway = 60s;  // verifiers accept a token for so long after it has expired
constexpr std::size_t kUsersShown = 20;

std::optional<WallTime> timeAt(const json::object& object, std::string_view member) {
  const Result<WallTime> time = parseRfc3339(textAt(object, {"status", member}));
  return time ? std::optional(*time) : std::nullopt;
}

std::string counted(std::int64_t tokens) { return std::to_string(tokens) + (tokens == 1 ? " token lives" : " tokens live"); }

std::string shownVerdict(const DropVerdict& verdict) {
  if (!verdict.old) return verdict.why;
  if (verdict.safe) return "safe to drop now: " + verdict.why;
  if (!verdict.safeFrom) return "not known when it is safe to drop: " + verdict.why;
  return "not before " + rfc3339(*verdict.safeFrom) + ": " + verdict.why;
}

json::object toJson(const MigrationEntry& entry) {
  json::object shown{{"name", entry.name}, {"state", entry.state}, {"liveTokens", entry.liveTokens}, {"old", entry.verdict.old}};
  if (entry.verdict.old) shown["safe"] = entry.verdict.safe;
  if (entry.verdict.safeFrom) shown["safeFrom"] = rfc3339(*entry.verdict.safeFrom);
  shown["why"] = entry.verdict.why;
  if (!entry.note.empty()) shown["note"] = entry.note;
  json::array users;
  for (const TokenUser& user : entry.users) {
    json::object each{{"subject", user.subject}, {"audiences", user.audiences}, {"tokens", user.tokens}, {"lastExpires", user.lastExpires}};
    if (!user.lastUsed.empty()) each["lastUsed"] = user.lastUsed;
    users.push_back(std::move(each));
  }
  if (entry.verdict.old) shown["users"] = std::move(users);
  return shown;
}

}  // namespace

DropVerdict issuerVerdict(const json::object& issuer, WallTime now) {
  if (textAt(issuer, {"status", "state"}) != "Accepted") return {.why = "new tokens name it"};
  DropVerdict verdict{.old = true};
  const std::int64_t tokens = integerAt(issuer, {"status", "liveTokens"});
  const bool complete = booleanAt(issuer, {"status", "complete"});
  WallTime from = now;
  if (const std::optional<WallTime> last = timeAt(issuer, "lastExpirationTime"); last && tokens > 0) from = *last + kLeeway;
  if (tokens > 0) verdict.why = counted(tokens) + " under it";
  if (complete && tokens == 0) return {.old = true, .safe = true, .why = "no token lives under it"};
  if (complete) {
    verdict.safeFrom = from;
    return verdict;
  }
  verdict.why += (verdict.why.empty() ? "" : ", and ") + std::string("others may that are not listed");
  if (const std::optional<WallTime> unlisted = timeAt(issuer, "unlistedUntilTime")) verdict.safeFrom = std::max(from, *unlisted + kLeeway);
  return verdict;
}

// A key promises how long its tokens live before it signs one, on every server: that is sure, whatever the inventory has missed.
DropVerdict keyVerdict(const json::object& key, WallTime now) {
  const std::string_view state = textAt(key, {"status", "state"});
  if (state == "Retired" || booleanAt(key, {"spec", "revoked"})) return {.old = true, .safe = true, .why = "nothing verifies with it"};
  if (state != "Retiring") return {.why = state == "Active" ? "it signs" : "it will sign"};
  DropVerdict verdict{.old = true};
  if (booleanAt(key, {"status", "imported"})) {
    verdict.why = "it came from a file, and others may have signed with it; `podpass keys revoke` ends it";
    if (const std::int64_t tokens = integerAt(key, {"status", "liveTokens"}); tokens > 0)
      verdict.why = counted(tokens) + " under it; " + verdict.why;
    return verdict;
  }
  const std::optional<WallTime> until = timeAt(key, "tokensUntil");
  if (!until || *until + kLeeway <= now) return {.old = true, .safe = true, .why = "its last token has expired; it leaves by itself"};
  verdict.safeFrom = *until + kLeeway;
  verdict.why = counted(integerAt(key, {"status", "liveTokens"})) + " under it; it leaves by itself";
  return verdict;
}

std::vector<TokenUser> usersOf(const std::vector<DocumentPtr>& issuedTokens) {
  std::map<std::pair<std::string, std::string>, TokenUser> users;
  for (const DocumentPtr& token : issuedTokens) {
    std::string audiences;
    if (const json::array* all = arrayAt(token->value, {"spec", "audiences"}))
      for (const json::value& each : *all)
        if (each.is_string()) audiences += (audiences.empty() ? "" : ",") + std::string(each.get_string());
    const std::string subject(textAt(token->value, {"spec", "subject"}));
    TokenUser& user = users[{subject, audiences}];
    user.subject = subject;
    user.audiences = audiences;
    ++user.tokens;
    user.lastUsed = std::max(user.lastUsed, std::string(textAt(token->value, {"status", "lastUsedTime"})));
    user.lastExpires = std::max(user.lastExpires, std::string(textAt(token->value, {"spec", "expirationTimestamp"})));
  }
  std::vector<TokenUser> all;
  for (auto& [key, user] : users) all.push_back(std::move(user));
  std::stable_sort(all.begin(), all.end(), [](const TokenUser& a, const TokenUser& b) { return a.lastUsed > b.lastUsed; });
  return all;
}

bool Migration::safe() const {
  return std::all_of(entries.begin(), entries.end(), [](const MigrationEntry& entry) { return !entry.verdict.old || entry.verdict.safe; });
}

std::string Migration::text() const {
  std::string out;
  for (const MigrationEntry& entry : entries) {
    out += entry.kind + " " + entry.name + " (" + entry.state + "): " + std::to_string(entry.liveTokens) + " live\n  " +
           shownVerdict(entry.verdict) + "\n";
    for (std::size_t i = 0; i < entry.users.size() && i < kUsersShown; ++i) {
      const TokenUser& user = entry.users[i];
      out += "    " + user.subject + " for " + user.audiences + ": " + std::to_string(user.tokens) + ", until " + user.lastExpires +
             (user.lastUsed.empty() ? ", not seen in use" : ", last used " + user.lastUsed) + "\n";
    }
    if (entry.users.size() > kUsersShown) out += "    and " + std::to_string(entry.users.size() - kUsersShown) + " more: -o json has all\n";
    if (!entry.note.empty()) out += "  note: " + entry.note + "\n";
  }
  if (legacyTokens > 0)
    out += "token Secrets: " + std::to_string(legacyTokens) +
           (legacyLastUsed.empty() ? "" : ", last used " + legacyLastUsed.substr(0, 10)) +
           "\n  they never expire and name no issuer of yours; when a key retires they are signed anew with the next\n";
  return out;
}

json::object Migration::toJson() const {
  json::array issuers, keys;
  for (const MigrationEntry& entry : entries) (entry.kind == "issuer" ? issuers : keys).push_back(cli::toJson(entry));
  json::object legacy{{"tokens", legacyTokens}};
  if (!legacyLastUsed.empty()) legacy["lastUsed"] = legacyLastUsed;
  return {{"safe", safe()}, {"issuers", std::move(issuers)}, {"keys", std::move(keys)}, {"legacy", std::move(legacy)}};
}

}  // namespace podpass::cli
