#include "irsa/unmutated_pods.h"

#include <algorithm>

namespace podpass::irsa {
namespace {

constexpr std::chrono::hours kPatience{1};

// Only these are listed: all pods of a large cluster at once would not fit into the webhook's memory.
std::set<std::string> namespacesToLookAt(const WebhookSources& sources) {
  const std::shared_ptr<const IdentityMap> map = sources.identityMap.load();
  const std::shared_ptr<const CredentialsAccounts> credentials = sources.credentials.load(), associations = sources.associations.load();
  const std::shared_ptr<const std::vector<TokenInjection>> injections = sources.injections.load();
  return sources.accounts.namespacesWhere([&](std::string_view ns, std::string_view name, const Account& account) {
    const std::string key = accountKey(ns, name);
    if (!account.role.roleArn.empty() || credentials->contains(key) || associations->contains(key)) return true;
    if (const RoleSettings* entry = findIdentity(*map, ns, name); entry != nullptr && !entry->roleArn.empty()) return true;
    if (injections->empty()) return false;
    boost::system::error_code none;
    const json::value annotations = account.annotations.empty() ? json::value() : json::parse(account.annotations, none);
    return std::any_of(injections->begin(), injections->end(),
                       [&](const TokenInjection& each) { return each.mayMean(ns, name, annotations.if_object()); });
  });
}

bool isOver(const json::object& pod) {
  const std::string_view phase = textAt(pod, {"status", "phase"});
  return phase == "Succeeded" || phase == "Failed" || !textAt(pod, {"metadata", "deletionTimestamp"}).empty();
}

// A node owns its static pods, but what it would make again is the same pod, which no webhook sees.
std::string replacedBy(const json::object& pod) {
  const json::object* owner = controllerOf(pod);
  return owner == nullptr || textAt(*owner, {"kind"}) == "Node" ? std::string() : std::string(textAt(*owner, {"uid"}));
}

}  // namespace

const json::object* controllerOf(const json::object& pod) {
  const json::array* owners = arrayAt(pod, {"metadata", "ownerReferences"});
  if (owners == nullptr) return nullptr;
  for (const json::value& owner : *owners)
    if (owner.is_object() && booleanAt(owner.get_object(), {"controller"})) return &owner.get_object();
  return nullptr;
}

Result<std::vector<UnmutatedPod>> findUnmutatedPods(api::Client& client, const Webhook& webhook, const WebhookSources& sources) {
  std::vector<UnmutatedPod> found;
  for (const std::string& ns : namespacesToLookAt(sources)) {
    const Result<api::Listing> pods = client.list(*api::findKind("", "v1", "pods"), ns, {});
    if (!pods) return pods.error();
    for (const DocumentPtr& pod : pods->items) {
      const Result<PodView> view = viewPod(pod->value);
      if (!view || isOver(pod->value) || (view->labels != nullptr && view->labels->contains(kOptOut))) continue;
      const std::vector<Injection> promised = webhook.injectionsFor(ns, *view);
      const auto lacking = std::find_if(promised.begin(), promised.end(), [&view](const Injection& injection) {
        return !hasVolume(*view, injection) && isWanted(*view, injection);
      });
      if (lacking == promised.end()) continue;
      found.push_back({ns, std::string(view->name), std::string(textAt(pod->value, {"metadata", "uid"})), std::string(view->serviceAccount),
                       lacking->volume, replacedBy(pod->value)});
    }
  }
  return found;
}

Result<void> evict(api::Client& client, const UnmutatedPod& pod) {
  json::object eviction{{"apiVersion", "policy/v1"}, {"kind", "Eviction"}};
  eviction["metadata"] = json::object{{"name", pod.name}, {"namespace", pod.ns}};
  eviction["deleteOptions"] = json::object{{"preconditions", json::object{{"uid", pod.uid}}}};
  const Result<json::object> done =
      client.createSubresource(*api::findKind("", "v1", "pods"), {pod.ns, pod.name}, "eviction", std::move(eviction));
  if (!done) return done.error();
  return {};
}

Evictions::Outcome Evictions::round(api::Client& client, const std::vector<UnmutatedPod>& lacking, SteadyTime now) {
  Outcome outcome;
  std::erase_if(tried_, [now](const auto& each) { return now - each.second.at >= kPatience; });
  std::set<std::string> seen, asked;
  for (const UnmutatedPod& pod : lacking) {
    seen.insert(pod.uid);
    const auto tried = tried_.find(pod.controller);
    if (tried == tried_.end() || tried->second.hopeless || known_.contains(pod.uid)) continue;
    tried->second = {now, true};
    outcome.hopeless.push_back(pod);
  }
  known_ = std::move(seen);
  for (const UnmutatedPod& pod : lacking) {
    if (outcome.evicted.size() == perRound_) break;
    const auto tried = tried_.find(pod.controller);
    if (pod.controller.empty() || (tried != tried_.end() && tried->second.hopeless) || !asked.insert(pod.controller).second) continue;
    if (const Result<void> done = evict(client, pod); !done) {
      outcome.refused.emplace_back(pod, done.error());
      continue;
    }
    tried_[pod.controller] = {now, false};
    outcome.evicted.push_back(pod);
  }
  return outcome;
}

}  // namespace podpass::irsa
