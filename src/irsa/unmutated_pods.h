#pragma once

#include <string>
#include <vector>

#include "api/client.h"
#include "irsa/webhook.h"

// Pods that run without the identity that their service account promises: they were admitted while the webhook was away, or before the
// annotation was there. Mutation happens when a pod is created, so that only a new pod can mend it.
namespace podpass::irsa {

struct UnmutatedPod {
  std::string ns, name, uid, serviceAccount;
  std::string missing;      // the volume that is not there
  bool controlled = false;  // a controller will make another one
};

// Looks where accounts with an identity are. Pods that have ended, are being deleted, or opted out by label are left out.
Result<std::vector<UnmutatedPod>> findUnmutatedPods(api::Client& client, const Webhook& webhook, const WebhookSources& sources);

// Evicts it (disruption budgets hold) when a controller will replace it; another pod would be gone for good: Forbidden.
Result<void> evict(api::Client& client, const UnmutatedPod& pod);

}  // namespace podpass::irsa
