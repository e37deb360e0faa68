#pragma once

#include "api/field_set.h"
#include "api/kind.h"

// Typed values and sets of their fields: what server-side apply is made of (structured-merge-diff's typed package). The table of the kind
// says what each part is: a structure or map whose members have owners of their own, a list keyed by members of its elements, a set, or
// a whole that is replaced. All functions are pure.
namespace podpass::api {

// The leaves of `object`, every element of a keyed list and set, every entry of a map. Without what only the server writes (name, uid, …).
// BadRequest: an element without its key, two with the same: `.spec.containers: duplicate entries for key [name="c"]`.
Result<FieldSet> fieldsOf(const Kind& kind, const json::object& object);

struct Changes {
  FieldSet set;      // added, or with another value than before
  FieldSet removed;  // not there any more, with all that was in it
};
Changes changesBetween(const Kind& kind, const json::object& before, const json::object& after);

// `config` over `live`: structures, maps, keyed lists and sets are merged, everything else is replaced. Elements that both have stand in
// the order of `config`; before each of them come those that only `live` has, then the new ones.
json::object merged(const Kind& kind, json::object live, const json::object& config);

// Takes from `object` what is in `last` and in no one's hands now. A part goes as a whole when nothing in it is in `owned`.
void prune(const Kind& kind, json::object& object, const FieldSet& last, const FieldSet& owned);

}  // namespace podpass::api
