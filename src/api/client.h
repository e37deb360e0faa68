#pragma once

#include <memory>
#include <optional>
#include <string>

#include "api/kind.h"

// How controllers and the node agent reach the API: blocking calls with the rights of one user. In one process it is the server's own
// pipeline (authorization and admission included); a separate role uses HTTP. Thread-safe.
namespace podpass::api {

struct ObjectName {
  std::string ns;  // "" for cluster-scoped, or all namespaces in list and watch
  std::string name;
};

struct Selectors {
  std::string labels = {};
  std::string fields = {};
};

struct Listing {
  std::vector<DocumentPtr> items;
  std::uint64_t revision = 0;
};

struct WatchEvent {
  enum class Type { Added, Modified, Deleted } type;
  DocumentPtr object;
};

// Destroying it ends the watch; no call comes afterwards.
class Watching {
 public:
  virtual ~Watching() = default;
};

struct DeleteOptions {
  std::optional<std::int64_t> gracePeriodSeconds = {};
  std::string uid = {};              // precondition
  std::string resourceVersion = {};  // precondition
  std::string propagationPolicy = {};
};

class Client {
 public:
  virtual ~Client() = default;
  virtual Result<DocumentPtr> get(const Kind& kind, const ObjectName& name) = 0;
  virtual Result<Listing> list(const Kind& kind, const std::string& ns, const Selectors& selectors) = 0;
  // The same in parts, for those who keep little of each object: `page` gets some after the other, on a thread of the client's, and must
  // not call the client. The revision of the whole; an error may come after some pages.
  using Page = std::function<void(const std::vector<DocumentPtr>& items)>;
  virtual Result<std::uint64_t> listInPages(const Kind& kind, const std::string& ns, const Selectors& selectors, const Page& page) {
    const Result<Listing> all = list(kind, ns, selectors);
    if (!all) return all.error();
    page(all->items);
    return all->revision;
  }
  virtual Result<DocumentPtr> create(const Kind& kind, const std::string& ns, json::object object) = 0;
  virtual Result<DocumentPtr> update(const Kind& kind, const ObjectName& name, json::object object) = 0;
  virtual Result<DocumentPtr> updateStatus(const Kind& kind, const ObjectName& name, json::object object) = 0;
  // PUT of a subresource that replaces the object ("finalize" of a namespace): the object afterwards.
  virtual Result<DocumentPtr> updateSubresource(const Kind& kind, const ObjectName& name, std::string_view subresource,
                                                json::object object) = 0;
  virtual Result<DocumentPtr> mergePatch(const Kind& kind, const ObjectName& name, json::object patch,
                                         std::string_view subresource = {}) = 0;
  virtual Result<void> remove(const Kind& kind, const ObjectName& name, const DeleteOptions& options = {}) = 0;
  // Everything of a kind in a namespace, as DELETE of the collection. Goes on past what is refused; the error is the first refusal.
  virtual Result<void> removeAll(const Kind& kind, const std::string& ns, const DeleteOptions& options = {}) {
    const Result<Listing> all = list(kind, ns, {});
    if (!all) return all.error();
    Result<void> done;
    for (const DocumentPtr& each : all->items) {
      const ObjectName name{std::string(textAt(each->value, {"metadata", "namespace"})),
                            std::string(textAt(each->value, {"metadata", "name"}))};
      const Result<void> removed = remove(kind, name, options);
      if (!removed && removed.error().reason != Reason::NotFound && done) done = removed;
    }
    return done;
  }
  // POST to a subresource ("token", "binding"): the answer's object.
  virtual Result<json::object> createSubresource(const Kind& kind, const ObjectName& name, std::string_view subresource,
                                                 json::object body) = 0;
  // Changes after `since` (a list's revision). `changed` runs on the server's thread and must not block or call the client.
  // `since` too old: Expired; list again.
  virtual Result<std::unique_ptr<Watching>> watch(const Kind& kind, const std::string& ns, const Selectors& selectors, std::uint64_t since,
                                                  std::function<void(const WatchEvent&)> changed) = 0;
};

}  // namespace podpass::api
