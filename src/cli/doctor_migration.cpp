#include <cstdio>

#include "api/kinds.h"
#include "api/selector.h"
#include "cli/access_flags.h"
#include "cli/migration.h"
#include "cli/verbs.h"
#include "client/remote_client.h"

namespace podpass::cli {
namespace {

struct Options {
  client::AccessChoice access;
  std::string output = "text";
};

// Those who hold tokens of what is old; nothing for what is not.
Result<std::vector<TokenUser>> usersIn(api::Client& server, const MigrationEntry& entry, const std::string& field, std::string_view value) {
  if (!entry.verdict.old || entry.liveTokens == 0) return std::vector<TokenUser>();
  const Result<api::Listing> tokens = server.list(api::issuedTokenKind(), "", {.fields = field + "=" + api::escapedFieldValue(value)});
  if (!tokens) return tokens.error();
  return usersOf(tokens->items);
}

Result<void> addIssuers(api::Client& server, WallTime now, Migration& migration) {
  const Result<api::Listing> issuers = server.list(api::tokenIssuerKind(), "", {});
  if (!issuers) return issuers.error();
  for (const DocumentPtr& issuer : issuers->items) {
    const json::object& value = issuer->value;
    MigrationEntry entry{.kind = "issuer", .name = std::string(textAt(value, {"spec", "url"}))};
    entry.state = textAt(value, {"status", "state"});
    entry.liveTokens = integerAt(value, {"status", "liveTokens"});
    if (entry.state == "Legacy") {
      migration.legacyTokens = entry.liveTokens;
      migration.legacyLastUsed = textAt(value, {"status", "lastUsedTime"});
      continue;
    }
    entry.verdict = issuerVerdict(value, now);
    if (const std::string_view killed = textAt(value, {"status", "killedAfterTime"}); entry.verdict.old && !killed.empty())
      entry.note = "the server was killed soon after " + std::string(killed) + ": tokens of its last second may not be listed";
    Result<std::vector<TokenUser>> users = usersIn(server, entry, "spec.issuer", entry.name);
    if (!users) return users.error();
    entry.users = *std::move(users);
    migration.entries.push_back(std::move(entry));
  }
  return {};
}

Result<void> addKeys(api::Client& server, WallTime now, Migration& migration) {
  const Result<api::Listing> keys = server.list(api::signingKeyKind(), "", {});
  if (!keys) return keys.error();
  for (const DocumentPtr& key : keys->items) {
    const json::object& value = key->value;
    const std::string_view kid = textAt(value, {"status", "kid"});
    MigrationEntry entry{.kind = "key", .name = std::string(textAt(value, {"metadata", "name"})) + " " + std::string(kid)};
    entry.state = kid.empty() ? "Pending" : textAt(value, {"status", "state"});
    entry.liveTokens = integerAt(value, {"status", "liveTokens"});
    entry.verdict = keyVerdict(value, now);
    Result<std::vector<TokenUser>> users = usersIn(server, entry, "spec.keyID", kid);
    if (!users) return users.error();
    entry.users = *std::move(users);
    migration.entries.push_back(std::move(entry));
  }
  return {};
}

int examine(const Options& options) {
  Result<client::Access> access = client::findAccess(options.access);
  if (!access) return refuse(access.error());
  client::RemoteClient server(*std::move(access));
  const WallTime now = SystemClock().now();
  Migration migration;
  for (const auto add : {addIssuers, addKeys})
    if (const Result<void> added = add(server, now, migration); !added) return refuse(added.error());
  if (options.output == "text")
    std::fputs(migration.text().c_str(), stdout);
  else
    print(migration.toJson(), options.output);
  return migration.safe() ? kYes : kNo;
}

}  // namespace

void addDoctorMigration(Command doctor) {
  auto options = std::make_shared<Options>();
  const Command verb = doctor.command(
      "migration",
      "a change of issuer or key: what lives under the old one, who still uses it, when it can go; exit status 1 when not yet");
  addOutput(verb, options->output);
  addAccessFlags(verb, options->access);
  verb.runs([options] { return examine(*options); });
}

}  // namespace podpass::cli
