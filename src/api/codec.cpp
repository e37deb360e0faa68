#include "api/codec.h"

#include "api/causes.h"
#include "api/json_reader.h"
#include "api/protobuf.h"
#include "api/quantity.h"
#include "base/text.h"

namespace podpass::api {
namespace {

constexpr std::string_view kAccepted =
    "the body of the request was in an unknown format - accepted media types include: application/json, application/yaml, "
    "application/vnd.kubernetes.protobuf";
constexpr std::size_t kShownBytes = 30;

// ---- conforming

std::string goTypeOf(Type type) {
  switch (type) {
    case Type::Integer:
      return "int64";
    case Type::Boolean:
      return "bool";
    case Type::Bytes:
      return "[]uint8";
    case Type::Object:
    case Type::Any:
      return "struct";
    case Type::List:
      return "[]string";
    case Type::Map:
      return "map[string]string";
    default:
      return "string";
  }
}

// Go names a place without the indices of lists.
std::string withoutIndices(std::string_view path) {
  std::string plain;
  int depth = 0;
  for (const char c : path) {
    if (c == '[') ++depth;
    if (depth == 0) plain += c;
    if (c == ']') --depth;
  }
  return plain;
}

// One walk over an object: drops nulls, empty members and strangers, makes times and quantities canonical, stops at a wrong type.
class Conforming {
 public:
  explicit Conforming(const Kind& kind) : kind_(kind) {}

  bool root(json::object& object) {
    json::object kept;
    kept["apiVersion"] = kind_.apiVersion();
    kept["kind"] = kind_.kind;
    for (auto& member : object) {
      const std::string_view name = member.key();
      if (name == "apiVersion" || name == "kind") continue;
      static const Field metadata{.name = "metadata", .number = 1, .type = Type::Object, .of = metadataFields()};
      const Field* field = name == "metadata" ? &metadata : findField(kind_.fields, name);
      if (!member_(kept, field, name, member.value(), {})) return false;
    }
    object = std::move(kept);
    return true;
  }

  std::vector<std::string> problems;
  std::string failure;  // when a walk returned false

 private:
  bool wrong(const json::value& value, Type type, const std::string& path) {
    failure = "json: cannot unmarshal " + std::string(jsonTypeName(value)) + " into Go struct field " + std::string(kind_.kind) + "." +
              withoutIndices(path) + " of type " + goTypeOf(type);
    return false;
  }

  bool members(json::object& object, const std::vector<Field>& fields, const std::string& path) {
    json::object kept;
    kept.reserve(object.size());
    for (auto& member : object)
      if (!member_(kept, findField(fields, member.key()), member.key(), member.value(), path)) return false;
    object = std::move(kept);
    return true;
  }

  bool member_(json::object& kept, const Field* field, std::string_view name, json::value& value, const std::string& parent) {
    const std::string path = under(parent, name);
    if (field == nullptr) {
      if (problems.size() < kMostProblems) problems.push_back("unknown field " + quoted(path));
      return true;
    }
    if (value.is_null()) return true;
    if (!conform(*field, field->type, value, path)) return false;
    if (!isAbsent(*field, value)) kept[name] = std::move(value);
    return true;
  }

  static bool isAbsent(const Field& field, const json::value& value) {
    if (value.is_null()) return true;
    if (field.type == Type::List) return value.get_array().empty();
    if (field.type == Type::Map) return value.get_object().empty();
    if (value.is_string() && field.type != Type::IntOrString && field.type != Type::Any)
      return value.get_string().empty() && !field.evenEmpty;
    if (!field.zeroIsAbsent) return false;
    return value.is_bool() ? !value.get_bool() : value.is_int64() && value.get_int64() == 0;
  }

  bool conform(const Field& field, Type type, json::value& value, const std::string& path) {
    switch (type) {
      case Type::Object:
        return value.is_object() ? members(value.get_object(), field.of, path) : wrong(value, type, path);
      case Type::List:
        return list(field, value, path);
      case Type::Map:
        return map(field, value, path);
      case Type::String:
        return value.is_string() || wrong(value, type, path);
      case Type::Boolean:
        return value.is_bool() || wrong(value, type, path);
      case Type::Integer:
        return integer(value, path);
      case Type::Bytes:
        return base64(value, path);
      case Type::Time:
      case Type::MicroTime:
        return time(type, value, path);
      case Type::Quantity:
        return quantity(value, path);
      case Type::IntOrString:
        return value.is_string() || (value.is_number() && integer(value, path)) || wrong(value, Type::String, path);
      case Type::Any:
        return true;
    }
    return true;
  }

  bool list(const Field& field, json::value& value, const std::string& path) {
    if (!value.is_array()) return wrong(value, Type::List, path);
    json::array& items = value.get_array();
    items.erase(std::remove_if(items.begin(), items.end(), [](const json::value& item) { return item.is_null(); }), items.end());
    for (std::size_t i = 0; i < items.size(); ++i) {
      const std::string place = at(path, i);
      if (field.of.empty()
              ? !conform(field, field.element, items[i], place)
              : !(items[i].is_object() ? members(items[i].get_object(), field.of, place) : wrong(items[i], Type::Object, place)))
        return false;
    }
    return true;
  }

  bool map(const Field& field, json::value& value, const std::string& path) {
    if (!value.is_object()) return wrong(value, Type::Map, path);
    json::object& entries = value.get_object();
    const bool nulls = std::any_of(entries.begin(), entries.end(), [](const auto& entry) { return entry.value().is_null(); });
    if (nulls) {
      json::object kept;
      for (auto& entry : entries)
        if (!entry.value().is_null()) kept[entry.key()] = std::move(entry.value());
      entries = std::move(kept);
    }
    for (auto& entry : entries)
      if (!mapEntry(field, entry.value(), path)) return false;
    return true;
  }

  bool mapEntry(const Field& field, json::value& value, const std::string& path) {
    if (!field.of.empty()) return value.is_object() ? members(value.get_object(), field.of, path) : wrong(value, Type::Object, path);
    if (field.element != Type::List) return conform(field, field.element, value, path);
    if (!value.is_array()) return wrong(value, Type::List, path);
    for (const json::value& item : value.get_array())
      if (!item.is_string()) return wrong(item, Type::String, path);
    return true;
  }

  bool integer(json::value& value, const std::string& path) {
    if (value.is_int64()) return true;
    if (!value.is_number()) return wrong(value, Type::Integer, path);
    failure = "json: cannot unmarshal number " + json::serialize(value) + " into Go struct field " + std::string(kind_.kind) + "." +
              withoutIndices(path) + " of type int64";
    return false;
  }

  bool base64(json::value& value, const std::string& path) {
    if (!value.is_string()) return wrong(value, Type::Bytes, path);
    const Result<std::string> decoded = base64Decode(value.get_string());
    if (!decoded) failure = decoded.error().sentence;
    return static_cast<bool>(decoded);
  }

  bool time(Type type, json::value& value, const std::string& path) {
    if (!value.is_string()) return wrong(value, type, path);
    const std::string_view text = value.get_string();
    if (text.empty() || text.starts_with("0001-01-01T00:00:00")) {  // Go's zero time means none
      value = nullptr;
      return true;
    }
    const Result<WallTime> parsed = parseRfc3339(text);
    if (!parsed) {
      failure = "parsing time " + quoted(quoted(text.substr(0, 64))) + " as \"2006-01-02T15:04:05Z07:00\": cannot parse " +
                quoted(text.substr(0, 64));
      return false;
    }
    value = type == Type::Time ? rfc3339(*parsed) : rfc3339Micro(*parsed);
    return true;
  }

  bool quantity(json::value& value, const std::string& path) {
    if (value.is_number()) value = json::string(json::serialize(value));
    if (!value.is_string()) return wrong(value, Type::Quantity, path);
    const std::string_view text = value.get_string();
    if (!text.empty()) failure = quantityProblem(text);
    return failure.empty();
  }

  const Kind& kind_;
};

Error unhandled(const Kind& kind, std::string_view given, const std::string& why) {
  return {Reason::BadRequest,
          std::string(given) + " in version " + quoted(kind.version) + " cannot be handled as a " + std::string(kind.kind) + ": " + why};
}

// ---- which kind it is

std::string internalName(const Kind& kind) {
  const std::string_view group = kind.group.substr(0, kind.group.find('.'));
  return std::string(group.empty() ? "core" : group) + "." + std::string(kind.kind);
}

Result<void> checkKind(const Kind& kind, std::string_view apiVersion, std::string_view name) {
  if (!kind.anyVersion && !apiVersion.empty() && apiVersion != kind.apiVersion())
    return Error{Reason::BadRequest, "the API version in the data (" + std::string(apiVersion) +
                                         ") does not match the expected API version (" + kind.apiVersion() + ")"};
  if (name.empty() || name == kind.kind) return {};
  if (findKindByName(kind.apiVersion(), name) != nullptr)
    return unhandled(
        kind, name,
        "converting (" + std::string(kind.version) + "." + std::string(name) + ") to (" + internalName(kind) + "): unknown conversion");
  return unhandled(kind, name,
                   "no kind " + quoted(name) + " is registered for version " + quoted(kind.apiVersion()) +
                       " in scheme \"pkg/api/legacyscheme/scheme.go:30\"");
}

std::string summaryOf(std::string_view body) {
  if (body.empty()) return "<empty>";
  const std::string_view shown = body.substr(0, kShownBytes);
  return (body[0] == '{' && isUtf8(shown) ? std::string(shown) : hexLower(shown)) + (body.size() > kShownBytes ? " ..." : "");
}

Error unrecognized(const Kind& kind, std::string_view body, const std::string& why) {
  return {Reason::BadRequest, "the object provided is unrecognized (must be of type " + std::string(kind.kind) +
                                  "): couldn't get version/kind; " + why + " (" + summaryOf(body) + ")"};
}

Result<Decoded> decodeText(const Kind& kind, std::string_view body, bool isYaml) {
  Result<Read> read = isYaml ? readYaml(body) : readJson(body);
  if (!read)
    return unrecognized(kind, body,
                        isYaml ? "error converting YAML to JSON: " + read.error().sentence : "json parse error: " + read.error().sentence);
  if (!read->value.is_object())
    return unrecognized(kind, body,
                        "json parse error: json: cannot unmarshal " + std::string(jsonTypeName(read->value)) +
                            " into Go value of type struct { APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; Kind string "
                            "\"json:\\\"kind,omitempty\\\"\" }");
  json::object& object = read->value.get_object();
  for (const std::string_view name : {"apiVersion", "kind"})
    if (const json::value* value = object.if_contains(name); value && !value->is_string() && !value->is_null())
      return unrecognized(kind, body,
                          "json parse error: json: cannot unmarshal " + std::string(jsonTypeName(*value)) + " into Go struct field ." +
                              std::string(name) + " of type string");
  if (Result<void> fits = checkKind(kind, textAt(object, {"apiVersion"}), textAt(object, {"kind"})); !fits) return fits.error();
  Result<Decoded> decoded = conform(kind, std::move(object));
  if (!decoded) return decoded;
  std::vector<std::string> problems;
  for (const std::string& path : read->duplicates) problems.push_back("duplicate field " + quoted(path));
  problems.insert(problems.end(), decoded->problems.begin(), decoded->problems.end());
  if (problems.size() > kMostProblems) problems.resize(kMostProblems);
  decoded->problems = std::move(problems);
  return decoded;
}

Result<Decoded> decodeEnvelope(const Kind& kind, std::string_view body) {
  Result<Envelope> envelope = openEnvelope(body);
  if (!envelope) return unrecognized(kind, body, envelope.error().sentence);
  if (Result<void> fits = checkKind(kind, envelope->apiVersion, envelope->kind); !fits) return fits.error();
  Result<json::object> object = decodeMessage(kind, envelope->raw);
  if (!object) return unhandled(kind, kind.kind, object.error().sentence);
  return conform(kind, *std::move(object));
}

std::string mediaTypeOf(std::string_view contentType) {
  std::string type(contentType.substr(0, contentType.find(';')));
  std::erase_if(type, [](char c) { return c == ' ' || c == '\t'; });
  std::transform(type.begin(), type.end(), type.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return type;
}

}  // namespace

Result<Decoded> conform(const Kind& kind, json::object object) {
  Conforming walk(kind);
  if (!walk.root(object)) return unhandled(kind, kind.kind, walk.failure);
  return Decoded{std::move(object), std::move(walk.problems)};
}

Result<Decoded> decode(const Kind& kind, std::string_view contentType, std::string_view body) {
  const std::string type = mediaTypeOf(contentType);
  if (type.empty() || type == "application/json" || type == "*/*") return decodeText(kind, body, false);
  if (type == "application/yaml") return decodeText(kind, body, true);
  if (type == "application/vnd.kubernetes.protobuf") return decodeEnvelope(kind, body);
  return Error{Reason::UnsupportedMediaType, std::string(kAccepted)};
}

}  // namespace podpass::api
