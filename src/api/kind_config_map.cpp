#include "api/causes.h"
#include "api/codec.h"
#include "api/fields.h"
#include "api/kinds.h"

namespace podpass::api {
namespace {

constexpr std::size_t kMostBytes = 1 << 20;
constexpr std::string_view kImmutable = "field is immutable when `immutable` is set";

void validateConfigMap(const json::object& object, Causes& causes) {
  const json::object* data = objectAt(object, {"data"});
  const json::object* binary = objectAt(object, {"binaryData"});
  std::size_t total = 0;
  if (data != nullptr) {
    for (const auto& [key, value] : *data) {
      if (binary != nullptr && binary->contains(key))
        causes.push_back(invalidText(at("data", std::string_view(key)), key, "duplicate of key present in binaryData"));
      if (value.is_string()) total += value.get_string().size();
    }
  }
  if (binary != nullptr)
    for (const auto& [key, value] : *binary)
      if (value.is_string()) total += value.get_string().size() / 4 * 3;
  if (total > kMostBytes) causes.push_back(tooLong("[]", kMostBytes));  // upstream passes an empty path
}

bool changed(const json::object& now, const json::object& before, std::string_view name) {
  const json::value* a = now.if_contains(name);
  const json::value* b = before.if_contains(name);
  return (a == nullptr) != (b == nullptr) || (a != nullptr && *a != *b);
}

void validateConfigMapUpdate(const json::object& now, const json::object& before, Causes& causes) {
  if (!booleanAt(before, {"immutable"})) return;
  if (!booleanAt(now, {"immutable"})) causes.push_back(forbiddenField("immutable", kImmutable));
  for (const std::string_view name : {"data", "binaryData"})
    if (changed(now, before, name)) causes.push_back(forbiddenField(std::string(name), kImmutable));
}

}  // namespace

const Kind& configMapKind() {
  static const Kind kind{.group = "",
                         .version = "v1",
                         .kind = "ConfigMap",
                         .plural = "configmaps",
                         .singular = "configmap",
                         .shortNames = {"cm"},
                         .namespaced = true,
                         .doc = "ConfigMap holds configuration data for pods to consume.",
                         .definition = "io.k8s.api.core.v1.ConfigMap",
                         .fields = {checked(configKeyProblem, map("binaryData", 3, Type::Bytes, "Binary data, base64 encoded.")),
                                    checked(configKeyProblem, map("data", 2, Type::String, "The configuration data.")),
                                    boolean("immutable", 4, "True: the data cannot be updated, only the metadata.")},
                         .columns = {{.name = "Data",
                                      .type = "string",
                                      .doc = "Number of keys.",
                                      .cell =
                                          [](const json::object& object, WallTime) {
                                            const json::object* data = objectAt(object, {"data"});
                                            const json::object* binary = objectAt(object, {"binaryData"});
                                            return json::value((data ? data->size() : 0) + (binary ? binary->size() : 0));
                                          }},
                                     ageColumn()},
                         .validate = validateConfigMap,
                         .validateUpdate = validateConfigMapUpdate};
  return kind;
}

}  // namespace podpass::api
