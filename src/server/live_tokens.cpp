#include "server/live_tokens.h"

#include <algorithm>

namespace podpass::server {

bool LiveTokens::isLive(const token::IssuedToken& token, const token::KeyRing& ring) const {
  if (ring.find(token.kid) == nullptr) return false;
  if (revocations_.empty()) return true;
  const bool hasPod = token.boundKind == "Pod";
  const std::string jti = token::textOf(token.jti), podUid = hasPod ? token.bound.uid() : std::string();
  token::Revocable subject{.jti = jti, .ns = token.ns, .account = token.account.name, .node = token.node.name};
  subject.issuedAt = token.issuedAt;
  subject.podUid = podUid;
  if (hasPod) subject.pod = token.bound.name;
  return static_cast<bool>(revocations_.check(subject));
}

void LiveTokens::visit(std::uint64_t after, const token::Inventory::Each& each) {
  const std::shared_ptr<const token::KeyRing> ring = ring_.load();
  inventory_.visit(after,
                   [&](std::uint64_t number, const token::IssuedToken& token) { return !isLive(token, *ring) || each(number, token); });
}

bool LiveTokens::find(std::string_view jti, const std::function<void(const token::IssuedToken& token)>& found) {
  const std::shared_ptr<const token::KeyRing> ring = ring_.load();
  bool live = false;
  inventory_.find(jti, [&](const token::IssuedToken& token) {
    live = isLive(token, *ring);
    if (live) found(token);
  });
  return live;
}

std::vector<LiveTokens::Tally> LiveTokens::tally() {
  std::vector<Tally> all;
  visit(0, [&](std::uint64_t, const token::IssuedToken& token) {
    auto found =
        std::find_if(all.begin(), all.end(), [&](const Tally& each) { return each.kid == token.kid && each.issuer == token.issuer; });
    if (found == all.end()) {
      all.push_back({std::string(token.issuer), std::string(token.kid)});
      found = all.end() - 1;
    }
    ++found->tokens;
    found->lastExpires = std::max(found->lastExpires, token.expires);
    found->lastUsed = std::max(found->lastUsed, token.lastUsed);
    return true;
  });
  return all;
}

}  // namespace podpass::server
