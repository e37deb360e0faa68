#include "irsa/web_identity.h"

#include <algorithm>

#include "api/iam_names.h"
#include "irsa/sts_session.h"

namespace podpass::irsa {
namespace {

Refusal malformed(std::string reason) {
  return {400, "InvalidIdentityToken", "The provided token is malformed or otherwise invalid", "claims", std::move(reason)};
}

std::vector<std::string> textsIn(const json::object& claims, std::string_view name) {
  std::vector<std::string> texts;
  const json::value* value = claims.if_contains(name);
  if (value != nullptr && value->is_string()) texts.emplace_back(value->get_string());
  if (value != nullptr && value->is_array())
    for (const json::value& each : value->get_array())
      if (each.is_string()) texts.emplace_back(each.get_string());
  return texts;
}

// Tags of a claim: at most 50 lists of one text each, of the characters and lengths that AssumeRole takes. Says what they are not.
std::string_view readTagClaim(const json::value& claim, AssumeRequest& assume) {
  const json::object* all = claim.if_object();
  if (all == nullptr) return "its tags are not an object";
  const json::value none = json::object(), *tags = all->if_contains("principal_tags"), *keys = all->if_contains("transitive_tag_keys");
  if (tags == nullptr) tags = &none;
  if (!tags->is_object() || tags->get_object().size() > kMostTags) return "its principal_tags are not an object of at most 50 tags";
  for (const auto& tag : tags->get_object()) {
    const json::array* values = tag.value().if_array();
    if (values == nullptr || values->size() != 1 || !values->front().is_string())
      return "a value of its principal_tags is not a list of one text";
    const std::string key(tag.key()), value(values->front().get_string());
    if (key.empty() || characters(key) > kLongestTagKey || characters(value) > kLongestTagValue || !isTagText(key) || !isTagText(value))
      return "one of its principal_tags has a key or a value of another form than [\\p{L}\\p{Z}\\p{N}_.:/=+\\-@]";
    assume.tags.push_back({key, value});
  }
  if (keys != nullptr) assume.transitiveTagKeys = textsIn(*all, "transitive_tag_keys");
  if (keys != nullptr && (!keys->is_array() || assume.transitiveTagKeys.size() != keys->get_array().size()))
    return "its transitive_tag_keys are not a list of texts";
  return problemOf(assume.tags, assume.transitiveTagKeys) ? "its principal_tags have a key twice, but for case, or lack a transitive one"
                                                          : "";
}

// Session tags and source identity: AWS reads them from claims of its own namespace.
std::optional<Refusal> readTagClaims(const json::object& claims, AssumeRequest& assume) {
  if (const json::value* identity = claims.if_contains("https://aws.amazon.com/source_identity")) {
    if (identity->is_string()) assume.sourceIdentity = identity->get_string();
    if (!isSessionName(assume.sourceIdentity) || assume.sourceIdentity.size() < 2 || assume.sourceIdentity.size() > 64)
      return malformed("its source_identity is not 2 to 64 of [\\w+=,.@-]");
  }
  if (const json::value* tags = claims.if_contains("https://aws.amazon.com/tags"))
    if (const std::string_view problem = readTagClaim(*tags, assume); !problem.empty()) return malformed(std::string(problem));
  return std::nullopt;
}

void addTokenKeys(const json::object& claims, const Provider& provider, ConditionKeys& keys) {
  const std::string prefix(api::withoutScheme(provider.url));
  keys[prefix + ":sub"] = {std::string(textAt(claims, {"sub"}))};
  const std::string authorized(textAt(claims, {"azp"}));
  for (const std::string& audience : textsIn(claims, "aud")) {
    const bool registered = std::find(provider.clientIds.begin(), provider.clientIds.end(), audience) != provider.clientIds.end();
    if (authorized.empty() && registered && !keys.contains(prefix + ":aud")) keys[prefix + ":aud"] = {audience};
    if (!authorized.empty()) keys[prefix + ":oaud"].push_back(audience);
  }
  if (!authorized.empty()) keys[prefix + ":aud"] = {authorized};
  if (std::vector<std::string> methods = textsIn(claims, "amr"); !methods.empty()) keys[prefix + ":amr"] = std::move(methods);
  keys["aws:FederatedProvider"] = {provider.arn};
}

}  // namespace

Outcome<TrustRequest> webIdentityTrust(const json::object& claims, const Provider& provider, ConditionKeys circumstances,
                                       AssumeRequest& assume) {
  const std::string_view subject = textAt(claims, {"sub"});
  if (subject.size() < 6 || subject.size() > 255) return malformed("its sub has not 6 to 255 characters");
  if (std::optional<Refusal> refused = readTagClaims(claims, assume)) return *refused;
  TrustRequest trust;
  trust.actions = {"sts:AssumeRoleWithWebIdentity"};
  askForMore(assume, trust.actions);
  trust.callerNames = {provider.arn};
  trust.keys = std::move(circumstances);
  addTokenKeys(claims, provider, trust.keys);
  addTagKeys(assume, trust.keys);
  return trust;
}

}  // namespace podpass::irsa
