#pragma once

#include <string>
#include <vector>

#include "token/key_ring.h"

namespace CLI {
class App;
}

namespace podpass::cli {

// The flags of `podpass up` that say which keys sign and verify.
struct KeyFlags {
  std::string algorithm = "RS256";
  std::vector<std::string> algorithmForAudience = {};  // AUDIENCE=ALGORITHM

  void addTo(CLI::App& verb);
  // BadRequest: an algorithm that does not exist.
  [[nodiscard]] Result<token::Algorithms> algorithms() const;
};

}  // namespace podpass::cli
