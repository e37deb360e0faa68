#include "api/causes.h"
#include "api/codec.h"
#include "api/fields.h"
#include "api/kinds.h"

// EKS Pod Identity's associations as an ordinary kind, in the namespace of the service account.
namespace podpass::api {
namespace {

std::string_view roleArnProblem(std::string_view arn) {
  const bool good = arn.starts_with("arn:aws") && arn.find(":iam::") != std::string_view::npos &&
                    arn.find(":role/") != std::string_view::npos && arn.size() <= 2048;
  return good ? "" : "must be the ARN of an IAM role: arn:aws:iam::ACCOUNT:role/NAME";
}

// An account can be one role at a time: it stays who it was made for.
void keepAccount(const json::object& now, const json::object& before, Causes& causes) {
  const std::string_view account = textAt(now, {"spec", "serviceAccountName"});
  if (account != textAt(before, {"spec", "serviceAccountName"}))
    causes.push_back(invalidText("spec.serviceAccountName", account, "field is immutable"));
}

}  // namespace

const Kind& podIdentityAssociationKind() {
  static const Kind kind{
      .group = "identity.podpass.dev",
      .version = "v1",
      .kind = "PodIdentityAssociation",
      .plural = "podidentityassociations",
      .singular = "podidentityassociation",
      .shortNames = {"pia"},
      .namespaced = true,
      .hasGeneration = true,
      .doc =
          "PodIdentityAssociation lets the pods of a service account be an IAM role: they get its credentials from the endpoint on their "
          "node.",
      .definition = "dev.podpass.identity.v1.PodIdentityAssociation",
      .fields = {required(
          object("spec", 2,
                 {required(checked(subdomainProblem, text("serviceAccountName", 1, "The service account, in this namespace."))),
                  required(checked(roleArnProblem, text("roleArn", 2, "The role that its pods assume."))),
                  checked(roleArnProblem, text("targetRoleArn", 3, "A role, often of another account, that the first role then assumes.")),
                  boolean("disableSessionTags", 4, "True: the session has no tags that name cluster, namespace, pod and account."),
                  map("tags", 5, Type::String, "Of the association itself.")},
                 "Who is which role."))},
      .columns = {textColumn("Service Account", {"spec", "serviceAccountName"}), textColumn("Role", {"spec", "roleArn"}), ageColumn()},
      .validateUpdate = keepAccount};
  return kind;
}

}  // namespace podpass::api
