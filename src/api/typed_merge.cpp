#include "api/typed_merge.h"

#include "base/text.h"

namespace podpass::api {
namespace {

enum class Form { Whole, Structure, Map, Keyed, Set };

// What the table says of one value.
struct Shape {
  Form form = Form::Whole;
  const Field* field = nullptr;                 // null: the object itself, or an element
  const std::vector<Field>* members = nullptr;  // of a Structure
  bool isRoot = false;
};

Shape shapeOf(const Field* field) {
  if (field == nullptr || field->atomic) return {Form::Whole, field};
  if (field->type == Type::Object) return field->of.empty() ? Shape{Form::Whole, field} : Shape{Form::Structure, field, &field->of};
  if (field->type == Type::Map) return {Form::Map, field};
  if (field->type != Type::List) return {Form::Whole, field};
  return {!field->listKeys().empty() ? Form::Keyed : field->setMerge ? Form::Set : Form::Whole, field};
}

Shape rootOf(const Kind& kind) { return {Form::Structure, nullptr, &kind.fields, true}; }

Shape below(const Shape& shape, std::string_view name) {
  if (shape.form == Form::Map) return shape.field->of.empty() ? Shape{} : Shape{Form::Structure, nullptr, &shape.field->of};
  static const Field metadata{.name = "metadata", .type = Type::Object, .of = metadataFields()};
  if (shape.isRoot && name == "metadata") return shapeOf(&metadata);
  return shapeOf(findField(*shape.members, name));
}

Shape elementOf(const Shape& list) { return list.form == Form::Keyed ? Shape{Form::Structure, nullptr, &list.field->of} : Shape{}; }

std::string memberStep(std::string_view name) { return "f:" + std::string(name); }

// "" for an element of a keyed list that lacks a key without a default.
std::string stepOf(const Shape& list, const json::value& item) {
  if (list.form == Form::Set) return "v:" + json::serialize(item);
  const json::object* object = item.if_object();
  if (object == nullptr) return {};
  std::map<std::string_view, json::value> keys;  // sorted, as everyone writes them
  for (const std::string_view name : list.field->listKeys()) {
    const json::value* value = object->if_contains(name);
    const Field* field = findField(list.field->of, name);
    if (value != nullptr)
      keys[name] = *value;
    else if (field != nullptr && !field->byDefault.empty())
      keys[name] = json::parse(field->byDefault);
    else
      return {};
  }
  json::object key;
  for (auto& [name, value] : keys) key[name] = std::move(value);
  return "k:" + json::serialize(key);
}

bool fits(Form form, const json::value& value) {
  return form == Form::Structure || form == Form::Map ? value.is_object() : form != Form::Whole && value.is_array();
}

// Calls `visit(step, shape, part)` for each part of a value that has parts.
template <class Visit>
void eachPart(const Shape& shape, const json::value& value, Visit visit) {
  if (const json::object* object = value.if_object()) {
    for (const auto& [name, member] : *object) visit(memberStep(name), below(shape, name), member);
  } else if (const json::array* list = value.if_array()) {
    for (const json::value& item : *list) visit(stepOf(shape, item), elementOf(shape), item);
  }
}

// Metadata that identifies the object or that only the server writes belongs to no one.
void dropUnowned(FieldSet& set) {
  for (const char* step : {"f:apiVersion", "f:kind"}) set.parts.erase(step);
  const auto metadata = set.parts.find("f:metadata");
  if (metadata == set.parts.end()) return;
  for (const char* step : {"f:name", "f:namespace", "f:uid", "f:resourceVersion", "f:generation", "f:creationTimestamp", "f:selfLink",
                           "f:managedFields", "f:deletionTimestamp", "f:deletionGracePeriodSeconds"})
    metadata->second.parts.erase(step);
  metadata->second.member = false;
  if (metadata->second.empty()) set.parts.erase(metadata);
}

// ---- the fields of one object

class Collecting {
 public:
  FieldSet of(const Shape& shape, const json::value& value, const std::string& path) {
    FieldSet set;
    if (!fits(shape.form, value)) {
      set.member = true;
      return set;
    }
    const bool isList = shape.form == Form::Keyed || shape.form == Form::Set;
    eachPart(shape, value, [&](const std::string& step, const Shape& part, const json::value& member) {
      if (step.empty()) return fail(path + ": associative list with keys has an element that omits key field");
      if (isList && set.parts.contains(step)) {
        const FieldSet twice{false, {{step, FieldSet{true}}}};
        return fail(path + ": duplicate entries for key " + pathsOf(twice).front());
      }
      FieldSet inside = of(part, member, path + (isList ? "" : "." + step.substr(2)));
      const bool isEmpty = member.is_object() && member.get_object().empty();
      inside.member = inside.member || isList || shape.form == Form::Map || isEmpty;
      if (!inside.empty()) set.parts.emplace(step, std::move(inside));
    });
    return set;
  }

  std::string failure;

 private:
  void fail(std::string why) {
    if (failure.empty()) failure = std::move(why);
  }
};

// ---- what changed

// Everything under a part that came or went.
void wholly(const Shape& shape, const json::value& value, FieldSet& set) {
  if (!fits(shape.form, value)) {
    set.member = true;
    return;
  }
  // maps and lists are things in themselves, structures are not, as Go's zero values have them already
  const bool required = shape.field != nullptr && shape.field->required;
  if ((shape.form != Form::Structure && !required) || (value.is_object() && value.get_object().empty())) set.member = true;
  eachPart(shape, value, [&](const std::string& step, const Shape& part, const json::value& member) {
    if (step.empty()) return;
    FieldSet& inside = set.parts[step];
    if (shape.form != Form::Structure) inside.member = true;
    wholly(part, member, inside);
  });
}

using Parts = std::map<std::string, std::pair<Shape, const json::value*>, std::less<>>;

Parts partsOf(const Shape& shape, const json::value& value) {
  Parts parts;
  eachPart(shape, value, [&](const std::string& step, const Shape& part, const json::value& member) {
    if (!step.empty()) parts.insert_or_assign(step, std::pair{part, &member});
  });
  return parts;
}

void compare(const Shape& shape, const json::value& before, const json::value& after, Changes& changes) {
  if (before == after) return;
  if (!fits(shape.form, before) || !fits(shape.form, after)) {
    changes.set.member = true;
    return;
  }
  const Parts old = partsOf(shape, before), now = partsOf(shape, after);
  const auto come = [&](const std::string& step, const std::pair<Shape, const json::value*>& part, FieldSet& into) {
    FieldSet& inside = into.parts[step];
    if (shape.form != Form::Structure) inside.member = true;
    wholly(part.first, *part.second, inside);
    if (inside.empty()) into.parts.erase(step);
  };
  for (const auto& [step, part] : now) {
    const auto was = old.find(step);
    if (was == old.end()) {
      come(step, part, changes.set);
      continue;
    }
    Changes inside;
    compare(part.first, *was->second.second, *part.second, inside);
    if (!inside.set.empty()) changes.set.parts[step] = std::move(inside.set);
    if (!inside.removed.empty()) changes.removed.parts[step] = std::move(inside.removed);
  }
  for (const auto& [step, part] : old)
    if (!now.contains(step)) come(step, part, changes.removed);
}

// ---- merging

json::value merge(const Shape& shape, const json::value* live, const json::value& config);

json::value mergeMembers(const Shape& shape, json::object live, const json::object& config) {
  for (const auto& [name, value] : config) live[name] = merge(below(shape, name), live.if_contains(name), value);
  return live;
}

json::value mergeList(const Shape& shape, const json::array& live, const json::array& config) {
  std::map<std::string, std::size_t, std::less<>> places, wanted;
  for (std::size_t i = 0; i < live.size(); ++i) places.emplace(stepOf(shape, live[i]), i);
  for (std::size_t i = 0; i < config.size(); ++i) wanted.emplace(stepOf(shape, config[i]), i);
  json::array list;
  std::size_t next = 0;
  // Up to the element `end` of `live`, or to the next one that both have.
  const auto keepOwn = [&](std::optional<std::size_t> end) {
    for (; next < live.size() && next != end; ++next) {
      const bool isShared = wanted.contains(stepOf(shape, live[next]));
      if (isShared && !end) return;
      if (!isShared) list.push_back(live[next]);
    }
  };
  for (const json::value& item : config) {
    const auto place = places.find(stepOf(shape, item));
    const bool isShared = place != places.end();
    keepOwn(isShared && place->second >= next ? std::optional(place->second) : std::nullopt);
    list.push_back(merge(elementOf(shape), isShared ? &live[place->second] : nullptr, item));
    if (isShared && place->second == next) ++next;
  }
  keepOwn(live.size());
  return list;
}

json::value merge(const Shape& shape, const json::value* live, const json::value& config) {
  if (live == nullptr || !fits(shape.form, *live) || !fits(shape.form, config)) return config;
  if (config.is_object()) return mergeMembers(shape, live->get_object(), config.get_object());
  return mergeList(shape, live->get_array(), config.get_array());
}

// ---- pruning

void pruneParts(const Shape& shape, json::value& value, const FieldSet& last, const FieldSet& owned);

// Whether the part is to go: no one holds it or anything in it.
bool pruned(const Shape& shape, json::value& part, const FieldSet& last, const FieldSet* owned) {
  if (owned == nullptr) return true;
  pruneParts(shape, part, last, *owned);
  const bool isEmpty =
      part.is_array() ? part.get_array().empty() : shape.form == Form::Map && part.is_object() && part.get_object().empty();
  return isEmpty && fits(shape.form, part);
}

void pruneParts(const Shape& shape, json::value& value, const FieldSet& last, const FieldSet& owned) {
  if (!fits(shape.form, value)) return;
  if (json::object* object = value.if_object()) {
    for (const auto& [step, part] : last.parts) {
      const std::string_view name = std::string_view(step).substr(2);
      json::value* member = object->if_contains(name);
      if (member != nullptr && pruned(below(shape, name), *member, part, owned.find(step))) object->erase(name);
    }
    return;
  }
  json::array kept;
  for (json::value& item : value.get_array()) {
    const std::string step = stepOf(shape, item);
    const FieldSet* part = last.find(step);
    const bool goes = part != nullptr && owned.find(step) == nullptr;
    if (part != nullptr && !goes) pruneParts(elementOf(shape), item, *part, *owned.find(step));
    if (!goes) kept.push_back(std::move(item));
  }
  value = std::move(kept);
}

}  // namespace

Result<FieldSet> fieldsOf(const Kind& kind, const json::object& object) {
  Collecting collecting;
  FieldSet set = collecting.of(rootOf(kind), json::value(object), "");
  if (!collecting.failure.empty()) return Error{Reason::BadRequest, collecting.failure};
  dropUnowned(set);
  return set;
}

Changes changesBetween(const Kind& kind, const json::object& before, const json::object& after) {
  Changes changes;
  compare(rootOf(kind), json::value(before), json::value(after), changes);
  dropUnowned(changes.set);
  dropUnowned(changes.removed);
  return changes;
}

json::object merged(const Kind& kind, json::object live, const json::object& config) {
  return std::move(mergeMembers(rootOf(kind), std::move(live), config).as_object());
}

void prune(const Kind& kind, json::object& object, const FieldSet& last, const FieldSet& owned) {
  FieldSet held = owned;
  held.parts["f:metadata"].member = true;  // every object keeps its name
  json::value value(std::move(object));
  pruneParts(rootOf(kind), value, last, held);
  object = std::move(value.as_object());
}

}  // namespace podpass::api
