#include "api/codec.h"
#include "api/field_ownership.h"
#include "api/patch.h"
#include "base/text.h"
#include "server/registry.h"
#include "server/status.h"
#include "server/stored_object.h"

// Updates and patches: what may change, and who wins.
namespace podpass::server {
namespace {

bool sameBesideRevision(json::object a, json::object b) {
  makeObjectAt(a, {"metadata"}).erase("resourceVersion");
  makeObjectAt(b, {"metadata"}).erase("resourceVersion");
  return a == b;
}

}  // namespace

asio::awaitable<Result<json::object>> Registry::prepareUpdate(Context& context, const api::Kind& kind, const json::object& before,
                                                              json::object next, std::string subresource, bool applied) {
  const std::string name(metaText(before, "name"));
  json::value managed;
  if (const json::object* sent = objectAt(next, {"metadata"}))
    if (const json::value* entries = sent->if_contains("managedFields")) managed = *entries;
  const std::string sentUid(metaText(next, "uid")), sentName(metaText(next, "name")), sentNs(metaText(next, "namespace"));
  if (!sentName.empty() && sentName != name)
    co_return Error{Reason::BadRequest, "the name of the object (" + sentName + ") does not match the name on the URL (" + name + ")"};
  if (!sentNs.empty() && kind.namespaced && sentNs != metaText(before, "namespace"))
    co_return Error{Reason::BadRequest, "the namespace of the provided object does not match the namespace sent on the request"};
  if (!sentUid.empty() && sentUid != metaText(before, "uid"))
    co_return conflict(
        kind, name,
        "Precondition failed: UID in precondition: " + sentUid + ", UID in object meta: " + std::string(metaText(before, "uid")));

  if (subresource == "status") {
    json::object whole = before;
    if (next.contains("status"))
      whole["status"] = std::move(next["status"]);
    else
      whole.erase("status");
    next = std::move(whole);
  } else if (subresource == "finalize") {
    json::object whole = before;
    const json::value* finalizers = objectAt(next, {"spec"}) != nullptr ? objectAt(next, {"spec"})->if_contains("finalizers") : nullptr;
    makeObjectAt(whole, {"spec"})["finalizers"] = finalizers != nullptr ? *finalizers : json::value(json::array());
    next = std::move(whole);
  } else if (kind.hasStatus) {
    if (before.contains("status"))
      next["status"] = before.at("status");
    else
      next.erase("status");
  }
  if (isNamespace(kind) && subresource.empty() && before.contains("spec")) next["spec"] = before.at("spec");  // only /finalize changes it
  json::object& meta = makeObjectAt(next, {"metadata"});
  for (const char* member : kServersMetadata) keep(before, meta, member);
  keep(before, meta, "managedFields");

  api::applyDefaults(kind, next);
  const AdmissionRequest request{context.user, kind, "UPDATE", std::string(metaText(before, "namespace")), name, subresource};
  Result<void> admitted = co_await mutate(context, request, &next, &before);
  if (!admitted) co_return admitted.error();
  std::vector<Cause> causes = api::validate(kind, next);
  std::vector<Cause> changes = api::validateUpdate(kind, next, before);
  causes.insert(causes.end(), changes.begin(), changes.end());
  if (!causes.empty()) co_return api::invalid(kind, name, std::move(causes));
  admitted = co_await validate(context, request, &next, &before);
  if (!admitted) co_return admitted.error();
  if (context.guard)
    if (Result<void> allowed = context.guard(next, false); !allowed) co_return allowed.error();
  if (applied)
    makeObjectAt(next, {"metadata"})["managedFields"] = std::move(managed);
  else
    api::recordWrite(kind, before, next, managed, {context.manager, subresource, clock_.now()});
  if (kind.hasGeneration && next.if_contains("spec") != nullptr && (!before.contains("spec") || next.at("spec") != before.at("spec")))
    makeObjectAt(next, {"metadata"})["generation"] = integerAt(before, {"metadata", "generation"}) + 1;
  co_return ordered(kind, std::move(next));
}

asio::awaitable<Result<DocumentPtr>> Registry::modify(Context& context, const api::Kind& kind, api::ObjectName name, Change change,
                                                      std::string subresource, bool applied) {
  const std::string key = keyOf(kind, kind.namespaced ? name.ns : "", name.name);
  for (int attempt = 1;; ++attempt) {
    const DocumentPtr current = store_.get(key);
    if (!current) co_return notFound(kind, name.name);
    Result<json::object> changed = change(current->value);
    if (!changed) co_return changed.error();
    const std::string wanted(metaText(*changed, "resourceVersion"));
    const std::string held = std::to_string(current->revision);
    if (!wanted.empty() && wanted.find_first_not_of("0123456789") != std::string::npos)
      co_return api::invalid(kind, name.name,
                             {{"metadata.resourceVersion", "Invalid value: " + quoted(wanted) + ": must be a decimal number"}});
    const bool conditional = !wanted.empty() && wanted != "0";
    if (conditional && wanted != held) co_return staleObject(kind, name.name);
    Result<json::object> next = co_await prepareUpdate(context, kind, current->value, *std::move(changed), subresource, applied);
    if (!next) co_return next.error();
    const bool going = !metaText(*next, "deletionTimestamp").empty() && !hasFinalizers(*next) &&
                       integerAt(*next, {"metadata", "deletionGracePeriodSeconds"}) == 0;
    if (!going && sameBesideRevision(*next, current->value)) co_return current;
    if (context.dryRun) co_return unstored(*std::move(next));
    DocumentPtr last = going ? unstored(*next) : nullptr;
    Mutation mutation{key, std::nullopt, current->revision};
    if (!going) mutation.value = *std::move(next);
    Result<Entry> entry = co_await commit(std::move(mutation));
    if (entry) co_return going ? last : entry->document;
    if (entry.error().reason == Reason::NotFound) co_return notFound(kind, name.name);
    if (entry.error().reason != Reason::Conflict) co_return entry.error();
    if (conditional || attempt >= kTries) co_return staleObject(kind, name.name);
  }
}

asio::awaitable<Result<DocumentPtr>> Registry::update(Context& context, const api::Kind& kind, api::ObjectName name, json::object object,
                                                      std::string subresource) {
  Change change = [object = std::move(object)](const json::object&) -> Result<json::object> { return object; };
  Result<DocumentPtr> done = co_await modify(context, kind, std::move(name), std::move(change), std::move(subresource));
  co_return done;
}

asio::awaitable<Result<DocumentPtr>> Registry::patch(Context& context, const api::Kind& kind, api::ObjectName name, PatchType type,
                                                     json::value patch, std::string subresource) {
  if (type == PatchType::Apply) {
    if (subresource.empty() && !get(kind, name.ns, name.name)) {
      Result<DocumentPtr> made = co_await createApplied(context, kind, name, patch);
      if (made || made.error().reason != Reason::AlreadyExists) co_return made;  // made meanwhile: apply to it
    }
    Change change = [this, &context, &kind, subresource, patch](const json::object& current) -> Result<json::object> {
      json::object before = current;
      makeObjectAt(before, {"metadata"}).erase("resourceVersion");
      return api::apply(kind, before, patch, {context.manager, subresource, clock_.now()}, context.force);
    };
    Result<DocumentPtr> done = co_await modify(context, kind, std::move(name), std::move(change), subresource, true);
    co_return done;
  }
  bool reported = false;
  Change change = [&context, &kind, type, patch = std::move(patch), reported](const json::object& current) mutable -> Result<json::object> {
    json::object before = current;
    // the patch's own resourceVersion is a precondition; the current one is not
    makeObjectAt(before, {"metadata"}).erase("resourceVersion");
    Result<json::object> patched = type == PatchType::Json    ? api::applyJsonPatch(current, patch)
                                   : type == PatchType::Merge ? api::applyMergePatch(before, patch)
                                                              : api::applyStrategicMergePatch(kind, before, patch);
    if (!patched) return patched.error();
    Result<api::Decoded> clean = api::conform(kind, *std::move(patched));
    if (!clean) return clean.error();
    if (!reported) {
      if (Result<void> fine = reportProblems(context, kind, clean->problems); !fine) return fine.error();
      reported = true;
    }
    if (type == PatchType::Json && metaText(clean->object, "resourceVersion") == metaText(current, "resourceVersion"))
      makeObjectAt(clean->object, {"metadata"}).erase("resourceVersion");
    return std::move(clean->object);
  };
  Result<DocumentPtr> done = co_await modify(context, kind, std::move(name), std::move(change), std::move(subresource));
  co_return done;
}

}  // namespace podpass::server
