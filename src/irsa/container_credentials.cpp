#include "irsa/container_credentials.h"

#include <algorithm>

#include "base/log.h"
#include "base/offload.h"
#include "base/text.h"
#include "http/message.h"
#include "irsa/place.h"
#include "irsa/sts_session.h"
#include "token/presented_token.h"

namespace podpass::irsa {
namespace {

constexpr std::int64_t kSeconds = 6 * 3600, kChainedSeconds = 3600;  // a role that another role assumes has an hour in AWS
constexpr int kMostRunning = 256;
constexpr std::size_t kLongestToken = 20'000;
constexpr const char* kDenied = "Unauthorized Exception! EKS does not have permissions to assume the associated role.";

std::int64_t epoch(WallTime time) { return std::chrono::duration_cast<std::chrono::seconds>(time.time_since_epoch()).count(); }

http::Response text(int status, const std::string& sentence) { return http::plainText(status, sentence + "\n"); }

// "169.254.170.23:80", "[fd00:ec2::23]" → the address
std::string hostOf(std::string_view header) {
  if (header.starts_with("[")) return std::string(header.substr(1, header.find(']') - 1));
  return std::string(header.substr(0, header.find(':')));
}

Refusal invalidToken(std::string reason, std::string fix = {}) {
  return {400, "InvalidTokenException", "The token included in the request is invalid.", "token", std::move(reason), std::move(fix)};
}

// What the agent finds without asking anybody; nullopt: the token may be good.
std::optional<std::string> problemOf(std::string_view token, const Clock& clock) {
  if (token.empty()) return "Service account token cannot be empty";
  if (token.size() > kLongestToken) return "Service account token cannot be parsed: token is malformed: it is too long";
  const Result<token::PresentedToken> presented = token::parseToken(token);
  if (!presented) return "Service account token cannot be parsed: token is malformed: " + presented.error().sentence;
  const std::int64_t now = epoch(clock.nowFor(std::chrono::seconds(presented->issuedAt)));
  const char* const failed = "Service account token failed basic claim validations: token has invalid claims: token is ";
  if (presented->expires <= now) return failed + std::string("expired");
  if (presented->notBefore > now) return failed + std::string("not valid yet");
  return std::nullopt;
}

// The account of "system:serviceaccount:NAMESPACE:NAME"; a token of anybody else is none.
std::optional<std::pair<std::string, std::string>> accountOf(const std::string& username) {
  constexpr std::string_view prefix = "system:serviceaccount:";
  const std::size_t colon = username.find(':', prefix.size());
  if (!username.starts_with(prefix) || colon == std::string::npos) return std::nullopt;
  return std::pair(username.substr(prefix.size(), colon - prefix.size()), username.substr(colon + 1));
}

std::string extraOf(const token::Identity& identity, const std::string& name) {
  const auto found = identity.extra.find("authentication.kubernetes.io/" + name);
  return found == identity.extra.end() || found->second.empty() ? std::string() : found->second.front();
}

}  // namespace

struct ContainerCredentials::Call {
  const http::Request& request;
  std::string_view token;
  WallTime now;
  RefusedRequest told = {};  // for the refusal log, filled on the way
};

http::Response podCredentialsRefusal(const Refusal& refusal, const std::string& requestId) {
  return text(refusal.status, "[" + requestId + "]: (" + refusal.code + "): " + refusal.message +
                                  ", fault: " + (refusal.status < 500 ? "client" : "server"));
}

http::asio::awaitable<http::Response> ContainerCredentials::handle(std::shared_ptr<const http::Request> request) {
  if (request->path != "/v1/credentials") co_return text(404, "404 page not found");
  const Place place(running_, kMostRunning);  // what waits is bounded; every SDK tries again
  if (!place) co_return text(429, "Too Many Requests");
  auto work = [this, request] { return answer(*request); };
  co_return co_await offload(pool_, std::move(work));
}

http::Response ContainerCredentials::answer(const http::Request& request) {
  const std::string host = hostOf(request.headers.find("Host"));
  if (std::find(options_.hosts.begin(), options_.hosts.end(), host) == options_.hosts.end()) {
    std::string all;
    for (const std::string& each : options_.hosts) all += (all.empty() ? "" : " ") + each;
    return text(403, "Access Denied. Called agent through invalid address, please use either [" + all + "] address not " + host);
  }
  Call call{.request = request, .token = request.headers.find("Authorization"), .now = clock_.now()};
  if (const std::optional<std::string> problem = problemOf(call.token, clock_)) return text(400, *problem);
  call.told.id = randomUuid();
  call.told.action = "AssumeRoleForPodIdentity";
  call.told.remote = request.remote;
  const Outcome<Session> session = assume(call);
  if (!session) {
    const Refusal& refusal = session.refusal();
    refusals_.record(call.told, refusal);
    return podCredentialsRefusal(refusal, call.told.id);
  }
  const Credentials credentials = keys_->mint(*session);
  log::info("role assumed", {{"request", call.told.id},
                             {"role", session->roleArn},
                             {"user", call.told.caller},
                             {"session", session->arn},
                             {"key", credentials.accessKeyId}});
  const json::object body{{"AccessKeyId", credentials.accessKeyId},
                          {"SecretAccessKey", credentials.secretAccessKey.reveal()},
                          {"Token", credentials.sessionToken.reveal()},
                          {"AccountId", session->account},
                          {"Expiration", rfc3339(WallTime(std::chrono::seconds(session->expires)))}};
  http::Response response;
  response.headers.add("Content-Type", "application/json");
  response.body = std::make_shared<const std::string>(json::serialize(body));
  return response;
}

Outcome<Session> ContainerCredentials::assume(Call& call) const {
  const auto unavailable = [](const Error& error) {
    return Refusal{503, "ServiceUnavailableException", "The service is unavailable. Please try again later.", "internal",
                   log::chain(error)};
  };
  const Result<token::Identity> identity = options_.verify(call.token);
  if (!identity && identity.error().reason != Reason::Unauthorized) return unavailable(identity.error());
  if (!identity) return invalidToken(log::chain(identity.error()), identity.error().fix);
  call.told.caller = identity->username;
  call.told.verified = true;
  const auto account = accountOf(identity->username);
  const std::string pod = extraOf(*identity, "pod-name"), podUid = extraOf(*identity, "pod-uid");
  if (!account || pod.empty())
    return invalidToken("the token is not bound to a pod", "use the token of a projected volume, which is bound to its pod");
  const Result<DocumentPtr> association = associationOf(client_, account->first, account->second);
  if (!association && association.error().reason != Reason::NotFound) return unavailable(association.error());
  if (!association)
    return Refusal{404,           "ResourceNotFoundException",  "The specified resource could not be found.",
                   "association", association.error().sentence, association.error().fix};

  const EksCluster cluster{options_.clusterName, options_.region, directory_.account()};
  const AssumeRequest assume = podIdentityRequest((*association)->value, {account->first, account->second, pod, podUid}, cluster);
  call.told.roleArn = assume.roleArn;
  const std::shared_ptr<const Role> role = directory_.role(assume.roleArn);
  const auto denied = [](Refusal refusal) {  // EKS Auth says 400 where STS says 403
    refusal.status = 400;
    refusal.code = "AccessDeniedException";
    return refusal;
  };
  if (!role)
    return denied(
        accessDenied(kDenied, "role", "there is no role " + assume.roleArn, "create the Role, or correct spec.roleArn of the association"));
  call.told.role = role->object;
  const TrustRequest trust = podIdentityTrust(assume, requestKeys(assume, call.now), cluster);
  if (const std::optional<Refusal> refused = checkTrust(*role, trust, kDenied)) return denied(*refused);
  const Session session = sessionOf(directory_.account(), *role, assume, kSeconds, call.now);
  if (textAt((*association)->value, {"spec", "targetRoleArn"}).empty()) return session;
  const Outcome<Session> target = assumeTarget(call, session, (*association)->value);
  if (!target) return denied(target.refusal());
  return *target;
}

// The first role's session assumes the target, as a program with its credentials would. The external id, by which the target's trust policy
// can tell this association from others, is the association's uid.
Outcome<Session> ContainerCredentials::assumeTarget(Call& call, const Session& first, const json::object& association) const {
  AssumeRequest assume;
  assume.roleArn = call.told.roleArn = textAt(association, {"spec", "targetRoleArn"});
  assume.sessionName = first.arn.substr(first.arn.rfind('/') + 1);
  assume.externalId = textAt(association, {"metadata", "uid"});
  for (const auto& [key, value] : first.tags) assume.tags.push_back({key, value});
  assume.transitiveTagKeys = first.transitiveTags;
  call.told.role = nullptr;
  const std::shared_ptr<const Role> role = directory_.role(assume.roleArn);
  if (!role) return accessDenied(kDenied, "role", "there is no role " + assume.roleArn, "create the Role, or correct spec.targetRoleArn");
  call.told.role = role->object;
  TrustRequest trust;
  trust.actions = {"sts:AssumeRole"};
  if (!assume.tags.empty()) trust.actions.emplace_back("sts:TagSession");
  trust.callerType = api::PrincipalType::Aws;
  trust.callerNames = {first.arn, first.roleArn, "arn:aws:iam::" + first.account + ":root", first.account};
  trust.keys = requestKeys(assume, call.now);
  trust.keys["aws:PrincipalArn"] = {first.roleArn};
  trust.keys["aws:PrincipalAccount"] = {first.account};
  for (const auto& [key, value] : first.tags) trust.keys["aws:PrincipalTag/" + key] = {value};
  addTagKeys(assume, trust.keys);
  if (const std::optional<Refusal> refused = checkTrust(*role, trust, kDenied)) return *refused;
  Session session = sessionOf(directory_.account(), *role, assume, kChainedSeconds, call.now);
  session.chained = true;
  return session;
}

}  // namespace podpass::irsa
