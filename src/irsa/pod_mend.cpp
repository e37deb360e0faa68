#include "irsa/pod_mend.h"

#include "irsa/unmutated_pods.h"

namespace podpass::irsa {
namespace {

constexpr std::string_view kContainers = R"(.spec["containers","initContainers"][]?)";

std::string containersNamed(std::string_view container) {
  return "(" + std::string(kContainers) + (container.empty() ? ")" : " | select(.name == " + jqQuoted(container) + "))");
}

std::string nameIsOneOf(const std::vector<std::string>& names) {
  std::string list;
  for (const std::string& name : names) list += (list.empty() ? ".name == " : " or .name == ") + jqQuoted(name);
  return list;
}

}  // namespace

std::string jqQuoted(std::string_view text) { return json::serialize(json::value(text)); }

std::string withoutVariables(const std::vector<std::string>& names, std::string_view container) {
  return "del(" + containersNamed(container) + ".env[]? | select(" + nameIsOneOf(names) + "))";
}

std::string withVariable(std::string_view container, std::string_view name, std::string_view value) {
  return containersNamed(container) + " |= (.env = ((.env // []) | map(select(.name != " + jqQuoted(name) +
         ")) + [{name: " + jqQuoted(name) + ", value: " + jqQuoted(value) + "}]))";
}

PodMend::PodMend(const json::object& pod, std::string ns, std::string file)
    : ns_(std::move(ns)), name_(textAt(pod, {"metadata", "name"})), file_(std::move(file)) {
  if (const json::object* owner = controllerOf(pod))
    owner_ = std::string(textAt(*owner, {"kind"})) + " " + std::string(textAt(*owner, {"name"}));
}

void PodMend::strip(const std::string& volume, const std::vector<std::string>& pair, const std::string& file) {
  const std::string containers(kContainers), chosen = "select(.name == " + jqQuoted(volume) + "))";
  stripping_ = " | del(.spec.volumes[]? | " + chosen + " | del(" + containers + ".volumeMounts[]? | " + chosen + " | del(" + containers +
               " | select(any(.env[]?; .value == " + jqQuoted(file) + ")).env[]? | select(" + nameIsOneOf(pair) + "))";
}

Mend PodMend::again(std::string text, const std::string& filters, const std::string& first) const {
  const std::string scope = "kubectl -n " + shellQuoted(ns_), before = first.empty() ? "" : first + "\n";
  if (!owner_.empty() && !filters.empty()) return {text + ", in the pod template of its " + owner_, first};
  if (!owner_.empty()) return {text, before + scope + " delete pod " + shellQuoted(name_)};
  const std::string change = filters.empty() ? "" : " | " + filters;
  if (!file_.empty())
    return {text, before + scope + " create --dry-run=client -f " + shellQuoted(file_) + " -o json | jq " + shellQuoted("." + change) +
                      " | " + scope + " create -f -"};
  return {text, before + scope + " get pod " + shellQuoted(name_) + " -o json | jq " +
                    shellQuoted("del(.status, .spec.nodeName)" + stripping_ + change) + " | " + scope + " replace --force -f -"};
}

}  // namespace podpass::irsa
