#pragma once

#include <atomic>
#include <condition_variable>
#include <map>
#include <memory>
#include <optional>
#include <shared_mutex>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "base/clock.h"
#include "store/store.h"

namespace podpass::token {

// What a TokenRevocation can know a token by; empty: the token does not have it.
struct Revocable {
  std::string_view jti = {}, ns = {}, account = {}, pod = {}, podUid = {}, node = {};
  std::int64_t issuedAt = 0;  // seconds since the epoch
};

// When the last of the tokens that were signed until now expires; nullopt: nobody knows.
using TokensUntil = std::function<std::optional<WallTime>()>;

// The TokenRevocation objects of the store, ready to be asked. A change of the store is in force before who made it has the answer, and on
// other servers as soon as they see it. Thread-safe. The store and the clock outlive it.
class Revocations {
 public:
  Revocations(Store& store, const Clock& clock, TokensUntil tokensUntil);
  ~Revocations();  // stops
  Revocations(const Revocations&) = delete;
  Revocations& operator=(const Revocations&) = delete;

  // Reads what is in the store and follows it until stop(); removes what is needed no more.
  Result<void> start();
  void stop();
  // Unauthorized: revoked; the sentence names the TokenRevocation. Costs one atomic read when there are no revocations, else a few hashes.
  [[nodiscard]] Result<void> check(const Revocable& token) const;
  [[nodiscard]] bool empty() const { return count_.load() == 0; }
  // {"issuer":…,"revocations":[…]} for relying parties: each entry has either `jti`, `sub`, `pod` or `node`, all but the first with
  // `issuedBefore`, and `expires` when that is known (NumericDates of RFC 7519 §2). Made once per change.
  [[nodiscard]] std::shared_ptr<const std::string> document(std::string_view issuer) const;
  // Writes down when each revocation can go, and removes those that can: how many it removed. `start` sees to it by itself.
  Result<std::size_t> sweep();

 private:
  struct Revocation {
    std::string name;
    std::int64_t issuedBefore = 0;
    json::object shown;
  };
  void apply(const Change& change);
  void put(const json::object& object);
  void drop(const std::string& name);  // under mutex_
  void run();

  Store& store_;
  const Clock& clock_;
  const TokensUntil tokensUntil_;
  std::atomic<std::size_t> count_ = 0;
  mutable std::shared_mutex mutex_;  // guards the next three
  // By what they name; of one subject the latest issuedBefore first, so that a look at the first is enough.
  std::unordered_map<std::string, std::vector<Revocation>> bySubject_;
  std::unordered_map<std::string, std::string> subjectOf_;  // name → subject
  mutable std::shared_ptr<const std::string> document_;     // null: to be made anew
  std::unique_ptr<Subscription> subscription_;
  std::mutex stopping_;
  std::condition_variable wake_;
  bool stop_ = false;  // guarded by stopping_
  std::thread thread_;
};

}  // namespace podpass::token
