#pragma once

#include "api/client.h"
#include "base/clock.h"
#include "irsa/webhook_certificate.h"

// The certificate that a webhook makes for itself, and the MutatingWebhookConfiguration that must trust it. No cert-manager is needed, and
// several replicas share one certificate: it is kept in a Secret.
namespace podpass::irsa {

struct WebhookRegistration {
  std::string ns = "eks";  // of the Secret and the Service
  std::string service = "pod-identity-webhook";
  std::string secret = "pod-identity-webhook";
  std::string configuration = "pod-identity-webhook";  // the MutatingWebhookConfiguration
};

// What one look found, and did.
struct RegistrationLook {
  WebhookCertificate certificate;  // to be served now
  std::string step = {};           // "created", "restored" or a step of the renewal: what the Secret needed; "" when it was in order
  bool registered = false;         // a caBundle had to be written
  // What could not be done; the certificate is good all the same.
  std::optional<Error> notRenewed = {}, notRegistered = {};
};
// Compares Secret and configuration with what they should be: makes the certificate when there is none, takes the next step of its renewal
// when one is due, and makes every webhook of the configuration trust its authorities, whatever is there instead. Any number of replicas
// may do so at once. `held` is what the caller serves, if anything: a Secret that was deleted or emptied becomes that again, because other
// replicas serve it, too. An error: there is no certificate to serve.
Result<RegistrationLook> keepRegistered(api::Client& client, const WebhookRegistration& registration, const WebhookCertificate* held,
                                        WallTime now);

// The configuration as Amazon EKS installs it, with a URL in place of a Service. One that exists is only led to `url` and `caPem`: what
// else somebody has changed in it stays.
Result<void> installConfiguration(api::Client& client, const std::string& url, const std::string& caPem);

}  // namespace podpass::irsa
