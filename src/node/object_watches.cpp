#include "node/object_watches.h"

#include "base/log.h"

namespace podpass::node {

namespace {

constexpr std::chrono::minutes kLife{5};

struct Reference {
  const api::Kind* kind = nullptr;
  api::ObjectName name;
};

Reference parse(const std::string& object) {
  const std::size_t first = object.find('/'), second = object.find('/', first + 1);
  return {api::findKind("", "v1", object.substr(0, first)), {object.substr(first + 1, second - first - 1), object.substr(second + 1)}};
}

}  // namespace

struct ObjectWatches::Watch {
  std::mutex mutex;  // of `pods` alone: the client's threads take it, and must not wait for whoever ends a watch
  std::set<std::string> pods;
  // guarded by ObjectWatches::mutex_
  std::unique_ptr<api::Watching> watching;
  SteadyTime renewal{};
};

ObjectWatches::ObjectWatches(api::Client& client, const Clock& clock, std::function<void(const std::string&)> changed)
    : client_(client), clock_(clock), changed_(std::move(changed)) {}

ObjectWatches::~ObjectWatches() = default;

void ObjectWatches::follow(const std::string& podUid, const std::vector<std::string>& objects) {
  std::vector<std::shared_ptr<Watch>> ended;  // destroyed without the lock
  std::lock_guard lock(mutex_);
  for (const std::string& object : objects) {
    std::shared_ptr<Watch>& watch = watches_[object];
    if (!watch) watch = std::make_shared<Watch>();
    {
      std::lock_guard pods(watch->mutex);
      watch->pods.insert(podUid);
    }
    if (clock_.steady() >= watch->renewal) begin(object, watch);
  }
  std::erase_if(watches_, [&](auto& entry) {
    if (std::find(objects.begin(), objects.end(), entry.first) != objects.end()) return false;
    std::lock_guard pods(entry.second->mutex);
    if (entry.second->pods.erase(podUid) == 0 || !entry.second->pods.empty()) return false;
    ended.push_back(entry.second);
    return true;
  });
}

void ObjectWatches::begin(const std::string& object, const std::shared_ptr<Watch>& watch) {
  const Reference reference = parse(object);
  if (reference.kind == nullptr) return;
  const api::Selectors only{.fields = "metadata.name=" + reference.name.name};
  watch->watching = nullptr;
  const Result<api::Listing> now = client_.list(*reference.kind, reference.name.ns, only);
  if (!now) {
    log::debug("object not watched", {{"name", object}, {"err", log::chain(now.error())}});
    return;
  }
  auto told = [this, weak = std::weak_ptr<Watch>(watch)](const api::WatchEvent&) {
    const std::shared_ptr<Watch> alive = weak.lock();
    if (!alive) return;
    std::set<std::string> pods;
    {
      std::lock_guard lock(alive->mutex);
      pods = alive->pods;
    }
    for (const std::string& pod : pods) changed_(pod);
  };
  Result<std::unique_ptr<api::Watching>> made = client_.watch(*reference.kind, reference.name.ns, only, now->revision, std::move(told));
  if (!made) {
    log::debug("object not watched", {{"name", object}, {"err", log::chain(made.error())}});
    return;
  }
  watch->watching = *std::move(made);
  watch->renewal = clock_.steady() + kLife;
}

std::size_t ObjectWatches::size() const {
  std::lock_guard lock(mutex_);
  return watches_.size();
}

}  // namespace podpass::node
