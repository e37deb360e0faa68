#pragma once

#include "base/document.h"

// What the patches have in common: how deep they may nest, and how their refusals read.
namespace podpass::api {

Result<void> checkDepth(const json::value& value);       // BadRequest beyond 128 levels
Result<void> checkMergePatch(const json::value& patch);  // an object (else Invalid) of bounded depth

void mergeInto(json::object& target, const json::object& patch);  // RFC 7396: null deletes, objects merge, the rest replaces

// Invalid, about the field `patch`: `Invalid value: "shown": problem`.
Error invalidPatch(const std::string& shown, const std::string& problem);

}  // namespace podpass::api
