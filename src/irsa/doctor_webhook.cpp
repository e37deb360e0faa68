#include "irsa/doctor_webhook.h"

#include "base/text.h"
#include "http/client.h"

namespace podpass::irsa {
namespace {

using namespace std::chrono_literals;

std::optional<std::string> urlTrouble(const std::string& url, const json::object& hook) {
  http::FetchOptions options;
  options.timeout = 5s;
  if (const Result<std::string> pem = base64Decode(textAt(hook, {"clientConfig", "caBundle"}))) options.caPem = *pem;
  const std::size_t path = url.find('/', url.find("//") + 2);
  const Result<http::Fetched> answer = http::fetch(url.substr(0, path) + "/healthz", options);
  if (answer) return std::nullopt;
  return "the webhook does not answer at " + url + ": " + answer.error().sentence;
}

std::optional<std::string> serviceTrouble(api::Client& client, const json::object& hook) {
  static const api::Kind slices{.group = "discovery.k8s.io",
                                .version = "v1",
                                .kind = "EndpointSlice",
                                .plural = "endpointslices",
                                .singular = "endpointslice",
                                .namespaced = true};
  const std::string ns(textAt(hook, {"clientConfig", "service", "namespace"})), name(textAt(hook, {"clientConfig", "service", "name"}));
  const Result<api::Listing> listing = client.list(slices, ns, {.labels = "kubernetes.io/service-name=" + name});
  if (!listing) return std::nullopt;
  for (const DocumentPtr& slice : listing->items)
    if (const json::array* endpoints = arrayAt(slice->value, {"endpoints"}))
      for (const json::value& each : *endpoints)
        if (each.is_object() && booleanAt(each.get_object(), {"conditions", "ready"}, true)) return std::nullopt;
  return "the webhook's service " + ns + "/" + name + " has no endpoint that is ready";
}

}  // namespace

std::optional<std::string> webhookTrouble(api::Client& client, const std::string& configuration) {
  const Result<DocumentPtr> found =
      client.get(*api::findKind("admissionregistration.k8s.io", "v1", "mutatingwebhookconfigurations"), {"", configuration});
  if (!found && found.error().reason == Reason::NotFound)
    return "there is no MutatingWebhookConfiguration " + configuration + ": the webhook is not installed";
  if (!found) return std::nullopt;
  const json::array* hooks = arrayAt((*found)->value, {"webhooks"});
  if (hooks == nullptr || hooks->empty() || !hooks->front().is_object())
    return "the MutatingWebhookConfiguration " + configuration + " names no webhook";
  const json::object& hook = hooks->front().get_object();
  const std::string url(textAt(hook, {"clientConfig", "url"}));
  return url.empty() ? serviceTrouble(client, hook) : urlTrouble(url, hook);
}

}  // namespace podpass::irsa
