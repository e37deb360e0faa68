#include "controllers/garbage_collector.h"

#include "controllers/object.h"

namespace podpass::controllers {
namespace {

constexpr std::string_view kForeground = "foregroundDeletion";
constexpr std::string_view kOrphan = "orphan";

const json::array& ownersOf(const json::object& object) {
  static const json::array none;
  const json::array* owners = arrayAt(object, {"metadata", "ownerReferences"});
  return owners != nullptr ? *owners : none;
}

// A conflict or a disappearance is an event of its own, which brings the object back.
Result<void> unlessRace(const Error& error) { return isRace(error) ? Result<void>() : Result<void>(error); }

}  // namespace

GarbageCollector::GarbageCollector(api::Client& client, const Clock& clock, Informers& informers)
    : client_(client), loop_("garbage-collector", clock, [this](const std::string& uid) { return visit(uid); }) {
  for (const std::unique_ptr<Informer>& informer : informers.all()) {
    if (informer->kind().plural == "events") continue;  // they age out, and own nothing
    informer->onChange([this](const api::Kind& kind, const DocumentPtr& before, const DocumentPtr& now) { changed(kind, before, now); });
  }
}

// Keeps the graph, and queues whom the change concerns.
void GarbageCollector::changed(const api::Kind& kind, const DocumentPtr& before, const DocumentPtr& now) {
  const json::object& object = (now ? now : before)->value;
  const std::string uid = uidOf(object);
  if (uid.empty()) return;
  Node node{.kind = &kind, .name = {namespaceOf(object), nameOf(object)}};
  for (const json::value& each : ownersOf(object)) {
    const json::object* reference = each.if_object();
    if (reference == nullptr) continue;
    node.owners.emplace(textAt(*reference, {"uid"}));
    if (booleanAt(*reference, {"blockOwnerDeletion"})) node.blocking.emplace(textAt(*reference, {"uid"}));
  }
  node.ending = isEnding(object);
  node.foreground = node.ending && hasFinalizer(object, kForeground);
  node.orphan = node.ending && hasFinalizer(object, kOrphan);

  std::vector<std::string> concerned;
  {
    const std::lock_guard lock(mutex_);
    // an object that was deleted and made anew between two events of its name: its old dependents lose their owner
    const std::string oldUid = before ? uidOf(before->value) : uid;
    for (const std::string& each : {oldUid, uid}) {
      const auto known = nodes_.find(each);
      if (known == nodes_.end()) continue;
      concerned.insert(concerned.end(), known->second.owners.begin(), known->second.owners.end());  // one may wait for this to let go
      unlink(each, known->second);
      nodes_.erase(known);
      if (now && each == uid) continue;
      const auto left = dependents_.find(each);
      if (left != dependents_.end()) concerned.insert(concerned.end(), left->second.begin(), left->second.end());
    }
    if (now) {
      link(uid, node);
      nodes_[uid] = node;
      if (!node.owners.empty() || node.foreground || node.orphan) concerned.push_back(uid);
    } else if (const auto left = dependents_.find(uid); left != dependents_.end()) {
      concerned.insert(concerned.end(), left->second.begin(), left->second.end());
    }
    // only owners that wait are worth a visit
    std::erase_if(concerned, [&](const std::string& each) {
      const auto known = nodes_.find(each);
      return known == nodes_.end() || (known->second.owners.empty() && !known->second.foreground && !known->second.orphan);
    });
  }
  for (const std::string& each : concerned) loop_.queue().add(each);
}

void GarbageCollector::link(const std::string& uid, const Node& node) {
  for (const std::string& owner : node.owners) dependents_[owner].insert(uid);
}

void GarbageCollector::unlink(const std::string& uid, const Node& node) {
  for (const std::string& owner : node.owners) {
    const auto found = dependents_.find(owner);
    if (found == dependents_.end()) continue;
    found->second.erase(uid);
    if (found->second.empty()) dependents_.erase(found);
  }
}

std::vector<std::string> GarbageCollector::dependentsOf(const std::string& uid, bool blockingOnly) const {
  const std::lock_guard lock(mutex_);
  std::vector<std::string> found;
  const auto all = dependents_.find(uid);
  if (all == dependents_.end()) return found;
  for (const std::string& each : all->second)
    if (const auto node = nodes_.find(each); node != nodes_.end() && (!blockingOnly || node->second.blocking.contains(uid)))
      found.push_back(each);
  return found;
}

std::optional<GarbageCollector::Node> GarbageCollector::nodeOf(const std::string& uid) const {
  const std::lock_guard lock(mutex_);
  const auto found = nodes_.find(uid);
  return found != nodes_.end() ? std::optional(found->second) : std::nullopt;
}

Result<void> GarbageCollector::visit(const std::string& uid) {
  const std::optional<Node> node = nodeOf(uid);
  if (!node) return {};
  const Result<DocumentPtr> live = client_.get(*node->kind, node->name);
  if (!live) return live.error().reason == Reason::NotFound ? Result<void>() : Result<void>(live.error());
  const json::object& object = (*live)->value;
  if (uidOf(object) != uid) return {};
  // The graph follows the store in order: once it shows that the owner ends, it shows all dependents made before. Until then what we read
  // here is ahead of it, and the event that is on its way brings us back.
  if (isEnding(object) && hasFinalizer(object, kOrphan)) return node->orphan ? orphanDependents(uid, *node, object) : Result<void>();
  if (isEnding(object) && hasFinalizer(object, kForeground))
    return node->foreground ? finishForeground(uid, *node, object) : Result<void>();
  if (isEnding(object)) return {};
  return collect(*node, object);
}

// Asks the server, not the graph, whether an owner is gone: what is removed here does not come back.
Result<GarbageCollector::Owner> GarbageCollector::examine(const Node& dependent, const json::object& reference) {
  const api::Kind* kind = api::findKindByName(textAt(reference, {"apiVersion"}), textAt(reference, {"kind"}));
  if (kind == nullptr) return Owner::Solid;                                // of a kind that we do not serve: not ours to judge
  if (kind->namespaced && dependent.name.ns.empty()) return Owner::Solid;  // a mistake upstream reports and never acts upon
  const Result<DocumentPtr> owner =
      client_.get(*kind, {kind->namespaced ? dependent.name.ns : "", std::string(textAt(reference, {"name"}))});
  if (!owner) return owner.error().reason == Reason::NotFound ? Result<Owner>(Owner::Gone) : Result<Owner>(owner.error());
  const json::object& object = (*owner)->value;
  if (uidOf(object) != textAt(reference, {"uid"})) return Owner::Gone;
  const bool waits = isEnding(object) && hasFinalizer(object, kForeground) && booleanAt(reference, {"blockOwnerDeletion"});
  const std::optional<Node> known = nodeOf(uidOf(object));
  return waits && known && known->foreground ? Owner::Waiting : Owner::Solid;
}

Result<void> GarbageCollector::collect(const Node& node, const json::object& object) {
  bool solid = false, waiting = false;
  std::set<std::string> lost;  // uids of the owners that do not hold it any more
  for (const json::value& each : ownersOf(object)) {
    const json::object* reference = each.if_object();
    if (reference == nullptr) continue;
    const Result<Owner> owner = examine(node, *reference);
    if (!owner) return owner.error();
    solid = solid || *owner == Owner::Solid;
    waiting = waiting || *owner == Owner::Waiting;
    if (*owner != Owner::Solid) lost.emplace(textAt(*reference, {"uid"}));
  }
  if (lost.empty()) return {};
  if (solid) return dropOwners(node, object, lost);
  api::DeleteOptions options{.uid = uidOf(object), .propagationPolicy = "Background"};
  // the owner waits for all below it, so this one must wait for its own dependents
  if (waiting && !dependentsOf(options.uid, true).empty()) options.propagationPolicy = "Foreground";
  if (hasFinalizer(object, kForeground)) options.propagationPolicy = "Foreground";
  if (hasFinalizer(object, kOrphan)) options.propagationPolicy = "Orphan";
  options.resourceVersion = textAt(object, {"metadata", "resourceVersion"});  // somebody may just have given it another owner
  const Result<void> removed = client_.remove(*node.kind, node.name, options);
  return removed ? removed : unlessRace(removed.error());
}

Result<void> GarbageCollector::finishForeground(const std::string& uid, const Node& node, const json::object& object) {
  if (dependentsOf(uid, true).empty()) return dropFinalizer(node, object, kForeground);
  for (const std::string& dependent : dependentsOf(uid, false)) loop_.queue().add(dependent);
  return {};
}

Result<void> GarbageCollector::orphanDependents(const std::string& uid, const Node& node, const json::object& object) {
  for (const std::string& dependent : dependentsOf(uid, false)) {
    const std::optional<Node> child = nodeOf(dependent);
    if (!child) continue;
    const Result<DocumentPtr> live = client_.get(*child->kind, child->name);
    if (!live && live.error().reason != Reason::NotFound) return live.error();
    if (!live || uidOf((*live)->value) != dependent) continue;
    if (Result<void> freed = dropOwners(*child, (*live)->value, {uid}); !freed) return freed;
  }
  return dropFinalizer(node, object, kOrphan);
}

Result<void> GarbageCollector::dropFinalizer(const Node& node, const json::object& object, std::string_view finalizer) {
  json::array rest;
  for (const json::value& each : *arrayAt(object, {"metadata", "finalizers"}))
    if (!each.is_string() || each.get_string() != finalizer) rest.push_back(each);
  json::object metadata{{"resourceVersion", textAt(object, {"metadata", "resourceVersion"})}, {"finalizers", std::move(rest)}};
  const Result<DocumentPtr> patched = client_.mergePatch(*node.kind, node.name, json::object{{"metadata", std::move(metadata)}});
  if (patched || patched.error().reason == Reason::NotFound) return {};
  return patched.error();
}

// A conflict is an error here: orphaning must not go on without it.
Result<void> GarbageCollector::dropOwners(const Node& node, const json::object& object, const std::set<std::string>& uids) {
  json::array rest;
  for (const json::value& each : ownersOf(object))
    if (!each.is_object() || !uids.contains(std::string(textAt(each.get_object(), {"uid"})))) rest.push_back(each);
  if (rest.size() == ownersOf(object).size()) return {};
  json::object metadata{{"resourceVersion", textAt(object, {"metadata", "resourceVersion"})}, {"uid", uidOf(object)}};
  metadata["ownerReferences"] = rest.empty() ? json::value(nullptr) : json::value(std::move(rest));
  const Result<DocumentPtr> patched = client_.mergePatch(*node.kind, node.name, json::object{{"metadata", std::move(metadata)}});
  if (patched || patched.error().reason == Reason::NotFound) return {};
  return patched.error();
}

}  // namespace podpass::controllers
