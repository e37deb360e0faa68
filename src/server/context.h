#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "auth/user.h"

namespace podpass::server {

// A refusal that an admission webhook worded: it chooses the HTTP code, and a Status reason that may be none.
struct Wording {
  int code = 400;
  std::string reason = {};
};

// One request's circumstances, and what it gathers on its way through the pipeline.
struct Context {
  auth::User user;
  bool dryRun = false;
  std::string fieldValidation = "Warn";                 // Strict, Warn, Ignore
  std::string optionsKind = {};                         // CreateOptions, PatchOptions, …; empty: by the operation
  std::string fieldManager = {};                        // as the client said
  std::vector<std::string> warnings = {};               // become Warning headers
  std::map<std::string, std::string> annotations = {};  // of the audit event
  std::optional<Wording> wording = {};                  // of the error, when a webhook refused
};

}  // namespace podpass::server
