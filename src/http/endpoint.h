#pragma once

#include <boost/asio/ip/tcp.hpp>
#include <string>

namespace podpass::http {

// "127.0.0.1:5123", "[::1]:5123". An IPv4 peer of a socket that listens on [::] is told as the IPv4 peer that it is: rules on addresses
// must not miss it as ::ffff:127.0.0.1.
inline std::string textOf(const boost::asio::ip::tcp::endpoint& endpoint) {
  boost::asio::ip::address address = endpoint.address();
  if (address.is_v6() && address.to_v6().is_v4_mapped())
    address = boost::asio::ip::make_address_v4(boost::asio::ip::v4_mapped, address.to_v6());
  return (address.is_v6() ? "[" + address.to_string() + "]" : address.to_string()) + ":" + std::to_string(endpoint.port());
}

}  // namespace podpass::http
