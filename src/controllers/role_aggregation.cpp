#include "controllers/role_aggregation.h"

#include <algorithm>

#include "api/selector.h"
#include "controllers/object.h"

namespace podpass::controllers {
namespace {

const json::array* selectorsOf(const json::object& role) { return arrayAt(role, {"aggregationRule", "clusterRoleSelectors"}); }

}  // namespace

RoleAggregation::RoleAggregation(api::Client& client, const Clock& clock, Informers& informers)
    : client_(client),
      roles_(informers.of("rbac.authorization.k8s.io", "clusterroles")),
      loop_("role-aggregation", clock, [this](const std::string& name) { return visit(name); }) {
  // any role may join or leave any aggregated one, and those are few
  roles_.onChange([this](const api::Kind&, const DocumentPtr&, const DocumentPtr&) {
    for (const DocumentPtr& role : roles_.list())
      if (selectorsOf(role->value) != nullptr) loop_.queue().add(nameOf(role->value));
  });
}

Result<void> RoleAggregation::visit(const std::string& name) {
  const DocumentPtr role = roles_.get("", name);
  if (!role || selectorsOf(role->value) == nullptr) return {};
  json::array rules;
  const std::vector<DocumentPtr> all = roles_.list();
  for (const json::value& each : *selectorsOf(role->value)) {
    const Result<api::LabelSelector> selector = api::LabelSelector::fromObject(each.if_object());
    if (!selector) continue;
    for (const DocumentPtr& other : all) {
      const json::array* granted = arrayAt(other->value, {"rules"});
      if (nameOf(other->value) == name || granted == nullptr || !selector->matches(other->value)) continue;
      for (const json::value& rule : *granted)
        if (std::find(rules.begin(), rules.end(), rule) == rules.end()) rules.push_back(rule);
    }
  }
  const json::array* held = arrayAt(role->value, {"rules"});
  if (held != nullptr ? *held == rules : rules.empty()) return {};
  json::object next = role->value;
  next["rules"] = std::move(rules);
  const Result<DocumentPtr> updated = client_.update(roles_.kind(), {"", name}, std::move(next));
  if (updated || isRace(updated.error())) return {};
  return updated.error();
}

}  // namespace podpass::controllers
