#include "controllers/namespace_termination.h"

#include <algorithm>

#include "base/log.h"
#include "base/text.h"
#include "controllers/object.h"

namespace podpass::controllers {
namespace {

using namespace std::chrono_literals;
constexpr std::string_view kFinalizer = "kubernetes";
constexpr auto kLookAgain = 15s;  // beside the events that bring us back: for what was made after we looked

json::array finalizersOf(const json::object& ns) {
  const json::array* all = arrayAt(ns, {"spec", "finalizers"});
  return all != nullptr ? *all : json::array();
}

std::string listing(const std::map<std::string, std::size_t>& counts, std::string_view between) {
  std::string text;
  for (const auto& [what, count] : counts)
    text += (text.empty() ? "" : ", ") + what + std::string(between) + std::to_string(count) + " resource instances";
  return text;
}

}  // namespace

NamespaceTermination::NamespaceTermination(api::Client& client, const Clock& clock, Informers& informers)
    : client_(client),
      clock_(clock),
      informers_(informers),
      namespaces_(informers.of("", "namespaces")),
      loop_("namespace-termination", clock, [this](const std::string& ns) { return visit(ns); }) {
  namespaces_.onChange([this](const api::Kind&, const DocumentPtr&, const DocumentPtr& now) {
    if (now && isEnding(now->value)) loop_.queue().add(nameOf(now->value));
  });
  for (const std::unique_ptr<Informer>& informer : informers.all()) {
    if (!informer->kind().namespaced) continue;
    informer->onChange([this](const api::Kind&, const DocumentPtr& before, const DocumentPtr& now) {
      if (now) return;
      const DocumentPtr ns = namespaces_.get("", namespaceOf(before->value));
      if (ns && isEnding(ns->value)) loop_.queue().add(nameOf(ns->value));
    });
  }
}

Result<void> NamespaceTermination::visit(const std::string& name) {
  const Result<DocumentPtr> found = client_.get(coreKind("namespaces"), {"", name});
  if (!found) return found.error().reason == Reason::NotFound ? Result<void>() : Result<void>(found.error());
  if (!isEnding((*found)->value)) return {};
  const json::array finalizers = finalizersOf((*found)->value);
  if (std::find(finalizers.begin(), finalizers.end(), json::value(kFinalizer)) == finalizers.end()) return {};

  Remaining remaining;
  if (Result<void> emptied = empty(name, remaining); !emptied) return emptied;
  if (!remaining.objects.empty() || !remaining.failure.empty()) {
    loop_.queue().addAfter(kLookAgain, name);
    return report((*found)->value, remaining);
  }
  json::object next = (*found)->value;
  json::array rest;
  for (const json::value& each : finalizers)
    if (each != json::value(kFinalizer)) rest.push_back(each);
  makeObjectAt(next, {"spec"})["finalizers"] = std::move(rest);
  const Result<DocumentPtr> ended = client_.updateSubresource(coreKind("namespaces"), {"", name}, "finalize", std::move(next));
  if (ended || ended.error().reason == Reason::NotFound) return {};
  return ended.error();
}

Result<void> NamespaceTermination::empty(const std::string& ns, Remaining& remaining) {
  for (const std::unique_ptr<Informer>& informer : informers_.all()) {
    const api::Kind& kind = informer->kind();
    if (!kind.namespaced || !kind.allows("delete")) continue;
    Result<api::Listing> contents = client_.list(kind, ns, {});
    if (!contents) return contents.error();
    const bool ends =
        std::all_of(contents->items.begin(), contents->items.end(), [](const DocumentPtr& each) { return isEnding(each->value); });
    if (!ends) {
      const Result<void> removed = client_.removeAll(kind, ns, {.propagationPolicy = "Background"});
      if (!removed && !isRace(removed.error())) remaining.failure = removed.error().sentence;
      contents = client_.list(kind, ns, {});
      if (!contents) return contents.error();
    }
    for (const DocumentPtr& each : contents->items) count(kind, each->value, remaining);
  }
  return {};
}

void NamespaceTermination::count(const api::Kind& kind, const json::object& object, Remaining& remaining) const {
  ++remaining.objects[std::string(kind.plural) + "." + std::string(kind.group)];
  if (const json::array* finalizers = arrayAt(object, {"metadata", "finalizers"}))
    for (const json::value& each : *finalizers)
      if (each.is_string()) ++remaining.finalizers[std::string(each.get_string())];
}

// The five conditions of namespace/deletion/status_condition_utils.go. They do not change while nothing changes: an unchanged write makes
// no event, so this cannot feed itself.
Result<void> NamespaceTermination::report(const json::object& ns, const Remaining& remaining) {
  struct Row {
    const char* type;
    const char* good;
    const char* goodMessage;
    const char* bad;
    std::string message;  // "": good
  };
  const std::string objects = remaining.objects.empty() ? "" : "Some resources are remaining: " + listing(remaining.objects, " has ");
  const std::string finalizers = remaining.finalizers.empty()
                                     ? ""
                                     : "Some content in the namespace has finalizers remaining: " + listing(remaining.finalizers, " in ");
  const std::string failure = remaining.failure.empty() ? "" : "Failed to delete all resource types, 1 remaining: " + remaining.failure;
  const Row rows[] = {
      {"NamespaceDeletionDiscoveryFailure", "ResourcesDiscovered", "All resources successfully discovered", "DiscoveryFailed", ""},
      {"NamespaceDeletionGroupVersionParsingFailure", "ParsedGroupVersions", "All legacy kube types successfully parsed",
       "GroupVersionParsingFailed", ""},
      {"NamespaceDeletionContentFailure", "ContentDeleted", "All content successfully deleted, may be waiting on finalization",
       "ContentDeletionFailed", failure},
      {"NamespaceContentRemaining", "ContentRemoved", "All content successfully removed", "SomeResourcesRemain", objects},
      {"NamespaceFinalizersRemaining", "ContentHasNoFinalizers", "All content-preserving finalizers finished", "SomeFinalizersRemain",
       finalizers}};
  std::map<std::string_view, const json::object*> before;
  if (const json::array* held = arrayAt(ns, {"status", "conditions"}))
    for (const json::value& each : *held)
      if (const json::object* condition = each.if_object()) before[textAt(*condition, {"type"})] = condition;

  json::array conditions;
  for (const Row& row : rows) {
    const bool good = row.message.empty();
    const char* status = good ? "False" : "True";
    const auto known = before.find(row.type);
    const bool flipped = known == before.end() || textAt(*known->second, {"status"}) != status;
    const std::string since = flipped ? rfc3339(clock_.now()) : std::string(textAt(*known->second, {"lastTransitionTime"}));
    conditions.push_back(json::object{{"lastTransitionTime", since},
                                      {"message", good ? std::string(row.goodMessage) : row.message},
                                      {"reason", good ? row.good : row.bad},
                                      {"status", status},
                                      {"type", row.type}});
  }
  if (const json::array* held = arrayAt(ns, {"status", "conditions"}); held != nullptr && *held == conditions) return {};
  json::object next = ns;
  makeObjectAt(next, {"status"})["conditions"] = std::move(conditions);
  const Result<DocumentPtr> written = client_.updateStatus(coreKind("namespaces"), {"", nameOf(ns)}, std::move(next));
  if (written || isRace(written.error())) return {};
  return written.error();
}

}  // namespace podpass::controllers
