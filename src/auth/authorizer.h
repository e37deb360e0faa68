#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "api/kind.h"
#include "auth/user.h"

namespace podpass::auth {

// Reads the RBAC and node-graph objects, from the watch cache: all entries of a kind, in one namespace or ("") everywhere. Thread-safe.
class ObjectReader {
 public:
  virtual ~ObjectReader() = default;
  [[nodiscard]] virtual DocumentPtr get(const api::Kind& kind, const std::string& ns, const std::string& name) const = 0;
  [[nodiscard]] virtual std::vector<DocumentPtr> list(const api::Kind& kind, const std::string& ns) const = 0;
  // Changes whenever an object of the kind changed: lets readers keep what they derived.
  [[nodiscard]] virtual std::uint64_t version(const api::Kind& kind) const = 0;
};

// system:masters, the node authorizer (spec tokens.md §9.1) and RBAC, in this order. Thread-safe.
class Authorizer {
 public:
  explicit Authorizer(const ObjectReader& objects);
  ~Authorizer();
  Authorizer(const Authorizer&) = delete;
  Authorizer& operator=(const Authorizer&) = delete;
  [[nodiscard]] Decision authorize(const Attributes& attributes) const;
  // For SelfSubjectRulesReview: status {resourceRules, nonResourceRules, incomplete}.
  [[nodiscard]] json::object rulesFor(const User& user, const std::string& ns) const;

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

// The default ClusterRoles and ClusterRoleBindings of spec tokens.md §9.3, complete objects. Reconciled at start.
std::vector<json::object> bootstrapRoles();
// `anonymousIssuer`: let anybody read the issuer documents (a binding to system:unauthenticated).
std::vector<json::object> bootstrapBindings(bool anonymousIssuer);

// For writes of roles and bindings: Forbidden when the writer would give rights that they do not have (escalate/bind verbs honoured).
Result<void> checkEscalation(const Authorizer& authorizer, const ObjectReader& objects, const User& user, const api::Kind& kind,
                             const json::object& object);

}  // namespace podpass::auth
