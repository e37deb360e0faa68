#include "irsa/sts_session.h"

#include <algorithm>
#include <boost/asio/ip/address.hpp>

#include "api/iam_names.h"
#include "base/text.h"
#include "irsa/connect_proxy.h"

namespace podpass::irsa {
namespace {

constexpr std::size_t kPackedLimit = 2048;
constexpr std::int64_t kChainedLimit = 3600, kDefaultSeconds = 3600;

std::int64_t epoch(WallTime time) { return std::chrono::duration_cast<std::chrono::seconds>(time.time_since_epoch()).count(); }

// Of "127.0.0.1:5123" or "[::1]:5123"; "" when there is none.
std::string addressOf(const std::string& remote) {
  std::string text = remote.substr(0, remote.rfind(':'));
  if (text.starts_with("[") && text.ends_with("]")) text = text.substr(1, text.size() - 2);
  boost::system::error_code failed;
  const auto address = boost::asio::ip::make_address(text, failed);
  return failed ? "" : address.to_string();
}

}  // namespace

ConditionKeys requestKeys(const AssumeRequest& assume, WallTime now) {
  ConditionKeys keys;
  keys["sts:RoleSessionName"] = {assume.sessionName};
  if (assume.durationSeconds) keys["sts:DurationSeconds"] = {std::to_string(*assume.durationSeconds)};
  keys["aws:CurrentTime"] = {rfc3339(now)};
  keys["aws:EpochTime"] = {std::to_string(epoch(now))};
  return keys;
}

void addArrivalKeys(const http::Request& request, const Arrival& arrival, ConditionKeys& keys) {
  if (const std::string address = addressOf(arrival.remote); !address.empty()) keys["aws:SourceIp"] = {address};
  keys["aws:SecureTransport"] = {arrival.secure ? "true" : "false"};
  if (const std::string_view agent = request.headers.find("User-Agent"); !agent.empty()) keys["aws:UserAgent"] = {std::string(agent)};
}

std::string regionOfHost(std::string_view host) {
  const std::string name = api::lowered(host.substr(0, host.rfind(':')));
  const auto& names = stsHostNames();
  if (std::find(names.begin(), names.end(), name) == names.end()) return "";
  if (name == "sts.amazonaws.com") return "us-east-1";
  const std::size_t start = name.find('.') + 1;
  return name.substr(start, name.find('.', start) - start);
}

void addTagKeys(const AssumeRequest& assume, ConditionKeys& keys) {
  if (!assume.sourceIdentity.empty()) keys["sts:SourceIdentity"] = {assume.sourceIdentity};
  if (!assume.externalId.empty()) keys["sts:ExternalId"] = {assume.externalId};
  for (const SessionTag& tag : assume.tags) {
    keys["aws:RequestTag/" + tag.key] = {tag.value};
    keys["aws:TagKeys"].push_back(tag.key);
  }
  if (!assume.transitiveTagKeys.empty()) keys["sts:TransitiveTagKeys"] = assume.transitiveTagKeys;
}

std::optional<Refusal> inheritTags(const Session& caller, AssumeRequest& assume) {
  SessionTags handedOn;  // each once, however often the caller's own request named it
  for (const std::string& key : caller.transitiveTags)
    if (const auto tag = caller.tags.find(key); tag != caller.tags.end()) handedOn.insert(*tag);
  for (const auto& [key, value] : handedOn) {
    assume.tags.push_back({key, value});
    assume.transitiveTagKeys.push_back(key);
  }
  if (problemOf(assume.tags, assume.transitiveTagKeys))
    return Refusal{
        400, "InvalidParameterValue",
        "One of the specified transitive tag keys can't be set because it conflicts with a transitive tag key from the calling session.",
        "tags", "a tag that the calling session hands on cannot be set again, whatever the case of its key"};
  if (assume.tags.size() <= kMostTags) return std::nullopt;
  Refusal refusal = validationError(
      "1 validation error detected: Value at 'tags' failed to satisfy constraint: Member must have length less than or equal to 50");
  refusal.check = "tags";
  refusal.reason = "with those that the calling session hands on the session would have " + std::to_string(assume.tags.size()) + " tags";
  return refusal;
}

void askForMore(const AssumeRequest& assume, std::vector<std::string>& actions) {
  if (!assume.tags.empty() || !assume.transitiveTagKeys.empty()) actions.emplace_back("sts:TagSession");
  if (!assume.sourceIdentity.empty()) actions.emplace_back("sts:SetSourceIdentity");
}

std::optional<Refusal> checkRoleArn(const std::string& arn) {
  const std::size_t account = arn.find(":iam::"), type = account == std::string::npos ? account : account + 6 + 12;
  const bool good = arn.starts_with("arn:aws") && account != std::string::npos && arn.find(':', 4) == account && arn.size() > type &&
                    api::isAccount(std::string_view(arn).substr(account + 6, 12)) && arn.compare(type, 6, ":role/") == 0 &&
                    arn.size() > type + 6 && arn.find_first_of(" \t\n\"'") == std::string::npos;
  if (good) return std::nullopt;
  Refusal refusal = validationError("Request ARN is invalid");
  refusal.reason = quoted(arn) + " is not the ARN of a role";
  refusal.fix = "write it as arn:aws:iam::ACCOUNT:role/NAME";
  return refusal;
}

Outcome<std::optional<int>> packedPolicySize(const AssumeRequest& assume) {
  if (!assume.policy.empty()) {
    if (const Result<void> checked = api::checkSessionPolicy(assume.policy); !checked) {
      const std::string& sentence = checked.error().sentence;  // AWS's, and where
      return Refusal{400, "MalformedPolicyDocument", sentence.substr(0, sentence.rfind(" (at ")), "session policy", sentence};
    }
  }
  std::size_t tags = 0, arns = 0;
  for (const SessionTag& tag : assume.tags) tags += tag.key.size() + tag.value.size();
  for (const std::string& arn : assume.policyArns) arns += arn.size();
  const std::size_t size = assume.policy.size() + tags + arns, percent = (size * 100 + kPackedLimit - 1) / kPackedLimit;
  if (size == 0) return std::optional<int>();
  if (percent <= 100) return std::optional<int>(static_cast<int>(percent));
  if (tags == size)
    return Refusal{400, "PackedPolicyTooLarge", "Packed size of session tags consumes " + std::to_string(percent) + "% of allotted space.",
                   "session policy"};
  return Refusal{400, "PackedPolicyTooLarge",
                 "Packed policy consumes " + std::to_string(percent) + "% of allotted space, please use smaller policy.", "session policy"};
}

Outcome<std::int64_t> sessionSeconds(const AssumeRequest& assume, const Role& role, bool chained) {
  const std::int64_t seconds = assume.durationSeconds.value_or(kDefaultSeconds);
  if (chained && seconds > kChainedLimit) {
    Refusal refusal = validationError("The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining");
    refusal.check = "duration";
    return refusal;
  }
  if (seconds <= role.maxSession) return seconds;
  Refusal refusal = validationError("The requested DurationSeconds exceeds the MaxSessionDuration set for this role.");
  refusal.check = "duration";
  refusal.reason = "asked for " + std::to_string(seconds) + " s, the role allows " + std::to_string(role.maxSession) + " s";
  refusal.fix = "ask for less, or raise spec.maxSessionDuration of the role " + role.name;
  return refusal;
}

Refusal accessDenied(std::string message, std::string check, std::string reason, std::string fix, const TrustVerdict* verdict) {
  Refusal refusal{403, "AccessDenied", std::move(message), std::move(check), std::move(reason), std::move(fix)};
  if (verdict != nullptr) refusal.verdict = toJson(*verdict);
  return refusal;
}

std::optional<Refusal> checkTrust(const Role& role, const TrustRequest& trust, const std::string& message) {
  if (!role.trust) return accessDenied(message, "trust policy", "the role's trust policy cannot be read: " + role.trust.error().sentence);
  const TrustVerdict verdict = judge(*role.trust, trust);
  if (verdict.allowed) return std::nullopt;
  return accessDenied(message, "trust policy", verdict.reason, verdict.fix, &verdict);
}

Session sessionOf(const std::string& account, const Role& role, const AssumeRequest& assume, std::int64_t seconds, WallTime now) {
  Session session{.account = account,
                  .arn = "arn:aws:sts::" + account + ":assumed-role/" + role.name + "/" + assume.sessionName,
                  .userId = role.id + ":" + assume.sessionName,
                  .roleName = role.name,
                  .roleArn = role.arn};
  session.issuedAt = epoch(now);
  session.expires = session.issuedAt + seconds;
  session.sourceIdentity = assume.sourceIdentity;
  for (const SessionTag& tag : assume.tags) session.tags[tag.key] = tag.value;
  session.transitiveTags = assume.transitiveTagKeys;
  return session;
}

}  // namespace podpass::irsa
