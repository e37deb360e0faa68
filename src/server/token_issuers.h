#pragma once

#include "server/live_tokens.h"
#include "server/registry.h"

namespace podpass::server {

// The kind TokenIssuer. `issuers`: those that are accepted, the first signs. Registry and tokens outlive its use.
Computed tokenIssuers(const Registry& registry, LiveTokens& live, std::vector<std::string> issuers);

// What a SigningKey is shown with besides what is stored: how many tokens of it are alive.
Registry::Supplement livesOfKeys(LiveTokens& live);

}  // namespace podpass::server
