#pragma once

#include "irsa/diagnosis.h"

// The shell commands that doctor's mends are written in. Every text that comes from outside is quoted.
namespace podpass::irsa {

std::string shellQuoted(std::string_view text);  // as it is when it is plain; else in single quotes
// kubectl apply of the object as YAML, in a here document.
std::string applyCommand(const json::object& object);
// kubectl annotate; an empty value takes the annotation away.
std::string annotateCommand(std::string_view ns, std::string_view account, std::string_view key, std::string_view value);

}  // namespace podpass::irsa
