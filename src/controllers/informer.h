#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "api/client.h"

namespace podpass::controllers {

// Told of every change: `now` is null when the object is gone, `before` when it is new. Called on the server's thread, or on that of
// start() for what existed then: it only puts names into queues, and never calls the client. The informer already shows `now`.
using ChangeHandler = std::function<void(const api::Kind& kind, const DocumentPtr& before, const DocumentPtr& now)>;

// All objects of one kind, kept current by a list and a watch: what a control loop reads without asking the server. The documents are the
// server's own, shared. Thread-safe; handlers are added before start().
class Informer {
 public:
  Informer(api::Client& client, const api::Kind& kind) : client_(client), kind_(kind) {}
  void onChange(ChangeHandler handler) { handlers_.push_back(std::move(handler)); }
  Result<void> start();
  void stop() { watching_.reset(); }  // no handler is called afterwards
  [[nodiscard]] DocumentPtr get(const std::string& ns, const std::string& name) const;
  [[nodiscard]] std::vector<DocumentPtr> list(const std::string& ns = {}) const;  // "": all
  [[nodiscard]] const api::Kind& kind() const { return kind_; }

 private:
  using Key = std::pair<std::string, std::string>;
  void apply(const api::WatchEvent& event);
  void replaceAll(const api::Listing& listing);

  api::Client& client_;
  const api::Kind& kind_;
  std::vector<ChangeHandler> handlers_;
  mutable std::mutex mutex_;
  std::map<Key, DocumentPtr> objects_;
  std::unique_ptr<api::Watching> watching_;
};

// One informer for each stored kind, shared by all loops.
class Informers {
 public:
  explicit Informers(api::Client& client);
  Informer& of(std::string_view group, std::string_view plural);  // the kind exists
  [[nodiscard]] Informer* find(const api::Kind& kind);            // null: no stored kind
  [[nodiscard]] const std::vector<std::unique_ptr<Informer>>& all() const { return all_; }
  Result<void> start();
  void stop();

 private:
  std::vector<std::unique_ptr<Informer>> all_;
};

}  // namespace podpass::controllers
