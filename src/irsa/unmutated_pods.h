#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "api/client.h"
#include "base/clock.h"
#include "irsa/webhook.h"

// Pods that run without the identity that their service account promises: they were admitted while the webhook was away, or before the
// annotation was there. Mutation happens when a pod is created, so that only a new pod can mend it.
namespace podpass::irsa {

struct UnmutatedPod {
  std::string ns, name, uid, serviceAccount;
  std::string missing;          // the volume that is not there
  std::string controller = {};  // uid of the owner that will make another one; empty: nobody will
};

// Looks in the namespaces where accounts with an identity are, one after the other. Pods that have ended, are being deleted, opted out by
// label, or have no container that would use the identity are left out; one that lacks two volumes is there once.
Result<std::vector<UnmutatedPod>> findUnmutatedPods(api::Client& client, const Webhook& webhook, const WebhookSources& sources);

// Label with which a pod asks the webhook to leave it alone.
constexpr std::string_view kOptOut = "eks.amazonaws.com/skip-pod-identity-webhook";
// The ownerReference of the pod's controller; null: it has none.
const json::object* controllerOf(const json::object& pod);

// Evicts it, that very pod and only if its disruption budgets allow it (TooManyRequests).
Result<void> evict(api::Client& client, const UnmutatedPod& pod);

// Decides who is evicted, round by round, so that a cluster comes to no harm: only pods that a controller will replace, one of each
// controller a round, and for an hour no more of a controller whose new pod came without its identity, too: then it is the webhook that is
// not asked, and evicting would go on for ever.
class Evictions {
 public:
  struct Outcome {
    std::vector<UnmutatedPod> evicted;
    std::vector<std::pair<UnmutatedPod, Error>> refused;  // TooManyRequests: a budget does not allow it now
    std::vector<UnmutatedPod> hopeless;                   // the new pod because of which its controller was given up
  };
  explicit Evictions(std::size_t perRound) : perRound_(perRound) {}
  // `lacking`: all that were found in this round.
  Outcome round(api::Client& client, const std::vector<UnmutatedPod>& lacking, SteadyTime now);

 private:
  std::size_t perRound_;
  struct Tried {
    SteadyTime at;  // the last eviction, or when it was given up
    bool hopeless = false;
  };
  std::set<std::string> known_;         // uids of pods that lacked it in the last round
  std::map<std::string, Tried> tried_;  // by controller, for an hour
};

}  // namespace podpass::irsa
