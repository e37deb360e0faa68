#pragma once

#include <string>

#include "base/document.h"

namespace podpass::cli {

// The statements of a trust policy's reckoning (irsa::toJson(TrustVerdict)), with what held and what did not.
std::string shownStatements(const json::object& trustPolicy);
// The verdict of a refused STS request (irsa::verdictOf) for people: what the client saw, each statement with what held and what did not,
// why, and the mend.
std::string shownVerdict(const json::object& verdict);

}  // namespace podpass::cli
