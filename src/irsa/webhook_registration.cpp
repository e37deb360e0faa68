#include "irsa/webhook_registration.h"

#include "base/text.h"

namespace podpass::irsa {
namespace {

constexpr const char* kConfiguration = "pod-identity-webhook";
constexpr const char* kWebhook = "pod-identity-webhook.amazonaws.com";
constexpr int kAttempts = 5;  // when somebody else writes at the same time

const api::Kind& secretKind() { return *api::findKind("", "v1", "secrets"); }

const api::Kind& configurationKind() { return *api::findKind("admissionregistration.k8s.io", "v1", "mutatingwebhookconfigurations"); }

json::object webhookConfiguration(const std::string& url, const std::string& caPem) {
  json::object webhook{{"name", kWebhook}, {"failurePolicy", "Ignore"}, {"sideEffects", "None"}, {"reinvocationPolicy", "Never"}};
  webhook["admissionReviewVersions"] = json::array{"v1", "v1beta1"};
  webhook["clientConfig"] = json::object{{"url", url}, {"caBundle", base64Encode(caPem)}};
  webhook["rules"] = json::array{json::object{{"operations", json::array{"CREATE"}},
                                              {"apiGroups", json::array{""}},
                                              {"apiVersions", json::array{"v1"}},
                                              {"resources", json::array{"pods"}}}};
  webhook["objectSelector"] =
      json::object{{"matchExpressions",
                    json::array{json::object{{"key", "eks.amazonaws.com/skip-pod-identity-webhook"}, {"operator", "DoesNotExist"}}}}};
  json::object configuration{{"apiVersion", "admissionregistration.k8s.io/v1"}, {"kind", "MutatingWebhookConfiguration"}};
  configuration["metadata"] = json::object{{"name", kConfiguration}};
  configuration["webhooks"] = json::array{std::move(webhook)};
  return configuration;
}

// A webhook behind a URL may be another's, as the one of `podpass up` is: then it has an authority that we have never had.
bool mayBeOurs(const json::object& webhook, const std::string& caPem) {
  if (textAt(webhook, {"clientConfig", "url"}).empty()) return true;
  const Result<std::string> held = base64Decode(textAt(webhook, {"clientConfig", "caBundle"}));
  return held && caPem.find(held->substr(0, held->find("-----END CERTIFICATE-----"))) != std::string::npos;
}

// Whether a webhook had to be changed so that all of them trust `caPem`.
bool makeTrusting(json::object& configuration, const std::string& caPem) {
  const std::string bundle = base64Encode(caPem);
  json::value* webhooks = configuration.if_contains("webhooks");
  if (webhooks == nullptr || !webhooks->is_array()) return false;
  bool changed = false;
  for (json::value& webhook : webhooks->get_array()) {
    if (!webhook.is_object() || textAt(webhook.get_object(), {"clientConfig", "caBundle"}) == bundle) continue;
    if (!mayBeOurs(webhook.get_object(), caPem)) continue;
    makeObjectAt(webhook.get_object(), {"clientConfig"})["caBundle"] = bundle;
    changed = true;
  }
  return changed;
}

// Another replica was faster: what it wrote counts, and everything is looked at again.
bool raced(const Error& error) { return error.reason == Reason::AlreadyExists || error.reason == Reason::Conflict; }

// No configuration, or one that somebody else keeps, can be told of nothing: then time alone decides about a renewal.
bool isNotOurs(const Error& error) { return error.reason == Reason::NotFound || error.reason == Reason::Forbidden; }

std::vector<std::string> namesOf(const WebhookRegistration& registration) {
  const std::string in = registration.service + "." + registration.ns;
  return {in + ".svc", registration.service, in, in + ".svc.cluster.local"};
}

// The Secret as it should be, and what had to be done for it.
Result<std::string> mendSecret(json::object& secret, const WebhookRegistration& registration, const WebhookCertificate* held, bool trusted,
                               WallTime now) {
  if (certificateIn(secret)) return renew(secret, namesOf(registration), trusted, now);
  Result<json::object> made = held != nullptr ? secretOf(*held) : newSecret(namesOf(registration), now);
  if (!made) return made.error();
  json::object& metadata = makeObjectAt(*made, {"metadata"});
  metadata["name"] = registration.secret;
  metadata["namespace"] = registration.ns;
  if (const std::string_view version = textAt(secret, {"metadata", "resourceVersion"}); !version.empty())
    metadata["resourceVersion"] = version;
  secret = *std::move(made);
  return std::string(held != nullptr ? "restored" : "created");
}

// The Secret first, the configuration by the version that was read before it: so a replica that was stopped in between cannot write a
// bundle older than the one that is there.
Result<RegistrationLook> look(api::Client& client, const WebhookRegistration& registration, const WebhookCertificate* held, WallTime now) {
  const Result<DocumentPtr> configuration = client.get(configurationKind(), {"", registration.configuration});
  const api::ObjectName name{registration.ns, registration.secret};
  const Result<DocumentPtr> found = client.get(secretKind(), name);
  if (!found && found.error().reason != Reason::NotFound) return found.error();
  json::object secret = found ? (*found)->value : json::object();
  const std::optional<WebhookCertificate> before = certificateIn(secret);
  json::object registered = configuration ? (*configuration)->value : json::object();
  const bool trusted = configuration ? before && !makeTrusting(registered, before->caPem) : isNotOurs(configuration.error());

  const Result<std::string> step = mendSecret(secret, registration, held, trusted, now);
  Result<void> written = step ? Result<void>() : Result<void>(step.error());
  if (step && !step->empty()) {
    const Result<DocumentPtr> kept =
        found ? client.update(secretKind(), name, secret) : client.create(secretKind(), registration.ns, secret);
    if (!kept) written = kept.error();
  }
  if (!written && (!before || raced(written.error()))) return written.error();

  RegistrationLook result{.certificate = written ? *certificateIn(secret) : *before};
  if (written) result.step = *step;
  if (!written) result.notRenewed = written.error();
  if (!configuration) result.notRegistered = configuration.error();
  if (!configuration) return result;
  registered = (*configuration)->value;
  result.registered = makeTrusting(registered, result.certificate.caPem);
  if (!result.registered) return result;
  const Result<DocumentPtr> told = client.update(configurationKind(), {"", registration.configuration}, std::move(registered));
  if (told) return result;
  if (raced(told.error())) return told.error();
  result.registered = false;
  result.notRegistered = told.error();
  return result;
}

}  // namespace

Result<RegistrationLook> keepRegistered(api::Client& client, const WebhookRegistration& registration, const WebhookCertificate* held,
                                        WallTime now) {
  for (int attempt = 1;; ++attempt) {
    Result<RegistrationLook> done = look(client, registration, held, now);
    if (done || !raced(done.error()) || attempt == kAttempts) return done;
  }
}

Result<void> installConfiguration(api::Client& client, const std::string& url, const std::string& caPem) {
  const Result<DocumentPtr> made = client.create(configurationKind(), "", webhookConfiguration(url, caPem));
  if (made) return {};
  if (made.error().reason != Reason::AlreadyExists) return made.error();
  const Result<DocumentPtr> found = client.get(configurationKind(), {"", kConfiguration});
  if (!found) return found.error();
  json::object next = (*found)->value;
  if (json::value* webhooks = next.if_contains("webhooks"); webhooks != nullptr && webhooks->is_array())
    for (json::value& webhook : webhooks->get_array())
      if (webhook.is_object() && textAt(webhook.get_object(), {"name"}) == kWebhook)
        webhook.get_object()["clientConfig"] = json::object{{"url", url}, {"caBundle", base64Encode(caPem)}};
  if (next == (*found)->value) return {};
  const Result<DocumentPtr> written = client.update(configurationKind(), {"", kConfiguration}, std::move(next));
  if (!written) return written.error();
  return {};
}

}  // namespace podpass::irsa
