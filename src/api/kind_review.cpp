#include "api/fields.h"
#include "api/kinds.h"

namespace podpass::api {
namespace {

constexpr std::string_view kAuthentication = "authentication.k8s.io";
constexpr std::string_view kAuthorization = "authorization.k8s.io";

// A question: created, answered in its status, never stored.
Kind question(std::string_view group, std::string_view name, std::string_view plural, std::string_view singular,
              std::string_view definition, std::string_view doc) {
  Kind kind;
  kind.group = group;
  kind.version = "v1";
  kind.kind = name;
  kind.plural = plural;
  kind.singular = singular;
  kind.isVirtual = true;
  kind.doc = doc;
  kind.definition = definition;
  return kind;
}

Fields selectorRequirements() { return {text("key", 1), text("operator", 2), texts("values", 3)}; }

Field resourceAttributes() {
  return object(
      "resourceAttributes", 1,
      {text("namespace", 1, "Namespace of the action; \"\" for cluster-scoped resources, or all namespaces."),
       text("verb", 2, "A resource API verb, * for all."), text("group", 3, "The API group of the resource, * for all."),
       text("version", 4, "The API version of the resource, * for all."), text("resource", 5, "One of the resource types, * for all."),
       text("subresource", 6, "One of the subresources."), text("name", 7, "The name of the resource; \"\" means all."),
       object("fieldSelector", 8, {text("rawSelector", 1), list("requirements", 2, selectorRequirements())},
              "The limitation on access based on fields."),
       object("labelSelector", 9, {text("rawSelector", 1), list("requirements", 2, selectorRequirements())},
              "The limitation on access based on labels.")},
      "A request to access a resource.");
}

Field nonResourceAttributes() {
  return object("nonResourceAttributes", 2, {text("path", 1, "The URL path of the request."), text("verb", 2, "The HTTP verb.")},
                "A request to access something that is no resource.");
}

Field accessSpec() {
  return object("spec", 2,
                {resourceAttributes(), nonResourceAttributes(), text("user", 3, "The user you're testing for."),
                 texts("groups", 4, "The groups you're testing for."),
                 map("extra", 5, Type::List, "Corresponds to the user.Info.GetExtra()."), text("uid", 6, "UID of the requesting user.")},
                "The request being evaluated.");
}

Field accessStatus() {
  return object(
      "status", 3,
      {boolean("allowed", 1, "True if the action would be allowed."), text("reason", 2, "Why it was allowed or denied."),
       text("evaluationError", 3, "Some error occurred during the check."), flag("denied", 4, "True if the action would be denied.")},
      "Filled in by the server: whether the request is allowed or not.");
}

Field rulesStatus() {
  return object("status", 3,
                {list("resourceRules", 1, {texts("verbs", 1), texts("apiGroups", 2), texts("resources", 3), texts("resourceNames", 4)},
                      "The actions the subject is allowed to perform on resources."),
                 list("nonResourceRules", 2, {texts("verbs", 1), texts("nonResourceURLs", 2)},
                      "The actions the subject is allowed to perform on paths."),
                 boolean("incomplete", 3, "True when the rules returned by this call are incomplete."),
                 text("evaluationError", 4, "An error occurred during rule evaluation.")},
                "Filled in by the server: the set of actions a user can perform.");
}

}  // namespace

const Kind& tokenReviewKind() {
  static const Kind kind = [] {
    Kind review = question(kAuthentication, "TokenReview", "tokenreviews", "tokenreview", "io.k8s.api.authentication.v1.TokenReview",
                           "TokenReview attempts to authenticate a token to a known user.");
    review.fields = {
        object("spec", 2, {text("token", 1, "The opaque bearer token."), texts("audiences", 2, "Who the token must be for.")},
               "The request being evaluated."),
        object("status", 3,
               {flag("authenticated", 1, "The token was associated with a known user."),
                object("user", 2, userInfo(), "The user associated with the token."), text("error", 3, "The token could not be checked."),
                texts("audiences", 4, "Audiences compatible with both the review and the token.")},
               "Filled in by the server: whether the request can be authenticated.")};
    return review;
  }();
  return kind;
}

const Kind& selfSubjectReviewKind() {
  static const Kind kind = [] {
    Kind review = question(kAuthentication, "SelfSubjectReview", "selfsubjectreviews", "selfsubjectreview",
                           "io.k8s.api.authentication.v1.SelfSubjectReview", "SelfSubjectReview tells who the caller is to the server.");
    review.fields = {
        object("status", 2, {object("userInfo", 1, userInfo(), "User attributes of the caller.")}, "Filled in by the server.")};
    return review;
  }();
  return kind;
}

const Kind& subjectAccessReviewKind() {
  static const Kind kind = [] {
    Kind review =
        question(kAuthorization, "SubjectAccessReview", "subjectaccessreviews", "subjectaccessreview",
                 "io.k8s.api.authorization.v1.SubjectAccessReview", "SubjectAccessReview checks whether a user can perform an action.");
    review.fields = {accessSpec(), accessStatus()};
    return review;
  }();
  return kind;
}

const Kind& localSubjectAccessReviewKind() {
  static const Kind kind = [] {
    Kind review = question(kAuthorization, "LocalSubjectAccessReview", "localsubjectaccessreviews", "localsubjectaccessreview",
                           "io.k8s.api.authorization.v1.LocalSubjectAccessReview",
                           "LocalSubjectAccessReview checks whether a user can perform an action in a given namespace.");
    review.namespaced = true;
    review.fields = {accessSpec(), accessStatus()};
    return review;
  }();
  return kind;
}

const Kind& selfSubjectAccessReviewKind() {
  static const Kind kind = [] {
    Kind review = question(kAuthorization, "SelfSubjectAccessReview", "selfsubjectaccessreviews", "selfsubjectaccessreview",
                           "io.k8s.api.authorization.v1.SelfSubjectAccessReview",
                           "SelfSubjectAccessReview checks whether the caller can perform an action.");
    review.fields = {object("spec", 2, {resourceAttributes(), nonResourceAttributes()}, "The request being evaluated."), accessStatus()};
    return review;
  }();
  return kind;
}

const Kind& selfSubjectRulesReviewKind() {
  static const Kind kind = [] {
    Kind review = question(kAuthorization, "SelfSubjectRulesReview", "selfsubjectrulesreviews", "selfsubjectrulesreview",
                           "io.k8s.api.authorization.v1.SelfSubjectRulesReview",
                           "SelfSubjectRulesReview enumerates the actions the caller can perform within a namespace.");
    review.fields = {object("spec", 2, {text("namespace", 1, "The namespace to evaluate rules for.")}, "The request being evaluated."),
                     rulesStatus()};
    return review;
  }();
  return kind;
}

const Kind& tokenRequestKind() {
  static const Kind kind = [] {
    Kind request = question(kAuthentication, "TokenRequest", "tokenrequests", "tokenrequest", "io.k8s.api.authentication.v1.TokenRequest",
                            "TokenRequest requests a token for a given service account.");
    request.namespaced = true;
    request.fields = {
        object(
            "spec", 2,
            {texts("audiences", 1, "The intended audiences of the token. Empty: those of the API server."),
             object("boundObjectRef", 3, {text("kind", 1, "Pod, Secret or Node."), text("apiVersion", 2), text("name", 3), text("uid", 4)},
                    "An object that the token dies with."),
             byDefault("3600", checked(tokenLifetimeProblem, integer("expirationSeconds", 4, "The requested duration of validity.")))},
            "The request being evaluated."),
        object("status", 3, {text("token", 1, "The opaque bearer token."), time("expirationTimestamp", 2, "When the token expires.")},
               "Filled in by the server: the token.")};
    return request;
  }();
  return kind;
}

const Kind& evictionKind() {
  static const Kind kind = [] {
    Kind eviction = question("policy", "Eviction", "evictions", "eviction", "io.k8s.api.policy.v1.Eviction",
                             "Eviction evicts a pod from its node subject to certain policies.");
    eviction.namespaced = true;
    eviction.anyVersion = true;
    eviction.fields = {object("deleteOptions", 2, deleteOptionsKind().fields, "DeleteOptions may be provided.")};
    return eviction;
  }();
  return kind;
}

const Kind& bindingKind() {
  static const Kind kind = [] {
    Kind binding = question("", "Binding", "bindings", "binding", "io.k8s.api.core.v1.Binding",
                            "Binding ties one object to another; a pod is bound to a node by a scheduler.");
    binding.namespaced = true;
    binding.fields = {required(object("target", 2, objectReference(), "The target object that you want to bind to the standard object."))};
    return binding;
  }();
  return kind;
}

const Kind& deleteOptionsKind() {
  static const Kind kind = [] {
    Kind options =
        question("meta.k8s.io", "DeleteOptions", "deleteoptions", "deleteoptions", "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions",
                 "DeleteOptions may be provided when deleting an API object.");
    options.anyVersion = true;
    options.fields = {
        integer("gracePeriodSeconds", 1, "Seconds before the object should be deleted."),
        object("preconditions", 2, {text("uid", 1), text("resourceVersion", 2)}, "Must be fulfilled before a deletion is carried out."),
        boolean("orphanDependents", 3, "Deprecated: use propagationPolicy."),
        text("propagationPolicy", 4, "Orphan, Background or Foreground."),
        texts("dryRun", 5, "All: nothing is persisted."),
        boolean("ignoreStoreReadErrorWithClusterBreakingPotential", 6)};
    return options;
  }();
  return kind;
}

}  // namespace podpass::api
