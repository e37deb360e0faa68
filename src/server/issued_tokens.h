#pragma once

#include "server/live_tokens.h"
#include "server/registry.h"

namespace podpass::server {

// The kind IssuedToken: the live tokens of the inventory. A list gives 2,000 at most, whatever is asked, and a continue token for more. To
// remove one makes a TokenRevocation of it. Both outlive the registry's use.
Computed issuedTokens(Registry& registry, LiveTokens& live);

}  // namespace podpass::server
