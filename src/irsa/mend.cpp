#include "irsa/mend.h"

#include <algorithm>

#include "api/codec.h"

namespace podpass::irsa {

std::string shellQuoted(std::string_view text) {
  const auto plain = [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           std::string_view("-_./:=@,+").find(c) != std::string_view::npos;
  };
  if (!text.empty() && std::all_of(text.begin(), text.end(), plain)) return std::string(text);
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

std::string applyCommand(const json::object& object) { return "kubectl apply -f - <<'EOF'\n" + api::toYaml(object) + "EOF"; }

std::string annotateCommand(std::string_view ns, std::string_view account, std::string_view key, std::string_view value) {
  const std::string target = "kubectl -n " + shellQuoted(ns) + " annotate serviceaccount " + shellQuoted(account);
  if (value.empty()) return target + " " + shellQuoted(std::string(key) + "-");
  return target + " --overwrite " + shellQuoted(std::string(key) + "=" + std::string(value));
}

}  // namespace podpass::irsa
