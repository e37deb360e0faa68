#pragma once

#include "api/kind.h"

// Bytes ↔ objects, derived from the kind's table. Media types and error texts: spec api.md §3.1, §3.4, §4.6.
namespace podpass::api {

struct Decoded {
  json::object object;  // apiVersion and kind filled in; nulls dropped; times normalised
  std::vector<std::string>
      problems;  // strict decoding: `unknown field "spec.zork"`, `duplicate field "data.a"`; unknown fields are dropped
};

// `contentType` as the client sent it ("" = JSON). Accepts JSON, YAML and Kubernetes' protobuf envelope.
// BadRequest: malformed, another kind, a wrong type; UnsupportedMediaType. `limit`s on depth hold.
Result<Decoded> decode(const Kind& kind, std::string_view contentType, std::string_view body);

// Drops what the kind does not declare and reports it (used after patches), checks types: BadRequest for a wrong one.
Result<Decoded> conform(const Kind& kind, json::object object);

// The protobuf envelope ("k8s\0" + Unknown) of an object.
std::string encodeProtobuf(const Kind& kind, const json::object& object);

// Any YAML or JSON text (patch bodies, manifests) as JSON. BadRequest when malformed; aliases that explode are refused.
Result<json::value> parseYaml(std::string_view text);
Result<json::value> parseJson(std::string_view text);
std::string toYaml(const json::value& value);  // as sigs.k8s.io/yaml prints: sorted keys

// Fills what the table and the kind's own rules default.
void applyDefaults(const Kind& kind, json::object& object);

// All problems at once, each with its path: metadata, the table's rules, the kind's own.
std::vector<Cause> validate(const Kind& kind, const json::object& object);
std::vector<Cause> validateUpdate(const Kind& kind, const json::object& now, const json::object& before);

// The Invalid error of Kubernetes' form: `Pod "p" is invalid: spec.containers: Required value`, several in [a, b].
Error invalid(const Kind& kind, std::string_view name, std::vector<Cause> causes);

// Shared texts: "" when good.
std::string_view subdomainProblem(std::string_view name);  // RFC 1123 subdomain, ≤ 253
std::string_view labelProblem(std::string_view name);      // RFC 1123 label, ≤ 63
std::string_view qualifiedNameProblem(std::string_view key);
std::string_view labelValueProblem(std::string_view value);
std::string_view finalizerProblem(std::string_view name);
std::string_view configKeyProblem(std::string_view key);
std::string_view relativePathProblem(std::string_view path);
std::string_view pathSegmentProblem(std::string_view name);  // RBAC names: no '/', '%', not '.' or '..'

}  // namespace podpass::api
