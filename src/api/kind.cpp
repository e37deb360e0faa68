#include "api/kind.h"

#include "api/kinds.h"
#include "base/text.h"

namespace podpass::api {
namespace {

using Kinds = std::vector<const Kind*>;

const Kinds& bodyKinds() {
  static const Kinds kinds{&tokenRequestKind(), &evictionKind(), &deleteOptionsKind(), &bindingKind()};
  return kinds;
}

std::string_view groupOf(std::string_view apiVersion) {
  const std::size_t slash = apiVersion.find('/');
  return slash == std::string_view::npos ? std::string_view{} : apiVersion.substr(0, slash);
}

std::string_view versionOf(std::string_view apiVersion) {
  const std::size_t slash = apiVersion.find('/');
  return slash == std::string_view::npos ? apiVersion : apiVersion.substr(slash + 1);
}

const json::value* valueAt(const json::object& object, const std::vector<std::string_view>& path) {
  const json::object* place = &object;
  for (std::size_t i = 0; i < path.size(); ++i) {
    const json::value* found = place->if_contains(path[i]);
    if (found == nullptr || i + 1 == path.size()) return found;
    place = found->if_object();
    if (place == nullptr) return nullptr;
  }
  return nullptr;
}

}  // namespace

std::vector<std::string_view> Field::listKeys() const {
  if (atomic || !mapKeys.empty()) return atomic ? std::vector<std::string_view>{} : mapKeys;
  return mergeKey.empty() ? std::vector<std::string_view>{} : std::vector{mergeKey};
}

bool Kind::allows(std::string_view verb) const {
  if (!verbs.empty()) return std::find(verbs.begin(), verbs.end(), verb) != verbs.end();
  if (isVirtual) return verb == "create";
  const std::vector<std::string_view> all = storedVerbs();
  return std::find(all.begin(), all.end(), verb) != all.end();
}

namespace {

bool faultsAreServed = false;

Kinds makeKinds() {
  Kinds kinds{&bindingKind(),
              &configMapKind(),
              &eventKind(),
              &namespaceKind(),
              &nodeKind(),
              &podKind(),
              &secretKind(),
              &serviceAccountKind(),
              &serviceKind(),
              &tokenReviewKind(),
              &selfSubjectReviewKind(),
              &localSubjectAccessReviewKind(),
              &selfSubjectAccessReviewKind(),
              &selfSubjectRulesReviewKind(),
              &subjectAccessReviewKind(),
              &clusterRoleBindingKind(),
              &clusterRoleKind(),
              &roleBindingKind(),
              &roleKind(),
              &mutatingWebhookConfigurationKind(),
              &validatingWebhookConfigurationKind(),
              &leaseKind(),
              &signingKeyKind(),
              &tokenRevocationKind(),
              &issuedTokenKind(),
              &tokenIssuerKind(),
              &tokenInjectionKind(),
              &podIdentityAssociationKind(),
              &iamRoleKind(),
              &oidcProviderKind()};
  if (faultsAreServed) kinds.insert(std::find(kinds.begin(), kinds.end(), &iamRoleKind()), &faultKind());
  return kinds;
}

}  // namespace

void serveFaults() { faultsAreServed = true; }

const std::vector<const Kind*>& allKinds() {
  static const Kinds kinds = makeKinds();
  return kinds;
}

const Kind* findKind(std::string_view group, std::string_view version, std::string_view plural) {
  for (const Kind* kind : allKinds())
    if (kind->plural == plural && kind->group == group && kind->version == version) return kind;
  return nullptr;
}

const Kind* findKindByName(std::string_view apiVersion, std::string_view name) {
  const std::string_view group = groupOf(apiVersion), version = versionOf(apiVersion);
  for (const Kind* kind : allKinds())
    if (kind->kind == name && kind->group == group && kind->version == version) return kind;
  return findBodyKind(group, version, name);
}

bool servesGroupVersion(std::string_view group, std::string_view version) {
  const Kinds& kinds = allKinds();
  return std::any_of(kinds.begin(), kinds.end(), [&](const Kind* kind) { return kind->group == group && kind->version == version; });
}

const Kind* findBodyKind(std::string_view group, std::string_view version, std::string_view name) {
  for (const Kind* kind : bodyKinds()) {
    if (kind->kind == name && (kind->anyVersion || (kind->group == group && kind->version == version))) return kind;
  }
  return nullptr;
}

const Field* findField(const std::vector<Field>& fields, std::string_view name) {
  for (const Field& field : fields)
    if (field.name == name) return &field;
  return nullptr;
}

std::vector<std::string_view> storedVerbs(bool deleteCollection) {
  if (deleteCollection) return {"create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"};
  return {"create", "delete", "get", "list", "patch", "update", "watch"};
}

Subresource statusSubresource() { return {.name = "status", .kind = {}, .verbs = {"get", "patch", "update"}}; }

std::string ageOf(std::string_view timestamp, WallTime now) {
  const Result<WallTime> since = parseRfc3339(timestamp);
  if (timestamp.empty() || !since) return "<unknown>";
  return humanDuration(std::chrono::floor<std::chrono::seconds>(now - *since));
}

Column liveTokensColumn() {
  return {.name = "Tokens", .type = "integer", .doc = "Those that are alive.", .cell = [](const json::object& object, WallTime) {
            return json::value(integerAt(object, {"status", "liveTokens"}));
          }};
}

Column ageColumn() {
  return {.name = "Age", .doc = "Time since the object was created.", .cell = [](const json::object& object, WallTime now) {
            return json::value(ageOf(textAt(object, {"metadata", "creationTimestamp"}), now));
          }};
}

Column textColumn(std::string_view name, std::vector<std::string_view> path, std::string_view missing, int priority) {
  return {.name = name, .priority = priority, .cell = [path = std::move(path), missing](const json::object& object, WallTime) {
            const json::value* found = valueAt(object, path);
            if (found == nullptr || !found->is_string() || found->get_string().empty()) return json::value(missing);
            return *found;
          }};
}

}  // namespace podpass::api
