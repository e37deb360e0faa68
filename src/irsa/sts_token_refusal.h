#pragma once

#include "irsa/sts_refusal.h"
#include "token/presented_token.h"

namespace podpass::irsa {

// What AWS says for a token that the relying party refused (spec irsa.md §2.6): the one table from checks to codes.
Refusal tokenRefusal(const Error& error, const std::string& token, WallTime now);

}  // namespace podpass::irsa
