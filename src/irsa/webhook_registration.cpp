#include "irsa/webhook_registration.h"

#include "base/text.h"
#include "crypto/certificate.h"

namespace podpass::irsa {
namespace {

constexpr const char* kRenewAfter = "identity.podpass.dev/renew-after";
constexpr std::chrono::hours kLife{24 * 365};
constexpr const char* kConfiguration = "pod-identity-webhook";
constexpr const char* kWebhook = "pod-identity-webhook.amazonaws.com";
constexpr int kAttempts = 5;  // when somebody else writes at the same time

const api::Kind& secretKind() { return *api::findKind("", "v1", "secrets"); }

const api::Kind& configurationKind() { return *api::findKind("admissionregistration.k8s.io", "v1", "mutatingwebhookconfigurations"); }

bool isDue(const json::object& secret, WallTime now) {
  const json::object* annotations = objectAt(secret, {"metadata", "annotations"});
  if (annotations == nullptr || !annotations->contains(kRenewAfter)) return false;
  const Result<WallTime> after = parseRfc3339(textAt(*annotations, {kRenewAfter}));
  return !after || *after <= now;
}

// nullopt: the Secret holds no usable certificate.
std::optional<WebhookCertificate> certificateIn(const json::object& secret) {
  const auto member = [&secret](std::string_view key) { return base64Decode(textAt(secret, {"data", key})); };
  const Result<std::string> certificate = member("tls.crt"), key = member("tls.key"), authority = member("ca.crt");
  if (!certificate || !key || !authority || (*certificate).empty() || (*key).empty()) return std::nullopt;
  WebhookCertificate found;
  found.tls.certificatePem = *certificate;
  found.tls.keyPem = Secret(*key);
  found.caPem = *authority;
  return found;
}

Result<json::object> newSecret(const WebhookRegistration& registration, WallTime now) {
  const Result<crypto::Authority> authority = crypto::Authority::make(registration.service + "-ca", now);
  if (!authority) return authority.error();
  const std::string in = registration.service + "." + registration.ns;
  crypto::CertificateRequest request{.commonName = in + ".svc", .forServer = true, .life = kLife};
  request.dnsNames = {registration.service, in, in + ".svc", in + ".svc.cluster.local"};
  const Result<crypto::IssuedCertificate> issued = (*authority).issue(request, now);
  if (!issued) return issued.error();
  json::object secret{{"apiVersion", "v1"}, {"kind", "Secret"}, {"type", "kubernetes.io/tls"}};
  json::object& metadata = makeObjectAt(secret, {"metadata"});
  metadata["name"] = registration.secret;
  metadata["namespace"] = registration.ns;
  metadata["annotations"] = json::object{{kRenewAfter, rfc3339(now + kLife * 2 / 3)}};
  json::object& data = makeObjectAt(secret, {"data"});
  data["tls.crt"] = base64Encode((*issued).certificatePem);
  data["tls.key"] = base64Encode((*issued).keyPem.reveal());
  data["ca.crt"] = base64Encode((*authority).certificatePem());
  return secret;
}

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

}  // namespace

Result<WebhookCertificate> webhookCertificate(api::Client& client, const WebhookRegistration& registration, WallTime now) {
  for (int attempt = 1;; ++attempt) {
    const Result<DocumentPtr> found = client.get(secretKind(), {registration.ns, registration.secret});
    if (!found && found.error().reason != Reason::NotFound) return found.error();
    if (found)
      if (std::optional<WebhookCertificate> usable = certificateIn((*found)->value); usable && !isDue((*found)->value, now))
        return *std::move(usable);
    Result<json::object> made = newSecret(registration, now);
    if (!made) return made.error();
    if (found) {
      // The old authority stays trusted beside the new one until the next renewal: replicas change over one after the other.
      const Result<std::string> old = base64Decode(textAt((*found)->value, {"data", "ca.crt"})),
                                next = base64Decode(textAt(*made, {"data", "ca.crt"}));
      const std::string first = old ? (*old).substr(0, (*old).find("-----END CERTIFICATE-----")) : std::string();
      if (!first.empty()) makeObjectAt(*made, {"data"})["ca.crt"] = base64Encode(*next + first + "-----END CERTIFICATE-----\n");
      makeObjectAt(*made, {"metadata"})["resourceVersion"] = textAt((*found)->value, {"metadata", "resourceVersion"});
    }
    const Result<DocumentPtr> written = found ? client.update(secretKind(), {registration.ns, registration.secret}, *std::move(made))
                                              : client.create(secretKind(), registration.ns, *std::move(made));
    if (written) {
      if (std::optional<WebhookCertificate> usable = certificateIn((*written)->value)) return *std::move(usable);
      return Error{Reason::Internal, "the Secret " + registration.secret + " came back without the certificate"};
    }
    const bool raced = written.error().reason == Reason::AlreadyExists || written.error().reason == Reason::Conflict;
    if (!raced || attempt == kAttempts) return written.error();
  }
}

namespace {

// A webhook behind a URL may be another's, as the one of `podpass up` is: then it has an authority that we have never had.
bool mayBeOurs(const json::object& webhook, const std::string& caPem) {
  if (textAt(webhook, {"clientConfig", "url"}).empty()) return true;
  const Result<std::string> held = base64Decode(textAt(webhook, {"clientConfig", "caBundle"}));
  return held && caPem.find(held->substr(0, held->find("-----END CERTIFICATE-----"))) != std::string::npos;
}

}  // namespace

Result<bool> registerCa(api::Client& client, const WebhookRegistration& registration, const std::string& caPem) {
  const std::string bundle = base64Encode(caPem);
  for (int attempt = 1;; ++attempt) {
    const Result<DocumentPtr> found = client.get(configurationKind(), {"", registration.configuration});
    if (!found) return found.error();
    json::object next = (*found)->value;
    bool changes = false;
    if (json::value* webhooks = next.if_contains("webhooks"); webhooks != nullptr && webhooks->is_array())
      for (json::value& webhook : webhooks->get_array()) {
        if (!webhook.is_object() || textAt(webhook.get_object(), {"clientConfig", "caBundle"}) == bundle) continue;
        if (!mayBeOurs(webhook.get_object(), caPem)) continue;
        makeObjectAt(webhook.get_object(), {"clientConfig"})["caBundle"] = bundle;
        changes = true;
      }
    if (!changes) return false;
    const Result<DocumentPtr> written = client.update(configurationKind(), {"", registration.configuration}, std::move(next));
    if (written) return true;
    if (written.error().reason != Reason::Conflict || attempt == kAttempts) return written.error();
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
