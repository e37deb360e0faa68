#include "token/key_rotation.h"

#include <algorithm>
#include <array>
#include <charconv>

namespace podpass::token {
namespace {

using namespace std::chrono_literals;
using What = RotationStep::What;

constexpr auto kLeeway = 61s;             // verifiers accept a token until 60 s after its exp
constexpr std::size_t kRetiredKept = 10;  // as a record of what was
constexpr std::array<std::string_view, 5> kStates{"Pending", "Published", "Active", "Retiring", "Retired"};

// A key's publication is dated before it is written, and other servers and what is between them and the readers show it a moment later.
std::chrono::seconds untilSeen(const RotationPolicy& policy) {
  return policy.cacheLife + std::min<std::chrono::seconds>(policy.cacheLife, 30s);
}

bool is(const KeyLife& key, KeyState state) { return key.state == state && !key.revoked; }

// "rs256-3072-2" after "rs256-3072-1": every server that finds a key missing gives it the same name, and only one can create it.
std::string nextName(const std::vector<KeyLife>& keys, const std::string& algorithm) {
  std::string prefix = algorithm + "-";
  std::transform(prefix.begin(), prefix.end(), prefix.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  int last = 0;
  for (const KeyLife& key : keys) {
    int number = 0;
    const char* const end = key.name.data() + key.name.size();
    if (key.name.starts_with(prefix) && key.algorithm == algorithm)
      if (const auto read = std::from_chars(key.name.data() + prefix.size(), end, number); read.ptr == end) last = std::max(last, number);
  }
  return prefix + std::to_string(last + 1);
}

const KeyLife* newest(const std::vector<KeyLife>& keys, std::string_view algorithm, KeyState state, WallTime KeyLife::*since) {
  const KeyLife* found = nullptr;
  for (const KeyLife& key : keys)
    if (is(key, state) && key.algorithm == algorithm && !(found != nullptr && key.*since <= found->*since)) found = &key;
  return found;
}

// A key for the algorithm was asked for, and cannot be made just now: another one could not be either.
bool isStuck(const std::vector<KeyLife>& keys, const std::string& algorithm) {
  return std::any_of(keys.begin(), keys.end(), [&](const KeyLife& key) { return key.stuck && key.algorithm == algorithm; });
}

// Collects the earliest time at which something falls due, while rules are tried one by one.
class Due {
 public:
  bool reached(WallTime due, WallTime now) {
    if (due <= now) return true;
    next_ = std::min(next_, due);
    return false;
  }
  [[nodiscard]] WallTime next() const { return next_; }

 private:
  WallTime next_ = WallTime::max();
};

// What one algorithm needs to have a signer, and the next one in time.
std::optional<RotationStep> advance(const std::vector<KeyLife>& keys, const std::string& algorithm, const RotationPolicy& policy,
                                    WallTime firstSigned, WallTime now, Due& due) {
  const KeyLife* active = signerOf(keys, algorithm);
  const KeyLife* published = newest(keys, algorithm, KeyState::Published, &KeyLife::published);
  // Nobody can hold an old JWKS against us when nothing else could sign before: at the first start, and after the only key was revoked.
  const bool unseen = published != nullptr && (active != nullptr || published->published > firstSigned);
  if (published != nullptr && due.reached(unseen ? published->published + untilSeen(policy) : now, now))
    return RotationStep{.what = What::Activate, .subject = published->name};
  for (const KeyLife& key : keys)
    if (is(key, KeyState::Active) && key.algorithm == algorithm && &key != active)
      return RotationStep{.what = What::Retire, .subject = key.name};
  if (published != nullptr) return std::nullopt;
  const bool old =
      active != nullptr && policy.every > 0s && due.reached(active->activated + std::max(policy.every - untilSeen(policy), 0s), now);
  if ((active == nullptr || old) && !isStuck(keys, algorithm))
    return RotationStep{.what = What::Create, .subject = nextName(keys, algorithm), .algorithm = algorithm};
  return std::nullopt;
}

// A key that signs no more leaves when its last token has expired: bound ones by their time, legacy ones once they are signed anew and
// their readers have had time to see it.
std::optional<RotationStep> leave(const KeyLife& key, const RotationPolicy& policy, WallTime now, Due& due) {
  if (!is(key, KeyState::Retiring) || key.unbounded) return std::nullopt;
  if (!due.reached(std::max(key.tokensUntil, key.retiring) + kLeeway, now)) return std::nullopt;
  if (key.legacyTokensMoved == WallTime{}) return RotationStep{.what = What::MoveLegacy, .subject = key.name};
  if (!due.reached(key.legacyTokensMoved + policy.cacheLife, now)) return std::nullopt;
  return RotationStep{.what = What::Drop, .subject = key.name};
}

}  // namespace

std::string_view nameOf(KeyState state) { return kStates.at(static_cast<std::size_t>(state)); }

KeyState keyStateNamed(std::string_view name) {
  for (std::size_t i = 0; i < kStates.size(); ++i)
    if (kStates[i] == name) return static_cast<KeyState>(i);
  return KeyState::Pending;
}

const KeyLife* signerOf(const std::vector<KeyLife>& keys, std::string_view algorithm) {
  return newest(keys, algorithm, KeyState::Active, &KeyLife::activated);
}

RotationStep nextStep(const std::vector<KeyLife>& keys, const RotationPolicy& policy, WallTime now) {
  for (const KeyLife& key : keys)
    if (key.revoked && key.state != KeyState::Retired) return {.what = What::Drop, .subject = key.name};
  for (const KeyLife& key : keys)
    if (is(key, KeyState::Pending) && !key.stuck) return {.what = What::Generate, .subject = key.name};
  Due due;
  const bool anySigner = std::any_of(keys.begin(), keys.end(), [](const KeyLife& key) { return is(key, KeyState::Active); });
  bool allSigned = true;
  // The first keys are all published before one signs, so that none of them has to wait for the others' JWKS to be read again.
  WallTime firstSigned = WallTime::max();
  for (const KeyLife& key : keys)
    if (anySigner && key.state != KeyState::Pending && key.state != KeyState::Published) firstSigned = std::min(firstSigned, key.activated);
  for (const std::string& algorithm : policy.algorithms)
    if (!anySigner && newest(keys, algorithm, KeyState::Published, &KeyLife::published) == nullptr && !isStuck(keys, algorithm))
      return {.what = What::Create, .subject = nextName(keys, algorithm), .algorithm = algorithm};
  for (const std::string& algorithm : policy.algorithms) {
    if (std::optional<RotationStep> step = advance(keys, algorithm, policy, firstSigned, now, due)) return *std::move(step);
    allSigned = allSigned && signerOf(keys, algorithm) != nullptr;
  }
  for (const KeyLife& key : keys)
    if (allSigned && is(key, KeyState::Active) && !policy.algorithms.contains(key.algorithm))
      return {.what = What::Retire, .subject = key.name};
  for (const KeyLife& key : keys)
    if (std::optional<RotationStep> step = leave(key, policy, now, due)) return *std::move(step);
  std::vector<const KeyLife*> retired;
  for (const KeyLife& key : keys)
    if (key.state == KeyState::Retired) retired.push_back(&key);
  const auto oldest =
      std::min_element(retired.begin(), retired.end(), [](const KeyLife* a, const KeyLife* b) { return a->retired < b->retired; });
  if (retired.size() > kRetiredKept) return {.what = What::Forget, .subject = (*oldest)->name};
  return {.due = due.next()};
}

}  // namespace podpass::token
