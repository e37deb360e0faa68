#include "controllers/default_service_account.h"

#include "controllers/object.h"

namespace podpass::controllers {
namespace {

constexpr const char* kName = "default";

}  // namespace

DefaultServiceAccount::DefaultServiceAccount(api::Client& client, const Clock& clock, Informers& informers)
    : client_(client),
      namespaces_(informers.of("", "namespaces")),
      accounts_(informers.of("", "serviceaccounts")),
      loop_("default-service-account", clock, [this](const std::string& ns) { return visit(ns); }) {
  namespaces_.onChange([this](const api::Kind&, const DocumentPtr&, const DocumentPtr& now) {
    if (now) loop_.queue().add(nameOf(now->value));
  });
  accounts_.onChange([this](const api::Kind&, const DocumentPtr& before, const DocumentPtr& now) {
    if (!now && nameOf(before->value) == kName) loop_.queue().add(namespaceOf(before->value));
  });
}

Result<void> DefaultServiceAccount::visit(const std::string& ns) {
  const DocumentPtr found = namespaces_.get("", ns);
  if (!found || isEnding(found->value) || textAt(found->value, {"status", "phase"}) == "Terminating") return {};
  if (accounts_.get(ns, kName)) return {};
  json::object account{{"apiVersion", "v1"}, {"kind", "ServiceAccount"}, {"metadata", json::object{{"name", kName}, {"namespace", ns}}}};
  const Result<DocumentPtr> made = client_.create(coreKind("serviceaccounts"), ns, std::move(account));
  if (made || made.error().reason == Reason::AlreadyExists || namespaceEnds(made.error())) return {};
  return made.error();
}

}  // namespace podpass::controllers
