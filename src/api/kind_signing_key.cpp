#include "api/causes.h"
#include "api/fields.h"
#include "api/kinds.h"

// The key ring as an API: each key that signs or verifies service account tokens, with its public half only.
namespace podpass::api {
namespace {

void onlyForward(const json::object& now, const json::object& before, Causes& causes) {
  const std::string_view algorithm = textAt(now, {"spec", "algorithm"});
  if (algorithm != textAt(before, {"spec", "algorithm"})) causes.push_back(invalidText("spec.algorithm", algorithm, "field is immutable"));
  if (textAt(now, {"spec", "object"}) != textAt(before, {"spec", "object"}))
    causes.push_back(invalidText("spec.object", textAt(now, {"spec", "object"}), "field is immutable"));
  if (booleanAt(before, {"spec", "revoked"}) && !booleanAt(now, {"spec", "revoked"}))
    causes.push_back(forbiddenField("spec.revoked", "a revoked key's private half is gone; rotate to a new key instead"));
}

}  // namespace

const Kind& signingKeyKind() {
  static const Kind kind{
      .group = "identity.podpass.dev",
      .version = "v1",
      .kind = "SigningKey",
      .plural = "signingkeys",
      .singular = "signingkey",
      .hasStatus = true,
      .hasGeneration = true,
      .doc =
          "SigningKey is a key that signs or verifies service account tokens. Creating one starts a rotation: the server makes the key, "
          "publishes it, and signs with it once every relying party can have seen it.",
      .definition = "dev.podpass.identity.v1.SigningKey",
      .fields = {required(object("spec", 2,
                                 {required(oneOf({"RS256", "RS256-3072", "RS256-4096", "ES256", "ES384", "ES512", "EdDSA"},
                                                 text("algorithm", 1, "What it signs with; RS256 alone is 2048 bits."))),
                                  flag("revoked", 2, "True ends it at once: its tokens are refused and it is published no more."),
                                  text("object", 3, "Label of an existing key of the PKCS#11 token to take, instead of a new one.")},
                                 "What the key is for.")),
                 object("status", 3,
                        {text("kid", 1, "Key id in tokens and in the JWKS."),
                         text("state", 2, "Published (not signing yet), Active, Retiring (verifies only) or Retired."),
                         time("publishedTime", 3, "When it came into the JWKS."), time("activatedTime", 4, "When it began to sign."),
                         time("retiringTime", 5, "When it ceased to sign."), time("retiredTime", 6, "When it left the JWKS."),
                         time("tokensUntil", 7, "No token that it signed is valid after this."),
                         flag("imported", 8, "It came from a key file; how long its tokens live is known only if podpass signed them."),
                         flag("verifyOnly", 9, "The private half is not here."),
                         text(
                             "sealedBy", 10,
                             "The key-encryption key that the private half is sealed with; of a key that a token holds, what all else is."),
                         time("legacyTokensMovedTime", 11, "When token Secrets that it had signed were signed anew by its successor."),
                         anything("publicKey", 12, "The JWK that is published."),
                         integer("liveTokens", 13, "Its tokens that this server has issued and that are alive; counted when it is read."),
                         text("heldBy", 14, "The PKCS#11 object that has the private half, which never leaves its token."),
                         text("message", 15, "Why it is not further.")},
                        "Where it is in its life.")},
      .columns = {textColumn("KID", {"status", "kid"}, "<none>"), textColumn("Algorithm", {"spec", "algorithm"}),
                  textColumn("State", {"status", "state"}, "Pending"), liveTokensColumn(),
                  textColumn("Tokens-Until", {"status", "tokensUntil"}, "<none>"), ageColumn()},
      // No /status: whoever could write it could have any key trusted.
      .validateUpdate = onlyForward};
  return kind;
}

}  // namespace podpass::api
