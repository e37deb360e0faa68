#pragma once

#include "api/kind.h"

// Discovery and OpenAPI documents, derived from the kinds: spec api.md §1.2, §1.3, §1.6, §1.7. All are built once and cached; thread-safe.
namespace podpass::api {

std::string legacyVersions(std::string_view serverAddress);                          // GET /api
std::string groupList();                                                             // GET /apis
Result<std::string> groupDocument(std::string_view group);                           // GET /apis/<group>; NotFound
Result<std::string> resourceList(std::string_view group, std::string_view version);  // GET /api/v1, /apis/<group>/<version>; NotFound
// APIGroupDiscoveryList for `version` "v2" or "v2beta1"; `core`: of GET /api, else of GET /apis.
std::string aggregatedDiscovery(bool core, std::string_view version);

std::shared_ptr<const std::string> openApiV2Json();
std::shared_ptr<const std::string> openApiV2Protobuf();  // gnostic openapi.v2.Document
std::shared_ptr<const std::string> openApiV3Root();      // GET /openapi/v3
// `path` "api/v1" or "apis/<group>/<version>"; NotFound.
Result<std::shared_ptr<const std::string>> openApiV3(std::string_view path);
std::string openApiV3Hash(std::string_view path);  // upper-case hex, "" when unknown

// The same documents for a set of kinds of the caller's; what the functions above cache for allKinds().
using Kinds = std::vector<const Kind*>;
std::string groupList(const Kinds& kinds);
Result<std::string> groupDocument(const Kinds& kinds, std::string_view group);
Result<std::string> resourceList(const Kinds& kinds, std::string_view group, std::string_view version);
std::string aggregatedDiscovery(const Kinds& kinds, bool core, std::string_view version);
json::object openApiV2Document(const Kinds& kinds);
std::string encodeOpenApiV2(const json::object& document);                        // as gnostic's openapi.v2.Document
json::object openApiV3Document(const Kinds& kinds, std::string_view apiVersion);  // "v1", "coordination.k8s.io/v1"

// The verbs of the kind's own resource, sorted.
std::vector<std::string_view> verbsOf(const Kind& kind);

}  // namespace podpass::api
