#pragma once

#include <string>

#include "api/client.h"
#include "http/client.h"

// Kubernetes' REST paths and answers, as a client sees them.
namespace podpass::client {

// "/api/v1/namespaces/default/pods/web-0/log"; without a name the collection, without a namespace all of them.
std::string targetOf(const api::Kind& kind, const api::ObjectName& object, std::string_view subresource = {});

// Percent-encoded for a query or a path segment.
std::string urlEscaped(std::string_view text);

// "labelSelector=a%3Db&fieldSelector=…", "" when nothing is selected.
std::string queryOf(const api::Selectors& selectors);

// The object of a 2xx answer; else the Status in it as an Error, or what else came instead, naming `where`.
Result<json::object> objectIn(const http::Fetched& fetched, const std::string& where);
// From a Status object, as it also stands in an ERROR event.
Error errorOf(const json::object& status, int httpStatus);

// The object as Document, without managedFields unless `withOwners`.
DocumentPtr documentOf(json::object object, bool withOwners = false);

}  // namespace podpass::client
