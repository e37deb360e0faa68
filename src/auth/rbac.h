#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "auth/authorizer.h"

// Role based access control: rbac.authorization.k8s.io/v1 PolicyRules, and who is bound to which of them.
namespace podpass::auth {

// One PolicyRule. Resource rules have groups and resources, non-resource rules have paths.
struct Rule {
  std::vector<std::string> verbs = {};
  std::vector<std::string> groups = {};
  std::vector<std::string> resources = {};  // "pods", "pods/log", "*", "*/scale"
  std::vector<std::string> names = {};      // empty: all
  std::vector<std::string> paths = {};      // "/healthz", "/api/*", "*"
  [[nodiscard]] bool allows(const Attributes& attributes) const;
};
using Rules = std::vector<Rule>;

Rules parseRules(const json::array* rules);

// What a role grants; an aggregated cluster role grants what the roles that it selects grant as well.
// NotFound: there is no such role. `kind` is "Role" or "ClusterRole"; `ns` counts for roles only.
Result<Rules> rulesOf(const ObjectReader& objects, std::string_view kind, const std::string& ns, const std::string& name);

// All roles and bindings, compiled so that a question costs the asker's own bindings only. Immutable.
class RuleBook {
 public:
  static std::shared_ptr<const RuleBook> compile(const ObjectReader& objects);
  [[nodiscard]] Decision authorize(const Attributes& attributes) const;
  // All that the user may do in `ns` ("": in the cluster scope only).
  [[nodiscard]] std::vector<const Rule*> rulesFor(const User& user, const std::string& ns) const;

 private:
  struct Grant {
    std::size_t order = 0;                    // Kubernetes asks cluster-wide bindings first, by name, and names the first that allows
    std::string ns = {};                      // "" for a ClusterRoleBinding
    std::string why = {};                     // `ClusterRoleBinding "b" of ClusterRole "r" to Group "g"`
    std::shared_ptr<const Rules> rules = {};  // null: the role does not exist
    std::string missing = {};
  };
  [[nodiscard]] std::vector<const Grant*> grantsFor(const User& user, const std::string& ns) const;

  std::unordered_map<std::string, std::vector<Grant>> bySubject_;  // "User alice", "Group devs"
};

}  // namespace podpass::auth
