#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

#include <charconv>
#include <cmath>
#include <map>
#include <sstream>

#include "api/codec.h"
#include "api/json_reader.h"
#include "base/text.h"

namespace podpass::api {
namespace {

constexpr std::size_t kMostNodes = 500'000;        // after aliases are expanded
constexpr std::size_t kMostAliasBytes = 16 << 20;  // text that aliases repeat
constexpr std::string_view kStandardTag = "tag:yaml.org,2002:";

bool isOneOf(std::string_view text, std::initializer_list<std::string_view> words) {
  return std::find(words.begin(), words.end(), text) != words.end();
}

// "12", "0x1f", "0b1", "017", "0o17", "1_000": as Go's strconv.ParseInt with base 0.
std::optional<json::value> integerFrom(std::string_view text) {
  const bool negative = text.starts_with('-');
  if (negative || text.starts_with('+')) text.remove_prefix(1);
  if (text.empty() || text[0] < '0' || text[0] > '9' || text.back() == '_') return std::nullopt;
  std::string digits(text);
  digits.erase(std::remove(digits.begin(), digits.end(), '_'), digits.end());
  int base = 10;
  std::size_t skip = 0;
  if (digits.size() > 1 && digits[0] == '0') {
    const char mark = digits[1];
    base = mark == 'x' || mark == 'X' ? 16 : mark == 'b' || mark == 'B' ? 2 : 8;
    skip = mark >= '0' && mark <= '9' ? 1 : 2;
    if (skip == 2 && !isOneOf(std::string_view(&mark, 1), {"x", "X", "b", "B", "o", "O"})) return std::nullopt;
  }
  std::uint64_t value = 0;
  const char* end = digits.data() + digits.size();
  const auto [stopped, failed] = std::from_chars(digits.data() + skip, end, value, base);
  if (failed != std::errc() || stopped != end || skip == digits.size()) return std::nullopt;
  constexpr std::uint64_t kHalf = std::uint64_t{1} << 63;
  if (negative) return value > kHalf ? std::nullopt : std::optional(json::value(static_cast<std::int64_t>(0 - value)));
  return value < kHalf ? json::value(static_cast<std::int64_t>(value)) : json::value(value);
}

std::optional<double> realFrom(std::string_view text) {
  std::size_t i = text.starts_with('-') || text.starts_with('+') ? 1 : 0;
  const std::size_t first = i;
  bool digits = false;
  for (; i < text.size() && (std::isdigit(static_cast<unsigned char>(text[i])) != 0 || (text[i] == '.' && text.find('.') == i)); ++i)
    digits = digits || text[i] != '.';
  if (!digits) return std::nullopt;
  if (i < text.size() && (text[i] == 'e' || text[i] == 'E')) {
    ++i;
    if (i < text.size() && (text[i] == '+' || text[i] == '-')) ++i;
    const std::size_t exponent = i;
    while (i < text.size() && std::isdigit(static_cast<unsigned char>(text[i])) != 0) ++i;
    if (i == exponent) return std::nullopt;
  }
  if (i != text.size()) return std::nullopt;
  double value = 0;
  const auto [stopped, failed] = std::from_chars(text.data() + first, text.data() + text.size(), value);
  if (failed != std::errc() || !std::isfinite(value)) return std::nullopt;
  return text.starts_with('-') ? -value : value;
}

// What a scalar without quotes means: YAML 1.1 as go-yaml reads it, `yes` and `0644` included.
json::value resolved(std::string_view text) {
  if (isOneOf(text, {"", "~", "null", "Null", "NULL"})) return nullptr;
  if (isOneOf(text, {"true", "True", "TRUE", "y", "Y", "yes", "Yes", "YES", "on", "On", "ON"})) return true;
  if (isOneOf(text, {"false", "False", "FALSE", "n", "N", "no", "No", "NO", "off", "Off", "OFF"})) return false;
  if (const std::optional<json::value> number = integerFrom(text)) return *number;
  if (const std::optional<double> number = realFrom(text)) return *number;
  return json::string(text);
}

struct Measured {
  json::value value;
  std::size_t nodes = 1, bytes = 0, depth = 0;
};

// Turns events into a value at once, so that no tree of yaml-cpp's is built, and counts what aliases blow up.
class Builder final : public YAML::EventHandler {
 public:
  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override { deliver(mark, {nullptr}, anchor, {}); }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    const auto found = anchors_.find(anchor);
    if (found == anchors_.end()) throw YAML::ParserException(mark, "an anchor contains itself");
    aliasBytes_ += found->second.bytes;
    if (aliasBytes_ > kMostAliasBytes || nodes_ + found->second.nodes > kMostNodes)
      throw YAML::ParserException(mark, "document contains excessive aliasing");
    if (open_.size() + found->second.depth > kDeepest) throw YAML::ParserException(mark, "exceeded max depth");
    Measured copy = found->second;
    deliver(mark, std::move(copy), 0, {});
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, const std::string& text) override {
    const bool plain =
        tag == "?" || (tag.starts_with(kStandardTag) && tag != std::string(kStandardTag) + "str" && !tag.ends_with("binary"));
    Measured scalar{plain ? resolved(text) : json::value(json::string(text))};
    scalar.bytes = text.size();
    deliver(mark, std::move(scalar), anchor, plain ? std::string_view(text) : std::string_view());
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor, YAML::EmitterStyle::value) override {
    open(mark, json::array(), anchor);
  }
  void OnSequenceEnd() override { close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor, YAML::EmitterStyle::value) override {
    open(mark, json::object(), anchor);
  }
  void OnMapEnd() override { close(); }

  Read release() { return {std::move(root_.value), std::move(duplicates_)}; }

 private:
  struct Open {
    Measured whole;
    YAML::Mark mark;
    YAML::anchor_t anchor;
    std::optional<std::string> key;
    bool merging = false;             // the key is a `<<` without quotes
    std::vector<json::value> merged;  // values of `<<`
  };

  void open(const YAML::Mark& mark, json::value empty, YAML::anchor_t anchor) {
    if (open_.size() >= kDeepest) throw YAML::ParserException(mark, "exceeded max depth");
    if (!open_.empty() && open_.back().whole.value.is_object() && !open_.back().key) throw YAML::ParserException(mark, "invalid map key");
    open_.push_back({{std::move(empty)}, mark, anchor, std::nullopt, false, {}});
  }

  void close() {
    Open done = std::move(open_.back());
    open_.pop_back();
    if (json::object* object = done.whole.value.if_object())
      for (const json::value& source : done.merged) merge(*object, source, done.mark);
    deliver(done.mark, std::move(done.whole), done.anchor, {});
  }

  static void merge(json::object& into, const json::value& source, const YAML::Mark& mark) {
    if (const json::array* sources = source.if_array()) {
      for (const json::value& each : *sources) {
        if (!each.is_object()) throw YAML::ParserException(mark, "map merge requires map or sequence of maps as the value");
        merge(into, each, mark);
      }
      return;
    }
    if (!source.is_object()) throw YAML::ParserException(mark, "map merge requires map or sequence of maps as the value");
    for (const auto& [key, value] : source.get_object())
      if (!into.contains(key)) into[key] = value;
  }

  static std::string keyFrom(const json::value& value, std::string_view text, const YAML::Mark& mark) {
    if (value.is_string()) return std::string(value.get_string());
    if (value.is_bool()) return value.get_bool() ? "true" : "false";
    if (value.is_number()) return std::string(text);
    throw YAML::ParserException(mark, "invalid map key");
  }

  // `text`: of a scalar without quotes.
  void deliver(const YAML::Mark& mark, Measured done, YAML::anchor_t anchor, std::string_view text) {
    nodes_ += done.nodes;
    if (nodes_ > kMostNodes) throw YAML::ParserException(mark, "document is too large");
    if (anchor != 0) anchors_[anchor] = done;
    if (open_.empty()) {
      root_ = std::move(done);
      return;
    }
    Open& parent = open_.back();
    parent.whole.nodes += done.nodes;
    parent.whole.bytes += done.bytes;
    parent.whole.depth = std::max(parent.whole.depth, done.depth + 1);
    if (json::array* list = parent.whole.value.if_array()) {
      list->push_back(std::move(done.value));
    } else if (!parent.key) {
      parent.key = keyFrom(done.value, text, mark);
      parent.merging = text == "<<";
      parent.whole.bytes += parent.key->size();
    } else {
      setMember(parent, std::move(done.value));
    }
  }

  void setMember(Open& parent, json::value value) {
    const std::string key = *std::exchange(parent.key, std::nullopt);
    if (parent.merging) return parent.merged.push_back(std::move(value));
    json::object& object = parent.whole.value.get_object();
    if (object.contains(key) && duplicates_.size() < kMostProblems) duplicates_.push_back(pathTo(key));
    object[key] = std::move(value);
  }

  std::string pathTo(const std::string& key) const {
    std::string path;
    for (std::size_t i = 0; i + 1 < open_.size(); ++i) {
      if (const json::array* list = open_[i].whole.value.if_array())
        path += "[" + std::to_string(list->size()) + "]";
      else
        path += (path.empty() ? "" : ".") + open_[i].key.value_or("");
    }
    return path.empty() ? key : path + "." + key;
  }

  std::vector<Open> open_;
  std::map<YAML::anchor_t, Measured> anchors_;
  Measured root_{nullptr};
  std::size_t nodes_ = 0, aliasBytes_ = 0;
  std::vector<std::string> duplicates_;
};

// ---- writing

// Whether the text can stand without quotes and still come back as a string.
bool isPlain(std::string_view text) {
  if (text.empty() || text.size() > 4096 || text.front() == ' ' || text.back() == ' ') return false;
  if (std::string_view("-?:,[]{}#&*!|>'\"%@`=<~").find(text.front()) != std::string_view::npos) {
    const bool dash = (text.front() == '-' || text.front() == '?' || text.front() == ':') && text.size() > 1 && text[1] != ' ';
    if (!dash || text.starts_with("---")) return false;
  }
  if (text.starts_with("...") || text.find(": ") != std::string_view::npos || text.find(" #") != std::string_view::npos ||
      text.ends_with(':'))
    return false;
  for (const char c : text)
    if (static_cast<unsigned char>(c) < 0x20 || static_cast<unsigned char>(c) >= 0x7f) return false;
  // a date would come back as a string here, but not with every reader
  const bool dated = text.size() >= 8 && std::isdigit(static_cast<unsigned char>(text[0])) != 0 && text.find('-') == 4;
  return !dated && resolved(text).is_string();
}

bool isBlock(std::string_view text) {  // several lines that a | block shows as they are
  if (text.find('\n') == std::string_view::npos || text.front() == ' ' || text.front() == '\n' || !isUtf8(text)) return false;
  return std::none_of(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) < 0x20 && c != '\n') || c == 0x7f; });
}

void writeBlock(std::string& out, std::string_view text, std::size_t indent) {
  const std::size_t trailing = text.size() - std::min(text.size(), text.find_last_not_of('\n') + 1);
  out += trailing == 0 ? "|-\n" : trailing == 1 ? "|\n" : "|+\n";
  if (trailing >= 1) text.remove_suffix(1);
  for (std::size_t start = 0;;) {
    const std::size_t end = text.find('\n', start);
    const std::string_view line = text.substr(start, end - start);
    if (!line.empty()) out += std::string(indent, ' ') + std::string(line);
    out += '\n';
    if (end == std::string_view::npos) return;
    start = end + 1;
  }
}

std::vector<json::string_view> sortedKeys(const json::object& object) {
  std::vector<json::string_view> keys;
  for (const auto& member : object) keys.push_back(member.key());
  std::sort(keys.begin(), keys.end());
  return keys;
}

void writeScalar(std::string& out, const json::value& value, std::size_t indent) {
  const json::string* text = value.if_string();
  if (text == nullptr) {
    out += value.is_object() ? "{}" : value.is_array() ? "[]" : json::serialize(value);
    out += '\n';
  } else if (isBlock(*text)) {
    writeBlock(out, *text, indent);
  } else {
    out += isPlain(*text) ? std::string(*text) : json::serialize(value);  // JSON's quotes are YAML's
    out += '\n';
  }
}

bool isNested(const json::value& value) {
  return (value.is_object() && !value.get_object().empty()) || (value.is_array() && !value.get_array().empty());
}

// `inlined`: the first line continues one that is begun ("- ").
void write(std::string& out, const json::value& value, std::size_t indent, bool inlined) {
  const std::string margin(indent, ' ');
  if (const json::object* object = value.if_object(); object && !object->empty()) {
    for (const json::string_view key : sortedKeys(*object)) {
      const json::value& member = object->at(key);
      if (!std::exchange(inlined, false)) out += margin;
      out += isPlain(key) ? std::string(key) : json::serialize(json::value(key));
      out += ':';
      if (!isNested(member)) {
        out += ' ';
        writeScalar(out, member, indent + 2);
      } else {
        out += '\n';
        write(out, member, member.is_array() ? indent : indent + 2, false);
      }
    }
  } else if (const json::array* list = value.if_array(); list && !list->empty()) {
    for (const json::value& item : *list) {
      if (!std::exchange(inlined, false)) out += margin;
      out += "- ";
      if (isNested(item))
        write(out, item, indent + 2, true);
      else
        writeScalar(out, item, indent + 2);
    }
  } else {
    writeScalar(out, value, indent);
  }
}

}  // namespace

Result<Read> readYaml(std::string_view text) {
  if (!isUtf8(text)) return Error{Reason::BadRequest, "yaml: invalid leading UTF-8 octet"};
  try {
    std::istringstream stream{std::string(text)};
    YAML::Parser parser(stream);
    Builder builder;
    parser.HandleNextDocument(builder);
    return builder.release();
  } catch (const YAML::Exception& failed) {
    return Error{Reason::BadRequest, "yaml: line " + std::to_string(failed.mark.line + 1) + ": " + failed.msg};
  } catch (const std::exception& failed) {
    return Error{Reason::BadRequest, std::string("yaml: ") + failed.what()};
  }
}

Result<json::value> parseJson(std::string_view text) {
  Result<Read> read = readJson(text);
  if (!read) return read.error();
  return std::move(read->value);
}

Result<json::value> parseYaml(std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \t\r\n");
  if (first != std::string_view::npos && (text[first] == '{' || text[first] == '['))
    if (Result<Read> read = readJson(text)) return std::move(read->value);
  Result<Read> read = readYaml(text);
  if (!read) return read.error();
  return std::move(read->value);
}

std::string toYaml(const json::value& value) {
  std::string out;
  write(out, value, 0, false);
  return out;
}

}  // namespace podpass::api
