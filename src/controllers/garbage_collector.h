#pragma once

#include <set>

#include "controllers/control_loop.h"
#include "controllers/informer.h"

namespace podpass::controllers {

// Removes what belongs to owners that are gone, and does the waiting part of Foreground and Orphan deletion (spec api.md §2.3).
// Keeps a graph of metadata.ownerReferences by uid over every kind but events.
class GarbageCollector {
 public:
  GarbageCollector(api::Client& client, const Clock& clock, Informers& informers);
  [[nodiscard]] ControlLoop& loop() { return loop_; }

 private:
  struct Node {
    const api::Kind* kind = nullptr;
    api::ObjectName name = {};
    std::set<std::string> owners = {};    // uids
    std::set<std::string> blocking = {};  // uids of the owners that wait for this one
    bool ending = false, foreground = false, orphan = false;
  };
  enum class Owner { Solid, Waiting, Gone };

  void changed(const api::Kind& kind, const DocumentPtr& before, const DocumentPtr& now);
  void link(const std::string& uid, const Node& node);
  void unlink(const std::string& uid, const Node& node);
  [[nodiscard]] std::vector<std::string> dependentsOf(const std::string& uid, bool blockingOnly) const;
  [[nodiscard]] std::optional<Node> nodeOf(const std::string& uid) const;

  Result<void> visit(const std::string& uid);
  Result<void> collect(const Node& node, const json::object& object);
  Result<Owner> examine(const Node& dependent, const json::object& reference);
  Result<void> finishForeground(const std::string& uid, const Node& node, const json::object& object);
  Result<void> orphanDependents(const std::string& uid, const Node& node, const json::object& object);
  Result<void> dropFinalizer(const Node& node, const json::object& object, std::string_view finalizer);
  Result<void> dropOwners(const Node& node, const json::object& object, const std::set<std::string>& uids);

  api::Client& client_;
  mutable std::mutex mutex_;
  std::map<std::string, Node> nodes_;                        // by uid
  std::map<std::string, std::set<std::string>> dependents_;  // owner's uid → uids
  ControlLoop loop_;
};

}  // namespace podpass::controllers
