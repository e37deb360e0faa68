#pragma once

#include <chrono>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/clock.h"

// The life of signing keys, as a pure function of what is written down. It can stop after any step, on any server, and whoever looks next
// goes on from there (spec tokens.md §6.3).
//
//   Pending ─Generate→ Published ─Activate→ Active ─Retire→ Retiring ─MoveLegacy→ ─Drop→ Retired ─Forget→ (gone)
namespace podpass::token {

enum class KeyState { Pending, Published, Active, Retiring, Retired };
std::string_view nameOf(KeyState state);
KeyState keyStateNamed(std::string_view name);  // Pending when it is none of them

// What a SigningKey object says of its key.
struct KeyLife {
  std::string name;
  std::string algorithm;  // "RS256-3072"
  KeyState state = KeyState::Pending;
  bool revoked = false;
  bool unbounded = false;  // others signed with it: nobody here knows how long those tokens live
  bool stuck = false;      // Pending, and it cannot be made just now: the others go on without it
  WallTime published{}, activated{}, retiring{}, retired{};
  WallTime tokensUntil{};        // no token that we signed with it lives longer; the epoch: none was signed
  WallTime legacyTokensMoved{};  // the epoch: not yet
};

struct RotationPolicy {
  std::set<std::string> algorithms;      // those that some audience needs: each has an active key of its own
  std::chrono::seconds every{0};         // a key signs for so long; 0: until somebody asks for a new one
  std::chrono::seconds cacheLife{3600};  // how long relying parties may keep a JWKS
};

struct RotationStep {
  enum class What { Create, Generate, Activate, Retire, MoveLegacy, Drop, Forget, Wait } what = What::Wait;
  std::string subject = {};        // the key's name; for Create the new one's
  std::string algorithm = {};      // for Create
  WallTime due = WallTime::max();  // for Wait: when to look again; max: when something changes
  friend bool operator==(const RotationStep&, const RotationStep&) = default;
};

// The one step to do now. Done twice, or half and again, each leads to the same place.
RotationStep nextStep(const std::vector<KeyLife>& keys, const RotationPolicy& policy, WallTime now);

// The active key that signs for an algorithm: the one activated last; null when there is none.
const KeyLife* signerOf(const std::vector<KeyLife>& keys, std::string_view algorithm);

}  // namespace podpass::token
