#pragma once

#include "server/registry.h"
#include "token/inventory.h"
#include "token/key_ring.h"

namespace podpass::server {

// The kind IssuedToken, out of the inventory: tokens that have not expired, are not revoked, and whose key is in the ring. A list gives
// 2,000 at most, whatever is asked, and a continue token for more. To remove one makes a TokenRevocation of it.
// Everything outlives the registry's use.
Computed issuedTokens(Registry& registry, token::Inventory& inventory, const Snapshot<token::KeyRing>& ring,
                      const token::Revocations& revocations, const Clock& clock);

}  // namespace podpass::server
