#include "auth/oidc.h"

#include <algorithm>

#include "base/text.h"

namespace podpass::auth {
namespace {

constexpr std::string_view kReserved = "system:";

Error bad(std::string sentence) { return Error{Reason::Unauthorized, "oidc: " + std::move(sentence)}; }

}  // namespace

Result<std::unique_ptr<Oidc>> Oidc::make(OidcOptions options, boost::asio::thread_pool& pool, const Clock& clock) {
  if (options.clientId.empty()) return Error{Reason::BadRequest, "an OIDC issuer needs a client id", "give --oidc-client-id"};
  token::TrustedIssuer issuer;
  for (const std::string& algorithm : options.signingAlgorithms)
    if (std::find(issuer.algorithms.begin(), issuer.algorithms.end(), algorithm) == issuer.algorithms.end())
      return Error{Reason::BadRequest, "the OIDC signing algorithm " + quoted(algorithm) + " is not known"};
  issuer.url = options.issuerUrl;
  issuer.audiences = {options.clientId};
  issuer.algorithms = options.signingAlgorithms;
  issuer.caPem = options.caPem;
  issuer.skew = options.skew;
  std::unique_ptr<Oidc> oidc(new Oidc(std::move(options), pool, clock));
  if (Result<void> trusted = oidc->party_.trust({std::move(issuer)}); !trusted) return trusted.error();
  return oidc;
}

boost::asio::awaitable<std::optional<Result<User>>> Oidc::authenticate(std::string token) {
  const Result<token::PresentedToken> presented = token::parseToken(token);
  if (!presented || presented->issuer != options_.issuerUrl) co_return std::nullopt;
  const Result<token::VerifiedToken> verified = co_await party_.verify(token);
  if (!verified) co_return verified.error();
  co_return userOf(*verified);
}

Result<User> Oidc::userOf(const token::VerifiedToken& token) const {
  const json::object& claims = token.claims;
  for (const auto& [name, value] : options_.requiredClaims)
    if (textAt(claims, {name}) != value)
      return bad("the claim " + name + " is " + quoted(textAt(claims, {name})) + ", required is " + quoted(value));
  const std::string name(textAt(claims, {options_.usernameClaim}));
  if (name.empty()) return bad("the token has no claim " + options_.usernameClaim + " for the user's name");
  const bool byMail = options_.usernameClaim == "email";
  if (byMail && claims.contains("email_verified") && !booleanAt(claims, {"email_verified"}))
    return bad("the email address is not verified");
  std::string prefix = options_.usernamePrefix == "-" ? "" : options_.usernamePrefix;
  if (options_.usernamePrefix.empty() && !byMail) prefix = options_.issuerUrl + "#";
  User user{.name = prefix + name};
  if (user.name.starts_with(kReserved)) return bad("the name " + quoted(user.name) + " is reserved for Kubernetes' own users");
  if (options_.groupsClaim.empty()) return user;
  const auto add = [&](std::string_view group) {
    const std::string full = options_.groupsPrefix + std::string(group);
    if (!group.empty() && !full.starts_with(kReserved)) user.groups.push_back(full);
  };
  const json::value* groups = claims.if_contains(options_.groupsClaim);
  if (groups != nullptr && groups->is_string()) add(groups->get_string());
  if (groups != nullptr && groups->is_array())
    for (const json::value& group : groups->get_array()) {
      if (!group.is_string()) return bad("the claim " + options_.groupsClaim + " holds something that is not a string");
      add(group.get_string());
    }
  return user;
}

}  // namespace podpass::auth
