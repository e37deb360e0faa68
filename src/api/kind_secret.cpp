#include "api/causes.h"
#include "api/codec.h"
#include "api/fields.h"
#include "api/kinds.h"
#include "base/text.h"

namespace podpass::api {
namespace {

constexpr std::size_t kMostBytes = 1 << 20;
constexpr std::string_view kImmutable = "field is immutable when `immutable` is set";

// Base64 text stands for three quarters of its length, less the padding.
std::size_t decodedSize(std::string_view base64) {
  const std::size_t padding = base64.ends_with("==") ? 2 : base64.ends_with('=') ? 1 : 0;
  return base64.size() / 4 * 3 - (base64.size() >= 4 ? padding : 0);
}

bool holds(const json::object& secret, std::string_view key) {
  return objectAt(secret, {"data"}) && secret.at("data").get_object().contains(key);
}

void demand(const json::object& secret, std::string_view key, Causes& causes) {
  if (!holds(secret, key)) causes.push_back(requiredValue(at("data", key)));
}

// Go's json package says which byte it stumbled over; the contents themselves must not show.
void demandJson(const json::object& secret, std::string_view key, Causes& causes) {
  if (!holds(secret, key)) return causes.push_back(requiredValue(at("data", key)));
  const Result<std::string> text = base64Decode(textAt(secret, {"data", key}));
  if (!text || parseJson(*text)) return;
  const std::string::size_type first = text->find_first_not_of(" \t\r\n");
  const std::string why = first == std::string::npos
                              ? "unexpected end of JSON input"
                              : std::string("invalid character '") + (*text)[first] + "' looking for beginning of value";
  const bool startsWell =
      first != std::string::npos && std::string_view("{[\"-0123456789tfn").find((*text)[first]) != std::string_view::npos;
  causes.push_back(invalidText(at("data", key), "<secret contents redacted>", startsWell ? "unexpected end of JSON input" : why));
}

void validateType(const json::object& secret, Causes& causes) {
  const std::string_view type = textAt(secret, {"type"});
  if (type == "kubernetes.io/service-account-token") {
    if (textAt(secret, {"metadata", "annotations", "kubernetes.io/service-account.name"}).empty())
      causes.push_back(requiredValue("metadata.annotations[kubernetes.io/service-account.name]"));
  } else if (type == "kubernetes.io/dockercfg") {
    demandJson(secret, ".dockercfg", causes);
  } else if (type == "kubernetes.io/dockerconfigjson") {
    demandJson(secret, ".dockerconfigjson", causes);
  } else if (type == "kubernetes.io/tls") {
    demand(secret, "tls.crt", causes);
    demand(secret, "tls.key", causes);
  } else if (type == "kubernetes.io/basic-auth") {
    if (holds(secret, "username") || holds(secret, "password")) return;
    demand(secret, "username", causes);
    demand(secret, "password", causes);
  } else if (type == "kubernetes.io/ssh-auth") {
    demand(secret, "ssh-privatekey", causes);
  }
}

void validateSecret(const json::object& secret, Causes& causes) {
  std::size_t total = 0;
  if (const json::object* data = objectAt(secret, {"data"}))
    for (const auto& [key, value] : *data)
      if (value.is_string()) total += decodedSize(value.get_string());
  if (total > kMostBytes) causes.push_back(tooLong("data", kMostBytes));
  validateType(secret, causes);
}

bool sameMember(const json::object& now, const json::object& before, std::string_view name) {
  const json::value* a = now.if_contains(name);
  const json::value* b = before.if_contains(name);
  return (a == nullptr) == (b == nullptr) && (a == nullptr || *a == *b);
}

void validateSecretUpdate(const json::object& now, const json::object& before, Causes& causes) {
  if (textAt(now, {"type"}) != textAt(before, {"type"})) causes.push_back(invalidText("type", textAt(now, {"type"}), "field is immutable"));
  if (!booleanAt(before, {"immutable"})) return;
  if (!booleanAt(now, {"immutable"})) causes.push_back(forbiddenField("immutable", kImmutable));
  if (!sameMember(now, before, "data")) causes.push_back(forbiddenField("data", kImmutable));
}

// stringData is write-only: it ends up in data.
void mergeStringData(json::object& secret) {
  json::object given;
  if (const json::object* text = objectAt(secret, {"stringData"})) given = *text;
  secret.erase("stringData");
  if (given.empty()) return;
  json::object& data = makeObjectAt(secret, {"data"});
  for (const auto& [key, value] : given)
    if (value.is_string()) data[key] = base64Encode(value.get_string());
}

}  // namespace

const Kind& secretKind() {
  static const Kind kind{
      .group = "",
      .version = "v1",
      .kind = "Secret",
      .plural = "secrets",
      .singular = "secret",
      .namespaced = true,
      .doc = "Secret holds secret data of a certain type. The values in data together must be less than 1 MiB.",
      .definition = "io.k8s.api.core.v1.Secret",
      .fields = {checked(configKeyProblem, map("data", 2, Type::Bytes, "The secret data, base64 encoded.")),
                 boolean("immutable", 5, "True: the data cannot be updated, only the metadata."),
                 checked(configKeyProblem, map("stringData", 4, Type::String, "Write-only: text that is encoded and merged into data.")),
                 byDefault(R"("Opaque")", text("type", 3, "Tells programs how to handle the data."))},
      .columns = {textColumn("Type", {"type"}),
                  {.name = "Data",
                   .type = "string",
                   .doc = "Number of keys.",
                   .cell =
                       [](const json::object& object, WallTime) {
                         const json::object* data = objectAt(object, {"data"});
                         return json::value(data == nullptr ? 0 : data->size());
                       }},
                  ageColumn()},
      .selectableFields = {"type"},
      .validate = validateSecret,
      .validateUpdate = validateSecretUpdate,
      .defaults = mergeStringData};
  return kind;
}

}  // namespace podpass::api
