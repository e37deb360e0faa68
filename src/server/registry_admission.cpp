#include "server/registry.h"
#include "server/stored_object.h"
#include "server/webhook_admission.h"

// The two halves of admission: plugins, then webhooks.
namespace podpass::server {
namespace {

// Webhooks change what users may change, no more.
void keepServersOwn(const AdmissionRequest& request, const json::object& own, json::object& object) {
  for (const char* member : kServersMetadata) keep(own, makeObjectAt(object, {"metadata"}), member);
  if (!request.kind.hasStatus || request.subresource == "status") return;
  if (own.contains("status"))
    object["status"] = own.at("status");
  else
    object.erase("status");
}

}  // namespace

asio::awaitable<Result<void>> Registry::mutate(Context& context, const AdmissionRequest& request, json::object* object,
                                               const json::object* before) {
  const WebhookAdmission* webhooks = webhooks_.load();
  if (admission_ != nullptr && object != nullptr)
    if (Result<void> admitted = admission_->mutate(request, *object); !admitted) co_return admitted;
  if (webhooks == nullptr || !webhooks->mutates(request)) co_return Result<void>();
  WebhookAdmission::Mutation mutation = webhooks->begin();
  const json::object own = object != nullptr ? *object : json::object();
  Result<void> admitted = co_await webhooks->mutate(context, request, object, before, mutation);
  if (admitted && mutation.changed) {
    // what a webhook added may need what the plugins give: a new container its token
    if (admission_ != nullptr) admitted = admission_->mutate(request, *object);
    if (admitted) admitted = co_await webhooks->mutate(context, request, object, before, mutation);
    keepServersOwn(request, own, *object);
  }
  co_return admitted;
}

asio::awaitable<Result<void>> Registry::validate(Context& context, const AdmissionRequest& request, const json::object* object,
                                                 const json::object* before) {
  const WebhookAdmission* webhooks = webhooks_.load();
  if (admission_ != nullptr)
    if (Result<void> admitted = admission_->validate(request, object, before); !admitted) co_return admitted;
  if (webhooks == nullptr || !webhooks->validates(request)) co_return Result<void>();
  const Admitted what{object, before};
  Result<void> admitted = co_await webhooks->validate(context, request, what);
  co_return admitted;
}

asio::awaitable<Result<void>> Registry::admitBody(Context& context, AdmissionRequest request, json::object& body) {
  const WebhookAdmission* webhooks = webhooks_.load();
  if (webhooks == nullptr) co_return Result<void>();
  if (webhooks->mutates(request)) {
    WebhookAdmission::Mutation mutation = webhooks->begin();
    Result<void> admitted = co_await webhooks->mutate(context, request, &body, nullptr, mutation);
    if (admitted && mutation.changed) admitted = co_await webhooks->mutate(context, request, &body, nullptr, mutation);
    if (!admitted) co_return admitted;
  }
  if (!webhooks->validates(request)) co_return Result<void>();
  const Admitted what{&body, nullptr};
  Result<void> admitted = co_await webhooks->validate(context, request, what);
  co_return admitted;
}

}  // namespace podpass::server
