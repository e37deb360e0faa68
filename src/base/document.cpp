#include "base/document.h"

namespace podpass {
namespace {

const json::value* find(const json::object& object, std::initializer_list<std::string_view> path) {
  const json::object* here = &object;
  const json::value* value = nullptr;
  for (std::string_view name : path) {
    if (here == nullptr) return nullptr;
    value = here->if_contains(name);
    if (value == nullptr) return nullptr;
    here = value->if_object();
  }
  return value;
}

}  // namespace

std::string_view textAt(const json::object& object, std::initializer_list<std::string_view> path) {
  const json::value* value = find(object, path);
  return value != nullptr && value->is_string() ? std::string_view(value->get_string()) : std::string_view();
}

const json::object* objectAt(const json::object& object, std::initializer_list<std::string_view> path) {
  const json::value* value = find(object, path);
  return value != nullptr ? value->if_object() : nullptr;
}

const json::array* arrayAt(const json::object& object, std::initializer_list<std::string_view> path) {
  const json::value* value = find(object, path);
  return value != nullptr ? value->if_array() : nullptr;
}

std::int64_t integerAt(const json::object& object, std::initializer_list<std::string_view> path, std::int64_t fallback) {
  const json::value* value = find(object, path);
  if (value == nullptr || !value->is_number()) return fallback;
  json::error_code failed;
  const auto number = value->to_number<std::int64_t>(failed);
  return failed ? fallback : number;
}

bool booleanAt(const json::object& object, std::initializer_list<std::string_view> path, bool fallback) {
  const json::value* value = find(object, path);
  return value != nullptr && value->is_bool() ? value->get_bool() : fallback;
}

json::object& makeObjectAt(json::object& object, std::initializer_list<std::string_view> path) {
  json::object* here = &object;
  for (std::string_view name : path) {
    json::value& value = (*here)[name];
    here = value.is_object() ? &value.get_object() : &value.emplace_object();
  }
  return *here;
}

}  // namespace podpass
