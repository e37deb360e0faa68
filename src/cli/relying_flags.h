#pragma once

#include <string>
#include <vector>

#include "http/address_rules.h"

namespace CLI {
class App;
}

namespace podpass::cli {

// The flags of whoever verifies tokens of others' issuers: from where their documents may be fetched, and how far their clocks may be off.
struct RelyingFlags {
  std::vector<std::string> allow = {}, deny = {};
  int skewSeconds = 0;

  void addTo(CLI::App& verb);
  void addFetchTo(CLI::App& verb);  // without --skew
  [[nodiscard]] Result<http::AddressRules> rules() const { return http::AddressRules::make(allow, deny); }
};

}  // namespace podpass::cli
