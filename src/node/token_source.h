#pragma once

#include <chrono>
#include <compare>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "api/client.h"
#include "base/clock.h"
#include "base/secret.h"

namespace podpass::node {

// What decides which token a pod gets; who asks the same shares the token.
struct TokenKey {
  std::string ns, serviceAccount, pod, podUid;
  std::string audience;  // "": the API server's own
  std::int64_t expirationSeconds = 3600;
  auto operator<=>(const TokenKey&) const = default;
};

struct ServedToken {
  Secret text;
  // Less than a tenth of its life remains and refreshing keeps failing: still good, but somebody should know.
  std::optional<Error> failing = {};
};

// The service account tokens of the pods on this node, each bound to its pod, in memory only (spec node.md §3). A token is renewed when
// 80 % of its life or 24 h have passed, a few seconds earlier by chance, or when the wall clock was set back behind its issue. Both
// clocks count: the wall says when the issuer lets it expire, the steady one still runs when the wall is slow or stepped.
// A failed renewal keeps the old token and is tried again after 1 s, 2 s, … 60 s. Thread-safe; one request at a time for a key.
class TokenSource {
 public:
  // `jitter`: how much earlier than due; nullptr: 0 to 9 s at random, so that pods that started together do not ask together.
  TokenSource(api::Client& client, const Clock& clock, std::function<std::chrono::seconds()> jitter = nullptr);
  ~TokenSource();
  TokenSource(const TokenSource&) = delete;
  TokenSource& operator=(const TokenSource&) = delete;
  // `failed to fetch token: …` when there is none; `token "…" expired and refresh failed: …` when there was one.
  Result<ServedToken> get(const TokenKey& key);
  // When get() would ask anew for the first of the pod's tokens; 0 when it is time; nothing when it has none.
  [[nodiscard]] std::optional<std::chrono::milliseconds> untilRefresh(const std::string& podUid) const;
  void forget(const std::string& podUid);

 private:
  struct Entry;
  std::shared_ptr<Entry> entryFor(const TokenKey& key);

  api::Client& client_;
  const Clock& clock_;
  std::function<std::chrono::seconds()> jitter_;
  mutable std::mutex mutex_;  // of entries_; never held while asking
  std::map<TokenKey, std::shared_ptr<Entry>> entries_;
};

}  // namespace podpass::node
