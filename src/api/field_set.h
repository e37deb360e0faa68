#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/document.h"

// A set of fields of one object, as managedFields writes it (fieldsV1: KEP-555, sigs.k8s.io/structured-merge-diff's fieldpath). A value.
namespace podpass::api {

// A tree of steps: `f:spec` a member, `k:{"name":"c"}` an element of a keyed list, `v:"x"` one of a set of scalars.
struct FieldSet {
  bool member = false;  // the thing itself is in the set; written "." beside parts
  std::map<std::string, FieldSet, std::less<>> parts = {};

  [[nodiscard]] bool empty() const;
  [[nodiscard]] const FieldSet* find(std::string_view step) const;
  friend bool operator==(const FieldSet&, const FieldSet&) = default;
};

// None of them keeps a part that holds nothing.
FieldSet unionOf(FieldSet a, const FieldSet& b);
FieldSet intersectionOf(const FieldSet& a, const FieldSet& b);
FieldSet differenceOf(const FieldSet& a, const FieldSet& b);

json::object toFieldsV1(const FieldSet& set);
// Invalid: not a tree of known steps, or deeper than 128 of them.
Result<FieldSet> parseFieldsV1(const json::value& value);

// The members as messages name them: `.spec.containers[name="c"].image`.
std::vector<std::string> pathsOf(const FieldSet& set);

}  // namespace podpass::api
