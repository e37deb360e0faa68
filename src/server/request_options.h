#pragma once

#include "api/client.h"
#include "http/http.h"
#include "server/registry.h"
#include "server/request_info.h"
#include "server/watch.h"

// The query parameters and DeleteOptions bodies of requests for resources (spec api.md §4.2, §6, §12), parsed and judged in Kubernetes'
// words.
namespace podpass::server {

// dryRun, fieldValidation and fieldManager of a request that changes something; written into the context.
Result<void> commonOptions(const http::Request& request, const std::string& verb, Context& context);
// Selectors, limit, continue and the resourceVersion rules. Timeout for a version that the store has not reached.
Result<ListOptions> listOptions(const http::Request& request, const RequestInfo& info, std::uint64_t currentRevision);
Result<WatchOptions> watchOptions(const http::Request& request, const RequestInfo& info, std::uint64_t currentRevision, SteadyTime now);
// From the body (JSON, YAML, protobuf), else from the query. A dryRun in the body is written into the context.
Result<api::DeleteOptions> deleteOptions(const http::Request& request, Context& context);
// The same when they are in another body: `given` of an Eviction.
Result<api::DeleteOptions> deleteOptions(const json::object& given, const http::Request& request, Context& context);
Result<PatchType> patchType(std::string_view contentType);

// Invalid: `KIND.meta.k8s.io "" is invalid: FIELD: MESSAGE`.
Error invalidOptions(const char* kind, const std::string& field, const std::string& message, const char* reason = "FieldValueForbidden");

}  // namespace podpass::server
