#include "controllers/informer.h"

#include <cassert>

namespace podpass::controllers {
namespace {

constexpr int kRelists = 10;  // a list is only too old for its watch when the server compacts just then

}  // namespace

Result<void> Informer::start() {
  for (int attempt = 1;; ++attempt) {
    Result<api::Listing> listing = client_.list(kind_, "", {});
    if (!listing) return listing.error();
    replaceAll(*listing);
    auto changed = [this](const api::WatchEvent& event) { apply(event); };
    Result<std::unique_ptr<api::Watching>> watching = client_.watch(kind_, "", {}, listing->revision, std::move(changed));
    if (watching) {
      watching_ = *std::move(watching);
      return {};
    }
    if (watching.error().reason != Reason::Expired || attempt == kRelists) return watching.error();
  }
}

// What a relist shows is told as changes, so that nobody has to know that the watch was interrupted.
void Informer::replaceAll(const api::Listing& listing) {
  std::map<Key, DocumentPtr> next, before;
  for (const DocumentPtr& object : listing.items)
    next[{std::string(textAt(object->value, {"metadata", "namespace"})), std::string(textAt(object->value, {"metadata", "name"}))}] =
        object;
  {
    const std::lock_guard lock(mutex_);
    before = objects_;
    objects_ = next;
  }
  for (const auto& [key, object] : before)
    if (!next.contains(key))
      for (const ChangeHandler& handler : handlers_) handler(kind_, object, nullptr);
  for (const auto& [key, object] : next) {
    const auto old = before.find(key);
    if (old != before.end() && old->second->revision == object->revision) continue;
    for (const ChangeHandler& handler : handlers_) handler(kind_, old != before.end() ? old->second : nullptr, object);
  }
}

void Informer::apply(const api::WatchEvent& event) {
  const DocumentPtr& object = event.object;
  const Key key{std::string(textAt(object->value, {"metadata", "namespace"})), std::string(textAt(object->value, {"metadata", "name"}))};
  const bool gone = event.type == api::WatchEvent::Type::Deleted;
  DocumentPtr before;
  {
    const std::lock_guard lock(mutex_);
    const auto found = objects_.find(key);
    if (found != objects_.end()) before = found->second;
    if (before && before->revision > object->revision) return;
    if (gone)
      objects_.erase(key);
    else
      objects_[key] = object;
  }
  if (gone && !before) before = object;
  for (const ChangeHandler& handler : handlers_) handler(kind_, before, gone ? nullptr : object);
}

DocumentPtr Informer::get(const std::string& ns, const std::string& name) const {
  const std::lock_guard lock(mutex_);
  const auto found = objects_.find({ns, name});
  return found != objects_.end() ? found->second : nullptr;
}

std::vector<DocumentPtr> Informer::list(const std::string& ns) const {
  const std::lock_guard lock(mutex_);
  std::vector<DocumentPtr> found;
  for (auto each = ns.empty() ? objects_.begin() : objects_.lower_bound({ns, ""}); each != objects_.end(); ++each) {
    if (!ns.empty() && each->first.first != ns) break;
    found.push_back(each->second);
  }
  return found;
}

Informers::Informers(api::Client& client) {
  // Namespaces end first and roles say what loops may do, but loops start after all lists: the order does not matter
  for (const api::Kind* kind : api::allKinds())
    if (!kind->isVirtual && kind->allows("list") && kind->allows("watch") && kind->group != "events.k8s.io")
      all_.push_back(std::make_unique<Informer>(client, *kind));
}

Informer& Informers::of(std::string_view group, std::string_view plural) {
  for (const std::unique_ptr<Informer>& informer : all_)
    if (informer->kind().group == group && informer->kind().plural == plural) return *informer;
  assert(false);
  return *all_.front();
}

Informer* Informers::find(const api::Kind& kind) {
  for (const std::unique_ptr<Informer>& informer : all_)
    if (&informer->kind() == &kind) return informer.get();
  return nullptr;
}

Result<void> Informers::start() {
  for (const std::unique_ptr<Informer>& informer : all_)
    if (Result<void> started = informer->start(); !started) {
      stop();
      return started;
    }
  return {};
}

void Informers::stop() {
  for (const std::unique_ptr<Informer>& informer : all_) informer->stop();
}

}  // namespace podpass::controllers
