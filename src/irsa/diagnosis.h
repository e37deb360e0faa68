#pragma once

#include <string>
#include <vector>

#include "base/document.h"
#include "base/result.h"

// What `podpass doctor` finds out about the way from a pod, or a token, to a role: a list of checks in the order in which the identity
// travels. The first one that is broken is the one to mend; what lies behind it may be broken by the same cause.
namespace podpass::irsa {

enum class Finding {
  Ok,
  Broken,   // it will be refused, or the program will not find its credentials
  Unknown,  // could not be looked at: no right, not there, not reachable
  Skipped,  // nothing to look at, because of what is broken before, or because this pod goes another way
};

// How to mend it.
struct Mend {
  std::string text = {};     // one sentence
  std::string command = {};  // the same as shell commands; empty when it is not ours to say. Never holds a secret.
};

struct Check {
  std::string id;  // stable, for programs: "annotation", "trust-policy"; the guide lists them all
  Finding finding = Finding::Ok;
  std::string found;     // what was seen
  std::string why = {};  // why it is broken, unknown or skipped; a note when it is ok
  Mend mend = {};
  json::object detail = {};  // the trust policy's reckoning (toJson(TrustVerdict)), for example
};

struct Diagnosis {
  std::string subject;  // "pod shop/cart", "token of system:serviceaccount:shop:cart"
  std::string role;     // ARN; empty while it is not known
  std::vector<Check> checks = {};

  void ok(std::string id, std::string found, std::string note = {});
  void broken(std::string id, std::string found, std::string why, Mend mend);
  // From an error of a read: no right (what to ask for is said), not reachable, and so on. `what` was to be read: "list
  // roles.iam.podpass.dev".
  void unknown(std::string id, const std::string& what, const Error& error);
  void skipped(std::string id, std::string why);

  [[nodiscard]] const Check* firstBroken() const;  // null: none
  [[nodiscard]] const Check* find(std::string_view id) const;
  // {"subject","role","good","broken": id or null,"checks":[{"id","finding","found","why","mend":{"text","command"},"detail"}]}
  [[nodiscard]] json::object toJson() const;
};

std::string_view wordOf(Finding finding);  // "ok", "broken", "unknown", "skipped"

}  // namespace podpass::irsa
