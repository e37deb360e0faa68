#include "irsa/cluster_watch.h"

#include <algorithm>
#include <map>

#include "base/log.h"

namespace podpass::irsa {
namespace {

using namespace std::chrono_literals;

constexpr const char* kConfigMapName = "pod-identity-webhook";

std::string_view nameOf(const Document& object) { return textAt(object.value, {"metadata", "name"}); }
std::string_view namespaceOf(const Document& object) { return textAt(object.value, {"metadata", "namespace"}); }

Following::Handlers accountHandlers(WebhookSources& sources, const AwsSettings& settings) {
  const auto put = [&sources, settings](const DocumentPtr& account) {
    sources.accounts.put(namespaceOf(*account), nameOf(*account), accountOf(account->value, settings));
  };
  return {[&sources, put](const std::vector<DocumentPtr>& accounts, bool first) {
            if (first) sources.accounts.beginList();
            for (const DocumentPtr& account : accounts) put(account);
          },
          [&sources] { sources.accounts.endList(); },
          [&sources, put](const api::WatchEvent& event) {
            if (event.type == api::WatchEvent::Type::Deleted)
              sources.accounts.erase(namespaceOf(*event.object), nameOf(*event.object));
            else
              put(event.object);
          }};
}

void useConfigMap(WebhookSources& sources, const AwsSettings& settings, const DocumentPtr& configMap) {
  if (!configMap) return sources.identityMap.store(std::make_shared<const IdentityMap>());
  const std::string_view config = textAt(configMap->value, {"data", "config"});
  Result<ParsedIdentityMap> parsed = parseIdentityMap(config, settings);
  if (!parsed)  // the old entries stay
    return log::error("failed to unmarshal new config",
                      {{"ns", std::string(namespaceOf(*configMap))}, {"name", kConfigMapName}, {"err", parsed.error().sentence}});
  for (const std::string& each : (*parsed).skipped)
    log::warn("an entry of the ConfigMap was skipped", {{"name", kConfigMapName}, {"err", each}});
  sources.identityMap.store(std::make_shared<const IdentityMap>((*std::move(parsed)).entries));
}

Following::Handlers configMapHandlers(WebhookSources& sources, const AwsSettings& settings) {
  const auto ours = [](const DocumentPtr& object) { return nameOf(*object) == kConfigMapName; };
  const auto listed = std::make_shared<DocumentPtr>();
  return {[ours, listed](const std::vector<DocumentPtr>& some, bool first) {
            if (first) listed->reset();
            if (const auto found = std::find_if(some.begin(), some.end(), ours); found != some.end()) *listed = *found;
          },
          [&sources, settings, listed] { useConfigMap(sources, settings, *listed); },
          [&sources, settings, ours](const api::WatchEvent& event) {
            if (ours(event.object)) useConfigMap(sources, settings, event.type == api::WatchEvent::Type::Deleted ? nullptr : event.object);
          }};
}

// Whoever keeps a small set of objects in a snapshot: everything is read again after each change.
template <class Collect>
Following::Handlers collecting(Collect collect) {
  const auto known = std::make_shared<std::map<std::string, DocumentPtr>>();
  const auto keyOf = [](const DocumentPtr& object) { return accountKey(namespaceOf(*object), nameOf(*object)); };
  return {[known, keyOf](const std::vector<DocumentPtr>& some, bool first) {
            if (first) known->clear();
            for (const DocumentPtr& each : some) (*known)[keyOf(each)] = each;
          },
          [known, collect] { collect(*known); },
          [known, keyOf, collect](const api::WatchEvent& event) {
            if (event.type == api::WatchEvent::Type::Deleted)
              known->erase(keyOf(event.object));
            else
              (*known)[keyOf(event.object)] = event.object;
            collect(*known);
          }};
}

void collectInjections(WebhookSources& sources, const std::map<std::string, DocumentPtr>& objects) {
  std::vector<TokenInjection> injections;
  for (const auto& [key, object] : objects) {
    Result<TokenInjection> read = TokenInjection::read(object->value);
    if (read)
      injections.push_back(*std::move(read));
    else
      log::warn("a TokenInjection cannot be used", {{"name", std::string(nameOf(*object))}, {"err", read.error().sentence}});
  }
  sources.injections.store(std::make_shared<const std::vector<TokenInjection>>(std::move(injections)));
}

void collectAssociations(WebhookSources& sources, const std::map<std::string, DocumentPtr>& objects) {
  CredentialsAccounts accounts;
  for (const auto& [key, object] : objects)
    accounts.insert(accountKey(namespaceOf(*object), textAt(object->value, {"spec", "serviceAccountName"})));
  sources.associations.store(std::make_shared<const CredentialsAccounts>(std::move(accounts)));
}

}  // namespace

Following::Following(api::Client& client, const api::Kind& kind, std::string ns, api::Selectors selectors, Handlers handlers, Pauses pauses)
    : client_(client),
      kind_(kind),
      ns_(std::move(ns)),
      selectors_(std::move(selectors)),
      handlers_(std::move(handlers)),
      pauses_(pauses),
      thread_([this] { run(); }) {}

Following::~Following() {
  {
    const std::lock_guard lock(mutex_);
    over_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

bool Following::sleep(std::chrono::milliseconds time) {
  std::unique_lock lock(mutex_);
  return !wake_.wait_for(lock, time, [this] { return over_; });
}

Result<void> Following::listAndWatch() {
  bool first = true;
  const Result<std::uint64_t> listed = client_.listInPages(kind_, ns_, selectors_, [this, &first](const std::vector<DocumentPtr>& items) {
    handlers_.page(items, std::exchange(first, false));
  });
  const bool absent = !listed && first && listed.error().reason == Reason::NotFound;
  if (!listed && !absent) return listed.error();
  if (first) handlers_.page({}, true);
  handlers_.complete();
  synced_ = true;
  if (absent) return listed.error();
  Result<std::unique_ptr<api::Watching>> watching = client_.watch(kind_, ns_, selectors_, *listed, handlers_.changed);
  if (!watching) return watching.error();
  watching_ = *std::move(watching);
  return {};
}

void Following::run() {
  std::chrono::milliseconds afterFailure = pauses_.first;
  bool wasAbsent = false;
  for (;;) {
    watching_.reset();
    const Result<void> watched = listAndWatch();
    const bool absent = !watched && watched.error().reason == Reason::NotFound, failed = !watched && !absent;
    if (absent && !wasAbsent) log::info("the API server does not have this kind", {{"kind", std::string(kind_.kind)}});
    if (failed) log::warn("watching failed", {{"kind", std::string(kind_.kind)}, {"err", log::chain(watched.error())}});
    const bool goesOn = sleep(absent ? pauses_.absent : failed ? afterFailure : pauses_.relist);
    afterFailure = failed ? std::min(afterFailure * 2, pauses_.longest) : pauses_.first;
    wasAbsent = absent;
    if (goesOn) continue;
    watching_.reset();
    return;
  }
}

ClusterWatch::ClusterWatch(api::Client& client, WebhookSources& sources, const AwsSettings& settings, const std::string& configMapNamespace,
                           bool ownKinds, Following::Pauses pauses) {
  const auto follow = [&](const api::Kind* kind, const std::string& ns, const api::Selectors& selectors, Following::Handlers handlers) {
    followed_.push_back(std::make_unique<Following>(client, *kind, ns, selectors, std::move(handlers), pauses));
  };
  follow(api::findKind("", "v1", "serviceaccounts"), "", {}, accountHandlers(sources, settings));
  if (ownKinds) {
    follow(api::findKind("identity.podpass.dev", "v1", "tokeninjections"), "", {},
           collecting([&sources](const auto& objects) { collectInjections(sources, objects); }));
    follow(api::findKind("identity.podpass.dev", "v1", "podidentityassociations"), "", {},
           collecting([&sources](const auto& objects) { collectAssociations(sources, objects); }));
  }
  if (configMapNamespace.empty()) return;
  follow(api::findKind("", "v1", "configmaps"), configMapNamespace, {.fields = std::string("metadata.name=") + kConfigMapName},
         configMapHandlers(sources, settings));
}

bool ClusterWatch::synced() const {
  return std::all_of(followed_.begin(), followed_.end(), [](const auto& each) { return each->synced(); });
}

LiveReads::Read ClusterWatch::reader(api::Client& client, const AwsSettings& settings) {
  return [&client, settings](const std::string& ns, const std::string& name) -> Result<std::optional<Account>> {
    const Result<DocumentPtr> account = client.get(*api::findKind("", "v1", "serviceaccounts"), {ns, name});
    if (account) return std::optional(accountOf((*account)->value, settings));
    if (account.error().reason == Reason::NotFound) return std::optional<Account>();
    return account.error();
  };
}

std::vector<Unread> readSources(api::Client& client, WebhookSources& sources, const AwsSettings& settings, const std::string& ns,
                                const std::string& configMapNamespace) {
  std::vector<Unread> unread;
  const auto read = [&](const api::Kind& kind, const std::string& where, const api::Selectors& selectors,
                        const Following::Handlers& handlers) {
    const Result<api::Listing> listing = client.list(kind, where, selectors);
    if (listing) {
      handlers.page(listing->items, true);
      return handlers.complete();
    }
    if (listing.error().reason == Reason::NotFound) return;
    const std::string name = std::string(kind.plural) + (kind.group.empty() ? "" : "." + std::string(kind.group));
    unread.push_back({"list " + name + (where.empty() ? "" : " in " + where), listing.error()});
  };
  read(*api::findKind("", "v1", "serviceaccounts"), ns, {}, accountHandlers(sources, settings));
  read(*api::findKind("identity.podpass.dev", "v1", "tokeninjections"), "", {},
       collecting([&sources](const auto& objects) { collectInjections(sources, objects); }));
  read(*api::findKind("identity.podpass.dev", "v1", "podidentityassociations"), ns, {},
       collecting([&sources](const auto& objects) { collectAssociations(sources, objects); }));
  read(*api::findKind("", "v1", "configmaps"), configMapNamespace, {.fields = std::string("metadata.name=") + kConfigMapName},
       configMapHandlers(sources, settings));
  return unread;
}

}  // namespace podpass::irsa
