#include "irsa/custom_resource_definition.h"

#include "api/kinds.h"

namespace podpass::irsa {
namespace {

constexpr std::string_view kSubdomain = R"(^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$)";
constexpr std::string_view kLabel = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";
constexpr std::string_view kAccount =
    R"(^(\*|[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)/[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$)";
constexpr std::string_view kTemplate = R"(^([^$]|\$+[^${]|\$+\{(tokenFile|mountPath|namespace|serviceAccount|annotation:[^}]+)\})*\$*$)";
constexpr std::string_view kRelativePath = R"(^(([^/.][^/]*|\.([^/.][^/]*)?)(/([^/.][^/]*|\.([^/.][^/]*)?|\.\.[^/]+)?)*)?$)";
constexpr std::string_view kRoleArn = "^arn:aws.*:iam::.*:role/.*$";
constexpr std::string_view kProviderUrl = R"(^(https://[^/:?#@ ][^?#@ ]*|http://(localhost|127(\.[0-9]{1,3}){3}|\[::1\])([:/][^?#@ ]*)?)$)";

// What the function of a text checks; of a list or map each element or key is meant.
struct Form {
  std::string_view path, pattern = {};
  int maxLength = 0;  // 0: none
  int maxItems = 0;   // so, too
};
struct Rule {  // in CEL
  std::string_view path, rule, message;
};
struct PrinterColumn {
  std::string_view name, type, jsonPath;
};
// What the table of a kind says by functions.
struct Portable {
  const api::Kind& (*kind)();
  std::vector<Form> forms;
  std::vector<Rule> rules;
  std::vector<PrinterColumn> columns;
};

const std::vector<Portable>& portables() {
  static const std::vector<Portable> all{
      {api::tokenInjectionKind,
       {{"spec.match.serviceAccounts", kAccount, 317},
        {"spec.audience", kTemplate},
        {"spec.volumeName", kLabel, 63},
        {"spec.mountPath", "^/[^:]*$"},
        {"spec.tokenPath", kRelativePath},
        {"spec.env.name", R"(^[ -<>-~]+$)"},
        {"spec.env.value", kTemplate},
        {"spec.files.path", kRelativePath},
        {"spec.files.text", kTemplate}},
       {{"spec", "has(self.profile) || (has(self.volumeName) && has(self.mountPath) && has(self.match))",
         "volumeName, mountPath and match are required without a profile"}},
       {{"Profile", "string", ".spec.profile"}, {"Audience", "string", ".spec.audience"}, {"Age", "date", ".metadata.creationTimestamp"}}},
      {api::podIdentityAssociationKind,
       {{"spec.serviceAccountName", kSubdomain, 253}, {"spec.roleArn", kRoleArn, 2048}, {"spec.targetRoleArn", kRoleArn, 2048}},
       {{"spec.serviceAccountName", "self == oldSelf", "field is immutable"}},
       {{"Service Account", "string", ".spec.serviceAccountName"},
        {"Role", "string", ".spec.roleArn"},
        {"Age", "date", ".metadata.creationTimestamp"}}},
      {api::iamRoleKind,
       {{"spec.path", "^/([!-~]*/)?$", 512}},
       {{"", "self.metadata.name.size() <= 64", "metadata.name must be 1 to 64 characters"}},
       {{"ARN", "string", ".status.arn"}, {"Age", "date", ".metadata.creationTimestamp"}}},
      {api::oidcProviderKind,
       {{"spec.url", kProviderUrl, 255}, {"spec.clientIDs", "^.+$", 255, 100}, {"spec.thumbprints", "^[0-9a-fA-F]{40}$", 0, 5}},
       {{"spec.url", "self == oldSelf", "field is immutable"}},
       {{"URL", "string", ".spec.url"}, {"ARN", "string", ".status.arn"}, {"Age", "date", ".metadata.creationTimestamp"}}}};
  return all;
}

json::object schemaOf(const api::Field& field, const std::string& path, const Portable& portable);

json::object schemaOf(const std::vector<api::Field>& fields, const std::string& path, const Portable& portable) {
  json::object properties;
  json::array needed;
  for (const api::Field& field : fields) {
    properties[field.name] = schemaOf(field, path.empty() ? std::string(field.name) : path + "." + std::string(field.name), portable);
    if (field.required) needed.emplace_back(field.name);
  }
  json::object schema{{"type", "object"}, {"properties", std::move(properties)}};
  if (!needed.empty()) schema["required"] = std::move(needed);
  return schema;
}

json::object scalar(api::Type type) {
  switch (type) {
    case api::Type::Integer:
      return {{"type", "integer"}, {"format", "int64"}};
    case api::Type::Boolean:
      return {{"type", "boolean"}};
    case api::Type::Bytes:
      return {{"type", "string"}, {"format", "byte"}};
    case api::Type::Time:
      return {{"type", "string"}, {"format", "date-time"}};
    case api::Type::Any:
      return {{"x-kubernetes-preserve-unknown-fields", true}};
    default:
      return {{"type", "string"}};
  }
}

json::object shapeOf(const api::Field& field, const std::string& path, const Portable& portable) {
  const bool parts = field.type == api::Type::Object || !field.of.empty();
  json::object inner = parts ? schemaOf(field.of, path, portable)
                             : scalar(field.type == api::Type::List || field.type == api::Type::Map ? field.element : field.type);
  if (field.type == api::Type::List) return {{"type", "array"}, {"items", std::move(inner)}};
  if (field.type == api::Type::Map) return {{"type", "object"}, {"additionalProperties", std::move(inner)}};
  return inner;
}

void constrain(json::object& schema, const api::Field& field) {
  if (!field.oneOf.empty()) schema["enum"] = json::array(field.oneOf.begin(), field.oneOf.end());
  if (field.range) {
    schema["minimum"] = field.range->low;
    if (field.range->high != INT64_MAX) schema["maximum"] = field.range->high;
  }
  if (!field.byDefault.empty()) schema["default"] = json::parse(field.byDefault);
  if (field.required && field.type == api::Type::String) schema["minLength"] = 1;
  if (field.required && field.type == api::Type::List) schema["minItems"] = 1;
  if (field.type == api::Type::List && !field.listKeys().empty()) {
    schema["x-kubernetes-list-type"] = "map";
    const std::vector<std::string_view> keys = field.listKeys();
    schema["x-kubernetes-list-map-keys"] = json::array(keys.begin(), keys.end());
  }
}

void addRules(json::object& schema, const std::string& path, const Portable& portable) {
  for (const Rule& rule : portable.rules)
    if (rule.path == path) schema["x-kubernetes-validations"] = json::array{json::object{{"rule", rule.rule}, {"message", rule.message}}};
}

json::object schemaOf(const api::Field& field, const std::string& path, const Portable& portable) {
  json::object schema = shapeOf(field, path, portable);
  constrain(schema, field);
  for (const Form& form : portable.forms) {
    if (form.path != path) continue;
    json::object& each = field.type == api::Type::List ? schema["items"].get_object() : schema;
    if (!form.pattern.empty()) each["pattern"] = form.pattern;
    if (form.maxLength != 0) each["maxLength"] = form.maxLength;
    if (form.maxItems != 0) schema["maxItems"] = form.maxItems;
  }
  addRules(schema, path, portable);
  if (!field.doc.empty()) schema["description"] = field.doc;
  return schema;
}

json::object namesOf(const api::Kind& kind) {
  json::object names{
      {"kind", kind.kind}, {"listKind", std::string(kind.kind) + "List"}, {"plural", kind.plural}, {"singular", kind.singular}};
  if (!kind.shortNames.empty()) names["shortNames"] = json::array(kind.shortNames.begin(), kind.shortNames.end());
  return names;
}

const Portable& portableOf(const api::Kind& kind) {
  for (const Portable& each : portables())
    if (&each.kind() == &kind) return each;
  std::abort();
}

}  // namespace

std::vector<const api::Kind*> portableKinds() {
  std::vector<const api::Kind*> kinds;
  for (const Portable& each : portables()) kinds.push_back(&each.kind());
  return kinds;
}

json::object customResourceDefinition(const api::Kind& kind) {
  const Portable& portable = portableOf(kind);
  json::object schema = schemaOf(kind.fields, "", portable);
  schema["description"] = kind.doc;
  addRules(schema, "", portable);
  json::object version{{"name", kind.version}, {"served", true}, {"storage", true}};
  json::array columns;
  for (const PrinterColumn& column : portable.columns)
    columns.push_back(json::object{{"name", column.name}, {"type", column.type}, {"jsonPath", column.jsonPath}});
  version["additionalPrinterColumns"] = std::move(columns);
  version["schema"] = json::object{{"openAPIV3Schema", std::move(schema)}};
  if (kind.hasStatus) version["subresources"] = json::object{{"status", json::object()}};
  json::object spec{{"group", kind.group}, {"scope", kind.namespaced ? "Namespaced" : "Cluster"}, {"names", namesOf(kind)}};
  spec["versions"] = json::array{std::move(version)};
  return {{"apiVersion", "apiextensions.k8s.io/v1"},
          {"kind", "CustomResourceDefinition"},
          {"metadata", json::object{{"name", kind.qualifiedPlural()}}},
          {"spec", std::move(spec)}};
}

}  // namespace podpass::irsa
