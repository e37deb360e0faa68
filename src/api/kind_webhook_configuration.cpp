#include "api/causes.h"
#include "api/codec.h"
#include "api/fields.h"
#include "api/kinds.h"

namespace podpass::api {
namespace {

Fields clientConfig() {
  return {text("url", 3, "The location of the webhook: scheme://host:port/path."),
          object("service", 1,
                 {required(text("namespace", 1)), required(text("name", 2)), text("path", 3),
                  byDefault("443", between(1, 65535, integer("port", 4)))},
                 "The service for this webhook. Either service or url must be specified."),
          bytes("caBundle", 2, "PEM encoded CA bundle that validates the webhook's server certificate.")};
}

Fields rules() {
  Fields rule = embedded(2, {texts("apiGroups", 1, "The API groups, * for all."), texts("apiVersions", 2, "The API versions, * for all."),
                             texts("resources", 3, "Resources, such as pods, pods/log, */scale, *."),
                             byDefault(R"("*")", oneOf({"*", "Cluster", "Namespaced"}, text("scope", 4, "Cluster, Namespaced or *.")))});
  return joined({oneOf({"*", "CONNECT", "CREATE", "DELETE", "UPDATE"}, texts("operations", 1, "The operations the webhook cares about."))},
                std::move(rule));
}

// A webhook without the fields that mutating and validating ones number differently.
Fields commonFields() {
  return {required(text("name", 1, "The name of the webhook, fully qualified: imagepolicy.kubernetes.io.")),
          required(object("clientConfig", 2, clientConfig(), "How to communicate with the webhook.")),
          list("rules", 3, rules(), "What operations on what resources the webhook cares about."),
          byDefault(R"("Fail")", oneOf({"Fail", "Ignore"}, text("failurePolicy", 4, "How errors of the webhook are handled."))),
          byDefault("{}", atomic(object("namespaceSelector", 5, labelSelector(), "Runs the webhook for objects whose namespace matches."))),
          required(oneOf({"None", "NoneOnDryRun"}, text("sideEffects", 6, "Whether this webhook has side effects."))),
          byDefault("10", between(1, 30, integer("timeoutSeconds", 7, "The timeout of a call."))),
          required(texts("admissionReviewVersions", 8, "The AdmissionReview versions that the webhook expects, in order of preference.")),
          byDefault(R"("Equivalent")", oneOf({"Equivalent", "Exact"}, text("matchPolicy", 9, "How the rules match requests.")))};
}

Field matchConditions(std::uint32_t number) {
  return mergedBy("name", list("matchConditions", number, {required(text("name", 1)), required(text("expression", 2))},
                               "CEL conditions that must hold for a request to be sent to this webhook."));
}

Field objectSelector(std::uint32_t number) {
  return byDefault("{}", atomic(object("objectSelector", number, labelSelector(), "Runs the webhook for objects with matching labels.")));
}

void validateRule(const json::object& rule, const std::string& path, Causes& causes) {
  for (const std::string_view name : {"operations", "apiGroups", "apiVersions", "resources"}) {
    const json::array* values = arrayAt(rule, {name});
    if (values == nullptr || values->empty()) {
      causes.push_back(requiredValue(under(path, name)));
      continue;
    }
    const bool star = std::any_of(values->begin(), values->end(),
                                  [](const json::value& value) { return value.is_string() && value.get_string() == "*"; });
    if (star && values->size() > 1)
      causes.push_back(invalidJson(under(path, name), *values, "if '*' is present, must not specify other values"));
  }
}

void validateWebhook(const json::object& webhook, const std::string& path, Causes& causes) {
  const std::string_view name = textAt(webhook, {"name"});
  if (!name.empty() && std::count(name.begin(), name.end(), '.') < 2)
    causes.push_back(invalidText(path + ".name", name, "should be a domain with at least three segments separated by dots"));
  const bool url = !textAt(webhook, {"clientConfig", "url"}).empty(), service = objectAt(webhook, {"clientConfig", "service"}) != nullptr;
  if (url && !textAt(webhook, {"clientConfig", "url"}).starts_with("https://"))
    causes.push_back(invalidText(path + ".clientConfig.url", textAt(webhook, {"clientConfig", "url"}),
                                 "'https' is the only allowed URL scheme; desired format: https://host[/path]"));
  if (url == service) causes.push_back(requiredValue(path + ".clientConfig", "exactly one of url or service is required"));
  if (const json::array* conditions = arrayAt(webhook, {"matchConditions"}); conditions != nullptr && !conditions->empty())
    causes.push_back(
        forbiddenField(path + ".matchConditions", "CEL expressions are not evaluated by this server"));  // never silently left out
  if (const json::array* list = arrayAt(webhook, {"rules"}))
    for (std::size_t i = 0; i < list->size(); ++i)
      if (const json::object* rule = (*list)[i].if_object()) validateRule(*rule, at(path + ".rules", i), causes);
}

void validateWebhooks(const json::object& configuration, Causes& causes) {
  const json::array* webhooks = arrayAt(configuration, {"webhooks"});
  if (webhooks == nullptr) return;
  std::set<std::string_view> names;
  for (std::size_t i = 0; i < webhooks->size(); ++i) {
    const json::object* webhook = (*webhooks)[i].if_object();
    if (webhook == nullptr) continue;
    validateWebhook(*webhook, at("webhooks", i), causes);
    const std::string_view name = textAt(*webhook, {"name"});
    if (!name.empty() && !names.insert(name).second) causes.push_back(duplicate(at("webhooks", i) + ".name", name));
  }
}

Column webhooksColumn() {
  return {.name = "Webhooks", .type = "integer", .doc = "Number of webhooks.", .cell = [](const json::object& object, WallTime) {
            const json::array* webhooks = arrayAt(object, {"webhooks"});
            return json::value(webhooks == nullptr ? 0 : webhooks->size());
          }};
}

}  // namespace

const Kind& mutatingWebhookConfigurationKind() {
  static const Kind kind{
      .group = "admissionregistration.k8s.io",
      .version = "v1",
      .kind = "MutatingWebhookConfiguration",
      .plural = "mutatingwebhookconfigurations",
      .singular = "mutatingwebhookconfiguration",
      .hasGeneration = true,
      .doc = "MutatingWebhookConfiguration describes admission webhooks that accept or reject and may change the object.",
      .definition = "io.k8s.api.admissionregistration.v1.MutatingWebhookConfiguration",
      .fields = {mergedBy(
          "name", list("webhooks", 2,
                       joined(commonFields(), {byDefault(R"("Never")", oneOf({"Never", "IfNeeded"}, text("reinvocationPolicy", 10))),
                                               objectSelector(11), matchConditions(12)}),
                       "A list of webhooks and the affected resources and operations."))},
      .columns = {webhooksColumn(), ageColumn()},
      .validate = validateWebhooks};
  return kind;
}

const Kind& validatingWebhookConfigurationKind() {
  static const Kind kind{
      .group = "admissionregistration.k8s.io",
      .version = "v1",
      .kind = "ValidatingWebhookConfiguration",
      .plural = "validatingwebhookconfigurations",
      .singular = "validatingwebhookconfiguration",
      .hasGeneration = true,
      .doc = "ValidatingWebhookConfiguration describes admission webhooks that accept or reject an object without changing it.",
      .definition = "io.k8s.api.admissionregistration.v1.ValidatingWebhookConfiguration",
      .fields = {mergedBy("name", list("webhooks", 2, joined(commonFields(), {objectSelector(10), matchConditions(11)}),
                                       "A list of webhooks and the affected resources and operations."))},
      .columns = {webhooksColumn(), ageColumn()},
      .validate = validateWebhooks};
  return kind;
}

}  // namespace podpass::api
