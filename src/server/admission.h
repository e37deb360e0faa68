#pragma once

#include <optional>
#include <string>

#include "api/kind.h"
#include "auth/authorizer.h"
#include "auth/user.h"

// What happens to an object between decoding and storing, beside its schema: the built-in admission plugins (spec api.md §11, tokens.md §7,
// §9.2).
namespace podpass::server {

struct AdmissionRequest {
  const auth::User& user;
  const api::Kind& kind;
  std::string operation;  // CREATE, UPDATE, DELETE
  std::string ns, name;
  std::string subresource = {};
  const api::Kind* body = nullptr;  // of the object when it is not `kind`: TokenRequest, Binding
};

// Reads other objects through the ObjectReader. Thread-safe.
class Admission {
 public:
  explicit Admission(const auth::ObjectReader& objects) : objects_(objects) {}
  // NamespaceLifecycle, ServiceAccount, DefaultTolerationSeconds, Priority, TaintNodesByCondition; may change the object.
  Result<void> mutate(const AdmissionRequest& request, json::object& object) const;
  // NodeRestriction and the limits on deletion. `before` is null for CREATE, `object` for DELETE.
  Result<void> validate(const AdmissionRequest& request, const json::object* object, const json::object* before) const;
  // NodeRestriction for serviceaccounts/token (§9.2).
  Result<void> tokenRequest(const auth::User& user, const std::string& ns, const std::string& account, const json::object& request) const;

 private:
  Result<void> namespaceLifecycle(const AdmissionRequest& request) const;
  Result<void> serviceAccount(const AdmissionRequest& request, json::object& pod) const;
  const auth::ObjectReader& objects_;
};

}  // namespace podpass::server
