#include "controllers/iam_status.h"

#include "api/iam_names.h"
#include "controllers/object.h"

namespace podpass::controllers {

IamStatus::IamStatus(api::Client& client, const Clock& clock, Informers& informers, std::string account)
    : client_(client),
      roles_(informers.of("iam.podpass.dev", "roles")),
      providers_(informers.of("iam.podpass.dev", "oidcproviders")),
      account_(std::move(account)),
      loop_("iam-status", clock, [this](const std::string& key) { return visit(key); }) {
  for (Informer* informer : {&roles_, &providers_})
    informer->onChange([this](const api::Kind& kind, const DocumentPtr&, const DocumentPtr& now) {
      if (now) loop_.queue().add(std::string(kind.plural) + "/" + nameOf(now->value));
    });
}

Result<void> IamStatus::visit(const std::string& key) {
  const bool isRole = key.starts_with("roles/");
  const std::string name = key.substr(key.find('/') + 1);
  const Informer& informer = isRole ? roles_ : providers_;
  const DocumentPtr object = informer.get("", name);
  if (!object) return {};
  json::object status;
  status["arn"] = isRole ? api::roleArn(account_, object->value) : api::providerArn(account_, textAt(object->value, {"spec", "url"}));
  if (isRole) status["roleID"] = api::roleId(object->value);
  const json::object* held = objectAt(object->value, {"status"});
  if (held != nullptr && *held == status) return {};
  json::object next = object->value;
  next["status"] = std::move(status);
  const Result<DocumentPtr> updated = client_.updateStatus(informer.kind(), {"", name}, std::move(next));
  if (updated || isRace(updated.error())) return {};
  return updated.error();
}

}  // namespace podpass::controllers
