#pragma once

#include "controllers/control_loop.h"
#include "controllers/informer.h"

namespace podpass::controllers {

// Ends a namespace that is being deleted: removes its contents, then finalizes it (spec api.md §2.4). While something stays (a pod that
// stops, a finalizer), the namespace's conditions say what, and each thing that goes brings the loop back.
class NamespaceTermination {
 public:
  NamespaceTermination(api::Client& client, const Clock& clock, Informers& informers);
  [[nodiscard]] ControlLoop& loop() { return loop_; }

 private:
  struct Remaining {
    std::map<std::string, std::size_t> objects = {};     // "pods." → how many; the text of Kubernetes' condition
    std::map<std::string, std::size_t> finalizers = {};  // finalizer → on how many objects
    std::string failure = {};                            // of a removal that was refused
  };
  Result<void> visit(const std::string& ns);
  Result<void> empty(const std::string& ns, Remaining& remaining);
  void count(const api::Kind& kind, const json::object& object, Remaining& remaining) const;
  Result<void> report(const json::object& ns, const Remaining& remaining);

  api::Client& client_;
  const Clock& clock_;
  Informers& informers_;
  Informer& namespaces_;
  ControlLoop loop_;
};

}  // namespace podpass::controllers
