#include "api/causes.h"

#include "base/text.h"

namespace podpass::api {

Cause requiredValue(std::string path, std::string_view detail) {
  return {std::move(path), detail.empty() ? "Required value" : "Required value: " + std::string(detail), "FieldValueRequired"};
}

Cause invalidText(std::string path, std::string_view value, std::string_view why) {
  return {std::move(path), "Invalid value: " + quoted(value) + ": " + std::string(why), "FieldValueInvalid"};
}

Cause invalidNumber(std::string path, std::int64_t value, std::string_view why) {
  return {std::move(path), "Invalid value: " + std::to_string(value) + ": " + std::string(why), "FieldValueInvalid"};
}

Cause invalidJson(std::string path, const json::value& value, std::string_view why) {
  return {std::move(path), "Invalid value: " + json::serialize(value) + ": " + std::string(why), "FieldValueInvalid"};
}

Cause unsupported(std::string path, std::string_view value, const std::vector<std::string_view>& supported) {
  std::string list;
  for (const std::string_view each : supported) list += (list.empty() ? "" : ", ") + quoted(each);
  return {std::move(path), "Unsupported value: " + quoted(value) + ": supported values: " + list, "FieldValueNotSupported"};
}

Cause duplicate(std::string path, std::string_view value) {
  return {std::move(path), "Duplicate value: " + quoted(value), "FieldValueDuplicate"};
}

Cause notFoundValue(std::string path, std::string_view value) {
  return {std::move(path), "Not found: " + quoted(value), "FieldValueNotFound"};
}

Cause forbiddenField(std::string path, std::string_view why) {
  return {std::move(path), "Forbidden: " + std::string(why), "FieldValueForbidden"};
}

Cause tooLong(std::string path, std::size_t limit) {
  return {std::move(path), "Too long: must have at most " + std::to_string(limit) + " bytes", "FieldValueTooLong"};
}

std::string at(std::string_view path, std::size_t index) { return std::string(path) + "[" + std::to_string(index) + "]"; }
std::string at(std::string_view path, std::string_view key) { return std::string(path) + "[" + std::string(key) + "]"; }
std::string under(std::string_view path, std::string_view member) {
  return path.empty() ? std::string(member) : std::string(path) + "." + std::string(member);
}

}  // namespace podpass::api
