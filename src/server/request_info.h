#pragma once

#include <string>

#include "api/kind.h"
#include "auth/user.h"
#include "http/http.h"

namespace podpass::server {

// What a URL and a method ask for (apiserver's RequestInfo; spec api.md §1.1).
struct RequestInfo {
  bool isResource = false;
  std::string verb;  // get list watch create update patch delete deletecollection; the lower-case method for other paths
  std::string group, version, resource, subresource, ns, name;
  const api::Kind* kind = nullptr;  // null: the group version serves no such resource
  std::string path;
};

RequestInfo parseRequest(const http::Request& request);
auth::Attributes attributesOf(const RequestInfo& info, const http::Request& request, auth::User user);

// Go's strconv.ParseBool; nullopt for anything else.
std::optional<bool> parseBool(std::string_view text);

// The name of the one object that a field selector leaves, else "": a list or watch of exactly one named object may be granted by
// resourceNames, and to the nodes that refer to it (spec api.md §5).
std::string selectedName(const std::string& fieldSelector);

}  // namespace podpass::server
