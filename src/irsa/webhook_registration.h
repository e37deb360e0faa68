#pragma once

#include "api/client.h"
#include "base/clock.h"
#include "http/http.h"

// The certificate that a webhook makes for itself, and the MutatingWebhookConfiguration that must trust it. No cert-manager is needed, and
// several replicas share one certificate: it is kept in a Secret.
namespace podpass::irsa {

struct WebhookRegistration {
  std::string ns = "eks";  // of the Secret and the Service
  std::string service = "pod-identity-webhook";
  std::string secret = "pod-identity-webhook";
  std::string configuration = "pod-identity-webhook";  // the MutatingWebhookConfiguration
};

struct WebhookCertificate {
  http::TlsFiles tls;  // in memory
  std::string caPem;
};

// The Secret's certificate; a new one when there is none, or when this one is in the last third of its life. Whoever comes second to
// create or renew it takes what the first one wrote. Secrets that others keep (cert-manager) are used as they are.
Result<WebhookCertificate> webhookCertificate(api::Client& client, const WebhookRegistration& registration, WallTime now);

// Makes every webhook of the configuration trust `caPem`. Whether anything had to be changed; NotFound when there is no configuration.
Result<bool> registerCa(api::Client& client, const WebhookRegistration& registration, const std::string& caPem);

// The configuration as Amazon EKS installs it, with a URL in place of a Service. One that exists is only led to `url` and `caPem`: what
// else somebody has changed in it stays.
Result<void> installConfiguration(api::Client& client, const std::string& url, const std::string& caPem);

}  // namespace podpass::irsa
