#pragma once

#include <string>

#include "api/table.h"
#include "http/http.h"
#include "server/registry.h"

// How an answer looks: JSON, YAML, Table or metadata only, as the Accept header asks (spec api.md §3.2).
namespace podpass::server {

struct Representation {
  enum class Form { Json, Yaml, Table, Metadata, Discovery } form = Form::Json;
  std::string tableVersion = "v1";  // meta.k8s.io version of the Table
  std::string discoveryVersion;     // "v2", "v2beta1" for aggregated discovery
  api::IncludeObject include = api::IncludeObject::Metadata;
  bool pretty = false;
};

// NotAcceptable when nothing that is asked for can be made; BadRequest for a bad includeObject.
Result<Representation> negotiate(const http::Request& request);

http::Response objectResponse(int code, const api::Kind& kind, const DocumentPtr& document, const Representation& as, WallTime now);
http::Response listResponse(const api::Kind& kind, const ListPage& page, const Representation& as, WallTime now);
http::Response valueResponse(int code, const json::object& value, const Representation& as);
// One watch event, newline included. `first`: of a Table stream (carries the columns).
std::string watchEvent(std::string_view type, const api::Kind& kind, const Document& document, const Representation& as, bool first,
                       WallTime now);

// Compresses a large body when the client takes gzip.
void compress(const http::Request& request, http::Response& response);

}  // namespace podpass::server
