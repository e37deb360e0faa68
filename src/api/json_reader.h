#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/document.h"

// Text → JSON values for the codec. Strict, bounded, and aware of duplicate keys, which a DOM no longer shows.
namespace podpass::api {

constexpr std::size_t kDeepest = 128;       // nested objects and arrays
constexpr std::size_t kMostProblems = 100;  // reported by strict decoding

struct Read {
  json::value value;
  std::vector<std::string> duplicates;  // paths: "data.a", "spec.containers[0].name"; the last value won
};

// Errors are BadRequest with Go's sentences: "unexpected end of JSON input".
Result<Read> readJson(std::string_view text);
// The first document, scalars as sigs.k8s.io/yaml resolves them.
Result<Read> readYaml(std::string_view text);

bool isUtf8(std::string_view text);
std::string_view jsonTypeName(const json::value& value);  // "object", "array", "string", "bool", "number", "null", as Go's decoder says

}  // namespace podpass::api
