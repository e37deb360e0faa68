#include "api/policy_value.h"

#include <algorithm>
#include <boost/asio/ip/address.hpp>
#include <charconv>

#include "base/text.h"

namespace podpass::api {

std::optional<double> policyNumber(std::string_view text) {
  double value = 0;
  if (text.find_first_not_of("0123456789+-.eE") != std::string_view::npos) return std::nullopt;  // no "inf", no "nan"
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failed != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<double> policyDate(std::string_view text) {
  const bool epoch = !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
  if (epoch && text.size() > 4) return policyNumber(text);
  const Result<WallTime> time = parseRfc3339(text.size() == 10 ? std::string(text) + "T00:00:00Z" : std::string(text));
  if (!time) return std::nullopt;
  return std::chrono::duration<double>(time->time_since_epoch()).count();
}

std::optional<PolicyNetwork> policyNetwork(std::string_view text) {
  const std::size_t slash = text.find('/');
  boost::system::error_code failed;
  const auto address = boost::asio::ip::make_address(std::string(text.substr(0, slash)), failed);
  if (failed) return std::nullopt;
  PolicyNetwork network{.v4 = address.is_v4(), .bits = address.is_v4() ? 32u : 128u};
  if (address.is_v4())
    std::ranges::copy(address.to_v4().to_bytes(), network.address.begin());
  else
    std::ranges::copy(address.to_v6().to_bytes(), network.address.begin());
  if (slash == std::string_view::npos) return network;
  const unsigned most = network.bits;
  const char* const last = text.data() + text.size();
  const auto [end, wrong] = std::from_chars(text.data() + slash + 1, last, network.bits);
  if (wrong != std::errc() || end != last || network.bits > most) return std::nullopt;
  return network;
}

bool PolicyNetwork::holds(const PolicyNetwork& other) const {
  if (v4 != other.v4 || other.bits < bits) return false;
  for (unsigned bit = 0; bit < bits; ++bit)
    if ((static_cast<unsigned>(address[bit / 8] ^ other.address[bit / 8]) >> (7 - bit % 8)) & 1u) return false;
  return true;
}

}  // namespace podpass::api
