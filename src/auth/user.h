#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/document.h"

namespace podpass::auth {

// Who asks (authentication.k8s.io/v1 UserInfo).
struct User {
  std::string name;
  std::string uid = {};
  std::vector<std::string> groups = {};
  std::map<std::string, std::vector<std::string>> extra = {};
  [[nodiscard]] bool in(std::string_view group) const;
};
json::object toJson(const User& user);  // {username, uid?, groups?, extra?}

// What is asked (authorization.k8s.io attributes).
struct Attributes {
  User user;
  std::string verb = {};
  bool resourceRequest = true;
  std::string group = {}, version = {}, resource = {}, subresource = {}, ns = {}, name = {};
  std::string path = {};           // for non-resource requests
  std::string fieldSelector = {};  // raw; the node authorizer reads spec.nodeName from it
};

struct Decision {
  bool allowed = false;
  std::string reason = {};  // for allowed: RBAC: allowed by …; for refused: text after the 403's ": ", may be empty
};

}  // namespace podpass::auth
