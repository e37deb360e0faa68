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

}  // namespace podpass::server
