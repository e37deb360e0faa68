#include <cstdlib>

#include "http/conditional.h"

// A match has a reason in what was sent, and a tag before everything else is found whatever follows.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr std::string_view kTag = "\"t\"";
  const std::string text(reinterpret_cast<const char*>(data), size);
  podpass::http::Headers sent, before;
  sent.add("If-None-Match", text);
  before.add("If-None-Match", std::string(kTag) + "," + text);
  if (podpass::http::holdsCurrent(sent, kTag) && text != "*" && text.find(kTag) == std::string::npos) std::abort();
  if (!podpass::http::holdsCurrent(before, kTag)) std::abort();
  return 0;
}
