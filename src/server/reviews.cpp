#include "server/reviews.h"

#include "api/causes.h"
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

// What forbids to answer an access review (k8s.io/kubernetes/pkg/apis/authorization/validation). `ns`: the URL's, whose readers may ask
// about it and about no other.
std::vector<Cause> problemsOf(const api::Kind& reviewed, const json::object& spec, std::string_view ns) {
  const json::object *resource = objectAt(spec, {"resourceAttributes"}), *path = objectAt(spec, {"nonResourceAttributes"});
  std::vector<Cause> causes;
  if (resource != nullptr && path != nullptr)
    causes.push_back(
        api::invalidJson("spec.nonResourceAttributes", json::value(*path), "cannot be specified in combination with resourceAttributes"));
  if (resource == nullptr && path == nullptr)
    causes.push_back(api::invalidText("spec.resourceAttributes", "null",
                                      "exactly one of nonResourceAttributes or resourceAttributes must be specified"));
  const json::array* groups = arrayAt(spec, {"groups"});
  const bool hasSubject = !textAt(spec, {"user"}).empty() || (groups != nullptr && !groups->empty());
  if (!hasSubject && reviewed.kind != "SelfSubjectAccessReview")
    causes.push_back(api::invalidText("spec.user", "", "at least one of user or group must be specified"));
  if (!reviewed.namespaced) return causes;
  if (resource != nullptr && textAt(*resource, {"namespace"}) != ns)
    causes.push_back(
        api::invalidText("spec.resourceAttributes.namespace", textAt(*resource, {"namespace"}), "must match metadata.namespace"));
  if (path != nullptr)
    causes.push_back(api::invalidJson("spec.nonResourceAttributes", json::value(*path), "disallowed on this kind of request"));
  return causes;
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

asio::awaitable<Result<json::object>> Reviews::answer(const Context& context, const api::Kind& reviewed, std::string ns,
                                                      json::object object) {
  const std::string_view kind = reviewed.kind;
  json::object& meta = makeObjectAt(object, {"metadata"});
  const std::string given(textAt(object, {"metadata", "namespace"}));
  if (reviewed.namespaced && !given.empty() && given != ns)
    co_return Error{Reason::BadRequest, "the namespace of the provided object does not match the namespace sent on the request"};
  if (reviewed.namespaced) meta["namespace"] = ns;
  meta["creationTimestamp"] = nullptr;
  const json::object spec = makeObjectAt(object, {"spec"});
  if (kind == "TokenReview") {
    if (!given.empty()) co_return Error{Reason::BadRequest, "namespace is not allowed on this type: " + given};
    if (textAt(spec, {"token"}).empty()) co_return Error{Reason::BadRequest, "token is required for TokenReview in authentication"};
    json::object status = co_await tokenReview(spec);
    if (oidc_ != nullptr && !status.contains("authenticated")) {
      std::optional<json::object> foreign = co_await foreignTokenReview(spec);
      if (foreign) status = *std::move(foreign);
    }
    object["status"] = std::move(status);
    co_return object;
  }
  if (kind == "SelfSubjectReview") {
    object.erase("spec");
    object["metadata"] = json::object{{"creationTimestamp", rfc3339(clock_.now())}};
    object["status"] = json::object{{"userInfo", auth::toJson(context.user)}};
    co_return object;
  }
  if (kind == "SelfSubjectRulesReview") {
    const std::string asked(textAt(spec, {"namespace"}));
    if (asked.empty()) co_return Error{Reason::BadRequest, "no namespace on request"};
    object["status"] = authorizer_.rulesFor(context.user, asked);
    co_return object;
  }
  if (std::vector<Cause> causes = problemsOf(reviewed, spec, ns); !causes.empty()) co_return api::invalid(reviewed, "", std::move(causes));
  auth::User user = context.user;
  if (kind != "SelfSubjectAccessReview")
    user = {
        .name = std::string(textAt(spec, {"user"})), .uid = std::string(textAt(spec, {"uid"})), .groups = texts(arrayAt(spec, {"groups"}))};
  object["status"] = accessStatus(attributesIn(spec, std::move(user)));
  co_return object;
}

}  // namespace podpass::server
