#pragma once

#include "cli/command.h"
#include "client/kubeconfig.h"

namespace podpass::cli {

// --kubeconfig and --context, by kubectl's names. `choice` outlives the parsing.
void addAccessFlags(Command verb, client::AccessChoice& choice);

}  // namespace podpass::cli
