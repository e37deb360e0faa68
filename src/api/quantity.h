#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

// Kubernetes' resource quantities: "100m", "1Gi", "1e3".
namespace podpass::api {

// "" when good, else what Kubernetes says is wrong.
std::string_view quantityProblem(std::string_view text);
// Its value, for comparisons; 0 when malformed.
long double quantityValue(std::string_view text);
// As Kubernetes writes it back: "1000m" is "1", "0.5" is "500m", "1024Mi" is "1Gi". What it cannot read, or has more than 18 digits,
// stays as it is.
std::string canonicalQuantity(std::string_view text);

}  // namespace podpass::api
