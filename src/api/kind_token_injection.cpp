#include "api/causes.h"
#include "api/codec.h"
#include "api/fields.h"
#include "api/kinds.h"
#include "api/selector.h"

// What the pod identity webhook gives to pods besides what AWS asks for. Values may hold ${…}: see the field docs.
namespace podpass::api {
namespace {

constexpr std::string_view kTemplate =
    "May hold ${tokenFile}, ${mountPath}, ${namespace}, ${serviceAccount}, ${annotation:KEY} of the service account and "
    "${annotation:KEY|default}.";

// "" when every ${ has its } and names something that exists.
std::string_view templateProblem(std::string_view text) {
  for (std::size_t from = text.find("${"); from != std::string_view::npos; from = text.find("${", from)) {
    const std::size_t end = text.find('}', from);
    if (end == std::string_view::npos) return "has a ${ without }";
    const std::string_view name = text.substr(from + 2, end - from - 2);
    const bool known = name == "tokenFile" || name == "mountPath" || name == "namespace" || name == "serviceAccount";
    if (!known && !(name.starts_with("annotation:") && name.size() > 11))
      return "may hold ${tokenFile}, ${mountPath}, ${namespace}, ${serviceAccount} and ${annotation:KEY}";
    from = end;
  }
  return {};
}

std::string_view accountProblem(std::string_view account) {
  const std::size_t slash = account.find('/');
  if (slash == std::string_view::npos) return "must be namespace/name or */name";
  const std::string_view ns = account.substr(0, slash);
  if (ns != "*" && !labelProblem(ns).empty()) return "must begin with the name of a namespace, or *";
  return subdomainProblem(account.substr(slash + 1));
}

std::string_view absolutePathProblem(std::string_view path) {
  if (!path.starts_with('/')) return "must be an absolute path";
  return path.find(':') == std::string_view::npos ? "" : "must not contain ':'";
}

void validateInjection(const json::object& injection, Causes& causes) {
  const json::object* spec = objectAt(injection, {"spec"});
  if (spec == nullptr) return;
  if (const json::object* selector = objectAt(*spec, {"match", "podSelector"}))
    if (const Result<LabelSelector> parsed = LabelSelector::fromObject(selector); !parsed)
      causes.push_back({"spec.match.podSelector", "Invalid value: " + parsed.error().sentence, "FieldValueInvalid"});
  if (!textAt(*spec, {"profile"}).empty()) return;
  for (const std::string_view name : {"volumeName", "mountPath"})
    if (textAt(*spec, {name}).empty()) causes.push_back(requiredValue(under("spec", name), "there is no profile that says it"));
  if (objectAt(*spec, {"match"}) == nullptr) causes.push_back(requiredValue("spec.match", "there is no profile that says it"));
}

}  // namespace

const Kind& tokenInjectionKind() {
  static const Kind kind{
      .group = "identity.podpass.dev",
      .version = "v1",
      .kind = "TokenInjection",
      .plural = "tokeninjections",
      .singular = "tokeninjection",
      .hasGeneration = true,
      .doc =
          "TokenInjection says which pods get a token of their service account for somebody outside of the cluster, and how a program "
          "in the pod learns of it. A profile is a ready-made one; what is given beside it takes the place of what it says.",
      .definition = "dev.podpass.identity.v1.TokenInjection",
      .fields = {required(object(
          "spec", 2,
          {oneOf({"AWSWebIdentity", "AzureWorkloadIdentity", "EKSPodIdentity", "GoogleWorkloadIdentity", "Vault"},
                 text("profile", 1, "A ready-made injection.")),
           object("match", 2,
                  {text("serviceAccountAnnotation", 1, "The service account must have this annotation, not empty."),
                   object("podSelector", 2, labelSelector(), "The pod must have these labels."),
                   checked(accountProblem, texts("serviceAccounts", 3, "namespace/name or */name: the pod must use one of these."))},
                  "Which pods; every part that is given must hold."),
           checked(templateProblem, text("audience", 3, "Who may accept the token; empty means the API server.")),
           atLeast(600, integer("expirationSeconds", 4, "Life of the token in seconds.")),
           text("expirationAnnotation", 5, "Annotation of the pod, or else the service account, that says the life instead."),
           checked(labelProblem, text("volumeName", 6, "Name of the volume.")),
           checked(absolutePathProblem, text("mountPath", 7, "Where it is mounted in every container.")),
           checked(relativePathProblem, text("tokenPath", 8, "The token's file below mountPath; token when empty.")),
           list("env", 9,
                {required(checked(environmentNameProblem, text("name", 1))),
                 checked(templateProblem, text("value", 2, "A variable whose value is empty is left out.")),
                 text("group", 3, "Variables of one group come together, or not at all when the container has one of them.")},
                kTemplate),
           list("files", 10,
                {required(checked(relativePathProblem, text("path", 1, "Below mountPath."))), checked(templateProblem, text("text", 2)),
                 anything("json", 3, "A JSON document in place of text: members whose text comes out empty are left out.")},
                kTemplate),
           map("podLabels", 11, Type::String, "Added to the pod."),
           text("skipContainersAnnotation", 12, "Annotation of the pod with the names of containers to leave alone, between , or ;"),
           boolean("replaceExisting", 13, "A volume or mount of that name is replaced rather than kept."),
           boolean("hashVolumeName", 14, "The volume's name goes on with - and 30 digits of a hash of the pod's name."),
           object("expirationLimits", 15, {required(atLeast(600, integer("min", 1))), required(atLeast(600, integer("max", 2)))},
                  "A pod that asks for another life in the annotation is refused; without limits what is too short is made 600."),
           atLeast(1, integer("jitterSeconds", 16, "The life is shortened by up to so many seconds when it is expirationSeconds."))},
          "Which pods get what."))},
      .columns = {textColumn("Profile", {"spec", "profile"}, "<none>"), textColumn("Audience", {"spec", "audience"}), ageColumn()},
      .validate = validateInjection};
  return kind;
}

}  // namespace podpass::api
