#pragma once

#include <string>

#include "irsa/diagnosis.h"

namespace podpass::cli {

// The checklist for people: a line for each check; below those that are broken or unknown why, and the mend with its commands.
std::string shownDiagnosis(const irsa::Diagnosis& diagnosis);
// Prints it, as `output` says (text, json, yaml); kNo when something is broken, else kYes.
int say(const irsa::Diagnosis& diagnosis, const std::string& output);

}  // namespace podpass::cli
