#include "api/codec.h"

// The texts of k8s.io/apimachinery/pkg/util/validation, byte for byte.
namespace podpass::api {
namespace {

constexpr std::string_view kSubdomain =
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an "
    "alphanumeric character (e.g. 'example.com', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
constexpr std::string_view kPrefixSubdomain =
    "prefix part a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end "
    "with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
constexpr std::string_view kLabel =
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric "
    "character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
constexpr std::string_view kNamePart =
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. "
    "'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
constexpr std::string_view kQualified =
    "a qualified name must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character "
    "(e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an "
    "optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')";
constexpr std::string_view kLabelValue =
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "
    "alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
    "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
constexpr std::string_view kConfigKey =
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex "
    "used for validation is '[-._a-zA-Z0-9]+')";

bool isLower(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }
bool isAlphanumeric(char c) { return isLower(c) || (c >= 'A' && c <= 'Z'); }

bool isLabel(std::string_view text) {
  return !text.empty() && isLower(text.front()) && isLower(text.back()) &&
         std::all_of(text.begin(), text.end(), [](char c) { return isLower(c) || c == '-'; });
}

bool isSubdomain(std::string_view text) {
  for (;;) {
    const std::size_t dot = text.find('.');
    if (!isLabel(text.substr(0, dot))) return false;
    if (dot == std::string_view::npos) return true;
    text.remove_prefix(dot + 1);
  }
}

bool isName(std::string_view text) {  // ([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]
  return !text.empty() && isAlphanumeric(text.front()) && isAlphanumeric(text.back()) &&
         std::all_of(text.begin(), text.end(), [](char c) { return isAlphanumeric(c) || c == '-' || c == '_' || c == '.'; });
}

}  // namespace

std::string_view subdomainProblem(std::string_view name) {
  if (name.size() > 253) return "must be no more than 253 characters";
  return isSubdomain(name) ? std::string_view{} : kSubdomain;
}

std::string_view labelProblem(std::string_view name) {
  if (name.size() > 63) return "must be no more than 63 characters";
  return isLabel(name) ? std::string_view{} : kLabel;
}

std::string_view qualifiedNameProblem(std::string_view key) {
  const std::size_t slash = key.find('/');
  if (slash != key.rfind('/')) return kQualified;
  if (slash != std::string_view::npos) {
    const std::string_view prefix = key.substr(0, slash);
    if (prefix.empty()) return "prefix part must be non-empty";
    if (prefix.size() > 253) return "prefix part must be no more than 253 characters";
    if (!isSubdomain(prefix)) return kPrefixSubdomain;
    key.remove_prefix(slash + 1);
  }
  if (key.empty()) return "name part must be non-empty";
  if (key.size() > 63) return "name part must be no more than 63 characters";
  return isName(key) ? std::string_view{} : kNamePart;
}

// A name without a domain could be anybody's; only the garbage collector's and the namespace's own have none.
std::string_view finalizerProblem(std::string_view name) {
  if (const std::string_view why = qualifiedNameProblem(name); !why.empty()) return why;
  for (const char* standard : {"kubernetes", "orphan", "foregroundDeletion"})
    if (name == standard) return {};
  return name.find('/') != std::string_view::npos ? "" : "name is neither a standard finalizer name nor is it fully qualified";
}

std::string_view labelValueProblem(std::string_view value) {
  if (value.size() > 63) return "must be no more than 63 characters";
  return value.empty() || isName(value) ? std::string_view{} : kLabelValue;
}

std::string_view configKeyProblem(std::string_view key) {
  if (key.size() > 253) return "must be no more than 253 characters";
  const bool good =
      !key.empty() && std::all_of(key.begin(), key.end(), [](char c) { return isAlphanumeric(c) || c == '-' || c == '_' || c == '.'; });
  if (!good) return kConfigKey;
  if (key == ".") return "must not be '.'";
  if (key == "..") return "must not be '..'";
  return key.starts_with("..") ? "must not start with '..'" : std::string_view{};
}

std::string_view relativePathProblem(std::string_view path) {
  if (path.starts_with('/')) return "must be a relative path";
  for (std::string_view rest = path;;) {
    const std::size_t slash = rest.find('/');
    if (rest.substr(0, slash) == "..") return "must not contain '..'";
    if (slash == std::string_view::npos) break;
    rest.remove_prefix(slash + 1);
  }
  return path.starts_with("..") ? "must not start with '..'" : std::string_view{};
}

std::string_view pathSegmentProblem(std::string_view name) {
  if (name == ".") return "may not be '.'";
  if (name == "..") return "may not be '..'";
  if (name.find('/') != std::string_view::npos) return "may not contain '/'";
  return name.find('%') != std::string_view::npos ? "may not contain '%'" : std::string_view{};
}

}  // namespace podpass::api
