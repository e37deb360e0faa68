#include "irsa/doctor_containers.h"

#include <algorithm>
#include <boost/asio/ip/address.hpp>

#include "base/text.h"
#include "http/url.h"
#include "irsa/container_credentials.h"
#include "irsa/injection.h"

namespace podpass::irsa {
namespace {

using Objects = std::vector<const json::object*>;

Objects objectsIn(const json::array* list) {
  Objects all;
  if (list != nullptr)
    for (const json::value& each : *list)
      if (each.is_object()) all.push_back(&each.get_object());
  return all;
}

// Those that are looked at, init containers first, as they run.
Objects containersOf(const PodSpec& spec) {
  Objects all;
  for (const char* group : {"initContainers", "containers"})
    for (const json::object* each : objectsIn(arrayAt(spec.pod, {"spec", group})))
      if (spec.container.empty() || textAt(*each, {"name"}) == spec.container) all.push_back(each);
  return all;
}

std::string nameOf(const json::object& object) { return std::string(textAt(object, {"name"})); }
bool isSkipped(const PodSpec& spec, const std::string& name) {
  return std::find(spec.skipped.begin(), spec.skipped.end(), name) != spec.skipped.end();
}

std::optional<std::string> valueOf(const json::object& container, std::string_view name) {
  const json::object* variable = variableOf(container, name);
  return variable == nullptr ? std::nullopt : std::optional(std::string(textAt(*variable, {"value"})));
}

// ---- env

// What is wrong with the pair of one container; false: nothing.
bool brokenPair(const PodSpec& spec, const json::object& container, Diagnosis& diagnosis) {
  const IdentityPair pair = pairOf(spec.method);
  const std::string name = nameOf(container);
  const std::optional<std::string> value = valueOf(container, pair.value), file = valueOf(container, pair.tokenFile);
  const std::string where = "container " + name;
  if (value.has_value() != file.has_value()) {
    const char *has = value ? pair.value : pair.tokenFile, *lacks = value ? pair.tokenFile : pair.value;
    diagnosis.broken("env", where + " has " + has + " and no " + lacks,
                     "one of the pair keeps the webhook from giving the other: the SDKs need both, or find no credentials",
                     spec.mend.again("take " + std::string(has) + " out of the container's env, so that the webhook sets both",
                                     withoutVariables({pair.value, pair.tokenFile}, name)));
    return true;
  }
  if (!value) {
    if (isSkipped(spec, name)) return false;
    diagnosis.broken("env", where + " has neither " + pair.value + " nor " + pair.tokenFile, "the SDKs in it will not know of the token",
                     spec.mend.again("create the pod again, so that the webhook sets them"));
    return true;
  }
  if (!spec.value.empty() && *value != spec.value && spec.method == Method::WebIdentity) {
    diagnosis.broken("env", where + ": " + pair.value + "=" + quoted(*value),
                     "the service account says " + quoted(spec.value) + " now: the pod is older, or sets its own",
                     spec.mend.again("create the pod again, so that it gets the role that its service account has now",
                                     file == spec.givenFile ? "" : withoutVariables({pair.value, pair.tokenFile}, name)));
    return true;
  }
  return false;
}

void examineEnvironment(const PodSpec& spec, Diagnosis& diagnosis) {
  const IdentityPair pair = pairOf(spec.method);
  std::string having;
  for (const json::object* container : containersOf(spec)) {
    if (brokenPair(spec, *container, diagnosis)) return;
    if (variableOf(*container, pair.value) != nullptr) having += (having.empty() ? "" : ", ") + nameOf(*container);
  }
  if (having.empty()) return diagnosis.skipped("env", "every container asked to be left alone");
  diagnosis.ok("env", std::string(pair.value) + " and " + pair.tokenFile + " in " + having);
}

// ---- mount

const json::object* volumeNamed(const json::object& pod, std::string_view name) {
  for (const json::object* each : objectsIn(arrayAt(pod, {"spec", "volumes"})))
    if (textAt(*each, {"name"}) == name) return each;
  return nullptr;
}

bool isBelow(std::string_view path, std::string_view directory) {
  while (directory.size() > 1 && directory.ends_with('/')) directory.remove_suffix(1);
  return path == directory || (path.starts_with(directory) && path.size() > directory.size() && path[directory.size()] == '/');
}

// Mounts are Unix paths in Windows containers, too.
std::string unixPath(std::string path) {
  if (!path.starts_with("C:")) return path;
  std::replace(path.begin(), path.end(), '\\', '/');
  return path.substr(2);
}

// The source of a projected volume that writes the token to `file`; null: none does.
const json::object* tokenSourceOf(const json::object& volume, std::string_view file) {
  for (const json::object* source : objectsIn(arrayAt(volume, {"projected", "sources"})))
    if (const json::object* token = objectAt(*source, {"serviceAccountToken"});
        token != nullptr && (file.empty() || joinPath("/", textAt(*token, {"path"})) == joinPath("/", file)))
      return token;
  return nullptr;
}

std::int64_t userOf(const json::object& pod, const json::object& container) {
  return integerAt(container, {"securityContext", "runAsUser"}, integerAt(pod, {"spec", "securityContext", "runAsUser"}, -1));
}

// As the kubelet decides: the file is of the one user that all containers run as, or of fsGroup, or has the volume's mode and root as its
// owner.
bool isUnreadable(const PodSpec& spec, const json::object& container, const json::object& volume) {
  const std::int64_t user = userOf(spec.pod, container);
  if (user <= 0 || integerAt(spec.pod, {"spec", "securityContext", "fsGroup"}, -1) >= 0) return false;
  if ((integerAt(volume, {"projected", "defaultMode"}, 0644) & 04) != 0) return false;
  for (const char* group : {"initContainers", "containers"})
    for (const json::object* each : objectsIn(arrayAt(spec.pod, {"spec", group})))
      if (userOf(spec.pod, *each) != user) return true;
  return false;
}

// Two mounts at one path: the API server refuses the pod once the webhook has added its own.
bool collides(const PodSpec& spec, const json::object& container, Diagnosis& diagnosis) {
  const std::string given = spec.givenFile.substr(0, spec.givenFile.rfind('/'));
  Objects there;
  for (const json::object* mount : objectsIn(arrayAt(container, {"volumeMounts"})))
    if (textAt(*mount, {"mountPath"}) == given) there.push_back(mount);
  if (there.size() < 2) return false;
  const std::string name = nameOf(container), other = nameOf(*there.front()), elsewhere = "/mnt/" + other;
  diagnosis.broken("mount", "container " + name + " mounts " + quoted(other) + " at " + given,
                   "the webhook mounts the token there, and the API server refuses such a pod: mountPath must be unique",
                   spec.mend.again("mount " + quoted(other) + " elsewhere, and let the program look for it there",
                                   "(.spec[\"containers\",\"initContainers\"][]? | select(.name == " + jqQuoted(name) +
                                       ").volumeMounts[] | select(.name == " + jqQuoted(other) + ").mountPath) = " + jqQuoted(elsewhere)));
  return true;
}

// The mount below which the token file is, and what is wrong with it; nullopt: it was told.
std::optional<TokenPlace> placeIn(const PodSpec& spec, const json::object& container, const std::string& told, Diagnosis& diagnosis) {
  const std::string path = unixPath(told);
  const std::string name = nameOf(container), where = "container " + name;
  const IdentityPair pair = pairOf(spec.method);
  const json::object* best = nullptr;
  for (const json::object* mount : objectsIn(arrayAt(container, {"volumeMounts"})))
    if (isBelow(path, textAt(*mount, {"mountPath"})) &&
        (best == nullptr || textAt(*best, {"mountPath"}).size() < textAt(*mount, {"mountPath"}).size()))
      best = mount;
  const json::object* volume = best == nullptr ? nullptr : volumeNamed(spec.pod, textAt(*best, {"name"}));
  const std::string below = best == nullptr ? "" : path.substr(std::min(path.size(), textAt(*best, {"mountPath"}).size()));
  const bool subPath = best != nullptr && !(textAt(*best, {"subPath"}).empty() && textAt(*best, {"subPathExpr"}).empty());
  const json::object* token =
      volume == nullptr ? nullptr : tokenSourceOf(*volume, subPath ? textAt(*best, {"subPath"}) : std::string_view(below));
  if (token == nullptr) {
    const std::string found =
        volume == nullptr ? "nothing is mounted at " + path : "the volume " + quoted(nameOf(*volume)) + " has no token for " + path;
    const bool skipped = isSkipped(spec, name);
    diagnosis.broken("mount", where + ": " + found,
                     std::string(pair.tokenFile) + " names a file that will not be there: it was set by hand" +
                         (skipped ? ", and the container asked the webhook to leave it alone" : ""),
                     spec.mend.again("take " + std::string(pair.value) + " and " + pair.tokenFile + " out of the container's env" +
                                         (skipped ? "" : ", so that the webhook sets them and mounts the token"),
                                     withoutVariables({pair.value, pair.tokenFile}, name)));
    return std::nullopt;
  }
  if (subPath) {
    diagnosis.broken(
        "mount", where + " mounts " + path + " by subPath",
        "a file that is mounted by subPath is never renewed: the token in it ends, although the kubelet renews the volume",
        spec.mend.again("mount the whole volume, without subPath",
                        "(.spec[\"containers\",\"initContainers\"][]? | select(.name == " + jqQuoted(name) +
                            ").volumeMounts[] | select(.name == " + jqQuoted(nameOf(*best)) +
                            ")) |= (del(.subPath, .subPathExpr) | .mountPath = " + jqQuoted(path.substr(0, path.rfind('/'))) + ")"));
    return std::nullopt;
  }
  if (isUnreadable(spec, container, *volume)) {
    diagnosis.broken("mount",
                     where + " runs as user " + std::to_string(userOf(spec.pod, container)) + ", the volume's files are for root alone",
                     "the containers run as different users, and no fsGroup lets them read the token: Permission denied",
                     spec.mend.again("give the pod a group that may read its volumes", ".spec.securityContext.fsGroup = 65534"));
    return std::nullopt;
  }
  return TokenPlace{name, path, nameOf(*volume), std::string(textAt(*token, {"audience"}))};
}

// Who answers there: what a pod reaches cannot be asked from here.
std::string agentAt(const std::string& host, bool aws) {
  if (aws) return "the EKS Pod Identity Agent answers there, when it runs on the pod's node";
  if (host == kPodCredentialsAddress)
    return "podpass answers there in the pods of its own containerd; for those of `up --containerd` there is `up --container-credentials`";
  return "`podpass up --container-credentials` answers there, when it was given this address and the pod can reach it";
}

// The hosts to which SDKs send the token without TLS.
bool mayBeAsked(const std::string& host) {
  constexpr std::string_view kByName[] = {"localhost", "169.254.170.2", kPodCredentialsAddress, "fd00:ec2::23"};
  boost::system::error_code failed;
  const auto address = boost::asio::ip::make_address(host, failed);
  return (!failed && address.is_loopback()) || std::find(std::begin(kByName), std::end(kByName), host) != std::end(kByName);
}

}  // namespace

const json::object* variableOf(const json::object& container, std::string_view name) {
  for (const json::object* each : objectsIn(arrayAt(container, {"env"})))
    if (textAt(*each, {"name"}) == name) return each;
  return nullptr;
}

std::optional<TokenPlace> examineContainers(const PodSpec& spec, Diagnosis& diagnosis) {
  examineEnvironment(spec, diagnosis);
  const IdentityPair pair = pairOf(spec.method);
  std::optional<TokenPlace> first;
  for (const json::object* container : containersOf(spec)) {
    if (collides(spec, *container, diagnosis)) return std::nullopt;
    const std::optional<std::string> path = valueOf(*container, pair.tokenFile);
    if (!path || path->empty()) continue;
    const std::optional<TokenPlace> place = placeIn(spec, *container, *path, diagnosis);
    if (!place) return std::nullopt;
    if (!first) first = place;
  }
  if (first)
    diagnosis.ok("mount", "volume " + quoted(first->volume) + " with a token for " + quoted(first->audience) + " at " + first->path);
  else
    diagnosis.skipped("mount", "no container knows of a token");
  return first;
}

void examineStaticKeys(const PodSpec& spec,
                       const std::function<Result<std::vector<std::string>>(std::string_view, const std::string&)>& keysOf,
                       Diagnosis& diagnosis) {
  const std::vector<std::string> telling = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"};
  const std::string why =
      "static keys in the environment come before the token in every SDK's chain: the program is somebody else, without any error";
  std::optional<Error> unread;
  std::string what;
  for (const json::object* container : containersOf(spec)) {
    const std::string name = nameOf(*container);
    if (variableOf(*container, telling[0]) != nullptr)
      return diagnosis.broken("static-keys", "container " + name + " has " + telling[0], why,
                              spec.mend.again("take the static keys out of the container's env", withoutVariables(telling, name)));
    for (const json::object* source : objectsIn(arrayAt(*container, {"envFrom"})))
      for (const auto& [member, plural] : {std::pair{"secretRef", "secrets"}, std::pair{"configMapRef", "configmaps"}}) {
        const std::string object(textAt(*source, {member, "name"}));
        if (object.empty()) continue;
        const Result<std::vector<std::string>> keys = keysOf(plural, object);
        if (!keys && keys.error().reason != Reason::NotFound) {
          unread = keys.error();
          what = std::string("get ") + plural + " " + object;
        }
        const auto becomes = [&](const std::string& key) { return std::string(textAt(*source, {"prefix"})) + key == telling[0]; };
        if (keys && std::any_of(keys->begin(), keys->end(), becomes))
          return diagnosis.broken(
              "static-keys",
              "container " + name + " has " + telling[0] + " of " + std::string(plural) + " " + quoted(object) + " by envFrom", why,
              spec.mend.again("take " + quoted(object) + " out of the container's envFrom",
                              "del(.spec[\"containers\",\"initContainers\"][]? | select(.name == " + jqQuoted(name) +
                                  ").envFrom[]? | select(." + member + ".name == " + jqQuoted(object) + "))"));
      }
  }
  if (unread) return diagnosis.unknown("static-keys", what, *unread);
  diagnosis.ok("static-keys", "no container has keys of its own");
}

void examineEndpoint(const PodSpec& spec, bool aws, const std::string& sts, Diagnosis& diagnosis) {
  const json::object* told = nullptr;  // the first container that knows of a token
  for (const json::object* each : containersOf(spec))
    if (told == nullptr && variableOf(*each, pairOf(spec.method).tokenFile) != nullptr) told = each;
  if (told == nullptr) {
    diagnosis.skipped("endpoint", "no container knows of a token");
    return diagnosis.skipped("region", "no container knows of a token");
  }
  const auto has = [told](std::string_view name) { return variableOf(*told, name) != nullptr; };
  const std::string name = nameOf(*told), where = "container " + name;
  const auto injecting = [&](json::array env) {
    return applyCommand({{"apiVersion", "identity.podpass.dev/v1"},
                         {"kind", "TokenInjection"},
                         {"metadata", json::object{{"name", "sts-endpoint"}}},
                         {"spec", json::object{{"profile", "AWSWebIdentity"}, {"env", std::move(env)}}}});
  };
  const auto variable = [](std::string_view key, std::string_view value) { return json::object{{"name", key}, {"value", value}}; };
  const std::optional<std::string> uri = valueOf(*told, kContainerPair.value), mode = valueOf(*told, "AWS_STS_REGIONAL_ENDPOINTS");
  if (spec.method == Method::ContainerCredentials) {
    const Result<http::Url> url = http::parseUrl(uri.value_or(""));
    const bool inHost = booleanAt(spec.pod, {"spec", "hostNetwork"});
    if (url && url->host == kPodCredentialsAddress && inHost && !aws)
      diagnosis.broken(
          "endpoint", *uri, "the pod is in the host's network, and podpass serves this address in its pods' own networks only",
          spec.mend.again(
              "create the pod again without hostNetwork, or name a loopback address of `podpass up --container-credentials` in its env",
              "del(.spec.hostNetwork)"));
    else if (url && (url->secure || mayBeAsked(url->host)))
      diagnosis.ok("endpoint", *uri, agentAt(url->host, aws));
    else
      diagnosis.broken("endpoint", quoted(uri.value_or("")),
                       "SDKs ask plain http endpoints only at loopback, 169.254.170.2, 169.254.170.23 and fd00:ec2::23",
                       spec.mend.again("take the variable out, so that the webhook sets it",
                                       withoutVariables({kContainerPair.value, kContainerPair.tokenFile}, name)));
  } else if (has("AWS_ENDPOINT_URL_STS") || has("AWS_ENDPOINT_URL") || has("HTTPS_PROXY") || has("https_proxy")) {
    diagnosis.ok("endpoint", where + " is told where STS is");
  } else if (mode && *mode == "legacy") {
    diagnosis.broken(
        "endpoint", where + " has AWS_STS_REGIONAL_ENDPOINTS=legacy",
        "the SDKs ask https://sts.amazonaws.com, which VPC endpoints do not serve and egress rules often close",
        spec.mend.again("let the SDKs ask the STS of the region", withVariable(name, "AWS_STS_REGIONAL_ENDPOINTS", "regional")));
  } else if (!aws) {
    const std::string text = "tell the pods of a role where podpass's STS is, with a TokenInjection, then create the pod again";
    json::array env;
    env.push_back(variable("AWS_ENDPOINT_URL_STS", sts));
    Mend mend = sts.empty() ? Mend{text + "; its URL is `stsForPods`, or `sts`, of endpoints.json (--sts names it to doctor)", {}}
                            : spec.mend.again(text, {}, injecting(std::move(env)));
    diagnosis.broken("endpoint", where + " has neither AWS_ENDPOINT_URL_STS nor HTTPS_PROXY",
                     "the SDKs ask AWS at https://sts.amazonaws.com, which knows nothing of this cluster", std::move(mend));
  } else {
    diagnosis.ok("endpoint", mode ? "AWS_STS_REGIONAL_ENDPOINTS=" + *mode : std::string("the SDK's default"),
                 mode ? ""
                      : "SDKs of before mid-2025 ask the global endpoint: annotate the service account with sts-regional-endpoints=true "
                        "where only the region's is open");
  }
  const bool region = has("AWS_REGION"), standard = has("AWS_DEFAULT_REGION");
  if (region && standard) return diagnosis.ok("region", "AWS_REGION and AWS_DEFAULT_REGION are set");
  const std::string known = valueOf(*told, region ? "AWS_REGION" : "AWS_DEFAULT_REGION").value_or("us-east-1");
  const std::string why = region ? "boto3 and CLI v1 read AWS_DEFAULT_REGION only: You must specify a region"
                          : standard
                              ? "the JavaScript SDK reads AWS_REGION only: Region is missing"
                              : "programs that do not name a region themselves fail: You must specify a region, or Region is missing";
  diagnosis.broken("region",
                   where + " has " +
                       (region     ? "AWS_REGION"
                        : standard ? "AWS_DEFAULT_REGION"
                                   : "neither AWS_REGION nor AWS_DEFAULT_REGION") +
                       (region || standard ? " only" : ""),
                   why,
                   spec.mend.again("set both, here or for all pods by the webhook's --aws-default-region",
                                   withVariable(name, "AWS_REGION", known) + " | " + withVariable(name, "AWS_DEFAULT_REGION", known)));
}

}  // namespace podpass::irsa
