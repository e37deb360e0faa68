#pragma once

#include <array>
#include <optional>
#include <string_view>

// The values of policy conditions that are no plain texts (IAM User Guide, "Condition operators"): read alike in a policy, when it is
// applied, and in a request, when it is judged. nullopt: it is none.
namespace podpass::api {

// Decimal, without blanks, hexadecimal digits, inf or nan.
std::optional<double> policyNumber(std::string_view text);
// ISO 8601 with or without a time of day, or seconds since the epoch. In seconds since the epoch.
std::optional<double> policyDate(std::string_view text);

// Addresses that have their first bits in common; a lone address is a network of one.
struct PolicyNetwork {
  std::array<unsigned char, 16> address{};  // of IPv4 the first four
  bool v4 = false;
  unsigned bits = 0;
  [[nodiscard]] bool holds(const PolicyNetwork& other) const;
};
// "10.0.0.0/8", "10.1.2.3", "fd00::/8"
std::optional<PolicyNetwork> policyNetwork(std::string_view text);

}  // namespace podpass::api
