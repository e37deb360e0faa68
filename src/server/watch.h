#pragma once

#include "http/http.h"
#include "server/representation.h"

namespace podpass::server {

struct WatchOptions {
  std::string ns;
  api::LabelSelector labels;
  api::FieldSelector fields;
  std::optional<std::uint64_t> since;  // nullopt: the present state first, then live
  bool sendInitialEvents = false;      // watch-list: a bookmark ends the initial state
  bool bookmarks = false;
  std::chrono::seconds timeout{1800};
};

// Streams changes as they are committed: selectors, transitions in and out of a selection, bookmarks, expiry (spec api.md §6.4, §6.5).
// A watcher that falls too far behind is ended with 410 and lists again.
asio::awaitable<http::Response> watch(Registry& registry, const api::Kind& kind, WatchOptions options, Representation as,
                                      const Clock& clock, const std::atomic<bool>& stopping);

}  // namespace podpass::server
