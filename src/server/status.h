#pragma once

#include "api/kind.h"
#include "base/result.h"
#include "http/http.h"
#include "server/context.h"

// The one place where a Reason becomes an HTTP code and a Kubernetes Status (metav1.Status; spec api.md §4.3, §4.4).
namespace podpass::server {

json::object statusOf(const Error& error, const std::optional<Wording>& wording = {});
http::Response failure(const Error& error, const std::optional<Wording>& wording = {});
// The reason that stands for an HTTP code; Internal when none does.
Reason reasonOf(int httpCode);
http::Response jsonResponse(int code, std::string text);
// 200 with an ETag; 304, with neither body nor Content-Type, for whoever holds it (one there poisons kubectl's discovery cache).
http::Response cacheable(const http::Request& request, std::string body, std::string type);
http::Response textResponse(int code, std::string text);  // text/plain, as the paths beside the API answer

// Errors in Kubernetes' words.
Error notFound(const api::Kind& kind, std::string_view name);
Error alreadyExists(const api::Kind& kind, std::string_view name);
Error conflict(const api::Kind& kind, std::string_view name, std::string_view why);
Error staleObject(const api::Kind& kind, std::string_view name);  // "the object has been modified; …"
Error forbidden(const api::Kind& kind, std::string_view name, std::string_view why);
Error noSuchResource();  // 404 under a served group
Error methodNotAllowed();
// 500 `Internal error occurred: WHY`, with the cause.
Error internalError(std::string why);

}  // namespace podpass::server
