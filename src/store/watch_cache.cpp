#include "store/watch_cache.h"

#include <algorithm>
#include <mutex>
#include <string_view>

namespace podpass {

// Its mutex keeps live changes behind the replay, and makes an ended subscription silent. Recursive, because a listener may end its own
// subscription.
struct WatchCache::Watcher {
  std::string prefix;
  std::uint64_t since = 0;
  Listener listener;
  std::recursive_mutex mutex;
  bool ended = false;

  [[nodiscard]] bool wants(const Change& change) const {
    return change.entry.document->revision > since && change.entry.key.starts_with(prefix);
  }
  void show(const Change& change) {
    std::lock_guard lock(mutex);
    if (!ended && wants(change)) listener(change);
  }
};

class WatchCache::Handle final : public Subscription {
 public:
  Handle(WatchCache& cache, std::shared_ptr<Watcher> watcher) : cache_(cache), watcher_(std::move(watcher)) {}
  ~Handle() override {
    cache_.drop(watcher_);
    std::lock_guard lock(watcher_->mutex);  // waits for a call that runs on another thread
    watcher_->ended = true;
  }

 private:
  WatchCache& cache_;
  std::shared_ptr<Watcher> watcher_;
};

namespace {

std::string_view commonStart(std::string_view a, std::string_view b) {
  return a.substr(0, static_cast<std::size_t>(std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first - a.begin()));
}

}  // namespace

void WatchCache::load(Entry entry) {
  std::unique_lock lock(mutex_);
  entries_.insert_or_assign(std::move(entry.key), std::move(entry.document));
}

void WatchCache::start(std::uint64_t revision) {
  std::unique_lock lock(mutex_);
  revision_ = oldest_ = revision;
}

void WatchCache::publish(const std::vector<Change>& changes) {
  std::vector<Watchers> audiences(changes.size());
  {
    std::unique_lock lock(mutex_);
    for (std::size_t i = 0; i < changes.size(); ++i) {
      remember(changes[i]);
      collect(changes[i].entry.key, audiences[i]);
    }
  }
  // Who subscribes from here on finds these changes in the history, and is not in the audience.
  for (std::size_t i = 0; i < changes.size(); ++i)
    for (const std::shared_ptr<Watcher>& watcher : audiences[i]) watcher->show(changes[i]);
}

void WatchCache::remember(const Change& change) {
  if (change.type == Change::Type::Deleted) {
    entries_.erase(change.entry.key);
  } else {
    entries_.insert_or_assign(change.entry.key, change.entry.document);
  }
  revision_ = change.entry.document->revision;
  changes_.push_back(change);
  if (changes_.size() <= history_) return;
  oldest_ = changes_.front().entry.document->revision;
  changes_.pop_front();
}

// The watched prefixes of a key, found from the longest down. Whatever sorts between a prefix of the key and the key itself starts with
// that prefix; so a neighbour that is no prefix rules out all that are longer than what it has in common with the key.
void WatchCache::collect(const std::string& key, Watchers& found) const {
  std::string_view rest = key;
  auto watched = watchers_.upper_bound(rest);
  while (watched != watchers_.begin()) {
    --watched;
    if (rest.starts_with(watched->first)) {
      found.insert(found.end(), watched->second.begin(), watched->second.end());
    } else {
      rest = commonStart(rest, watched->first);
      watched = watchers_.upper_bound(rest);
    }
  }
}

DocumentPtr WatchCache::get(const std::string& key) const {
  std::shared_lock lock(mutex_);
  const auto found = entries_.find(key);
  return found == entries_.end() ? nullptr : found->second;
}

std::uint64_t WatchCache::revision() const {
  std::shared_lock lock(mutex_);
  return revision_;
}

// An older revision is the present with the later changes undone, newest first. Null: the key did not exist then.
std::map<std::string, DocumentPtr> WatchCache::undoneSince(std::uint64_t at) const {
  std::map<std::string, DocumentPtr> past;
  for (auto change = changes_.rbegin(); change != changes_.rend() && change->entry.document->revision > at; ++change)
    past[change->entry.key] = change->previous;
  return past;
}

Result<Page> WatchCache::range(const std::string& prefix, const std::string& after, std::size_t limit, std::uint64_t at) const {
  std::shared_lock lock(mutex_);
  if (at > revision_) {
    return Error{.reason = Reason::Timeout,
                 .sentence = "Too large resource version: " + std::to_string(at) + ", current: " + std::to_string(revision_),
                 .retryAfterSeconds = 1};
  }
  if (at != 0 && at < oldest_)
    return Error{Reason::Expired, "The provided resource version is too old.", "list again without a resource version"};
  const std::map<std::string, DocumentPtr> past = at != 0 ? undoneSince(at) : std::map<std::string, DocumentPtr>();
  Page page;
  page.revision = at != 0 ? at : revision_;
  const auto add = [&page, limit](const std::string& key, const DocumentPtr& document) {
    if (!document) return;
    if (limit == 0 || page.entries.size() < limit) {
      page.entries.push_back({key, document});
    } else {
      ++page.remaining;
    }
  };
  const auto first = [&](const auto& map) { return after < prefix ? map.lower_bound(prefix) : map.upper_bound(after); };
  const auto inside = [&prefix](const auto& map, const auto& entry) { return entry != map.end() && entry->first.starts_with(prefix); };
  auto now = first(entries_);
  auto then = first(past);
  while (inside(entries_, now) || inside(past, then)) {
    if (inside(past, then) && (!inside(entries_, now) || then->first <= now->first)) {
      if (inside(entries_, now) && then->first == now->first) ++now;
      add(then->first, then->second);
      ++then;
    } else {
      add(now->first, now->second);
      ++now;
    }
  }
  page.more = page.remaining != 0;
  return page;
}

Result<std::unique_ptr<Subscription>> WatchCache::watch(std::string prefix, std::uint64_t since, Listener listener) {
  auto watcher = std::make_shared<Watcher>();
  watcher->prefix = std::move(prefix);
  watcher->since = since;
  watcher->listener = std::move(listener);
  std::vector<Change> replay;
  std::lock_guard replaying(watcher->mutex);  // what is published from now on waits behind the replay
  {
    std::unique_lock lock(mutex_);
    if (since < oldest_)
      return Error{Reason::Expired, "too old resource version: " + std::to_string(since) + " (" + std::to_string(oldest_) + ")",
                   "list again"};
    for (auto change = changes_.rbegin(); change != changes_.rend() && change->entry.document->revision > since; ++change)
      if (watcher->wants(*change)) replay.push_back(*change);
    watchers_[watcher->prefix].push_back(watcher);
  }
  auto handle = std::make_unique<Handle>(*this, watcher);
  // outside the cache's lock: a listener may read the store
  for (auto change = replay.rbegin(); change != replay.rend(); ++change) watcher->show(*change);
  return std::unique_ptr<Subscription>(std::move(handle));
}

void WatchCache::drop(const std::shared_ptr<Watcher>& watcher) {
  std::unique_lock lock(mutex_);
  const auto watched = watchers_.find(watcher->prefix);
  if (watched == watchers_.end()) return;
  std::erase(watched->second, watcher);
  if (watched->second.empty()) watchers_.erase(watched);
}

}  // namespace podpass
