#include <unordered_set>

#include "api/patch.h"
#include "api/patch_form.h"

// Strategic merge patch: spec api.md §7.2, §7.3; the tables say how each list merges.
namespace podpass::api {
namespace {

constexpr std::string_view kPatch = "$patch";
constexpr std::string_view kRetainKeys = "$retainKeys";
constexpr std::string_view kSetOrder = "$setElementOrder/";
constexpr std::string_view kDeletePrimitives = "$deleteFromPrimitiveList/";

bool isDirective(std::string_view name) {
  return name == kPatch || name == kRetainKeys || name.starts_with(kSetOrder) || name.starts_with(kDeletePrimitives);
}

// As Go prints a decoded JSON value: map[image:y name:c]. Long ones are cut.
void printGo(const json::value& value, std::string& out) {
  constexpr std::size_t kLongest = 256;
  if (out.size() > kLongest) return;
  if (const json::object* object = value.if_object()) {
    std::map<std::string_view, const json::value*> sorted;
    for (const auto& member : *object) sorted.emplace(member.key(), &member.value());
    out += "map[";
    std::string_view gap;
    for (const auto& [name, member] : sorted) {
      out.append(gap).append(name).append(":");
      printGo(*member, out);
      gap = " ";
    }
    out += "]";
  } else if (const json::array* array = value.if_array()) {
    out += "[";
    std::string_view gap;
    for (const json::value& item : *array) {
      out += gap;
      printGo(item, out);
      gap = " ";
    }
    out += "]";
  } else if (const json::string* text = value.if_string()) {
    out += std::string_view(*text).substr(0, kLongest);
  } else {
    out += value.is_null() ? "<nil>" : json::serialize(value);
  }
}

std::string printGo(const json::value& value) {
  std::string out;
  printGo(value, out);
  return out;
}

// Scalars as list members and merge keys: "80" and 80 are one key, as in Kubernetes.
std::string scalarText(const json::value& value) {
  if (const json::string* text = value.if_string()) return std::string(*text);
  return json::serialize(value);
}

Error unprocessable(std::string sentence) {
  Error error{Reason::Invalid, sentence};
  error.causes.push_back({"patch", std::move(sentence)});
  return error;
}

std::string_view goType(const json::value& value) {
  switch (value.kind()) {
    case json::kind::object:
      return "map";
    case json::kind::array:
      return "slice";
    case json::kind::string:
      return "string";
    case json::kind::bool_:
      return "bool";
    case json::kind::double_:
      return "float64";
    default:
      return "int64";
  }
}

// The value is shown only where a structure was due: what stands in place of a map may be a Secret's data.
Error cannotRestore(std::string_view name, std::string_view due, const json::value& value) {
  const std::string shown = due == "struct" ? printGo(value) : "…";
  return invalidPatch("map[" + std::string(name) + ":" + shown + "]",
                      "cannot restore " + std::string(due) + " from: " + std::string(goType(value)));
}

// What merging needs to know of the value at hand. Without a table (`fields` null) maps merge and lists are replaced.
struct Shape {
  const std::vector<Field>* fields = nullptr;
  bool isRoot = false;

  [[nodiscard]] const Field* field(std::string_view name) const { return fields == nullptr ? nullptr : findField(*fields, name); }
  [[nodiscard]] Shape below(std::string_view name) const {
    if (isRoot && name == "metadata") return {&metadataFields()};
    const Field* found = field(name);
    return found == nullptr || found->of.empty() ? Shape{} : Shape{&found->of};
  }
};

Result<json::object> mergeMap(json::object original, const json::object& patch, Shape shape, const Field* self);

Result<json::object> mergedElement(json::object original, const json::value& patch, const Shape& shape) {
  if (!patch.is_object()) return invalidPatch(printGo(patch), "cannot restore struct from: " + std::string(goType(patch)));
  return mergeMap(std::move(original), patch.get_object(), shape, nullptr);
}

// A list that is replaced: its elements are cleaned of directives and nulls.
Result<json::array> replacedList(const json::array& patch, const Shape& shape) {
  json::array list;
  for (const json::value& item : patch) {
    if (!item.is_object()) {
      list.push_back(item);
      continue;
    }
    Result<json::object> element = mergedElement({}, item, shape);
    if (!element) return element.error();
    list.push_back(*std::move(element));
  }
  return list;
}

std::string keyOf(const json::value& item, std::string_view mergeKey) {
  if (mergeKey.empty()) return scalarText(item);
  const json::object* object = item.if_object();
  const json::value* key = object == nullptr ? nullptr : object->if_contains(mergeKey);
  return key == nullptr ? std::string() : scalarText(*key);
}

using Places = std::unordered_map<std::string, std::size_t>;  // merge key → place of its first element

Places placesOf(const json::array& list, std::string_view mergeKey) {
  Places places;
  for (std::size_t at = 0; at < list.size(); ++at) places.emplace(keyOf(list[at], mergeKey), at);
  return places;
}

// strategicpatch.normalizeElementOrder: what `wanted` lists stands in that order; the rest keeps the server's order and goes before the
// first listed element that it preceded on the server, else to the end.
json::array ordered(json::array merged, const json::array& wanted, const json::array& before, std::string_view mergeKey) {
  const Places wantedPlaces = placesOf(wanted, mergeKey);
  const Places serverPlaces = placesOf(before, mergeKey);
  struct Item {
    json::value* value;
    std::size_t rank;
    std::optional<std::size_t> server;
  };
  std::vector<Item> listed, others;
  for (json::value& value : merged) {
    const std::string key = keyOf(value, mergeKey);
    const auto onServer = serverPlaces.find(key);
    const std::optional<std::size_t> server = onServer == serverPlaces.end() ? std::nullopt : std::optional(onServer->second);
    const auto place = wantedPlaces.find(key);
    if (place == wantedPlaces.end())
      others.push_back({&value, server.value_or(before.size()), server});
    else
      listed.push_back({&value, place->second, server});
  }
  const auto byRank = [](const Item& a, const Item& b) { return a.rank < b.rank; };
  std::stable_sort(listed.begin(), listed.end(), byRank);
  std::stable_sort(others.begin(), others.end(), byRank);
  json::array result;
  result.reserve(merged.size());
  std::size_t left = 0, right = 0;
  while (left < others.size() || right < listed.size()) {
    bool takeOther = right == listed.size();
    if (!takeOther && left < others.size())
      takeOther = others[left].server && listed[right].server && *others[left].server < *listed[right].server;
    result.push_back(std::move(*(takeOther ? others[left++] : listed[right++]).value));
  }
  return result;
}

Error noMergeKey(const json::value& item, std::string_view mergeKey) {
  return unprocessable("map: " + printGo(item) + " does not contain declared merge key: " + std::string(mergeKey));
}

// Carries out the elements that are directives; the others are what is left to merge.
struct SpecialElements {
  std::vector<const json::object*> plain;
  std::unordered_set<std::string> removed;
  bool replace = false;
};

Result<SpecialElements> specialElements(const json::array& patch, std::string_view mergeKey) {
  SpecialElements found;
  for (const json::value& item : patch) {
    if (!item.is_object()) return invalidPatch(printGo(item), "cannot restore struct from: " + std::string(goType(item)));
    const json::object& element = item.get_object();
    const json::value* directive = element.if_contains(kPatch);
    const bool hasKey = element.contains(mergeKey) && !element.at(mergeKey).is_null();
    if (directive == nullptr || (directive->is_string() && directive->get_string() == "merge")) {
      if (!hasKey) return noMergeKey(item, mergeKey);
      found.plain.push_back(&element);
    } else if (directive->is_string() && directive->get_string() == "delete") {
      if (!hasKey) return noMergeKey(item, mergeKey);
      found.removed.insert(keyOf(item, mergeKey));
    } else if (directive->is_string() && directive->get_string() == "replace") {
      found.replace = true;
    } else {
      return unprocessable("unknown patch type: " + printGo(*directive) + " in map: " + printGo(item));
    }
  }
  return found;
}

Result<json::array> mergeKeyedList(const json::array& original, const json::array& patch, const Field& field) {
  Result<SpecialElements> special = specialElements(patch, field.mergeKey);
  if (!special) return special.error();
  const Shape shape{&field.of};
  json::array merged;
  if (!special->replace)
    for (const json::value& item : original)
      if (!special->removed.contains(keyOf(item, field.mergeKey))) merged.push_back(item);
  Places places = placesOf(merged, field.mergeKey);
  for (const json::object* element : special->plain) {
    const auto [place, isNew] = places.emplace(keyOf(*element, field.mergeKey), merged.size());
    if (isNew) merged.push_back(json::object());
    json::value& target = merged[place->second];
    json::object live = target.is_object() ? std::move(target.get_object()) : json::object();
    Result<json::object> combined = mergeMap(std::move(live), *element, shape, nullptr);
    if (!combined) return combined.error();
    target = *std::move(combined);
  }
  return special->replace ? merged : ordered(std::move(merged), patch, original, field.mergeKey);
}

json::array mergeSet(const json::array& original, const json::array& patch) {
  json::array merged;
  std::unordered_set<std::string> seen;
  for (const json::array* list : {&original, &patch})
    for (const json::value& item : *list)
      if (seen.insert(scalarText(item)).second) merged.push_back(item);
  return ordered(std::move(merged), patch, original, "");
}

Result<json::array> mergeList(const json::array& original, const json::array& patch, const Field* field) {
  if (field == nullptr) return replacedList(patch, {});
  if (!field->mergeKey.empty()) return mergeKeyedList(original, patch, *field);
  if (field->setMerge) return mergeSet(original, patch);
  return replacedList(patch, field->of.empty() ? Shape{} : Shape{&field->of});
}

std::string keysOf(const json::array& list, std::string_view mergeKey) {
  json::array keys;
  for (const json::value& item : list) keys.emplace_back(keyOf(item, mergeKey));
  return printGo(keys);
}

// Every element that the patch sets must be listed, in the same order.
bool followsOrder(const json::array& patch, const json::array& order, std::string_view mergeKey) {
  std::size_t at = 0;
  for (const json::value& item : patch) {
    if (item.is_object() && item.get_object().contains(kPatch)) continue;
    const std::string key = keyOf(item, mergeKey);
    while (at < order.size() && keyOf(order[at], mergeKey) != key) ++at;
    if (at++ >= order.size()) return false;
  }
  return true;
}

const json::array kNoItems;

const json::array& listIn(const json::object& object, std::string_view name) {
  const json::value* value = object.if_contains(name);
  return value != nullptr && value->is_array() ? value->get_array() : kNoItems;
}

const Field* fieldOf(const Shape& shape, std::string_view name) {
  static const Field metadata{.name = "metadata", .type = Type::Object, .of = metadataFields()};
  return shape.isRoot && name == "metadata" ? &metadata : shape.field(name);
}

// One member of a patch: what becomes of the member `name` of the original.
Result<void> mergeMember(json::object& original, std::string_view name, const json::value& value, const Shape& shape) {
  if (value.is_null()) {
    original.erase(name);
    return {};
  }
  const Field* field = fieldOf(shape, name);
  const bool isList = field != nullptr && field->type == Type::List;
  const bool isStruct = field != nullptr && field->type == Type::Object;
  const bool isMap = field != nullptr && field->type == Type::Map;
  if (isList && !value.is_array()) return cannotRestore(name, "slice", value);
  if (isStruct && !value.is_object()) return cannotRestore(name, "struct", value);
  if (isMap && !value.is_object()) return cannotRestore(name, "map", value);
  json::value& target = original[name];
  if (field != nullptr && field->type == Type::Any) {  // free JSON: "$patch" is nobody's directive there
    if (!value.is_object()) {
      target = value;
      return {};
    }
    if (!target.is_object()) target = json::object();
    mergeInto(target.get_object(), value.get_object());
    return {};
  }
  if (const json::array* list = value.if_array()) {
    const json::array before = target.is_array() ? std::move(target.get_array()) : json::array();
    Result<json::array> merged = mergeList(before, *list, field);
    if (!merged) return merged.error();
    target = *std::move(merged);
    return {};
  }
  if (const json::object* object = value.if_object()) {
    json::object before = target.is_object() ? std::move(target.get_object()) : json::object();
    Result<json::object> merged = mergeMap(std::move(before), *object, shape.below(name), field);
    if (!merged) return merged.error();
    target = *std::move(merged);
    return {};
  }
  target = value;
  return {};
}

Result<void> applyOrder(json::object& original, const json::object& patch, std::string_view directive, const json::value& value,
                        const json::object& before, const Shape& shape) {
  const std::string_view name = directive.substr(kSetOrder.size());
  if (!value.is_array()) return unprocessable("invalid patch format of setElementOrder list");
  const Field* field = fieldOf(shape, name);
  if (field == nullptr || (field->mergeKey.empty() && !field->setMerge)) return {};  // a replaced list has the patch's order
  const json::array& order = value.get_array();
  const json::array& set = listIn(patch, name);
  if (!followsOrder(set, order, field->mergeKey))
    return Error{Reason::BadRequest, "The order in patch list: " + keysOf(set, field->mergeKey) +
                                         " doesn't match $setElementOrder list: " + keysOf(order, field->mergeKey)};
  json::value* target = original.if_contains(name);
  if (target == nullptr || !target->is_array()) return {};
  *target = ordered(std::move(target->get_array()), order, listIn(before, name), field->mergeKey);
  return {};
}

Result<void> applyDeletions(json::object& original, std::string_view directive, const json::value& value) {
  if (!value.is_array()) return unprocessable("invalid patch format of delete primitive list");
  json::value* target = original.if_contains(directive.substr(kDeletePrimitives.size()));
  if (target == nullptr || !target->is_array()) return {};
  std::unordered_set<std::string> removed;
  for (const json::value& item : value.get_array()) removed.insert(scalarText(item));
  json::array kept;
  for (json::value& item : target->get_array())
    if (!removed.contains(scalarText(item))) kept.push_back(std::move(item));
  *target = std::move(kept);
  return {};
}

Result<void> retainKeys(json::object& original, const json::object& patch, const json::value& value) {
  const Error malformed = unprocessable("invalid patch format of retainKeys");
  if (!value.is_array()) return malformed;
  std::unordered_set<std::string> retained;
  for (const json::value& item : value.get_array()) retained.insert(scalarText(item));
  for (const auto& member : patch)
    if (!isDirective(member.key()) && !member.value().is_null() && !retained.contains(std::string(member.key()))) return malformed;
  json::object kept;
  for (auto& member : original)
    if (retained.contains(std::string(member.key()))) kept.emplace(member.key(), std::move(member.value()));
  original = std::move(kept);
  return {};
}

// `self` is the field whose value this is, when known: a map of free strings may use any key, yet "$patch" is a directive there too.
Result<json::object> mergeMap(json::object original, const json::object& patch, Shape shape, const Field* self) {
  if (const json::value* directive = patch.if_contains(kPatch)) {
    const std::string_view name = directive->is_string() ? std::string_view(directive->get_string()) : std::string_view();
    if (name == "delete") return json::object();
    if (name == "replace") original.clear();
    if (name != "replace" && name != "merge")
      return unprocessable("unknown patch type: " + printGo(*directive) + " in map: " + printGo(patch));
  }
  if (const json::value* keys = patch.if_contains(kRetainKeys))
    if (Result<void> done = retainKeys(original, patch, *keys); !done) return done.error();

  json::object before;  // the lists whose order a directive will settle, as the server had them
  for (const auto& member : patch) {
    if (!member.key().starts_with(kSetOrder)) continue;
    const std::string_view name = std::string_view(member.key()).substr(kSetOrder.size());
    if (const json::value* list = original.if_contains(name)) before[name] = *list;
  }
  const bool mapOfObjects = self != nullptr && self->type == Type::Map && !self->of.empty();
  for (const auto& member : patch) {
    if (isDirective(member.key())) continue;
    if (!mapOfObjects || !member.value().is_object()) {
      if (Result<void> done =
              mergeMember(original, member.key(), member.value(), self != nullptr && self->type == Type::Map ? Shape{} : shape);
          !done)
        return done.error();
      continue;
    }
    json::value& target = original[member.key()];
    json::object live = target.is_object() ? std::move(target.get_object()) : json::object();
    Result<json::object> merged = mergedElement(std::move(live), member.value(), Shape{&self->of});
    if (!merged) return merged.error();
    target = *std::move(merged);
  }
  for (const auto& member : patch)
    if (member.key().starts_with(kDeletePrimitives))
      if (Result<void> done = applyDeletions(original, member.key(), member.value()); !done) return done.error();
  for (const auto& member : patch)
    if (member.key().starts_with(kSetOrder))
      if (Result<void> done = applyOrder(original, patch, member.key(), member.value(), before, shape); !done) return done.error();
  return original;
}

}  // namespace

Result<json::object> applyStrategicMergePatch(const Kind& kind, const json::object& before, const json::value& patch) {
  if (Result<void> good = checkMergePatch(patch); !good) return good.error();
  return mergeMap(before, patch.get_object(), Shape{&kind.fields, true}, nullptr);
}

}  // namespace podpass::api
