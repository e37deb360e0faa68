#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "api/selector.h"
#include "auth/authorizer.h"
#include "server/admission.h"

// Admission webhooks as they are configured (admissionregistration.k8s.io/v1, spec api.md §11.1).
namespace podpass::server {

struct WebhookRule {
  std::vector<std::string> operations, groups, versions, resources;  // "*", "pods", "pods/*", "*/*"
  std::string scope = "*";                                           // *, Namespaced, Cluster
  [[nodiscard]] bool matches(const AdmissionRequest& request) const;
};

// A service of the cluster; there are no Endpoints, so its address is what was registered for its name.
struct WebhookService {
  std::string ns, name, path;
  std::int64_t port = 443;
};

struct Webhook {
  std::string configuration;  // metadata.name of the configuration
  std::string name;
  std::string url;  // empty: `service` is asked
  WebhookService service = {};
  std::string caPem = {};  // empty: the system's roots
  std::vector<WebhookRule> rules = {};
  api::LabelSelector namespaces = {}, objects = {};
  bool ignoresFailure = false;  // failurePolicy
  bool reinvocable = false;     // reinvocationPolicy IfNeeded
  bool safeOnDryRun = true;     // sideEffects None, NoneOnDryRun
  std::chrono::seconds timeout{10};
  std::string reviewVersion = {};  // "v1", "v1beta1": the first it takes that we speak; empty: none
  std::string problem = {};        // what makes its selectors unreadable; such a webhook fails

  [[nodiscard]] bool rulesMatch(const AdmissionRequest& request) const;
  // "https://host/path?timeout=10s": what is asked, as people know it; a service by its name.
  [[nodiscard]] std::string shownUrl() const;
};

// All webhooks, configurations in the order of their names. Immutable.
struct WebhookSet {
  std::vector<Webhook> mutating, validating;
  static WebhookSet compile(const auth::ObjectReader& objects);
};

// The namespace that an object lies in, for selectors and AdmissionReviews: a Namespace lies in itself.
const std::string& namespaceOf(const AdmissionRequest& request);

}  // namespace podpass::server
