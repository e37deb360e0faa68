#include <cstdint>
#include <cstdlib>

#include "api/patch.h"

// Input: one byte that picks the patch, a document, a line feed, a patch. Properties: a merge patch applied twice is applied once, and
// no patch changes its input or crashes.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace podpass;
  using namespace podpass::api;
  static const Kind kind{.group = "",
                         .version = "v1",
                         .kind = "Pod",
                         .plural = "pods",
                         .singular = "pod",
                         .fields = {{.name = "spec",
                                     .type = Type::Object,
                                     .of = {{.name = "containers",
                                             .type = Type::List,
                                             .of = {{.name = "name"}, {.name = "image"}},
                                             .mergeKey = "name",
                                             .retainKeys = true},
                                            {.name = "args", .type = Type::List, .setMerge = true},
                                            {.name = "labels", .type = Type::Map},
                                            {.name = "any", .type = Type::Any}}}}};
  if (size < 2) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  const std::size_t line = text.find('\n');
  if (line == std::string_view::npos) return 0;
  boost::system::error_code badDocument, badPatch;
  json::parse_options options;
  options.max_depth = 300;
  const json::value document = json::parse(text.substr(0, line), badDocument, {}, options);
  const json::value patch = json::parse(text.substr(line + 1), badPatch, {}, options);
  if (badDocument || badPatch || !document.is_object()) return 0;
  const json::object& before = document.get_object();
  const json::object copy = before;
  if (data[0] % 3 == 0) {
    (void)applyJsonPatch(before, patch);
  } else if (data[0] % 3 == 1) {
    const Result<json::object> once = applyMergePatch(before, patch);
    if (once) {
      const Result<json::object> twice = applyMergePatch(*once, patch);
      if (!twice || *twice != *once) std::abort();
    }
  } else {
    (void)applyStrategicMergePatch(kind, before, patch);
  }
  if (before != copy) std::abort();
  return 0;
}
