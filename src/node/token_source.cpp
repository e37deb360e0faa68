#include "node/token_source.h"

#include <algorithm>
#include <random>

#include "base/log.h"
#include "base/text.h"

namespace podpass::node {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr seconds kLongestUse = hours(24);  // however long it would live
// A wall clock that is wrong from the start must not make every look a request.
constexpr seconds kShortestUse{30};
constexpr milliseconds kFirstPause{1000};
constexpr milliseconds kLongestPause{60'000};

std::int64_t randomBelow(std::int64_t limit) {
  thread_local std::minstd_rand generator{std::random_device{}()};
  return std::uniform_int_distribution<std::int64_t>(0, limit - 1)(generator);
}

struct Issued {
  Secret text;
  seconds life{};
  WallTime issuedAt, expiresAt, receivedWall, renewWall;
  SteadyTime receivedSteady, renewSteady;
};

// exp and iat of a JWT that we trust the sender of; nothing when it is none.
std::optional<seconds> lifeInside(std::string_view token) {
  const std::size_t first = token.find('.'), second = token.find('.', first + 1);
  if (first == std::string_view::npos || second == std::string_view::npos) return std::nullopt;
  const Result<std::string> claims = base64UrlDecode(token.substr(first + 1, second - first - 1));
  if (!claims) return std::nullopt;
  json::error_code failed;
  const json::value parsed = json::parse(*claims, failed);
  if (failed || !parsed.is_object()) return std::nullopt;
  const std::int64_t issued = integerAt(parsed.get_object(), {"iat"}), expires = integerAt(parsed.get_object(), {"exp"});
  if (issued <= 0 || expires <= issued) return std::nullopt;
  return seconds(expires - issued);
}

Result<Issued> parseAnswer(const json::object& answer, const TokenKey& key, const Clock& clock, seconds jitter) {
  Issued issued;
  const std::string_view token = textAt(answer, {"status", "token"});
  if (token.empty()) return Error{Reason::Unavailable, "the API server's answer holds no token"};
  issued.text = Secret(token);
  issued.receivedWall = clock.now();
  issued.receivedSteady = clock.steady();
  // the server may shorten what was asked for, so its answer counts
  issued.life = seconds(integerAt(answer, {"spec", "expirationSeconds"}));
  if (issued.life <= seconds(0)) issued.life = lifeInside(token).value_or(seconds(key.expirationSeconds));
  const Result<WallTime> expires = parseRfc3339(textAt(answer, {"status", "expirationTimestamp"}));
  issued.expiresAt = expires ? *expires : issued.receivedWall + issued.life;
  issued.issuedAt = issued.expiresAt - issued.life;
  const milliseconds use = std::min<milliseconds>(milliseconds(issued.life) * 4 / 5, kLongestUse) - jitter;
  issued.renewWall = issued.issuedAt + use;
  issued.renewSteady = issued.receivedSteady + use;
  return issued;
}

json::object requestBody(const TokenKey& key) {
  json::object spec;
  if (!key.audience.empty()) spec["audiences"] = json::array{json::value(key.audience)};
  spec["expirationSeconds"] = key.expirationSeconds;
  spec["boundObjectRef"] = json::object{{"apiVersion", "v1"}, {"kind", "Pod"}, {"name", key.pod}, {"uid", key.podUid}};
  return json::object{{"apiVersion", "authentication.k8s.io/v1"}, {"kind", "TokenRequest"}, {"spec", std::move(spec)}};
}

std::string shown(const TokenKey& key) {
  return key.serviceAccount + "/" + key.ns + "/[" + key.audience + "]/" + std::to_string(key.expirationSeconds) + "/Pod " + key.pod + " " +
         key.podUid;
}

}  // namespace

struct TokenSource::Entry {
  std::mutex asking;         // held during a request, so that a second one waits for its answer
  mutable std::mutex state;  // guards what follows
  std::optional<Issued> issued;
  std::optional<Error> failure;  // of the last request, when it failed
  int failures = 0;
  std::uint64_t attempts = 0;
  SteadyTime retryAt;

  [[nodiscard]] bool due(const Clock& clock) const {
    if (!issued) return true;
    const SteadyTime steady = clock.steady();
    const WallTime now = clock.now();
    if (steady - issued->receivedSteady < kShortestUse) return false;
    const bool setBack = now < std::min(issued->issuedAt, issued->receivedWall);
    return setBack || now > issued->renewWall || steady > issued->renewSteady;
  }
  [[nodiscard]] bool pausing(const Clock& clock) const { return issued && failure && clock.steady() < retryAt; }

  [[nodiscard]] Result<ServedToken> answer(const TokenKey& key, const Clock& clock) const {
    if (!failure) return ServedToken{issued->text};
    const auto cause = std::make_shared<const Error>(*failure);
    if (!issued) return Error{failure->reason, "failed to fetch token: " + failure->sentence, failure->fix, cause};
    const WallTime now = clock.now();
    if (now > issued->expiresAt)
      return Error{failure->reason, "token \"" + shown(key) + "\" expired and refresh failed: " + failure->sentence, failure->fix, cause};
    ServedToken served{issued->text};
    if (issued->expiresAt - now < issued->life / 10)
      served.failing = Error{failure->reason,
                             "token for service account " + key.ns + "/" + key.serviceAccount + " expires at " +
                                 rfc3339(issued->expiresAt) + " and refresh failed: " + failure->sentence,
                             failure->fix, cause};
    return served;
  }
  void record(Result<Issued> fresh, const TokenKey& key, const Clock& clock) {
    ++attempts;
    if (fresh) {
      issued = *std::move(fresh);
      failure.reset();
      failures = 0;
      return;
    }
    if (failures == 0 && issued)
      log::warn("token not refreshed, the old one is kept",
                {{"ns", key.ns}, {"name", key.serviceAccount}, {"aud", key.audience}, {"err", log::chain(fresh.error())}});
    failure = fresh.error();
    const milliseconds pause = std::min(kFirstPause * (1 << std::min(failures++, 6)), kLongestPause);
    retryAt = clock.steady() + pause + milliseconds(randomBelow(pause.count() / 4));
  }
  [[nodiscard]] milliseconds untilDue(const Clock& clock) const {
    if (!issued) return milliseconds(0);
    const SteadyTime steady = clock.steady();
    if (due(clock)) return failure ? std::max(milliseconds(0), std::chrono::ceil<milliseconds>(retryAt - steady)) : milliseconds(0);
    const auto wait = std::min(std::chrono::ceil<milliseconds>(issued->renewWall - clock.now()),
                               std::chrono::ceil<milliseconds>(issued->renewSteady - steady));
    const auto guard = std::chrono::ceil<milliseconds>(issued->receivedSteady + kShortestUse - steady);
    return std::max({milliseconds(0), wait, guard}) + milliseconds(1);  // due() asks for later, not for equal
  }
};

TokenSource::TokenSource(api::Client& client, const Clock& clock, std::function<seconds()> jitter)
    : client_(client), clock_(clock), jitter_(std::move(jitter)) {
  if (!jitter_) jitter_ = [] { return seconds(randomBelow(10)); };
}

TokenSource::~TokenSource() = default;

std::shared_ptr<TokenSource::Entry> TokenSource::entryFor(const TokenKey& key) {
  std::lock_guard lock(mutex_);
  std::shared_ptr<Entry>& entry = entries_[key];
  if (!entry) entry = std::make_shared<Entry>();
  return entry;
}

Result<ServedToken> TokenSource::get(const TokenKey& key) {
  const std::shared_ptr<Entry> entry = entryFor(key);
  std::uint64_t attemptsBefore = 0;
  {
    std::lock_guard lock(entry->state);
    if (!entry->due(clock_) || entry->pausing(clock_)) return entry->answer(key, clock_);
    attemptsBefore = entry->attempts;
  }
  std::lock_guard turn(entry->asking);
  {
    std::lock_guard lock(entry->state);
    if (entry->attempts != attemptsBefore) return entry->answer(key, clock_);  // somebody asked while we waited
  }
  const api::Kind* kind = api::findKind("", "v1", "serviceaccounts");
  Result<json::object> answer = kind != nullptr ? client_.createSubresource(*kind, {key.ns, key.serviceAccount}, "token", requestBody(key))
                                                : Error{Reason::NotFound, "the API server does not have TokenRequest endpoints enabled"};
  Result<Issued> fresh = answer ? parseAnswer(*answer, key, clock_, jitter_()) : Result<Issued>(answer.error());
  std::lock_guard lock(entry->state);
  entry->record(std::move(fresh), key, clock_);
  return entry->answer(key, clock_);
}

std::optional<milliseconds> TokenSource::untilRefresh(const std::string& podUid) const {
  std::lock_guard lock(mutex_);
  std::optional<milliseconds> soonest;
  for (const auto& [key, entry] : entries_) {
    if (key.podUid != podUid) continue;
    std::lock_guard stateLock(entry->state);
    if (!entry->issued) continue;  // the failed setup of its volume decides when to come back
    const milliseconds wait = entry->untilDue(clock_);
    soonest = soonest ? std::min(*soonest, wait) : wait;
  }
  return soonest;
}

void TokenSource::forget(const std::string& podUid) {
  std::lock_guard lock(mutex_);
  std::erase_if(entries_, [&](const auto& entry) { return entry.first.podUid == podUid; });
}

}  // namespace podpass::node
