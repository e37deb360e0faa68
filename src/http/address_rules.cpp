#include "http/address_rules.h"

#include <algorithm>
#include <charconv>
#include <tuple>

#include "base/text.h"

namespace podpass::http {
namespace {

namespace ip = boost::asio::ip;
using Bytes = ip::address_v6::bytes_type;

// The metadata services of AWS, GCP, Alibaba and Oracle that are not link-local, besides those that are.
constexpr const char* kRefused[] = {"169.254.0.0/16", "fe80::/10", "fd00:ec2::254", "fd20:ce::254",    "100.100.100.200", "192.0.0.192",
                                    "0.0.0.0/8",      "::",        "224.0.0.0/4",   "255.255.255.255", "ff00::/8"};

Bytes bytesOf(const ip::address& address) {
  if (address.is_v4()) return ip::make_address_v6(ip::v4_mapped, address.to_v4()).to_bytes();
  Bytes bytes = address.to_v6().to_bytes();
  constexpr std::array<unsigned char, 12> kNat64{0x00, 0x64, 0xff, 0x9b};  // 64:ff9b::/96, RFC 6052
  if (!std::equal(kNat64.begin(), kNat64.end(), bytes.begin())) return bytes;
  std::fill(bytes.begin(), bytes.begin() + 10, 0);
  bytes[10] = bytes[11] = 0xff;
  return bytes;
}

bool isWithin(const Bytes& bytes, const Bytes& prefix, unsigned length) {
  const unsigned whole = length / 8, rest = length % 8;
  if (!std::equal(prefix.begin(), prefix.begin() + whole, bytes.begin())) return false;
  if (rest == 0) return true;
  const unsigned mask = 0xffu << (8 - rest) & 0xffu;
  return (bytes[whole] & mask) == (prefix[whole] & mask);
}

struct Cidr {
  Bytes prefix;
  unsigned length;
};

Result<Cidr> parseCidr(const std::string& text) {
  const Error bad{Reason::BadRequest, "not an address or a CIDR: " + quoted(text.substr(0, 64)), "write 10.0.0.0/8, fd00::/8 or 192.0.2.7"};
  const std::size_t slash = text.find('/');
  boost::system::error_code failed;
  const ip::address address = ip::make_address(text.substr(0, slash), failed);
  if (failed || (address.is_v6() && address.to_v6().scope_id() != 0)) return bad;
  const unsigned most = address.is_v4() ? 32 : 128;
  unsigned length = most;
  if (slash != std::string::npos) {
    const char* const end = text.data() + text.size();
    const auto [at, wrong] = std::from_chars(text.data() + slash + 1, end, length);
    if (wrong != std::errc() || at != end || length > most) return bad;
  }
  const Cidr cidr{bytesOf(address), length + (address.is_v4() ? 96 : 0)};
  Bytes cleared = cidr.prefix;
  for (unsigned bit = cidr.length; bit < 128; ++bit) cleared[bit / 8] = static_cast<unsigned char>(cleared[bit / 8] & ~(0x80u >> bit % 8));
  if (cleared != cidr.prefix)
    return Error{Reason::BadRequest, "the address " + quoted(text) + " has bits outside of its prefix", "write the network's address"};
  return cidr;
}

bool isIn(const Bytes& bytes, std::initializer_list<const char*> networks) {
  return std::any_of(networks.begin(), networks.end(), [&](const char* text) {
    const Result<Cidr> network = parseCidr(text);
    return isWithin(bytes, network->prefix, network->length);
  });
}

}  // namespace

Reach reachOf(const ip::address& address) {
  const Bytes bytes = bytesOf(address);
  if (isIn(bytes, {"127.0.0.0/8", "::1", "0.0.0.0/8", "::"})) return Reach::Machine;
  if (isIn(bytes, {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16", "fc00::/7", "fe80::/10"}))
    return Reach::Network;
  return Reach::World;
}

AddressRules::AddressRules() {
  for (const char* each : kRefused) (void)add(each, false, false);
}

Result<void> AddressRules::add(const std::string& text, bool allowed, bool given) {
  const Result<Cidr> cidr = parseCidr(text);
  if (!cidr) return cidr.error();
  rules_.push_back({cidr->prefix, cidr->length, allowed, given});
  return {};
}

Result<AddressRules> AddressRules::make(const std::vector<std::string>& allowed, const std::vector<std::string>& denied) {
  AddressRules rules;
  for (const std::string& each : allowed)
    if (Result<void> added = rules.add(each, true, true); !added) return added.error();
  for (const std::string& each : denied)
    if (Result<void> added = rules.add(each, false, true); !added) return added.error();
  return rules;
}

const AddressRules::Rule* AddressRules::ruleFor(const ip::address& address) const {
  const Bytes bytes = bytesOf(address);
  const bool isV4 = isIn(bytes, {"0.0.0.0/0"});
  const auto weight = [](const Rule& rule) { return std::tuple(rule.length, rule.given, !rule.allowed); };
  const Rule* best = nullptr;
  for (const Rule& rule : rules_) {
    if (!isWithin(bytes, rule.prefix, rule.length) || (isV4 && rule.length < 96)) continue;  // ::/0 says nothing of IPv4
    if (best == nullptr || weight(*best) < weight(rule)) best = &rule;
  }
  return best;
}

bool AddressRules::allows(const ip::address& address) const {
  const Rule* rule = ruleFor(address);
  return rule == nullptr || rule->allowed;
}

bool AddressRules::mayLeadTo(const ip::address& address, Reach from) const {
  if (reachOf(address) >= from) return allows(address);
  const Rule* rule = ruleFor(address);
  return rule != nullptr && rule->allowed && rule->given;
}

}  // namespace podpass::http
