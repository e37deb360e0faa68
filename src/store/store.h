#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/document.h"
#include "base/result.h"

// The revisioned key-value store: the model is etcd v3's. Keys are "/registry/<resource>[.<group>]/<namespace>/<name>".
namespace podpass {

enum class Revision : std::uint64_t {};  // one counter for the whole store, +1 per committed mutation

struct Entry {
  std::string key;
  DocumentPtr document;  // never null; metadata.resourceVersion is the revision of its last mutation
};

// One conditional write.
struct Mutation {
  std::string key;
  // The object to store (any metadata.resourceVersion in it is replaced by the new revision); nullopt deletes.
  std::optional<json::object> value;
  // The revision that the key must have now; 0: it must not exist. Otherwise the commit fails with Conflict (AlreadyExists for 0,
  // NotFound when the key is gone). nullopt: unconditional.
  std::optional<std::uint64_t> expected;
};

// The entry as it was after the mutation; for a delete: the last state, carrying the revision of the deletion.
using Committed = std::function<void(Result<Entry>)>;

struct Change {
  enum class Type { Added, Modified, Deleted } type;
  Entry entry;           // for Deleted: the last state with the deletion's revision
  DocumentPtr previous;  // null for Added
};

struct Page {
  std::vector<Entry> entries;   // sorted by key
  std::uint64_t revision = 0;   // the store's revision that the page shows
  bool more = false;            // entries remain after the last one
  std::uint64_t remaining = 0;  // how many
};

// Called in revision order for every committed change after the subscription's start: during watch() on the caller's thread for what is
// replayed, later on the store's. Must not block; may read the store, and may end its own subscription.
using Listener = std::function<void(const Change&)>;

// Ends the subscription when destroyed; afterwards the listener is not called again.
class Subscription {
 public:
  virtual ~Subscription() = default;
};

// Thread-safe. Reads are answered from the watch cache in memory and never block on the disk. A commit is acknowledged only after it
// is durable (group commit), and every read that starts after the acknowledgement sees it.
class Store {
 public:
  virtual ~Store() = default;
  // `done` is called once, on the store's thread. TooManyRequests comes at once on the caller's, when 10,000 commits wait already;
  // Unavailable when the disk is full or fails: nothing of the mutation is stored then.
  virtual void commit(Mutation mutation, Committed done) = 0;
  [[nodiscard]] virtual DocumentPtr get(const std::string& key) const = 0;  // null when absent
  // Entries whose key starts with `prefix`, after the key `after` (exclusive, "" = from the start), at most `limit` (0 = all).
  // `at` 0: now; otherwise exactly that revision, from history: Expired when it was compacted, Timeout when it is in the future.
  [[nodiscard]] virtual Result<Page> range(const std::string& prefix, const std::string& after, std::size_t limit,
                                           std::uint64_t at) const = 0;
  // Changes with revision > `since` under `prefix`: first those in the history buffer, then live ones, none lost or doubled.
  // Expired when `since` is older than the history. `since` in the future: live ones only after it.
  [[nodiscard]] virtual Result<std::unique_ptr<Subscription>> watch(std::string prefix, std::uint64_t since, Listener listener) = 0;
  [[nodiscard]] virtual std::uint64_t revision() const = 0;
  // Seals anew, a batch at a time between commits, every value on disk that is stale (AtRest); documents and revisions stay as they are.
  // `done` gets how many there were, on the store's thread, once all are durable.
  virtual void reseal(std::function<void(Result<std::size_t>)> done) = 0;
  // Why the store cannot take writes now (disk full, database gone); ok when it can.
  [[nodiscard]] virtual Result<void> healthy() const = 0;
};

// What the text of a document under `prefix` becomes on its way to the disk and back: the place where Secrets are encrypted. In memory
// everything stays plain. Thread-safe. `open` gets what seal gave, or text from before there was sealing. `stale`: the value on disk
// should be sealed anew (its key was replaced). An empty prefix: nothing is sealed.
struct AtRest {
  std::string prefix = {};
  std::function<std::string(const std::string& key, const std::string& text)> seal = nullptr;
  std::function<Result<std::string>(const std::string& key, std::string stored)> open = nullptr;
  std::function<bool(std::string_view stored)> stale = nullptr;
};

// The embedded backend: SQLite (WAL, synchronous=FULL) in `directory`/store.db, file mode 0600, one writer thread with group commit,
// `history` changes kept for watches (older ones are compacted). Conflict: another process has the directory open. Internal: the database
// is damaged or made by a newer podpass. Destroying the store first finishes the commits that wait; subscriptions must end before it.
Result<std::unique_ptr<Store>> openSqliteStore(const std::string& directory, std::size_t history = 10'000, AtRest atRest = {});

// The same without a disk: everything is lost with it. For tests and rehearsals.
std::unique_ptr<Store> makeMemoryStore(std::size_t history = 10'000);

}  // namespace podpass
