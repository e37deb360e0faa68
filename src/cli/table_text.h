#pragma once

#include <string>
#include <vector>

#include "api/kind.h"

namespace podpass::cli {

// Rows of words under their titles, as wide as need be; two blanks between them.
std::string tableText(const std::vector<std::vector<std::string>>& rows);
// Objects of a kind as kubectl shows them: the columns of the kind, with the namespace before them when it has any.
std::string tableText(const api::Kind& kind, const std::vector<DocumentPtr>& objects, WallTime now);

}  // namespace podpass::cli
