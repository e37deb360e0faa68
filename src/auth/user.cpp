#include "auth/user.h"

#include <algorithm>

namespace podpass::auth {

bool User::in(std::string_view group) const { return std::find(groups.begin(), groups.end(), group) != groups.end(); }

json::object toJson(const User& user) {
  json::object object{{"username", user.name}};
  if (!user.uid.empty()) object["uid"] = user.uid;
  if (!user.groups.empty()) object["groups"] = json::array(user.groups.begin(), user.groups.end());
  if (user.extra.empty()) return object;
  json::object extra;
  for (const auto& [key, values] : user.extra) extra[key] = json::array(values.begin(), values.end());
  object["extra"] = std::move(extra);
  return object;
}

}  // namespace podpass::auth
