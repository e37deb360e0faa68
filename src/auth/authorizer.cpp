#include "auth/authorizer.h"

#include <array>

#include "auth/node_graph.h"
#include "auth/rbac.h"
#include "base/snapshot.h"

namespace podpass::auth {
namespace {

constexpr std::array<std::string_view, 4> kPlurals = {"clusterroles", "roles", "clusterrolebindings", "rolebindings"};

std::vector<const api::Kind*> rbacKinds() {
  std::vector<const api::Kind*> kinds;
  for (std::string_view plural : kPlurals)
    if (const api::Kind* kind = api::findKind("rbac.authorization.k8s.io", "v1", plural)) kinds.push_back(kind);
  return kinds;
}

json::array arrayOf(const std::vector<std::string>& texts) { return json::array(texts.begin(), texts.end()); }

}  // namespace

struct Authorizer::Parts {
  explicit Parts(const ObjectReader& reader) : objects(reader), graph(reader), kinds(rbacKinds()) {}

  // A compiled book, and what it was compiled from.
  struct Edition {
    std::vector<std::uint64_t> versions;
    std::vector<DocumentPtr> sources;
    std::shared_ptr<const RuleBook> book;
  };

  std::shared_ptr<const RuleBook> book() {
    // versions first: a change while we read makes the edition old, never wrong
    std::vector<std::uint64_t> versions;
    for (const api::Kind* kind : kinds) versions.push_back(objects.version(*kind));
    std::shared_ptr<const Edition> edition = current.load();
    if (edition && edition->versions == versions) return edition->book;
    auto next = std::make_shared<Edition>();
    next->versions = std::move(versions);
    for (const api::Kind* kind : kinds)
      for (DocumentPtr& document : objects.list(*kind, "")) next->sources.push_back(std::move(document));
    // a reader may count all kinds together: documents are immutable, so the same ones make the same book
    next->book = edition && edition->sources == next->sources ? edition->book : RuleBook::compile(objects);
    current.store(next);
    return next->book;
  }

  const ObjectReader& objects;
  NodeGraph graph;
  std::vector<const api::Kind*> kinds;
  Snapshot<Edition> current;
};

Authorizer::Authorizer(const ObjectReader& objects) : parts_(std::make_unique<Parts>(objects)) {}
Authorizer::~Authorizer() = default;

Decision Authorizer::authorize(const Attributes& attributes) const {
  if (attributes.user.in("system:masters")) return {true};
  Decision node = authorizeNode(parts_->graph, attributes);
  if (node.allowed) return node;
  Decision rbac = parts_->book()->authorize(attributes);
  if (rbac.allowed || node.reason.empty()) return rbac;
  if (!rbac.reason.empty()) node.reason += "\n" + rbac.reason;
  return node;
}

json::object Authorizer::rulesFor(const User& user, const std::string& ns) const {
  json::array resources, paths;
  const std::shared_ptr<const RuleBook> book = parts_->book();  // keeps the rules alive
  for (const Rule* rule : book->rulesFor(user, ns)) {
    if (!rule->resources.empty()) {
      json::object entry{{"verbs", arrayOf(rule->verbs)}, {"apiGroups", arrayOf(rule->groups)}, {"resources", arrayOf(rule->resources)}};
      if (!rule->names.empty()) entry["resourceNames"] = arrayOf(rule->names);
      resources.push_back(std::move(entry));
    }
    if (!rule->paths.empty()) paths.push_back(json::object{{"verbs", arrayOf(rule->verbs)}, {"nonResourceURLs", arrayOf(rule->paths)}});
  }
  const bool incomplete = !nodeNameOf(user).empty();
  json::object status{{"resourceRules", std::move(resources)}, {"nonResourceRules", std::move(paths)}, {"incomplete", incomplete}};
  if (incomplete) status["evaluationError"] = "node authorizer does not support user rule resolution";
  return status;
}

}  // namespace podpass::auth
