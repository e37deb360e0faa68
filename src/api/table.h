#pragma once

#include "api/kind.h"

// Server-side printing: spec api.md §3.2 (Table) and §9 (columns).
namespace podpass::api {

enum class IncludeObject { None, Metadata, Object };

// `columnDefinitions` of the kind.
json::array tableColumns(const Kind& kind);
// One row: cells and the `object` as asked.
json::object tableRow(const Kind& kind, const json::object& object, IncludeObject include, WallTime now);
// apiVersion meta.k8s.io/v1, kind PartialObjectMetadata, metadata.
json::object partialMetadata(const json::object& object);

}  // namespace podpass::api
