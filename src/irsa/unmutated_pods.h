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

// Label with which a pod asks the webhook to leave it alone.
constexpr std::string_view kOptOut = "eks.amazonaws.com/skip-pod-identity-webhook";
// Whether a pod that should have been given this was created without it: the volume is not there, and some container neither asks to be
// left alone nor has variables of its own.
bool lacks(const PodView& pod, const Injection& injection);
// The ownerReference of the pod's controller; null: it has none.
const json::object* controllerOf(const json::object& pod);

// Evicts it (disruption budgets hold) when a controller will replace it; another pod would be gone for good: Forbidden.
Result<void> evict(api::Client& client, const UnmutatedPod& pod);

}  // namespace podpass::irsa
