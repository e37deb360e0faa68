#include "api/codec.h"
#include "api/fields.h"
#include "api/kinds.h"

namespace podpass::api {

const Kind& namespaceKind() {
  static const Kind kind{
      .group = "",
      .version = "v1",
      .kind = "Namespace",
      .plural = "namespaces",
      .singular = "namespace",
      .shortNames = {"ns"},
      .hasStatus = true,
      .doc = "Namespace provides a scope for names.",
      .definition = "io.k8s.api.core.v1.Namespace",
      .fields = {object("spec", 2,
                        {checked(finalizerProblem, texts("finalizers", 1, "Must be empty before the namespace is removed for good."))},
                        "The behavior of the namespace."),
                 object("status", 3,
                        {text("phase", 1, "Active or Terminating."),
                         mergedBy("type", list("conditions", 2,
                                               {text("type", 1, "Type of the condition."), text("status", 2, "True, False or Unknown."),
                                                time("lastTransitionTime", 4), text("reason", 5), text("message", 6)},
                                               "The latest available observations of the namespace's state."))},
                        "The current status of the namespace.")},
      .columns = {textColumn("Status", {"status", "phase"}), ageColumn()},
      .subresources = {{.name = "finalize", .kind = {}, .verbs = {"update"}}, statusSubresource()},
      .verbs = storedVerbs(false),
      .selectableFields = {"status.phase", "name"},
      .nameProblem = labelProblem};
  return kind;
}

}  // namespace podpass::api
