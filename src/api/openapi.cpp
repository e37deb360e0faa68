#include <cctype>
#include <set>

#include "api/discovery.h"
#include "base/text.h"

// OpenAPI derived from the kinds. One walker makes the schemas for both versions; they differ in how a reference is written. The
// protobuf form is an encoding of the v2 document, not a second derivation.
namespace podpass::api {
namespace {

constexpr std::string_view kMeta = "io.k8s.apimachinery.pkg.apis.meta.v1.";
constexpr std::string_view kQuantity = "io.k8s.apimachinery.pkg.api.resource.Quantity";
constexpr std::string_view kIntOrString = "io.k8s.apimachinery.pkg.util.intstr.IntOrString";
constexpr std::string_view kVersion = "v1.32.0";

std::string metaName(std::string_view name) { return std::string(kMeta) + std::string(name); }

json::object gvkOf(std::string_view group, std::string_view version, std::string_view kind) {
  return {{"group", group}, {"kind", kind}, {"version", version}};
}

// ---- schemas

class Schemas {
 public:
  explicit Schemas(bool v3) : v3_(v3) { addCommon(); }

  void add(const Kind& kind) {
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

  json::object take() { return std::move(definitions_); }

  json::object reference(std::string_view name, std::string_view doc = {}) const {
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

 private:
  static json::object text(std::string_view doc, std::string_view format = {}) {
    json::object schema;
    if (!doc.empty()) schema["description"] = doc;
    schema["type"] = "string";
    if (!format.empty()) schema["format"] = format;
    return schema;
  }

  static json::object typeMeta() {
    json::object properties;
    properties["apiVersion"] = text("APIVersion defines the versioned schema of this representation of an object.");
    properties["kind"] = text("Kind is a string value representing the REST resource this object represents.");
    return properties;
  }

  static json::object object(std::string_view doc, json::object properties, json::array required = {}) {
    json::object schema;
    if (!doc.empty()) schema["description"] = doc;
    schema["type"] = "object";
    if (!required.empty()) schema["required"] = std::move(required);
    if (!properties.empty()) schema["properties"] = std::move(properties);
    return schema;
  }

  static void addKind(json::object& schema, const Kind& kind, std::string_view suffix) {
    json::array kinds;
    kinds.push_back(gvkOf(kind.group, kind.version, std::string(kind.kind) + std::string(suffix)));
    schema["x-kubernetes-group-version-kind"] = std::move(kinds);
  }

  // What the server fills in, a client need not send.
  static bool isRequired(const Field& field) { return field.required && field.byDefault.empty(); }

  // `spec` and `status` have names of their own (PodSpec); what is deeper stands inline.
  json::object topLevel(const Kind& kind, const Field& field) {
    if (field.type != Type::Object || field.of.empty() || (field.name != "spec" && field.name != "status")) return schemaOf(field);
    std::string name = std::string(kind.definition) + std::string(field.name);
    char& initial = name[kind.definition.size()];
    initial = static_cast<char>(std::toupper(static_cast<unsigned char>(initial)));
    definitions_[name] = structure(field.of, {});  // the reference carries the text; kubectl explain prints both
    return reference(name, field.doc.empty() ? field.name : field.doc);
  }

  json::object structure(const std::vector<Field>& fields, std::string_view doc) const {
    json::object properties;
    json::array required;
    for (const Field& field : fields) {
      properties[field.name] = schemaOf(field);
      if (isRequired(field)) required.push_back(json::value(field.name));
    }
    return object(doc, std::move(properties), std::move(required));
  }

  json::object scalar(Type type, std::string_view doc) const {
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

  json::object schemaOf(const Field& field) const {
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
        schema["additionalProperties"] = field.of.empty() ? scalar(field.element, {}) : structure(field.of, {});
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

  json::object list(const Field& field) const {
    json::object schema;
    if (!field.doc.empty()) schema["description"] = field.doc;
    schema["type"] = "array";
    schema["items"] = field.of.empty() ? scalar(field.element, {}) : structure(field.of, {});
    if (!field.mergeKey.empty()) {
      json::array keys;
      keys.push_back(json::value(field.mergeKey));
      // A port number is unique per protocol only.
      if (field.mergeKey == "containerPort" && findField(field.of, "protocol") != nullptr) keys.push_back("protocol");
      schema["x-kubernetes-list-type"] = "map";
      schema["x-kubernetes-list-map-keys"] = std::move(keys);
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

  void addList(const Kind& kind) {
    json::object items{{"type", "array"}};
    items["items"] = reference(kind.definition);
    json::object properties = typeMeta();
    properties["items"] = std::move(items);
    properties["metadata"] = reference(metaName("ListMeta"), "Standard list metadata.");
    json::object schema = object(std::string(kind.kind) + "List is a list of " + std::string(kind.kind) + " objects.",
                                 std::move(properties), json::array{"items"});
    addKind(schema, kind, "List");
    definitions_[std::string(kind.definition) + "List"] = std::move(schema);
  }

  void addCommon() {
    definitions_[metaName("Time")] = text("Time is written as RFC 3339, in seconds.", "date-time");
    definitions_[metaName("MicroTime")] = text("MicroTime is written as RFC 3339 with microseconds.", "date-time");
    definitions_[metaName("Patch")] =
        object("Patch is provided to give a concrete name and type to the Kubernetes PATCH request body.", {});
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
  json::object either(std::string_view doc, std::string_view format, std::string_view other) const {
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

  bool v3_;
  json::object definitions_;
};

// ---- paths

struct Body {  // what an operation is about
  std::string_view group, version, kind, definition;
};

Body bodyOf(const Kind& kind) { return {kind.group, kind.version, kind.kind, kind.definition}; }

const Kind* bodyKind(const Kind& kind, const Subresource& sub) {
  if (sub.kind.empty() || sub.kind == kind.kind) return &kind;
  return sub.group.empty() ? findBodyKind(kind.group, kind.version, sub.kind) : findBodyKind(sub.group, sub.version, sub.kind);
}

Body bodyOf(const Kind& kind, const Subresource& sub) {
  if (const Kind* body = bodyKind(kind, sub)) return bodyOf(*body);
  const bool foreign = !sub.group.empty();
  return {foreign ? sub.group : kind.group, foreign ? sub.version : kind.version, sub.kind, ""};
}

using Names = std::vector<std::string_view>;

Names queryParameters(std::string_view verb) {
  if (verb == "patch") return {"dryRun", "fieldManager", "fieldValidation", "force"};
  if (verb == "create" || verb == "update") return {"dryRun", "fieldManager", "fieldValidation"};
  if (verb == "delete") return {"dryRun", "gracePeriodSeconds", "orphanDependents", "propagationPolicy"};
  const Names list = {"allowWatchBookmarks",  "continue",          "fieldSelector",  "labelSelector", "limit", "resourceVersion",
                      "resourceVersionMatch", "sendInitialEvents", "timeoutSeconds", "watch"};
  if (verb == "list") return list;
  if (verb == "deletecollection") {
    Names both = queryParameters("delete");
    both.insert(both.end(), {"continue", "fieldSelector", "labelSelector", "limit", "resourceVersion", "resourceVersionMatch"});
    return both;
  }
  return {};
}

std::string_view typeOfParameter(std::string_view name) {
  static const std::set<std::string_view> booleans = {"allowWatchBookmarks", "force", "orphanDependents", "sendInitialEvents", "watch"};
  static const std::set<std::string_view> integers = {"gracePeriodSeconds", "limit", "timeoutSeconds"};
  return booleans.contains(name) ? "boolean" : integers.contains(name) ? "integer" : "string";
}

std::string_view methodOf(std::string_view verb) {
  if (verb == "get" || verb == "list") return "get";
  if (verb == "create") return "post";
  if (verb == "update") return "put";
  if (verb == "patch") return "patch";
  if (verb == "delete" || verb == "deletecollection") return "delete";
  return {};  // watch is a list
}

class Paths {
 public:
  explicit Paths(bool v3) : v3_(v3), schemas_(v3) {}

  void add(const Kind& kind) {
    schemas_.add(kind);
    const std::string root = kind.group.empty() ? "/api/" + std::string(kind.version) + "/" : "/apis/" + kind.apiVersion() + "/";
    const std::string plural(kind.plural);
    const std::string collection = root + (kind.namespaced ? "namespaces/{namespace}/" : "") + plural;
    const Body body = bodyOf(kind);
    for (const std::string_view verb : verbsOf(kind)) {
      const bool onCollection = verb == "create" || verb == "list" || verb == "deletecollection";
      addOperation(onCollection ? collection : collection + "/{name}", verb, body);
      if (verb == "list" && kind.namespaced) addOperation(root + plural, verb, body);
    }
    for (const Subresource& sub : kind.subresources) {
      if (const Kind* other = bodyKind(kind, sub)) schemas_.add(*other);
      for (const std::string_view verb : sub.verbs) addOperation(collection + "/{name}/" + std::string(sub.name), verb, bodyOf(kind, sub));
    }
  }

  json::object document() {
    json::object info{{"title", "Kubernetes"}, {"version", kVersion}};
    json::object document;
    document[v3_ ? "openapi" : "swagger"] = v3_ ? "3.0.0" : "2.0";
    document["info"] = std::move(info);
    document["paths"] = std::move(paths_);
    if (!v3_) {
      document["definitions"] = schemas_.take();
      return document;
    }
    json::object components;
    components["schemas"] = schemas_.take();
    document["components"] = std::move(components);
    return document;
  }

 private:
  json::object parameter(std::string_view name, std::string_view in) const {
    json::object parameter{{"name", name}, {"in", in}};
    if (in == "path") parameter["required"] = true;
    json::object schema{{"type", in == "path" ? "string" : typeOfParameter(name)}, {"uniqueItems", true}};
    if (v3_)
      parameter["schema"] = std::move(schema);
    else
      for (const auto& [key, value] : schema) parameter[key] = value;
    return parameter;
  }

  json::object& pathItem(const std::string& path) {
    json::object& item = paths_.contains(path) ? paths_.at(path).get_object() : paths_[path].emplace_object();
    if (!item.empty()) return item;
    json::array parameters;
    for (const std::string_view name : {"name", "namespace"})
      if (path.find("{" + std::string(name) + "}") != std::string::npos) parameters.push_back(parameter(name, "path"));
    if (!parameters.empty()) item["parameters"] = std::move(parameters);
    return item;
  }

  json::object schemaFor(const Body& body, std::string_view verb) const {
    if (body.definition.empty()) return json::object{{"type", "string"}};
    if (verb == "delete" || verb == "deletecollection") return schemas_.reference(metaName("Status"));
    return schemas_.reference(std::string(body.definition) + (verb == "list" ? "List" : ""));
  }

  static json::object content(const std::vector<std::string_view>& mediaTypes, const json::object& schema) {
    json::object content;
    for (const std::string_view type : mediaTypes) {
      json::object entry;
      entry["schema"] = schema;
      content[type] = std::move(entry);
    }
    return content;
  }

  void addOperation(const std::string& path, std::string_view verb, const Body& body) {
    const std::string_view method = methodOf(verb);
    if (method.empty()) return;
    json::object& item = pathItem(path);
    if (item.contains(method)) return;
    json::array parameters;
    for (const std::string_view name : queryParameters(verb)) parameters.push_back(parameter(name, "query"));
    const json::object result = schemaFor(body, verb);
    const bool writes = verb == "create" || verb == "update" || verb == "patch";
    const json::object sent = verb == "patch" ? schemas_.reference(metaName("Patch")) : schemaFor(body, verb);
    json::object operation;
    operation["description"] = std::string(verb) + " " + std::string(body.kind);
    json::object good{{"description", "OK"}};
    if (v3_) {
      if (writes) operation["requestBody"] = requestBody(verb, sent);
      good["content"] = content({"application/json", "application/yaml", "application/vnd.kubernetes.protobuf"}, result);
    } else {
      if (verb == "patch") operation["consumes"] = json::array(patchTypes().begin(), patchTypes().end());
      if (writes) {
        json::object bodyParameter{{"name", "body"}, {"in", "body"}, {"required", true}};
        bodyParameter["schema"] = sent;
        parameters.push_back(std::move(bodyParameter));
      }
      good["schema"] = result;
    }
    if (!parameters.empty()) operation["parameters"] = std::move(parameters);
    operation["responses"].emplace_object()[verb == "create" ? "201" : "200"] = std::move(good);
    operation["x-kubernetes-action"] = verb == "create" ? "post" : verb == "update" ? "put" : verb;
    operation["x-kubernetes-group-version-kind"] = gvkOf(body.group, body.version, body.kind);
    item[method] = std::move(operation);
  }

  static const std::vector<std::string_view>& patchTypes() {
    static const std::vector<std::string_view> types = {"application/apply-patch+yaml", "application/json-patch+json",
                                                        "application/merge-patch+json", "application/strategic-merge-patch+json"};
    return types;
  }

  static json::object requestBody(std::string_view verb, const json::object& schema) {
    static const std::vector<std::string_view> whole = {"application/json", "application/yaml", "application/vnd.kubernetes.protobuf"};
    json::object body{{"required", true}};
    body["content"] = content(verb == "patch" ? patchTypes() : whole, schema);
    return body;
  }

  bool v3_;
  Schemas schemas_;
  json::object paths_;
};

// ---- gnostic's openapi.v2.Document

class Message {
 public:
  void text(std::uint32_t number, std::string_view value) {
    varint(number << 3 | 2);
    varint(value.size());
    bytes_ += value;
  }
  void message(std::uint32_t number, const Message& value) { text(number, value.bytes_); }
  [[nodiscard]] const std::string& bytes() const { return bytes_; }

 private:
  void varint(std::uint64_t value) {
    for (; value >= 0x80; value >>= 7) bytes_ += static_cast<char>(value | 0x80);
    bytes_ += static_cast<char>(value);
  }
  std::string bytes_;
};

void textMember(Message& message, std::uint32_t number, const json::object& object, std::string_view name) {
  if (const std::string_view value = textAt(object, {name}); !value.empty()) message.text(number, value);
}

// Vendor extensions: {1 name, 2 Any{2 yaml}}; JSON is YAML.
void extensions(Message& message, std::uint32_t number, const json::object& object) {
  for (const auto& [name, value] : object) {
    if (!name.starts_with("x-")) continue;
    Message any, named;
    any.text(2, json::serialize(value));
    named.text(1, name);
    named.message(2, any);
    message.message(number, named);
  }
}

Message schemaMessage(const json::object& schema);

Message namedSchemas(std::uint32_t number, const json::object& schemas) {
  Message message;
  for (const auto& [name, schema] : schemas) {
    Message named;
    named.text(1, name);
    named.message(2, schemaMessage(schema.get_object()));
    message.message(number, named);
  }
  return message;
}

Message schemaMessage(const json::object& schema) {
  Message message;
  textMember(message, 1, schema, "$ref");
  textMember(message, 2, schema, "format");
  textMember(message, 4, schema, "description");
  if (const json::array* required = arrayAt(schema, {"required"}))
    for (const json::value& name : *required) message.text(19, name.get_string());
  if (const json::object* additional = objectAt(schema, {"additionalProperties"})) {
    Message item;
    item.message(1, schemaMessage(*additional));
    message.message(21, item);
  }
  if (const std::string_view type = textAt(schema, {"type"}); !type.empty()) {
    Message item;
    item.text(1, type);
    message.message(22, item);
  }
  if (const json::object* items = objectAt(schema, {"items"})) {
    Message item;
    item.message(1, schemaMessage(*items));
    message.message(23, item);
  }
  if (const json::object* properties = objectAt(schema, {"properties"})) message.message(25, namedSchemas(1, *properties));
  extensions(message, 31, schema);
  return message;
}

Message operationMessage(const json::object& operation) {
  Message message;
  if (const json::array* parameters = arrayAt(operation, {"parameters"})) {
    for (const json::value& value : *parameters) {
      const json::object& parameter = value.get_object();
      if (textAt(parameter, {"in"}) != "query") continue;
      Message query, nonBody, either, item;
      query.text(2, "query");
      textMember(query, 4, parameter, "name");
      nonBody.message(3, query);
      either.message(2, nonBody);
      item.message(1, either);
      message.message(8, item);
    }
  }
  extensions(message, 13, operation);
  return message;
}

Message pathItemMessage(const json::object& item) {
  static constexpr std::pair<std::string_view, std::uint32_t> kMethods[] = {
      {"get", 2}, {"put", 3}, {"post", 4}, {"delete", 5}, {"patch", 8}};
  Message message;
  for (const auto& [method, number] : kMethods)
    if (const json::object* operation = objectAt(item, {method})) message.message(number, operationMessage(*operation));
  return message;
}

// ---- what is served

using Text = std::shared_ptr<const std::string>;

struct Served {
  Text v2, v2Protobuf, v3Root;
  std::map<std::string, Text, std::less<>> v3;  // "api/v1", "apis/coordination.k8s.io/v1"
  std::map<std::string, std::string, std::less<>> hashes;
};

std::string upperHex(std::string_view bytes) {
  std::string hex = hexLower(bytes);
  for (char& c : hex) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return hex;
}

Served serve(const Kinds& kinds) {
  Served served;
  const json::object v2 = openApiV2Document(kinds);
  served.v2 = std::make_shared<const std::string>(json::serialize(v2));
  served.v2Protobuf = std::make_shared<const std::string>(encodeOpenApiV2(v2));
  json::object paths;
  for (const Kind* kind : kinds) {
    const std::string path = (kind->group.empty() ? "api/" : "apis/") + kind->apiVersion();
    if (served.v3.contains(path)) continue;
    auto text = std::make_shared<const std::string>(json::serialize(openApiV3Document(kinds, kind->apiVersion())));
    const std::string hash = upperHex(sha256(*text));
    json::object entry{{"serverRelativeURL", "/openapi/v3/" + path + "?hash=" + hash}};
    paths[path] = std::move(entry);
    served.v3.emplace(path, std::move(text));
    served.hashes.emplace(path, hash);
  }
  json::object root;
  root["paths"] = std::move(paths);
  served.v3Root = std::make_shared<const std::string>(json::serialize(root));
  return served;
}

const Served& served() {
  static const Served documents = serve(allKinds());
  return documents;
}

}  // namespace

json::object openApiV2Document(const Kinds& kinds) {
  Paths paths(false);
  for (const Kind* kind : kinds) paths.add(*kind);
  return paths.document();
}

json::object openApiV3Document(const Kinds& kinds, std::string_view apiVersion) {
  Paths paths(true);
  for (const Kind* kind : kinds)
    if (kind->apiVersion() == apiVersion) paths.add(*kind);
  return paths.document();
}

std::string encodeOpenApiV2(const json::object& document) {
  Message message, info, paths;
  message.text(1, "2.0");
  textMember(info, 1, *objectAt(document, {"info"}), "title");
  textMember(info, 2, *objectAt(document, {"info"}), "version");
  message.message(2, info);
  for (const auto& [path, item] : *objectAt(document, {"paths"})) {
    Message named;
    named.text(1, path);
    named.message(2, pathItemMessage(item.get_object()));
    paths.message(2, named);
  }
  message.message(8, paths);
  message.message(9, namedSchemas(1, *objectAt(document, {"definitions"})));
  return message.bytes();
}

std::shared_ptr<const std::string> openApiV2Json() { return served().v2; }
std::shared_ptr<const std::string> openApiV2Protobuf() { return served().v2Protobuf; }
std::shared_ptr<const std::string> openApiV3Root() { return served().v3Root; }

Result<std::shared_ptr<const std::string>> openApiV3(std::string_view path) {
  const auto found = served().v3.find(path);
  if (found == served().v3.end()) return Error{Reason::NotFound, "the server could not find the requested resource"};
  return found->second;
}

std::string openApiV3Hash(std::string_view path) {
  const auto found = served().hashes.find(path);
  return found == served().hashes.end() ? std::string() : found->second;
}

}  // namespace podpass::api
