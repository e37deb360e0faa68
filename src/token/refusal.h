#pragma once

#include <optional>
#include <string>

#include "base/result.h"

namespace podpass::token {

// Which check a token failed, for whoever must mend it. It travels inside an Error (in its causes), so that every room can hand it on.
// Of the check "discovery": what kept us from the issuer's keys.
enum class Obstacle {
  None,         // it answered, but not with keys
  Unreachable,  // it did not answer
  Certificate,  // it did not prove that it is who the URL says
};

struct Refusal {
  std::string check;     // form, claims, issuer, audience, time, discovery, key id, algorithm, signature
  std::string expected;  // "" where there is nothing to compare
  std::string found;
  Obstacle obstacle = Obstacle::None;
};

// Unauthorized, unless the check could not be made ("discovery" is Unavailable).
Error refusal(Refusal what, std::string sentence, std::string fix = {}, Reason reason = Reason::Unauthorized);
// nullopt: the error says nothing of a check.
std::optional<Refusal> refusalOf(const Error& error);

}  // namespace podpass::token
