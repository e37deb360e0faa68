#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "irsa/injection.h"

// The two AWS profiles: IAM roles for service accounts (web identity) and EKS Pod Identity (container credentials), as the pod identity
// webhook of Amazon EKS decides them from its flags, the annotations of the service account and those of the pod. Pure.
namespace podpass::irsa {

struct AwsSettings {
  std::string annotationPrefix = "eks.amazonaws.com";
  std::string audience = "sts.amazonaws.com";
  std::string mountPath = "/var/run/secrets/eks.amazonaws.com/serviceaccount";
  std::int64_t expirationSeconds = 86400;
  std::string region = {};  // empty: no region is injected
  bool regionalSts = false;
  // Role names are completed with these when set.
  std::string accountId = {};
  std::string partition = "aws";
  bool composeRoleArn = false;

  std::string containerCredentialsAudience = "pods.eks.amazonaws.com";
  std::string containerCredentialsMountPath = "/var/run/secrets/pods.eks.amazonaws.com/serviceaccount";
  std::string containerCredentialsVolume = "eks-pod-identity-token";
  std::string containerCredentialsTokenPath = "eks-pod-identity-token";
  std::string containerCredentialsFullUri = "http://169.254.170.23/v1/credentials";
};

// What a service account, or an entry of the ConfigMap, says; the flags are folded in.
struct RoleSettings {
  std::string roleArn;  // empty: it has no role
  std::string audience;
  bool regionalSts = false;
  std::int64_t expirationSeconds = 0;
  friend bool operator==(const RoleSettings&, const RoleSettings&) = default;
};

constexpr std::int64_t kMinExpiration = 600;

// From metadata.annotations of the service account; null: it has none.
RoleSettings roleSettings(const json::object* annotations, const AwsSettings& settings);

Injection webIdentity(const RoleSettings& role, const PodView& pod, const AwsSettings& settings);

// `role` is what is known of the service account, if anything. `jitter` in [0, kJitter] takes the place of the exact default life, so that
// the tokens of a fleet that started together do not end together.
constexpr std::int64_t kJitter = 7200;
Injection containerCredentials(const std::optional<RoleSettings>& role, const PodView& pod, const AwsSettings& settings,
                               std::int64_t jitter);

// The form that IAM gives to role ARNs; the webhook only warns of others.
bool isRoleArn(std::string_view arn);
std::string composedRoleArn(std::string_view value, const AwsSettings& settings);
std::string_view partitionOf(std::string_view region);

// Readers of annotation values, as Go's strconv and encoding/csv read them.
std::optional<bool> parseGoBool(std::string_view text);
std::optional<std::int64_t> parseGoInteger(std::string_view text);
// The first record of a CSV text, its fields without surrounding blanks; BadRequest when malformed.
Result<std::vector<std::string>> parseCsvRecord(std::string_view text);

}  // namespace podpass::irsa
