#include "api/causes.h"
#include "api/codec.h"
#include "base/text.h"

namespace podpass::api {
namespace {

constexpr std::size_t kMostAnnotationBytes = 262144;

// ---- the tables

std::string rangeText(const Range& range) {
  constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max();
  if (range.high == kMost && range.low == 0) return "must be greater than or equal to 0";
  if (range.high == kMost && range.low == 1) return "must be greater than 0";
  if (range.high == kMost) return "must be greater than or equal to " + std::to_string(range.low);
  return "must be between " + std::to_string(range.low) + " and " + std::to_string(range.high) + ", inclusive";
}

class Checking {
 public:
  explicit Checking(Causes& causes) : causes_(causes) {}

  void members(const std::vector<Field>& fields, const json::object& object, const std::string& path) {
    for (const Field& field : fields) {
      const json::value* value = object.if_contains(field.name);
      if (value == nullptr && !field.required) continue;  // spare the path of what is not there
      const std::string place = under(path, field.name);
      if (!isMissing(field, value))
        check(field, *value, place);
      else if (field.required)
        causes_.push_back(requiredValue(place));
    }
  }

 private:
  static bool isMissing(const Field& field, const json::value* value) {
    if (value == nullptr || value->is_null()) return true;
    if (const json::string* text = value->if_string()) return text->empty();
    if (const json::array* list = value->if_array()) return list->empty();
    if (field.type == Type::Map) return value->is_object() && value->get_object().empty();
    return field.required && field.zeroIsAbsent && value->is_int64() && value->get_int64() == 0;
  }

  void check(const Field& field, const json::value& value, const std::string& path) {
    if (const json::object* object = value.if_object())
      return field.type == Type::Map ? map(field, *object, path) : members(field.of, *object, path);
    if (const json::array* list = value.if_array()) {
      for (std::size_t i = 0; i < list->size(); ++i) element(field, (*list)[i], at(path, i));
      return;
    }
    scalar(field, value, path);
  }

  void element(const Field& field, const json::value& value, const std::string& path) {
    if (const json::object* object = value.if_object())
      members(field.of, *object, path);
    else
      scalar(field, value, path);
  }

  void map(const Field& field, const json::object& entries, const std::string& path) {
    for (const auto& [key, value] : entries) {
      const std::string place = at(path, std::string_view(key));
      if (field.problem != nullptr)
        if (const std::string_view problem = field.problem(key); !problem.empty()) causes_.push_back(invalidText(place, key, problem));
      if (const json::object* object = value.if_object(); object && !field.of.empty()) members(field.of, *object, place);
    }
  }

  void scalar(const Field& field, const json::value& value, const std::string& path) {
    if (const json::string* text = value.if_string()) {
      if (!field.oneOf.empty() && std::find(field.oneOf.begin(), field.oneOf.end(), std::string_view(*text)) == field.oneOf.end())
        return causes_.push_back(unsupported(path, *text, field.oneOf));
      if (field.problem == nullptr) return;
      if (const std::string_view problem = field.problem(*text); !problem.empty()) causes_.push_back(invalidText(path, *text, problem));
    } else if (value.is_int64()) {
      number(field, value.get_int64(), path);
    }
  }

  void number(const Field& field, std::int64_t value, const std::string& path) {
    if (field.range && (value < field.range->low || value > field.range->high))
      causes_.push_back(invalidNumber(path, value, rangeText(*field.range)));
    if (field.problem == nullptr) return;
    if (const std::string_view problem = field.problem(std::to_string(value)); !problem.empty())
      causes_.push_back(invalidNumber(path, value, problem));
  }

  Causes& causes_;
};

// ---- metadata

void validateName(const Kind& kind, const json::object& meta, Causes& causes) {
  const auto problem = kind.nameProblem != nullptr ? kind.nameProblem : subdomainProblem;
  const std::string_view name = textAt(meta, {"name"}), generate = textAt(meta, {"generateName"});
  if (!generate.empty()) {
    // what is appended mends a prefix that ends in a dash
    std::string masked(generate);
    if (masked.size() > 1 && masked.back() == '-') masked.back() = 'a';
    if (const std::string_view why = problem(masked); !why.empty()) causes.push_back(invalidText("metadata.generateName", generate, why));
  }
  if (name.empty()) {
    causes.push_back(requiredValue("metadata.name", "name or generateName is required"));
  } else if (const std::string_view why = problem(name); !why.empty()) {
    causes.push_back(invalidText("metadata.name", name, why));
  }
}

void validateNamespace(const Kind& kind, const json::object& meta, Causes& causes) {
  const std::string_view ns = textAt(meta, {"namespace"});
  if (!kind.namespaced) {
    if (!ns.empty()) causes.push_back(forbiddenField("metadata.namespace", "not allowed on this type"));
  } else if (ns.empty()) {
    causes.push_back(requiredValue("metadata.namespace"));
  } else if (const std::string_view why = labelProblem(ns); !why.empty()) {
    causes.push_back(invalidText("metadata.namespace", ns, why));
  }
}

void validateLabels(const json::object& meta, Causes& causes) {
  const json::object* labels = objectAt(meta, {"labels"});
  if (labels == nullptr) return;
  for (const auto& [key, value] : *labels) {
    if (const std::string_view why = qualifiedNameProblem(key); !why.empty()) causes.push_back(invalidText("metadata.labels", key, why));
    if (!value.is_string()) continue;
    if (const std::string_view why = labelValueProblem(value.get_string()); !why.empty())
      causes.push_back(invalidText("metadata.labels", value.get_string(), why));
  }
}

void validateAnnotations(const json::object& meta, Causes& causes) {
  const json::object* annotations = objectAt(meta, {"annotations"});
  if (annotations == nullptr) return;
  std::size_t total = 0;
  for (const auto& [key, value] : *annotations) {
    std::string lower(key);
    std::transform(lower.begin(), lower.end(), lower.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    if (const std::string_view why = qualifiedNameProblem(lower); !why.empty())
      causes.push_back(invalidText("metadata.annotations", key, why));
    total += key.size() + (value.is_string() ? value.get_string().size() : 0);
  }
  if (total > kMostAnnotationBytes) causes.push_back(tooLong("metadata.annotations", kMostAnnotationBytes));
}

void validateOwners(const json::object& meta, Causes& causes) {
  const json::array* owners = arrayAt(meta, {"ownerReferences"});
  if (owners == nullptr) return;
  std::string controller;
  for (const json::value& each : *owners) {
    const json::object* owner = each.if_object();
    if (owner == nullptr) continue;
    constexpr std::pair<std::string_view, std::string_view> kParts[] = {
        {"apiVersion", "version"}, {"kind", "kind"}, {"name", "name"}, {"uid", "uid"}};
    for (const auto& [part, word] : kParts)
      if (textAt(*owner, {part}).empty())
        causes.push_back(invalidText("metadata.ownerReferences." + std::string(part), "", std::string(word) + " must not be empty"));
    if (!booleanAt(*owner, {"controller"})) continue;
    const std::string described = std::string(textAt(*owner, {"kind"})) + "/" + std::string(textAt(*owner, {"name"}));
    if (!controller.empty())
      causes.push_back(invalidJson(
          "metadata.ownerReferences", *owners,
          "Only one reference can have Controller set to true. Found \"true\" in references for " + controller + " and " + described));
    controller = described;
  }
}

void validateFinalizers(const json::object& meta, Causes& causes) {
  const json::array* finalizers = arrayAt(meta, {"finalizers"});
  if (finalizers == nullptr) return;
  bool orphan = false, foreground = false;
  for (std::size_t i = 0; i < finalizers->size(); ++i) {
    if (!(*finalizers)[i].is_string()) continue;
    const std::string_view name = (*finalizers)[i].get_string();
    orphan = orphan || name == "orphan";
    foreground = foreground || name == "foregroundDeletion";
    if (const std::string_view why = finalizerProblem(name); !why.empty())
      causes.push_back(invalidText(at("metadata.finalizers", i), name, why));
  }
  if (orphan && foreground)
    causes.push_back(invalidJson("metadata.finalizers", *finalizers, "finalizer orphan and foregroundDeletion cannot be both set"));
}

std::string newFinalizers(const json::object& now, const json::object& before) {
  const json::array* mine = arrayAt(now, {"metadata", "finalizers"});
  const json::array* old = arrayAt(before, {"metadata", "finalizers"});
  std::string added;
  for (std::size_t i = 0; mine != nullptr && i < mine->size(); ++i) {
    const json::value& each = (*mine)[i];
    if (!each.is_string() || (old != nullptr && std::find(old->begin(), old->end(), each) != old->end())) continue;
    added += (added.empty() ? "" : ", ") + quoted(each.get_string());
  }
  return added;
}

}  // namespace

std::vector<Cause> validate(const Kind& kind, const json::object& object) {
  static const json::object none;
  Causes causes;
  const json::object* found = objectAt(object, {"metadata"});
  const json::object& meta = found == nullptr ? none : *found;
  validateName(kind, meta, causes);
  validateNamespace(kind, meta, causes);
  validateLabels(meta, causes);
  validateAnnotations(meta, causes);
  validateOwners(meta, causes);
  validateFinalizers(meta, causes);
  Checking(causes).members(kind.fields, object, {});
  if (kind.validate) kind.validate(object, causes);
  return causes;
}

std::vector<Cause> validateUpdate(const Kind& kind, const json::object& now, const json::object& before) {
  Causes causes;
  for (const std::string_view name : {"name", "namespace", "uid"})
    if (const std::string_view old = textAt(before, {"metadata", name}), mine = textAt(now, {"metadata", name});
        !old.empty() && !mine.empty() && old != mine)
      causes.push_back(invalidText("metadata." + std::string(name), mine, "field is immutable"));
  if (!textAt(before, {"metadata", "deletionTimestamp"}).empty())
    if (const std::string added = newFinalizers(now, before); !added.empty())
      causes.push_back(
          forbiddenField("metadata.finalizers",
                         "no new finalizers can be added if the object is being deleted, found new finalizers []string{" + added + "}"));
  if (kind.validateUpdate) kind.validateUpdate(now, before, causes);
  return causes;
}

Error invalid(const Kind& kind, std::string_view name, std::vector<Cause> causes) {
  std::vector<std::string> parts;
  for (const Cause& cause : causes) {
    std::string part = cause.field + ": " + cause.message;
    if (std::find(parts.begin(), parts.end(), part) == parts.end()) parts.push_back(std::move(part));
  }
  std::string joined;
  for (const std::string& part : parts) joined += (joined.empty() ? "" : ", ") + part;
  if (parts.size() > 1) joined = "[" + joined + "]";
  const std::string qualified = kind.group.empty() ? std::string(kind.kind) : std::string(kind.kind) + "." + std::string(kind.group);
  Error error{Reason::Invalid, qualified + " " + quoted(name) + " is invalid: " + joined};
  error.about = {std::string(kind.group), std::string(kind.kind), std::string(name), {}};
  error.causes = std::move(causes);
  return error;
}

}  // namespace podpass::api
