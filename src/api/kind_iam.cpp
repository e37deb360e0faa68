#include <algorithm>
#include <boost/asio/ip/address.hpp>

#include "api/causes.h"
#include "api/codec.h"
#include "api/fields.h"
#include "api/kinds.h"
#include "api/trust_policy.h"
#include "base/text.h"

// Roles and OIDC providers as AWS IAM knows them (spec irsa.md §3), as ordinary kinds.
namespace podpass::api {
namespace {

constexpr std::string_view kGroup = "iam.podpass.dev";

bool isNameCharacter(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
         std::string_view("_+=,.@-").find(c) != std::string_view::npos;
}

// IAM's rule, not Kubernetes': roles are called ReadOnly_prod, and their ARNs are case-sensitive.
std::string_view roleNameProblem(std::string_view name) {
  if (name.empty() || name.size() > 64) return "must be 1 to 64 characters";
  if (!std::all_of(name.begin(), name.end(), isNameCharacter)) return "must consist of letters, digits and _+=,.@-";
  return pathSegmentProblem(name);
}

std::string_view rolePathProblem(std::string_view path) {
  const auto printable = [](char c) { return c >= '!' && c <= '~'; };
  const bool good =
      !path.empty() && path.size() <= 512 && path.front() == '/' && path.back() == '/' && std::all_of(path.begin(), path.end(), printable);
  return good ? "" : "must begin and end with / and consist of printable ASCII characters, at most 512";
}

// A name that looks like an address, 127.evil.example, is none.
bool isLoopback(std::string_view host) {
  if (host.starts_with("[") && host.ends_with("]")) host = host.substr(1, host.size() - 2);
  boost::system::error_code failed;
  const auto address = boost::asio::ip::make_address(std::string(host), failed);
  return failed ? host == "localhost" : address.is_loopback();
}

std::string_view providerUrlProblem(std::string_view url) {
  if (url.size() > 255) return "must be at most 255 characters";
  const bool plain = url.starts_with("http://");
  if (!plain && !url.starts_with("https://")) return "must begin with https://";
  const std::string_view rest = url.substr(url.find("//") + 2);
  const std::string_view host = rest.substr(0, rest.find_first_of("/:", rest.starts_with("[") ? rest.find(']') : 0));
  if (host.empty()) return "must have a host";
  if (plain && !isLoopback(host)) return "must begin with https://; http:// is for issuers on loopback only";
  if (url.find_first_of("?# @") != std::string_view::npos) return "must have no query, fragment, user or blank";
  return {};
}

std::string_view clientIdProblem(std::string_view id) { return !id.empty() && id.size() <= 255 ? "" : "must be 1 to 255 characters"; }

std::string_view thumbprintProblem(std::string_view text) {
  const bool good = text.size() == 40 && text.find_first_not_of("0123456789abcdefABCDEF") == std::string_view::npos;
  return good ? "" : "must be 40 hexadecimal digits: the SHA-1 of a CA certificate";
}

void validateRole(const json::object& role, Causes& causes) {
  const json::object* spec = objectAt(role, {"spec"});
  const json::value* document = spec == nullptr ? nullptr : spec->if_contains("trustPolicy");
  if (document == nullptr) return;
  const Result<TrustPolicy> policy = parseTrustPolicy(*document);
  if (policy) return;
  const Cause& cause = policy.error().causes.front();
  causes.push_back({"spec.trustPolicy", "Invalid value: " + cause.reason + ": " + policy.error().sentence, "FieldValueInvalid"});
}

void validateProvider(const json::object& provider, Causes& causes) {
  const auto atMost = [&](std::string_view member, std::size_t most) {
    const json::array* list = arrayAt(provider, {"spec", member});
    if (list != nullptr && list->size() > most)
      causes.push_back({under("spec", member),
                        "Too many: " + std::to_string(list->size()) + ": must have at most " + std::to_string(most) + " items",
                        "FieldValueTooMany"});
  };
  atMost("clientIDs", 100);
  atMost("thumbprints", 5);
  const Result<std::string> pem = base64Decode(textAt(provider, {"spec", "caBundle"}));
  if (pem && !pem->empty() && pem->find("-----BEGIN CERTIFICATE-----") == std::string::npos)
    causes.push_back({"spec.caBundle", "Invalid value: must be certificates in PEM", "FieldValueInvalid"});
}

// The URL is what a provider is, and is in its ARN.
void keepUrl(const json::object& now, const json::object& before, Causes& causes) {
  const std::string_view url = textAt(now, {"spec", "url"});
  if (url != textAt(before, {"spec", "url"})) causes.push_back(invalidText("spec.url", url, "field is immutable"));
}

}  // namespace

const Kind& iamRoleKind() {
  static const Kind kind{
      .group = kGroup,
      .version = "v1",
      .kind = "Role",
      .plural = "roles",
      .singular = "role",
      .shortNames = {"iamrole"},
      .hasStatus = true,
      .hasGeneration = true,
      .doc = "Role is an AWS IAM role: an identity that a workload assumes at STS when the role's trust policy allows it.",
      .definition = "dev.podpass.iam.v1.Role",
      .fields = {required(
                     object("spec", 2,
                            {required(textOrObject("trustPolicy", 1,
                                                   "Who may assume the role: AWS's policy JSON unchanged, as an object or as a string.")),
                             byDefault("3600", between(3600, 43200, integer("maxSessionDuration", 2, "Longest session in seconds."))),
                             byDefault("\"/\"", checked(rolePathProblem, text("path", 3, "IAM path; part of the role's ARN."))),
                             time("revokeSessionsBefore", 4, "Sessions that began before this time are refused.")},
                            "What the role is.")),
                 object("status", 3,
                        {text("arn", 1, "arn:aws:iam::ACCOUNT:rolePATHNAME"),
                         text("roleID", 2, "AROA…; of this object: a role made again has another.")},
                        "What the server made of it.")},
      .columns = {textColumn("ARN", {"status", "arn"}), ageColumn()},
      .subresources = {statusSubresource()},
      .validate = validateRole,
      .nameProblem = roleNameProblem};
  return kind;
}

const Kind& oidcProviderKind() {
  static const Kind kind{
      .group = kGroup,
      .version = "v1",
      .kind = "OIDCProvider",
      .plural = "oidcproviders",
      .singular = "oidcprovider",
      .hasStatus = true,
      .hasGeneration = true,
      .doc = "OIDCProvider registers an OpenID Connect issuer whose tokens STS accepts.",
      .definition = "dev.podpass.iam.v1.OIDCProvider",
      .fields = {required(object(
                     "spec", 2,
                     {required(checked(providerUrlProblem, text("url", 1, "The issuer, exactly as `iss` says it in its tokens."))),
                      required(checked(clientIdProblem, texts("clientIDs", 2, "Audiences of the tokens to accept: sts.amazonaws.com."))),
                      checked(thumbprintProblem,
                              texts("thumbprints", 3, "SHA-1 of a CA certificate in the issuer's chain, in hexadecimal.")),
                      bytes("caBundle", 4, "PEM certificates that the issuer's server is verified with; default: the system's.")},
                     "What the provider is.")),
                 object("status", 3,
                        {text("arn", 1, "arn:aws:iam::ACCOUNT:oidc-provider/HOST[/PATH]; none when the provider is not used."),
                         mergedBy("type", list("conditions", 2, condition()))},
                        "What the server made of it. The condition Used is False when an older provider has the url.")},
      .columns = {textColumn("URL", {"spec", "url"}), textColumn("ARN", {"status", "arn"}), ageColumn()},
      .subresources = {statusSubresource()},
      .validate = validateProvider,
      .validateUpdate = keepUrl};
  return kind;
}

}  // namespace podpass::api
