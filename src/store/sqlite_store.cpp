#include "store/sqlite_store.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <thread>

#include "base/file.h"
#include "base/log.h"
#include "store/watch_cache.h"

namespace podpass {
namespace {

constexpr std::size_t kBatch = 512;
constexpr std::size_t kQueue = 10'000;
constexpr auto kProbeEvery = std::chrono::seconds(1);
constexpr int kSchema = 1;  // PRAGMA user_version

Error failed(sqlite3* database, const std::string& what) {
  const int code = sqlite3_errcode(database);
  const std::string said = sqlite3_errmsg(database);
  switch (code & 0xff) {
    case SQLITE_FULL:
      return {.reason = Reason::Unavailable,
              .sentence = "the store cannot " + what + ": the disk that holds the data directory is full (" + said + ")",
              .fix = "free space on that disk; writes go on by themselves then, and reads still work",
              .retryAfterSeconds = 1};
    case SQLITE_IOERR:
      return {.reason = Reason::Unavailable,
              .sentence = "the store cannot " + what + ": the disk that holds the data directory is full or fails (" + said + ")",
              .fix = "look at the kernel's log and at df for that disk; writes go on by themselves when it takes them again",
              .retryAfterSeconds = 1};
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return {Reason::Internal, "the store cannot " + what + ": its database is damaged (" + said + ")", "restore store.db from a backup"};
    default:
      return {Reason::Unavailable, "the store cannot " + what + ": " + said};
  }
}

// A prepared statement that is ready again after each run.
class Statement {
 public:
  Statement() = default;
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;
  ~Statement() { sqlite3_finalize(handle_); }

  bool prepare(sqlite3* database, const char* sql) { return sqlite3_prepare_v2(database, sql, -1, &handle_, nullptr) == SQLITE_OK; }
  void bind(int place, std::uint64_t number) { sqlite3_bind_int64(handle_, place, static_cast<sqlite3_int64>(number)); }
  // `text` must live until run()
  void bind(int place, const std::string& text) {
    sqlite3_bind_text64(handle_, place, text.data(), text.size(), SQLITE_STATIC, SQLITE_UTF8);
  }
  bool run() {
    const bool done = sqlite3_step(handle_) == SQLITE_DONE;
    sqlite3_reset(handle_);
    return done;
  }
  int step() { return sqlite3_step(handle_); }
  [[nodiscard]] std::uint64_t number(int column) const { return static_cast<std::uint64_t>(sqlite3_column_int64(handle_, column)); }
  [[nodiscard]] std::string text(int column) const {
    const auto* bytes = reinterpret_cast<const char*>(sqlite3_column_text(handle_, column));
    return bytes == nullptr ? "" : std::string(bytes, static_cast<std::size_t>(sqlite3_column_bytes(handle_, column)));
  }

 private:
  sqlite3_stmt* handle_ = nullptr;
};

// The table of present objects and the revision on disk. One thread at a time.
class Database {
 public:
  explicit Database(AtRest atRest) : atRest_(std::move(atRest)) {}
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;
  ~Database() {
    statements_.reset();
    sqlite3_close(handle_);
    if (lock_ >= 0) ::close(lock_);
  }

  Result<void> open(const std::string& directory, unsigned maxPages) {
    if (Result<void> made = makeDirectories(directory, 0700); !made) return made;
    if (Result<void> locked = lock(directory); !locked) return locked;
    const std::string path = directory + "/store.db";
    if (Result<void> made = create(directory, path); !made) return made;
    if (sqlite3_open_v2(path.c_str(), &handle_, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, nullptr) != SQLITE_OK)
      return failed(handle_, "open " + path);
    if (Result<void> prepared = prepareSchema(path); !prepared) return prepared;
    if (maxPages != 0) run("PRAGMA max_page_count=" + std::to_string(maxPages));
    return {};
  }

  // Fills the cache and gives the revision of the last commit.
  Result<std::uint64_t> load(WatchCache& cache) {
    const std::uint64_t revision = lastRevision();
    Statement all;
    if (!all.prepare(handle_, "SELECT key, revision, value FROM objects")) return failed(handle_, "read its objects");
    int step = SQLITE_ROW;
    while ((step = all.step()) == SQLITE_ROW) {
      auto document = std::make_shared<Document>();
      document->revision = all.number(1);
      Result<std::string> text = opened(all.text(0), all.text(2));
      if (!text) return text.error();
      document->text = *std::move(text);
      json::error_code bad;
      json::value value = json::parse(document->text, bad);
      if (bad || !value.is_object() || document->revision > revision)
        return Error{Reason::Internal, "the store holds a damaged object under " + all.text(0), "restore store.db from a backup"};
      document->value = std::move(value.get_object());
      cache.load({all.text(0), std::move(document)});
    }
    if (step != SQLITE_DONE) return failed(handle_, "read its objects");
    if (revision == 0) return Error{Reason::Internal, "the store's database has lost its revision", "restore store.db from a backup"};
    cache.start(revision);
    return revision;
  }

  // One transaction for the whole batch: all of it is durable afterwards, or none.
  Result<void> write(const std::vector<Change>& batch) {
    bool good = run("BEGIN IMMEDIATE");
    for (const Change& change : batch) good = good && apply(change);
    good = good && setRevision(batch.back().entry.document->revision) && run("COMMIT");
    if (good) return {};
    Error error = failed(handle_, "write");
    run("ROLLBACK");  // fails when SQLite has rolled back already
    return error;
  }

  // Seals anew up to `limit` stale values with keys after `after`, which moves on; false when there are no more keys.
  Result<bool> reseal(std::string& after, std::size_t limit, std::size_t& sealed) {
    if (atRest_.prefix.empty()) return false;
    after = std::max(after, atRest_.prefix);
    std::vector<std::pair<std::string, std::string>> renewed;
    bool more = false;
    {
      Statement rows;
      if (!rows.prepare(handle_, "SELECT key, value FROM objects WHERE key > ?1 AND key < ?2 ORDER BY key LIMIT ?3"))
        return failed(handle_, "read its objects");
      const std::string end = atRest_.prefix + "\xff";
      rows.bind(1, after);
      rows.bind(2, end);
      rows.bind(3, limit);
      int step = SQLITE_ROW;
      for (; (step = rows.step()) == SQLITE_ROW; more = true) {
        after = rows.text(0);
        std::string stored = rows.text(1);
        if (!atRest_.stale(stored)) continue;
        Result<std::string> text = opened(after, std::move(stored));
        if (!text) return text.error();
        renewed.emplace_back(after, atRest_.seal(after, *text));
      }
      if (step != SQLITE_DONE) return failed(handle_, "read its objects");
    }
    if (renewed.empty()) return more;
    Statement update;
    bool good = update.prepare(handle_, "UPDATE objects SET value = ?2 WHERE key = ?1") && run("BEGIN IMMEDIATE");
    for (const auto& [key, value] : renewed) {
      update.bind(1, key);
      update.bind(2, value);
      good = good && update.run();
    }
    if (good && run("COMMIT")) {
      sealed += renewed.size();
      return more;
    }
    Error error = failed(handle_, "write");
    run("ROLLBACK");
    return error;
  }

  // Whether a write would work now: writes the revision that is there already.
  Result<void> probe(std::uint64_t revision) {
    if (setRevision(revision)) return {};
    return failed(handle_, "write");
  }

 private:
  struct Statements {
    Statement put, erase, revise;
  };

  Result<std::string> opened(const std::string& key, std::string stored) const {
    return isSealed(key) ? atRest_.open(key, std::move(stored)) : Result<std::string>(std::move(stored));
  }
  [[nodiscard]] bool isSealed(const std::string& key) const { return !atRest_.prefix.empty() && key.starts_with(atRest_.prefix); }

  bool run(const std::string& sql) { return sqlite3_exec(handle_, sql.c_str(), nullptr, nullptr, nullptr) == SQLITE_OK; }

  Result<void> lock(const std::string& directory) {
    const std::string path = directory + "/store.lock";
    lock_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (lock_ < 0)
      return Error{Reason::Unavailable, "cannot open " + path + ": " + std::strerror(errno), "choose a --data-dir that can be written"};
    if (::flock(lock_, LOCK_EX | LOCK_NB) == 0) return {};
    return Error{Reason::Conflict, "another podpass uses the data directory " + directory, "stop it, or choose another --data-dir"};
  }

  // Made by open() with its mode, which SQLite then gives its -wal too; the directory is synced so that the name survives a power cut.
  static Result<void> create(const std::string& directory, const std::string& path) {
    const int file = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (file < 0)
      return Error{Reason::Unavailable, "cannot open " + path + ": " + std::strerror(errno), "choose a --data-dir that can be written"};
    ::close(file);
    const int parent = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (parent < 0) return {};
    ::fsync(parent);
    ::close(parent);
    return {};
  }

  Result<void> prepareSchema(const std::string& path) {
    if (!run("PRAGMA locking_mode=EXCLUSIVE; PRAGMA temp_store=MEMORY; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
             "PRAGMA journal_size_limit=67108864; PRAGMA secure_delete=ON;"))
      return failed(handle_, "open " + path);
    const std::uint64_t version = pragma("PRAGMA user_version");
    if (version > kSchema)
      return Error{Reason::Internal,
                   path + " has schema " + std::to_string(version) + ", this podpass knows up to " + std::to_string(kSchema),
                   "start the podpass that wrote it, or a newer one"};
    const bool made =
        version == kSchema || run("BEGIN IMMEDIATE;"
                                  "CREATE TABLE objects(key TEXT PRIMARY KEY, revision INTEGER NOT NULL, created INTEGER NOT NULL,"
                                  " value TEXT NOT NULL) WITHOUT ROWID;"
                                  "CREATE TABLE meta(id INTEGER PRIMARY KEY CHECK(id = 1), revision INTEGER NOT NULL);"
                                  "INSERT INTO meta VALUES(1, 1);"
                                  "PRAGMA user_version=1;"
                                  "COMMIT");
    statements_ = std::make_unique<Statements>();
    if (made &&
        statements_->put.prepare(handle_,
                                 "INSERT INTO objects VALUES(?1, ?2, ?2, ?3) ON CONFLICT(key) DO UPDATE SET revision = ?2, value = ?3") &&
        statements_->erase.prepare(handle_, "DELETE FROM objects WHERE key = ?1") &&
        statements_->revise.prepare(handle_, "UPDATE meta SET revision = ?1"))
      return {};
    return failed(handle_, "prepare " + path);
  }

  std::uint64_t pragma(const char* sql) {
    Statement statement;
    return statement.prepare(handle_, sql) && statement.step() == SQLITE_ROW ? statement.number(0) : 0;
  }
  std::uint64_t lastRevision() { return pragma("SELECT revision FROM meta"); }

  bool setRevision(std::uint64_t revision) {
    statements_->revise.bind(1, revision);
    return statements_->revise.run();
  }

  bool apply(const Change& change) {
    const bool deletes = change.type == Change::Type::Deleted;
    Statement& statement = deletes ? statements_->erase : statements_->put;
    statement.bind(1, change.entry.key);
    const bool seals = !deletes && isSealed(change.entry.key);
    const std::string sealed = seals ? atRest_.seal(change.entry.key, change.entry.document->text) : std::string();
    if (!deletes) {
      statement.bind(2, change.entry.document->revision);
      statement.bind(3, seals ? sealed : change.entry.document->text);
    }
    return statement.run();
  }

  AtRest atRest_;
  sqlite3* handle_ = nullptr;
  std::unique_ptr<Statements> statements_;
  int lock_ = -1;
};

Result<void> expectation(const Mutation& mutation, const DocumentPtr& current) {
  const bool mustBeAbsent = mutation.expected == 0u;
  if (mustBeAbsent && current) return Error{Reason::AlreadyExists, mutation.key + " already exists"};
  const bool mustExist = !mutation.value || (mutation.expected && !mustBeAbsent);
  if (mustExist && !current) return Error{Reason::NotFound, mutation.key + " does not exist"};
  if (!mutation.expected || mustBeAbsent || current->revision == *mutation.expected) return {};
  return Error{Reason::Conflict,
               mutation.key + " is at revision " + std::to_string(current->revision) + ", not " + std::to_string(*mutation.expected)};
}

Change changeOf(Mutation mutation, const DocumentPtr& current, std::uint64_t revision) {
  auto document = std::make_shared<Document>();
  document->revision = revision;
  const bool deletes = !mutation.value;
  document->value = deletes ? current->value : *std::move(mutation.value);
  makeObjectAt(document->value, {"metadata"})["resourceVersion"] = std::to_string(revision);
  document->text = json::serialize(document->value);
  const Change::Type type = deletes ? Change::Type::Deleted : current ? Change::Type::Modified : Change::Type::Added;
  return Change{type, {std::move(mutation.key), std::move(document)}, current};
}

// One writer thread; whatever queued up while the last batch was made durable is the next batch.
class EmbeddedStore final : public Store {
 public:
  EmbeddedStore(std::unique_ptr<Database> database, std::size_t history) : cache_(history), database_(std::move(database)) {}
  ~EmbeddedStore() override {
    {
      std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    work_.notify_one();
    if (writer_.joinable()) writer_.join();
  }

  Result<void> start() {
    if (database_) {
      Result<std::uint64_t> loaded = database_->load(cache_);
      if (!loaded) return loaded.error();
      revision_ = *loaded;
    } else {
      cache_.start(revision_);
    }
    writer_ = std::thread([this] { write(); });
    return {};
  }

  void commit(Mutation mutation, Committed done) override {
    {
      std::lock_guard lock(mutex_);
      if (queue_.size() < kQueue) {
        queue_.push_back({std::move(mutation), std::move(done)});
        done = nullptr;
      }
    }
    if (done)
      return done(
          Error{.reason = Reason::TooManyRequests, .sentence = "Too many requests, please try again later.", .retryAfterSeconds = 1});
    work_.notify_one();
  }

  void reseal(std::function<void(Result<std::size_t>)> done) override {
    {
      std::lock_guard lock(mutex_);
      reseals_.push_back({std::move(done)});
    }
    work_.notify_one();
  }

  [[nodiscard]] DocumentPtr get(const std::string& key) const override { return cache_.get(key); }
  [[nodiscard]] Result<Page> range(const std::string& prefix, const std::string& after, std::size_t limit,
                                   std::uint64_t at) const override {
    return cache_.range(prefix, after, limit, at);
  }
  [[nodiscard]] Result<std::unique_ptr<Subscription>> watch(std::string prefix, std::uint64_t since, Listener listener) override {
    return cache_.watch(std::move(prefix), since, std::move(listener));
  }
  [[nodiscard]] std::uint64_t revision() const override { return cache_.revision(); }
  [[nodiscard]] Result<void> healthy() const override {
    std::lock_guard lock(mutex_);
    return health_;
  }

 private:
  struct Pending {
    Mutation mutation;
    Committed done;
  };
  struct Outcome {
    Committed done;
    Result<Entry> result;
    bool decided;  // by what is durable; otherwise the batch must be durable before this is true
  };

  struct Reseal {
    std::function<void(Result<std::size_t>)> done;
    std::string after = {};
    std::size_t sealed = 0;
  };

  void write() {
    for (;;) {
      std::vector<Pending> batch;
      Reseal* reseal = nullptr;
      {
        std::unique_lock lock(mutex_);
        const auto wanted = [this] { return stopping_ || !queue_.empty() || !reseals_.empty(); };
        if (health_) {
          work_.wait(lock, wanted);
        } else {
          work_.wait_for(lock, kProbeEvery, wanted);  // readiness must come back although nobody writes
        }
        if (queue_.empty() && stopping_) break;
        if (!reseals_.empty()) reseal = &reseals_.front();  // a deque: others may be pushed meanwhile
        for (; !queue_.empty() && batch.size() < kBatch; queue_.pop_front()) batch.push_back(std::move(queue_.front()));
      }
      if (reseal != nullptr) resealSome(*reseal);
      if (batch.empty() && reseal != nullptr) continue;
      if (batch.empty()) {
        setHealth(database_->probe(revision_));
      } else {
        writeBatch(std::move(batch));
      }
    }
    for (Reseal& each : reseals_) each.done(Error{Reason::Unavailable, "the store stopped before every value was sealed anew"});
  }

  void resealSome(Reseal& reseal) {
    const Result<bool> more = database_ ? database_->reseal(reseal.after, kBatch, reseal.sealed) : Result<bool>(false);
    if (more && *more) return;
    const Reseal finished = std::move(reseal);
    {
      std::lock_guard lock(mutex_);
      reseals_.pop_front();
    }
    finished.done(more ? Result<std::size_t>(finished.sealed) : Result<std::size_t>(more.error()));
  }

  void writeBatch(std::vector<Pending> batch) {
    std::map<std::string, DocumentPtr> pending;  // what earlier mutations of this batch made of a key; null: deleted
    std::vector<Change> changes;
    std::vector<Outcome> outcomes;
    std::uint64_t revision = revision_;
    for (Pending& each : batch) {
      const auto earlier = pending.find(each.mutation.key);
      const bool decided = earlier == pending.end();
      const DocumentPtr current = decided ? cache_.get(each.mutation.key) : earlier->second;
      if (Result<void> met = expectation(each.mutation, current); !met) {
        outcomes.push_back({std::move(each.done), met.error(), decided});
        continue;
      }
      Change change = changeOf(std::move(each.mutation), current, ++revision);
      pending[change.entry.key] = change.type == Change::Type::Deleted ? nullptr : change.entry.document;
      outcomes.push_back({std::move(each.done), change.entry, false});
      changes.push_back(std::move(change));
    }
    if (Result<void> durable = makeDurable(changes); durable) {
      revision_ = revision;
      cache_.publish(changes);
      for (Outcome& outcome : outcomes) outcome.done(std::move(outcome.result));
    } else {
      for (Outcome& outcome : outcomes) outcome.done(outcome.decided ? std::move(outcome.result) : Result<Entry>(durable.error()));
    }
  }

  Result<void> makeDurable(const std::vector<Change>& changes) {
    if (changes.empty() || !database_) return {};
    Result<void> durable = database_->write(changes);
    setHealth(durable);
    return durable;
  }

  void setHealth(const Result<void>& now) {
    bool changed = false;
    {
      std::lock_guard lock(mutex_);
      changed = static_cast<bool>(health_) != static_cast<bool>(now);
      health_ = now;
    }
    if (!changed) return;
    if (now) {
      log::info("store took writes again");
    } else {
      log::error("store refused writes", {{"err", now.error().sentence}});
    }
  }

  WatchCache cache_;
  std::unique_ptr<Database> database_;  // null: memory only
  std::uint64_t revision_ = 1;          // the writer's
  mutable std::mutex mutex_;            // guards the five below
  std::condition_variable work_;
  std::deque<Pending> queue_;
  std::deque<Reseal> reseals_;
  Result<void> health_;
  bool stopping_ = false;
  std::thread writer_;
};

}  // namespace

Result<std::unique_ptr<Store>> openBoundedSqliteStore(const std::string& directory, std::size_t history, unsigned maxPages, AtRest atRest) {
  auto database = std::make_unique<Database>(std::move(atRest));
  if (Result<void> opened = database->open(directory, maxPages); !opened) return opened.error();
  auto store = std::make_unique<EmbeddedStore>(std::move(database), history);
  if (Result<void> started = store->start(); !started) return started.error();
  return std::unique_ptr<Store>(std::move(store));
}

Result<std::unique_ptr<Store>> openSqliteStore(const std::string& directory, std::size_t history, AtRest atRest) {
  return openBoundedSqliteStore(directory, history, 0, std::move(atRest));
}

std::unique_ptr<Store> makeMemoryStore(std::size_t history) {
  auto store = std::make_unique<EmbeddedStore>(nullptr, history);
  if (Result<void> started = store->start(); !started) return nullptr;  // only a database can fail
  return store;
}

}  // namespace podpass
