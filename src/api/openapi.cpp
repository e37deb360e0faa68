#include <cctype>
#include <set>

#include "api/discovery.h"
#include "api/openapi_schema.h"
#include "base/text.h"

// The OpenAPI documents, derived from the kinds: paths and what is served here, schemas in openapi_schema.cpp. The protobuf form is an
// encoding of the v2 document, not a second derivation.
namespace podpass::api {
namespace {

constexpr std::string_view kVersion = "v1.32.0";

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
      if (writes) operation["requestBody"] = requestBody(verb, body, sent);
      good["content"] = content({"application/json", "application/yaml", "application/vnd.kubernetes.protobuf"}, result);
    } else {
      if (verb == "patch") operation["consumes"] = json::array(patchTypes(body).begin(), patchTypes(body).end());
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

  // kubectl computes a strategic merge patch from this document where it is offered, and cannot where a part has no schema, as a trust
  // policy. Kubernetes, too, offers it for built-in kinds only.
  static const std::vector<std::string_view>& patchTypes(const Body& body) {
    static const std::vector<std::string_view> all = {"application/apply-patch+yaml", "application/json-patch+json",
                                                      "application/merge-patch+json", "application/strategic-merge-patch+json"},
                                               ours(all.begin(), all.end() - 1);
    return body.group.ends_with(".podpass.dev") ? ours : all;
  }

  static json::object requestBody(std::string_view verb, const Body& body, const json::object& schema) {
    static const std::vector<std::string_view> whole = {"application/json", "application/yaml", "application/vnd.kubernetes.protobuf"};
    json::object request{{"required", true}};
    request["content"] = content(verb == "patch" ? patchTypes(body) : whole, schema);
    return request;
  }

  bool v3_;
  Schemas schemas_;
  json::object paths_;
};

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
