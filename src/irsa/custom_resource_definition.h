#pragma once

#include "api/kind.h"

namespace podpass::irsa {

// The kinds of podpass that mean something beside another API server: what `podpass webhook` and `podpass sts` read.
std::vector<const api::Kind*> portableKinds();

// The CustomResourceDefinition (apiextensions.k8s.io/v1) by which such a server checks the kind nearly as podpass does: types, required
// fields, ranges, values and defaults are the kind's table, what its functions check is patterns and rules in CEL (Kubernetes 1.25). Left
// to the reader are trust policies, label selectors beyond their shape, and PEM in base64.
json::object customResourceDefinition(const api::Kind& kind);

}  // namespace podpass::irsa
