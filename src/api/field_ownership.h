#pragma once

#include "api/field_set.h"
#include "api/kind.h"

// Who set which field: metadata.managedFields, and server-side apply on top of it (spec api.md §7.4, §7.5; KEP-555). Pure; the registry
// calls it between reading an object and storing the next.
namespace podpass::api {

// One entry of managedFields. There is one per manager, operation, API version and subresource.
struct Owner {
  std::string manager;
  std::string operation;  // Apply: what it applied last; Update: what it changed otherwise
  std::string apiVersion;
  std::string subresource = {};
  std::string time = {};  // RFC 3339; when its fields last changed
  FieldSet fields = {};
};
using Owners = std::vector<Owner>;

struct Writer {
  std::string manager;
  std::string subresource = {};
  WallTime now;
};

// Entries that cannot be read are left out: they came from a client and give no one rights.
Owners ownersOf(const json::object& object);
// Applied ones first, each by time. Beyond ten Update entries the oldest become `ancient-changes`. No owners: no member.
void setOwners(json::object& object, Owners owners);

// After create, update and the other patches: what changed is now the writer's alone; what is gone is no one's. Nothing changed: nothing
// done.
void recordUpdate(const Kind& kind, const json::object& before, const json::object& after, const Writer& writer, Owners& owners);

// The same for `next`, which is about to replace `before`, from the owners that `before` has. `sent`: managedFields as the client sent
// them. kubectl rewrites them when it goes over to server-side apply; a client that sends none keeps them, one that sends [{}] clears them.
void recordWrite(const Kind& kind, const json::object& before, json::object& next, const json::value& sent, const Writer& writer);

// `live` with `config` applied, managedFields included: what the manager applied before and leaves out now goes, unless someone else
// holds it too. `live` empty: the object is made. BadRequest: `config` is none. Conflict: others hold fields with other values, and not
// `force`; each is a cause.
Result<json::object> apply(const Kind& kind, const json::object& live, const json::value& config, const Writer& writer, bool force);

}  // namespace podpass::api
