#include "server/request_info.h"

namespace podpass::server {
namespace {

std::vector<std::string> segments(std::string_view path) {
  std::vector<std::string> parts;
  std::size_t at = 0;
  while (at < path.size()) {
    const std::size_t slash = path.find('/', at);
    const std::string_view part = path.substr(at, slash == std::string_view::npos ? slash : slash - at);
    if (!part.empty()) parts.emplace_back(part);
    if (slash == std::string_view::npos) break;
    at = slash + 1;
  }
  return parts;
}

std::string verbOf(const http::Request& request, const RequestInfo& info, bool watchPrefix) {
  const std::string& method = request.method;
  if (method == "POST") return "create";
  if (method == "PUT") return "update";
  if (method == "PATCH") return "patch";
  if (method == "DELETE") return info.name.empty() ? "deletecollection" : "delete";
  if (method != "GET" && method != "HEAD") return {};
  const bool watches = watchPrefix || parseBool(request.parameter("watch").value_or("")).value_or(false);
  if (watches) return "watch";
  return info.name.empty() ? "list" : "get";
}

}  // namespace

std::optional<bool> parseBool(std::string_view text) {
  for (const char* yes : {"1", "t", "T", "true", "TRUE", "True"})
    if (text == yes) return true;
  for (const char* no : {"0", "f", "F", "false", "FALSE", "False"})
    if (text == no) return false;
  return std::nullopt;
}

RequestInfo parseRequest(const http::Request& request) {
  RequestInfo info;
  info.path = request.path;
  const std::vector<std::string> parts = segments(request.path);
  std::size_t at = 0;
  if (parts.size() >= 3 && parts[0] == "api") {
    info.version = parts[1];
    at = 2;
  } else if (parts.size() >= 4 && parts[0] == "apis") {
    info.group = parts[1];
    info.version = parts[2];
    at = 3;
  } else {
    info.verb = request.method;
    std::transform(info.verb.begin(), info.verb.end(), info.verb.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return info;
  }
  info.isResource = true;
  const bool watchPrefix = parts[at] == "watch" && parts.size() > at + 1;
  if (watchPrefix) ++at;
  const auto next = [&]() -> std::string { return at < parts.size() ? parts[at++] : std::string(); };
  info.resource = next();
  // namespaces/NS/pods/… is a namespaced resource, namespaces/NS/status a subresource of the Namespace
  if (info.resource == "namespaces" && parts.size() >= at + 2 && parts[at + 1] != "status" && parts[at + 1] != "finalize") {
    info.ns = next();
    info.resource = next();
    info.name = next();
    info.subresource = next();
  } else {
    info.name = next();
    info.subresource = next();
    if (info.resource == "namespaces") info.ns = info.name;
  }
  if (at < parts.size() && info.subresource != "proxy") info.subresource = "?";  // deeper than any path that is served
  info.verb = verbOf(request, info, watchPrefix);
  info.kind = api::findKind(info.group, info.version, info.resource);
  return info;
}

auth::Attributes attributesOf(const RequestInfo& info, const http::Request& request, auth::User user) {
  auth::Attributes attributes{.user = std::move(user), .verb = info.verb};
  attributes.resourceRequest = info.isResource;
  attributes.path = info.path;
  if (!info.isResource) return attributes;
  attributes.group = info.group;
  attributes.version = info.version;
  attributes.resource = info.resource;
  attributes.subresource = info.subresource;
  attributes.ns = info.ns;
  attributes.name = info.name;
  attributes.fieldSelector = request.parameter("fieldSelector").value_or("");
  if (attributes.name.empty()) attributes.name = selectedName(attributes.fieldSelector);
  return attributes;
}

std::string selectedName(const std::string& fieldSelector) {
  constexpr std::string_view kName = "metadata.name=";
  if (!fieldSelector.starts_with(kName) || fieldSelector.find(',') != std::string::npos) return {};
  return fieldSelector.substr(kName.size());
}

}  // namespace podpass::server
