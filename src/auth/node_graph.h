#pragma once

#include <mutex>
#include <string>
#include <unordered_map>

#include "auth/authorizer.h"

namespace podpass::auth {

// Which objects a node may see because a pod that is bound to it refers to them (spec tokens.md §9.1).
// Nothing is derived ahead of time: a question that a pod once answered is put to that pod again, and to all pods of the namespace only
// when it no longer vouches. So an edge is gone at the instant its pod is. Thread-safe.
class NodeGraph {
 public:
  explicit NodeGraph(const ObjectReader& objects) : objects_(objects) {}
  // `resource`: serviceaccounts, secrets, configmaps or pods.
  [[nodiscard]] bool reaches(const std::string& node, std::string_view resource, const std::string& ns, const std::string& name) const;

 private:
  const ObjectReader& objects_;
  mutable std::mutex mutex_;
  mutable std::unordered_map<std::string, std::string> vouching_;  // question → the pod's name
};

// What the node authorizer says to a user of group system:nodes; refused with a reason is "no opinion".
Decision authorizeNode(const NodeGraph& graph, const Attributes& attributes);
// "": not a node (not in system:nodes, or a name without system:node:).
std::string nodeNameOf(const User& user);

}  // namespace podpass::auth
