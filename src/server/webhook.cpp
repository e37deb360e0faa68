#include "server/webhook.h"

#include "base/text.h"

namespace podpass::server {
namespace {

constexpr std::string_view kGroup = "admissionregistration.k8s.io";

std::vector<std::string> texts(const json::object& object, std::string_view member) {
  std::vector<std::string> out;
  if (const json::array* list = arrayAt(object, {member}))
    for (const json::value& each : *list)
      if (each.is_string()) out.emplace_back(each.get_string());
  return out;
}

bool holds(const std::vector<std::string>& list, std::string_view value) {
  return std::any_of(list.begin(), list.end(), [&](const std::string& each) { return each == "*" || each == value; });
}

bool isNamespaceKind(const api::Kind& kind) { return kind.group.empty() && kind.plural == "namespaces"; }

// "pods" is the resource itself, "pods/*" its subresources too, "*" any resource, "*/*" everything.
bool namesResource(const std::string& rule, std::string_view resource, std::string_view subresource) {
  const std::size_t slash = rule.find('/');
  const std::string_view own = std::string_view(rule).substr(0, slash);
  const std::string_view sub = slash == std::string::npos ? std::string_view() : std::string_view(rule).substr(slash + 1);
  return (own == "*" || own == resource) && (sub == "*" || sub == subresource);
}

api::LabelSelector selector(const json::object& webhook, std::string_view member, std::string& problem) {
  static const json::object everything;
  const json::object* given = objectAt(webhook, {member});
  Result<api::LabelSelector> parsed = api::LabelSelector::fromObject(given != nullptr ? given : &everything);
  if (parsed) return *std::move(parsed);
  problem = parsed.error().sentence;
  return {};
}

Webhook compileOne(const json::object& from, std::string configuration) {
  Webhook webhook{.configuration = std::move(configuration),
                  .name = std::string(textAt(from, {"name"})),
                  .url = std::string(textAt(from, {"clientConfig", "url"}))};
  if (const json::object* service = objectAt(from, {"clientConfig", "service"})) {
    webhook.service = {std::string(textAt(*service, {"namespace"})), std::string(textAt(*service, {"name"})),
                       std::string(textAt(*service, {"path"})), integerAt(*service, {"port"}, 443)};
    if (!webhook.service.path.starts_with('/')) webhook.service.path.insert(0, 1, '/');
  }
  if (Result<std::string> ca = base64Decode(textAt(from, {"clientConfig", "caBundle"})))
    webhook.caPem = *std::move(ca);
  else
    webhook.problem = "the caBundle is not base64";
  if (const json::array* rules = arrayAt(from, {"rules"}))
    for (const json::value& each : *rules) {
      if (!each.is_object()) continue;
      const json::object& rule = each.get_object();
      const std::string_view scope = textAt(rule, {"scope"});
      webhook.rules.push_back({texts(rule, "operations"), texts(rule, "apiGroups"), texts(rule, "apiVersions"), texts(rule, "resources"),
                               scope.empty() ? std::string("*") : std::string(scope)});
    }
  webhook.namespaces = selector(from, "namespaceSelector", webhook.problem);
  webhook.objects = selector(from, "objectSelector", webhook.problem);
  webhook.ignoresFailure = textAt(from, {"failurePolicy"}) == "Ignore";
  webhook.reinvocable = textAt(from, {"reinvocationPolicy"}) == "IfNeeded";
  const std::string_view effects = textAt(from, {"sideEffects"});
  webhook.safeOnDryRun = effects == "None" || effects == "NoneOnDryRun";
  webhook.timeout = std::chrono::seconds(std::clamp<std::int64_t>(integerAt(from, {"timeoutSeconds"}, 10), 1, 30));
  for (const std::string& version : texts(from, "admissionReviewVersions"))
    if (webhook.reviewVersion.empty() && (version == "v1" || version == "v1beta1")) webhook.reviewVersion = version;
  return webhook;
}

std::vector<Webhook> compileAll(const auth::ObjectReader& objects, std::string_view plural) {
  std::vector<Webhook> all;
  const api::Kind* kind = api::findKind(kGroup, "v1", plural);
  if (kind == nullptr) return all;
  for (const DocumentPtr& document : objects.list(*kind, ""))  // sorted by key, that is, by name
    if (const json::array* webhooks = arrayAt(document->value, {"webhooks"}))
      for (const json::value& each : *webhooks)
        if (each.is_object()) all.push_back(compileOne(each.get_object(), std::string(textAt(document->value, {"metadata", "name"}))));
  return all;
}

}  // namespace

bool WebhookRule::matches(const AdmissionRequest& request) const {
  const api::Kind& kind = request.kind;
  if (!holds(operations, request.operation) || !holds(groups, kind.group) || !holds(versions, kind.version)) return false;
  if (scope == "Namespaced" && !kind.namespaced) return false;
  if (scope == "Cluster" && kind.namespaced) return false;
  return std::any_of(resources.begin(), resources.end(),
                     [&](const std::string& each) { return namesResource(each, kind.plural, request.subresource); });
}

bool Webhook::rulesMatch(const AdmissionRequest& request) const {
  return std::any_of(rules.begin(), rules.end(), [&](const WebhookRule& rule) { return rule.matches(request); });
}

std::string Webhook::shownUrl() const {
  std::string shown = url;
  if (shown.empty()) shown = "https://" + service.name + "." + service.ns + ".svc:" + std::to_string(service.port) + service.path;
  return shown + (shown.find('?') == std::string::npos ? '?' : '&') + "timeout=" + std::to_string(timeout.count()) + "s";
}

WebhookSet WebhookSet::compile(const auth::ObjectReader& objects) {
  return {compileAll(objects, "mutatingwebhookconfigurations"), compileAll(objects, "validatingwebhookconfigurations")};
}

const std::string& namespaceOf(const AdmissionRequest& request) { return isNamespaceKind(request.kind) ? request.name : request.ns; }

}  // namespace podpass::server
