#include "server/reviews.h"

#include "api/codec.h"
#include "auth/oidc.h"
#include "base/log.h"
#include "base/offload.h"
#include "base/text.h"

namespace podpass::server {
namespace {

auth::Attributes attributesIn(const json::object& spec, auth::User user) {
  auth::Attributes attributes{.user = std::move(user)};
  const json::object* of = objectAt(spec, {"resourceAttributes"});
  attributes.resourceRequest = of != nullptr;
  if (of == nullptr) {
    attributes.verb = textAt(spec, {"nonResourceAttributes", "verb"});
    attributes.path = textAt(spec, {"nonResourceAttributes", "path"});
    return attributes;
  }
  attributes.verb = textAt(*of, {"verb"});
  attributes.group = textAt(*of, {"group"});
  attributes.version = textAt(*of, {"version"});
  attributes.resource = textAt(*of, {"resource"});
  attributes.subresource = textAt(*of, {"subresource"});
  attributes.ns = textAt(*of, {"namespace"});
  attributes.name = textAt(*of, {"name"});
  return attributes;
}

std::vector<std::string> texts(const json::array* list) {
  std::vector<std::string> out;
  if (list != nullptr)
    for (const json::value& each : *list)
      if (each.is_string()) out.emplace_back(each.get_string());
  return out;
}

// As of an Authorization header, which ends at a space.
std::string presentedIn(const json::object& spec) {
  const std::string_view token = textAt(spec, {"token"});
  return std::string(token.substr(0, token.find(' ')));
}

json::object statusOf(Result<token::Identity> identity) {
  if (!identity) {
    json::object status{{"user", json::object()}, {"error", log::chain(identity.error())}};
    return status;
  }
  auth::User user{std::move(identity->username), std::move(identity->uid), std::move(identity->groups), std::move(identity->extra)};
  user.groups.emplace_back("system:authenticated");
  return json::object{{"authenticated", true},
                      {"user", auth::toJson(user)},
                      {"audiences", json::array(identity->audiences.begin(), identity->audiences.end())}};
}

}  // namespace

json::object Reviews::accessStatus(const auth::Attributes& attributes) const {
  const auth::Decision decision = authorizer_.authorize(attributes);
  json::object status{{"allowed", decision.allowed}};
  if (!decision.reason.empty()) status["reason"] = decision.reason;
  return status;
}

// A token that was verified a moment ago is judged at once: that costs less than the way to another thread and back.
asio::awaitable<json::object> Reviews::tokenReview(const json::object& spec) const {
  const std::vector<std::string> audiences = texts(arrayAt(spec, {"audiences"}));
  const std::string token = presentedIn(spec);
  std::optional<Result<token::Identity>> identity = verifier_.verifyKnown(token, audiences);
  if (!identity) {
    auto work = [this, token, audiences] { return verifier_.verify(token, audiences); };
    Result<token::Identity> verified = co_await offload(verifiers_, std::move(work));
    identity = std::move(verified);
  }
  co_return statusOf(*std::move(identity));
}

// A provider's token is for the API server, whatever it says itself: only who asks for one of its audiences may have it.
asio::awaitable<std::optional<json::object>> Reviews::foreignTokenReview(json::object spec) const {
  const std::vector<std::string> asked = texts(arrayAt(spec, {"audiences"})), &own = verifier_.apiAudiences();
  json::array audiences;
  for (const std::string& audience : own)
    if (asked.empty() || std::find(asked.begin(), asked.end(), audience) != asked.end()) audiences.emplace_back(audience);
  if (audiences.empty()) co_return std::nullopt;
  std::string token = presentedIn(spec);
  std::optional<Result<auth::User>> foreign = co_await oidc_->authenticate(std::move(token));
  if (!foreign) co_return std::nullopt;
  if (!*foreign) co_return json::object{{"user", json::object()}, {"error", log::chain(foreign->error())}};
  auth::User user = **std::move(foreign);
  user.groups.emplace_back("system:authenticated");
  co_return json::object{{"authenticated", true}, {"user", auth::toJson(user)}, {"audiences", std::move(audiences)}};
}

asio::awaitable<Result<json::object>> Reviews::answer(const Context& context, const api::Kind& reviewed, json::object object) {
  const json::object spec = makeObjectAt(object, {"spec"});
  const std::string_view kind = reviewed.kind;
  makeObjectAt(object, {"metadata"})["creationTimestamp"] = nullptr;
  if (kind == "TokenReview") {
    if (const std::string_view ns = textAt(object, {"metadata", "namespace"}); !ns.empty())
      co_return Error{Reason::BadRequest, "namespace is not allowed on this type: " + std::string(ns)};
    if (textAt(spec, {"token"}).empty()) co_return Error{Reason::BadRequest, "token is required for TokenReview in authentication"};
    json::object status = co_await tokenReview(spec);
    if (oidc_ != nullptr && !status.contains("authenticated")) {
      std::optional<json::object> foreign = co_await foreignTokenReview(spec);
      if (foreign) status = *std::move(foreign);
    }
    object["status"] = std::move(status);
  } else if (kind == "SelfSubjectReview") {
    object.erase("spec");
    object["metadata"] = json::object{{"creationTimestamp", rfc3339(clock_.now())}};
    object["status"] = json::object{{"userInfo", auth::toJson(context.user)}};
  } else if (kind == "SelfSubjectAccessReview") {
    object["status"] = accessStatus(attributesIn(spec, context.user));
  } else if (kind == "SelfSubjectRulesReview") {
    object["status"] = authorizer_.rulesFor(context.user, std::string(textAt(spec, {"namespace"})));
  } else {
    auth::User user{
        .name = std::string(textAt(spec, {"user"})), .uid = std::string(textAt(spec, {"uid"})), .groups = texts(arrayAt(spec, {"groups"}))};
    if (user.name.empty() && user.groups.empty())
      co_return api::invalid(reviewed, "", {{"spec.user", "Invalid value: \"\": at least one of user or group must be specified"}});
    object["status"] = accessStatus(attributesIn(spec, std::move(user)));
  }
  co_return object;
}

}  // namespace podpass::server
