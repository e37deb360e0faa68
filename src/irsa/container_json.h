#pragma once

#include <string>
#include <string_view>

#include "base/document.h"

// Containers as the Go programs of Kubernetes write them, byte for byte: the members in the order of the Go struct (which the table of
// the kind keeps), empty ones left out, quantities in canonical form, <, >, & and U+2028/9 escaped. A Go program drops what its version of
// the API does not know; here unknown members are kept, after the known ones. Pure and thread-safe.
namespace podpass::irsa {

// What is appended to the lists of one container before it is written: JSON elements, separated by commas; "" for none.
struct Appended {
  std::string_view env = {};
  std::string_view volumeMounts = {};
};

void appendContainer(std::string& out, const json::object& container, const Appended& appended);

// A JSON string as encoding/json writes it.
void appendText(std::string& out, std::string_view text);
// A value of no known type, members in the order in which they came.
void appendValue(std::string& out, const json::value& value);
// What encoding/json calls the kind of a value in its errors: "string", "number", …
std::string_view goKind(const json::value& value);

}  // namespace podpass::irsa
