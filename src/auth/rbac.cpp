#include "auth/rbac.h"

#include <algorithm>
#include <set>

#include "api/selector.h"
#include "base/text.h"

namespace podpass::auth {
namespace {

constexpr std::string_view kGroup = "rbac.authorization.k8s.io";

bool has(const std::vector<std::string>& all, std::string_view one) { return std::find(all.begin(), all.end(), one) != all.end(); }
bool hasOrStar(const std::vector<std::string>& all, std::string_view one) { return has(all, one) || has(all, "*"); }

// "pods/log" is granted by itself, by "*" and by "*/log"; not by "pods".
bool resourceIn(const std::vector<std::string>& granted, const Attributes& asked) {
  for (const std::string& resource : granted) {
    if (resource == "*") return true;
    if (asked.subresource.empty() ? resource == asked.resource : resource == asked.resource + "/" + asked.subresource) return true;
    if (!asked.subresource.empty() && resource.starts_with("*/") && std::string_view(resource).substr(2) == asked.subresource) return true;
  }
  return false;
}

bool pathIn(const std::vector<std::string>& granted, std::string_view path) {
  for (std::string_view each : granted) {
    if (each == "*" || each == path) return true;
    if (each.ends_with('*') && path.starts_with(each.substr(0, each.find_last_not_of('*') + 1))) return true;
  }
  return false;
}

std::vector<std::string> textsAt(const json::object& object, std::string_view name) {
  std::vector<std::string> texts;
  if (const json::array* values = arrayAt(object, {name}))
    for (const json::value& value : *values)
      if (value.is_string()) texts.emplace_back(value.get_string());
  return texts;
}

std::vector<DocumentPtr> listOf(const ObjectReader& objects, std::string_view plural) {
  const api::Kind* kind = api::findKind(kGroup, "v1", plural);
  return kind != nullptr ? objects.list(*kind, "") : std::vector<DocumentPtr>();
}

const json::array* aggregationOf(const json::object& role) { return arrayAt(role, {"aggregationRule", "clusterRoleSelectors"}); }

// Appends the role's own rules and, through its aggregationRule, those of the roles that it selects; `seen` ends circles.
void collect(const std::vector<DocumentPtr>& clusterRoles, const Document& role, std::set<std::string_view>& seen, Rules& into) {
  if (!seen.insert(textAt(role.value, {"metadata", "name"})).second) return;
  const json::array* selectors = aggregationOf(role.value);
  // a fully aggregated role's own `rules` are only a copy of what it selected some time ago
  if (selectors == nullptr) {
    Rules own = parseRules(arrayAt(role.value, {"rules"}));
    std::move(own.begin(), own.end(), std::back_inserter(into));
    return;
  }
  for (const json::value& each : *selectors) {
    const Result<api::LabelSelector> selector = api::LabelSelector::fromObject(each.if_object());
    if (!selector) continue;
    for (const DocumentPtr& other : clusterRoles)
      if (selector->matches(other->value)) collect(clusterRoles, *other, seen, into);
  }
}

Rules aggregated(const std::vector<DocumentPtr>& clusterRoles, const Document& role) {
  std::set<std::string_view> seen;
  Rules rules;
  collect(clusterRoles, role, seen, rules);
  return rules;
}

std::string notFoundText(std::string_view kind, std::string_view name) {
  return (kind == "Role" ? "role." : "clusterrole.") + std::string(kGroup) + " " + podpass::quoted(name) + " not found";
}

// The key under which askers find the subject; "" for a subject that nobody can be.
std::string keyOf(const json::object& subject, const std::string& bindingNs) {
  const std::string kind(textAt(subject, {"kind"})), name(textAt(subject, {"name"}));
  if (kind == "User" || kind == "Group") return kind + " " + name;
  if (kind != "ServiceAccount") return {};
  std::string ns(textAt(subject, {"namespace"}));
  if (ns.empty()) ns = bindingNs;
  return ns.empty() ? std::string() : "User system:serviceaccount:" + ns + ":" + name;
}

std::string describe(const json::object& binding, const json::object& subject, const std::string& ns) {
  const std::string_view name = textAt(binding, {"metadata", "name"});
  std::string text =
      ns.empty() ? "ClusterRoleBinding " + podpass::quoted(name) : "RoleBinding " + podpass::quoted(std::string(name) + "/" + ns);
  text += " of " + std::string(textAt(binding, {"roleRef", "kind"})) + " " + podpass::quoted(textAt(binding, {"roleRef", "name"})) + " to ";
  const std::string kind(textAt(subject, {"kind"})), who(textAt(subject, {"name"}));
  if (kind != "ServiceAccount") return text + kind + " " + podpass::quoted(who);
  const std::string_view own = textAt(subject, {"namespace"});
  return text + kind + " " + podpass::quoted(who + "/" + (own.empty() ? ns : std::string(own)));
}

}  // namespace

bool Rule::allows(const Attributes& asked) const {
  if (!hasOrStar(verbs, asked.verb)) return false;
  if (!asked.resourceRequest) return pathIn(paths, asked.path);
  return hasOrStar(groups, asked.group) && resourceIn(resources, asked) && (names.empty() || has(names, asked.name));
}

Rules parseRules(const json::array* array) {
  Rules rules;
  if (array == nullptr) return rules;
  for (const json::value& value : *array) {
    const json::object* rule = value.if_object();
    if (rule == nullptr) continue;
    rules.push_back(Rule{textsAt(*rule, "verbs"), textsAt(*rule, "apiGroups"), textsAt(*rule, "resources"), textsAt(*rule, "resourceNames"),
                         textsAt(*rule, "nonResourceURLs")});
  }
  return rules;
}

Result<Rules> rulesOf(const ObjectReader& objects, std::string_view kind, const std::string& ns, const std::string& name) {
  const bool namespaced = kind == "Role";
  const api::Kind* schema = api::findKind(kGroup, "v1", namespaced ? "roles" : "clusterroles");
  const DocumentPtr role = schema != nullptr ? objects.get(*schema, namespaced ? ns : "", name) : nullptr;
  if (!role) {
    return Error{.reason = Reason::NotFound,
                 .sentence = notFoundText(kind, name),
                 .about = Subject{std::string(kGroup), namespaced ? "role" : "clusterrole", name}};
  }
  if (namespaced || aggregationOf(role->value) == nullptr) return parseRules(arrayAt(role->value, {"rules"}));
  return aggregated(listOf(objects, "clusterroles"), *role);
}

std::shared_ptr<const RuleBook> RuleBook::compile(const ObjectReader& objects) {
  auto book = std::make_shared<RuleBook>();
  std::map<std::string, std::shared_ptr<const Rules>, std::less<>> clusterRoles, roles;
  const std::vector<DocumentPtr> clusterRoleList = listOf(objects, "clusterroles");
  for (const DocumentPtr& role : clusterRoleList)
    clusterRoles[std::string(textAt(role->value, {"metadata", "name"}))] =
        std::make_shared<const Rules>(aggregated(clusterRoleList, *role));
  for (const DocumentPtr& role : listOf(objects, "roles")) {
    const std::string name(textAt(role->value, {"metadata", "name"}));
    roles[std::string(textAt(role->value, {"metadata", "namespace"})) + "/" + name] =
        std::make_shared<const Rules>(parseRules(arrayAt(role->value, {"rules"})));
  }
  std::size_t order = 0;
  for (const char* plural : {"clusterrolebindings", "rolebindings"}) {
    for (const DocumentPtr& binding : listOf(objects, plural)) {
      const std::string ns(textAt(binding->value, {"metadata", "namespace"}));
      const std::string kind(textAt(binding->value, {"roleRef", "kind"})), name(textAt(binding->value, {"roleRef", "name"}));
      const bool namespaced = kind == "Role";
      const auto& known = namespaced ? roles : clusterRoles;
      const auto found = known.find(namespaced ? ns + "/" + name : name);
      const json::array* subjects = arrayAt(binding->value, {"subjects"});
      if (subjects == nullptr) continue;
      for (const json::value& value : *subjects) {
        const json::object* subject = value.if_object();
        const std::string key = subject != nullptr ? keyOf(*subject, ns) : std::string();
        if (key.empty()) continue;
        Grant grant{.order = ++order, .ns = ns, .why = describe(binding->value, *subject, ns)};
        if (found != known.end())
          grant.rules = found->second;
        else
          grant.missing = notFoundText(kind, name);
        book->bySubject_[key].push_back(std::move(grant));
      }
    }
  }
  return book;
}

std::vector<const RuleBook::Grant*> RuleBook::grantsFor(const User& user, const std::string& ns) const {
  std::vector<const Grant*> grants;
  const auto take = [&](const std::string& subject) {
    const auto found = bySubject_.find(subject);
    if (found == bySubject_.end()) return;
    for (const Grant& grant : found->second)
      if (grant.ns.empty() || grant.ns == ns) grants.push_back(&grant);
  };
  take("User " + user.name);
  for (const std::string& group : user.groups) take("Group " + group);
  std::sort(grants.begin(), grants.end(), [](const Grant* a, const Grant* b) { return a->order < b->order; });
  return grants;
}

Decision RuleBook::authorize(const Attributes& attributes) const {
  std::vector<std::string> problems;
  for (const Grant* grant : grantsFor(attributes.user, attributes.resourceRequest ? attributes.ns : std::string())) {
    if (!grant->rules) {
      if (!has(problems, grant->missing)) problems.push_back(grant->missing);
      continue;
    }
    for (const Rule& rule : *grant->rules)
      if (rule.allows(attributes)) return {true, "RBAC: allowed by " + grant->why};
  }
  if (problems.empty()) return {};
  if (problems.size() == 1) return {false, "RBAC: " + problems.front()};
  std::string reason = "RBAC: [";
  for (const std::string& problem : problems) reason += (&problem == &problems.front() ? "" : ", ") + problem;
  return {false, reason + "]"};
}

std::vector<const Rule*> RuleBook::rulesFor(const User& user, const std::string& ns) const {
  std::vector<const Rule*> rules;
  for (const Grant* grant : grantsFor(user, ns))
    if (grant->rules)
      for (const Rule& rule : *grant->rules) rules.push_back(&rule);
  return rules;
}

}  // namespace podpass::auth
