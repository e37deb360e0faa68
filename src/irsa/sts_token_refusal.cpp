#include "irsa/sts_token_refusal.h"

#include <optional>

#include "base/log.h"

namespace podpass::irsa {
namespace {

Refusal invalidToken(std::string message) { return {400, "InvalidIdentityToken", std::move(message)}; }

std::int64_t seconds(WallTime time) { return std::chrono::duration_cast<std::chrono::seconds>(time.time_since_epoch()).count(); }

// The claim that is missing, or not of its form.
std::string claimOf(const std::string& expected) { return expected.substr(0, expected.find(' ')); }

// Not being reached is the one answer that every SDK retries.
Refusal discoveryRefusal(token::Obstacle obstacle) {
  if (obstacle == token::Obstacle::Certificate)
    return invalidToken("OpenIDConnect provider's HTTPS certificate doesn't match configured thumbprint");
  if (obstacle == token::Obstacle::Unreachable)
    return {400, "IDPCommunicationError", "Couldn't reach your identity provider to verify the incoming identity token"};
  return invalidToken(
      "Couldn't retrieve verification key from your identity provider,  please reference AssumeRoleWithWebIdentity documentation for "
      "requirements");
}

Refusal answerFor(const token::Refusal& refused, const std::string& token, WallTime now) {
  if (refused.check == "form")
    return invalidToken("The ID Token provided is not a valid JWT. (You may see this error if you sent an Access Token)");
  if (refused.check == "claims") return invalidToken("Missing a required claim: " + claimOf(refused.expected));
  if (refused.check == "issuer") return invalidToken("No OpenIDConnect provider found in your account for " + refused.found);
  if (refused.check == "audience") return invalidToken("Incorrect token audience");
  if (refused.check == "signature") return invalidToken("Signature verification failed");
  if (refused.check == "time") {
    const Result<token::PresentedToken> parsed = token::parseToken(token);
    if (!parsed || parsed->expires > seconds(now)) return invalidToken("Token is not valid yet");
    return {400, "ExpiredTokenException",
            "Token expired: current date/time " + std::to_string(seconds(now)) + " must be before the expiration date/time " +
                std::to_string(parsed->expires)};
  }
  return discoveryRefusal(refused.obstacle);  // also of key id and algorithm, which have none: the key could not be had
}

}  // namespace

Refusal tokenRefusal(const Error& error, const std::string& token, WallTime now) {
  const std::optional<token::Refusal> refused = token::refusalOf(error);
  Refusal refusal = refused ? answerFor(*refused, token, now) : internalFailure();
  refusal.check = refused ? refused->check : "internal";
  refusal.reason = log::chain(error);
  refusal.fix = error.fix;
  return refusal;
}

}  // namespace podpass::irsa
