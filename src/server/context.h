#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "auth/user.h"
#include "base/document.h"

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
  std::string manager = "podpass";                      // whose the fields are that the request sets: fieldManager or the program's name
  bool force = false;                                   // server-side apply takes fields from their managers
  std::vector<std::string> warnings = {};               // become Warning headers
  std::map<std::string, std::string> annotations = {};  // of the audit event
  std::optional<Wording> wording = {};                  // of the error, when a webhook refused
  // Asked about the object as it would be stored, and whether it is a new one; null: nothing to ask.
  std::function<Result<void>(const json::object& next, bool isNew)> guard = nullptr;
};

}  // namespace podpass::server
