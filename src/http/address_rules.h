#pragma once

#include <boost/asio/ip/address.hpp>
#include <string>
#include <vector>

#include "base/result.h"

namespace podpass::http {

// How near an address is: what a stranger may lead us to is never nearer than the stranger.
enum class Reach { Machine, Network, World };  // loopback; private networks (RFC 1918, 4193, 6598); everything else
Reach reachOf(const boost::asio::ip::address& address);

// Which addresses may be fetched from. As in routing the longest prefix that an address is in decides; of two equal ones what was given
// counts more than what is always so, and a refusal more than a permission. Always so: everything but the addresses at which clouds answer
// whoever asks with the machine's own credentials (link-local, and those that some clouds have elsewhere), and multicast and unspecified
// ones. An IPv4 address within an IPv6 one (mapped, NAT64) is judged as what it stands for. Immutable.
class AddressRules {
 public:
  AddressRules();
  // CIDRs ("10.0.0.0/8", "fd00::/8") or single addresses. BadRequest: a text that is neither.
  static Result<AddressRules> make(const std::vector<std::string>& allowed, const std::vector<std::string>& denied);
  [[nodiscard]] bool allows(const boost::asio::ip::address& address) const;
  // Whether an answer from `from` may lead to this address: to none that is nearer, unless a given rule allows it.
  [[nodiscard]] bool mayLeadTo(const boost::asio::ip::address& address, Reach from) const;

 private:
  struct Rule {
    boost::asio::ip::address_v6::bytes_type prefix;  // IPv4 as mapped
    unsigned length;                                 // of 128
    bool allowed, given;
  };
  [[nodiscard]] const Rule* ruleFor(const boost::asio::ip::address& address) const;
  Result<void> add(const std::string& text, bool allowed, bool given);

  std::vector<Rule> rules_;
};

}  // namespace podpass::http
