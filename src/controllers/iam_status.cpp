#include "controllers/iam_status.h"

#include "api/iam_names.h"
#include "base/text.h"
#include "controllers/object.h"

namespace podpass::controllers {

IamStatus::IamStatus(api::Client& client, const Clock& clock, Informers& informers, std::string account)
    : client_(client),
      clock_(clock),
      roles_(informers.of("iam.podpass.dev", "roles")),
      providers_(informers.of("iam.podpass.dev", "oidcproviders")),
      account_(std::move(account)),
      loop_("iam-status", clock, [this](const std::string& key) { return visit(key); }) {
  for (Informer* informer : {&roles_, &providers_})
    informer->onChange([this](const api::Kind& kind, const DocumentPtr&, const DocumentPtr& now) {
      if (now) loop_.queue().add(std::string(kind.plural) + "/" + nameOf(now->value));
    });
  providers_.onChange([this](const api::Kind&, const DocumentPtr& before, const DocumentPtr& now) {
    if (before && now) return;  // a url cannot change: only who comes and goes matters to the others of the same url
    const std::string_view url = textAt((now ? now : before)->value, {"spec", "url"});
    for (const DocumentPtr& each : providers_.list())
      if (textAt(each->value, {"spec", "url"}) == url) loop_.queue().add("oidcproviders/" + nameOf(each->value));
  });
}

json::object IamStatus::providerStatus(const json::object& provider) const {
  const std::string url(textAt(provider, {"spec", "url"}));
  DocumentPtr oldest;
  for (const DocumentPtr& each : providers_.list())
    if (textAt(each->value, {"spec", "url"}) == url && (!oldest || api::providerAge(each->value) < api::providerAge(oldest->value)))
      oldest = each;
  if (!oldest || nameOf(oldest->value) == nameOf(provider)) return {{"arn", api::providerArn(account_, url)}};
  json::object used{
      {"type", "Used"},
      {"status", "False"},
      {"reason", "EntityAlreadyExists"},
      {"message", "Provider with url " + url + " already exists: " + nameOf(oldest->value) + " is older and is the one that counts"}};
  std::string since = rfc3339(clock_.now());
  if (const json::array* held = arrayAt(provider, {"status", "conditions"});
      held != nullptr && held->size() == 1 && held->front().is_object())
    since = textAt(held->front().get_object(), {"lastTransitionTime"});
  used["lastTransitionTime"] = since;
  return {{"conditions", json::array{std::move(used)}}};
}

Result<void> IamStatus::visit(const std::string& key) {
  const bool isRole = key.starts_with("roles/");
  const std::string name = key.substr(key.find('/') + 1);
  const Informer& informer = isRole ? roles_ : providers_;
  const DocumentPtr object = informer.get("", name);
  if (!object) return {};
  json::object status = isRole ? json::object{{"arn", api::roleArn(account_, object->value)}, {"roleID", api::roleId(object->value)}}
                               : providerStatus(object->value);
  const json::object* held = objectAt(object->value, {"status"});
  if (held != nullptr && *held == status) return {};
  json::object next = object->value;
  next["status"] = std::move(status);
  const Result<DocumentPtr> updated = client_.updateStatus(informer.kind(), {"", name}, std::move(next));
  if (updated || isRace(updated.error())) return {};
  return updated.error();
}

}  // namespace podpass::controllers
