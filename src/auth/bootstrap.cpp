#include <algorithm>
#include <string_view>

#include "auth/authorizer.h"
#include "auth/rbac.h"

// The roles and bindings that every cluster has (kubernetes plugin/pkg/auth/authorizer/rbac/bootstrappolicy), as far as podpass has the
// kinds that they speak of.
namespace podpass::auth {
namespace {

constexpr std::string_view kApiVersion = "rbac.authorization.k8s.io/v1";
constexpr std::string_view kAggregateTo = "rbac.authorization.k8s.io/aggregate-to-";

// A rule in words separated by blanks; the group "core" is the empty one. With `groups` empty, `what` are non-resource URLs.
struct Grant {
  std::string_view verbs;
  std::string_view groups;
  std::string_view what;
  std::string_view names = {};
};

struct Role {
  std::string_view name;
  std::vector<Grant> grants = {};
  std::string_view aggregateTo = {};  // "edit": part of that role
  std::string_view aggregates = {};   // "edit": made of the roles marked so
};

struct Binding {
  std::string_view name;
  std::string_view role;
  std::string_view kind;      // of the one or two subjects
  std::string_view subjects;  // words; service accounts live in kube-system
};

constexpr std::string_view kRead = "get list watch";
constexpr std::string_view kWrite = "create delete deletecollection patch update";
constexpr std::string_view kPublicPaths = "/healthz /livez /readyz /version /version/";

const std::vector<Role>& roles() {
  static const std::vector<Role> all{
      {"cluster-admin", {{"*", "*", "*"}, {"*", "", "*"}}},
      {"system:discovery", {{"get", "", "/api /api/* /apis /apis/* /healthz /livez /openapi /openapi/* /readyz /version /version/"}}},
      {"system:public-info-viewer", {{"get", "", kPublicPaths}}},
      {"system:monitoring", {{"get", "", "/healthz /healthz/* /livez /livez/* /metrics /metrics/slis /readyz /readyz/*"}}},
      {"system:basic-user",
       {{"create", "authorization.k8s.io", "selfsubjectaccessreviews selfsubjectrulesreviews"},
        {"create", "authentication.k8s.io", "selfsubjectreviews"}}},
      {"system:service-account-issuer-discovery",
       {{"get", "",
         "/.well-known/openid-configuration /.well-known/openid-configuration/ /openid/v1/jwks /openid/v1/jwks/ "
         "/openid/v1/revocations"}}},
      {"system:auth-delegator",
       {{"create", "authentication.k8s.io", "tokenreviews"}, {"create", "authorization.k8s.io", "subjectaccessreviews"}}},
      {"admin", {}, {}, "admin"},
      {"edit", {}, "admin", "edit"},
      {"view", {}, "edit", "view"},
      {"system:aggregate-to-admin",
       {{"create", "authorization.k8s.io", "localsubjectaccessreviews"},
        {"create delete deletecollection get list patch update watch", "rbac.authorization.k8s.io", "rolebindings roles"}},
       "admin"},
      {"system:aggregate-to-edit",
       {{kRead, "core", "pods/attach pods/exec pods/portforward pods/proxy secrets services/proxy"},
        {"impersonate", "core", "serviceaccounts"},
        {kWrite, "core", "pods pods/attach pods/exec pods/portforward pods/proxy"},
        {"create", "core", "pods/eviction"},
        {kWrite, "core", "configmaps events secrets serviceaccounts services services/proxy"},
        {"create", "core", "serviceaccounts/token"},
        {"create delete deletecollection get list patch update watch", "coordination.k8s.io", "leases"}},
       "edit"},
      {"system:aggregate-to-view",
       {{kRead, "core", "configmaps pods serviceaccounts services services/status"},
        {kRead, "core", "events namespaces/status pods/log pods/status"},
        {kRead, "core", "namespaces"}},
       "view"},
      {"system:node",
       {{"create", "authentication.k8s.io", "tokenreviews"},
        {"create", "authorization.k8s.io", "localsubjectaccessreviews subjectaccessreviews"},
        {kRead, "core", "services"},
        {"create get list watch", "core", "nodes"},
        {"patch update", "core", "nodes/status"},
        {"patch update", "core", "nodes"},
        {"create patch update", "core", "events"},
        {kRead, "core", "pods"},
        {"create delete", "core", "pods"},
        {"patch update", "core", "pods/status"},
        {"create", "core", "pods/eviction"},
        {kRead, "core", "configmaps secrets"},
        {"create", "core", "serviceaccounts/token"},
        {"create delete get patch update", "coordination.k8s.io", "leases"},
        {"create patch update", "events.k8s.io", "events"}}},
      {"system:kube-scheduler",
       {{"create patch update", "core events.k8s.io", "events"},
        {"create", "coordination.k8s.io", "leases"},
        {"get list update watch", "coordination.k8s.io", "leases", "kube-scheduler"},
        {kRead, "core", "nodes"},
        {"delete get list watch", "core", "pods"},
        {"create", "core", "bindings pods/binding"},
        {"patch update", "core", "pods/status"},
        {kRead, "core", "namespaces services"},
        {"create", "authentication.k8s.io", "tokenreviews"},
        {"create", "authorization.k8s.io", "subjectaccessreviews"}}},
      {"system:kube-controller-manager",
       {{"create patch update", "core events.k8s.io", "events"},
        {"create", "coordination.k8s.io", "leases"},
        {"get list update watch", "coordination.k8s.io", "leases", "kube-controller-manager"},
        {"create", "core", "secrets serviceaccounts"},
        {"delete", "core", "secrets"},
        {"get", "core", "configmaps namespaces secrets serviceaccounts"},
        {"update", "core", "secrets serviceaccounts"},
        {"create", "authentication.k8s.io", "tokenreviews"},
        {"create", "authorization.k8s.io", "subjectaccessreviews"},
        {"list watch", "*", "*"},
        {"create", "core", "serviceaccounts/token"}}},
      {"system:controller:service-account-controller",
       {{"create", "core", "serviceaccounts"}, {"create patch update", "core events.k8s.io", "events"}}},
      {"system:controller:root-ca-cert-publisher",
       {{"create update", "core", "configmaps"}, {"create patch update", "core events.k8s.io", "events"}}},
      {"system:controller:legacy-service-account-token-cleaner",
       {{"get", "core", "configmaps", "kube-apiserver-legacy-service-account-token-tracking"},
        {"delete patch", "core", "secrets"},
        {"create patch update", "core events.k8s.io", "events"}}},
      {"system:controller:namespace-controller",
       {{"delete get list watch", "core", "namespaces"},
        {"update", "core", "namespaces/finalize namespaces/status"},
        {"delete deletecollection get list", "*", "*"},
        {"create patch update", "core events.k8s.io", "events"}}},
      {"system:controller:generic-garbage-collector",
       {{"delete get list patch update watch", "*", "*"}, {"create patch update", "core events.k8s.io", "events"}}},
      {"system:controller:node-controller",
       {{"delete get list patch update watch", "core", "nodes"},
        {"patch update", "core", "nodes/status"},
        {"patch update", "core", "pods/status"},
        {"delete list", "core", "pods"},
        {"get list watch", "coordination.k8s.io", "leases"},
        {"create patch update", "core events.k8s.io", "events"}}},
      {"system:controller:clusterrole-aggregation-controller",
       {{"escalate get list patch update watch", "rbac.authorization.k8s.io", "clusterroles"}}},
  };
  return all;
}

const std::vector<Binding>& bindings() {
  static const std::vector<Binding> all{
      {"cluster-admin", "cluster-admin", "Group", "system:masters"},
      {"system:monitoring", "system:monitoring", "Group", "system:monitoring"},
      {"system:discovery", "system:discovery", "Group", "system:authenticated"},
      {"system:basic-user", "system:basic-user", "Group", "system:authenticated"},
      {"system:public-info-viewer", "system:public-info-viewer", "Group", "system:authenticated system:unauthenticated"},
      {"system:service-account-issuer-discovery", "system:service-account-issuer-discovery", "Group", "system:serviceaccounts"},
      {"system:node", "system:node", "", ""},  // nobody: the node authorizer evaluates it
      {"system:kube-controller-manager", "system:kube-controller-manager", "User", "system:kube-controller-manager"},
      {"system:kube-scheduler", "system:kube-scheduler", "User", "system:kube-scheduler"},
  };
  return all;
}

json::array words(std::string_view text) {
  json::array all;
  while (!text.empty()) {
    const std::string_view word = text.substr(0, text.find(' '));
    all.emplace_back(word == "core" ? std::string_view() : word);
    text.remove_prefix(std::min(word.size() + 1, text.size()));
  }
  return all;
}

json::object ruleOf(const Grant& grant) {
  json::object rule;
  if (grant.groups.empty()) {
    rule["nonResourceURLs"] = words(grant.what);
  } else {
    rule["apiGroups"] = words(grant.groups);
    rule["resources"] = words(grant.what);
    if (!grant.names.empty()) rule["resourceNames"] = words(grant.names);
  }
  rule["verbs"] = words(grant.verbs);
  return rule;
}

json::object metadataOf(std::string_view name) {
  json::object annotations{{"rbac.authorization.kubernetes.io/autoupdate", "true"}};
  json::object labels{{"kubernetes.io/bootstrapping", "rbac-defaults"}};
  return {{"annotations", std::move(annotations)}, {"labels", std::move(labels)}, {"name", name}};
}

// What an aggregated role shows in `rules`: what the aggregation controller would write there.
void appendGrants(std::string_view aggregates, json::array& rules) {
  for (const Role& role : roles()) {
    if (role.aggregateTo != aggregates) continue;
    for (const Grant& grant : role.grants) rules.push_back(ruleOf(grant));
    if (!role.aggregates.empty()) appendGrants(role.aggregates, rules);
  }
}

json::object objectOf(const Role& role) {
  json::object metadata = metadataOf(role.name);
  if (!role.aggregateTo.empty()) metadata["labels"].as_object()[std::string(kAggregateTo) + std::string(role.aggregateTo)] = "true";
  json::object object{{"apiVersion", kApiVersion}, {"kind", "ClusterRole"}, {"metadata", std::move(metadata)}};
  json::array rules;
  for (const Grant& grant : role.grants) rules.push_back(ruleOf(grant));
  if (!role.aggregates.empty()) {
    json::object labels;
    labels[std::string(kAggregateTo) + std::string(role.aggregates)] = "true";
    json::array selectors;
    selectors.push_back(json::object{{"matchLabels", std::move(labels)}});
    object["aggregationRule"] = json::object{{"clusterRoleSelectors", std::move(selectors)}};
    appendGrants(role.aggregates, rules);
  }
  object["rules"] = std::move(rules);
  return object;
}

json::object bindingOf(std::string_view name, std::string_view role, std::string_view kind, std::string_view names) {
  json::object roleRef{{"apiGroup", "rbac.authorization.k8s.io"}, {"kind", "ClusterRole"}, {"name", role}};
  json::object object{
      {"apiVersion", kApiVersion}, {"kind", "ClusterRoleBinding"}, {"metadata", metadataOf(name)}, {"roleRef", std::move(roleRef)}};
  json::array subjects;
  for (json::value& subject : words(names)) {
    json::object entry{{"kind", kind}, {"name", std::move(subject)}};
    if (kind == "ServiceAccount")
      entry["namespace"] = "kube-system";
    else
      entry["apiGroup"] = "rbac.authorization.k8s.io";
    subjects.push_back(std::move(entry));
  }
  if (!subjects.empty()) object["subjects"] = std::move(subjects);
  return object;
}

}  // namespace

std::vector<json::object> bootstrapRoles() {
  std::vector<json::object> objects;
  for (const Role& role : roles()) objects.push_back(objectOf(role));
  return objects;
}

std::vector<json::object> bootstrapBindings(bool anonymousIssuer) {
  std::vector<json::object> objects;
  for (const Binding& binding : bindings()) objects.push_back(bindingOf(binding.name, binding.role, binding.kind, binding.subjects));
  constexpr std::string_view kController = "system:controller:";
  for (const Role& role : roles())
    if (role.name.starts_with(kController))
      objects.push_back(bindingOf(role.name, role.name, "ServiceAccount", role.name.substr(kController.size())));
  // the name that guides for OIDC federation tell operators to use
  if (anonymousIssuer)
    objects.push_back(bindingOf("oidc-reviewer", "system:service-account-issuer-discovery", "Group", "system:unauthenticated"));
  return objects;
}

}  // namespace podpass::auth
