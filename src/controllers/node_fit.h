#pragma once

#include <string>

#include "base/document.h"

namespace podpass::controllers {

// Why `node` cannot take `pod`, in the scheduler's words ("node(s) were unschedulable"); "" when it can. Looks at readiness, cordons,
// taints, nodeSelector and required node affinity; not at resources.
std::string whyNot(const json::object& pod, const json::object& node);

// The status of the node's condition: "True", "False", "Unknown"; "" when it does not say.
std::string_view conditionOf(const json::object& object, std::string_view type);

}  // namespace podpass::controllers
