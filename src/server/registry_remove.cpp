#include "base/gather.h"
#include "base/text.h"
#include "server/registry.h"
#include "server/status.h"
#include "server/stored_object.h"

// Deletion: preconditions, grace, finalizers, and collections.
namespace podpass::server {
namespace {

constexpr std::size_t kRemovalsAtOnce = 64;

// The grace that a deletion gets (spec api.md §2.2); 0 for everything but bound, unfinished pods.
std::int64_t graceFor(const api::Kind& kind, const json::object& object, const api::DeleteOptions& options) {
  if (!isPod(kind)) return 0;
  const std::string_view phase = textAt(object, {"status", "phase"});
  if (textAt(object, {"spec", "nodeName"}).empty() || phase == "Succeeded" || phase == "Failed") return 0;
  const std::int64_t asked = options.gracePeriodSeconds.value_or(integerAt(object, {"spec", "terminationGracePeriodSeconds"}, 30));
  return asked < 0 ? 1 : asked;
}

// Replaces the finalizers that stand for the propagation policy.
void setPropagation(json::object& meta, std::string_view policy) {
  json::array finalizers = meta.contains("finalizers") && meta["finalizers"].is_array() ? meta["finalizers"].get_array() : json::array();
  if (!policy.empty())
    for (auto it = finalizers.begin(); it != finalizers.end();)
      it = (*it == "orphan" || *it == "foregroundDeletion") ? finalizers.erase(it) : it + 1;
  if (policy == "Orphan") finalizers.push_back("orphan");
  if (policy == "Foreground") finalizers.push_back("foregroundDeletion");
  if (finalizers.empty())
    meta.erase("finalizers");
  else
    meta["finalizers"] = std::move(finalizers);
}

Result<void> preconditions(const api::Kind& kind, const json::object& object, const std::string& name, const api::DeleteOptions& options) {
  const std::string_view uid = metaText(object, "uid");
  if (!options.uid.empty() && options.uid != uid)
    return conflict(kind, name,
                    "the UID in the precondition (" + options.uid + ") does not match the UID in record (" + std::string(uid) +
                        "). The object might have been deleted and then recreated");
  const std::string_view revision = metaText(object, "resourceVersion");
  if (!options.resourceVersion.empty() && options.resourceVersion != revision)
    return conflict(kind, name,
                    "the ResourceVersion in the precondition (" + options.resourceVersion +
                        ") does not match the ResourceVersion in record (" + std::string(revision) +
                        "). The object might have been modified");
  return {};
}

struct Refusal {
  Error error;
  std::optional<Wording> wording;
};

// A deletecollection under way; its workers share it.
struct Sweep {
  Registry& registry;
  Context& context;
  const api::Kind& kind;
  const api::DeleteOptions& options;
  const std::vector<DocumentPtr>& items;
  std::size_t next = 0;

  // Removes one after the other until nothing is left; the first refusal.
  asio::awaitable<std::optional<Refusal>> work() {
    std::optional<Refusal> refused;
    while (next < items.size()) {
      const json::object& item = items[next++]->value;
      api::ObjectName name{std::string(metaText(item, "namespace")), std::string(metaText(item, "name"))};
      Result<Deleted> done = co_await registry.remove(context, kind, std::move(name), options);
      std::optional<Wording> wording = std::exchange(context.wording, std::nullopt);  // before another worker sets it
      if (!done && done.error().reason != Reason::NotFound && !refused) refused = Refusal{done.error(), std::move(wording)};
    }
    co_return refused;
  }
};

}  // namespace

asio::awaitable<Result<Deleted>> Registry::removeComputed(Context& context, const api::Kind& kind, api::ObjectName name,
                                                          api::DeleteOptions options) {
  const Computed* made = computed(kind);
  const DocumentPtr current = made != nullptr ? made->get(name.ns, name.name) : nullptr;
  if (!current || !made->remove) co_return notFound(kind, name.name);
  if (Result<void> met = preconditions(kind, current->value, name.name, options); !met) co_return met.error();
  const Result<void> done = co_await made->remove(context, name.name);
  if (!done) co_return done.error();
  co_return Deleted{current, true};
}

asio::awaitable<Result<Deleted>> Registry::remove(Context& context, const api::Kind& kind, api::ObjectName name,
                                                  api::DeleteOptions options) {
  if (kind.isComputed) co_return co_await removeComputed(context, kind, std::move(name), std::move(options));
  const std::string key = keyOf(kind, kind.namespaced ? name.ns : "", name.name);
  for (int attempt = 1;; ++attempt) {
    const DocumentPtr current = store_.get(key);
    if (!current) co_return notFound(kind, name.name);
    const AdmissionRequest request{context.user, kind, "DELETE", name.ns, name.name};
    Result<void> admitted = co_await mutate(context, request, nullptr, &current->value);
    if (admitted) admitted = co_await validate(context, request, nullptr, &current->value);
    if (!admitted) co_return admitted.error();
    if (Result<void> met = preconditions(kind, current->value, name.name, options); !met) co_return met.error();

    json::object next = current->value;
    json::object& meta = makeObjectAt(next, {"metadata"});
    setPropagation(meta, options.propagationPolicy);
    const std::int64_t grace = graceFor(kind, next, options);
    const bool already = !metaText(next, "deletionTimestamp").empty();
    if (!already || grace < integerAt(next, {"metadata", "deletionGracePeriodSeconds"})) {
      meta["deletionTimestamp"] = rfc3339(clock_.now() + std::chrono::seconds(grace));
      meta["deletionGracePeriodSeconds"] = grace;
    }
    if (isNamespace(kind)) makeObjectAt(next, {"status"})["phase"] = "Terminating";
    const bool gone = integerAt(next, {"metadata", "deletionGracePeriodSeconds"}) == 0 && !hasFinalizers(next);
    if (context.dryRun) co_return Deleted{unstored(std::move(next)), gone};
    if (!gone && next == current->value) co_return Deleted{current, false};
    Mutation mutation{key, std::nullopt, current->revision};
    if (!gone) mutation.value = next;
    Result<Entry> entry = co_await commit(std::move(mutation));
    if (entry) co_return Deleted{gone ? unstored(std::move(next)) : entry->document, gone};
    if (entry.error().reason == Reason::NotFound) co_return notFound(kind, name.name);
    if (entry.error().reason != Reason::Conflict) co_return entry.error();
    if (attempt >= kTries) co_return staleObject(kind, name.name);
  }
}

asio::awaitable<Result<ListPage>> Registry::removeAll(Context& context, const api::Kind& kind, ListOptions selection,
                                                      api::DeleteOptions options) {
  Result<ListPage> page = list(kind, selection);
  if (!page) co_return page;
  Sweep sweep{*this, context, kind, options, page->items};
  std::vector<asio::awaitable<std::optional<Refusal>>> workers;
  for (std::size_t i = 0; i < std::min(page->items.size(), kRemovalsAtOnce); ++i) workers.push_back(sweep.work());
  std::vector<std::optional<Refusal>> ends = co_await gather(std::move(workers));
  for (std::optional<Refusal>& refused : ends) {
    if (!refused) continue;
    context.wording = std::move(refused->wording);
    co_return std::move(refused->error);
  }
  co_return page;
}

}  // namespace podpass::server
