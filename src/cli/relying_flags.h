#pragma once

#include <string>
#include <vector>

#include "cli/command.h"
#include "http/address_rules.h"

namespace podpass::cli {

// The flags of whoever verifies tokens of others' issuers: from where their documents may be fetched, and how far their clocks may be off.
struct RelyingFlags {
  std::vector<std::string> allow = {}, deny = {};
  int skewSeconds = 0;

  void addTo(Command verb);
  void addFetchTo(Command verb);  // without --skew
  [[nodiscard]] Result<http::AddressRules> rules() const { return http::AddressRules::make(allow, deny); }
};

}  // namespace podpass::cli
