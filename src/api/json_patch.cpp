#include <charconv>

#include "api/json_reader.h"
#include "api/patch.h"
#include "api/patch_form.h"
#include "base/text.h"

// JSON Patch, RFC 6902, with Kubernetes' limits and sentences.
namespace podpass::api {
namespace {

constexpr std::size_t kMaxOperations = 10'000;
constexpr std::int64_t kMaxCopiedBytes = 3 << 20;  // as much as a request body may bring in itself

Error rejected(std::string_view path, std::string message) {
  Error error{Reason::Invalid, "the server rejected our request due to an error in our request"};
  error.causes.push_back({std::string(path), std::move(message)});
  return error;
}

// A JSON pointer's tokens, unescaped; nothing when it is not one.
std::optional<std::vector<std::string>> pointerTokens(std::string_view pointer) {
  std::vector<std::string> tokens;
  if (pointer.empty()) return tokens;
  if (pointer.front() != '/') return std::nullopt;
  for (std::size_t at = 0; at < pointer.size(); ++at) {
    if (pointer[at] == '/') {
      tokens.emplace_back();
    } else if (pointer[at] == '~') {
      if (++at == pointer.size() || (pointer[at] != '0' && pointer[at] != '1')) return std::nullopt;
      tokens.back() += pointer[at] == '0' ? '~' : '/';
    } else {
      tokens.back() += pointer[at];
    }
  }
  return tokens;
}

// An index below `size`. Negative ones count from the end, as Kubernetes has always allowed.
std::optional<std::size_t> indexBelow(std::string_view token, std::size_t size) {
  std::int64_t index = 0;
  auto [end, failed] = std::from_chars(token.data(), token.data() + token.size(), index);
  const bool padded = token.size() > 1 && (token.starts_with('0') || token.starts_with("-0"));
  if (failed != std::errc() || end != token.data() + token.size() || padded) return std::nullopt;
  const auto count = static_cast<std::int64_t>(size);
  if (index < 0) index += count;
  if (index < 0 || index >= count) return std::nullopt;
  return static_cast<std::size_t>(index);
}

json::value* child(json::value& parent, const std::string& token) {
  if (json::object* object = parent.if_object()) return object->if_contains(token);
  json::array* array = parent.if_array();
  if (array == nullptr) return nullptr;
  const std::optional<std::size_t> index = indexBelow(token, array->size());
  return index ? &(*array)[*index] : nullptr;
}

json::value* find(json::value& root, const std::vector<std::string>& tokens, std::size_t count) {
  json::value* at = &root;
  for (std::size_t step = 0; step < count && at != nullptr; ++step) at = child(*at, tokens[step]);
  return at;
}

// Bytes of the value as JSON, roughly; stops counting beyond `limit`.
std::int64_t sizeOf(const json::value& value, std::int64_t limit) {
  if (const json::string* text = value.if_string()) return static_cast<std::int64_t>(text->size()) + 2;
  std::int64_t size = 4;
  if (const json::object* object = value.if_object()) {
    for (const auto& [name, member] : *object) {
      if (size > limit) break;
      size += static_cast<std::int64_t>(name.size()) + 4 + sizeOf(member, limit - size);
    }
  } else if (const json::array* array = value.if_array()) {
    for (const json::value& item : *array) {
      if (size > limit) break;
      size += 1 + sizeOf(item, limit - size);
    }
  }
  return size;
}

class JsonPatch {
 public:
  explicit JsonPatch(json::value root) : root_(std::move(root)) {}

  Result<void> apply(const json::object& operation) {
    const std::string_view op = textAt(operation, {"op"});
    const json::value* pathValue = operation.if_contains("path");
    if (pathValue == nullptr || !pathValue->is_string()) return rejected("", std::string(op) + " operation has no path");
    path_ = std::string_view(pathValue->get_string());
    std::optional<std::vector<std::string>> tokens = pointerTokens(path_);
    if (!tokens) return missingPath(op);
    tokens_ = *std::move(tokens);
    if (op == "remove") return remove();
    if (op == "move" || op == "copy") return transfer(op, operation);
    if (op != "add" && op != "replace" && op != "test") return rejected(path_, "Unexpected kind: " + std::string(op));
    const json::value* value = operation.if_contains("value");
    if (op == "test") return test(value == nullptr ? json::value(nullptr) : *value);
    if (value == nullptr) return rejected(path_, std::string(op) + " operation has no value");
    return op == "add" ? add("add", *value) : replace(*value);
  }

  json::value& root() { return root_; }

 private:
  Error missingPath(std::string_view op) const {
    return rejected(path_,
                    std::string(op) + " operation does not apply: doc is missing path: " + podpass::quoted(path_) + ": missing value");
  }
  Error badIndex(std::string_view op, std::string_view token) const {
    return rejected(path_, "error in " + std::string(op) + " for path: '" + path_ +
                               "': Unable to access invalid index: " + std::string(token) + ": invalid index referenced");
  }

  Result<void> add(std::string_view op, json::value value) {
    if (tokens_.empty()) {
      root_ = std::move(value);
      return {};
    }
    json::value* parent = find(root_, tokens_, tokens_.size() - 1);
    const std::string& last = tokens_.back();
    if (parent != nullptr && parent->is_object()) {
      parent->get_object().insert_or_assign(last, std::move(value));
      return {};
    }
    if (parent == nullptr || !parent->is_array()) return missingPath(op);
    json::array& array = parent->get_array();
    const std::optional<std::size_t> index = last == "-" ? array.size() : indexBelow(last, array.size() + 1);
    if (!index) return badIndex(op, last);
    array.insert(array.begin() + static_cast<std::ptrdiff_t>(*index), std::move(value));
    return {};
  }

  Result<void> replace(const json::value& value) {
    json::value* parent = tokens_.empty() ? &root_ : find(root_, tokens_, tokens_.size() - 1);
    if (parent == nullptr || !parent->is_structured()) return missingPath("replace");
    json::value* target = tokens_.empty() ? parent : child(*parent, tokens_.back());
    if (target == nullptr) return rejected(path_, "replace operation does not apply: doc is missing key: " + path_ + ": missing value");
    *target = value;
    return {};
  }

  Result<void> remove() {
    Result<json::value> taken = take(path_, tokens_);
    if (!taken) return taken.error();
    return {};
  }

  Result<json::value> take(std::string_view path, const std::vector<std::string>& tokens) {
    json::value* parent = tokens.empty() ? nullptr : find(root_, tokens, tokens.size() - 1);
    json::value* target = parent == nullptr ? nullptr : child(*parent, tokens.back());
    if (target == nullptr) {
      if (parent == nullptr || !parent->is_structured())
        return rejected(path, "remove operation does not apply: doc is missing path: " + podpass::quoted(path) + ": missing value");
      if (parent->is_array()) return badIndex("remove", tokens.back());
      return rejected(path, "error in remove for path: '" + std::string(path) + "': Unable to remove nonexistent key: " + tokens.back() +
                                ": missing value");
    }
    json::value taken = std::move(*target);
    if (json::object* object = parent->if_object())
      object->erase(tokens.back());
    else
      parent->get_array().erase(parent->get_array().begin() + (target - parent->get_array().data()));
    return taken;
  }

  Result<void> transfer(std::string_view op, const json::object& operation) {
    const std::string from(textAt(operation, {"from"}));
    const std::optional<std::vector<std::string>> source = pointerTokens(from);
    const json::value* found = source ? find(root_, *source, source->size()) : nullptr;
    if (found == nullptr || !operation.contains("from"))
      return rejected(path_, std::string(op) + " operation does not apply: doc is missing from path: " + from + ": missing value");
    if (op == "move") {
      if (source->empty()) return rejected(path_, "move operation does not apply: a value cannot be moved into itself");
      Result<json::value> taken = take(from, *source);
      if (!taken) return taken.error();
      return add(op, *std::move(taken));
    }
    copied_ += sizeOf(*found, kMaxCopiedBytes);  // a few copies of a copy would fill any memory
    if (copied_ > kMaxCopiedBytes)
      return Error{Reason::RequestTooLarge, "Unable to complete the copy, the accumulated size increase of copy is " +
                                                std::to_string(copied_) + ", exceeding the limit " + std::to_string(kMaxCopiedBytes)};
    return add(op, *found);
  }

  Result<void> test(const json::value& value) {
    const json::value* found = find(root_, tokens_, tokens_.size());
    const bool same = found == nullptr ? value.is_null() : *found == value;
    if (!same) return rejected(path_, "testing value " + path_ + " failed: test failed");
    return {};
  }

  json::value root_;
  std::string path_;
  std::vector<std::string> tokens_;
  std::int64_t copied_ = 0;
};

}  // namespace

Result<json::object> applyJsonPatch(const json::object& before, const json::value& patch) {
  if (!patch.is_array())
    return Error{Reason::BadRequest,
                 "json: cannot unmarshal " + std::string(jsonTypeName(patch)) + " into Go value of type jsonpatch.Patch"};
  const json::array& operations = patch.get_array();
  if (operations.size() > kMaxOperations)
    return Error{Reason::RequestTooLarge, "The allowed maximum operations in a JSON patch is " + std::to_string(kMaxOperations) + ", got " +
                                              std::to_string(operations.size())};
  if (Result<void> bounded = checkDepth(patch); !bounded) return bounded.error();
  JsonPatch work{json::value(before)};
  for (const json::value& operation : operations) {
    if (!operation.is_object())
      return Error{Reason::BadRequest,
                   "json: cannot unmarshal " + std::string(jsonTypeName(operation)) + " into Go value of type jsonpatch.Operation"};
    if (Result<void> done = work.apply(operation.get_object()); !done) return done.error();
  }
  if (!work.root().is_object()) return rejected("", "the patched document is not an object");
  if (Result<void> bounded = checkDepth(work.root()); !bounded) return bounded.error();
  return std::move(work.root().get_object());
}

}  // namespace podpass::api
