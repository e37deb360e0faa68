#include "irsa/aws.h"

#include <algorithm>
#include <charconv>

#include "base/log.h"

namespace podpass::irsa {
namespace {

constexpr std::int64_t kDefaultExpiration = 86400;

std::optional<std::string_view> annotation(const json::object* annotations, std::string_view prefix, std::string_view name) {
  if (annotations == nullptr) return std::nullopt;
  std::string key(prefix);
  key += '/';
  key += name;
  const json::value* value = annotations->if_contains(key);
  if (value == nullptr || !value->is_string()) return std::nullopt;
  return std::string_view(value->get_string());
}

std::optional<std::int64_t> expirationIn(const json::object* annotations, const AwsSettings& settings) {
  const std::optional<std::string_view> text = annotation(annotations, settings.annotationPrefix, "token-expiration");
  if (!text) return std::nullopt;
  const std::optional<std::int64_t> seconds = parseGoInteger(*text);
  if (!seconds) {
    log::debug("token-expiration annotation ignored: not a number");
    return std::nullopt;
  }
  return std::max(*seconds, kMinExpiration);
}

std::vector<std::string> skippedContainers(const PodView& pod, const AwsSettings& settings) {
  const std::optional<std::string_view> text = annotation(pod.annotations, settings.annotationPrefix, "skip-containers");
  if (!text) return {};
  Result<std::vector<std::string>> names = parseCsvRecord(*text);
  if (names) return *std::move(names);
  log::warn("could not parse the skip-containers annotation: no container is skipped",
            {{"name", std::string(pod.name)}, {"err", names.error().sentence}});
  return {};
}

// What both methods add besides their own pair.
std::vector<VariableGroup> commonVariables(bool regional, const AwsSettings& settings) {
  VariableGroup sts{{"AWS_STS_REGIONAL_ENDPOINTS"}, {}}, region{{"AWS_REGION", "AWS_DEFAULT_REGION"}, {}};
  if (regional) sts.variables.push_back({"AWS_STS_REGIONAL_ENDPOINTS", "regional"});
  if (!settings.region.empty()) region.variables = {{"AWS_DEFAULT_REGION", settings.region}, {"AWS_REGION", settings.region}};
  std::vector<VariableGroup> groups;
  groups.reserve(3);
  groups.push_back(std::move(sts));
  groups.push_back(std::move(region));
  return groups;
}

// Variables that come together: each is named as it is set.
VariableGroup pairOf(std::string_view first, std::string firstValue, std::string_view second, std::string secondValue) {
  VariableGroup group;
  group.names.reserve(2);
  group.variables.reserve(2);
  group.variables.push_back({group.names.emplace_back(first), std::move(firstValue)});
  group.variables.push_back({group.names.emplace_back(second), std::move(secondValue)});
  return group;
}

std::string tokenFile(const PodView& pod, std::string_view mountPath, std::string_view tokenPath) {
  std::string path = joinPath(mountPath, tokenPath);
  return pod.windows ? windowsPath(path) : path;
}

bool isWordCharacter(char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }

}  // namespace

RoleSettings roleSettings(const json::object* annotations, const AwsSettings& settings) {
  const std::string& prefix = settings.annotationPrefix;
  RoleSettings role{{}, settings.audience, settings.regionalSts, std::max(settings.expirationSeconds, kMinExpiration)};
  if (const auto arn = annotation(annotations, prefix, "role-arn"); arn && !arn->empty()) role.roleArn = composedRoleArn(*arn, settings);
  if (const auto audience = annotation(annotations, prefix, "audience")) role.audience = *audience;
  if (const auto regional = annotation(annotations, prefix, "sts-regional-endpoints"))
    role.regionalSts = parseGoBool(*regional).value_or(role.regionalSts);
  role.expirationSeconds = expirationIn(annotations, settings).value_or(role.expirationSeconds);
  return role;
}

Injection webIdentity(const RoleSettings& role, const PodView& pod, const AwsSettings& settings) {
  Injection injection;
  injection.volume = "aws-iam-token";
  injection.mountPath = settings.mountPath;
  injection.tokenPath = "token";
  injection.audience = role.audience;
  injection.expirationSeconds = expirationIn(pod.annotations, settings).value_or(role.expirationSeconds);
  injection.environment = commonVariables(role.regionalSts, settings);
  injection.environment.push_back(
      pairOf("AWS_ROLE_ARN", role.roleArn, "AWS_WEB_IDENTITY_TOKEN_FILE", tokenFile(pod, settings.mountPath, "token")));
  injection.leaveComplete = true;
  injection.skipContainers = skippedContainers(pod, settings);
  return injection;
}

Injection containerCredentials(const std::optional<RoleSettings>& role, const PodView& pod, const AwsSettings& settings,
                               std::int64_t jitter) {
  Injection injection;
  injection.volume = settings.containerCredentialsVolume;
  injection.mountPath = settings.containerCredentialsMountPath;
  injection.tokenPath = settings.containerCredentialsTokenPath;
  injection.audience = settings.containerCredentialsAudience;
  injection.expirationSeconds = expirationIn(pod.annotations, settings).value_or(role ? role->expirationSeconds : kDefaultExpiration);
  if (injection.expirationSeconds == kDefaultExpiration) injection.expirationSeconds += jitter - kJitter;
  injection.environment = commonVariables(role && role->regionalSts, settings);
  injection.environment.push_back(pairOf("AWS_CONTAINER_CREDENTIALS_FULL_URI", settings.containerCredentialsFullUri,
                                         "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
                                         tokenFile(pod, injection.mountPath, injection.tokenPath)));
  injection.leaveComplete = true;
  injection.labels.push_back({"eks.amazonaws.com/pod-identity", "enabled"});  // of this name whatever the annotation prefix
  injection.skipContainers = skippedContainers(pod, settings);
  return injection;
}

// ^arn:aws[a-z0-9-]*:iam::\d{12}:role\/[\w-\/.@+=,]+$
bool isRoleArn(std::string_view arn) {
  constexpr std::string_view kStart = "arn:aws", kIam = ":iam::", kRole = ":role/";
  if (!arn.starts_with(kStart)) return false;
  const std::size_t iam = arn.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-", kStart.size());
  if (iam == std::string_view::npos || !arn.substr(iam).starts_with(kIam)) return false;
  const std::string_view account = arn.substr(iam + kIam.size()).substr(0, 12);
  if (account.size() != 12 || account.find_first_not_of("0123456789") != std::string_view::npos) return false;
  std::string_view rest = arn.substr(iam + kIam.size() + 12);
  if (!rest.starts_with(kRole)) return false;
  rest.remove_prefix(kRole.size());
  return !rest.empty() && std::all_of(rest.begin(), rest.end(), [](char c) {
    return isWordCharacter(c) || std::string_view("-/.@+=,").find(c) != std::string_view::npos;
  });
}

std::string composedRoleArn(std::string_view value, const AwsSettings& settings) {
  if (!settings.composeRoleArn || value.find("arn:") != std::string_view::npos) return std::string(value);
  return "arn:" + settings.partition + ":iam::" + settings.accountId + ":role/" + std::string(value);
}

std::string_view partitionOf(std::string_view region) {
  constexpr std::pair<std::string_view, std::string_view> kPartitions[] = {
      {"cn-", "aws-cn"}, {"us-gov-", "aws-us-gov"}, {"us-iso-", "aws-iso"}, {"us-isob-", "aws-iso-b"}, {"eusc-", "aws-eusc"}};
  for (const auto& [prefix, partition] : kPartitions)
    if (region.starts_with(prefix)) return partition;
  return "aws";
}

std::optional<bool> parseGoBool(std::string_view text) {
  for (const std::string_view yes : {"1", "t", "T", "TRUE", "true", "True"})
    if (text == yes) return true;
  for (const std::string_view no : {"0", "f", "F", "FALSE", "false", "False"})
    if (text == no) return false;
  return std::nullopt;
}

std::optional<std::int64_t> parseGoInteger(std::string_view text) {
  if (text.size() > 1 && text[0] == '+' && text[1] != '-') text.remove_prefix(1);
  std::int64_t number = 0;
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (failed != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

Result<std::vector<std::string>> parseCsvRecord(std::string_view text) {
  text.remove_prefix(std::min(text.find_first_not_of("\r\n"), text.size()));  // empty lines do not count
  if (text.empty()) return Error{Reason::BadRequest, "EOF"};
  std::vector<std::string> fields;
  std::size_t i = 0;
  for (;;) {
    std::string field;
    if (i < text.size() && text[i] == '"') {
      for (++i;; ++i) {
        if (i >= text.size()) return Error{Reason::BadRequest, "extraneous or missing \" in quoted-field"};
        if (text[i] != '"')
          field += text[i];
        else if (i + 1 < text.size() && text[i + 1] == '"')
          field += text[i++];
        else
          break;
      }
      ++i;
      if (i < text.size() && text[i] != ',' && text[i] != '\n' && text[i] != '\r')
        return Error{Reason::BadRequest, "extraneous or missing \" in quoted-field"};
    } else {
      const std::size_t end = std::min(text.find_first_of(",\n", i), text.size());
      field = text.substr(i, end - i);
      if (field.find('"') != std::string::npos) return Error{Reason::BadRequest, "bare \" in non-quoted-field"};
      i = end;
    }
    field.erase(0, field.find_first_not_of(" \t\r"));  // no container is called " b"; who wrote "a, b" meant b
    field.erase(field.find_last_not_of(" \t\r") + 1);
    fields.push_back(std::move(field));
    if (i >= text.size() || text[i] != ',') return fields;
    ++i;
  }
}

}  // namespace podpass::irsa
