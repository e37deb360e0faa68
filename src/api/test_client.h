#pragma once

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include "api/client.h"
#include "base/text.h"

namespace podpass::api {

// An API server in memory for tests of what keeps objects in step: resourceVersions and conflicts, uid preconditions, finalizers, the three
// deletion policies, pods that end gracefully, terminating namespaces, finalize, binding and eviction. No validation, no defaults,
// selectors are ignored. Watches are served in order by a thread of its own, as the real server does. Thread-safe.
class TestClient final : public api::Client {
 public:
  TestClient() : server_([this] { serve(); }) {}
  ~TestClient() override {
    {
      const std::lock_guard lock(mutex_);
      over_ = true;
    }
    wake_.notify_all();
    server_.join();
  }

  // Creates by kind's name, or fails the process: put("Secret", R"({"metadata": …})"). Returns the uid.
  std::string put(std::string_view kindName, std::string_view text) {
    const api::Kind& kind = kindOf(kindName);
    json::object object = json::parse(text).as_object();
    object["apiVersion"] = kind.apiVersion();
    object["kind"] = kind.kind;
    const std::string ns(textAt(object, {"metadata", "namespace"}));
    const Result<DocumentPtr> made = create(kind, ns, std::move(object));
    if (!made) throw std::runtime_error(made.error().sentence);
    return std::string(textAt((*made)->value, {"metadata", "uid"}));
  }
  std::string makeNamespace(const std::string& name) {
    return put("Namespace",
               R"({"metadata": {"name": ")" + name + R"("}, "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}})");
  }
  // Null when there is none.
  DocumentPtr find(std::string_view kindName, const std::string& ns, const std::string& name) {
    const Result<DocumentPtr> found = get(kindOf(kindName), {ns, name});
    return found ? *found : nullptr;
  }
  std::vector<DocumentPtr> all(std::string_view kindName, const std::string& ns = {}) { return list(kindOf(kindName), ns, {})->items; }
  void edit(std::string_view kindName, const std::string& ns, const std::string& name, const std::function<void(json::object&)>& change) {
    json::object object = find(kindName, ns, name)->value;
    change(object);
    if (Result<DocumentPtr> done = store(kindOf(kindName), {ns, name}, std::move(object)); !done)
      throw std::runtime_error(done.error().sentence);
  }
  void erase(std::string_view kindName, const std::string& ns, const std::string& name, std::string policy = "Background") {
    if (Result<void> done = remove(kindOf(kindName), {ns, name}, {.propagationPolicy = std::move(policy)}); !done)
      throw std::runtime_error(done.error().sentence);
  }
  // Waits until `holds` does after some change; false after ten seconds. `holds` may use the client.
  bool eventually(const std::function<bool()>& holds) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    for (;;) {
      std::uint64_t seen = 0;
      {
        const std::lock_guard lock(mutex_);
        seen = revision_;
      }
      if (holds()) return true;
      std::unique_lock lock(mutex_);
      if (!changed_.wait_until(lock, end, [&] { return revision_ != seen; })) return false;
    }
  }
  // The next `times` calls of this verb and kind get `error`.
  void fail(const std::string& verb, const std::string& kindName, Error error, int times = 1) {
    const std::lock_guard lock(mutex_);
    for (int i = 0; i < times; ++i) failures_[verb + " " + kindName].push_back(error);
  }
  [[nodiscard]] int calls(const std::string& verb, const std::string& kindName) {
    const std::lock_guard lock(mutex_);
    return calls_[verb + " " + kindName];
  }
  [[nodiscard]] int allCalls() {
    const std::lock_guard lock(mutex_);
    int sum = 0;
    for (const auto& [what, count] : calls_) sum += count;
    return sum;
  }

  Result<DocumentPtr> get(const api::Kind& kind, const api::ObjectName& name) override {
    const std::lock_guard lock(mutex_);
    if (auto failed = failing("get", kind)) return *failed;
    const auto found = objects_.find(keyOf(kind, name));
    return found != objects_.end() ? Result<DocumentPtr>(found->second) : Result<DocumentPtr>(notFound(kind, name.name));
  }
  Result<api::Listing> list(const api::Kind& kind, const std::string& ns, const api::Selectors&) override {
    const std::lock_guard lock(mutex_);
    if (auto failed = failing("list", kind)) return *failed;
    api::Listing listing;
    listing.revision = revision_;
    for (const auto& [key, object] : objects_)
      if (std::get<0>(key) == kind.kind && (ns.empty() || std::get<1>(key) == ns)) listing.items.push_back(object);
    return listing;
  }
  Result<DocumentPtr> create(const api::Kind& kind, const std::string& ns, json::object object) override {
    const std::lock_guard lock(mutex_);
    if (auto failed = failing("create", kind)) return *failed;
    const std::string name(textAt(object, {"metadata", "name"}));
    if (kind.namespaced) {
      const auto home = objects_.find({"Namespace", "", ns});
      if (home == objects_.end()) return notFound(kindOf("Namespace"), ns);
      if (ending(home->second->value)) {
        Error error{Reason::Forbidden, "namespace " + ns + " is being terminated"};
        error.causes.push_back({"metadata.namespace", error.sentence, "NamespaceTerminating"});
        return error;
      }
    }
    if (objects_.contains(keyOf(kind, {ns, name}))) return Error{Reason::AlreadyExists, name + " already exists"};
    json::object& metadata = makeObjectAt(object, {"metadata"});
    if (kind.namespaced) metadata["namespace"] = ns;
    metadata["uid"] = randomUuid();
    return commit(kind, {ns, name}, std::move(object));
  }
  Result<DocumentPtr> update(const api::Kind& kind, const api::ObjectName& name, json::object object) override {
    return change("update", kind, name, [&](const json::object& held) {
      if (const json::value* status = held.if_contains("status"); status != nullptr && kind.hasStatus) object["status"] = *status;
      return std::move(object);
    });
  }
  Result<DocumentPtr> updateStatus(const api::Kind& kind, const api::ObjectName& name, json::object object) override {
    return change("update", kind, name, [&](const json::object& held) {
      json::object next = held;
      next["status"] = object["status"];
      next["metadata"].as_object()["resourceVersion"] = textAt(object, {"metadata", "resourceVersion"});
      return next;
    });
  }
  Result<DocumentPtr> updateSubresource(const api::Kind& kind, const api::ObjectName& name, std::string_view subresource,
                                        json::object object) override {
    return change(std::string(subresource), kind, name, [&](const json::object&) { return std::move(object); });
  }
  Result<DocumentPtr> mergePatch(const api::Kind& kind, const api::ObjectName& name, json::object patch, std::string_view) override {
    return change("patch", kind, name, [&](const json::object& held) {
      json::value next = held;
      if (!patch["metadata"].as_object().contains("resourceVersion")) next.as_object()["metadata"].as_object().erase("resourceVersion");
      merge(next, patch);
      return next.as_object();
    });
  }
  Result<void> remove(const api::Kind& kind, const api::ObjectName& name, const api::DeleteOptions& options) override {
    const std::lock_guard lock(mutex_);
    if (auto failed = failing("delete", kind)) return *failed;
    const auto found = objects_.find(keyOf(kind, name));
    if (found == objects_.end()) return notFound(kind, name.name);
    const json::object& held = found->second->value;
    if (!options.uid.empty() && options.uid != textAt(held, {"metadata", "uid"})) return Error{Reason::Conflict, "another uid"};
    if (!options.resourceVersion.empty() && options.resourceVersion != textAt(held, {"metadata", "resourceVersion"}))
      return Error{Reason::Conflict, "another resourceVersion"};
    json::object next = held;
    json::object& metadata = next["metadata"].as_object();
    const bool running = kind.kind == "Pod" && !textAt(held, {"spec", "nodeName"}).empty() && options.gracePeriodSeconds != 0;
    const bool home = kind.kind == "Namespace" && finalizing(held);
    if (options.propagationPolicy == "Foreground" || options.propagationPolicy == "Orphan") {
      json::value& finalizers = metadata["finalizers"];
      if (!finalizers.is_array()) finalizers.emplace_array();
      const json::value mark = options.propagationPolicy == "Orphan" ? "orphan" : "foregroundDeletion";
      json::array& names = finalizers.get_array();
      if (std::find(names.begin(), names.end(), mark) == names.end()) names.push_back(mark);
    }
    const json::array* finalizers = arrayAt(next, {"metadata", "finalizers"});
    if (!running && !home && (finalizers == nullptr || finalizers->empty())) {
      drop(found);
      return {};
    }
    if (ending(held) && next == held) return {};
    if (!ending(held)) metadata["deletionTimestamp"] = "2023-03-04T09:28:03Z";
    if (running) metadata["deletionGracePeriodSeconds"] = 30;
    commit(kind, name, std::move(next));
    return {};
  }
  Result<json::object> createSubresource(const api::Kind& kind, const api::ObjectName& name, std::string_view subresource,
                                         json::object body) override {
    if (subresource == "eviction") return evicted(kind, name, body);
    if (subresource != "binding") return Error{Reason::NotFound, "no such subresource"};
    const Result<DocumentPtr> bound = change("binding", kind, name, [&](const json::object& held) {
      json::object next = held;
      makeObjectAt(next, {"spec"})["nodeName"] = textAt(body, {"target", "name"});
      return next;
    });
    if (!bound) return bound.error();
    return json::object{};
  }
  Result<std::unique_ptr<api::Watching>> watch(const api::Kind& kind, const std::string&, const api::Selectors&, std::uint64_t since,
                                               std::function<void(const api::WatchEvent&)> changed) override {
    const std::lock_guard lock(mutex_);
    if (auto failed = failing("watch", kind)) return *failed;
    auto watcher = std::make_shared<Watcher>();
    watcher->kind = kind.kind;
    watcher->since = since;
    watcher->changed = std::move(changed);
    watchers_.push_back(watcher);
    for (const auto& [revision, change] : history_)
      if (change.first == kind.kind && revision > since) pending_.push_back({watcher, revision, change.second});
    wake_.notify_all();
    return std::unique_ptr<api::Watching>(std::make_unique<Subscription>(std::move(watcher)));
  }

 private:
  using Key = std::tuple<std::string, std::string, std::string>;
  struct Watcher {
    std::string kind;
    std::uint64_t since = 0;
    std::function<void(const api::WatchEvent&)> changed;
    std::mutex turn;
    bool ended = false;  // guarded by turn
  };
  struct Subscription final : api::Watching {
    explicit Subscription(std::shared_ptr<Watcher> of) : watcher(std::move(of)) {}
    ~Subscription() override {
      const std::lock_guard lock(watcher->turn);
      watcher->ended = true;
    }
    std::shared_ptr<Watcher> watcher;
  };
  struct Pending {
    std::shared_ptr<Watcher> watcher;
    std::uint64_t revision;
    api::WatchEvent event;
  };

  static const api::Kind& kindOf(std::string_view name) {
    for (const api::Kind* kind : api::allKinds())
      if (kind->kind == name && kind->group != "events.k8s.io") return *kind;
    throw std::runtime_error("no kind " + std::string(name));
  }
  static Key keyOf(const api::Kind& kind, const api::ObjectName& name) { return {std::string(kind.kind), name.ns, name.name}; }
  static bool ending(const json::object& object) { return !textAt(object, {"metadata", "deletionTimestamp"}).empty(); }
  static bool finalizing(const json::object& ns) {
    const json::array* finalizers = arrayAt(ns, {"spec", "finalizers"});
    return finalizers != nullptr && !finalizers->empty();
  }
  static Error notFound(const api::Kind& kind, const std::string& name) {
    return Error{.reason = Reason::NotFound,
                 .sentence = std::string(kind.plural) + " " + name + " not found",
                 .about = {"", std::string(kind.plural), name}};
  }
  static void merge(json::value& into, const json::value& patch) {  // RFC 7386
    if (!patch.is_object()) {
      into = patch;
      return;
    }
    if (!into.is_object()) into.emplace_object();
    for (const auto& [name, value] : patch.get_object()) {
      if (value.is_null())
        into.get_object().erase(name);
      else
        merge(into.get_object()[name], value);
    }
  }

  Result<json::object> evicted(const api::Kind& kind, const api::ObjectName& name, const json::object& eviction) {
    {
      const std::lock_guard lock(mutex_);
      if (auto failed = failing("eviction", kind)) return *failed;
    }
    const Result<void> removed = remove(kind, name, {.uid = std::string(textAt(eviction, {"deleteOptions", "preconditions", "uid"}))});
    if (!removed) return removed.error();
    return json::object{};
  }
  std::optional<Error> failing(const std::string& verb, const api::Kind& kind) {
    const std::string what = verb + " " + std::string(kind.kind);
    ++calls_[what];
    const auto found = failures_.find(what);
    if (found == failures_.end() || found->second.empty()) return std::nullopt;
    Error error = found->second.front();
    found->second.pop_front();
    return error;
  }
  template <class Change>
  Result<DocumentPtr> change(const std::string& verb, const api::Kind& kind, const api::ObjectName& name, Change next) {
    const std::lock_guard lock(mutex_);
    if (auto failed = failing(verb, kind)) return *failed;
    return put(kind, name, next);
  }
  Result<DocumentPtr> store(const api::Kind& kind, const api::ObjectName& name, json::object object) {
    const std::lock_guard lock(mutex_);
    return put(kind, name, [&](const json::object&) { return std::move(object); });
  }
  template <class Change>
  Result<DocumentPtr> put(const api::Kind& kind, const api::ObjectName& name, Change next) {
    const auto found = objects_.find(keyOf(kind, name));
    if (found == objects_.end()) return notFound(kind, name.name);
    const DocumentPtr held = found->second;
    json::object object = next(held->value);
    const std::string_view version = textAt(object, {"metadata", "resourceVersion"});
    if (!version.empty() && version != textAt(held->value, {"metadata", "resourceVersion"}))
      return Error{Reason::Conflict, "the object has been modified"};
    object["metadata"].as_object()["resourceVersion"] = std::to_string(held->revision);
    if (object == held->value) return held;
    const json::array* finalizers = arrayAt(object, {"metadata", "finalizers"});
    const bool over =
        ending(object) && (finalizers == nullptr || finalizers->empty()) &&
        (kind.kind == "Namespace" ? !finalizing(object) : !object["metadata"].as_object().contains("deletionGracePeriodSeconds"));
    if (!over) return commit(kind, name, std::move(object));
    drop(found);
    return held;
  }
  DocumentPtr commit(const api::Kind& kind, const api::ObjectName& name, json::object object) {
    auto document = std::make_shared<Document>();
    document->revision = ++revision_;
    object["metadata"].as_object()["resourceVersion"] = std::to_string(revision_);
    document->value = std::move(object);
    DocumentPtr& slot = objects_[keyOf(kind, name)];
    const auto type = slot ? api::WatchEvent::Type::Modified : api::WatchEvent::Type::Added;
    slot = document;
    announce(std::string(kind.kind), {type, document});
    return document;
  }
  void drop(std::map<Key, DocumentPtr>::iterator found) {
    auto last = std::make_shared<Document>(*found->second);
    last->revision = ++revision_;
    const std::string kind = std::get<0>(found->first);
    objects_.erase(found);
    announce(kind, {api::WatchEvent::Type::Deleted, last});
  }
  void announce(const std::string& kind, const api::WatchEvent& event) {
    history_.push_back({revision_, {kind, event}});
    for (const std::shared_ptr<Watcher>& watcher : watchers_)
      if (watcher->kind == kind) pending_.push_back({watcher, revision_, event});
    wake_.notify_all();
    changed_.notify_all();
  }
  void serve() {
    std::unique_lock lock(mutex_);
    for (;;) {
      wake_.wait(lock, [&] { return over_ || !pending_.empty(); });
      if (over_) return;
      const Pending next = std::move(pending_.front());
      pending_.pop_front();
      lock.unlock();
      {
        const std::lock_guard turn(next.watcher->turn);
        if (!next.watcher->ended) next.watcher->changed(next.event);
      }
      lock.lock();
    }
  }

  std::mutex mutex_;
  std::condition_variable wake_, changed_;
  std::uint64_t revision_ = 0;
  std::map<Key, DocumentPtr> objects_;
  std::vector<std::pair<std::uint64_t, std::pair<std::string, api::WatchEvent>>> history_;
  std::vector<std::shared_ptr<Watcher>> watchers_;
  std::deque<Pending> pending_;
  std::map<std::string, std::deque<Error>> failures_;
  std::map<std::string, int> calls_;
  bool over_ = false;
  std::thread server_;
};

}  // namespace podpass::api
