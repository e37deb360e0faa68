#pragma once

#include <string_view>

#include "base/document.h"

// Legacy tokens do not expire, so a rotation signs them anew, and pods have the old copies mounted for a while. The Secret says in an
// annotation which tokens the one that it holds has replaced: "NOW.OLD" or "NOW.OLD.OLDER…", each base64url(SHA-256(token)). Whoever
// empties or changes data.token ends the old ones with it, as the annotation speaks of the token that it was written with only.
namespace podpass::token {

constexpr std::string_view kMovedFrom = "identity.podpass.dev/moved-from";

// To be called when `next` is put into the Secret in the place of `old`.
void recordMove(json::object& secret, std::string_view old, std::string_view next);
// Whether `stored`, the Secret's token, has replaced `presented`. That `presented` was signed by a key of ours is for the caller to see.
bool hasReplaced(const json::object& secret, std::string_view stored, std::string_view presented);

}  // namespace podpass::token
