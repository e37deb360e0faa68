#include "irsa/iam_objects.h"

#include "api/iam_names.h"
#include "base/text.h"

namespace podpass::irsa {
namespace {

// The first whole second that is not before `time`: sessions know the second in which they began, and one that may have begun before is
// over.
std::int64_t secondsOf(std::string_view time) {
  const Result<WallTime> parsed = parseRfc3339(time);
  return time.empty() || !parsed ? 0 : std::chrono::ceil<std::chrono::seconds>(parsed->time_since_epoch()).count();
}

std::vector<std::string> textsAt(const json::object& object, std::string_view member) {
  std::vector<std::string> texts;
  if (const json::array* list = arrayAt(object, {"spec", member}))
    for (const json::value& each : *list)
      if (each.is_string()) texts.emplace_back(each.get_string());
  return texts;
}

}  // namespace

const json::value& trustPolicyOf(const Role& role) {
  static const json::value none;
  const json::object* spec = role.object ? objectAt(role.object->value, {"spec"}) : nullptr;
  const json::value* policy = spec != nullptr ? spec->if_contains("trustPolicy") : nullptr;
  return policy != nullptr ? *policy : none;
}

Role roleOf(const DocumentPtr& object, const std::string& account) {
  const json::object& value = object->value;
  Role role;
  role.name = textAt(value, {"metadata", "name"});
  role.arn = api::roleArn(account, value);
  role.id = api::roleId(value);
  role.object = object;
  role.trust = api::parseTrustPolicy(trustPolicyOf(role));
  role.maxSession = integerAt(value, {"spec", "maxSessionDuration"}, 3600);
  role.revokedBefore = secondsOf(textAt(value, {"spec", "revokeSessionsBefore"}));
  return role;
}

Provider providerOf(const json::object& object, const std::string& account) {
  const std::string url(textAt(object, {"spec", "url"}));
  return {std::string(textAt(object, {"metadata", "name"})), url, api::providerArn(account, url), textsAt(object, "clientIDs")};
}

token::TrustedIssuer issuerOf(const json::object& provider) {
  token::TrustedIssuer issuer;
  issuer.url = textAt(provider, {"spec", "url"});
  issuer.audiences = textsAt(provider, "clientIDs");
  issuer.thumbprints = textsAt(provider, "thumbprints");
  if (const Result<std::string> pem = base64Decode(textAt(provider, {"spec", "caBundle"}))) issuer.caPem = *pem;
  issuer.plainLoopback = true;  // the kind allows http:// for loopback only
  return issuer;
}

std::string accountOfRole(std::string_view arn) {
  const std::size_t at = arn.find(":iam::");
  return at == std::string_view::npos ? std::string() : std::string(arn.substr(at + 6, 12));
}

}  // namespace podpass::irsa
