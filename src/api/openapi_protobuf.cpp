#include "api/discovery.h"

// The v2 document as gnostic's openapi.v2.Document: spec api.md §1.6 has the numbers.
namespace podpass::api {
namespace {

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

}  // namespace

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

}  // namespace podpass::api
