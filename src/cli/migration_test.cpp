#include "cli/migration.h"

#include <gtest/gtest.h>

#include "base/text.h"

namespace podpass::cli {
namespace {

const WallTime kNow = *parseRfc3339("2026-03-01T12:00:00Z");

json::object parsed(const char* text) { return json::parse(text).as_object(); }

TEST(Migration, SaysOfAnIssuerWhenItCanGo) {
  struct Case {
    const char* why;
    const char* status;
    bool old, safe;
    const char* from;  // "": not said
  };
  const Case cases[] = {
      {"it signs", R"({"state":"Signing","liveTokens":3,"complete":true})", false, false, ""},
      {"nothing lives", R"({"state":"Accepted","liveTokens":0,"complete":true})", true, true, ""},
      {"some live", R"({"state":"Accepted","liveTokens":2,"complete":true,"lastExpirationTime":"2026-03-01T13:00:00Z"})", true, false,
       "2026-03-01T13:01:00Z"},
      {"the inventory is younger than tokens may be",
       R"({"state":"Accepted","liveTokens":0,"complete":false,"unlistedUntilTime":"2026-03-02T00:00:00Z"})", true, false,
       "2026-03-02T00:01:00Z"},
      {"the later of the two",
       R"({"state":"Accepted","liveTokens":1,"complete":false,"unlistedUntilTime":"2026-03-01T12:30:00Z","lastExpirationTime":"2026-03-01T13:00:00Z"})",
       true, false, "2026-03-01T13:01:00Z"},
      {"nobody knows", R"({"state":"Accepted","liveTokens":0,"complete":false})", true, false, ""}};
  for (const Case& c : cases) {
    SCOPED_TRACE(c.why);
    const DropVerdict verdict = issuerVerdict({{"status", parsed(c.status)}}, kNow);
    EXPECT_EQ(verdict.old, c.old);
    EXPECT_EQ(verdict.safe, c.safe);
    EXPECT_EQ(verdict.safeFrom ? rfc3339(*verdict.safeFrom) : "", c.from);
    EXPECT_FALSE(verdict.why.empty());
  }
}

TEST(Migration, SaysOfAKeyWhenItCanGo) {
  struct Case {
    const char* why;
    const char* key;
    bool old, safe;
    const char* from;
  };
  const Case cases[] = {
      {"it signs", R"({"status":{"state":"Active"}})", false, false, ""},
      {"it will", R"({"status":{"state":"Published"}})", false, false, ""},
      {"it was promised to tokens", R"({"status":{"state":"Retiring","tokensUntil":"2026-03-01T12:00:00Z","liveTokens":0}})", true, false,
       "2026-03-01T12:01:00Z"},
      {"and they are dead", R"({"status":{"state":"Retiring","tokensUntil":"2026-03-01T11:59:00Z"}})", true, true, ""},
      {"others signed with it", R"({"status":{"state":"Retiring","imported":true,"tokensUntil":"2026-02-01T00:00:00Z"}})", true, false, ""},
      {"it has gone", R"({"status":{"state":"Retired"}})", true, true, ""},
      {"it was revoked", R"({"spec":{"revoked":true},"status":{"state":"Active"}})", true, true, ""}};
  for (const Case& c : cases) {
    SCOPED_TRACE(c.why);
    const DropVerdict verdict = keyVerdict(parsed(c.key), kNow);
    EXPECT_EQ(verdict.old, c.old);
    EXPECT_EQ(verdict.safe, c.safe);
    EXPECT_EQ(verdict.safeFrom ? rfc3339(*verdict.safeFrom) : "", c.from);
  }
}

DocumentPtr tokenOf(const char* subject, const char* lastUsed, const char* expires) {
  json::object spec{{"subject", subject}, {"audiences", json::array{"a", "b"}}, {"expirationTimestamp", expires}};
  json::object status;
  if (*lastUsed != '\0') status["lastUsedTime"] = lastUsed;
  return std::make_shared<Document>(Document{{{"spec", std::move(spec)}, {"status", std::move(status)}}, "", 1});
}

TEST(Migration, TellsWhoHoldsTokensThoseInUseFirst) {
  const std::vector<TokenUser> users =
      usersOf({tokenOf("x", "", "2026-03-01T12:30:00Z"), tokenOf("y", "2026-03-01T11:00:00Z", "2026-03-01T13:00:00Z"),
               tokenOf("x", "", "2026-03-01T14:00:00Z")});
  ASSERT_EQ(users.size(), 2u);
  EXPECT_EQ(users[0].subject, "y");
  EXPECT_EQ(users[0].lastUsed, "2026-03-01T11:00:00Z");
  EXPECT_EQ(users[1].tokens, 2u);
  EXPECT_EQ(users[1].lastExpires, "2026-03-01T14:00:00Z");
}

TEST(Migration, IsToldToPeopleAndPrograms) {
  Migration migration;
  EXPECT_TRUE(migration.safe()) << "there is nothing old";
  MigrationEntry entry{.kind = "issuer", .name = "https://old", .state = "Accepted", .liveTokens = 1};
  entry.verdict = {.old = true, .safeFrom = kNow, .why = "1 token lives under it"};
  entry.users = usersOf({tokenOf("x", "", "2026-03-01T12:30:00Z")});
  migration.entries.push_back(entry);
  migration.legacyTokens = 2;
  migration.legacyLastUsed = "2026-02-27T00:00:00Z";
  EXPECT_FALSE(migration.safe());
  EXPECT_EQ(migration.text(),
            "issuer https://old (Accepted): 1 live\n"
            "  not before 2026-03-01T12:00:00Z: 1 token lives under it\n"
            "    x for a,b: 1, until 2026-03-01T12:30:00Z, not seen in use\n"
            "token Secrets: 2, last used 2026-02-27\n"
            "  they never expire and name no issuer of yours; when a key retires they are signed anew with the next\n");
  const json::object document = migration.toJson();
  EXPECT_FALSE(booleanAt(document, {"safe"}, true));
  EXPECT_EQ(textAt((*arrayAt(document, {"issuers"}))[0].as_object(), {"safeFrom"}), "2026-03-01T12:00:00Z");
}

}  // namespace
}  // namespace podpass::cli
