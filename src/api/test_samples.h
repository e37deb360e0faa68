#pragma once

#include "api/fields.h"

// Objects with every field of a kind's table set, for tests that must not forget one.
namespace podpass::api {

inline json::object sampleOf(const Fields& fields);

inline json::value sampleOf(const Field& field, Type type) {
  switch (type) {
    case Type::Object:
      return sampleOf(field.of);
    case Type::Integer:
      return field.range ? std::max<std::int64_t>(1, field.range->low) : 7;
    case Type::Boolean:
      return true;
    case Type::Bytes:
      return "AAH+/w==";
    case Type::Time:
      return "2023-03-04T09:28:03Z";
    case Type::MicroTime:
      return "2023-03-04T09:28:03.000042Z";
    case Type::Quantity:
      return "100m";
    case Type::IntOrString:
      return "http";
    case Type::Any:
      return json::object{{"f:a", json::object{{"n", 1.5}}}};
    case Type::List:
      return json::array{"b", "a"};
    default:
      return field.oneOf.empty() ? json::value("yes: \"é\"\n# 1") : json::value(field.oneOf.front());
  }
}

inline json::object sampleOf(const Fields& fields) {
  json::object object;
  for (const Field& field : fields) {
    const json::value one = field.of.empty() ? sampleOf(field, field.element) : json::value(sampleOf(field.of));
    if (field.type == Type::List)
      object[field.name] = json::array{one, one};
    else if (field.type == Type::Map)
      object[field.name] = json::object{{"b", one}, {"a/1", one}};
    else
      object[field.name] = sampleOf(field, field.type);
  }
  return object;
}

inline json::object sampleOf(const Kind& kind) {
  json::object object = sampleOf(kind.fields);
  object["apiVersion"] = kind.apiVersion();
  object["kind"] = kind.kind;
  const bool bare = !kind.fields.empty() && kind.fields.front().number == 1;  // DeleteOptions is no object of its own
  if (!bare) object["metadata"] = sampleOf(metadataFields());
  return object;
}

}  // namespace podpass::api
