#pragma once

#include "api/kind.h"

// The three patches of spec api.md §7.1–7.3. All return a new object or leave no trace; nothing nested deeper than 128 levels passes.
// BadRequest: the patch is not one. RequestTooLarge: too many operations, or copies that grow without bound. Invalid: it does not fit
// the object; the sentence is Kubernetes', and what went wrong where is the one entry of `causes`.
namespace podpass::api {

Result<json::object> applyJsonPatch(const json::object& before, const json::value& patch);   // RFC 6902, at most 10,000 operations
Result<json::object> applyMergePatch(const json::object& before, const json::value& patch);  // RFC 7396
Result<json::object> applyStrategicMergePatch(const Kind& kind, const json::object& before, const json::value& patch);

}  // namespace podpass::api
