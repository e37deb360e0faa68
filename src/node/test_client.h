#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "api/client.h"
#include "base/text.h"

namespace podpass::node {

// The API server's face for tests: objects in a map, watches that see every change, no admission and no defaults. Field selectors know
// metadata.name, metadata.namespace and spec.nodeName; label selectors are ignored. Thread-safe; watchers are called under no lock.
class TestClient final : public api::Client {
 public:
  // Answers the POST to a subresource: (plural, name, subresource, body). The default issues tokens: see issueToken.
  using Subresource = std::function<Result<json::object>(std::string_view, const api::ObjectName&, std::string_view, const json::object&)>;

  // Creates or replaces: put("secrets", {"metadata": {"namespace": …, "name": …}, …}).
  DocumentPtr put(std::string_view plural, json::object object) {
    const json::object* metadata = objectAt(object, {"metadata"});
    const std::string ns(metadata != nullptr ? textAt(*metadata, {"namespace"}) : "");
    const std::string name(metadata != nullptr ? textAt(*metadata, {"name"}) : "");
    return store(plural, ns, name, std::move(object));
  }
  DocumentPtr put(std::string_view plural, std::string_view text) { return put(plural, json::parse(text).as_object()); }
  void erase(std::string_view plural, const std::string& ns, const std::string& name) {
    DocumentPtr gone;
    {
      std::lock_guard lock(mutex_);
      auto found = objects_.find({std::string(plural), ns, name});
      if (found == objects_.end()) return;
      gone = found->second;
      objects_.erase(found);
      ++revision_;
    }
    announce(plural, {api::WatchEvent::Type::Deleted, gone});
  }
  // Until mend(): calls of this verb (get, list, create, update, patch, delete, watch, or a subresource's name) and plural get `error`.
  void fail(std::string_view verb, std::string_view plural, Error error) {
    std::lock_guard lock(mutex_);
    failures_.insert_or_assign({std::string(verb), std::string(plural)}, std::move(error));
  }
  void mend() {
    std::lock_guard lock(mutex_);
    failures_.clear();
  }
  [[nodiscard]] int calls(std::string_view verb, std::string_view plural) const {
    std::lock_guard lock(mutex_);
    const auto found = calls_.find({std::string(verb), std::string(plural)});
    return found == calls_.end() ? 0 : found->second;
  }
  // Objects of one kind, whatever their namespace.
  [[nodiscard]] std::vector<DocumentPtr> all(std::string_view plural) const {
    std::lock_guard lock(mutex_);
    std::vector<DocumentPtr> found;
    for (const auto& [key, object] : objects_)
      if (std::get<0>(key) == plural) found.push_back(object);
    return found;
  }
  Subresource answer = {};       // set before threads start
  const Clock* clock = nullptr;  // of the tokens' expirationTimestamp; nullptr: the system's

  Result<DocumentPtr> get(const api::Kind& kind, const api::ObjectName& name) override {
    if (auto failed = failing("get", kind.plural)) return *failed;
    std::lock_guard lock(mutex_);
    const auto found = objects_.find({std::string(kind.plural), name.ns, name.name});
    if (found == objects_.end()) return notFound(kind, name);
    return found->second;
  }
  Result<api::Listing> list(const api::Kind& kind, const std::string& ns, const api::Selectors& selectors) override {
    if (auto failed = failing("list", kind.plural)) return *failed;
    std::lock_guard lock(mutex_);
    api::Listing listing;
    listing.revision = revision_;
    for (const auto& [key, object] : objects_)
      if (std::get<0>(key) == kind.plural && matches(*object, ns, selectors.fields)) listing.items.push_back(object);
    return listing;
  }
  Result<DocumentPtr> create(const api::Kind& kind, const std::string& ns, json::object object) override {
    if (auto failed = failing("create", kind.plural)) return *failed;
    json::object& metadata = makeObjectAt(object, {"metadata"});
    if (!ns.empty()) metadata["namespace"] = ns;
    std::string name(textAt(metadata, {"name"}));
    if (name.empty()) metadata["name"] = name = std::string(textAt(metadata, {"generateName"})) + randomSuffix();
    if (!metadata.contains("uid")) metadata["uid"] = randomUuid();
    {
      std::lock_guard lock(mutex_);
      if (objects_.contains({std::string(kind.plural), ns, name}))
        return Error{Reason::AlreadyExists, std::string(kind.plural) + " \"" + name + "\" already exists"};
    }
    return store(kind.plural, ns, name, std::move(object));
  }
  Result<DocumentPtr> update(const api::Kind& kind, const api::ObjectName& name, json::object object) override {
    if (auto failed = failing("update", kind.plural)) return *failed;
    return replace(kind, name, [&](const json::object&) { return object; });
  }
  Result<DocumentPtr> updateStatus(const api::Kind& kind, const api::ObjectName& name, json::object object) override {
    if (auto failed = failing("update", kind.plural)) return *failed;
    return replace(kind, name, [&](const json::object& before) {
      json::object next = before;
      if (const json::value* status = object.if_contains("status")) next["status"] = *status;
      return next;
    });
  }
  Result<DocumentPtr> updateSubresource(const api::Kind& kind, const api::ObjectName& name, std::string_view /*subresource*/,
                                        json::object object) override {
    return update(kind, name, std::move(object));
  }
  Result<DocumentPtr> mergePatch(const api::Kind& kind, const api::ObjectName& name, json::object patch,
                                 std::string_view /*subresource*/) override {
    if (auto failed = failing("patch", kind.plural)) return *failed;
    return replace(kind, name, [&](const json::object& before) {
      json::value next = before;
      merge(next, patch);
      return next.as_object();
    });
  }
  Result<void> remove(const api::Kind& kind, const api::ObjectName& name, const api::DeleteOptions& options) override {
    if (auto failed = failing("delete", kind.plural)) return *failed;
    {
      std::lock_guard lock(mutex_);
      const auto found = objects_.find({std::string(kind.plural), name.ns, name.name});
      if (found == objects_.end()) return notFound(kind, name);
      if (!options.uid.empty() && textAt(found->second->value, {"metadata", "uid"}) != options.uid)
        return Error{Reason::Conflict, "the UID in the precondition (" + options.uid + ") is not the object's"};
    }
    erase(kind.plural, name.ns, name.name);
    return {};
  }
  Result<json::object> createSubresource(const api::Kind& kind, const api::ObjectName& name, std::string_view subresource,
                                         json::object body) override {
    if (auto failed = failing(subresource, kind.plural)) return *failed;
    if (answer) return answer(kind.plural, name, subresource, body);
    if (subresource == "token") return issueToken(name, std::move(body));
    return json::object{};
  }
  // The request with status.token "token-<number>:<audience>" and the expiration that was asked for.
  Result<json::object> issueToken(const api::ObjectName&, json::object body) {
    const std::int64_t seconds = integerAt(body, {"spec", "expirationSeconds"}, 3600);
    const json::array* audiences = arrayAt(body, {"spec", "audiences"});
    const std::string audience = audiences != nullptr && !audiences->empty() ? std::string((*audiences)[0].as_string()) : "";
    const WallTime now = clock != nullptr ? clock->now() : std::chrono::system_clock::now();
    json::object& status = makeObjectAt(body, {"status"});
    status["token"] = "token-" + std::to_string(++tokens_) + ":" + audience;
    status["expirationTimestamp"] = rfc3339(now + std::chrono::seconds(seconds));
    return body;
  }
  Result<std::unique_ptr<api::Watching>> watch(const api::Kind& kind, const std::string& ns, const api::Selectors& selectors,
                                               std::uint64_t since, std::function<void(const api::WatchEvent&)> changed) override {
    if (auto failed = failing("watch", kind.plural)) return *failed;
    auto watcher = std::make_shared<Watcher>();
    watcher->plural = kind.plural;
    watcher->ns = ns;
    watcher->fields = selectors.fields;
    watcher->changed = std::move(changed);
    const std::lock_guard turn(watcher->turn);  // the past comes before the present
    std::vector<api::WatchEvent> missed;
    {
      std::lock_guard lock(mutex_);
      for (const auto& [key, object] : objects_)
        if (std::get<0>(key) == kind.plural && object->revision > since && matches(*object, ns, selectors.fields))
          missed.push_back({api::WatchEvent::Type::Added, object});
      watchers_.push_back(watcher);
    }
    for (const api::WatchEvent& event : missed) watcher->changed(event);
    return std::unique_ptr<api::Watching>(std::make_unique<Subscription>(watcher));
  }

 private:
  struct Watcher {
    std::string plural, ns, fields;
    std::function<void(const api::WatchEvent&)> changed;
    std::mutex turn;
    bool ended = false;  // guarded by turn
  };
  struct Subscription final : api::Watching {
    explicit Subscription(std::shared_ptr<Watcher> of) : watcher(std::move(of)) {}
    ~Subscription() override {
      const std::lock_guard turn(watcher->turn);
      watcher->ended = true;
    }
    std::shared_ptr<Watcher> watcher;
  };
  using Key = std::tuple<std::string, std::string, std::string>;

  static Error notFound(const api::Kind& kind, const api::ObjectName& name) {
    return Error{Reason::NotFound, std::string(kind.plural) + " \"" + name.name + "\" not found"};
  }
  std::optional<Error> failing(std::string_view verb, std::string_view plural) {
    std::lock_guard lock(mutex_);
    ++calls_[{std::string(verb), std::string(plural)}];
    const auto found = failures_.find({std::string(verb), std::string(plural)});
    if (found == failures_.end()) return std::nullopt;
    return found->second;
  }
  static bool matches(const Document& object, const std::string& ns, const std::string& fields) {
    if (!ns.empty() && textAt(object.value, {"metadata", "namespace"}) != ns) return false;
    for (std::size_t at = 0; at < fields.size();) {
      const std::size_t end = std::min(fields.find(',', at), fields.size());
      const std::string term = fields.substr(at, end - at);
      const std::size_t equals = term.find('='), dot = term.find('.');
      if (equals != std::string::npos && dot < equals) {
        const std::string parent = term.substr(0, dot), member = term.substr(dot + 1, equals - dot - 1);
        if (textAt(object.value, {parent, member}) != term.substr(equals + 1)) return false;
      }
      at = end + 1;
    }
    return true;
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
  template <class Change>
  Result<DocumentPtr> replace(const api::Kind& kind, const api::ObjectName& name, Change change) {
    json::object next;
    {
      std::lock_guard lock(mutex_);
      const auto found = objects_.find({std::string(kind.plural), name.ns, name.name});
      if (found == objects_.end()) return notFound(kind, name);
      next = change(found->second->value);
    }
    return store(kind.plural, name.ns, name.name, std::move(next));
  }
  DocumentPtr store(std::string_view plural, const std::string& ns, const std::string& name, json::object object) {
    auto document = std::make_shared<Document>();
    bool existed = false;
    {
      std::lock_guard lock(mutex_);
      document->revision = ++revision_;
      makeObjectAt(object, {"metadata"})["resourceVersion"] = std::to_string(revision_);
      document->value = std::move(object);
      document->text = json::serialize(document->value);
      DocumentPtr& slot = objects_[{std::string(plural), ns, name}];
      existed = slot != nullptr;
      slot = document;
    }
    announce(plural, {existed ? api::WatchEvent::Type::Modified : api::WatchEvent::Type::Added, document});
    return document;
  }
  void announce(std::string_view plural, const api::WatchEvent& event) {
    std::vector<std::shared_ptr<Watcher>> watchers;
    {
      std::lock_guard lock(mutex_);
      watchers = watchers_;
    }
    for (const auto& watcher : watchers) {
      const std::lock_guard turn(watcher->turn);
      if (!watcher->ended && watcher->plural == plural && matches(*event.object, watcher->ns, watcher->fields)) watcher->changed(event);
    }
  }

  mutable std::mutex mutex_;
  std::uint64_t revision_ = 0;
  std::map<Key, DocumentPtr> objects_;
  std::map<std::pair<std::string, std::string>, Error> failures_;
  std::map<std::pair<std::string, std::string>, int> calls_;
  std::vector<std::shared_ptr<Watcher>> watchers_;
  std::atomic<int> tokens_ = 0;
};

}  // namespace podpass::node
