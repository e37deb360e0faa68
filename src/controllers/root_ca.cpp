#include "controllers/root_ca.h"

#include "controllers/object.h"

namespace podpass::controllers {
namespace {

constexpr const char* kName = "kube-root-ca.crt";
constexpr const char* kAnnotation = "kubernetes.io/description";
constexpr const char* kDescription =
    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal service IP or "
    "kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes clusters.";

bool isGood(const json::object& configMap, const json::object& data) {
  const json::object* held = objectAt(configMap, {"data"});
  const json::object* binary = objectAt(configMap, {"binaryData"});
  return held != nullptr && *held == data && (binary == nullptr || binary->empty()) &&
         !textAt(configMap, {"metadata", "annotations", kAnnotation}).empty();
}

}  // namespace

RootCa::RootCa(api::Client& client, const Clock& clock, Informers& informers, std::string pem)
    : client_(client),
      namespaces_(informers.of("", "namespaces")),
      configMaps_(informers.of("", "configmaps")),
      pem_(std::move(pem)),
      loop_("root-ca", clock, [this](const std::string& ns) { return visit(ns); }) {
  namespaces_.onChange([this](const api::Kind&, const DocumentPtr&, const DocumentPtr& now) {
    if (now) loop_.queue().add(nameOf(now->value));
  });
  configMaps_.onChange([this](const api::Kind&, const DocumentPtr& before, const DocumentPtr& now) {
    const json::object& either = (now ? now : before)->value;
    if (nameOf(either) == kName) loop_.queue().add(namespaceOf(either));
  });
}

Result<void> RootCa::visit(const std::string& ns) {
  const DocumentPtr found = namespaces_.get("", ns);
  if (pem_.empty() || !found || isEnding(found->value)) return {};
  const json::object data{{"ca.crt", pem_}};
  const DocumentPtr configMap = configMaps_.get(ns, kName);
  if (!configMap) {
    json::object metadata{{"name", kName}, {"namespace", ns}, {"annotations", json::object{{kAnnotation, kDescription}}}};
    json::object object{{"apiVersion", "v1"}, {"kind", "ConfigMap"}, {"metadata", std::move(metadata)}, {"data", data}};
    const Result<DocumentPtr> made = client_.create(coreKind("configmaps"), ns, std::move(object));
    // AlreadyExists: the informer is a moment behind, and will bring us back
    if (made || made.error().reason == Reason::AlreadyExists || namespaceEnds(made.error())) return {};
    return made.error();
  }
  if (isGood(configMap->value, data)) return {};
  json::object next = configMap->value;
  next["data"] = data;
  next.erase("binaryData");
  makeObjectAt(next, {"metadata", "annotations"})[kAnnotation] = kDescription;
  const Result<DocumentPtr> restored = client_.update(coreKind("configmaps"), {ns, kName}, std::move(next));
  if (restored || isRace(restored.error())) return {};
  return restored.error();
}

}  // namespace podpass::controllers
