#pragma once

#include "client/kubeconfig.h"

namespace CLI {
class App;
}

namespace podpass::cli {

// --kubeconfig and --context, by kubectl's names. `choice` outlives the parsing.
void addAccessFlags(CLI::App& verb, client::AccessChoice& choice);

}  // namespace podpass::cli
