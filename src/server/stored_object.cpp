#include "server/stored_object.h"

#include "server/registry.h"

namespace podpass::server {

std::string_view metaText(const json::object& object, std::string_view member) { return textAt(object, {"metadata", member}); }

void keep(const json::object& before, json::object& meta, std::string_view member) {
  const json::object* old = objectAt(before, {"metadata"});
  const json::value* value = old != nullptr ? old->if_contains(member) : nullptr;
  if (value != nullptr)
    meta[member] = *value;
  else
    meta.erase(member);
}

bool hasFinalizers(const json::object& object) {
  const json::array* finalizers = arrayAt(object, {"metadata", "finalizers"});
  const json::array* ofSpec = metaText(object, "name").empty() ? nullptr : arrayAt(object, {"spec", "finalizers"});
  return (finalizers != nullptr && !finalizers->empty()) ||
         (ofSpec != nullptr && !ofSpec->empty() && textAt(object, {"kind"}) == "Namespace");
}

std::string keyOf(const api::Kind& kind, const std::string& ns, const std::string& name) { return Registry::prefixOf(kind, ns) + name; }

json::object ordered(const api::Kind& kind, json::object object) {
  json::object out{{"kind", kind.kind}, {"apiVersion", kind.apiVersion()}, {"metadata", object["metadata"]}};
  for (auto& [name, value] : object)
    if (!out.contains(name)) out[name] = std::move(value);
  return out;
}

DocumentPtr unstored(json::object object) {
  auto document = std::make_shared<Document>();
  document->text = json::serialize(object);
  document->value = std::move(object);
  return document;
}

}  // namespace podpass::server
