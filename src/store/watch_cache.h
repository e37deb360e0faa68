#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <shared_mutex>
#include <string>
#include <vector>

#include "store/store.h"

namespace podpass {

// The store's present state and recent history in memory: all reads and watches are answered from here. Thread-safe; publish() is
// called by the one writer, in revision order, after the changes are durable.
class WatchCache {
 public:
  explicit WatchCache(std::size_t history) : history_(history) {}
  WatchCache(const WatchCache&) = delete;
  WatchCache& operator=(const WatchCache&) = delete;

  void load(Entry entry);              // before start()
  void start(std::uint64_t revision);  // history begins after this revision
  // All changes become visible to readers at once, then the listeners see them one by one.
  void publish(const std::vector<Change>& changes);

  [[nodiscard]] DocumentPtr get(const std::string& key) const;
  [[nodiscard]] Result<Page> range(const std::string& prefix, const std::string& after, std::size_t limit, std::uint64_t at) const;
  // The subscription must not outlive the cache.
  [[nodiscard]] Result<std::unique_ptr<Subscription>> watch(std::string prefix, std::uint64_t since, Listener listener);
  [[nodiscard]] std::uint64_t revision() const;

 private:
  struct Watcher;
  class Handle;
  using Watchers = std::vector<std::shared_ptr<Watcher>>;
  [[nodiscard]] std::map<std::string, DocumentPtr> undoneSince(std::uint64_t at) const;
  void remember(const Change& change);
  void collect(const std::string& key, Watchers& found) const;
  void drop(const std::shared_ptr<Watcher>& watcher);

  const std::size_t history_;
  mutable std::shared_mutex mutex_;  // guards all below; taken after a watcher's own, never before it
  std::map<std::string, DocumentPtr> entries_;
  std::deque<Change> changes_;  // the history, oldest first
  std::uint64_t revision_ = 0;
  std::uint64_t oldest_ = 0;                               // the changes after this revision are in the history
  std::map<std::string, Watchers, std::less<>> watchers_;  // by prefix
};

}  // namespace podpass
