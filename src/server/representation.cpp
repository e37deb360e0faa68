#include "server/representation.h"

#include <zlib.h>

#include "api/codec.h"
#include "base/text.h"
#include "server/request_info.h"
#include "server/status.h"

namespace podpass::server {
namespace {

constexpr std::size_t kCompressFrom = 128u << 10;

std::string trimmed(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return std::string(text);
}

std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  for (std::size_t at = 0; at <= text.size();) {
    const std::size_t end = std::min(text.find(separator, at), text.size());
    parts.push_back(trimmed(text.substr(at, end - at)));
    at = end + 1;
  }
  return parts;
}

// One clause of the Accept header that we can serve; nullopt when we can't.
std::optional<Representation> clause(const std::string& text) {
  const std::vector<std::string> parts = split(text, ';');
  std::string as, version, group;
  for (std::size_t i = 1; i < parts.size(); ++i) {
    if (parts[i].starts_with("as=")) as = parts[i].substr(3);
    if (parts[i].starts_with("v=")) version = parts[i].substr(2);
    if (parts[i].starts_with("g=")) group = parts[i].substr(2);
  }
  Representation made;
  const std::string& type = parts[0];
  if (type == "application/yaml")
    made.form = Representation::Form::Yaml;
  else if (type != "application/json" && type != "*/*" && type != "application/*")
    return std::nullopt;
  if (as.empty()) return made;
  if (as == "Table" && (version == "v1" || version == "v1beta1")) {
    made.form = Representation::Form::Table;
    made.tableVersion = version;
    return made;
  }
  if (as == "PartialObjectMetadata" || as == "PartialObjectMetadataList") {
    made.form = Representation::Form::Metadata;
    return made;
  }
  if (as == "APIGroupDiscoveryList" && group == "apidiscovery.k8s.io" && (version == "v2" || version == "v2beta1")) {
    made.form = Representation::Form::Discovery;
    made.discoveryVersion = version;
    return made;
  }
  return std::nullopt;
}

// Boost.JSON has no pretty printer; this one indents by two, as kube-apiserver does.
void indent(const json::value& value, std::string& out, std::size_t depth) {
  const std::string pad((depth + 1) * 2, ' '), close(depth * 2, ' ');
  if (const json::object* object = value.if_object(); object != nullptr && !object->empty()) {
    out += "{\n";
    for (auto it = object->begin(); it != object->end(); ++it) {
      out += pad + json::serialize(json::string(it->key())) + ": ";
      indent(it->value(), out, depth + 1);
      out += it + 1 == object->end() ? "\n" : ",\n";
    }
    out += close + "}";
  } else if (const json::array* array = value.if_array(); array != nullptr && !array->empty()) {
    out += "[\n";
    for (auto it = array->begin(); it != array->end(); ++it) {
      out += pad;
      indent(*it, out, depth + 1);
      out += it + 1 == array->end() ? "\n" : ",\n";
    }
    out += close + "]";
  } else {
    out += json::serialize(value);
  }
}

http::Response written(int code, const json::value& value, const Representation& as) {
  if (as.form == Representation::Form::Yaml) {
    http::Response response = jsonResponse(code, api::toYaml(value));
    response.headers = {};
    response.headers.add("Content-Type", "application/yaml");
    return response;
  }
  std::string text;
  if (as.pretty)
    indent(value, text, 0);
  else
    text = json::serialize(value);
  return jsonResponse(code, text + "\n");
}

json::object tableOf(const api::Kind& kind, const Representation& as, json::object metadata) {
  return json::object{{"kind", "Table"},
                      {"apiVersion", "meta.k8s.io/" + as.tableVersion},
                      {"metadata", std::move(metadata)},
                      {"columnDefinitions", api::tableColumns(kind)},
                      {"rows", json::array()}};
}

json::object listMetadata(const ListPage& page) {
  json::object metadata{{"resourceVersion", std::to_string(page.revision)}};
  if (!page.continueToken.empty()) metadata["continue"] = page.continueToken;
  if (!page.continueToken.empty() && page.remaining) metadata["remainingItemCount"] = *page.remaining;
  return metadata;
}

// Items of a list carry no kind and apiVersion; the stored text begins with both, so they are cut off rather than printed again.
std::string_view withoutType(const api::Kind& kind, const Document& document, std::string& scratch) {
  const std::string head = "{\"kind\":\"" + std::string(kind.kind) + "\",\"apiVersion\":\"" + kind.apiVersion() + "\",";
  if (document.text.starts_with(head)) {
    scratch = "{";
    scratch.append(document.text, head.size());
    return scratch;
  }
  json::object copy = document.value;
  copy.erase("kind");
  copy.erase("apiVersion");
  scratch = json::serialize(copy);
  return scratch;
}

}  // namespace

Result<Representation> negotiate(const http::Request& request) {
  Representation chosen;
  bool found = false;
  const std::string_view accept = request.headers.find("accept");
  if (accept.empty()) found = true;
  for (const std::string& each : accept.empty() ? std::vector<std::string>() : split(accept, ',')) {
    if (std::optional<Representation> made = clause(each)) {
      chosen = *made;
      found = true;
      break;
    }
  }
  if (!found)
    return Error{Reason::NotAcceptable,
                 "only the following media types are accepted: application/json, application/yaml, application/vnd.kubernetes.protobuf"};
  const std::string include = request.parameter("includeObject").value_or("Metadata");
  if (include == "None")
    chosen.include = api::IncludeObject::None;
  else if (include == "Object")
    chosen.include = api::IncludeObject::Object;
  else if (include != "Metadata" && !include.empty() && chosen.form == Representation::Form::Table)
    return Error{Reason::BadRequest, "Unable to convert to Table as requested: includeObject: Invalid value: " + quoted(include) +
                                         ": must be 'Metadata', 'Object', 'None', or empty"};
  const std::string_view agent = request.headers.find("user-agent");
  const std::optional<std::string> pretty = request.parameter("pretty");
  chosen.pretty =
      pretty ? parseBool(*pretty).value_or(false) : agent.starts_with("curl") || agent.starts_with("Wget") || agent.starts_with("Mozilla");
  return chosen;
}

http::Response valueResponse(int code, const json::object& value, const Representation& as) { return written(code, value, as); }

http::Response objectResponse(int code, const api::Kind& kind, const DocumentPtr& document, const Representation& as, WallTime now) {
  if (as.form == Representation::Form::Table) {
    json::object table = tableOf(kind, as, json::object{{"resourceVersion", textAt(document->value, {"metadata", "resourceVersion"})}});
    table["rows"].as_array().push_back(api::tableRow(kind, document->value, as.include, now));
    return written(code, table, as);
  }
  if (as.form == Representation::Form::Metadata) return written(code, api::partialMetadata(document->value), as);
  if (as.form == Representation::Form::Json && !as.pretty) {
    http::Response response;
    response.status = code;
    response.headers.add("Content-Type", "application/json");
    response.body = std::shared_ptr<const std::string>(document, &document->text);  // the stored bytes, not a copy
    return response;
  }
  return written(code, document->value, as);
}

http::Response listResponse(const api::Kind& kind, const ListPage& page, const Representation& as, WallTime now) {
  if (as.form == Representation::Form::Table) {
    json::object table = tableOf(kind, as, listMetadata(page));
    json::array& rows = table["rows"].as_array();
    for (const DocumentPtr& item : page.items) rows.push_back(api::tableRow(kind, item->value, as.include, now));
    return written(200, table, as);
  }
  if (as.form == Representation::Form::Metadata) {
    json::array items;
    for (const DocumentPtr& item : page.items) items.push_back(api::partialMetadata(item->value));
    return written(200,
                   json::object{{"kind", "PartialObjectMetadataList"},
                                {"apiVersion", "meta.k8s.io/v1"},
                                {"metadata", listMetadata(page)},
                                {"items", std::move(items)}},
                   as);
  }
  std::string text = "{\"kind\":\"" + std::string(kind.kind) + "List\",\"apiVersion\":\"" + kind.apiVersion() +
                     "\",\"metadata\":" + json::serialize(listMetadata(page)) + ",\"items\":[";
  std::string scratch;
  bool first = true;
  for (const DocumentPtr& item : page.items) {
    if (!first) text += ',';
    first = false;
    text += withoutType(kind, *item, scratch);
  }
  text += "]}\n";
  if (as.form == Representation::Form::Json && !as.pretty) return jsonResponse(200, std::move(text));
  return written(200, json::parse(text), as);
}

std::string watchEvent(std::string_view type, const api::Kind& kind, const Document& document, const Representation& as, bool first,
                       WallTime now) {
  std::string object;
  if (as.form == Representation::Form::Table) {
    json::object table = tableOf(kind, as, json::object{{"resourceVersion", textAt(document.value, {"metadata", "resourceVersion"})}});
    if (!first) table["columnDefinitions"] = nullptr;
    table["rows"].as_array().push_back(api::tableRow(kind, document.value, as.include, now));
    object = json::serialize(table);
  } else if (as.form == Representation::Form::Metadata) {
    object = json::serialize(api::partialMetadata(document.value));
  }
  return "{\"type\":\"" + std::string(type) + "\",\"object\":" + (object.empty() ? document.text : object) + "}\n";
}

void compress(const http::Request& request, http::Response& response) {
  if (!response.body || response.body->size() < kCompressFrom || response.headers.has("content-encoding")) return;
  if (response.headers.has("etag")) return;  // a strong one names these bytes
  if (request.headers.find("accept-encoding").find("gzip") == std::string_view::npos) return;
  z_stream stream{};
  constexpr int kGzip = 15 + 16;
  if (deflateInit2(&stream, 1, Z_DEFLATED, kGzip, 8, Z_DEFAULT_STRATEGY) != Z_OK) return;
  auto packed = std::make_shared<std::string>(deflateBound(&stream, static_cast<uLong>(response.body->size())), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(response.body->data()));  // zlib's interface is older than const
  stream.avail_in = static_cast<uInt>(response.body->size());
  stream.next_out = reinterpret_cast<Bytef*>(packed->data());
  stream.avail_out = static_cast<uInt>(packed->size());
  const bool whole = deflate(&stream, Z_FINISH) == Z_STREAM_END;
  packed->resize(stream.total_out);
  deflateEnd(&stream);
  if (!whole) return;
  response.body = std::move(packed);
  response.headers.add("Content-Encoding", "gzip");
  response.headers.add("Vary", "Accept-Encoding");
}

}  // namespace podpass::server
