#include "cli/oidc_flags.h"

#include "base/file.h"
#include "base/text.h"

namespace podpass::cli {

void OidcFlags::addTo(Command verb) {
  Option issuer = verb.option("--oidc-issuer-url", options.issuerUrl, "users may come with ID tokens of this OpenID Connect issuer");
  const auto add = [&](const char* flag, auto& value, const char* doc) { return verb.option(flag, value, doc).needs(issuer); };
  issuer.needs(add("--oidc-client-id", options.clientId, "the audience that ID tokens must have"));
  add("--oidc-username-claim", options.usernameClaim, "claim that is the user's name").showDefault();
  add("--oidc-username-prefix", options.usernamePrefix, "put before the name; - for none; default: ISSUER#, and none for the claim email");
  add("--oidc-groups-claim", options.groupsClaim, "claim with the user's groups");
  add("--oidc-groups-prefix", options.groupsPrefix, "put before each group");
  add("--oidc-required-claim", requiredClaims, "NAME=VALUE that ID tokens must say; may be repeated");
  add("--oidc-signing-algs", options.signingAlgorithms, "accepted algorithms, separated by commas").splitAt(',');
  add("--oidc-ca-file", caFile, "CA certificate of the issuer; default: the system's");
}

Result<std::unique_ptr<auth::Oidc>> OidcFlags::open(const RelyingFlags& relying, boost::asio::thread_pool& pool, const Clock& clock) const {
  if (options.issuerUrl.empty()) return std::unique_ptr<auth::Oidc>();
  auth::OidcOptions complete = options;
  complete.skew = std::chrono::seconds(relying.skewSeconds);
  Result<http::AddressRules> rules = relying.rules();
  if (!rules) return rules.error();
  complete.rules = *std::move(rules);
  for (const std::string& pair : requiredClaims) {
    const std::size_t equals = pair.find('=');
    if (equals == 0 || equals == std::string::npos)
      return Error{Reason::BadRequest, "--oidc-required-claim is NAME=VALUE, not " + quoted(pair)};
    complete.requiredClaims[pair.substr(0, equals)] = pair.substr(equals + 1);
  }
  if (!caFile.empty()) {
    Result<std::string> pem = readFile(caFile);
    if (!pem) return pem.error();
    complete.caPem = *std::move(pem);
  }
  return auth::Oidc::make(std::move(complete), pool, clock);
}

}  // namespace podpass::cli
