#include "api/protobuf.h"

#include "api/codec.h"
#include "api/json_reader.h"
#include "base/text.h"

namespace podpass::api {
namespace {

constexpr std::string_view kMagic("k8s\0", 4);
constexpr std::uint32_t kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5;
// what a 64-bit count of nanoseconds can hold: years 1678 to 2261
constexpr std::int64_t kFirstSecond = -9'214'560'000, kLastSecond = 9'214'646'400;

const std::vector<Field>& wholeOf(const Kind& kind) {
  // the tables leave metadata out; DeleteOptions alone has none, and there field 1 is declared by the table itself
  static const auto* const all = [] {
    auto* tables = new std::unordered_map<const Kind*, std::vector<Field>>;
    const auto add = [&](const Kind* each) {
      std::vector<Field> fields = each->fields;
      const bool taken =
          std::any_of(fields.begin(), fields.end(), [](const Field& field) { return field.number == 1 && field.within == 0; });
      if (!taken) fields.push_back({.name = "metadata", .number = 1, .type = Type::Object, .of = metadataFields()});
      tables->emplace(each, std::move(fields));
    };
    for (const Kind* each : allKinds()) add(each);
    for (const auto& [group, name] :
         {std::pair{"authentication.k8s.io", "TokenRequest"}, {"policy", "Eviction"}, {"meta.k8s.io", "DeleteOptions"}})
      add(findBodyKind(group, "v1", name));
    return tables;
  }();
  const auto found = all->find(&kind);
  return found == all->end() ? kind.fields : found->second;
}

Error malformed(const char* what) { return {Reason::BadRequest, std::string("proto: ") + what}; }

// ---- reading

class Reader {
 public:
  explicit Reader(std::string_view bytes) : rest_(bytes) {}
  [[nodiscard]] bool done() const { return rest_.empty(); }

  bool varint(std::uint64_t& value) {
    value = 0;
    for (unsigned shift = 0; shift < 64 && !rest_.empty(); shift += 7) {
      const auto byte = static_cast<unsigned char>(rest_.front());
      rest_.remove_prefix(1);
      value |= static_cast<std::uint64_t>(byte & 0x7f) << shift;
      if ((byte & 0x80) == 0) return true;
    }
    return false;
  }

  bool bytes(std::string_view& value) {
    std::uint64_t length = 0;
    if (!varint(length) || length > rest_.size()) return false;
    value = rest_.substr(0, length);
    rest_.remove_prefix(length);
    return true;
  }

  bool tag(std::uint32_t& number, std::uint32_t& wire) {
    std::uint64_t value = 0;
    if (!varint(value) || value >> 32 != 0) return false;
    number = static_cast<std::uint32_t>(value >> 3);
    wire = static_cast<std::uint32_t>(value & 7);
    return number != 0;
  }

  bool skip(std::uint32_t wire) {
    std::uint64_t number = 0;
    std::string_view text;
    if (wire == kVarint) return varint(number);
    if (wire == kBytes) return bytes(text);
    const std::size_t size = wire == kFixed64 ? 8 : wire == kFixed32 ? 4 : rest_.size() + 1;
    if (size > rest_.size()) return false;
    rest_.remove_prefix(size);
    return true;
  }

 private:
  std::string_view rest_;
};

// Fields 1 and 2 of the small messages that stand for one value: Time, Quantity, IntOrString, a map's entry.
struct Small {
  std::uint64_t numbers[4] = {};
  std::string_view texts[4] = {};
  bool isSet[4] = {};
};

bool readSmall(std::string_view bytes, Small& small) {
  for (Reader in(bytes); !in.done();) {
    std::uint32_t number = 0, wire = 0;
    if (!in.tag(number, wire)) return false;
    const bool known = number < 4 && (wire == kVarint || wire == kBytes);
    if (known) small.isSet[number] = true;
    if (!known ? !in.skip(wire) : wire == kVarint ? !in.varint(small.numbers[number]) : !in.bytes(small.texts[number])) return false;
  }
  return true;
}

class Decoding {
 public:
  // `within`: the number of the embedded message whose fields these are.
  bool message(const std::vector<Field>& fields, std::uint32_t within, std::string_view bytes, json::object& into) {
    for (Reader in(bytes); !in.done();) {
      std::uint32_t number = 0, wire = 0;
      if (!in.tag(number, wire)) return fail("bad tag");
      const Field* field = nullptr;
      bool embeds = false;
      for (const Field& each : fields) {
        if (each.within == within && each.number == number) field = &each;
        embeds = embeds || (within == 0 && each.within != 0 && each.within == number);
      }
      if (field == nullptr && embeds && wire == kBytes) {
        std::string_view part;
        if (!in.bytes(part)) return fail("unexpected EOF");
        if (!message(fields, number, part, into)) return false;
      } else if (field == nullptr) {
        if (!in.skip(wire)) return fail("unexpected EOF");
      } else if (!member(*field, wire, in, into)) {
        return false;
      }
    }
    return true;
  }

  std::string failure;

 private:
  bool fail(const char* what) {
    if (failure.empty()) failure = what;
    return false;
  }

  bool member(const Field& field, std::uint32_t wire, Reader& in, json::object& into) {
    if (field.type == Type::List) return element(field, wire, in, into);
    json::value value;
    if (field.type == Type::Object) {
      std::string_view bytes;
      if (wire != kBytes || !in.bytes(bytes)) return fail("wrong wireType");
      json::value& place = into[field.name];
      if (!place.is_object()) place.emplace_object();
      return message(field.of, 0, bytes, place.get_object());
    }
    if (field.type == Type::Map) return entry(field, wire, in, into);
    if (!scalar(field.type, wire, in, value)) return false;
    if (!value.is_null()) into[field.name] = std::move(value);
    return true;
  }

  bool element(const Field& field, std::uint32_t wire, Reader& in, json::object& into) {
    json::value& place = into[field.name];
    if (!place.is_array()) place.emplace_array();
    json::array& list = place.get_array();
    if (field.of.empty() && field.element == Type::Integer && wire == kBytes) {  // packed
      std::string_view bytes;
      if (!in.bytes(bytes)) return fail("unexpected EOF");
      for (Reader numbers(bytes); !numbers.done();) {
        std::uint64_t number = 0;
        if (!numbers.varint(number)) return fail("integer overflow");
        list.push_back(json::value(static_cast<std::int64_t>(number)));
      }
      return true;
    }
    if (field.of.empty()) {
      json::value value;
      if (!scalar(field.element, wire, in, value)) return false;
      list.push_back(std::move(value));
      return true;
    }
    std::string_view bytes;
    if (wire != kBytes || !in.bytes(bytes)) return fail("wrong wireType");
    json::object object;
    if (!message(field.of, 0, bytes, object)) return false;
    list.push_back(std::move(object));
    return true;
  }

  bool entry(const Field& field, std::uint32_t wire, Reader& in, json::object& into) {
    std::string_view bytes;
    Small pair;
    if (wire != kBytes || !in.bytes(bytes) || !readSmall(bytes, pair)) return fail("wrong wireType");
    if (!isUtf8(pair.texts[1])) return fail("invalid UTF-8");
    json::value& place = into[field.name];
    if (!place.is_object()) place.emplace_object();
    json::value value;
    if (!entryValue(field, pair.texts[2], value)) return false;
    place.get_object()[pair.texts[1]] = std::move(value);
    return true;
  }

  bool entryValue(const Field& field, std::string_view bytes, json::value& value) {
    if (!field.of.empty()) {
      return message(field.of, 0, bytes, value.emplace_object());
    }
    if (field.element != Type::List) return fromBytes(field.element, bytes, value);
    static const std::vector<Field> items{{.name = "items", .number = 1, .type = Type::List}};
    json::object object;
    if (!message(items, 0, bytes, object)) return false;
    value = object.contains("items") ? std::move(object["items"]) : json::value(json::array());
    return true;
  }

  bool scalar(Type type, std::uint32_t wire, Reader& in, json::value& value) {
    if (type == Type::Integer || type == Type::Boolean) {
      std::uint64_t number = 0;
      if (wire != kVarint || !in.varint(number)) return fail("wrong wireType");
      if (type == Type::Boolean)
        value = number != 0;
      else
        value = static_cast<std::int64_t>(number);
      return true;
    }
    std::string_view bytes;
    if (wire != kBytes || !in.bytes(bytes)) return fail("wrong wireType");
    return fromBytes(type, bytes, value);
  }

  bool fromBytes(Type type, std::string_view bytes, json::value& value) {
    if (type == Type::Bytes) {
      value = json::string(base64Encode(bytes));
      return true;
    }
    if (type == Type::String) {
      value = json::string(bytes);
      return isUtf8(bytes) || fail("invalid UTF-8");
    }
    Small small;
    if (!readSmall(bytes, small)) return fail("unexpected EOF");
    for (const std::string_view text : small.texts)
      if (!isUtf8(text)) return fail("invalid UTF-8");
    switch (type) {
      case Type::Time:
      case Type::MicroTime:
        return time(type, small, value);
      case Type::Quantity:
        value = json::string(small.texts[1]);
        return true;
      case Type::IntOrString:
        if (small.numbers[1] == 1)
          value = json::string(small.texts[3]);
        else
          value = static_cast<std::int64_t>(small.numbers[2]);
        return true;
      case Type::Any:
        return any(small.texts[1], value);
      default:
        return fail("wrong wireType");
    }
  }

  bool time(Type type, const Small& small, json::value& value) {
    if (!small.isSet[1] && !small.isSet[2]) return true;  // an empty Time is none
    const auto seconds = static_cast<std::int64_t>(small.numbers[1]);
    const auto nanos = static_cast<std::int64_t>(small.numbers[2]);
    if (seconds < kFirstSecond || seconds > kLastSecond || nanos < 0 || nanos > 999'999'999) return fail("time out of range");
    const WallTime moment =
        WallTime(std::chrono::seconds(seconds)) + std::chrono::duration_cast<WallTime::duration>(std::chrono::nanoseconds(nanos));
    value = json::string(type == Type::Time ? rfc3339(moment) : rfc3339Micro(moment));
    return true;
  }

  bool any(std::string_view text, json::value& value) {
    if (text.empty()) return true;
    Result<json::value> parsed = parseJson(text);
    if (!parsed) return fail("invalid JSON in raw extension");
    value = *std::move(parsed);
    return true;
  }
};

// ---- writing

void putVarint(std::string& out, std::uint64_t value) {
  for (; value >= 0x80; value >>= 7) out += static_cast<char>(0x80 | (value & 0x7f));
  out += static_cast<char>(value);
}

void putNumber(std::string& out, std::uint32_t number, std::uint64_t value) {
  putVarint(out, std::uint64_t{number} << 3 | kVarint);
  putVarint(out, value);
}

void putBytes(std::string& out, std::uint32_t number, std::string_view bytes) {
  putVarint(out, std::uint64_t{number} << 3 | kBytes);
  putVarint(out, bytes.size());
  out += bytes;
}

void putMessage(std::string& out, const std::vector<Field>& fields, const json::object& object);

std::string timeMessage(std::string_view text) {
  std::string out;
  const Result<WallTime> time = parseRfc3339(text);
  if (!time) return out;
  const auto seconds = std::chrono::floor<std::chrono::seconds>(time->time_since_epoch());
  putNumber(out, 1, static_cast<std::uint64_t>(seconds.count()));
  putNumber(out, 2,
            static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(time->time_since_epoch() - seconds).count()));
  return out;
}

std::string intOrStringMessage(const json::value& value) {
  std::string out;
  putNumber(out, 1, value.is_string() ? 1 : 0);
  putNumber(out, 2, value.is_int64() ? static_cast<std::uint64_t>(value.get_int64()) : 0);
  putBytes(out, 3, value.is_string() ? std::string_view(value.get_string()) : std::string_view{});
  return out;
}

// The bytes of a value that is length-delimited on the wire.
std::string bytesOf(const Field& field, Type type, const json::value& value) {
  const std::string_view text = value.is_string() ? std::string_view(value.get_string()) : std::string_view{};
  std::string out;
  switch (type) {
    case Type::Bytes:
      return base64Decode(text) ? *base64Decode(text) : out;
    case Type::Time:
    case Type::MicroTime:
      return timeMessage(text);
    case Type::Quantity:
      putBytes(out, 1, text);
      return out;
    case Type::IntOrString:
      return intOrStringMessage(value);
    case Type::Any:
      putBytes(out, 1, json::serialize(value));
      return out;
    case Type::Object:
      if (value.is_object()) putMessage(out, field.of, value.get_object());
      return out;
    case Type::List:  // a map's list of strings
      if (value.is_array())
        for (const json::value& item : value.get_array())
          if (item.is_string()) putBytes(out, 1, item.get_string());
      return out;
    default:
      return std::string(text);
  }
}

void putValue(std::string& out, const Field& field, Type type, const json::value& value) {
  if (type == Type::Integer) {
    if (value.is_int64()) putNumber(out, field.number, static_cast<std::uint64_t>(value.get_int64()));
  } else if (type == Type::Boolean) {
    if (value.is_bool()) putNumber(out, field.number, value.get_bool() ? 1 : 0);
  } else {
    putBytes(out, field.number, bytesOf(field, type, value));
  }
}

void putEntries(std::string& out, const Field& field, const json::object& entries) {
  for (const auto& [key, value] : entries) {
    std::string pair;
    putBytes(pair, 1, key);
    putBytes(pair, 2, bytesOf(field, field.of.empty() ? field.element : Type::Object, value));
    putBytes(out, field.number, pair);
  }
}

void putField(std::string& out, const Field& field, const json::value& value) {
  if (field.type == Type::Map) {
    if (value.is_object()) putEntries(out, field, value.get_object());
  } else if (field.type == Type::List) {
    if (value.is_array())
      for (const json::value& item : value.get_array()) putValue(out, field, field.of.empty() ? field.element : Type::Object, item);
  } else {
    putValue(out, field, field.type, value);
  }
}

void putMessage(std::string& out, const std::vector<Field>& fields, const json::object& object) {
  std::map<std::uint32_t, std::string> embedded;
  for (const Field& field : fields) {
    const json::value* value = object.if_contains(field.name);
    if (value == nullptr || value->is_null() || field.number == 0) continue;
    putField(field.within == 0 ? out : embedded[field.within], field, *value);
  }
  for (const auto& [number, bytes] : embedded) putBytes(out, number, bytes);
}

}  // namespace

Result<Envelope> openEnvelope(std::string_view body) {
  if (!body.starts_with(kMagic)) return malformed("provided data does not appear to be a protobuf message, expected prefix 6b 38 73 00");
  Small unknown, type;
  if (!readSmall(body.substr(kMagic.size()), unknown) || !readSmall(unknown.texts[1], type)) return malformed("illegal envelope");
  if (!unknown.texts[3].empty()) return malformed("unsupported content encoding");
  if (!isUtf8(type.texts[1]) || !isUtf8(type.texts[2])) return malformed("invalid UTF-8");
  return Envelope{type.texts[1], type.texts[2], unknown.texts[2]};
}

Result<json::object> decodeMessage(const Kind& kind, std::string_view raw) {
  json::object object;
  Decoding decoding;
  if (!decoding.message(wholeOf(kind), 0, raw, object)) return malformed(decoding.failure.c_str());
  return object;
}

std::string encodeProtobuf(const Kind& kind, const json::object& object) {
  std::string type, raw, unknown;
  putBytes(type, 1, kind.apiVersion());
  putBytes(type, 2, kind.kind);
  putMessage(raw, wholeOf(kind), object);
  putBytes(unknown, 1, type);
  putBytes(unknown, 2, raw);
  putBytes(unknown, 3, {});
  putBytes(unknown, 4, {});
  return std::string(kMagic) + unknown;
}

}  // namespace podpass::api
