#pragma once

#include <string_view>

#include "base/result.h"

// Kubernetes' resource quantities: "100m", "1Gi", "1e3".
namespace podpass::api {

// "" when good, else what Kubernetes says is wrong.
std::string_view quantityProblem(std::string_view text);
// Its value, for comparisons; 0 when malformed.
long double quantityValue(std::string_view text);

}  // namespace podpass::api
