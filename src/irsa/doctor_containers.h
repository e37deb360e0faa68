#pragma once

#include <optional>

#include "irsa/aws.h"
#include "irsa/diagnosis.h"
#include "irsa/pod_mend.h"

// The part of doctor's way that the pod's own spec shows: what its containers were told, and what is mounted where. Pure.
namespace podpass::irsa {

enum class Method { WebIdentity, ContainerCredentials };

// The two variables with which a method tells an SDK of itself; they come together or not at all.
struct IdentityPair {
  const char *value, *tokenFile;  // the role's ARN or the endpoint's URL; the path of the token
};
constexpr IdentityPair kWebIdentityPair{"AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE"};
constexpr IdentityPair kContainerPair{"AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"};
constexpr IdentityPair pairOf(Method method) { return method == Method::WebIdentity ? kWebIdentityPair : kContainerPair; }

// Where a container finds its token.
struct TokenPlace {
  std::string container, path;
  std::string volume, audience;  // of the projected volume; empty: no such volume is there
};

struct PodSpec {
  const json::object& pod;
  Method method;
  std::string container;             // only this one is looked at; empty: all, and init containers
  std::string value;                 // that the first variable of the pair should have; empty: any
  std::string givenFile;             // where the webhook puts the token
  std::vector<std::string> skipped;  // containers that asked to be left alone
  const PodMend& mend;
};

const json::object* variableOf(const json::object& container, std::string_view name);  // null: not in `env`

// "env" and "mount". The place is of the first container that has a token file; nullopt: none has.
std::optional<TokenPlace> examineContainers(const PodSpec& spec, Diagnosis& diagnosis);
// "static-keys": whether something takes precedence. `keysOf`: names of the keys of a Secret or ConfigMap ("secrets", "configmaps"), which
// envFrom makes variables of.
void examineStaticKeys(const PodSpec& spec,
                       const std::function<Result<std::vector<std::string>>(std::string_view plural, const std::string& name)>& keysOf,
                       Diagnosis& diagnosis);
// "endpoint" and "region": where the SDKs will ask. `aws`: at AWS; else at podpass's STS, `sts` (may be empty: not known).
void examineEndpoint(const PodSpec& spec, bool aws, const std::string& sts, Diagnosis& diagnosis);

}  // namespace podpass::irsa
