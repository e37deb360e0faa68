#pragma once

#include <boost/unordered/unordered_flat_set.hpp>
#include <condition_variable>
#include <deque>
#include <shared_mutex>
#include <thread>

#include "base/clock.h"
#include "token/interned_texts.h"
#include "token/inventory_file.h"
#include "token/issued_token.h"
#include "token/revocations.h"

namespace podpass::token {

struct InventoryLimits {
  std::size_t tokens = 1'000'000;
  std::size_t texts = 256u << 20;  // bytes of names, audiences and the like, each different one counted once
  std::size_t queue = 8u << 20;    // bytes that may wait for the thread; what comes then is dropped and counted
};

// What is known of every live token that this server has issued: for whom, by whom, bound to what, until when, and when it was last seen.
//
// To issue a token costs an append to a queue in memory. A thread puts what is queued into the file within a tenth of a second, and onto
// the disk within a second more: that much may be missing after kill -9, or after a power failure. While the disk is full everything is
// kept in memory and written once there is room. Memory and file are bounded: over the limits the tokens that expire first are not listed
// any more. Whatever may be missing is said by gaps(), which is kept in the file, too. Thread-safe.
class Inventory {
 public:
  // What is not listed, although it may be alive.
  struct Gaps {
    WallTime until{};                     // no such token lives longer; the epoch: there is none; max: nobody knows
    std::optional<WallTime> killedAfter;  // the process was killed: of the moment after this, some may be missing
    WallTime killedUntil{};               // none of those lives longer; max: nobody knows
    std::uint64_t unlisted = 0;           // tokens over the limits since the start
  };

  // `tokensUntil` is asked how long tokens may live that were issued before there was this inventory, or that it has lost.
  Inventory(std::filesystem::path file, const Clock& clock, TokensUntil tokensUntil, InventoryLimits limits = {});
  ~Inventory();  // stops
  Inventory(const Inventory&) = delete;
  Inventory& operator=(const Inventory&) = delete;

  // Reads the file and begins to write. An error: it goes on in memory only, and start may be called no more.
  Result<void> start();
  void stop();  // all that was added is in the file

  // A token was signed. Neither waits for the disk.
  void add(const BoundClaims& claims, const Signing& signing);
  // A token was accepted; kept to five minutes.
  void used(std::string_view jti);

  // Shows tokens that have not expired in the order of their issue, to a tenth of a second, from the one after `after` (0: the first) until
  // `each` says false. All that was added before is shown. `each` must be quick and must not call the inventory.
  using Each = std::function<bool(std::uint64_t number, const IssuedToken& token)>;
  void visit(std::uint64_t after, const Each& each);
  // The one with this jti; false: it is not listed.
  bool find(std::string_view jti, const std::function<void(const IssuedToken& token)>& found);
  [[nodiscard]] Gaps gaps() const;
  [[nodiscard]] std::uint64_t unlisted() const { return unlisted_; }  // as in gaps(), without a lock
  // Tells the numbers of one run from those of another.
  [[nodiscard]] std::uint64_t run() const { return run_; }
  [[nodiscard]] std::size_t size() const { return size_; }  // expired ones too, until they are swept

  // What the thread does by itself: writes what waits, and from time to time forgets what has expired. For tests.
  void write();
  void sweep();

 private:
  struct Record {
    Uuid jti;
    std::int64_t expires;
    std::uint64_t number;
    std::uint32_t issuedAt, lastUsed;  // seconds since the epoch
    std::array<InternedTexts::Id, kParts> parts;
  };
  using Position = std::uint32_t;
  struct Hash {
    using is_transparent = void;
    const std::deque<Record>* records;
    std::size_t operator()(const Uuid& jti) const;
    std::size_t operator()(Position at) const { return (*this)((*records)[at].jti); }
  };
  struct Equal {
    using is_transparent = void;
    const std::deque<Record>* records;
    bool operator()(Position a, Position b) const { return a == b; }
    bool operator()(const Uuid& a, Position b) const { return a == (*records)[b].jti; }
    bool operator()(Position a, const Uuid& b) const { return b == (*records)[a].jti; }
  };
  static constexpr std::size_t kShards = 8;
  struct alignas(64) Shard {
    std::mutex mutex;
    std::string queued;
  };

  bool queue(std::string_view jti, std::string_view frame);
  void drain();
  bool apply(std::string_view frame);  // false: it changes nothing
  bool applyUse(std::string_view bytes);
  void applyState(std::string_view bytes);
  bool put(const TokenRecord& record);
  [[nodiscard]] TokenRecord recordAt(const Record& record) const;
  [[nodiscard]] std::string stateFrame(bool clean) const;
  void missing(WallTime until);
  void settle(InventoryFile::Found found);
  void writeWhatWaits();
  void makeRoom(std::int64_t now);
  std::size_t forgetIf(const std::function<bool(const Record&)>& dead);
  Result<void> rewrite();
  void follow();

  const std::filesystem::path path_;
  const Clock& clock_;
  const TokensUntil tokensUntil_;
  const InventoryLimits limits_;
  const std::uint64_t run_;

  std::array<Shard, kShards> shards_;
  std::atomic<bool> queued_ = false;
  std::atomic<std::uint64_t> dropped_ = 0;
  std::atomic<std::int64_t> droppedUntil_ = 0;  // seconds since the epoch
  std::atomic<std::size_t> size_ = 0;
  std::atomic<std::uint64_t> unlisted_ = 0;

  std::mutex writing_;  // of the file; taken before mutex_
  InventoryFile file_;
  bool opened_ = false, behind_ = false;  // behind: the file lacks something, and is to be written anew
  bool unsynced_ = false;
  std::size_t rewriteAt_ = 0;
  SteadyTime tried_{}, synced_{};

  mutable std::shared_mutex mutex_;  // for all below
  std::deque<Record> records_;       // by number
  InternedTexts texts_;
  boost::unordered_flat_set<Position, Hash, Equal> byJti_;
  std::uint64_t next_ = 1;
  std::string pending_;  // frames that the file lacks
  Gaps gaps_;
  std::optional<bool> closed_;    // whether the file said last that it was closed in order
  std::int64_t lastWritten_ = 0;  // seconds since the epoch, as the file says it

  std::mutex waiting_;
  std::condition_variable wake_;
  bool over_ = false;  // guarded by waiting_
  std::thread thread_;
};

}  // namespace podpass::token
