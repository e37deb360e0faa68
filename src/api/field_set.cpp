#include "api/field_set.h"

#include "api/json_reader.h"
#include "base/text.h"

namespace podpass::api {
namespace {

// `f:spec` → .spec, `k:{"name":"c"}` → [name="c"], `v:"x"` → [="x"]
std::string shown(std::string_view step) {
  const std::string rest(step.substr(2));
  if (step.starts_with("f:")) return "." + rest;
  if (step.starts_with("v:")) return "[=" + rest + "]";
  json::error_code failed;
  const json::value key = json::parse(rest, failed);
  if (failed || !key.is_object()) return "[" + rest + "]";
  std::string keys;
  for (const auto& [name, value] : key.get_object()) keys += (keys.empty() ? "" : ",") + std::string(name) + "=" + json::serialize(value);
  return "[" + keys + "]";
}

void addPaths(const FieldSet& set, const std::string& path, std::vector<std::string>& paths) {
  if (set.member) paths.push_back(path);
  for (const auto& [step, part] : set.parts) addPaths(part, path + shown(step), paths);
}

Result<FieldSet> parse(const json::value& value, std::size_t depth) {
  const Error malformed{Reason::Invalid, "fieldsV1 is not a set of fields"};
  const json::object* object = value.if_object();
  if (object == nullptr || depth > kDeepest) return malformed;
  FieldSet set;
  set.member = object->empty();
  for (const auto& [step, part] : *object) {
    if (step == ".") {
      set.member = true;
      continue;
    }
    if (step.size() < 2 || step[1] != ':' || std::string_view("fkvi").find(step[0]) == std::string_view::npos) return malformed;
    Result<FieldSet> below = parse(part, depth + 1);
    if (!below) return below;
    set.parts.emplace(step, *std::move(below));
  }
  return set;
}

}  // namespace

bool FieldSet::empty() const {
  return !member && std::all_of(parts.begin(), parts.end(), [](const auto& part) { return part.second.empty(); });
}

const FieldSet* FieldSet::find(std::string_view step) const {
  const auto found = parts.find(step);
  return found == parts.end() ? nullptr : &found->second;
}

FieldSet unionOf(FieldSet a, const FieldSet& b) {
  a.member = a.member || b.member;
  for (const auto& [step, part] : b.parts)
    if (!part.empty()) a.parts[step] = unionOf(std::move(a.parts[step]), part);
  return a;
}

FieldSet intersectionOf(const FieldSet& a, const FieldSet& b) {
  FieldSet both{a.member && b.member};
  for (const auto& [step, part] : a.parts)
    if (const FieldSet* other = b.find(step))
      if (FieldSet common = intersectionOf(part, *other); !common.empty()) both.parts.emplace(step, std::move(common));
  return both;
}

FieldSet differenceOf(const FieldSet& a, const FieldSet& b) {
  FieldSet rest{a.member && !b.member};
  for (const auto& [step, part] : a.parts) {
    const FieldSet* other = b.find(step);
    if (FieldSet left = other == nullptr ? part : differenceOf(part, *other); !left.empty()) rest.parts.emplace(step, std::move(left));
  }
  return rest;
}

json::object toFieldsV1(const FieldSet& set) {
  json::object object;
  if (set.member && !set.parts.empty()) object["."] = json::object();
  for (const auto& [step, part] : set.parts) object[step] = toFieldsV1(part);
  return object;
}

Result<FieldSet> parseFieldsV1(const json::value& value) {
  Result<FieldSet> set = parse(value, 0);
  if (set) set->member = false;  // the object as a whole is no one's
  return set;
}

std::vector<std::string> pathsOf(const FieldSet& set) {
  std::vector<std::string> paths;
  addPaths(set, "", paths);
  return paths;
}

}  // namespace podpass::api
