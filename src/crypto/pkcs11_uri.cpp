#include "crypto/pkcs11_uri.h"

#include <charconv>
#include <set>

#include "base/text.h"

namespace podpass::crypto {
namespace {

constexpr std::string_view kScheme = "pkcs11:";
constexpr std::size_t kMaxUri = 4u << 10;

Error bad(std::string sentence,
          std::string fix = "write pkcs11:token=LABEL;object=LABEL?module-path=/…/module.so&pin-source=/…/pin (RFC 7512)") {
  return Error{Reason::BadRequest, "the PKCS#11 URI " + std::move(sentence), std::move(fix)};
}

struct Attribute {
  std::string_view name;
  std::string Pkcs11Uri::*text;
};
constexpr Attribute kPath[] = {{"token", &Pkcs11Uri::token}, {"serial", &Pkcs11Uri::serial}, {"manufacturer", &Pkcs11Uri::manufacturer},
                               {"model", &Pkcs11Uri::model}, {"object", &Pkcs11Uri::object}, {"id", &Pkcs11Uri::id},
                               {"type", &Pkcs11Uri::type}};
constexpr Attribute kQuery[] = {{"module-path", &Pkcs11Uri::modulePath}, {"pin-source", &Pkcs11Uri::pinSource}};

int digitOf(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  const char lower = static_cast<char>(c | 32);
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

std::optional<std::string> decoded(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    if (i + 2 >= text.size() || digitOf(text[i + 1]) < 0 || digitOf(text[i + 2]) < 0) return std::nullopt;
    out += static_cast<char>(digitOf(text[i + 1]) * 16 + digitOf(text[i + 2]));
    i += 2;
  }
  return out;
}

bool isUnreserved(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
         std::string_view("-._~").find(c) != std::string_view::npos;
}

std::string encoded(std::string_view text, bool everything) {
  std::string out;
  for (const char c : text) out += !everything && isUnreserved(c) ? std::string(1, c) : "%" + hexLower(std::string_view(&c, 1));
  return out;
}

// One NAME=VALUE. What is wrong is told by name only: a value may be a PIN.
Result<void> take(std::string_view pair, bool query, Pkcs11Uri& uri, std::set<std::string, std::less<>>& seen) {
  const std::size_t split = pair.find('=');
  const std::string name(pair.substr(0, std::min(split, std::size_t{64})));
  if (split == std::string_view::npos || split == 0) return bad("has a part without a name and a value");
  if (query && name == "pin-value")
    return bad("holds a PIN, which every user of the machine could read", "put it into a file, 0600, and write pin-source=FILE");
  if (query && name == "module-name")
    return bad("has a module-name, and no directory of modules is searched", "write module-path=/…/module.so");
  if (!seen.insert(name).second) return bad("has the attribute " + quoted(name) + " twice");
  std::optional<std::string> value = decoded(pair.substr(split + 1));
  if (!value) return bad("has a percent sign without two hexadecimal digits in " + quoted(name));
  if (name != "id" && value->find('\0') != std::string::npos) return bad("has a zero byte in " + quoted(name));
  if (!query && name == "slot-id") {
    unsigned long slot = 0;
    const auto [end, failed] = std::from_chars(value->data(), value->data() + value->size(), slot);
    if (failed != std::errc() || end != value->data() + value->size() || value->empty()) return bad("has a slot-id that is no number");
    uri.slot = slot;
    return {};
  }
  const auto known = [&](const auto& attributes) {
    for (const Attribute& each : attributes)
      if (each.name == name) uri.*each.text = *std::move(value);
    return std::any_of(std::begin(attributes), std::end(attributes), [&](const Attribute& each) { return each.name == name; });
  };
  if (query ? known(kQuery) : known(kPath)) return {};
  return bad("has the attribute " + quoted(name) + ", which is not known here");
}

Result<void> takeAll(std::string_view text, char between, bool query, Pkcs11Uri& uri) {
  std::set<std::string, std::less<>> seen;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(between), text.size());
    if (Result<void> taken = take(text.substr(0, end), query, uri, seen); !taken) return taken;
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return {};
}

}  // namespace

bool isPkcs11Uri(std::string_view text) { return text.starts_with(kScheme); }

Result<Pkcs11Uri> parsePkcs11Uri(std::string_view text) {
  if (!isPkcs11Uri(text)) return bad("does not begin with pkcs11:");
  if (text.size() > kMaxUri) return bad("is longer than 4 KiB");
  text.remove_prefix(kScheme.size());
  const std::size_t question = std::min(text.find('?'), text.size());
  Pkcs11Uri uri;
  if (Result<void> path = takeAll(text.substr(0, question), ';', false, uri); !path) return path.error();
  if (question < text.size())
    if (Result<void> query = takeAll(text.substr(question + 1), '&', true, uri); !query) return query.error();
  if (uri.pinSource.starts_with("file:")) uri.pinSource.erase(0, uri.pinSource.starts_with("file:///") ? 7 : 5);
  if (uri.pinSource.starts_with('|')) return bad("has a command as pin-source, and only files are read");
  if (!uri.modulePath.empty() && !uri.modulePath.starts_with('/'))
    return bad("has a module-path that is not absolute", "write the whole path of the module");
  return uri;
}

std::string pkcs11Path(const Pkcs11Uri& uri) {
  std::string out(kScheme);
  for (const Attribute& each : kPath) {
    const std::string& value = uri.*each.text;
    if (!value.empty()) out += (out.size() > kScheme.size() ? ";" : "") + std::string(each.name) + "=" + encoded(value, each.name == "id");
  }
  if (uri.slot) out += (out.size() > kScheme.size() ? ";" : "") + std::string("slot-id=") + std::to_string(*uri.slot);
  return out;
}

}  // namespace podpass::crypto
