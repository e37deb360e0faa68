#include "irsa/sts_service.h"

#include <algorithm>

#include "api/iam_names.h"
#include "base/log.h"
#include "base/text.h"
#include "irsa/place.h"
#include "irsa/sigv4.h"
#include "irsa/sts_answer.h"
#include "irsa/sts_session.h"
#include "irsa/sts_token_refusal.h"
#include "irsa/web_identity.h"

namespace podpass::irsa {
namespace {

namespace asio = http::asio;

constexpr std::string_view kVersion = "2011-06-15";
constexpr int kMostRunning = 512;
constexpr const char* kWebIdentityDenied = "Not authorized to perform sts:AssumeRoleWithWebIdentity";

std::int64_t epoch(WallTime time) { return std::chrono::duration_cast<std::chrono::seconds>(time.time_since_epoch()).count(); }

Refusal invalidClientToken(std::string reason) {
  return {403, "InvalidClientTokenId", "The security token included in the request is invalid", "credentials", std::move(reason)};
}

Element assumedRoleUser(const Session& session) {
  return {"AssumedRoleUser", {}, {{"Arn", session.arn}, {"AssumedRoleId", session.userId}}};
}

}  // namespace

struct StsService::Call {
  std::shared_ptr<const http::Request> request;
  Arrival arrival;
  std::string region = {};  // that the client calls; "" when it does not say
  Parameters parameters = {};
  RefusedRequest told = {};  // for the refusal log, filled on the way
  WallTime now;
};

ConditionKeys StsService::keysOf(const Call& call, const AssumeRequest& assume) {
  ConditionKeys keys = requestKeys(assume, call.now);
  addArrivalKeys(*call.request, call.arrival, keys);
  if (!call.region.empty()) keys["aws:RequestedRegion"] = {call.region};
  return keys;
}

asio::awaitable<http::Response> StsService::handle(std::shared_ptr<const http::Request> request, Arrival arrival) {
  auto call = std::make_shared<Call>();
  call->now = clock_.now();
  call->told.id = randomUuid();
  if (arrival.remote.empty()) arrival.remote = request->remote;
  call->told.remote = arrival.remote;
  call->arrival = std::move(arrival);
  call->region = regionOfHost(request->headers.find("Host"));
  call->request = std::move(request);
  const Place place(running_, kMostRunning);  // what waits is bounded; every SDK tries again
  if (!place) co_return errorAnswer(throttled(), call->told.id);
  const Answer answered = co_await answer(call);
  if (answered) co_return *answered;
  refusals_.record(call->told, answered.refusal());
  co_return errorAnswer(answered.refusal(), call->told.id);
}

asio::awaitable<StsService::Answer> StsService::answer(std::shared_ptr<Call> call) {
  if (call->request->bodyTooLarge) co_return Refusal{413, "RequestEntityTooLarge", "Request entity is too large", "parameters"};
  Outcome<Parameters> parameters = readParameters(*call->request);
  if (!parameters) co_return parameters.refusal();
  call->parameters = std::move(*parameters);
  const std::string action = call->parameters["Action"], version = call->parameters["Version"];
  call->told.action = beginning(action, 64);
  call->told.roleArn = call->parameters["RoleArn"];
  if (version == kVersion) {
    if (action == "AssumeRoleWithWebIdentity") {
      Answer answered = co_await assumeRoleWithWebIdentity(call);
      co_return answered;
    }
    if (action == "AssumeRole") co_return assumeRole(*call);
    if (action == "GetCallerIdentity") co_return getCallerIdentity(*call);
    if (action == "GetSessionToken") co_return getSessionToken(*call);
  }
  co_return Refusal{400, "InvalidAction",
                    "Could not find operation " + call->told.action + " for version " +
                        (version.empty() ? "NO_VERSION_SPECIFIED" : std::string(beginning(version, 64))),
                    "parameters"};
}

asio::awaitable<StsService::Answer> StsService::assumeRoleWithWebIdentity(std::shared_ptr<Call> call) {
  Outcome<AssumeRequest> assume = readAssumeRole(call->parameters, true);
  if (!assume) co_return assume.refusal();
  if (std::optional<Refusal> refused = checkRoleArn(assume->roleArn)) co_return *refused;
  const Result<token::PresentedToken> presented = token::parseToken(assume->webIdentityToken);
  if (!presented) co_return tokenRefusal(presented.error(), {}, call->now);
  call->told.caller = presented->subject;
  call->told.role = nullptr;
  const std::shared_ptr<const Role> role = directory_.role(assume->roleArn);
  if (role) call->told.role = role->object;
  const std::shared_ptr<const Provider> provider = directory_.provider(presented->issuer);
  if (!provider || accountOfRole(assume->roleArn) != directory_.account()) {
    Refusal refusal{400, "InvalidIdentityToken", "No OpenIDConnect provider found in your account for " + presented->issuer, "issuer"};
    refusal.reason = provider ? "the role is of the account " + accountOfRole(assume->roleArn) + ", this one is " + directory_.account()
                              : "no OIDCProvider has the url " + quoted(presented->issuer);
    refusal.fix = provider ? "write the account " + directory_.account() + " in the role's ARN"
                           : "create an OIDCProvider whose spec.url is exactly the token's iss";
    co_return refusal;
  }
  const Result<token::VerifiedToken> token = co_await relyingParty_.verify(assume->webIdentityToken);
  if (!token) co_return tokenRefusal(token.error(), assume->webIdentityToken, clock_.nowFor(std::chrono::seconds(presented->issuedAt)));
  call->told.verified = true;
  Outcome<TrustRequest> trust = webIdentityTrust(token->claims, *provider, keysOf(*call, *assume), *assume);
  if (!trust) co_return trust.refusal();
  if (!role)
    co_return accessDenied(kWebIdentityDenied, "role", "there is no role " + assume->roleArn,
                           "create the Role, or correct the name, the path and the account in the ARN");
  if (std::optional<Refusal> refused = checkTrust(*role, *trust, kWebIdentityDenied)) co_return *refused;
  Outcome<std::int64_t> seconds = sessionSeconds(*assume, *role, false);
  if (!seconds) co_return seconds.refusal();
  Outcome<std::optional<int>> packed = packedPolicySize(*assume);
  if (!packed) co_return packed.refusal();
  const Session session = sessionOf(directory_.account(), *role, *assume, *seconds, call->now);
  const Credentials credentials = keys_->mint(session);
  log::info("role assumed", {{"request", call->told.id},
                             {"role", role->arn},
                             {"user", token->subject},
                             {"session", session.arn},
                             {"key", credentials.accessKeyId},
                             {"kid", token->kid}});
  std::vector<Element> result;
  result.push_back({"SubjectFromWebIdentityToken", token->subject});
  const std::vector<std::string>& audience = trust->keys[std::string(api::withoutScheme(provider->url)) + ":aud"];
  result.push_back({"Audience", audience.empty() ? std::string() : audience.front()});
  result.push_back(assumedRoleUser(session));
  result.push_back(credentialsElement(credentials, session.expires));
  result.push_back({"Provider", provider->arn});
  if (*packed) result.push_back({"PackedPolicySize", std::to_string(**packed)});
  if (!session.sourceIdentity.empty()) result.push_back({"SourceIdentity", session.sourceIdentity});
  co_return successAnswer("AssumeRoleWithWebIdentity", result, call->told.id);
}

Outcome<Session> StsService::authenticate(Call& call) const {
  const Outcome<Signature> signature = readSignature(*call.request);
  if (!signature) return signature.refusal();
  if (const auto inTime = checkTime(*signature, call.now); !inTime) return inTime.refusal();
  const Result<CredentialKeys::Known> known = keys_->find(directory_.account(), signature->accessKeyId, signature->sessionToken);
  if (!known) return invalidClientToken(known.error().sentence);
  call.told.caller = known->session.arn;
  call.region = signature->region;
  if (const auto good = checkSignature(*signature, *call.request, known->secretAccessKey); !good) return good.refusal();
  call.told.verified = true;
  const Session& session = known->session;
  if (session.expires != 0 && epoch(clock_.nowFor(std::chrono::seconds(session.issuedAt))) >= session.expires) {
    Refusal refusal{403, "ExpiredToken", "The security token included in the request is expired", "credentials"};
    refusal.reason = "the session ended at " + rfc3339(WallTime(std::chrono::seconds(session.expires)));
    return refusal;
  }
  if (const auto live = checkLive(session); !live) return live.refusal();
  return session;
}

Outcome<std::monostate> StsService::checkLive(const Session& session) const {
  if (session.roleName.empty()) return std::monostate{};
  const std::shared_ptr<const Role> role = directory_.role(session.roleArn);
  if (!role || !session.userId.starts_with(role->id + ":"))
    return invalidClientToken("the role " + session.roleArn + " of this session was deleted");
  if (session.issuedAt >= role->revokedBefore) return std::monostate{};
  Refusal refusal{403, "ExpiredToken", "The security token included in the request is expired", "credentials"};
  refusal.reason = "sessions of the role " + role->name + " that began before " +
                   rfc3339(WallTime(std::chrono::seconds(role->revokedBefore))) + " were revoked";
  return refusal;
}

StsService::Answer StsService::getCallerIdentity(Call& call) const {
  const Outcome<Session> caller = authenticate(call);
  if (!caller) return caller.refusal();
  return successAnswer("GetCallerIdentity", {{"UserId", caller->userId}, {"Account", caller->account}, {"Arn", caller->arn}}, call.told.id);
}

StsService::Answer StsService::getSessionToken(Call& call) const {
  const Outcome<Session> caller = authenticate(call);
  if (!caller) return caller.refusal();
  const Outcome<std::int64_t> seconds = readGetSessionToken(call.parameters);
  if (!seconds) return seconds.refusal();
  if (caller->expires != 0) return accessDenied("Cannot call GetSessionToken with session credentials", "credentials", "");
  Session session = *caller;
  session.issuedAt = epoch(call.now);
  session.expires = session.issuedAt + *seconds;
  const Credentials credentials = keys_->mint(session);
  log::info("session token issued", {{"request", call.told.id}, {"user", session.arn}, {"key", credentials.accessKeyId}});
  return successAnswer("GetSessionToken", {credentialsElement(credentials, session.expires)}, call.told.id);
}

StsService::Answer StsService::assumeRole(Call& call) const {
  const Outcome<Session> caller = authenticate(call);
  if (!caller) return caller.refusal();
  Outcome<AssumeRequest> assume = readAssumeRole(call.parameters, false);
  if (!assume) return assume.refusal();
  if (std::optional<Refusal> refused = checkRoleArn(assume->roleArn)) return *refused;
  const std::string message = "User: " + caller->arn + " is not authorized to perform: sts:AssumeRole on resource: " + assume->roleArn;
  const std::shared_ptr<const Role> role = directory_.role(assume->roleArn);
  if (!role)
    return accessDenied(message, "role", "there is no role " + assume->roleArn,
                        "create the Role, or correct the name, the path and the account in the ARN");
  call.told.role = role->object;
  if (!assume->serialNumber.empty() || !assume->tokenCode.empty())
    return accessDenied("MultiFactorAuthentication failed with invalid MFA one time pass code. ", "parameters",
                        "podpass has no MFA devices");
  const bool chained = !caller->roleName.empty();
  if (!caller->sourceIdentity.empty() && !assume->sourceIdentity.empty() && caller->sourceIdentity != assume->sourceIdentity)
    return accessDenied(message, "source identity",
                        "the session already has the source identity " + quoted(caller->sourceIdentity) + ", which stays in the chain");
  if (assume->sourceIdentity.empty()) assume->sourceIdentity = caller->sourceIdentity;
  if (std::optional<Refusal> refused = inheritTags(*caller, *assume)) return *refused;
  TrustRequest trust;
  trust.actions = {"sts:AssumeRole"};
  askForMore(*assume, trust.actions);
  trust.callerType = api::PrincipalType::Aws;
  const std::string root = "arn:aws:iam::" + caller->account + ":root";
  trust.callerNames = {caller->arn};
  if (chained) trust.callerNames.push_back(caller->roleArn);
  trust.callerNames.insert(trust.callerNames.end(), {root, caller->account});
  trust.keys = keysOf(call, *assume);
  trust.keys["aws:PrincipalArn"] = {chained ? caller->roleArn : caller->arn};
  trust.keys["aws:PrincipalAccount"] = {caller->account};
  for (const auto& [key, value] : caller->tags) trust.keys["aws:PrincipalTag/" + key] = {value};
  addTagKeys(*assume, trust.keys);
  if (std::optional<Refusal> refused = checkTrust(*role, trust, message)) return *refused;
  const Outcome<std::int64_t> seconds = sessionSeconds(*assume, *role, chained);
  if (!seconds) return seconds.refusal();
  const Outcome<std::optional<int>> packed = packedPolicySize(*assume);
  if (!packed) return packed.refusal();
  Session session = sessionOf(directory_.account(), *role, *assume, *seconds, call.now);
  session.chained = chained;
  const Credentials credentials = keys_->mint(session);
  log::info(
      "role assumed",
      {{"request", call.told.id}, {"role", role->arn}, {"user", caller->arn}, {"session", session.arn}, {"key", credentials.accessKeyId}});
  std::vector<Element> result{assumedRoleUser(session), credentialsElement(credentials, session.expires)};
  if (*packed) result.push_back({"PackedPolicySize", std::to_string(**packed)});
  if (!session.sourceIdentity.empty()) result.push_back({"SourceIdentity", session.sourceIdentity});
  return successAnswer("AssumeRole", result, call.told.id);
}

}  // namespace podpass::irsa
