#include "api/causes.h"
#include "api/codec.h"
#include "api/fields.h"
#include "api/kinds.h"

namespace podpass::api {
namespace {

constexpr std::string_view kGroup = "rbac.authorization.k8s.io";

Fields policyRule() {
  return {texts("apiGroups", 2, "The API groups that contain the resources; \"\" is the core group, * all."),
          texts("nonResourceURLs", 5, "URL paths the user may access; * only as the last step of the path."),
          texts("resourceNames", 4, "White list of names; an empty set means that everything is allowed."),
          texts("resources", 3, "The resources this rule applies to, * for all."),
          required(texts("verbs", 1, "The verbs that apply to the resources, * for all."))};
}

Fields subject() {
  return {required(oneOf({"ServiceAccount", "User", "Group"}, text("kind", 1, "User, Group or ServiceAccount."))),
          text("apiGroup", 2, "Defaults to \"\" for ServiceAccount and to rbac.authorization.k8s.io for the others."),
          required(text("name", 3, "Name of the subject.")), text("namespace", 4, "Namespace of a service account.")};
}

Fields roleReference(std::vector<std::string_view> kinds) {
  return {byDefault(R"("rbac.authorization.k8s.io")", oneOf({kGroup}, text("apiGroup", 1, "The group of the role."))),
          required(oneOf(std::move(kinds), text("kind", 2, "Role or ClusterRole."))), required(text("name", 3, "The name of the role."))};
}

// ---- rules

void validateRules(const json::object& role, bool namespaced, Causes& causes) {
  const json::array* rules = arrayAt(role, {"rules"});
  if (rules == nullptr) return;
  const auto empty = [](const json::object& rule, std::string_view name) {
    const json::array* values = arrayAt(rule, {name});
    return values == nullptr || values->empty();
  };
  for (std::size_t i = 0; i < rules->size(); ++i) {
    const json::object* rule = (*rules)[i].if_object();
    if (rule == nullptr) continue;
    const std::string path = at("rules", i);
    const bool resources = !empty(*rule, "apiGroups") || !empty(*rule, "resources") || !empty(*rule, "resourceNames");
    if (!empty(*rule, "nonResourceURLs")) {
      const json::array& urls = *arrayAt(*rule, {"nonResourceURLs"});
      if (namespaced) causes.push_back(invalidJson(path + ".nonResourceURLs", urls, "namespaced rules cannot apply to non-resource URLs"));
      if (resources)
        causes.push_back(
            invalidJson(path + ".nonResourceURLs", urls, "rules cannot apply to both regular resources and non-resource URLs"));
      continue;
    }
    if (empty(*rule, "apiGroups"))
      causes.push_back(requiredValue(path + ".apiGroups", "resource rules must supply at least one api group"));
    if (empty(*rule, "resources")) causes.push_back(requiredValue(path + ".resources", "resource rules must supply at least one resource"));
  }
}

// Upstream says "verbs must contain at least one value" where others say nothing.
void nameMissingVerbs(Causes& causes) {
  for (Cause& cause : causes)
    if (cause.field.starts_with("rules[") && cause.field.ends_with(".verbs"))
      cause.message = "Required value: verbs must contain at least one value";
}

Kind roleLike(std::string_view name, std::string_view plural, std::string_view singular, bool namespaced) {
  Kind kind;
  kind.group = kGroup;
  kind.version = "v1";
  kind.kind = name;
  kind.plural = plural;
  kind.singular = singular;
  kind.namespaced = namespaced;
  kind.nameProblem = pathSegmentProblem;
  return kind;
}

std::function<void(const json::object&, Causes&)> rulesOf(bool namespaced) {
  return [namespaced](const json::object& role, Causes& causes) {
    nameMissingVerbs(causes);
    validateRules(role, namespaced, causes);
  };
}

// ---- bindings

std::string_view groupFor(std::string_view subjectKind) { return subjectKind == "ServiceAccount" ? std::string_view{} : kGroup; }

void defaultSubjects(json::object& binding) {
  json::value* subjects = binding.if_contains("subjects");
  if (subjects == nullptr || !subjects->is_array()) return;
  for (json::value& each : subjects->get_array()) {
    json::object* subject = each.if_object();
    if (subject == nullptr || !textAt(*subject, {"apiGroup"}).empty()) continue;
    if (const std::string_view group = groupFor(textAt(*subject, {"kind"})); !group.empty() && !textAt(*subject, {"kind"}).empty())
      (*subject)["apiGroup"] = group;
  }
}

void validateSubjects(const json::object& binding, bool namespaced, Causes& causes) {
  const json::array* subjects = arrayAt(binding, {"subjects"});
  if (subjects == nullptr) return;
  for (std::size_t i = 0; i < subjects->size(); ++i) {
    const json::object* subject = (*subjects)[i].if_object();
    if (subject == nullptr) continue;
    const std::string path = at("subjects", i);
    const std::string_view kind = textAt(*subject, {"kind"}), name = textAt(*subject, {"name"}), group = textAt(*subject, {"apiGroup"});
    if (kind != "ServiceAccount" && kind != "User" && kind != "Group") continue;
    if (group != groupFor(kind)) causes.push_back(unsupported(path + ".apiGroup", group, {groupFor(kind)}));
    if (kind != "ServiceAccount") continue;
    if (const std::string_view problem = subdomainProblem(name); !name.empty() && !problem.empty())
      causes.push_back(invalidText(path + ".name", name, problem));
    if (!namespaced && textAt(*subject, {"namespace"}).empty()) causes.push_back(requiredValue(path + ".namespace"));
  }
}

std::function<void(const json::object&, Causes&)> subjectsOf(bool namespaced) {
  return [namespaced](const json::object& binding, Causes& causes) { validateSubjects(binding, namespaced, causes); };
}

void keepRole(const json::object& now, const json::object& before, Causes& causes) {
  const json::object* mine = objectAt(now, {"roleRef"});
  const json::object* old = objectAt(before, {"roleRef"});
  if (mine != nullptr && old != nullptr && *mine != *old) causes.push_back(invalidJson("roleRef", *mine, "cannot change roleRef"));
}

Column subjectsColumn(std::string_view name, std::string_view kind) {
  return {.name = name, .priority = 1, .cell = [kind](const json::object& binding, WallTime) {
            std::string text;
            if (const json::array* subjects = arrayAt(binding, {"subjects"})) {
              for (const json::value& each : *subjects) {
                const json::object* subject = each.if_object();
                if (subject == nullptr || textAt(*subject, {"kind"}) != kind) continue;
                if (!text.empty()) text += ", ";
                if (kind == "ServiceAccount") text += std::string(textAt(*subject, {"namespace"})) + "/";
                text += textAt(*subject, {"name"});
              }
            }
            return json::value(text);
          }};
}

std::vector<Column> bindingColumns() {
  Column role{
      .name = "Role", .cell = [](const json::object& binding, WallTime) {
        return json::value(std::string(textAt(binding, {"roleRef", "kind"})) + "/" + std::string(textAt(binding, {"roleRef", "name"})));
      }};
  return {std::move(role), ageColumn(), subjectsColumn("Users", "User"), subjectsColumn("Groups", "Group"),
          subjectsColumn("ServiceAccounts", "ServiceAccount")};
}

Fields bindingFields(std::vector<std::string_view> roles) {
  return {list("subjects", 2, subject(), "The objects the role applies to."),
          required(atomic(object("roleRef", 3, roleReference(std::move(roles)), "The role that is granted. Immutable.")))};
}

}  // namespace

const Kind& roleKind() {
  static const Kind kind = [] {
    Kind role = roleLike("Role", "roles", "role", true);
    role.doc = "Role is a namespaced, logical grouping of PolicyRules.";
    role.definition = "io.k8s.api.rbac.v1.Role";
    role.fields = {list("rules", 2, policyRule(), "All the PolicyRules for this Role.")};
    role.validate = rulesOf(true);
    return role;
  }();
  return kind;
}

const Kind& clusterRoleKind() {
  static const Kind kind = [] {
    Kind role = roleLike("ClusterRole", "clusterroles", "clusterrole", false);
    role.doc = "ClusterRole is a cluster level, logical grouping of PolicyRules.";
    role.definition = "io.k8s.api.rbac.v1.ClusterRole";
    role.fields = {list("rules", 2, policyRule(), "All the PolicyRules for this ClusterRole."),
                   object("aggregationRule", 3, {list("clusterRoleSelectors", 1, labelSelector(), "Selectors that find ClusterRoles.")},
                          "How the rules of this ClusterRole are built from others.")};
    role.validate = rulesOf(false);
    return role;
  }();
  return kind;
}

const Kind& roleBindingKind() {
  static const Kind kind = [] {
    Kind binding = roleLike("RoleBinding", "rolebindings", "rolebinding", true);
    binding.doc = "RoleBinding grants the permissions of a role, within its namespace, to subjects.";
    binding.definition = "io.k8s.api.rbac.v1.RoleBinding";
    binding.fields = bindingFields({"Role", "ClusterRole"});
    binding.columns = bindingColumns();
    binding.defaults = defaultSubjects;
    binding.validate = subjectsOf(true);
    binding.validateUpdate = keepRole;
    return binding;
  }();
  return kind;
}

const Kind& clusterRoleBindingKind() {
  static const Kind kind = [] {
    Kind binding = roleLike("ClusterRoleBinding", "clusterrolebindings", "clusterrolebinding", false);
    binding.doc = "ClusterRoleBinding grants the permissions of a ClusterRole to subjects in all namespaces.";
    binding.definition = "io.k8s.api.rbac.v1.ClusterRoleBinding";
    binding.fields = bindingFields({"ClusterRole"});
    binding.columns = bindingColumns();
    binding.defaults = defaultSubjects;
    binding.validate = subjectsOf(false);
    binding.validateUpdate = keepRole;
    return binding;
  }();
  return kind;
}

}  // namespace podpass::api
