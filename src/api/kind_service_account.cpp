#include "api/fields.h"
#include "api/kinds.h"

namespace podpass::api {

const Kind& serviceAccountKind() {
  static const Kind kind{
      .group = "",
      .version = "v1",
      .kind = "ServiceAccount",
      .plural = "serviceaccounts",
      .singular = "serviceaccount",
      .shortNames = {"sa"},
      .namespaced = true,
      .doc =
          "ServiceAccount binds together a name that people and systems understand as an identity, a principal that can be "
          "authenticated and authorized, and a set of secrets.",
      .definition = "io.k8s.api.core.v1.ServiceAccount",
      .fields = {mergedBy("name", list("secrets", 2, objectReference(), "The secrets that pods of this service account may use.")),
                 list("imagePullSecrets", 3, localObjectReference(),
                      "Secrets in the same namespace for pulling the images of pods that use this service account."),
                 boolean("automountServiceAccountToken", 4,
                         "Whether pods running as this service account have an API token mounted. A pod may override it.")},
      .columns = {{.name = "Secrets",
                   .type = "string",
                   .doc = "Number of secrets.",
                   .cell =
                       [](const json::object& object, WallTime) {
                         const json::array* secrets = arrayAt(object, {"secrets"});
                         return json::value(secrets == nullptr ? 0 : secrets->size());
                       }},
                  ageColumn()},
      .subresources = {{.name = "token", .kind = "TokenRequest", .group = "authentication.k8s.io", .version = "v1", .verbs = {"create"}}}};
  return kind;
}

}  // namespace podpass::api
