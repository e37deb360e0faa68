#include "token/inventory.h"

#include <algorithm>
#include <cstring>

#include "base/log.h"
#include "base/text.h"

namespace podpass::token {
namespace {

using namespace std::chrono_literals;
using std::chrono::steady_clock;

constexpr auto kBatch = 100ms;                           // how long what is queued may wait for the file
constexpr auto kSyncEvery = 1s;                          // and for the disk
constexpr auto kSweepEvery = 10s;                        // expired tokens are not shown anyway
constexpr auto kTryAgain = 2s;                           // a disk that was full
constexpr std::int64_t kUse = 300;                       // seconds: how exactly uses are known
constexpr std::size_t kRewriteFrom = 1u << 20;           // bytes; a smaller file may hold what is dead
constexpr std::size_t kChunk = 2048;                     // records that are copied under one lock
constexpr char kToken = 'T', kUsed = 'U', kState = 'S';  // first byte of a frame

std::int64_t secondsOf(WallTime time) { return std::chrono::floor<std::chrono::seconds>(time.time_since_epoch()).count(); }
WallTime timeOf(std::int64_t seconds) { return WallTime(std::chrono::seconds(seconds)); }

template <class Number>
Number numberIn(std::string_view bytes) {
  Number number{};
  std::memcpy(&number, bytes.data(), sizeof number);
  return number;
}

template <class Number>
void putNumber(std::string& out, Number number) {
  out.append(reinterpret_cast<const char*>(&number), sizeof number);
}

}  // namespace

std::size_t Inventory::Hash::operator()(const Uuid& jti) const {  // it is random
  return numberIn<std::size_t>({reinterpret_cast<const char*>(jti.data()), jti.size()});
}

Inventory::Inventory(std::filesystem::path file, const Clock& clock, TokensUntil tokensUntil, InventoryLimits limits)
    : path_(std::move(file)),
      clock_(clock),
      tokensUntil_(std::move(tokensUntil)),
      limits_(limits),
      run_(numberIn<std::uint64_t>(randomBytes(sizeof(std::uint64_t))) >> 1),
      byJti_(0, Hash{&records_}, Equal{&records_}) {}

Inventory::~Inventory() { stop(); }

Result<void> Inventory::start() {
  const std::lock_guard writing(writing_);
  const Result<InventoryFile::Found> found = file_.open(path_, [this](std::string_view frame) { apply(frame); });
  opened_ = static_cast<bool>(found);
  const std::unique_lock lock(mutex_);
  if (found)
    settle(*found);
  else
    missing(WallTime::max());
  thread_ = std::thread([this] { follow(); });
  return found ? Result<void>() : Result<void>(found.error());
}

// What the file said is taken for what it is worth.
void Inventory::settle(InventoryFile::Found found) {
  const std::int64_t now = secondsOf(clock_.now());
  if (!closed_ || found.damagedBytes > 0) missing(tokensUntil_().value_or(WallTime::max()));
  if (found.damagedBytes > 0) log::error("inventory of tokens damaged", {{"bytes", std::to_string(found.damagedBytes)}});
  if (closed_ && !*closed_) {
    gaps_.killedAfter = timeOf(lastWritten_);
    gaps_.killedUntil = tokensUntil_().value_or(WallTime::max());
  }
  if (gaps_.killedUntil < clock_.now()) gaps_.killedAfter = std::nullopt;
  forgetIf([now](const Record& record) { return record.expires < now; });
  rewriteAt_ = std::max(kRewriteFrom, 2 * file_.size());
  behind_ = file_.size() > kRewriteFrom || found.damagedBytes > 0;  // once at each start, that it never holds much that is dead
  InventoryFile::frame(stateFrame(false), pending_);
  log::info("inventory of tokens read", {{"tokens", std::to_string(records_.size())}});
}

void Inventory::stop() {
  {
    const std::lock_guard lock(waiting_);
    if (std::exchange(over_, true)) return;
    wake_.notify_all();
  }
  if (thread_.joinable()) thread_.join();
  const std::lock_guard writing(writing_);
  tried_ = {};
  writeWhatWaits();
  if (!opened_ || behind_) return;
  std::string last;
  {
    const std::shared_lock lock(mutex_);
    InventoryFile::frame(stateFrame(true), last);
  }
  if (const Result<void> closed = file_.append(last); closed) (void)file_.sync();
}

void Inventory::add(const BoundClaims& claims, const Signing& signing) {
  thread_local std::string frame;
  frame.assign(1, kToken);
  if (encodeRecord(claims, signing, frame) && queue(std::string_view(frame).substr(1), frame)) return;
  ++dropped_;
  std::int64_t known = droppedUntil_.load();
  while (known < claims.expires && !droppedUntil_.compare_exchange_weak(known, claims.expires)) continue;
}

void Inventory::used(std::string_view jti) {
  const std::optional<Uuid> uuid = parseUuid(jti);
  if (!uuid) return;
  std::string frame(1, kUsed);
  frame.append(reinterpret_cast<const char*>(uuid->data()), uuid->size());
  putNumber(frame, secondsOf(clock_.now()));
  queue(std::string_view(frame).substr(1), frame);  // a use that finds no place is followed by others
}

// What concerns one token keeps its order: it goes through one shard.
bool Inventory::queue(std::string_view jti, std::string_view frame) {
  Shard& shard = shards_[static_cast<unsigned char>(jti.front()) % kShards];
  {
    const std::lock_guard lock(shard.mutex);
    if (shard.queued.size() + frame.size() > limits_.queue / kShards) return false;
    putNumber(shard.queued, static_cast<std::uint32_t>(frame.size()));
    shard.queued += frame;
  }
  if (queued_.load(std::memory_order_relaxed) || queued_.exchange(true)) return true;
  const std::lock_guard lock(waiting_);  // once in a batch
  wake_.notify_one();
  return true;
}

// From the queue into memory, and, framed, towards the file.
void Inventory::drain() {
  queued_.store(false);
  const std::unique_lock lock(mutex_);
  for (Shard& shard : shards_) {
    std::string batch;
    {
      const std::lock_guard taking(shard.mutex);
      batch.swap(shard.queued);
    }
    for (std::string_view rest = batch; !rest.empty();) {
      const std::string_view frame = rest.substr(sizeof(std::uint32_t), numberIn<std::uint32_t>(rest));
      if (apply(frame)) InventoryFile::frame(frame, pending_);
      rest.remove_prefix(sizeof(std::uint32_t) + frame.size());
    }
  }
  if (const std::int64_t until = droppedUntil_.exchange(0); until > 0) missing(timeOf(until));
  unlisted_ += dropped_.exchange(0);
}

bool Inventory::apply(std::string_view frame) {
  const std::string_view bytes = frame.substr(1);
  if (frame.front() == kUsed) return applyUse(bytes);
  if (frame.front() == kState) applyState(bytes);
  if (frame.front() != kToken) return false;
  const std::optional<TokenRecord> record = decodeRecord(bytes);
  return record && readRecord(*record) && put(*record);
}

bool Inventory::put(const TokenRecord& record) {
  if (byJti_.contains(record.jti)) return false;  // a file that was written anew may say it twice
  const auto small = [](std::int64_t seconds) {
    return static_cast<std::uint32_t>(std::clamp<std::int64_t>(seconds, 0, std::numeric_limits<std::uint32_t>::max()));
  };
  Record& made = records_.emplace_back();
  made = {record.jti, record.expires, next_++, small(record.issuedAt), small(record.lastUsed), {}};
  for (std::size_t i = 0; i < kParts; ++i) made.parts[i] = texts_.take(record.parts[i]);
  byJti_.insert(static_cast<Position>(records_.size() - 1));
  size_ = records_.size();
  lastWritten_ = std::max(lastWritten_, record.issuedAt);
  return true;
}

bool Inventory::applyUse(std::string_view bytes) {
  Uuid jti{};
  if (bytes.size() != jti.size() + sizeof(std::int64_t)) return false;
  std::memcpy(jti.data(), bytes.data(), jti.size());
  const auto at = numberIn<std::int64_t>(bytes.substr(jti.size()));
  const auto found = byJti_.find(jti);
  if (found == byJti_.end() || at < std::int64_t{records_[*found].lastUsed} + kUse) return false;
  records_[*found].lastUsed = static_cast<std::uint32_t>(at);
  return true;
}

void Inventory::applyState(std::string_view bytes) {
  boost::system::error_code failed;
  const json::value parsed = json::parse(bytes, failed);
  if (failed || !parsed.is_object()) return;
  const json::object& state = parsed.get_object();
  closed_ = booleanAt(state, {"closed"});
  lastWritten_ = std::max(lastWritten_, integerAt(state, {"at"}));
  const auto until = [&](std::string_view member) {
    const std::int64_t seconds = integerAt(state, {member});
    return seconds < 0 ? WallTime::max() : timeOf(seconds);
  };
  gaps_.until = until("unlistedUntil");
  gaps_.killedUntil = until("killedUntil");
  if (state.contains("killedAfter")) gaps_.killedAfter = timeOf(integerAt(state, {"killedAfter"}));
}

std::string Inventory::stateFrame(bool clean) const {
  const auto until = [](WallTime time) { return time == WallTime::max() ? -1 : secondsOf(time); };
  json::object state{{"closed", clean}, {"at", secondsOf(clock_.now())}, {"unlistedUntil", until(gaps_.until)}};
  if (gaps_.killedAfter) state["killedAfter"] = secondsOf(*gaps_.killedAfter);
  if (gaps_.killedAfter) state["killedUntil"] = until(gaps_.killedUntil);
  return kState + json::serialize(state);
}

void Inventory::missing(WallTime until) {
  if (until <= gaps_.until) return;
  gaps_.until = until;
  InventoryFile::frame(stateFrame(false), pending_);
}

TokenRecord Inventory::recordAt(const Record& record) const {
  TokenRecord shown{record.jti, record.issuedAt, record.expires, record.lastUsed, {}};
  for (std::size_t i = 0; i < kParts; ++i) shown.parts[i] = texts_.at(record.parts[i]);
  return shown;
}

void Inventory::visit(std::uint64_t after, const Each& each) {
  drain();
  const std::int64_t now = secondsOf(clock_.now());
  const std::shared_lock lock(mutex_);
  auto at = std::partition_point(records_.begin(), records_.end(), [after](const Record& record) { return record.number <= after; });
  for (; at != records_.end(); ++at) {
    if (at->expires < now) continue;
    if (!each(at->number, *readRecord(recordAt(*at)))) return;
  }
}

bool Inventory::find(std::string_view jti, const std::function<void(const IssuedToken& token)>& found) {
  const std::optional<Uuid> uuid = parseUuid(jti);
  if (!uuid) return false;
  drain();
  const std::shared_lock lock(mutex_);
  const auto at = byJti_.find(*uuid);
  if (at == byJti_.end() || records_[*at].expires < secondsOf(clock_.now())) return false;
  found(*readRecord(recordAt(records_[*at])));
  return true;
}

Inventory::Gaps Inventory::gaps() const {
  const std::shared_lock lock(mutex_);
  Gaps gaps = gaps_;
  gaps.unlisted = unlisted_;
  return gaps;
}

void Inventory::write() {
  const std::lock_guard writing(writing_);
  writeWhatWaits();
}

// A file that could not be appended to is written anew as soon as that can be done: memory has everything.
void Inventory::writeWhatWaits() {
  drain();
  std::string frames;
  {
    const std::unique_lock lock(mutex_);
    frames.swap(pending_);
    if (records_.size() > limits_.tokens || texts_.bytes() > limits_.texts) makeRoom(secondsOf(clock_.now()));
  }
  if (!opened_) return;
  const SteadyTime now = steady_clock::now();
  const bool wasBehind = behind_;
  Result<void> done;
  if (!behind_ && !frames.empty()) done = file_.append(frames);
  unsynced_ = unsynced_ || (!frames.empty() && done);
  behind_ = behind_ || !done || file_.size() > rewriteAt_;
  if (behind_ && done && now >= tried_ + kTryAgain) {
    tried_ = now;
    done = rewrite();
    behind_ = !done;
    unsynced_ = unsynced_ && behind_;
  }
  if (unsynced_ && now >= synced_ + kSyncEvery) {
    synced_ = now;
    unsynced_ = !file_.sync();
  }
  if (!done && !wasBehind) log::error("inventory of tokens not written", {{"err", done.error().sentence}});  // once, until it goes again
}

Result<void> Inventory::rewrite() {
  std::uint64_t after = 0;
  bool first = true;
  const std::int64_t now = secondsOf(clock_.now());
  const Result<void> done = file_.rewrite([&](std::string& frames) {
    const std::shared_lock lock(mutex_);
    if (std::exchange(first, false)) InventoryFile::frame(stateFrame(false), frames);
    auto at = std::partition_point(records_.begin(), records_.end(), [after](const Record& record) { return record.number <= after; });
    std::string frame;
    for (std::size_t count = 0; at != records_.end() && count < kChunk; ++at, ++count) {
      after = at->number;
      if (at->expires < now) continue;
      frame.assign(1, kToken);
      encodeRecord(recordAt(*at), frame);
      InventoryFile::frame(frame, frames);
    }
    return at != records_.end();
  });
  if (done) rewriteAt_ = std::max(kRewriteFrom, 2 * file_.size());
  return done;
}

// Over the limits those go that expire first: they would have been the first to go anyway. A sixteenth at once, as each time costs a look
// at all.
void Inventory::makeRoom(std::int64_t now) {
  forgetIf([now](const Record& record) { return record.expires < now; });
  std::size_t gone = 0;
  while (!records_.empty() && (records_.size() > limits_.tokens || texts_.bytes() > limits_.texts)) {
    const std::size_t keep = std::min(records_.size(), limits_.tokens);
    std::size_t more = std::max<std::size_t>(1, records_.size() - keep + keep / 16);
    std::vector<std::int64_t> ends;
    for (const Record& record : records_) ends.push_back(record.expires);
    std::nth_element(ends.begin(), ends.begin() + static_cast<std::ptrdiff_t>(more - 1), ends.end());
    const std::int64_t last = ends[more - 1];
    more -= static_cast<std::size_t>(std::count_if(ends.begin(), ends.end(), [last](std::int64_t end) { return end < last; }));
    gone += forgetIf([last, &more](const Record& record) {
      if (record.expires != last) return record.expires < last;
      return more > 0 && more-- > 0;  // not all of one second
    });
    missing(timeOf(last));
  }
  if (gone == 0) return;
  unlisted_ += gone;
  log::warn("tokens over the inventory's limit are not listed any more", {{"count", std::to_string(gone)}});
}

std::size_t Inventory::forgetIf(const std::function<bool(const Record&)>& dead) {
  const std::size_t gone = std::erase_if(records_, [&](const Record& record) {
    if (!dead(record)) return false;
    for (const InternedTexts::Id text : record.parts) texts_.release(text);
    return true;
  });
  size_ = records_.size();
  if (gone == 0) return 0;
  byJti_.clear();
  for (std::size_t at = 0; at < records_.size(); ++at) byJti_.insert(static_cast<Position>(at));
  return gone;
}

void Inventory::sweep() {
  const std::int64_t now = secondsOf(clock_.now());
  const std::unique_lock lock(mutex_);
  const auto dead = std::count_if(records_.begin(), records_.end(), [now](const Record& record) { return record.expires < now; });
  if (static_cast<std::size_t>(dead) * 8 >= records_.size())  // to forget costs a look at all
    forgetIf([now](const Record& record) { return record.expires < now; });
}

void Inventory::follow() {
  SteadyTime swept = steady_clock::now();
  for (;;) {
    {
      std::unique_lock lock(waiting_);
      wake_.wait_for(lock, kSyncEvery, [this] { return over_ || queued_.load(); });
      if (wake_.wait_for(lock, kBatch, [this] { return over_; })) return;
    }
    write();
    if (steady_clock::now() < swept + kSweepEvery) continue;
    swept = steady_clock::now();
    sweep();
  }
}

}  // namespace podpass::token
