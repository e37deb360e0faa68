#include <algorithm>
#include <set>

#include "auth/authorizer.h"
#include "auth/rbac.h"
#include "base/text.h"

// Nobody gives away rights that they do not have (kubernetes pkg/registry/rbac/validation/rule.go and its policybased stores).
namespace podpass::auth {
namespace {

constexpr std::string_view kGroup = "rbac.authorization.k8s.io";

bool has(const std::vector<std::string>& all, std::string_view one) { return std::find(all.begin(), all.end(), one) != all.end(); }

// Go's %q of a list of strings: ["a" "b"].
std::string show(const std::vector<std::string>& texts) {
  std::string shown = "[";
  for (const std::string& text : texts) shown += (shown.size() > 1 ? " " : "") + podpass::quoted(text);
  return shown + "]";
}

std::string show(const Rule& rule) {
  std::string shown = "{";
  const auto add = [&](const char* name, const std::vector<std::string>& texts) {
    if (!texts.empty()) shown += (shown.size() > 1 ? ", " : "") + std::string(name) + ":" + show(texts);
  };
  add("APIGroups", rule.groups);
  add("Resources", rule.resources);
  add("NonResourceURLs", rule.paths);
  add("ResourceNames", rule.names);
  add("Verbs", rule.verbs);
  return shown + "}";
}

// One verb on one resource (or path, or named object) each: a list of rules may cover in parts what no rule covers whole.
Rules breakDown(const Rules& rules) {
  Rules parts;
  for (const Rule& rule : rules) {
    for (const std::string& verb : rule.verbs) {
      for (const std::string& group : rule.groups)
        for (const std::string& resource : rule.resources) {
          if (rule.names.empty()) parts.push_back(Rule{{verb}, {group}, {resource}});
          for (const std::string& name : rule.names) parts.push_back(Rule{{verb}, {group}, {resource}, {name}});
        }
      for (const std::string& path : rule.paths) parts.push_back(Rule{.verbs = {verb}, .paths = {path}});
    }
  }
  return parts;
}

bool coversPath(const std::vector<std::string>& held, std::string_view path) {
  for (std::string_view each : held)
    if (each == "*" || each == path || (each.ends_with('*') && path.starts_with(each.substr(0, each.find_last_not_of('*') + 1))))
      return true;
  return false;
}

bool coversResource(const std::vector<std::string>& held, const std::string& resource) {
  if (has(held, "*") || has(held, resource)) return true;
  const std::size_t slash = resource.find('/');
  return slash != std::string::npos && has(held, "*" + resource.substr(slash));
}

bool covers(const Rule& held, const Rule& part) {
  if (!has(held.verbs, "*") && !has(held.verbs, part.verbs[0])) return false;
  if (!part.paths.empty()) return coversPath(held.paths, part.paths[0]);
  if (!has(held.groups, "*") && !has(held.groups, part.groups[0])) return false;
  if (!coversResource(held.resources, part.resources[0])) return false;
  return held.names.empty() || (!part.names.empty() && has(held.names, part.names[0]));
}

// Verbs on the same thing in one rule, as kubectl users know the message.
Rules compact(const Rules& parts) {
  Rules rules;
  for (const Rule& part : parts) {
    const auto same = [&](const Rule& rule) {
      return part.paths.empty() && rule.paths.empty() && rule.groups == part.groups && rule.resources == part.resources &&
             rule.names == part.names;
    };
    const auto found = std::find_if(rules.begin(), rules.end(), same);
    if (found == rules.end())
      rules.push_back(part);
    else if (!has(found->verbs, part.verbs[0]))
      found->verbs.push_back(part.verbs[0]);
  }
  return rules;
}

Rules heldBy(const Authorizer& authorizer, const User& user, const std::string& ns) {
  const json::object status = authorizer.rulesFor(user, ns);
  Rules rules = parseRules(arrayAt(status, {"resourceRules"}));
  Rules paths = parseRules(arrayAt(status, {"nonResourceRules"}));
  std::move(paths.begin(), paths.end(), std::back_inserter(rules));
  return rules;
}

// "" when the user holds all of `granted`; otherwise Kubernetes' sentence.
std::string missingRights(const Authorizer& authorizer, const User& user, const std::string& ns, const Rules& granted) {
  const Rules held = heldBy(authorizer, user, ns);
  Rules missing;
  for (Rule& part : breakDown(granted)) {
    const auto covering = [&](const Rule& rule) { return covers(rule, part); };
    if (std::none_of(held.begin(), held.end(), covering)) missing.push_back(std::move(part));
  }
  if (missing.empty()) return {};
  std::set<std::string> lines;
  for (const Rule& rule : compact(missing)) lines.insert(show(rule));
  std::string text = "user " + podpass::quoted(user.name) + " (groups=" + show(user.groups) +
                     ") is attempting to grant RBAC permissions not currently held:";
  for (const std::string& line : lines) text += "\n" + line;
  return text;
}

bool may(const Authorizer& authorizer, const User& user, std::string verb, std::string resource, const std::string& ns,
         const std::string& name) {
  Attributes asked{.user = user, .verb = std::move(verb)};
  asked.group = kGroup;
  asked.version = "v1";
  asked.resource = std::move(resource);
  asked.ns = ns;
  asked.name = name;
  return authorizer.authorize(asked).allowed;
}

Error refusal(const api::Kind& kind, const std::string& name, const std::string& why) {
  const std::string object = kind.qualifiedPlural() + (name.empty() ? "" : " " + podpass::quoted(name));
  return Error{.reason = Reason::Forbidden,
               .sentence = object + " is forbidden: " + why,
               .about = Subject{std::string(kind.group), std::string(kind.plural), name}};
}

}  // namespace

Result<void> checkEscalation(const Authorizer& authorizer, const ObjectReader& objects, const User& user, const api::Kind& kind,
                             const json::object& object) {
  if (kind.group != kGroup || user.in("system:masters")) return {};
  const std::string ns(kind.namespaced ? textAt(object, {"metadata", "namespace"}) : "");
  const std::string name(textAt(object, {"metadata", "name"}));

  if (kind.plural == "roles" || kind.plural == "clusterroles") {
    if (may(authorizer, user, "escalate", std::string(kind.plural), ns, name)) return {};
    if (std::string why = missingRights(authorizer, user, ns, parseRules(arrayAt(object, {"rules"}))); !why.empty())
      return refusal(kind, name, why);
    // what an aggregated role will grant is not known yet: only who has everything may make one
    const Rules everything{{{"*"}, {"*"}, {"*"}}, {.verbs = {"*"}, .paths = {"*"}}};
    if (arrayAt(object, {"aggregationRule", "clusterRoleSelectors"}) != nullptr && !missingRights(authorizer, user, ns, everything).empty())
      return refusal(kind, name, "must have cluster-admin privileges to use the aggregationRule");
    return {};
  }
  if (kind.plural != "rolebindings" && kind.plural != "clusterrolebindings") return {};

  const std::string roleKind(textAt(object, {"roleRef", "kind"})), role(textAt(object, {"roleRef", "name"}));
  if (may(authorizer, user, "bind", roleKind == "Role" ? "roles" : "clusterroles", ns, role)) return {};
  const Result<Rules> granted = rulesOf(objects, roleKind, ns, role);
  if (!granted) return granted.error();
  if (std::string why = missingRights(authorizer, user, ns, *granted); !why.empty()) return refusal(kind, name, why);
  return {};
}

}  // namespace podpass::auth
