#include "irsa/container_json.h"

#include <algorithm>
#include <charconv>

#include "api/fields.h"
#include "api/quantity.h"

namespace podpass::irsa {
namespace {

constexpr char kHex[] = "0123456789abcdef";
constexpr std::string_view kEmptyObject = "{}";

// One member of a Go struct. Made once from the kind's table.
struct Member {
  std::string_view name;
  std::string key;              // `"name":`
  std::string_view whenAbsent;  // what Go writes then: members without omitempty, and structs that are no pointers; "" = nothing
  api::Type type;
  bool isScalar;   // of a list: its elements
  bool dropsZero;  // 0 and false are not written
  std::vector<Member> of;
};

// Where the Go struct writes an absent member although the API does not require it: {the struct's name, the member, the text}.
struct AlwaysWritten {
  std::string_view parent, name, text;
};
constexpr AlwaysWritten kAlwaysWritten[] = {{"", "resources", kEmptyObject},
                                            {"httpGet", "port", "0"},
                                            {"tcpSocket", "port", "0"},
                                            {"httpHeaders", "value", R"("")"},
                                            {"grpc", "port", "0"},
                                            {"grpc", "service", "null"},
                                            {"sleep", "seconds", "0"},
                                            {"resourceFieldRef", "divisor", R"("0")"},
                                            {"exitCodes", "operator", R"("")"},
                                            {"fileKeyRef", "volumeName", R"("")"},
                                            {"fileKeyRef", "path", R"("")"},
                                            {"fileKeyRef", "key", R"("")"}};

std::string_view whenAbsent(std::string_view parent, const api::Field& field) {
  for (const AlwaysWritten& each : kAlwaysWritten)
    if (each.parent == parent && each.name == field.name) return each.text;
  const bool reference = parent == "configMapRef" || parent == "secretRef";  // their names have omitempty, like the container's image
  if (!field.required || field.name == "image" || reference) return {};
  return field.type == api::Type::Integer ? "0" : R"("")";
}

std::vector<Member> membersOf(std::string_view parent, const std::vector<api::Field>& fields) {
  std::vector<Member> members;
  for (const api::Field& field : fields) {
    Member member{
        field.name, {}, whenAbsent(parent, field), field.type, field.of.empty(), field.zeroIsAbsent, membersOf(field.name, field.of)};
    appendText(member.key, field.name);
    member.key += ':';
    members.push_back(std::move(member));
  }
  return members;
}

void appendMembers(std::string& out, const std::vector<Member>& members, const json::object& object, const Appended& appended);

bool isEmpty(const Member& member, const json::value& value) {
  switch (value.kind()) {
    case json::kind::null:
      return true;
    case json::kind::string:
      return value.get_string().empty();
    case json::kind::array:
      return value.get_array().empty();
    case json::kind::object:
      return member.type == api::Type::Map && value.get_object().empty();
    case json::kind::bool_:
      return member.dropsZero && !value.get_bool();
    case json::kind::int64:
      return member.dropsZero && value.get_int64() == 0;
    default:
      return false;
  }
}

void appendQuantity(std::string& out, const json::value& value) {
  std::string text;
  if (value.is_string())
    text = value.get_string();
  else
    appendValue(text, value);
  appendText(out, api::canonicalQuantity(text));
}

void appendMap(std::string& out, const Member& member, const json::object& map) {
  std::vector<const json::key_value_pair*> sorted;
  for (const json::key_value_pair& each : map) sorted.push_back(&each);
  std::sort(sorted.begin(), sorted.end(), [](const auto* a, const auto* b) { return a->key() < b->key(); });
  out += '{';
  for (const json::key_value_pair* each : sorted) {
    if (out.back() != '{') out += ',';
    appendText(out, each->key());
    out += ':';
    if (member.name == "limits" || member.name == "requests")
      appendQuantity(out, each->value());
    else
      appendValue(out, each->value());
  }
  out += '}';
}

void appendList(std::string& out, const Member& member, const json::array& list, std::string_view more) {
  static const json::object none;  // Go reads a null element as an empty struct
  out += '[';
  bool first = true;
  for (const json::value& each : list) {
    if (!std::exchange(first, false)) out += ',';
    const json::object* object = each.is_null() ? &none : each.if_object();
    if (!member.isScalar && object != nullptr)
      appendMembers(out, member.of, *object, {});
    else if (each.is_null())
      out += member.type == api::Type::Integer ? "0" : R"("")";
    else
      appendValue(out, each);
  }
  if (!more.empty() && !first) out += ',';
  out += more;
  out += ']';
}

void appendMember(std::string& out, const Member& member, const json::value& value) {
  if (member.type == api::Type::Object && value.is_object()) return appendMembers(out, member.of, value.get_object(), {});
  if (member.type == api::Type::List && value.is_array()) return appendList(out, member, value.get_array(), {});
  if (member.type == api::Type::Map && value.is_object()) return appendMap(out, member, value.get_object());
  if (member.type == api::Type::Quantity && (value.is_string() || value.is_number())) return appendQuantity(out, value);
  appendValue(out, value);
}

std::string_view moreFor(const Member& member, const Appended& appended) {
  if (member.name == "env") return appended.env;
  return member.name == "volumeMounts" ? appended.volumeMounts : std::string_view{};
}

void appendMembers(std::string& out, const std::vector<Member>& members, const json::object& object, const Appended& appended) {
  out += '{';
  const std::size_t begin = out.size();
  const auto comma = [&] {
    if (out.size() > begin) out += ',';
  };
  std::size_t known = 0;
  for (const Member& member : members) {
    const json::value* value = object.if_contains(member.name);
    if (value != nullptr) ++known;
    const std::string_view more = moreFor(member, appended);
    if (!more.empty()) {
      static const json::array none;
      const json::array* list = value != nullptr ? value->if_array() : nullptr;
      comma();
      out += member.key;
      appendList(out, member, list != nullptr ? *list : none, more);
    } else if (value == nullptr || isEmpty(member, *value)) {
      if (member.whenAbsent.empty()) continue;
      comma();
      out += member.key;
      out += member.whenAbsent;
    } else {
      comma();
      out += member.key;
      appendMember(out, member, *value);
    }
  }
  if (known < object.size())
    for (const json::key_value_pair& each : object) {
      const auto same = [&each](const Member& member) { return member.name == each.key(); };
      if (std::any_of(members.begin(), members.end(), same)) continue;
      comma();
      appendText(out, each.key());
      out += ':';
      appendValue(out, each.value());
    }
  out += '}';
}

template <class Number>
void appendNumber(std::string& out, Number number) {
  char digits[40];
  out.append(digits, std::to_chars(digits, digits + sizeof digits, number).ptr);
}

void appendEscaped(std::string& out, unsigned char c) {
  switch (c) {
    case '"':
      out += "\\\"";
      return;
    case '\\':
      out += "\\\\";
      return;
    case '\b':
      out += "\\b";
      return;
    case '\f':
      out += "\\f";
      return;
    case '\n':
      out += "\\n";
      return;
    case '\r':
      out += "\\r";
      return;
    case '\t':
      out += "\\t";
      return;
    default:
      out += "\\u00";
      out += kHex[c >> 4];
      out += kHex[c & 15];
  }
}

// Characters that stand for themselves, except that 0xe2 may begin U+2028.
constexpr bool isPlain(unsigned char c) { return c >= 0x20 && c != '"' && c != '\\' && c != '<' && c != '>' && c != '&' && c != 0xe2; }

}  // namespace

void appendText(std::string& out, std::string_view text) {
  out += '"';
  std::size_t from = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    if (isPlain(c)) continue;
    const bool separator = c == 0xe2 && i + 2 < text.size() && text[i + 1] == '\x80' && (text[i + 2] == '\xa8' || text[i + 2] == '\xa9');
    if (c == 0xe2 && !separator) continue;
    out.append(text, from, i - from);
    if (separator) {
      out += text[i + 2] == '\xa8' ? "\\u2028" : "\\u2029";
      i += 2;
    } else {
      appendEscaped(out, c);
    }
    from = i + 1;
  }
  out.append(text, from, text.size() - from);
  out += '"';
}

void appendValue(std::string& out, const json::value& value) {
  switch (value.kind()) {
    case json::kind::string:
      return appendText(out, value.get_string());
    case json::kind::int64:
      return appendNumber(out, value.get_int64());
    case json::kind::uint64:
      return appendNumber(out, value.get_uint64());
    case json::kind::double_:
      return appendNumber(out, value.get_double());
    case json::kind::array: {
      out += '[';
      for (const json::value& each : value.get_array()) {
        if (&each != value.get_array().begin()) out += ',';
        appendValue(out, each);
      }
      out += ']';
      return;
    }
    case json::kind::object: {
      out += '{';
      for (const json::key_value_pair& each : value.get_object()) {
        if (&each != value.get_object().begin()) out += ',';
        appendText(out, each.key());
        out += ':';
        appendValue(out, each.value());
      }
      out += '}';
      return;
    }
    default:
      out += json::serialize(value);  // null, true, false, doubles
  }
}

std::string_view goKind(const json::value& value) {
  if (value.is_string()) return "string";
  if (value.is_bool()) return "bool";
  if (value.is_array()) return "array";
  return value.is_object() ? "object" : "number";
}

void appendContainer(std::string& out, const json::object& container, const Appended& appended) {
  static const std::vector<Member> members = membersOf("", api::container());
  appendMembers(out, members, container, appended);
}

}  // namespace podpass::irsa
