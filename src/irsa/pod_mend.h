#pragma once

#include "irsa/mend.h"

namespace podpass::irsa {

// How a pod is made again: a webhook changes pods when they are created, and most of a pod's spec cannot be changed later. A pod of its own
// is replaced by itself, edited with jq so that nothing of its environment is printed; one with a controller is deleted, and its template
// is for its owner to change. All that this refers to is kept.
class PodMend {
 public:
  // `file`: the manifest of a pod that is not there yet; empty: it is in the cluster.
  PodMend(const json::object& pod, std::string ns, std::string file);
  // From now on the volume that the webhook gave is taken off, and the pair of variables where it names `file`, as the webhook's does: so
  // they are given anew, and what was set by hand stays.
  void strip(const std::string& volume, const std::vector<std::string>& pair, const std::string& file);
  // `filters`: jq filters that change the manifest before; `first`: commands to run before.
  [[nodiscard]] Mend again(std::string text, const std::string& filters = {}, const std::string& first = {}) const;

 private:
  std::string ns_, name_, file_, owner_, stripping_;
};

// jq filters, for `again`. Names are quoted as JSON strings, which jq's are.
std::string withoutVariables(const std::vector<std::string>& names, std::string_view container = {});  // empty: of all containers
std::string withVariable(std::string_view container, std::string_view name, std::string_view value);
std::string jqQuoted(std::string_view text);

}  // namespace podpass::irsa
