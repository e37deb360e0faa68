#pragma once

#include "irsa/trust_policy_verdict.h"

namespace podpass::irsa {

// Whether one condition of a policy holds for the request's keys (spec irsa.md §3.5). `variables`: "${key}" is expanded.
bool holds(const api::PolicyCondition& condition, const ConditionKeys& keys, bool variables);

}  // namespace podpass::irsa
