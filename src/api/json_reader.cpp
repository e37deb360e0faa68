#include "api/json_reader.h"

#include <boost/json/basic_parser_impl.hpp>

namespace podpass::api {
namespace {

// Builds the value as boost::json::parser does, and remembers the keys of the objects that are open.
class Handler {
 public:
  static constexpr std::size_t max_object_size = json::object::max_size();
  static constexpr std::size_t max_array_size = json::array::max_size();
  static constexpr std::size_t max_key_size = json::string::max_size();
  static constexpr std::size_t max_string_size = json::string::max_size();
  using Failure = boost::system::error_code;

  bool on_document_begin(Failure&) {
    stack_.reset();
    return true;
  }
  bool on_document_end(Failure&) { return true; }
  bool on_array_begin(Failure&) {
    countElement();
    open_.push_back({true, 0, 0});
    return true;
  }
  bool on_array_end(std::size_t count, Failure&) {
    open_.pop_back();
    stack_.push_array(count);
    return true;
  }
  bool on_object_begin(Failure&) {
    countElement();
    open_.push_back({false, 0, keys_.size()});
    return true;
  }
  bool on_object_end(std::size_t count, Failure&) {
    noteDuplicates();
    keys_.resize(open_.back().firstKey);
    open_.pop_back();
    stack_.push_object(count);
    return true;
  }
  bool on_string_part(json::string_view part, std::size_t, Failure&) {
    stack_.push_chars(part);
    return true;
  }
  bool on_string(json::string_view rest, std::size_t, Failure&) {
    countElement();
    stack_.push_string(rest);
    return true;
  }
  bool on_key_part(json::string_view part, std::size_t, Failure&) {
    stack_.push_chars(part);
    key_.append(part.data(), part.size());
    return true;
  }
  bool on_key(json::string_view rest, std::size_t, Failure&) {
    stack_.push_key(rest);
    key_.append(rest.data(), rest.size());
    keys_.push_back(std::move(key_));
    key_.clear();
    return true;
  }
  bool on_number_part(json::string_view, Failure&) { return true; }
  bool on_int64(std::int64_t number, json::string_view, Failure&) {
    countElement();
    stack_.push_int64(number);
    return true;
  }
  bool on_uint64(std::uint64_t number, json::string_view, Failure&) {
    countElement();
    stack_.push_uint64(number);
    return true;
  }
  bool on_double(double number, json::string_view, Failure&) {
    countElement();
    stack_.push_double(number);
    return true;
  }
  bool on_bool(bool truth, Failure&) {
    countElement();
    stack_.push_bool(truth);
    return true;
  }
  bool on_null(Failure&) {
    countElement();
    stack_.push_null();
    return true;
  }
  bool on_comment_part(json::string_view, Failure&) { return true; }
  bool on_comment(json::string_view, Failure&) { return true; }

  Read release() { return {stack_.release(), std::move(duplicates_)}; }

 private:
  struct Open {
    bool isArray;
    std::size_t elements;  // begun so far
    std::size_t firstKey;  // in keys_
  };

  void countElement() {
    if (!open_.empty() && open_.back().isArray) ++open_.back().elements;
  }

  std::string pathOfTop() const {
    std::string path;
    for (std::size_t i = 0; i + 1 < open_.size(); ++i) {
      if (open_[i].isArray) {
        path += "[" + std::to_string(open_[i].elements - 1) + "]";
        continue;
      }
      const std::size_t end = firstKeyAfter(i);
      path += (path.empty() ? "" : ".") + keys_[end - 1];
    }
    return path;
  }

  // Where the keys of the next open object begin: the last key of this one is the one whose value is being read.
  std::size_t firstKeyAfter(std::size_t place) const {
    for (std::size_t i = place + 1; i < open_.size(); ++i)
      if (!open_[i].isArray) return open_[i].firstKey;
    return keys_.size();
  }

  void noteDuplicates() {
    const std::size_t first = open_.back().firstKey;
    if (keys_.size() - first < 2) return;
    std::vector<std::string_view> sorted(keys_.begin() + static_cast<std::ptrdiff_t>(first), keys_.end());
    std::sort(sorted.begin(), sorted.end());
    for (std::size_t i = 1; i < sorted.size() && duplicates_.size() < kMostProblems; ++i) {
      if (sorted[i] != sorted[i - 1] || (i > 1 && sorted[i] == sorted[i - 2])) continue;
      const std::string parent = pathOfTop();
      duplicates_.push_back(parent.empty() ? std::string(sorted[i]) : parent + "." + std::string(sorted[i]));
    }
  }

  json::value_stack stack_;
  std::vector<Open> open_;
  std::vector<std::string> keys_;
  std::string key_;
  std::vector<std::string> duplicates_;
};

std::string sentenceFor(const boost::system::error_code& failed, std::string_view text, std::size_t at) {
  if (failed == json::error::incomplete || at >= text.size()) return "unexpected end of JSON input";
  if (failed == json::error::too_deep) return "exceeded max depth";
  std::string shown(1, text[at]);
  if (static_cast<unsigned char>(text[at]) >= 0x80 || static_cast<unsigned char>(text[at]) < 0x20)
    shown = "\\x" + std::to_string(text[at] & 0xff);
  if (failed == json::error::extra_data) return "invalid character '" + shown + "' after top-level value";
  return "invalid character '" + shown + "' looking for beginning of value";
}

}  // namespace

Result<Read> readJson(std::string_view text) {
  json::parse_options options;
  options.max_depth = kDeepest;
  json::basic_parser<Handler> parser(options);
  boost::system::error_code failed;
  std::size_t used = parser.write_some(false, text.data(), text.size(), failed);
  while (!failed && used < text.size() && std::string_view(" \t\r\n").find(text[used]) != std::string_view::npos) ++used;
  if (!failed && used < text.size()) failed = json::error::extra_data;
  if (failed) return Error{Reason::BadRequest, sentenceFor(failed, text, used)};
  return parser.handler().release();
}

bool isUtf8(std::string_view text) {
  for (std::size_t i = 0; i < text.size();) {
    const auto lead = static_cast<unsigned char>(text[i]);
    const std::size_t length = lead < 0x80                   ? 1
                               : lead >= 0xc2 && lead < 0xe0 ? 2
                               : (lead & 0xf0) == 0xe0       ? 3
                               : lead >= 0xf0 && lead < 0xf5 ? 4
                                                             : 0;
    if (length == 0 || i + length > text.size()) return false;
    std::uint32_t point = length == 1 ? lead : lead & (0xffu >> (length + 1));
    for (std::size_t k = 1; k < length; ++k) {
      const auto next = static_cast<unsigned char>(text[i + k]);
      if ((next & 0xc0) != 0x80) return false;
      point = point << 6 | (next & 0x3f);
    }
    const bool overlong = (length == 3 && point < 0x800) || (length == 4 && point < 0x10000);
    if (overlong || point > 0x10ffff || (point >= 0xd800 && point < 0xe000)) return false;
    i += length;
  }
  return true;
}

std::string_view jsonTypeName(const json::value& value) {
  switch (value.kind()) {
    case json::kind::object:
      return "object";
    case json::kind::array:
      return "array";
    case json::kind::string:
      return "string";
    case json::kind::bool_:
      return "bool";
    case json::kind::null:
      return "null";
    default:
      return "number";
  }
}

}  // namespace podpass::api
