#include "api/fields.h"
#include "api/kinds.h"
#include "base/text.h"

// The issuers whose tokens the API server accepts, and what still lives under each: what a change of the issuer's URL waits for.
namespace podpass::api {
namespace {

json::value usedAgo(const json::object& object, WallTime now) {
  const std::string_view last = textAt(object, {"status", "lastUsedTime"});
  return json::value(last.empty() ? "<never>" : ageOf(last, now));
}

}  // namespace

const Kind& tokenIssuerKind() {
  static const Kind kind{
      .group = "identity.podpass.dev",
      .version = "v1",
      .kind = "TokenIssuer",
      .plural = "tokenissuers",
      .singular = "tokenissuer",
      .isComputed = true,
      .doc =
          "TokenIssuer is a value of the claim iss that the API server accepts: the one that it writes into tokens, those of before, and "
          "the one of token Secrets. They follow --issuer; the server writes them.",
      .definition = "dev.podpass.identity.v1.TokenIssuer",
      .fields = {object("spec", 2, {text("url", 1, "The claim iss, byte for byte.")}, "Which."),
                 object("status", 3,
                        {text("state", 1, "Signing (new tokens name it), Accepted (older ones do) or Legacy (token Secrets do)."),
                         integer("liveTokens", 2, "Tokens alive that this server has issued; of Legacy the token Secrets."),
                         time("lastExpirationTime", 3, "When the last of them expires; those of Secrets do not."),
                         time("lastUsedTime", 4, "When this server saw one in use last; to five minutes, of Legacy to a day."),
                         boolean("complete", 5, "False: tokens may live that are not counted."),
                         time("unlistedUntilTime", 6, "None of those lives longer; empty: nobody knows, or it is complete."),
                         time("killedAfterTime", 7, "The server was killed soon after; tokens of its last second may not be counted.")},
                        "What lives under it.")},
      .columns = {textColumn("URL", {"spec", "url"}),
                  textColumn("State", {"status", "state"}),
                  liveTokensColumn(),
                  textColumn("Last-Expires", {"status", "lastExpirationTime"}, "<none>"),
                  {.name = "Last-Used", .doc = "Time since this server saw one.", .cell = usedAgo}},
      .verbs = {"get", "list"}};
  return kind;
}

}  // namespace podpass::api
