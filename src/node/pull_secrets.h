#pragma once

#include <string>
#include <vector>

#include "base/secret.h"
#include "node/runtime.h"

namespace podpass::node {

// The credentials for the registry and path of a complete image reference ("ghcr.io/team/app:1"), the most specific first. `configs` are
// the contents of imagePullSecrets: `.dockerconfigjson` ({"auths": {KEY: …}}) or the older `.dockercfg` ({KEY: …}). A KEY is a host, with
// `*` for a whole part of its name, perhaps a scheme before and a path prefix behind it. What cannot be read is passed over.
std::vector<Registry> credentialsFor(const std::vector<Secret>& configs, const std::string& reference);

}  // namespace podpass::node
