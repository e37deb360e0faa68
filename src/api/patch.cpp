#include "api/patch.h"

#include "api/json_reader.h"
#include "api/patch_form.h"
#include "base/text.h"

namespace podpass::api {
namespace {

constexpr int kMaxDepth = 128;

bool deeperThan(const json::value& value, int limit) {
  if (limit == 0) return value.is_structured();
  if (const json::object* object = value.if_object())
    return std::any_of(object->begin(), object->end(), [&](const auto& member) { return deeperThan(member.value(), limit - 1); });
  if (const json::array* array = value.if_array())
    return std::any_of(array->begin(), array->end(), [&](const json::value& item) { return deeperThan(item, limit - 1); });
  return false;
}

}  // namespace

Result<void> checkDepth(const json::value& value) {
  if (!deeperThan(value, kMaxDepth)) return {};
  return Error{Reason::BadRequest, "the patch nests more than " + std::to_string(kMaxDepth) + " levels"};
}

Result<void> checkMergePatch(const json::value& patch) {
  if (patch.is_object()) return checkDepth(patch);
  const std::string type(jsonTypeName(patch));
  return invalidPatch(patch.is_array() ? json::serialize(patch).substr(0, 256) : type,
                      "json: cannot unmarshal " + type + " into Go value of type map[string]interface {}");
}

Error invalidPatch(const std::string& shown, const std::string& problem) {
  const std::string message = "Invalid value: " + podpass::quoted(shown) + ": " + problem;
  Error error{Reason::Invalid, "patch: " + message};
  error.causes.push_back({"patch", message});
  return error;
}

void mergeInto(json::object& target, const json::object& patch) {
  for (const auto& [name, value] : patch) {
    if (value.is_null()) {
      target.erase(name);
    } else if (!value.is_object()) {
      target[name] = value;
    } else {
      json::value& member = target[name];
      if (!member.is_object()) member = json::object();
      mergeInto(member.get_object(), value.get_object());
    }
  }
}

Result<json::object> applyMergePatch(const json::object& before, const json::value& patch) {
  if (Result<void> good = checkMergePatch(patch); !good) return good.error();
  json::object after = before;
  mergeInto(after, patch.get_object());
  return after;
}

}  // namespace podpass::api
