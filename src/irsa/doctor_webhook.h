#pragma once

#include <optional>

#include "api/client.h"

namespace podpass::irsa {

// Why the webhook of this MutatingWebhookConfiguration does not answer now, in one sentence: it is not installed, its URL does not answer,
// or its Service has no endpoint that is ready. nullopt: it does answer, or that cannot be seen from here.
std::optional<std::string> webhookTrouble(api::Client& client, const std::string& configuration);

}  // namespace podpass::irsa
