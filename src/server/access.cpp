#include "server/access.h"

#include "base/text.h"

namespace podpass::server {

Result<void> impersonate(const auth::Authorizer& authorizer, const http::Request& request, auth::User& user) {
  const std::string as(request.headers.find("impersonate-user"));
  const std::vector<std::string_view> groups = request.headers.findAll("impersonate-group");
  if (as.empty() && groups.empty()) return {};
  if (as.empty()) return Error{Reason::BadRequest, "requested impersonation of groups without impersonating a user"};
  const auto may = [&](const std::string& resource, const std::string& ns, const std::string& name) -> Result<void> {
    auth::Attributes attributes{.user = user, .verb = "impersonate"};
    attributes.resource = resource;
    attributes.ns = ns;
    attributes.name = name;
    if (authorizer.authorize(attributes).allowed) return {};
    return Error{.reason = Reason::Forbidden,
                 .sentence = resource + " " + quoted(name) + " is forbidden: User " + quoted(user.name) + " cannot impersonate resource " +
                             quoted(resource) + " in API group \"\"" +
                             (ns.empty() ? " at the cluster scope" : " in the namespace " + quoted(ns)),
                 .about = {"", resource, name, ""}};
  };
  auth::User next{.name = as};
  constexpr std::string_view kAccount = "system:serviceaccount:";
  if (as.starts_with(kAccount)) {
    const std::string rest = as.substr(kAccount.size());
    const std::size_t colon = rest.find(':');
    if (colon == std::string::npos) return Error{Reason::BadRequest, "not a service account: " + quoted(as)};
    if (Result<void> allowed = may("serviceaccounts", rest.substr(0, colon), rest.substr(colon + 1)); !allowed) return allowed;
    if (groups.empty()) next.groups = {"system:serviceaccounts", "system:serviceaccounts:" + rest.substr(0, colon)};
  } else if (Result<void> allowed = may("users", "", as); !allowed) {
    return allowed;
  }
  for (std::string_view group : groups) {
    if (Result<void> allowed = may("groups", "", std::string(group)); !allowed) return allowed;
    next.groups.emplace_back(group);
  }
  if (as != "system:anonymous") next.groups.emplace_back("system:authenticated");
  user = std::move(next);
  return {};
}

Error denied(const RequestInfo& info, const auth::User& user, const std::string& reason) {
  const std::string tail = reason.empty() ? "" : ": " + reason;
  if (!info.isResource)
    return Error{Reason::Forbidden, "forbidden: User " + quoted(user.name) + " cannot " + info.verb + " path " + quoted(info.path) + tail};
  const std::string where = info.ns.empty() || (info.kind != nullptr && !info.kind->namespaced) ? " at the cluster scope"
                                                                                                : " in the namespace " + quoted(info.ns);
  const std::string resource = info.subresource.empty() ? info.resource : info.resource + "/" + info.subresource;
  const std::string qualified = info.group.empty() ? info.resource : info.resource + "." + info.group;
  return Error{.reason = Reason::Forbidden,
               .sentence = qualified + (info.name.empty() ? "" : " " + quoted(info.name)) + " is forbidden: User " + quoted(user.name) +
                           " cannot " + info.verb + " resource " + quoted(resource) + " in API group " + quoted(info.group) + where + tail,
               .about = {info.group, info.resource, info.name, ""}};
}

}  // namespace podpass::server
