#pragma once

#include "api/kind.h"

// Label and field selectors: spec api.md §5. Errors are BadRequest with Kubernetes' sentences.
namespace podpass::api {

class LabelSelector {
 public:
  static Result<LabelSelector> parse(std::string_view text);
  // From a LabelSelector object {matchLabels, matchExpressions}; null selects nothing, {} everything.
  static Result<LabelSelector> fromObject(const json::object* selector);
  [[nodiscard]] bool matches(const json::object& object) const;  // its metadata.labels
  [[nodiscard]] bool matchesLabels(const json::object* labels) const;
  [[nodiscard]] bool everything() const { return requirements_.empty() && !nothing_; }

 private:
  enum class Operator { Exists, Absent, In, NotIn, Greater, Less };
  struct Requirement {
    std::string key;
    Operator op = Operator::Exists;
    std::vector<std::string> values;
  };
  std::vector<Requirement> requirements_;
  bool nothing_ = false;
};

class FieldSelector {
 public:
  static Result<FieldSelector> parse(const Kind& kind, std::string_view text);
  [[nodiscard]] bool matches(const json::object& object) const;
  [[nodiscard]] bool everything() const { return terms_.empty(); }
  // The name of `metadata.name=x` when that is among the terms: authorization and single-object watches use it.
  [[nodiscard]] std::string name() const;
  // The value demanded for `field` ("spec.nodeName"), "" when none.
  [[nodiscard]] std::string valueOf(std::string_view field) const;

 private:
  struct Term {
    std::string field;
    std::string value;
    bool equal = true;
    std::string missing = {};  // what an absent field counts as: "false" for a boolean
  };
  std::vector<Term> terms_;
};

// A value as field selectors have it: what separates terms stands behind a backslash.
std::string escapedFieldValue(std::string_view value);

}  // namespace podpass::api
