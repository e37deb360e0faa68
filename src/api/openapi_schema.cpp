#include "api/openapi_schema.h"

#include <cctype>

namespace podpass::api {
namespace {

constexpr std::string_view kMeta = "io.k8s.apimachinery.pkg.apis.meta.v1.";
constexpr std::string_view kQuantity = "io.k8s.apimachinery.pkg.api.resource.Quantity";
constexpr std::string_view kIntOrString = "io.k8s.apimachinery.pkg.util.intstr.IntOrString";

json::object text(std::string_view doc, std::string_view format = {}) {
  json::object schema;
  if (!doc.empty()) schema["description"] = doc;
  schema["type"] = "string";
  if (!format.empty()) schema["format"] = format;
  return schema;
}

json::object typeMeta() {
  json::object properties;
  properties["apiVersion"] = text("APIVersion defines the versioned schema of this representation of an object.");
  properties["kind"] = text("Kind is a string value representing the REST resource this object represents.");
  return properties;
}

json::object object(std::string_view doc, json::object properties, json::array required = {}) {
  json::object schema;
  if (!doc.empty()) schema["description"] = doc;
  schema["type"] = "object";
  if (!required.empty()) schema["required"] = std::move(required);
  if (!properties.empty()) schema["properties"] = std::move(properties);
  return schema;
}

void addKind(json::object& schema, const Kind& kind, std::string_view suffix) {
  json::array kinds;
  kinds.push_back(gvkOf(kind.group, kind.version, std::string(kind.kind) + std::string(suffix)));
  schema["x-kubernetes-group-version-kind"] = std::move(kinds);
}

// What the server fills in, a client need not send.
bool isRequired(const Field& field) { return field.required && field.byDefault.empty(); }

}  // namespace

std::string metaName(std::string_view name) { return std::string(kMeta) + std::string(name); }

json::object gvkOf(std::string_view group, std::string_view version, std::string_view kind) {
  return {{"group", group}, {"kind", kind}, {"version", version}};
}

Schemas::Schemas(bool v3) : v3_(v3) { addCommon(); }

void Schemas::add(const Kind& kind) {
  const std::string name(kind.definition);
  if (name.empty() || definitions_.contains(name)) return;
  json::object properties = typeMeta();
  properties["metadata"] = reference(metaName("ObjectMeta"), "Standard object's metadata.");
  json::array required;
  for (const Field& field : kind.fields) {
    properties[field.name] = topLevel(kind, field);
    if (isRequired(field)) required.push_back(json::value(field.name));
  }
  json::object schema = object(kind.doc, std::move(properties), std::move(required));
  addKind(schema, kind, "");
  definitions_[name] = std::move(schema);
  if (!kind.isVirtual && !kind.plural.empty()) addList(kind);
}

json::object Schemas::reference(std::string_view name, std::string_view doc) const {
  json::object target{{"$ref", (v3_ ? "#/components/schemas/" : "#/definitions/") + std::string(name)}};
  if (doc.empty()) return target;
  json::object schema{{"description", doc}};
  if (v3_) {  // OpenAPI 3.0 allows nothing beside a $ref
    json::array all;
    all.push_back(std::move(target));
    schema["allOf"] = std::move(all);
  } else {
    schema["$ref"] = target["$ref"];
  }
  return schema;
}

// `spec` and `status` have names of their own (PodSpec); what is deeper stands inline.
json::object Schemas::topLevel(const Kind& kind, const Field& field) {
  if (field.type != Type::Object || field.of.empty() || (field.name != "spec" && field.name != "status")) return schemaOf(field);
  std::string name = std::string(kind.definition) + std::string(field.name);
  char& initial = name[kind.definition.size()];
  initial = static_cast<char>(std::toupper(static_cast<unsigned char>(initial)));
  definitions_[name] = structure(field.of, {});  // the reference carries the text; kubectl explain prints both
  return reference(name, field.doc.empty() ? field.name : field.doc);
}

json::object Schemas::structure(const std::vector<Field>& fields, std::string_view doc) const {
  json::object properties;
  json::array required;
  for (const Field& field : fields) {
    properties[field.name] = schemaOf(field);
    if (isRequired(field)) required.push_back(json::value(field.name));
  }
  return object(doc, std::move(properties), std::move(required));
}

json::object Schemas::scalar(Type type, std::string_view doc) const {
  switch (type) {
    case Type::Integer: {
      json::object schema{{"type", "integer"}, {"format", "int64"}};
      if (!doc.empty()) schema["description"] = doc;
      return schema;
    }
    case Type::Boolean: {
      json::object schema{{"type", "boolean"}};
      if (!doc.empty()) schema["description"] = doc;
      return schema;
    }
    case Type::Bytes:
      return text(doc, "byte");
    case Type::Time:
      return reference(metaName("Time"), doc);
    case Type::MicroTime:
      return reference(metaName("MicroTime"), doc);
    case Type::Quantity:
      return reference(kQuantity, doc);
    case Type::IntOrString:
      return reference(kIntOrString, doc);
    case Type::Any:
    case Type::Object:
      return object(doc, {});
    default:
      return text(doc);
  }
}

json::object Schemas::schemaOf(const Field& field) const {
  switch (field.type) {
    case Type::Object: {
      json::object schema = structure(field.of, field.doc);
      if (field.atomic) schema["x-kubernetes-map-type"] = "atomic";
      return schema;
    }
    case Type::List:
      return list(field);
    case Type::Map: {
      json::object schema = object(field.doc, {});
      schema["additionalProperties"] = mapValue(field);
      if (field.atomic) schema["x-kubernetes-map-type"] = "atomic";
      return schema;
    }
    case Type::Any: {
      if (!field.orText) return scalar(field.type, field.doc);
      json::object schema{{"description", field.doc}, {"x-kubernetes-preserve-unknown-fields", true}};
      return schema;
    }
    default: {
      json::object schema = scalar(field.type, field.doc);
      if (field.oneOf.empty()) return schema;
      json::array values;
      for (const std::string_view value : field.oneOf) values.push_back(json::value(value));
      schema["enum"] = std::move(values);
      return schema;
    }
  }
}

json::object Schemas::mapValue(const Field& field) const {
  if (!field.of.empty()) return structure(field.of, {});
  if (field.element != Type::List) return scalar(field.element, {});
  json::object texts{{"type", "array"}};
  texts["items"] = scalar(Type::String, {});
  return texts;
}

json::object Schemas::list(const Field& field) const {
  json::object schema;
  if (!field.doc.empty()) schema["description"] = field.doc;
  schema["type"] = "array";
  schema["items"] = field.of.empty() ? scalar(field.element, {}) : structure(field.of, {});
  if (!field.mergeKey.empty()) {
    json::array keys;
    for (const std::string_view key : field.listKeys()) keys.push_back(json::value(key));
    schema["x-kubernetes-list-type"] = keys.empty() ? "atomic" : "map";
    if (!keys.empty()) schema["x-kubernetes-list-map-keys"] = std::move(keys);
    schema["x-kubernetes-patch-merge-key"] = field.mergeKey;
    schema["x-kubernetes-patch-strategy"] = field.retainKeys ? "merge,retainKeys" : "merge";
  } else if (field.setMerge) {
    schema["x-kubernetes-list-type"] = "set";
    schema["x-kubernetes-patch-strategy"] = "merge";
  } else {
    schema["x-kubernetes-list-type"] = "atomic";
  }
  return schema;
}

void Schemas::addList(const Kind& kind) {
  json::object items{{"type", "array"}};
  items["items"] = reference(kind.definition);
  json::object properties = typeMeta();
  properties["items"] = std::move(items);
  properties["metadata"] = reference(metaName("ListMeta"), "Standard list metadata.");
  json::object schema = object(std::string(kind.kind) + "List is a list of " + std::string(kind.kind) + " objects.", std::move(properties),
                               json::array{"items"});
  addKind(schema, kind, "List");
  definitions_[std::string(kind.definition) + "List"] = std::move(schema);
}

void Schemas::addCommon() {
  definitions_[metaName("Time")] = text("Time is written as RFC 3339, in seconds.", "date-time");
  definitions_[metaName("MicroTime")] = text("MicroTime is written as RFC 3339 with microseconds.", "date-time");
  definitions_[metaName("Patch")] = object("Patch is provided to give a concrete name and type to the Kubernetes PATCH request body.", {});
  definitions_[metaName("ObjectMeta")] = structure(metadataFields(), "ObjectMeta is metadata that all persisted resources must have.");
  json::object listMeta;
  for (const std::string_view name : {"continue", "resourceVersion", "selfLink"}) listMeta[name] = text({});
  listMeta["remainingItemCount"] = scalar(Type::Integer, {});
  definitions_[metaName("ListMeta")] = object("ListMeta describes metadata that lists must have.", std::move(listMeta));
  json::object status = typeMeta();
  for (const std::string_view name : {"message", "reason", "status"}) status[name] = text({});
  status["code"] = scalar(Type::Integer, {});
  status["details"] = object("Extended data associated with the reason.", {});
  status["metadata"] = reference(metaName("ListMeta"), "Standard list metadata.");
  json::object schema = object("Status is a return value for calls that do not return other objects.", std::move(status));
  json::array kinds;
  kinds.push_back(gvkOf("", "v1", "Status"));
  schema["x-kubernetes-group-version-kind"] = std::move(kinds);
  definitions_[metaName("Status")] = std::move(schema);
  definitions_[kQuantity] = either("Quantity is a fixed-point representation of a number.", {}, "number");
  definitions_[kIntOrString] = either("IntOrString is a type that can hold an int32 or a string.", "int-or-string", "integer");
}

// Version 2 cannot say "or": its clients take a string schema for both.
json::object Schemas::either(std::string_view doc, std::string_view format, std::string_view other) const {
  if (!v3_) return text(doc, format);
  json::object schema{{"description", doc}};
  if (!format.empty()) schema["format"] = format;
  json::object first{{"type", other}}, second{{"type", "string"}};
  json::array choices;
  choices.push_back(std::move(first));
  choices.push_back(std::move(second));
  schema["oneOf"] = std::move(choices);
  return schema;
}

}  // namespace podpass::api
