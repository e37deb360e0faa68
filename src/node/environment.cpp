#include "node/environment.h"

#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <limits>
#include <optional>
#include <set>

#include "base/log.h"
#include "base/text.h"

namespace podpass::node {
namespace {

using Variables = std::vector<std::pair<std::string, std::string>>;
__extension__ using Wide = __int128;  // nano-units: an Ei is 1.2e27 of them

const std::string* valueOf(const Variables& variables, std::string_view name) {
  for (const auto& [known, value] : variables)
    if (known == name) return &value;
  return nullptr;
}

void set(Variables& variables, std::string_view name, std::string value) {
  for (auto& [known, current] : variables) {
    if (known != name) continue;
    current = std::move(value);
    return;
  }
  variables.emplace_back(std::string(name), std::move(value));
}

// Kubernetes' third_party/forked/golang/expansion: one pass from the left, values are not looked into again.
template <class Lookup>
std::string expanded(std::string_view text, Lookup lookup) {
  std::string out;
  while (!text.empty()) {
    const std::size_t dollar = std::min(text.find('$'), text.size());
    out += text.substr(0, dollar);
    text.remove_prefix(dollar);
    if (text.size() < 2) return out += text;
    if (text[1] == '$') {
      out += '$';
      text.remove_prefix(2);
      continue;
    }
    const std::size_t close = text[1] == '(' ? text.find(')') : std::string_view::npos;
    if (close == std::string_view::npos) {
      out += text.substr(0, 2);
      text.remove_prefix(2);
      continue;
    }
    const std::string_view name = text.substr(2, close - 2);
    const std::string* value = lookup(name);
    out += value != nullptr ? std::string_view(*value) : text.substr(0, close + 1);
    text.remove_prefix(close + 1);
  }
  return out;
}

// Decodes one code point; its length, or 0 when the bytes are no UTF-8 (overlong forms and surrogates included).
std::size_t decodeUtf8(std::string_view text, std::uint32_t& point) {
  const auto at = [&](std::size_t i) { return static_cast<std::uint32_t>(static_cast<unsigned char>(text[i])); };
  const std::uint32_t first = at(0);
  if (first < 0x80) {
    point = first;
    return 1;
  }
  const std::size_t length = first >= 0xf0 && first < 0xf5 ? 4 : first >= 0xe0 && first < 0xf0 ? 3 : first >= 0xc2 && first < 0xe0 ? 2 : 0;
  if (length == 0 || text.size() < length) return 0;
  point = first & (0xffu >> (length + 1));
  for (std::size_t i = 1; i < length; ++i) {
    if ((at(i) & 0xc0u) != 0x80) return 0;
    point = point << 6 | (at(i) & 0x3fu);
  }
  const std::uint32_t lowest[] = {0, 0, 0x80, 0x800, 0x10000};
  if (point < lowest[length] || point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff)) return 0;
  return length;
}

bool isUtf8(std::string_view text) {
  for (std::uint32_t point = 0; !text.empty();) {
    const std::size_t length = decodeUtf8(text, point);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

// Go's strconv.IsPrint for what is met in practice: controls, spaces, formatting marks, private and unassigned planes are not.
bool isPrintable(std::uint32_t point) {
  constexpr std::pair<std::uint32_t, std::uint32_t> kHidden[] = {
      {0x00, 0x1f},     {0x7f, 0xa0},     {0xad, 0xad},       {0x061c, 0x061c},   {0x1680, 0x1680}, {0x180e, 0x180e},
      {0x2000, 0x200f}, {0x2028, 0x202f}, {0x205f, 0x206f},   {0x3000, 0x3000},   {0xe000, 0xf8ff}, {0xfeff, 0xfeff},
      {0xfff0, 0xfffb}, {0xfffe, 0xffff}, {0xe0000, 0xe00ff}, {0xe01f0, 0x10ffff}};
  return std::none_of(std::begin(kHidden), std::end(kHidden),
                      [&](const auto& range) { return point >= range.first && point <= range.second; });
}

// Go's %q in full; base/text's quoted() is for messages.
std::string goQuoted(std::string_view text) {
  std::string out = "\"";
  const auto escape = [&](const char* format, std::uint32_t value) {
    char buffer[16];
    std::snprintf(buffer, sizeof buffer, format, value);
    out += buffer;
  };
  while (!text.empty()) {
    std::uint32_t point = 0;
    const std::size_t length = decodeUtf8(text, point);
    constexpr std::string_view kNamed = "\a\b\f\n\r\t\v\\\"";
    const std::size_t named = length == 1 ? kNamed.find(text.front()) : std::string_view::npos;
    if (length == 0) {
      escape("\\x%02x", static_cast<unsigned char>(text.front()));
    } else if (named != std::string_view::npos) {
      out += '\\';
      out += "abfnrtv\\\""[named];
    } else if (isPrintable(point)) {
      out += text.substr(0, length);
    } else {
      escape(point < 0x80 ? "\\x%02x" : point < 0x10000 ? "\\u%04x" : "\\U%08x", point);
    }
    text.remove_prefix(std::max<std::size_t>(length, 1));
  }
  return out + "\"";
}

std::string mapText(const json::object* entries) {
  if (entries == nullptr) return {};
  std::vector<std::string> lines;
  std::vector<std::pair<std::string_view, std::string_view>> sorted;
  for (const auto& [key, value] : *entries)
    if (value.is_string()) sorted.emplace_back(key, value.get_string());
  std::sort(sorted.begin(), sorted.end());
  std::string text;
  for (const auto& [key, value] : sorted) text += (text.empty() ? "" : "\n") + std::string(key) + "=" + goQuoted(value);
  return text;
}

// The K of `metadata.labels['K']`.
std::optional<std::string_view> subscript(std::string_view fieldPath, std::string_view map) {
  if (!fieldPath.starts_with(map) || !fieldPath.substr(map.size()).starts_with("['") || !fieldPath.ends_with("']")) return std::nullopt;
  if (fieldPath.size() < map.size() + 4) return std::nullopt;
  return fieldPath.substr(map.size() + 2, fieldPath.size() - map.size() - 4);
}

std::string joined(const std::vector<std::string>& parts, std::string_view separator) {
  std::string text;
  for (const std::string& part : parts) text += (text.empty() ? "" : std::string(separator)) + part;
  return text;
}

// A resource.Quantity in nano-units: "1250m", "64Mi", "1e3", "0.5".
std::optional<Wide> parseQuantity(std::string_view text) {
  constexpr Wide kUnit = 1'000'000'000;
  std::size_t at = text.starts_with('+') ? 1 : 0;
  Wide value = 0;
  int digits = 0;
  for (; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at, ++digits) value = value * 10 + (text[at] - '0');
  value *= kUnit;
  if (at < text.size() && text[at] == '.') {
    Wide scale = kUnit / 10;
    for (++at; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at, ++digits, scale /= 10) value += (text[at] - '0') * scale;
  }
  if (digits == 0 || digits > 18) return std::nullopt;
  const std::string_view suffix = text.substr(at);
  constexpr std::string_view kBinary[] = {"Ki", "Mi", "Gi", "Ti", "Pi", "Ei"}, kDecimal[] = {"k", "M", "G", "T", "P", "E"};
  constexpr std::string_view kSmall[] = {"m", "u", "n"};
  constexpr Wide kMost = static_cast<Wide>(1) << 64;  // beyond int64 units nothing is meant, and nothing overflows below it
  if (suffix.empty()) return value;
  for (std::size_t i = 0; i < 6; ++i) {
    Wide factor = 1;
    for (std::size_t power = 0; power <= i; ++power) factor *= suffix == kBinary[i] ? 1024 : 1000;
    if (suffix != kBinary[i] && suffix != kDecimal[i]) continue;
    if (value / kUnit * factor > kMost || value > kMost * kUnit / factor) return std::nullopt;
    return value * factor;
  }
  for (std::size_t i = 0; i < 3; ++i) {
    Wide divisor = 1;
    for (std::size_t power = 0; power <= i; ++power) divisor *= 1000;
    if (suffix == kSmall[i]) return (value + divisor - 1) / divisor;
  }
  if (suffix.size() < 2 || suffix.size() > 4 || (suffix[0] != 'e' && suffix[0] != 'E')) return std::nullopt;
  const bool negative = suffix[1] == '-';
  int exponent = 0;
  for (char c : suffix.substr(negative || suffix[1] == '+' ? 2 : 1)) {
    if (c < '0' || c > '9') return std::nullopt;
    exponent = exponent * 10 + (c - '0');
  }
  for (; exponent > 0; --exponent) {
    if (!negative && value > kMost * kUnit / 10) return std::nullopt;
    value = negative ? (value + 9) / 10 : value * 10;
  }
  return value;
}

std::string decimal(Wide value) {
  std::string text;
  do text.insert(text.begin(), static_cast<char>('0' + static_cast<int>(value % 10)));
  while ((value /= 10) > 0);
  return text;
}

const json::object* containerNamed(const json::object& pod, std::string_view name) {
  for (const std::string_view list : {"containers", "initContainers"}) {
    const json::array* containers = arrayAt(pod, {"spec", list});
    if (containers == nullptr) continue;
    for (const json::value& container : *containers)
      if (container.is_object() && textAt(container.get_object(), {"name"}) == name) return &container.get_object();
  }
  return nullptr;
}

// What an unset limit means, in nano-units; 0 when the node says nothing (requests, huge pages).
Wide limitOfNode(std::string_view resource, const Allocatable& allocatable) {
  if (resource == "limits.cpu") return static_cast<Wide>(allocatable.cpuMillis) * 1'000'000;
  if (resource == "limits.memory") return static_cast<Wide>(allocatable.memoryBytes) * 1'000'000'000;
  if (resource == "limits.ephemeral-storage") return static_cast<Wide>(allocatable.storageBytes) * 1'000'000'000;
  return 0;
}

std::string quantityText(const json::object& holder, std::string_view list, std::string_view name) {
  const json::object* values = objectAt(holder, {list});
  const json::value* value = values != nullptr ? values->if_contains(name) : nullptr;
  if (value == nullptr || value->is_null()) return "0";
  return value->is_string() ? std::string(value->get_string()) : json::serialize(*value);
}

// Everything that one container's environment is made from.
class Building {
 public:
  Building(api::Client& client, const json::object& pod, const json::object& container, const PodFacts& facts)
      : client_(client), pod_(pod), container_(container), facts_(facts), ns_(textAt(pod, {"metadata", "namespace"})) {}

  Result<Variables> build() {
    addServices();
    if (Result<void> done = each("envFrom", [this](const json::object& source) { return addFrom(source); }); !done) return done.error();
    if (Result<void> done = each("env", [this](const json::object& entry) { return addOne(entry); }); !done) return done.error();
    for (auto& [name, value] : services_)
      if (valueOf(variables_, name) == nullptr) variables_.emplace_back(name, value);
    return std::move(variables_);
  }

 private:
  template <class Add>
  Result<void> each(std::string_view list, Add add) {
    const json::array* entries = arrayAt(container_, {list});
    if (entries == nullptr) return {};
    for (const json::value& entry : *entries)
      if (entry.is_object())
        if (Result<void> done = add(entry.get_object()); !done) return done;
    return {};
  }
  // The service `kubernetes` of the namespace `default`; podpass serves no other.
  void addServices() {
    if (facts_.apiHost.empty() || facts_.apiPort.empty()) return;
    const std::string& host = facts_.apiHost;
    const std::string& port = facts_.apiPort;
    const std::string url = "tcp://" + (host.find(':') != std::string::npos ? "[" + host + "]" : host) + ":" + port;
    const std::string stem = "KUBERNETES_PORT_" + port + "_TCP";
    services_ = {{"KUBERNETES_PORT", url},
                 {stem, url},
                 {stem + "_ADDR", host},
                 {stem + "_PORT", port},
                 {stem + "_PROTO", "tcp"},
                 {"KUBERNETES_SERVICE_HOST", host},
                 {"KUBERNETES_SERVICE_PORT", port},
                 {"KUBERNETES_SERVICE_PORT_HTTPS", port}};
    std::sort(services_.begin(), services_.end());
  }
  // The object of a reference, nullptr when it is missing and optional.
  Result<DocumentPtr> referenced(std::string_view plural, const json::object& reference) {
    const api::Kind* kind = api::findKind("", "v1", plural);
    if (kind == nullptr) return Error{Reason::Internal, "the kind " + std::string(plural) + " is not known"};
    const std::string name(textAt(reference, {"name"}));
    Result<DocumentPtr> found = client_.get(*kind, {ns_, name});
    if (found || found.error().reason != Reason::NotFound) return found;
    if (booleanAt(reference, {"optional"})) return DocumentPtr();
    return Error{Reason::NotFound, (plural == "secrets" ? "secret \"" : "configmap \"") + name + "\" not found"};
  }
  // One value as a variable: CRI carries text, and a process environment ends at a NUL.
  static Result<std::string> asText(bool secret, std::string_view raw, const std::string& where) {
    Result<std::string> value = secret ? base64Decode(raw) : Result<std::string>(std::string(raw));
    if (!value) return Error{Reason::BadRequest, where + " is not base64: " + value.error().sentence};
    if (!isUtf8(*value) || value->find('\0') != std::string::npos)
      return Error{Reason::BadRequest, where + " is not text and cannot be an environment variable", "mount it as a volume instead"};
    return value;
  }
  static bool isVariableName(std::string_view name) {
    return !name.empty() && std::all_of(name.begin(), name.end(), [](char c) { return c > ' ' && c < 0x7f && c != '='; });
  }
  Result<void> addFrom(const json::object& source) {
    for (const std::string_view member : {"configMapRef", "secretRef"}) {
      const json::object* reference = objectAt(source, {member});
      if (reference == nullptr) continue;
      const bool secret = member == "secretRef";
      Result<DocumentPtr> found = referenced(secret ? "secrets" : "configmaps", *reference);
      if (!found) return found.error();
      const json::object* data = *found ? objectAt((*found)->value, {"data"}) : nullptr;
      if (data == nullptr) continue;
      std::vector<std::string_view> keys;
      for (const auto& [key, value] : *data)
        if (value.is_string()) keys.push_back(key);
      std::sort(keys.begin(), keys.end());
      for (std::string_view key : keys) {
        const std::string name = std::string(textAt(source, {"prefix"})) + std::string(key);
        if (!isVariableName(name)) {
          log::warn("key skipped: no environment variable name", {{"ns", ns_}, {"name", std::string(textAt(*reference, {"name"}))}});
          continue;
        }
        const std::string where = "key " + std::string(key) + " in " + (secret ? "Secret " : "ConfigMap ") + ns_ + "/" +
                                  std::string(textAt(*reference, {"name"}));
        Result<std::string> value = asText(secret, data->at(key).get_string(), where);
        if (!value) return value.error();
        set(variables_, name, *std::move(value));
      }
    }
    return {};
  }
  Result<void> addOne(const json::object& entry) {
    const std::string_view name = textAt(entry, {"name"});
    const json::object* from = objectAt(entry, {"valueFrom"});
    if (from == nullptr) {
      set(variables_, name, expanded(textAt(entry, {"value"}), [this](std::string_view wanted) {
            const std::string* value = valueOf(variables_, wanted);
            return value != nullptr ? value : valueOf(services_, wanted);
          }));
      return {};
    }
    Result<std::optional<std::string>> value = valueFrom(*from);
    if (!value) return value.error();
    if (*value) set(variables_, name, **std::move(value));
    return {};
  }
  Result<std::optional<std::string>> valueFrom(const json::object& from) {
    if (const json::object* field = objectAt(from, {"fieldRef"})) {
      const std::string_view path = textAt(*field, {"fieldPath"});
      // whole maps are for volumes
      if (path == "metadata.labels" || path == "metadata.annotations")
        return Error{Reason::BadRequest, "unsupported fieldPath: " + std::string(path)};
      return optionally(fieldValue(pod_, path, facts_));
    }
    if (const json::object* resource = objectAt(from, {"resourceFieldRef"}))
      return optionally(resourceValue(pod_, *resource, textAt(container_, {"name"}), facts_.allocatable));
    if (const json::object* reference = objectAt(from, {"configMapKeyRef"})) return keyValue(false, *reference);
    if (const json::object* reference = objectAt(from, {"secretKeyRef"})) return keyValue(true, *reference);
    return Error{Reason::BadRequest, "environment variable with an unsupported valueFrom",
                 "use fieldRef, resourceFieldRef, configMapKeyRef or secretKeyRef"};
  }
  static Result<std::optional<std::string>> optionally(Result<std::string> value) {
    if (!value) return value.error();
    return std::optional<std::string>(*std::move(value));
  }
  Result<std::optional<std::string>> keyValue(bool secret, const json::object& reference) {
    Result<DocumentPtr> found = referenced(secret ? "secrets" : "configmaps", reference);
    if (!found) return found.error();
    if (!*found) return std::optional<std::string>();
    const std::string key(textAt(reference, {"key"}));
    const std::string where =
        "key " + key + " in " + (secret ? "Secret " : "ConfigMap ") + ns_ + "/" + std::string(textAt(reference, {"name"}));
    const json::object* data = objectAt((*found)->value, {"data"});
    const json::value* raw = data != nullptr ? data->if_contains(key) : nullptr;
    if (raw != nullptr && raw->is_string()) return optionally(asText(secret, raw->get_string(), where));
    if (booleanAt(reference, {"optional"})) return std::optional<std::string>();
    return Error{Reason::NotFound, "couldn't find " + where};
  }

  api::Client& client_;
  const json::object& pod_;
  const json::object& container_;
  const PodFacts& facts_;
  std::string ns_;
  Variables variables_, services_;
};

}  // namespace

Allocatable machineAllocatable() {
  Allocatable all;
  all.cpuMillis = ::sysconf(_SC_NPROCESSORS_ONLN) * 1000;
  all.memoryBytes = ::sysconf(_SC_PHYS_PAGES) * ::sysconf(_SC_PAGESIZE);
  struct statvfs root {};
  if (::statvfs("/", &root) == 0) all.storageBytes = static_cast<std::int64_t>(root.f_blocks * root.f_frsize);
  return all;
}

Result<Variables> environment(api::Client& client, const json::object& pod, const json::object& container, const PodFacts& facts) {
  return Building(client, pod, container, facts).build();
}

std::string expand(std::string_view text, const Variables& environment) {
  return expanded(text, [&](std::string_view name) { return valueOf(environment, name); });
}

Result<std::string> expandSubPath(std::string_view text, const Variables& environment) {
  std::set<std::string> missing;
  std::string path = expanded(text, [&](std::string_view name) {
    const std::string* value = valueOf(environment, name);
    if (value == nullptr) missing.emplace(name);
    return value;
  });
  if (missing.empty()) return path;
  return Error{Reason::BadRequest, "missing value for " + joined({missing.begin(), missing.end()}, ", ")};
}

Result<std::string> fieldValue(const json::object& pod, std::string_view fieldPath, const PodFacts& facts) {
  for (const std::string_view map : {"labels", "annotations"}) {
    const std::string path = "metadata." + std::string(map);
    const json::object* entries = objectAt(pod, {"metadata", map});
    if (fieldPath == path) return mapText(entries);
    if (const auto key = subscript(fieldPath, path))
      return std::string(entries != nullptr && !key->empty() ? textAt(*entries, {*key}) : std::string_view());
  }
  if (fieldPath == "metadata.name" || fieldPath == "metadata.namespace" || fieldPath == "metadata.uid")
    return std::string(textAt(pod, {"metadata", fieldPath.substr(9)}));
  if (fieldPath == "spec.nodeName" || fieldPath == "spec.serviceAccountName")
    return std::string(textAt(pod, {"spec", fieldPath.substr(5)}));
  const std::string hostIp = facts.hostIp.empty() ? std::string(textAt(pod, {"status", "hostIP"})) : facts.hostIp;
  if (fieldPath == "status.hostIP" || fieldPath == "status.hostIPs") return hostIp;
  const std::string podIp = facts.podIp.empty() ? std::string(textAt(pod, {"status", "podIP"})) : facts.podIp;
  if (fieldPath == "status.podIP") return podIp;
  if (fieldPath == "status.podIPs") return facts.podIps.empty() ? podIp : joined(facts.podIps, ",");
  return Error{Reason::BadRequest, "unsupported fieldPath: " + std::string(fieldPath)};
}

Result<std::string> resourceValue(const json::object& pod, const json::object& selector, std::string_view containerName,
                                  const Allocatable& allocatable) {
  const std::string_view named = textAt(selector, {"containerName"});
  const std::string name(named.empty() ? containerName : named);
  const json::object* container = containerNamed(pod, name);
  if (container == nullptr) return Error{Reason::BadRequest, "container " + name + " not found"};
  const std::string resource(textAt(selector, {"resource"}));
  const std::size_t dot = resource.find('.');
  const std::string list = resource.substr(0, dot), what = dot == std::string::npos ? "" : resource.substr(dot + 1);
  const bool known = what == "cpu" || what == "memory" || what == "ephemeral-storage" || what.starts_with("hugepages-");
  if ((list != "limits" && list != "requests") || !known) return Error{Reason::BadRequest, "unsupported container resource : " + resource};

  const json::object* resources = objectAt(*container, {"resources"});
  const std::string text = resources != nullptr ? quantityText(*resources, list, what) : "0";
  const std::optional<Wide> written = parseQuantity(text);
  if (!written) return Error{Reason::BadRequest, resource + " of container " + name + " is no quantity: " + podpass::quoted(text)};
  const bool machine = allocatable.cpuMillis == 0 && allocatable.memoryBytes == 0 && allocatable.storageBytes == 0;
  const Wide value = *written > 0 ? *written : limitOfNode(resource, machine ? machineAllocatable() : allocatable);

  const json::value* divisorValue = selector.if_contains("divisor");
  const std::string divisorText = divisorValue == nullptr || divisorValue->is_null() ? "1"
                                  : divisorValue->is_string()                        ? std::string(divisorValue->get_string())
                                                                                     : json::serialize(*divisorValue);
  std::optional<Wide> divisor = parseQuantity(divisorText);
  if (!divisor) return Error{Reason::BadRequest, "the divisor " + podpass::quoted(divisorText) + " is no quantity"};
  if (*divisor == 0) divisor = static_cast<Wide>(1'000'000'000);
  return decimal((value + *divisor - 1) / *divisor);
}

Result<std::int64_t> quantityUnits(std::string_view text) {
  constexpr Wide kUnit = 1'000'000'000;
  const std::optional<Wide> nanos = parseQuantity(text);
  if (!nanos || *nanos / kUnit >= std::numeric_limits<std::int64_t>::max())
    return Error{Reason::BadRequest, podpass::quoted(text) + " is no quantity"};
  return static_cast<std::int64_t>((*nanos + kUnit - 1) / kUnit);
}

}  // namespace podpass::node
