#pragma once

#include "token/inventory.h"
#include "token/key_ring.h"
#include "token/revocations.h"

namespace podpass::server {

// The inventory less what is refused everywhere or soon will be: tokens that are revoked, or whose key has left the ring.
// Thread-safe. Everything outlives it.
class LiveTokens {
 public:
  struct Tally {
    std::string issuer, kid;
    std::size_t tokens = 0;
    std::int64_t lastExpires = 0, lastUsed = 0;  // seconds since the epoch; lastUsed 0: none was seen
  };
  LiveTokens(token::Inventory& inventory, const Snapshot<token::KeyRing>& ring, const token::Revocations& revocations, const Clock& clock)
      : inventory_(inventory), ring_(ring), revocations_(revocations), clock_(clock) {}

  // As of the inventory.
  void visit(std::uint64_t after, const token::Inventory::Each& each);
  bool find(std::string_view jti, const std::function<void(const token::IssuedToken& token)>& found);
  [[nodiscard]] std::uint64_t run() const { return inventory_.run(); }
  [[nodiscard]] token::Inventory::Gaps gaps() const { return inventory_.gaps(); }
  // One for each issuer and key that has any. Looks at all tokens: milliseconds for each ten thousand.
  std::vector<Tally> tally();
  [[nodiscard]] const Clock& clock() const { return clock_; }

 private:
  [[nodiscard]] bool isLive(const token::IssuedToken& token, const token::KeyRing& ring) const;

  token::Inventory& inventory_;
  const Snapshot<token::KeyRing>& ring_;
  const token::Revocations& revocations_;
  const Clock& clock_;
};

}  // namespace podpass::server
