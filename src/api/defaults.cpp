#include "api/codec.h"

namespace podpass::api {
namespace {

void fill(const std::vector<Field>& fields, json::object& object);

void fillInside(const Field& field, json::value& value) {
  if (field.of.empty()) return;
  if (field.type == Type::Object && value.is_object()) fill(field.of, value.get_object());
  if (field.type == Type::List && value.is_array())
    for (json::value& item : value.get_array())
      if (item.is_object()) fill(field.of, item.get_object());
}

void fill(const std::vector<Field>& fields, json::object& object) {
  for (const Field& field : fields) {
    json::value* value = object.if_contains(field.name);
    const bool missing = value == nullptr || value->is_null() || (value->is_string() && value->get_string().empty());
    if (missing && field.byDefault.empty()) continue;
    if (missing) {
      json::error_code failed;
      value = &object[field.name];
      *value = json::parse(field.byDefault, failed);
    }
    fillInside(field, *value);
  }
}

}  // namespace

void applyDefaults(const Kind& kind, json::object& object) {
  fill(kind.fields, object);
  if (kind.defaults) kind.defaults(object);
  // what the kind's rules added has defaults of its own (an emptyDir, a volume that admission mounted)
  if (kind.defaults) fill(kind.fields, object);
}

}  // namespace podpass::api
