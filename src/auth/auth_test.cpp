#include <gtest/gtest.h>

#include "auth/authenticator.h"
#include "auth/authorizer.h"
#include "base/text.h"

namespace podpass::auth {
namespace {

// The watch cache's face over a map.
class Objects final : public ObjectReader {
 public:
  void put(std::string_view plural, json::object object) {
    auto document = std::make_shared<Document>();
    document->revision = ++revision_;
    const Key key{plural, textAt(object, {"metadata", "namespace"}), textAt(object, {"metadata", "name"})};
    document->value = std::move(object);
    objects_[key] = std::move(document);
  }
  void put(std::string_view plural, std::string_view text) { put(plural, json::parse(text).as_object()); }
  void erase(const std::string& plural, const std::string& ns, const std::string& name) {
    objects_.erase({plural, ns, name});
    ++revision_;
  }
  void tick() { ++revision_; }
  DocumentPtr get(const api::Kind& kind, const std::string& ns, const std::string& name) const override {
    const auto found = objects_.find({std::string(kind.plural), ns, name});
    return found != objects_.end() ? found->second : nullptr;
  }
  std::vector<DocumentPtr> list(const api::Kind& kind, const std::string& ns) const override {
    std::vector<DocumentPtr> found;
    for (const auto& [key, object] : objects_)
      if (std::get<0>(key) == kind.plural && (ns.empty() || std::get<1>(key) == ns)) found.push_back(object);
    return found;
  }
  std::uint64_t version(const api::Kind&) const override { return revision_; }

 private:
  using Key = std::tuple<std::string, std::string, std::string>;
  std::map<Key, DocumentPtr> objects_;
  std::uint64_t revision_ = 0;
};

Objects bootstrapped() {
  Objects objects;
  for (json::object& role : bootstrapRoles()) objects.put("clusterroles", std::move(role));
  for (json::object& binding : bootstrapBindings(false)) objects.put("clusterrolebindings", std::move(binding));
  return objects;
}

void bind(Objects& objects, std::string_view name, std::string_view role, json::object subject, std::string_view ns = {}) {
  json::array subjects;
  subjects.push_back(std::move(subject));
  json::object metadata{{"name", name}};
  if (!ns.empty()) metadata["namespace"] = ns;
  json::object roleRef{{"kind", "ClusterRole"}, {"name", role}};
  objects.put(ns.empty() ? "clusterrolebindings" : "rolebindings",
              json::object{{"metadata", std::move(metadata)}, {"roleRef", std::move(roleRef)}, {"subjects", std::move(subjects)}});
}

User person(std::string name, std::vector<std::string> groups = {}) {
  groups.emplace_back("system:authenticated");
  return {.name = std::move(name), .groups = std::move(groups)};
}

User node(const std::string& name) { return person("system:node:" + name, {"system:nodes"}); }

// "pods/log" in a group, or "/healthz".
Attributes asks(User user, std::string verb, std::string what, std::string ns = {}, std::string name = {}, std::string group = {}) {
  Attributes asked{.user = std::move(user), .verb = std::move(verb)};
  if (what.starts_with('/')) {
    asked.resourceRequest = false;
    asked.path = std::move(what);
    return asked;
  }
  const std::size_t slash = what.find('/');
  asked.resource = what.substr(0, slash);
  if (slash != std::string::npos) asked.subresource = what.substr(slash + 1);
  asked.group = std::move(group);
  asked.version = "v1";
  asked.ns = std::move(ns);
  asked.name = std::move(name);
  return asked;
}

TEST(Rbac, GrantsWhatARuleSaysAndNothingBeside) {
  Objects objects;
  objects.put("clusterroles", R"({"metadata": {"name": "r"}, "rules": [
      {"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods", "*/scale"]},
      {"verbs": ["get"], "apiGroups": ["", "apps"], "resources": ["pods/log"]},
      {"verbs": ["update"], "apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["mine"]},
      {"verbs": ["*"], "apiGroups": ["coordination.k8s.io"], "resources": ["*"]},
      {"verbs": ["get"], "nonResourceURLs": ["/healthz", "/logs/*"]}]})");
  bind(objects, "b", "r", {{"kind", "User"}, {"name", "alice"}});
  const Authorizer authorizer(objects);
  struct Case {
    const char* why;
    const char* verb;
    const char* what;
    const char* name;
    const char* group;
    bool allowed;
  };
  const Case cases[] = {
      {"named resource", "get", "pods", "p", "", true},
      {"another verb", "delete", "pods", "p", "", false},
      {"another group", "get", "pods", "p", "apps", false},
      {"a subresource is not its resource", "get", "pods/exec", "p", "", false},
      {"a subresource by name", "get", "pods/log", "p", "", true},
      {"a resource is not its subresource's", "list", "pods/log", "p", "", false},
      {"any resource's scale", "get", "deployments/scale", "d", "", true},
      {"*/scale is not scale", "get", "scale", "d", "", false},
      {"the named object", "update", "configmaps", "mine", "", true},
      {"another object", "update", "configmaps", "yours", "", false},
      {"no name matches no resourceNames", "update", "configmaps", "", "", false},
      {"stars", "watch", "leases/status", "l", "coordination.k8s.io", true},
      {"a path", "get", "/healthz", "", "", true},
      {"below a path that has no star", "get", "/healthz/ping", "", "", false},
      {"below a path with a star", "get", "/logs/kubelet.log", "", "", true},
      {"the path itself, without its slash", "get", "/logs", "", "", false},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.why);
    EXPECT_EQ(authorizer.authorize(asks(person("alice"), c.verb, c.what, "default", c.name, c.group)).allowed, c.allowed);
    EXPECT_FALSE(authorizer.authorize(asks(person("bob"), c.verb, c.what, "default", c.name, c.group)).allowed);
  }
}

TEST(Rbac, SaysWhichBindingAllowedOrWhichRoleIsMissing) {
  Objects objects;
  objects.put("clusterroles", R"({"metadata": {"name": "r"}, "rules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]})");
  bind(objects, "wide", "r", {{"kind", "Group"}, {"name", "devs"}});
  bind(objects, "narrow", "r", {{"kind", "ServiceAccount"}, {"name", "reader"}}, "team");
  bind(objects, "broken", "lost", {{"kind", "User"}, {"name", "carl"}});
  const Authorizer authorizer(objects);
  EXPECT_EQ(authorizer.authorize(asks(person("x", {"devs"}), "get", "pods", "team")).reason,
            R"(RBAC: allowed by ClusterRoleBinding "wide" of ClusterRole "r" to Group "devs")");
  const User account = person("system:serviceaccount:team:reader");
  EXPECT_EQ(authorizer.authorize(asks(account, "get", "pods", "team")).reason,
            R"(RBAC: allowed by RoleBinding "narrow/team" of ClusterRole "r" to ServiceAccount "reader/team")");
  EXPECT_FALSE(authorizer.authorize(asks(account, "get", "pods", "other")).allowed) << "a RoleBinding grants in its namespace only";
  EXPECT_FALSE(authorizer.authorize(asks(account, "get", "pods")).allowed) << "nor in all namespaces";
  EXPECT_EQ(authorizer.authorize(asks(person("carl"), "get", "pods", "team")).reason,
            R"(RBAC: clusterrole.rbac.authorization.k8s.io "lost" not found)");
}

TEST(Rbac, FollowsEveryChangeOfARoleAndOnlyThose) {
  Objects objects;
  bind(objects, "b", "r", {{"kind", "User"}, {"name", "alice"}});
  const Authorizer authorizer(objects);
  const Attributes asked = asks(person("alice"), "get", "pods", "default");
  EXPECT_FALSE(authorizer.authorize(asked).allowed);
  objects.put("clusterroles", R"({"metadata": {"name": "r"}, "rules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]})");
  EXPECT_TRUE(authorizer.authorize(asked).allowed);
  objects.tick();
  EXPECT_TRUE(authorizer.authorize(asked).allowed) << "something else was written";
  objects.erase("clusterroles", "", "r");
  EXPECT_FALSE(authorizer.authorize(asked).allowed);
}

TEST(Rbac, AggregatesRolesThroughEachOtherAndSurvivesCircles) {
  Objects objects = bootstrapped();
  objects.put("clusterroles", R"({"metadata": {"name": "gadgets", "labels": {"rbac.authorization.k8s.io/aggregate-to-view": "true"}},
      "rules": [{"verbs": ["get"], "apiGroups": ["example.com"], "resources": ["gadgets"]}]})");
  objects.put("clusterroles", R"({"metadata": {"name": "circle", "labels": {"in": "circle"}},
      "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"in": "circle"}}]},
      "rules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]})");
  bind(objects, "b", "admin", {{"kind", "User"}, {"name", "alice"}}, "team");
  bind(objects, "c", "circle", {{"kind", "User"}, {"name", "carl"}});
  const Authorizer authorizer(objects);
  EXPECT_TRUE(authorizer.authorize(asks(person("alice"), "get", "gadgets", "team", "g", "example.com")).allowed)
      << "view, in edit, in admin";
  EXPECT_FALSE(authorizer.authorize(asks(person("alice"), "delete", "gadgets", "team", "g", "example.com")).allowed);
  EXPECT_FALSE(authorizer.authorize(asks(person("carl"), "get", "pods")).allowed) << "rules of an aggregated role are what it selects";
}

TEST(Bootstrap, GivesTheDefaultRolesTheirKnownRights) {
  Objects objects = bootstrapped();
  for (const char* role : {"view", "edit", "admin"}) bind(objects, role, role, {{"kind", "User"}, {"name", role}}, "team");
  const Authorizer authorizer(objects);
  const User account = person("system:serviceaccount:team:app", {"system:serviceaccounts", "system:serviceaccounts:team"});
  const User nobody{.name = "system:anonymous", .groups = {"system:unauthenticated"}};
  struct Case {
    const char* why;
    Attributes asked;
    bool allowed;
  };
  const Case cases[] = {
      {"masters may all", asks(person("root", {"system:masters"}), "delete", "nodes", "", "n"), true},
      {"view reads accounts", asks(person("view"), "list", "serviceaccounts", "team"), true},
      {"view reads no secrets", asks(person("view"), "get", "secrets", "team", "s"), false},
      {"edit reads secrets", asks(person("edit"), "get", "secrets", "team", "s"), true},
      {"edit acts as accounts", asks(person("edit"), "create", "serviceaccounts/token", "team", "app"), true},
      {"edit writes no roles", asks(person("edit"), "create", "roles", "team", "", "rbac.authorization.k8s.io"), false},
      {"admin writes roles", asks(person("admin"), "create", "roles", "team", "", "rbac.authorization.k8s.io"), true},
      {"admin of one namespace", asks(person("admin"), "get", "pods", "other"), false},
      {"accounts find the issuer", asks(account, "get", "/openid/v1/jwks"), true},
      {"accounts see what is revoked", asks(account, "get", "/openid/v1/revocations"), true},
      {"people need not", asks(person("x"), "get", "/openid/v1/jwks"), false},
      {"anybody sees the version", asks(nobody, "get", "/version"), true},
      {"nobody sees the kinds", asks(nobody, "get", "/api"), false},
      {"everybody else does", asks(person("x"), "get", "/apis/apps/v1"), true},
      {"everybody asks about himself", asks(person("x"), "create", "selfsubjectaccessreviews", "", "", "authorization.k8s.io"), true},
      {"the controller manager makes tokens", asks(person("system:kube-controller-manager"), "create", "serviceaccounts/token", "a", "b"),
       true},
      {"the scheduler binds", asks(person("system:kube-scheduler"), "create", "pods/binding", "a", "p"), true},
      {"an account of a controller", asks(person("system:serviceaccount:kube-system:root-ca-cert-publisher"), "create", "configmaps", "a"),
       true},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.why);
    EXPECT_EQ(authorizer.authorize(c.asked).allowed, c.allowed);
  }
}

TEST(Bootstrap, MakesCompleteObjectsAndOpensTheIssuerOnlyWhenAsked) {
  for (const json::object& role : bootstrapRoles()) {
    EXPECT_EQ(textAt(role, {"metadata", "labels", "kubernetes.io/bootstrapping"}), "rbac-defaults");
    EXPECT_EQ(textAt(role, {"metadata", "annotations", "rbac.authorization.kubernetes.io/autoupdate"}), "true");
    EXPECT_FALSE(arrayAt(role, {"rules"})->empty()) << textAt(role, {"metadata", "name"});
  }
  Objects objects = bootstrapped();
  const User nobody{.name = "system:anonymous", .groups = {"system:unauthenticated"}};
  const Attributes asked = asks(nobody, "get", "/.well-known/openid-configuration");
  EXPECT_FALSE(Authorizer(objects).authorize(asked).allowed);
  for (json::object& binding : bootstrapBindings(true)) objects.put("clusterrolebindings", std::move(binding));
  EXPECT_TRUE(Authorizer(objects).authorize(asked).allowed);
}

constexpr std::string_view kPod =
    R"({"metadata": {"name": "p", "namespace": "team"}, "spec": {"nodeName": "n1", "serviceAccountName": "app",
    "imagePullSecrets": [{"name": "pull"}],
    "volumes": [{"name": "a", "secret": {"secretName": "vol"}},
                {"name": "b", "projected": {"sources": [{"secret": {"name": "proj"}}, {"configMap": {"name": "kube-root-ca.crt"}}]}}],
    "containers": [{"name": "c", "env": [{"name": "E", "valueFrom": {"secretKeyRef": {"name": "env", "key": "k"}}}],
                    "envFrom": [{"configMapRef": {"name": "from"}}]}]}})";

TEST(NodeAuthorizer, LetsANodeReachWhatItsPodsNeed) {
  Objects objects = bootstrapped();
  objects.put("pods", kPod);
  objects.put("pods", R"({"metadata": {"name": "mirror", "namespace": "team", "annotations": {"kubernetes.io/config.mirror": "x"}},
      "spec": {"nodeName": "n1", "serviceAccountName": "stolen", "volumes": [{"name": "a", "secret": {"secretName": "stolen"}}]}})");
  const Authorizer authorizer(objects);
  const std::string none = "no relationship found between node 'n1' and this object";
  const std::string leases = "coordination.k8s.io";
  struct Case {
    const char* why;
    Attributes asked;
    const char* refusal;  // null: allowed
  };
  const Case cases[] = {
      {"a token for its pod's account", asks(node("n1"), "create", "serviceaccounts/token", "team", "app"), nullptr},
      {"for another account", asks(node("n1"), "create", "serviceaccounts/token", "team", "other"), none.c_str()},
      {"in another namespace", asks(node("n1"), "create", "serviceaccounts/token", "other", "app"), none.c_str()},
      {"from another node", asks(node("n2"), "create", "serviceaccounts/token", "team", "app"),
       "no relationship found between node 'n2' and this object"},
      {"for all accounts", asks(node("n1"), "create", "serviceaccounts/token", "team"),
       "can only create tokens for individual service accounts"},
      {"reading accounts", asks(node("n1"), "get", "serviceaccounts", "team", "app"),
       "can only create tokens for individual service accounts"},
      {"making accounts", asks(node("n1"), "create", "serviceaccounts", "team", "app"),
       "can only create token subresource of serviceaccount"},
      {"a volume's secret", asks(node("n1"), "get", "secrets", "team", "vol"), nullptr},
      {"a projected secret", asks(node("n1"), "watch", "secrets", "team", "proj"), nullptr},
      {"a pull secret", asks(node("n1"), "get", "secrets", "team", "pull"), nullptr},
      {"a secret in the environment", asks(node("n1"), "get", "secrets", "team", "env"), nullptr},
      {"a config map is not a secret", asks(node("n1"), "get", "secrets", "team", "from"), none.c_str()},
      {"a secret that a mirror pod claims", asks(node("n1"), "get", "secrets", "team", "stolen"), none.c_str()},
      {"an account that a mirror pod claims", asks(node("n1"), "create", "serviceaccounts/token", "team", "stolen"), none.c_str()},
      {"all secrets", asks(node("n1"), "list", "secrets", "team"), "No Object name found"},
      {"secrets everywhere", asks(node("n1"), "list", "secrets"), "can only read namespaced object of this type"},
      {"writing a secret", asks(node("n1"), "update", "secrets", "team", "vol"), "can only read resources of this type"},
      {"a projected config map", asks(node("n1"), "get", "configmaps", "team", "kube-root-ca.crt"), nullptr},
      {"a config map in the environment", asks(node("n1"), "list", "configmaps", "team", "from"), nullptr},
      {"itself", asks(node("n1"), "get", "nodes", "", "n1"), nullptr},
      {"another", asks(node("n1"), "get", "nodes", "", "n2"), "node 'n1' cannot read 'n2', only its own Node object"},
      {"all nodes", asks(node("n1"), "list", "nodes"), "node 'n1' cannot read all nodes, only its own Node object"},
      {"registering", asks(node("n1"), "create", "nodes"), nullptr},
      {"its status", asks(node("n1"), "patch", "nodes/status", "", "n1"), nullptr},
      {"deleting itself", asks(node("n1"), "delete", "nodes", "", "n1"), ""},
      {"its pod", asks(node("n1"), "get", "pods", "team", "p"), nullptr},
      {"its pod's status", asks(node("n1"), "patch", "pods/status", "team", "p"), nullptr},
      {"another node's pod", asks(node("n2"), "get", "pods", "team", "p"), "no relationship found between node 'n2' and this object"},
      {"all pods", asks(node("n1"), "list", "pods"), "can only list/watch pods with spec.nodeName field selector"},
      {"running things in a pod", asks(node("n1"), "create", "pods/exec", "team", "p"), ""},
      {"its lease", asks(node("n1"), "update", "leases", "kube-node-lease", "n1", leases), nullptr},
      {"another's lease", asks(node("n1"), "update", "leases", "kube-node-lease", "n2", leases),
       "can only access node lease with the same name as the requesting node"},
      {"leases of others", asks(node("n1"), "get", "leases", "team", "n1", leases),
       "can only access leases in the \"kube-node-lease\" system namespace"},
      {"events", asks(node("n1"), "create", "events", "team"), nullptr},
      {"a group without the name", asks(person("eve", {"system:nodes"}), "get", "nodes", "", "n1"), "unknown node for user \"eve\""},
      {"a name without the group", asks(person("system:node:n1"), "get", "nodes", "", "n1"), ""},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.why);
    const Decision decision = authorizer.authorize(c.asked);
    EXPECT_EQ(decision.allowed, c.refusal == nullptr);
    EXPECT_EQ(decision.reason, c.refusal != nullptr ? c.refusal : "");
  }
}

TEST(NodeAuthorizer, ReadsThePodSelector) {
  const Objects objects;
  const Authorizer authorizer(objects);
  for (const auto& [selector, allowed] : std::vector<std::pair<std::string, bool>>{{"spec.nodeName=n1", true},
                                                                                   {"spec.nodeName==n1", true},
                                                                                   {"status.phase=Running,spec.nodeName=n1", true},
                                                                                   {"spec.nodeName=n2", false},
                                                                                   {"spec.nodeName!=n1", false},
                                                                                   {"spec.nodeName=n11", false},
                                                                                   {"", false}}) {
    Attributes asked = asks(node("n1"), "watch", "pods");
    asked.fieldSelector = selector;
    EXPECT_EQ(authorizer.authorize(asked).allowed, allowed) << selector;
  }
}

TEST(NodeAuthorizer, ClosesAPathAtTheInstantItsPodIsGone) {
  Objects objects;
  objects.put("pods", kPod);
  const Authorizer authorizer(objects);
  const Attributes asked = asks(node("n1"), "get", "secrets", "team", "vol");
  EXPECT_TRUE(authorizer.authorize(asked).allowed);
  EXPECT_TRUE(authorizer.authorize(asked).allowed) << "answered by the pod that vouched before";
  objects.erase("pods", "team", "p");
  EXPECT_FALSE(authorizer.authorize(asked).allowed);
}

TEST(Rules, AreListedForAUser) {
  const Objects objects = bootstrapped();
  const Authorizer authorizer(objects);
  const json::object rules = authorizer.rulesFor(person("x"), "default");
  EXPECT_FALSE(booleanAt(rules, {"incomplete"}, true));
  EXPECT_NE(json::serialize(rules).find(R"({"verbs":["create"],"apiGroups":["authentication.k8s.io"],"resources":["selfsubjectreviews"]})"),
            std::string::npos);
  EXPECT_NE(json::serialize(rules).find("/openapi/*"), std::string::npos);
  const json::object ofNode = authorizer.rulesFor(node("n1"), "default");
  EXPECT_TRUE(booleanAt(ofNode, {"incomplete"}));
  EXPECT_EQ(textAt(ofNode, {"evaluationError"}), "node authorizer does not support user rule resolution");
}

class Escalation : public testing::Test {
 protected:
  Escalation() : objects(bootstrapped()) {
    objects.put("clusterroles", R"({"metadata": {"name": "binder"}, "rules": [
        {"verbs": ["bind"], "apiGroups": ["rbac.authorization.k8s.io"], "resources": ["clusterroles"], "resourceNames": ["view"]}]})");
    bind(objects, "e", "edit", {{"kind", "User"}, {"name", "ed"}}, "team");
    bind(objects, "b", "binder", {{"kind", "User"}, {"name", "bea"}}, "team");
    bind(objects, "a", "cluster-admin", {{"kind", "User"}, {"name", "root"}});
  }
  std::string check(const User& user, std::string_view plural, std::string_view text) {
    const api::Kind& kind = *api::findKind("rbac.authorization.k8s.io", "v1", plural);
    const Result<void> done = checkEscalation(Authorizer(objects), objects, user, kind, json::parse(text).as_object());
    return done ? "" : done.error().sentence;
  }
  Objects objects;
};

TEST_F(Escalation, RefusesRulesThatTheWriterDoesNotHold) {
  constexpr std::string_view role = R"({"metadata": {"name": "r", "namespace": "team"}, "rules": [
      {"verbs": ["get", "create", "escalate"], "apiGroups": [""], "resources": ["secrets", "nodes"]},
      {"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]})";
  EXPECT_EQ(
      check(person("ed"), "roles", role),
      "roles.rbac.authorization.k8s.io \"r\" is forbidden: user \"ed\" (groups=[\"system:authenticated\"]) is attempting to grant RBAC "
      "permissions not currently held:\n"
      "{APIGroups:[\"\"], Resources:[\"nodes\"], Verbs:[\"get\" \"create\" \"escalate\"]}\n"
      "{APIGroups:[\"\"], Resources:[\"secrets\"], Verbs:[\"escalate\"]}");
  EXPECT_EQ(check(person("root"), "roles", role), "");
  EXPECT_EQ(check(person("x", {"system:masters"}), "roles", role), "");
}

TEST_F(Escalation, CountsNamesPathsAndSubresources) {
  EXPECT_EQ(check(person("ed"), "roles", R"({"metadata": {"name": "r", "namespace": "team"}, "rules": [
      {"verbs": ["get"], "apiGroups": [""], "resources": ["secrets"], "resourceNames": ["s"]}]})"),
            "");
  EXPECT_NE(check(person("ed"), "roles", R"({"metadata": {"name": "r", "namespace": "other"}, "rules": [
      {"verbs": ["get"], "apiGroups": [""], "resources": ["secrets"], "resourceNames": ["s"]}]})"),
            "");
  EXPECT_EQ(
      check(person("ed"), "clusterroles", R"({"metadata": {"name": "r"}, "rules": [{"verbs": ["get"], "nonResourceURLs": ["/api/v1"]}]})"),
      "");
  EXPECT_NE(
      check(person("ed"), "clusterroles", R"({"metadata": {"name": "r"}, "rules": [{"verbs": ["get"], "nonResourceURLs": ["/metrics"]}]})"),
      "");
  EXPECT_EQ(check(person("ed"), "clusterroles",
                  R"({"metadata": {"name": "r"}, "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]}})"),
            "clusterroles.rbac.authorization.k8s.io \"r\" is forbidden: must have cluster-admin privileges to use the aggregationRule");
}

TEST_F(Escalation, LetsWhoMayBindBind) {
  const auto binding = [](std::string_view role) {
    return R"({"metadata": {"name": "b", "namespace": "team"}, "roleRef": {"kind": "ClusterRole", "name": ")" + std::string(role) + "\"}}";
  };
  EXPECT_EQ(check(person("bea"), "rolebindings", binding("view")), "");
  EXPECT_NE(check(person("bea"), "rolebindings", binding("edit")), "");
  EXPECT_EQ(check(person("ed"), "rolebindings", binding("view")), "") << "holds all of it";
  EXPECT_EQ(check(person("ed"), "rolebindings", binding("lost")), R"(clusterrole.rbac.authorization.k8s.io "lost" not found)");
  EXPECT_EQ(check(person("nobody"), "rolebindings", binding("system:auth-delegator")).substr(0, 63),
            "rolebindings.rbac.authorization.k8s.io \"b\" is forbidden: user \"");
}

class Authentication : public testing::Test {
 protected:
  Authentication() : verifier({"https://issuer"}, {"https://issuer"}, ring, nothing, clock) {}
  static Result<DocumentPtr> nothing(std::string_view, const std::string&, const std::string&) { return Error{Reason::NotFound, "none"}; }
  Result<Authenticated> of(std::vector<http::Header> headers, std::shared_ptr<const http::PeerCertificate> peer = nullptr,
                           bool anonymous = true) {
    http::Request request;
    for (http::Header& header : headers) request.headers.add(header.name, header.value);
    request.peer = std::move(peer);
    return Authenticator(verifier, anonymous).authenticate(request);
  }
  FakeClock clock;
  Snapshot<token::KeyRing> ring{std::make_shared<const token::KeyRing>(std::vector<std::shared_ptr<const jose::Key>>{})};
  token::Verifier verifier;
};

TEST_F(Authentication, TakesAClientCertificateBeforeAnythingElse) {
  auto peer = std::make_shared<http::PeerCertificate>();
  peer->commonName = "alice";
  peer->organizations = {"devs"};
  peer->sha256Hex = "abcd";
  const Result<Authenticated> known = of({{"Authorization", "Bearer rubbish"}}, peer);
  ASSERT_TRUE(known);
  EXPECT_EQ(known->user.name, "alice");
  EXPECT_EQ(known->user.groups, (std::vector<std::string>{"devs", "system:authenticated"}));
  EXPECT_EQ(known->user.extra.at("authentication.kubernetes.io/credential-id"), std::vector<std::string>{"X509SHA256=abcd"});
}

TEST_F(Authentication, NeverTakesABadTokenForNoToken) {
  const std::string rubbish = "base64url.bearer.authorization.k8s.io." + base64UrlEncode("rubbish");
  struct Case {
    const char* why;
    std::vector<http::Header> headers;
    bool anonymous;
  };
  const Case cases[] = {
      {"nothing", {}, true},
      {"a bad token", {{"Authorization", "Bearer rubbish"}}, false},
      {"a scheme in other letters", {{"authorization", "  bEARER rubbish"}}, false},
      {"a third word", {{"Authorization", "Bearer rubbish more"}}, false},
      {"no word", {{"Authorization", "Bearer"}}, true},
      {"an empty word", {{"Authorization", "Bearer  rubbish"}}, true},
      {"another scheme", {{"Authorization", "Basic YTpi"}}, true},
      {"a subprotocol without a WebSocket", {{"Sec-WebSocket-Protocol", rubbish + ", v4.channel.k8s.io"}}, true},
      {"a bad token as subprotocol",
       {{"Upgrade", "websocket"}, {"Connection", "keep-alive, Upgrade"}, {"Sec-WebSocket-Protocol", rubbish + ", v4.channel.k8s.io"}},
       false},
      {"no other subprotocol", {{"Upgrade", "websocket"}, {"Connection", "Upgrade"}, {"Sec-WebSocket-Protocol", rubbish}}, false},
      {"two of them",
       {{"Upgrade", "websocket"}, {"Connection", "Upgrade"}, {"Sec-WebSocket-Protocol", rubbish + "," + rubbish + ",v4.channel.k8s.io"}},
       false},
      {"subprotocols without a token",
       {{"Upgrade", "websocket"}, {"Connection", "Upgrade"}, {"Sec-WebSocket-Protocol", "v4.channel.k8s.io"}},
       true},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.why);
    const Result<Authenticated> known = of(c.headers);
    ASSERT_EQ(static_cast<bool>(known), c.anonymous);
    if (!known) {
      EXPECT_EQ(known.error().reason, Reason::Unauthorized);
      continue;
    }
    EXPECT_EQ(known->user.name, "system:anonymous");
    EXPECT_EQ(known->user.groups, std::vector<std::string>{"system:unauthenticated"});
    EXPECT_FALSE(of(c.headers, nullptr, false)) << "anonymous requests may be forbidden";
  }
}

TEST(User, IsWrittenAsUserInfo) {
  const User user{.name = "u", .groups = {"g"}, .extra = {{"k", {"v"}}}};
  EXPECT_EQ(json::serialize(toJson(user)), R"({"username":"u","groups":["g"],"extra":{"k":["v"]}})");
}

}  // namespace
}  // namespace podpass::auth
