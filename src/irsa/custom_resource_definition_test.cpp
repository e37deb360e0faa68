#include "irsa/custom_resource_definition.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <regex>
#include <sstream>

#include "api/codec.h"
#include "api/fields.h"
#include "api/kinds.h"

namespace podpass::irsa {
namespace {

const json::object& versionIn(const json::object& definition) { return arrayAt(definition, {"spec", "versions"})->front().as_object(); }

const json::object& schemaIn(const json::object& definition) { return *objectAt(versionIn(definition), {"schema", "openAPIV3Schema"}); }

// Whether an API server would take the value, as far as that needs no CEL.
bool accepts(const json::object& schema, const json::value& value) {
  const std::string_view type = textAt(schema, {"type"});
  if (type.empty()) return true;
  if (type == "object") {
    if (!value.is_object()) return false;
    if (const json::array* needed = arrayAt(schema, {"required"}))
      for (const json::value& name : *needed)
        if (!value.get_object().contains(name.as_string())) return false;
    const json::object *properties = objectAt(schema, {"properties"}), *additional = objectAt(schema, {"additionalProperties"});
    for (const json::key_value_pair& each : value.get_object()) {
      const json::object* part = properties != nullptr ? objectAt(*properties, {each.key()}) : additional;
      if (part != nullptr && !accepts(*part, each.value())) return false;
    }
    return true;
  }
  if (type == "array") {
    if (!value.is_array()) return false;
    const json::array& items = value.get_array();
    if (static_cast<std::int64_t>(items.size()) > integerAt(schema, {"maxItems"}, INT64_MAX)) return false;
    if (static_cast<std::int64_t>(items.size()) < integerAt(schema, {"minItems"})) return false;
    return std::all_of(items.begin(), items.end(), [&](const json::value& item) { return accepts(*objectAt(schema, {"items"}), item); });
  }
  if (type == "boolean") return value.is_bool();
  if (type == "integer")
    return value.is_int64() && value.get_int64() >= integerAt(schema, {"minimum"}, INT64_MIN) &&
           value.get_int64() <= integerAt(schema, {"maximum"}, INT64_MAX);
  if (!value.is_string()) return false;
  const std::string text(value.get_string());
  const auto size = static_cast<std::int64_t>(text.size());
  if (size < integerAt(schema, {"minLength"}) || size > integerAt(schema, {"maxLength"}, INT64_MAX)) return false;
  if (const json::array* allowed = arrayAt(schema, {"enum"}))
    if (std::find(allowed->begin(), allowed->end(), value) == allowed->end()) return false;
  const std::string pattern(textAt(schema, {"pattern"}));
  static std::map<std::string, std::regex> compiled;
  return pattern.empty() || std::regex_search(text, compiled.try_emplace(pattern, pattern).first->second);
}

bool podpassAccepts(const api::Kind& kind, json::object object) {
  Result<api::Decoded> decoded = api::conform(kind, std::move(object));
  return decoded && api::validate(kind, decoded->object).empty();
}

json::object objectOf(const api::Kind& kind, const json::value& spec) {
  json::object object{{"apiVersion", kind.apiVersion()}, {"kind", kind.kind}, {"spec", spec}};
  object["metadata"] = json::object{{"name", "a"}};
  if (kind.namespaced) object["metadata"].get_object()["namespace"] = "default";
  return object;
}

std::string fileOf(std::string_view group) {
  std::string text = "# Made from the tables of the kinds; a test holds them equal. Needs Kubernetes 1.25.\n";
  for (const api::Kind* kind : portableKinds())
    if (kind->group == group) text += (text.ends_with(".\n") ? "" : "---\n") + api::toYaml(customResourceDefinition(*kind));
  return text;
}

TEST(CustomResourceDefinition, OfEachKindIsWhatIsDeployed) {
  for (const auto& [group, path] :
       {std::pair("identity.podpass.dev", "../../deploy/webhook/crds.yaml"), std::pair("iam.podpass.dev", "../../deploy/sts/crds.yaml")}) {
    const std::string expected = fileOf(group);
    std::ostringstream deployed;
    deployed << std::ifstream(path).rdbuf();
    if (deployed.str() == expected) continue;
    if (std::getenv("PODPASS_UPDATE_GOLDEN") != nullptr) std::ofstream(path) << expected;
    ADD_FAILURE() << path << " is not what the kinds say; PODPASS_UPDATE_GOLDEN=1 writes it anew";
  }
}

TEST(CustomResourceDefinition, HasAPatternWhereverATextIsChecked) {
  const std::function<void(const std::vector<api::Field>&, const json::object&, const std::string&)> compare =
      [&compare](const std::vector<api::Field>& fields, const json::object& schema, const std::string& path) {
        for (const api::Field& field : fields) {
          const std::string at = path + "." + std::string(field.name);
          const json::object& part = *objectAt(schema, {"properties", field.name});
          const json::object& inner = field.type == api::Type::List ? *objectAt(part, {"items"}) : part;
          EXPECT_EQ(textAt(inner, {"pattern"}).empty(), field.problem == nullptr) << at;
          if (!field.of.empty()) compare(field.of, inner, at);
        }
      };
  for (const api::Kind* kind : portableKinds()) compare(kind->fields, schemaIn(customResourceDefinition(*kind)), std::string(kind->kind));
}

TEST(CustomResourceDefinition, HasTheColumnsOfTheKind) {
  for (const api::Kind* kind : portableKinds()) {
    const json::object definition = customResourceDefinition(*kind);
    const json::array& columns = *arrayAt(versionIn(definition), {"additionalPrinterColumns"});
    ASSERT_EQ(columns.size(), kind->columns.size()) << kind->kind;
    for (std::size_t i = 0; i < columns.size(); ++i) EXPECT_EQ(textAt(columns[i].as_object(), {"name"}), kind->columns[i].name);
  }
}

TEST(CustomResourceDefinition, RefusesWhatTheKindRefuses) {
  struct Case {
    const char* why;
    const api::Kind& (*kind)();
    std::string spec;
  };
  const std::string trust =
      R"("trustPolicy":{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"*"},"Action":"sts:AssumeRole"}]})";
  std::string ids = "\"a\"", prints;
  for (int i = 0; i < 100; ++i) ids += ",\"a\"";
  for (int i = 0; i < 6; ++i) prints += std::string(i == 0 ? "" : ",") + "\"" + std::string(40, 'a') + "\"";
  const Case cases[] = {
      {"an unknown profile", api::tokenInjectionKind, R"({"profile":"Nobody"})"},
      {"too short a life", api::tokenInjectionKind, R"({"profile":"Vault","expirationSeconds":599})"},
      {"no jitter", api::tokenInjectionKind, R"({"profile":"Vault","jitterSeconds":0})"},
      {"half of the limits", api::tokenInjectionKind, R"({"profile":"Vault","expirationLimits":{"min":600}})"},
      {"an unknown operator", api::tokenInjectionKind,
       R"({"profile":"Vault","match":{"podSelector":{"matchExpressions":[{"key":"a","operator":"Like"}]}}})"},
      {"a number for a text", api::tokenInjectionKind, R"({"profile":"Vault","audience":1})"},
      {"a long volume", api::tokenInjectionKind, R"({"profile":"Vault","volumeName":")" + std::string(64, 'a') + "\"}"},
      {"no role", api::podIdentityAssociationKind, R"({"serviceAccountName":"a"})"},
      {"a long account", api::podIdentityAssociationKind,
       R"({"roleArn":"arn:aws:iam::1:role/a","serviceAccountName":")" + std::string(254, 'a') + "\"}"},
      {"too short a session", api::iamRoleKind, "{\"maxSessionDuration\":3599," + trust + "}"},
      {"too long a session", api::iamRoleKind, "{\"maxSessionDuration\":43201," + trust + "}"},
      {"no trust policy", api::iamRoleKind, "{}"},
      {"no audience", api::oidcProviderKind, R"({"url":"https://a","clientIDs":[]})"},
      {"too many audiences", api::oidcProviderKind, R"({"url":"https://a","clientIDs":[)" + ids + "]}"},
      {"too many thumbprints", api::oidcProviderKind, R"({"url":"https://a","clientIDs":["a"],"thumbprints":[)" + prints + "]}"},
      {"a short thumbprint", api::oidcProviderKind, R"({"url":"https://a","clientIDs":["a"],"thumbprints":["ab"]})"},
      {"a long url", api::oidcProviderKind, R"({"url":"https://)" + std::string(256, 'a') + R"(","clientIDs":["a"]})"}};
  for (const Case& c : cases) {
    SCOPED_TRACE(c.why);
    const json::object object = objectOf(c.kind(), json::parse(c.spec));
    EXPECT_FALSE(podpassAccepts(c.kind(), object));
    EXPECT_FALSE(accepts(schemaIn(customResourceDefinition(c.kind())), object));
  }
}

}  // namespace
}  // namespace podpass::irsa
