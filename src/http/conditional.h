#pragma once

#include "http/http.h"

// Conditional requests (RFC 9110 §13).
namespace podpass::http {

// Whether the client holds what `tag` names: If-None-Match says "*", or lists it, strong or weak (§13.1.2). `tag` is a strong one, with its
// quotes. What follows a mistake in the list is not read: the whole document is never a wrong answer.
[[nodiscard]] bool holdsCurrent(const Headers& headers, std::string_view tag);

// The strong tag of these bytes.
std::string entityTag(std::string_view body);

}  // namespace podpass::http
