#include "server/token_request.h"

#include "api/codec.h"
#include "base/offload.h"
#include "base/text.h"
#include "server/status.h"

namespace podpass::server {
namespace {

constexpr std::int64_t kMinTokenSeconds = 600;
constexpr std::int64_t kMaxTokenSeconds = std::int64_t{1} << 32;
constexpr std::int64_t kDefaultSeconds = 3600;
constexpr std::int64_t kExtendableSeconds = 3607;  // what admission asks for in kube-api-access volumes

const api::Kind& core(std::string_view plural) { return *api::findKind("", "v1", plural); }

}  // namespace

// Kubernetes' NodeRestriction looks at what was sent, before anything else does.
Result<void> TokenRequests::prepare(const auth::User& user, const std::string& ns, const std::string& account, json::object& asked) const {
  if (Result<void> admitted = admission_.tokenRequest(user, ns, account, asked); !admitted) return admitted;
  return complete(ns, account, asked);
}

// Steps 2 to 7 of spec tokens.md §2.3.
Result<void> TokenRequests::complete(const std::string& ns, const std::string& account, json::object& asked) const {
  const api::Kind& accounts = core("serviceaccounts");
  const api::Kind& kind = *api::findBodyKind("authentication.k8s.io", "v1", "TokenRequest");
  const auto mismatch = [&](const char* field, std::string_view given, const char* what) {
    return api::invalid(kind, account,
                        {{field, "Invalid value: " + quoted(given) + ": must match the service account " + what + " if specified"}});
  };
  const std::string_view named = textAt(asked, {"metadata", "name"}), inNs = textAt(asked, {"metadata", "namespace"}),
                         uid = textAt(asked, {"metadata", "uid"});
  if (!named.empty() && named != account) return mismatch("metadata.name", named, "name");
  if (!inNs.empty() && inNs != ns) return mismatch("metadata.namespace", inNs, "namespace");
  const DocumentPtr found = registry_.get(accounts, ns, account);
  if (!found) return notFound(accounts, account);
  const std::string accountUid(textAt(found->value, {"metadata", "uid"}));
  if (!uid.empty() && uid != accountUid)
    return Error{.reason = Reason::Conflict,
                 .sentence = "Operation cannot be fulfilled on TokenRequest.authentication.k8s.io " + quoted(account) +
                             ": the UID in the token request (" + std::string(uid) + ") does not match the UID of the service account (" +
                             accountUid + ")",
                 .about = {"authentication.k8s.io", "TokenRequest", account, ""}};
  json::object metadata{{"name", account}, {"namespace", ns}, {"uid", accountUid}, {"creationTimestamp", rfc3339(clock_.now())}};
  for (const char* echoed : {"generateName", "labels", "annotations"})
    if (const json::value* given = makeObjectAt(asked, {"metadata"}).if_contains(echoed)) metadata[echoed] = *given;
  asked["metadata"] = std::move(metadata);
  asked.erase("status");
  json::object& spec = makeObjectAt(asked, {"spec"});
  if (const json::array* audiences = arrayAt(spec, {"audiences"}); audiences == nullptr || audiences->empty())
    spec["audiences"] = json::array(verifier_.apiAudiences().begin(), verifier_.apiAudiences().end());
  if (const json::value* given = spec.if_contains("expirationSeconds"); given == nullptr || given->is_null())
    spec["expirationSeconds"] = kDefaultSeconds;
  const std::int64_t seconds = integerAt(spec, {"expirationSeconds"});
  const auto badLife = [&](const char* why) {
    return api::invalid(kind, "",
                        {{"spec.expirationSeconds", "Invalid value: " + std::to_string(seconds) + ": may not specify a duration " + why}});
  };
  if (seconds < kMinTokenSeconds) return badLife("less than 10 minutes");
  if (seconds > kMaxTokenSeconds) return badLife("larger than 2^32 seconds");
  return {};
}

asio::awaitable<Result<json::object>> TokenRequests::answer(Context& context, std::string ns, std::string account, json::object asked) {
  if (Result<void> good = complete(ns, account, asked); !good) co_return good.error();  // once more: webhooks may have changed it
  const std::string accountUid(textAt(asked, {"metadata", "uid"}));
  json::object& spec = makeObjectAt(asked, {"spec"});
  std::vector<std::string> audiences;
  for (const json::value& each : *arrayAt(spec, {"audiences"}))
    if (each.is_string()) audiences.emplace_back(each.get_string());
  std::int64_t seconds = integerAt(spec, {"expirationSeconds"});

  token::BoundClaims claims{.ns = ns, .serviceAccount = {account, accountUid}, .audiences = audiences};
  if (Result<void> bound = bind(ns, account, spec, claims); !bound) co_return bound.error();
  if (limits_.longest.count() > 0 && seconds > limits_.longest.count()) {
    context.warnings.push_back("requested expiration of " + std::to_string(seconds) + " seconds shortened to " +
                               std::to_string(limits_.longest.count()) + " seconds");
    seconds = limits_.longest.count();
  }
  const WallTime now = clock_.now();
  claims.issuedAt = std::chrono::floor<std::chrono::seconds>(now.time_since_epoch()).count();
  claims.expires = claims.issuedAt + seconds;
  const std::vector<std::string>& own = verifier_.apiAudiences();
  const bool forUs = std::all_of(audiences.begin(), audiences.end(),
                                 [&](const std::string& each) { return std::find(own.begin(), own.end(), each) != own.end(); });
  if (limits_.extend && !claims.pod.empty() && seconds == kExtendableSeconds && forUs) {
    claims.warnAfter = claims.issuedAt + seconds;
    claims.expires = claims.issuedAt + limits_.extended.count();
  }
  claims.jti = randomUuid();
  context.annotations["authentication.kubernetes.io/issued-credential-id"] = "JTI=" + claims.jti;
  auto sign = [this, claims, requester = context.user.name] { return issuer_.issue(claims, requester); };
  Result<Secret> token = co_await offload(signers_, std::move(sign));
  if (!token) co_return Error{Reason::Internal, "Internal error occurred: failed to generate token: " + token.error().sentence};

  const json::value* ref = spec.if_contains("boundObjectRef");
  json::object answer{{"kind", "TokenRequest"}, {"apiVersion", "authentication.k8s.io/v1"}};
  answer["metadata"] = std::move(asked["metadata"]);
  answer["spec"] = json::object{{"audiences", json::array(audiences.begin(), audiences.end())},
                                {"expirationSeconds", seconds},
                                {"boundObjectRef", ref != nullptr ? *ref : json::value()}};
  answer["status"] = json::object{{"token", token->reveal()}, {"expirationTimestamp", rfc3339(now + std::chrono::seconds(seconds))}};
  co_return answer;
}

// Finds what the token shall be bound to and writes it into the claims (spec tokens.md §2.5).
Result<void> TokenRequests::bind(const std::string& ns, const std::string& account, const json::object& spec,
                                 token::BoundClaims& claims) const {
  const json::object* ref = objectAt(spec, {"boundObjectRef"});
  if (ref == nullptr) return {};
  const std::string kindName(textAt(*ref, {"kind"})), version(textAt(*ref, {"apiVersion"})), name(textAt(*ref, {"name"})),
      uid(textAt(*ref, {"uid"}));
  // As Kubernetes reads "group/version": what has more slashes is neither, and what has none is a version of the core group.
  const std::size_t slash = version.find('/');
  const bool isGroupVersion = slash == version.rfind('/');
  const std::string group = isGroupVersion && slash != std::string::npos ? version.substr(0, slash) : "";
  const std::string onlyVersion = !isGroupVersion ? "" : slash == std::string::npos ? version : version.substr(slash + 1);
  struct Bindable {
    const char* kind;
    const char* plural;
    token::ObjectRef token::BoundClaims::*claim;
  };
  constexpr Bindable kBindable[] = {{"Pod", "pods", &token::BoundClaims::pod},
                                    {"Secret", "secrets", &token::BoundClaims::secret},
                                    {"Node", "nodes", &token::BoundClaims::node}};
  for (const Bindable& each : kBindable) {
    if (!group.empty() || kindName != each.kind) continue;  // the version is not looked at
    const api::Kind& kind = core(each.plural);
    const DocumentPtr found = registry_.get(kind, ns, name);
    if (!found) return notFound(kind, name);
    const std::string live(textAt(found->value, {"metadata", "uid"}));
    if (kindName == "Pod" && textAt(found->value, {"spec", "serviceAccountName"}) != account)
      return Error{Reason::BadRequest,
                   "cannot bind token for serviceaccount " + quoted(account) + " to pod running with different serviceaccount name."};
    if (!uid.empty() && uid != live)
      return Error{.reason = Reason::Conflict,
                   .sentence = "Operation cannot be fulfilled on " + kindName + " " + quoted(name) +
                               ": the UID in the bound object reference (" + uid +
                               ") does not match the UID in record. The object might have been deleted and then recreated",
                   .about = {"", kindName, name, ""}};
    claims.*each.claim = {name, live};
    const std::string node(kindName == "Pod" ? textAt(found->value, {"spec", "nodeName"}) : "");
    if (!node.empty()) {
      const DocumentPtr host = registry_.get(core("nodes"), "", node);
      claims.node = {node, host ? std::string(textAt(host->value, {"metadata", "uid"})) : std::string()};
    }
    return {};
  }
  return Error{Reason::BadRequest, "cannot bind token to object of type " + group + "/" + onlyVersion + ", Kind=" + kindName};
}

}  // namespace podpass::server
