#pragma once

#include "api/kind.h"

// The schemas of the OpenAPI documents, from the tables. One walker serves both versions; they differ in how a reference is written.
namespace podpass::api {

class Schemas {
 public:
  explicit Schemas(bool v3);

  void add(const Kind& kind);                              // its definition, its list's, those of its spec and status
  json::object take() { return std::move(definitions_); }  // definition name → schema
  [[nodiscard]] json::object reference(std::string_view name, std::string_view doc = {}) const;

 private:
  json::object topLevel(const Kind& kind, const Field& field);
  json::object structure(const std::vector<Field>& fields, std::string_view doc) const;
  json::object schemaOf(const Field& field) const;
  json::object scalar(Type type, std::string_view doc) const;
  json::object mapValue(const Field& field) const;
  json::object list(const Field& field) const;
  json::object either(std::string_view doc, std::string_view format, std::string_view other) const;
  void addList(const Kind& kind);
  void addCommon();

  bool v3_;
  json::object definitions_;
};

std::string metaName(std::string_view name);  // "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
json::object gvkOf(std::string_view group, std::string_view version, std::string_view kind);

}  // namespace podpass::api
