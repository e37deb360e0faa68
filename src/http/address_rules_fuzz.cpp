#include <cstdlib>

#include "http/address_rules.h"

// Whatever can be read as a denial denies its own address.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  const auto rules = podpass::http::AddressRules::make({}, {text});
  if (!rules) return 0;
  boost::system::error_code failed;
  const auto address = boost::asio::ip::make_address(text.substr(0, text.find('/')), failed);
  if (failed || rules->allows(address)) std::abort();
  return 0;
}
