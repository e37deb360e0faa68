#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/document.h"
#include "jose/jws.h"

namespace podpass::token {

// What can be said of a token without asking any server. Never holds the token or its signature; claims are shown as they are, and until
// `verified` they are only what somebody wrote.
struct Inspection {
  json::object report;           // kind, header, claims, signature, note, subject, audiences, boundTo, times, verified, failedCheck, reason
  std::string text;              // the same for people: aligned lines, each ending in a newline
  bool verified = false;         // the signature was checked and good, and no other check failed
  std::string failedCheck = {};  // the first that failed: form, key id, algorithm, signature, claims, time, audience; "" when none did
  std::string reason = {};       // the sentence for failedCheck
};

struct InspectionRequest {
  const std::vector<jose::Key>* keys = nullptr;  // null: the signature is not checked
  std::string note = {};                         // why it is not, or who gave the keys; for people
  std::string audience = {};                     // empty: any
};

// Reads a token offline. `now` decides what is left of its life; no leeway is added, as relying parties differ in theirs.
Inspection inspect(std::string_view compactToken, WallTime now, const InspectionRequest& request = {});

}  // namespace podpass::token
