#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/document.h"

// The sentences of Kubernetes' field errors (k8s.io/apimachinery/pkg/util/validation/field).
namespace podpass::api {

using Causes = std::vector<Cause>;

Cause requiredValue(std::string path, std::string_view detail = {});
Cause invalidText(std::string path, std::string_view value, std::string_view why);  // Invalid value: "x": why
Cause invalidNumber(std::string path, std::int64_t value, std::string_view why);    // Invalid value: 5: why
Cause invalidJson(std::string path, const json::value& value, std::string_view why);
Cause unsupported(std::string path, std::string_view value, const std::vector<std::string_view>& supported);
Cause duplicate(std::string path, std::string_view value);
Cause notFoundValue(std::string path, std::string_view value);
Cause forbiddenField(std::string path, std::string_view why);
Cause tooLong(std::string path, std::size_t limit);

std::string at(std::string_view path, std::size_t index);           // path[3]
std::string at(std::string_view path, std::string_view key);        // path[key]
std::string under(std::string_view path, std::string_view member);  // path.member

}  // namespace podpass::api
