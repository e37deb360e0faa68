#include "server/watch.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "server/status.h"

namespace podpass::server {
namespace {

constexpr std::size_t kBacklog = 4096;  // changes that a slow client may owe
constexpr std::chrono::seconds kBookmarkEvery{60};
constexpr std::chrono::seconds kTick{1};  // how soon a watch notices that the server stops

// Between the store's thread, which pushes, and the connection, which writes.
class Backlog {
 public:
  Backlog(asio::any_io_executor executor) : timer_(std::move(executor)) {}

  void push(const Change& change) {
    {
      std::lock_guard lock(mutex_);
      if (overflown_) return;
      if (changes_.size() >= kBacklog)
        overflown_ = true;
      else
        changes_.push_back(change);
      if (woken_) return;
      woken_ = true;
    }
    asio::post(timer_.get_executor(), [self = shared_] {
      if (auto backlog = self.lock()) backlog->timer_.cancel();
    });
  }
  // Everything that came; false when the client fell behind.
  bool take(std::deque<Change>& into) {
    std::lock_guard lock(mutex_);
    into.swap(changes_);
    changes_.clear();
    woken_ = false;
    return !overflown_;
  }
  asio::awaitable<void> wait(std::chrono::steady_clock::duration patience) {
    timer_.expires_after(patience);
    {
      std::lock_guard lock(mutex_);
      if (woken_) co_return;
    }
    co_await timer_.async_wait(asio::as_tuple(asio::use_awaitable));
  }
  void wake() { timer_.cancel(); }
  void own(const std::shared_ptr<Backlog>& self) { shared_ = self; }

 private:
  asio::steady_timer timer_;
  std::weak_ptr<Backlog> shared_;
  std::mutex mutex_;
  std::deque<Change> changes_;
  bool woken_ = false, overflown_ = false;
};

std::shared_ptr<const std::string> shared(std::string text) { return std::make_shared<const std::string>(std::move(text)); }

std::string bookmark(const api::Kind& kind, std::uint64_t revision, bool initialEnd) {
  json::object meta{{"resourceVersion", std::to_string(revision)}, {"creationTimestamp", nullptr}};
  if (initialEnd) meta["annotations"] = json::object{{"k8s.io/initial-events-end", "true"}};
  const json::object object{{"kind", kind.kind}, {"apiVersion", kind.apiVersion()}, {"metadata", std::move(meta)}};
  return "{\"type\":\"BOOKMARK\",\"object\":" + json::serialize(object) + "}\n";
}

std::string errorEvent(const Error& error) { return "{\"type\":\"ERROR\",\"object\":" + json::serialize(statusOf(error)) + "}\n"; }

// The state before a change left the selection, with the revision of the change.
std::string leaving(const api::Kind& kind, const Document& before, std::uint64_t revision, const Representation& as, bool first,
                    WallTime now) {
  Document left;
  left.value = before.value;
  left.revision = revision;
  makeObjectAt(left.value, {"metadata"})["resourceVersion"] = std::to_string(revision);
  left.text = json::serialize(left.value);
  return watchEvent("DELETED", kind, left, as, first, now);
}

struct Stream {
  Registry& registry;
  const api::Kind& kind;
  WatchOptions options;
  Representation as;
  const Clock& clock;
  const std::atomic<bool>& stopping;
  bool first = true;

  bool selects(const DocumentPtr& document) const {
    return document && options.labels.matches(document->value) && options.fields.matches(document->value);
  }
  // "" when the change concerns nothing that is selected.
  std::string show(const Change& change) {
    const bool was = selects(change.previous), is = change.type != Change::Type::Deleted && selects(change.entry.document);
    const bool removed = change.type == Change::Type::Deleted && selects(change.entry.document);
    std::string text;
    if (is)
      text = watchEvent(was ? "MODIFIED" : "ADDED", kind, *change.entry.document, as, first, clock.now());
    else if (removed)
      text = watchEvent("DELETED", kind, *change.entry.document, as, first, clock.now());
    else if (was)
      text = leaving(kind, *change.previous, change.entry.document->revision, as, first, clock.now());
    if (!text.empty()) first = false;
    return text;
  }

  asio::awaitable<void> run(http::BodyWriter& out) {
    auto backlog = std::make_shared<Backlog>(co_await asio::this_coro::executor);
    backlog->own(backlog);
    out.onClosed([weak = std::weak_ptr<Backlog>(backlog)] {
      if (auto live = weak.lock()) live->wake();
    });
    std::uint64_t since = options.since.value_or(0);
    if (!options.since) {
      ListOptions all{options.ns, options.labels, options.fields, 0, "", 0};
      Result<ListPage> page = registry.list(kind, all);
      if (!page) co_return;
      std::string text;
      for (const DocumentPtr& item : page->items) {
        text += watchEvent("ADDED", kind, *item, as, first, clock.now());
        first = false;
      }
      since = page->revision;
      if (options.sendInitialEvents) text += bookmark(kind, since, true);
      if (!text.empty()) {
        const bool more = co_await out.write(shared(std::move(text)));
        if (!more) co_return;
      }
    }
    Listener listener = [backlog](const Change& change) { backlog->push(change); };
    auto subscription = registry.store().watch(Registry::prefixOf(kind, options.ns), since, std::move(listener));
    if (!subscription) {
      const std::string text = errorEvent(subscription.error());
      co_await out.write(shared(text));
      co_return;
    }
    const SteadyTime end = clock.steady() + options.timeout;
    SteadyTime nextBookmark = clock.steady() + kBookmarkEvery;
    std::uint64_t seen = since;
    std::deque<Change> changes;
    while (!out.closed() && !stopping.load() && clock.steady() < end) {
      changes.clear();
      const bool kept = backlog->take(changes);
      std::string text;
      for (const Change& change : changes) {
        text += show(change);
        seen = change.entry.document->revision;
      }
      if (options.bookmarks && clock.steady() >= nextBookmark) {
        text += bookmark(kind, seen, false);
        nextBookmark = clock.steady() + kBookmarkEvery;
      }
      if (!kept) text += errorEvent(Error{Reason::Expired, "too old resource version: the watcher fell behind and must list again"});
      if (!text.empty()) {
        const bool more = co_await out.write(shared(std::move(text)));
        if (!more) co_return;
      }
      if (!kept) co_return;
      co_await backlog->wait(std::min<std::chrono::steady_clock::duration>(kTick, end - clock.steady()));
    }
  }
};

}  // namespace

asio::awaitable<http::Response> watch(Registry& registry, const api::Kind& kind, WatchOptions options, Representation as,
                                      const Clock& clock, const std::atomic<bool>& stopping) {
  http::Response response;
  response.headers.add("Content-Type", "application/json");
  as.pretty = false;
  auto stream = std::make_shared<Stream>(Stream{registry, kind, std::move(options), as, clock, stopping});
  response.stream = [stream](http::BodyWriter& out) -> asio::awaitable<void> { return stream->run(out); };
  co_return response;
}

}  // namespace podpass::server
