#include "controllers/node_fit.h"

#include <algorithm>
#include <charconv>

#include "controllers/object.h"

namespace podpass::controllers {
namespace {

constexpr std::string_view kNotReady = "node.kubernetes.io/not-ready";
constexpr std::string_view kUnschedulable = "node.kubernetes.io/unschedulable";
constexpr std::string_view kNoSchedule = "NoSchedule";
constexpr const char* kAffinity = "node(s) didn't match Pod's node affinity/selector";

struct Taint {
  std::string_view key;
  std::string_view value;
  std::string_view effect;
};

template <class Test>
bool anyObject(const json::array* list, Test test) {
  return list != nullptr &&
         std::any_of(list->begin(), list->end(), [&](const json::value& each) { return each.is_object() && test(each.get_object()); });
}

bool tolerates(const json::object& pod, const Taint& taint) {
  return anyObject(arrayAt(pod, {"spec", "tolerations"}), [&](const json::object& toleration) {
    const std::string_view key = textAt(toleration, {"key"}), effect = textAt(toleration, {"effect"});
    const bool exists = textAt(toleration, {"operator"}) == "Exists";
    if (!effect.empty() && effect != taint.effect) return false;
    if (key.empty() ? !exists : key != taint.key) return false;
    return exists || textAt(toleration, {"value"}) == taint.value;
  });
}

bool asNumber(std::string_view text, std::int64_t& number) {
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), number);
  return failed == std::errc() && end == text.data() + text.size();
}

// One NodeSelectorRequirement, on a label's or field's value; null: it is absent.
bool holds(const json::object& requirement, const std::string_view* value) {
  const std::string_view how = textAt(requirement, {"operator"});
  const json::array* values = arrayAt(requirement, {"values"});
  const auto listed = [&] {
    return values != nullptr && std::any_of(values->begin(), values->end(),
                                            [&](const json::value& each) { return each.is_string() && each.get_string() == *value; });
  };
  if (how == "Exists") return value != nullptr;
  if (how == "DoesNotExist") return value == nullptr;
  if (how == "In") return value != nullptr && listed();
  if (how == "NotIn") return value == nullptr || !listed();
  std::int64_t held = 0, bound = 0;
  if (value == nullptr || values == nullptr || values->size() != 1 || !values->front().is_string()) return false;
  if (!asNumber(*value, held) || !asNumber(values->front().get_string(), bound)) return false;
  return how == "Gt" ? held > bound : how == "Lt" && held < bound;
}

bool termMatches(const json::object& term, const json::object& node) {
  const json::array* expressions = arrayAt(term, {"matchExpressions"});
  const json::array* fields = arrayAt(term, {"matchFields"});
  if ((expressions == nullptr || expressions->empty()) && (fields == nullptr || fields->empty()))
    return false;  // an empty term selects nothing
  const json::object* labels = objectAt(node, {"metadata", "labels"});
  const auto labelFails = [&](const json::object& requirement) {
    const json::value* label = labels != nullptr ? labels->if_contains(textAt(requirement, {"key"})) : nullptr;
    const std::string_view value = label != nullptr && label->is_string() ? std::string_view(label->get_string()) : std::string_view();
    return !holds(requirement, label != nullptr ? &value : nullptr);
  };
  const std::string name = nameOf(node);
  const auto fieldFails = [&](const json::object& requirement) {
    const std::string_view value = name;
    return !holds(requirement, textAt(requirement, {"key"}) == "metadata.name" ? &value : nullptr);
  };
  return !anyObject(expressions, labelFails) && !anyObject(fields, fieldFails);
}

bool selects(const json::object& pod, const json::object& node) {
  if (const json::object* selector = objectAt(pod, {"spec", "nodeSelector"})) {
    const json::object* labels = objectAt(node, {"metadata", "labels"});
    for (const auto& [key, value] : *selector) {
      const json::value* label = labels != nullptr ? labels->if_contains(key) : nullptr;
      if (label == nullptr || *label != value) return false;
    }
  }
  const json::object* required = objectAt(pod, {"spec", "affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution"});
  if (required == nullptr) return true;
  return anyObject(arrayAt(*required, {"nodeSelectorTerms"}), [&](const json::object& term) { return termMatches(term, node); });
}

std::string untolerated(const json::object& pod, const json::object& node) {
  std::string found;
  anyObject(arrayAt(node, {"spec", "taints"}), [&](const json::object& each) {
    const Taint taint{textAt(each, {"key"}), textAt(each, {"value"}), textAt(each, {"effect"})};
    if (taint.effect == "PreferNoSchedule" || tolerates(pod, taint)) return false;
    found = "node(s) had untolerated taint {" + std::string(taint.key) + ": " + std::string(taint.value) + "}";
    return true;
  });
  return found;
}

}  // namespace

std::string_view conditionOf(const json::object& object, std::string_view type) {
  std::string_view status;
  anyObject(arrayAt(object, {"status", "conditions"}), [&](const json::object& condition) {
    if (textAt(condition, {"type"}) != type) return false;
    status = textAt(condition, {"status"});
    return true;
  });
  return status;
}

std::string whyNot(const json::object& pod, const json::object& node) {
  if (booleanAt(node, {"spec", "unschedulable"}) && !tolerates(pod, {kUnschedulable, "", kNoSchedule})) return "node(s) were unschedulable";
  if (std::string taint = untolerated(pod, node); !taint.empty()) return taint;
  if (!selects(pod, node)) return kAffinity;
  if (isEnding(node)) return "node(s) were being deleted";
  if (conditionOf(node, "Ready") != "True" && !tolerates(pod, {kNotReady, "", kNoSchedule})) return "node(s) were not ready";
  return {};
}

}  // namespace podpass::controllers
