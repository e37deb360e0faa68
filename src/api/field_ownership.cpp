#include "api/field_ownership.h"

#include "api/codec.h"
#include "api/typed_merge.h"
#include "base/text.h"

namespace podpass::api {
namespace {

constexpr std::size_t kMostUpdaters = 10;
constexpr std::string_view kAncient = "ancient-changes", kBeforeFirstApply = "before-first-apply",
                           kKubectlApply = "kubectl-client-side-apply";
constexpr std::string_view kLastApplied = "kubectl.kubernetes.io/last-applied-configuration";

Owner& ownerIn(Owners& owners, const Owner& wanted) {
  const auto same = [&](const Owner& each) {
    return each.manager == wanted.manager && each.operation == wanted.operation && each.apiVersion == wanted.apiVersion &&
           each.subresource == wanted.subresource;
  };
  const auto found = std::find_if(owners.begin(), owners.end(), same);
  return found != owners.end() ? *found : owners.emplace_back(wanted);
}

void dropEmpty(Owners& owners) {
  std::erase_if(owners, [](const Owner& owner) { return owner.fields.empty(); });
}

// The sorted owners, with the oldest updaters made one.
void foldAncient(Owners& owners) {
  const auto firstUpdate = std::find_if(owners.begin(), owners.end(), [](const Owner& owner) { return owner.operation == "Update"; });
  const auto updaters = static_cast<std::size_t>(owners.end() - firstUpdate);
  if (updaters <= kMostUpdaters) return;
  const auto end = firstUpdate + static_cast<std::ptrdiff_t>(updaters - kMostUpdaters + 1);
  firstUpdate->manager = kAncient;
  for (auto each = firstUpdate + 1; each != end; ++each) firstUpdate->fields = unionOf(std::move(firstUpdate->fields), each->fields);
  firstUpdate->time = (end - 1)->time;
  owners.erase(firstUpdate + 1, end);
}

// ---- applying

Error badApply(std::string sentence) { return {Reason::BadRequest, std::move(sentence)}; }

// The applied configuration as the kind's table reads it. Strangers are refused: what has no schema has no owner.
Result<json::object> configOf(const Kind& kind, const json::value& config) {
  const json::object* object = config.if_object();
  if (object == nullptr) return badApply("error decoding YAML: the patch is not an object");
  if (const std::string_view version = textAt(*object, {"apiVersion"}); version != kind.apiVersion())
    return badApply("Incorrect version specified in apply patch. Specified patch version: " + std::string(version) +
                    ", expected: " + kind.apiVersion());
  if (const std::string_view name = textAt(*object, {"kind"}); name != kind.kind)
    return badApply("the kind in the apply patch (" + std::string(name) + ") does not match the expected kind (" + std::string(kind.kind) +
                    ")");
  const json::object* metadata = objectAt(*object, {"metadata"});
  if (const json::value* managed = metadata == nullptr ? nullptr : metadata->if_contains("managedFields"); managed && !managed->is_null())
    return badApply("metadata.managedFields must be nil");
  Result<Decoded> decoded = conform(kind, *object);
  if (!decoded) return decoded.error();
  if (decoded->problems.empty()) return std::move(decoded->object);
  constexpr std::string_view kUnknown = "unknown field \"";
  const std::string problem = decoded->problems.front();
  return badApply("failed to create typed patch object (" + std::string(textAt(*object, {"metadata", "namespace"})) + "/" +
                  std::string(textAt(*object, {"metadata", "name"})) + "; " + std::string(kind.group) + "/" + std::string(kind.version) +
                  ", Kind=" + std::string(kind.kind) + "): ." + problem.substr(kUnknown.size(), problem.size() - kUnknown.size() - 1) +
                  ": field not declared in schema");
}

// What `kubectl apply` without --server-side applied last.
FieldSet lastApplied(const Kind& kind, const json::object& live) {
  const Result<json::value> config = parseJson(textAt(live, {"metadata", "annotations", kLastApplied}));
  if (!config || !config->is_object()) return {};
  const Result<Decoded> decoded = conform(kind, config->get_object());
  const Result<FieldSet> fields = decoded ? fieldsOf(kind, decoded->object) : decoded.error();
  return fields ? *fields : FieldSet{};
}

// The owners of an object that nobody kept any for. kubectl, when it goes over to server-side apply, takes to itself all that the manager
// of its annotation has: that may be what it applied, and nothing of what the server added, or its next apply would take that away.
Owners firstOwners(const Kind& kind, const json::object& live, const Writer& writer) {
  Result<FieldSet> all = fieldsOf(kind, live);
  if (!all) return {};
  const std::string time = rfc3339(writer.now);
  FieldSet applied = lastApplied(kind, live);
  if (!applied.empty()) applied.parts["f:metadata"].parts["f:annotations"].parts["f:" + std::string(kLastApplied)].member = true;
  applied = intersectionOf(applied, *all);
  Owner others{std::string(kBeforeFirstApply), "Update", kind.apiVersion(), {}, time, differenceOf(*std::move(all), applied)};
  return {std::move(others), {std::string(kKubectlApply), "Update", kind.apiVersion(), {}, time, std::move(applied)}};
}

struct Held {
  const Owner* owner;
  std::vector<std::string> paths;
};

Error conflictsWith(const std::vector<Held>& all) {
  Error error{Reason::Conflict, ""};
  for (const Held& held : all) {
    const std::string with = std::string(held.paths.size() == 1 ? "conflict" : "conflicts") + " with " +
                             podpass::quoted(held.owner->manager) +
                             (held.owner->subresource.empty() ? "" : " with subresource " + podpass::quoted(held.owner->subresource)) +
                             " using " + held.owner->apiVersion;
    error.sentence += (error.sentence.empty() ? "" : "\n") + with + ":";
    for (const std::string& path : held.paths) {
      error.sentence += (held.paths.size() == 1 ? " " : "\n- ") + path;
      error.causes.push_back({path, "conflict" + with.substr(with.find(" with ")), "FieldManagerConflict"});
    }
  }
  const std::size_t count = error.causes.size();
  error.sentence = "Apply failed with " + std::to_string(count) + (count == 1 ? " conflict: " : " conflicts: ") + error.sentence;
  return error;
}

std::vector<Held> conflictsIn(const Owners& owners, const Owner& mine, const FieldSet& changed) {
  std::vector<Held> conflicts;
  for (const Owner& each : owners)
    if (&each != &mine)
      if (const FieldSet held = intersectionOf(each.fields, changed); !held.empty()) conflicts.push_back({&each, pathsOf(held)});
  return conflicts;
}

}  // namespace

Owners ownersOf(const json::object& object) {
  Owners owners;
  const json::array* entries = arrayAt(object, {"metadata", "managedFields"});
  for (std::size_t i = 0; entries != nullptr && i < entries->size(); ++i) {
    const json::object* entry = (*entries)[i].if_object();
    const json::object* fields = entry == nullptr ? nullptr : objectAt(*entry, {"fieldsV1"});
    if (fields == nullptr) continue;
    Result<FieldSet> set = parseFieldsV1(json::value(*fields));
    const std::string operation(textAt(*entry, {"operation"}));
    if (!set || (operation != "Apply" && operation != "Update")) continue;
    owners.push_back({std::string(textAt(*entry, {"manager"})), operation, std::string(textAt(*entry, {"apiVersion"})),
                      std::string(textAt(*entry, {"subresource"})), std::string(textAt(*entry, {"time"})), *std::move(set)});
  }
  return owners;
}

void setOwners(json::object& object, Owners owners) {
  json::object& metadata = makeObjectAt(object, {"metadata"});
  metadata.erase("managedFields");
  dropEmpty(owners);
  const auto rank = [](const Owner& owner) {
    return std::tie(owner.operation, owner.time, owner.manager, owner.apiVersion, owner.subresource);  // "Apply" < "Update"
  };
  std::sort(owners.begin(), owners.end(), [&](const Owner& a, const Owner& b) { return rank(a) < rank(b); });
  foldAncient(owners);
  if (owners.empty()) return;
  json::array entries;
  for (const Owner& owner : owners) {
    json::object entry{{"manager", owner.manager}, {"operation", owner.operation}, {"apiVersion", owner.apiVersion}};
    if (!owner.time.empty()) entry["time"] = owner.time;
    entry["fieldsType"] = "FieldsV1";
    entry["fieldsV1"] = toFieldsV1(owner.fields);
    if (!owner.subresource.empty()) entry["subresource"] = owner.subresource;
    entries.push_back(std::move(entry));
  }
  metadata["managedFields"] = std::move(entries);
}

void recordUpdate(const Kind& kind, const json::object& before, const json::object& after, const Writer& writer, Owners& owners) {
  const Changes changes = changesBetween(kind, before, after);
  if (changes.set.empty() && changes.removed.empty()) return;
  for (Owner& each : owners) each.fields = differenceOf(differenceOf(each.fields, changes.set), changes.removed);
  Owner& mine = ownerIn(owners, {writer.manager, "Update", kind.apiVersion(), writer.subresource});
  mine.fields = unionOf(std::move(mine.fields), changes.set);
  mine.time = rfc3339(writer.now);
  dropEmpty(owners);
}

void recordWrite(const Kind& kind, const json::object& before, json::object& next, const json::value& sent, const Writer& writer) {
  const bool hasSent = sent.is_array() && !sent.get_array().empty();
  Owners owners = hasSent ? ownersOf(json::object{{"metadata", json::object{{"managedFields", sent}}}}) : ownersOf(before);
  if (!owners.empty() || !kind.manyOrBusy) recordUpdate(kind, before, next, writer, owners);
  setOwners(next, std::move(owners));
}

Result<json::object> apply(const Kind& kind, const json::object& live, const json::value& config, const Writer& writer, bool force) {
  Result<json::object> wanted = configOf(kind, config);
  if (!wanted) return wanted.error();
  Result<FieldSet> fields = fieldsOf(kind, *wanted);
  if (!fields) return fields.error();
  Owners owners = ownersOf(live);
  if (owners.empty() && !live.empty()) owners = firstOwners(kind, live, writer);

  Owner& mine = ownerIn(owners, {writer.manager, "Apply", kind.apiVersion(), writer.subresource});
  const FieldSet last = std::exchange(mine.fields, *std::move(fields));
  json::object next = merged(kind, live, *wanted);
  FieldSet held;
  for (const Owner& each : owners) held = unionOf(std::move(held), each.fields);
  prune(kind, next, last, held);

  const Changes changes = changesBetween(kind, live, next);
  const bool isKubectl = writer.manager == "kubectl";  // it may take over without a conflict what it applied by itself
  const FieldSet contested = isKubectl ? differenceOf(changes.set, lastApplied(kind, live)) : changes.set;
  if (const std::vector<Held> conflicts = conflictsIn(owners, mine, contested); !force && !conflicts.empty())
    return conflictsWith(conflicts);
  for (Owner& each : owners)
    if (&each != &mine) each.fields = differenceOf(differenceOf(each.fields, changes.set), changes.removed);
  if (mine.time.empty() || mine.fields != last || !changes.set.empty() || !changes.removed.empty()) mine.time = rfc3339(writer.now);
  setOwners(next, std::move(owners));
  return next;
}

}  // namespace podpass::api
