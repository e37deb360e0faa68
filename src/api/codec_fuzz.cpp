#include <cstdint>
#include <cstdlib>

#include "api/codec.h"

// Input: a byte that picks the kind, one that picks the form (JSON, YAML, protobuf), a body. Properties: what is accepted stays the same
// when it is read again, in any form; defaults, validation and printing do not crash on it.
namespace podpass::api {
namespace {

json::object read(const Kind& kind, std::string_view type, const std::string& body) {
  const Result<Decoded> again = decode(kind, type, body);
  if (!again || !again->problems.empty()) std::abort();
  return again->object;
}

}  // namespace
}  // namespace podpass::api

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace podpass;
  using namespace podpass::api;
  static constexpr std::string_view kTypes[] = {"application/json", "application/yaml", "application/vnd.kubernetes.protobuf"};
  if (size < 2) return 0;
  const Kind& kind = *allKinds()[data[0] % allKinds().size()];
  const std::string_view body(reinterpret_cast<const char*>(data) + 2, size - 2);
  const Result<Decoded> decoded = decode(kind, kTypes[data[1] % 3], body);
  if (!decoded) return 0;
  json::object object = decoded->object;
  if (read(kind, kTypes[0], json::serialize(object)) != object) std::abort();
  if (read(kind, kTypes[1], toYaml(object)) != object) std::abort();
  // protobuf cannot tell a missing part from an empty one everywhere; what it says the first time it must go on saying
  const json::object fromProtobuf = read(kind, kTypes[2], encodeProtobuf(kind, object));
  if (read(kind, kTypes[2], encodeProtobuf(kind, fromProtobuf)) != fromProtobuf) std::abort();
  applyDefaults(kind, object);
  (void)invalid(kind, "x", validate(kind, object));
  (void)validateUpdate(kind, object, decoded->object);
  return 0;
}
