#pragma once

#include <boost/json.hpp>
#include <memory>
#include <string>

#include "base/result.h"

namespace podpass {

namespace json = boost::json;

// One revision of one API object, immutable and shared by the store, all readers and all watchers: parsed once, serialised once.
struct Document {
  json::object value;          // complete, with apiVersion, kind and metadata.resourceVersion
  std::string text;            // compact JSON of `value`
  std::uint64_t revision = 0;  // metadata.resourceVersion
};
using DocumentPtr = std::shared_ptr<const Document>;

// Readers for a DOM that came from outside: a missing member or one of another type is "" / nullptr / the fallback.
std::string_view textAt(const json::object& object, std::initializer_list<std::string_view> path);
const json::object* objectAt(const json::object& object, std::initializer_list<std::string_view> path);
const json::array* arrayAt(const json::object& object, std::initializer_list<std::string_view> path);
std::int64_t integerAt(const json::object& object, std::initializer_list<std::string_view> path, std::int64_t fallback = 0);
bool booleanAt(const json::object& object, std::initializer_list<std::string_view> path, bool fallback = false);
// The object at `path`, made (with its parents) when it is missing or of another type.
json::object& makeObjectAt(json::object& object, std::initializer_list<std::string_view> path);

}  // namespace podpass
