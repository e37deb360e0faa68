#include "irsa/token_injection.h"

#include <algorithm>

#include "base/text.h"
#include "irsa/aws.h"
#include "irsa/identities.h"
#include "irsa/token_injection_profiles.h"

namespace podpass::irsa {
namespace {

constexpr std::int64_t kDefaultLife = 3600;
constexpr std::string_view kFilesPrefix = "files.identity.podpass.dev/";

// What ${…} stands for in one pod.
struct Context {
  std::string_view ns, serviceAccount;
  const json::object* annotations;
  std::string tokenFile, mountPath;

  [[nodiscard]] std::optional<std::string> valueOf(std::string_view name) const {
    if (name == "tokenFile") return tokenFile;
    if (name == "mountPath") return mountPath;
    if (name == "namespace") return std::string(ns);
    if (name == "serviceAccount") return std::string(serviceAccount);
    constexpr std::string_view kAnnotation = "annotation:";
    if (!name.starts_with(kAnnotation)) return std::nullopt;
    name.remove_prefix(kAnnotation.size());
    const std::size_t bar = name.find('|');
    const std::string_view found = annotations != nullptr ? textAt(*annotations, {name.substr(0, bar)}) : std::string_view();
    if (!found.empty()) return std::string(found);
    if (bar == std::string_view::npos) return std::nullopt;
    return std::string(name.substr(bar + 1));
  }
  // nullopt: something that the text needs is not there. Values are not expanded again.
  [[nodiscard]] std::optional<std::string> expand(std::string_view text) const {
    std::string out;
    for (;;) {
      const std::size_t begin = text.find("${"), end = begin == std::string_view::npos ? begin : text.find('}', begin);
      if (end == std::string_view::npos) return out + std::string(text);
      const std::optional<std::string> value = valueOf(text.substr(begin + 2, end - begin - 2));
      if (!value) return std::nullopt;
      out += text.substr(0, begin);
      out += *value;
      text.remove_prefix(end + 1);
    }
  }
  // With every text expanded, and without the members whose text needs what is not there.
  [[nodiscard]] std::optional<json::value> expandJson(const json::value& value) const {
    if (value.is_string()) {
      std::optional<std::string> text = expand(value.get_string());
      if (!text) return std::nullopt;
      return json::value(*std::move(text));
    }
    if (value.is_object()) {
      json::object object;
      for (const json::key_value_pair& each : value.get_object())
        if (std::optional<json::value> member = expandJson(each.value())) object[each.key()] = *std::move(member);
      return object;
    }
    if (!value.is_array()) return value;
    json::array array;
    for (const json::value& each : value.get_array())
      if (std::optional<json::value> element = expandJson(each)) array.push_back(*std::move(element));
    return array;
  }
};

std::vector<VariableGroup> environmentOf(const json::object& spec, const Context& context) {
  std::vector<VariableGroup> groups;
  std::map<std::string_view, std::size_t> named;  // group → its place
  const json::array* env = arrayAt(spec, {"env"});
  if (env == nullptr) return groups;
  for (const json::value& each : *env) {
    const json::object* variable = each.if_object();
    const std::optional<std::string> value = variable != nullptr ? context.expand(textAt(*variable, {"value"})) : std::nullopt;
    if (!value || value->empty()) continue;
    const std::string name(textAt(*variable, {"name"}));
    const std::string_view group = textAt(*variable, {"group"});
    const auto [place, isNew] = group.empty() ? std::pair(named.end(), true) : named.try_emplace(group, groups.size());
    if (isNew) groups.emplace_back();
    VariableGroup& into = place == named.end() ? groups.back() : groups[place->second];
    into.names.push_back(name);
    into.variables.push_back({name, *value});
  }
  return groups;
}

std::vector<InjectedFile> filesOf(const json::object& spec, const Context& context) {
  std::vector<InjectedFile> files;
  const json::array* all = arrayAt(spec, {"files"});
  if (all == nullptr) return files;
  for (const json::value& each : *all) {
    const json::object* file = each.if_object();
    if (file == nullptr) continue;
    const json::value* document = file->if_contains("json");
    std::optional<std::string> text;
    if (document == nullptr)
      text = context.expand(textAt(*file, {"text"}));
    else if (const std::optional<json::value> expanded = context.expandJson(*document))
      text = json::serialize(*expanded);
    if (!text) continue;
    files.push_back({std::string(textAt(*file, {"path"})), *std::move(text),
                     std::string(kFilesPrefix) + std::string(textAt(spec, {"volumeName"})) + "." + std::to_string(files.size())});
  }
  return files;
}

// The annotation of the pod, else of the account, else what the injection says.
Result<std::int64_t> lifeOf(const json::object& spec, const PodView& pod, const json::object* annotations, std::int64_t jitter) {
  const std::string_view key = textAt(spec, {"expirationAnnotation"});
  const json::object* limits = objectAt(spec, {"expirationLimits"});
  const std::int64_t usual = integerAt(spec, {"expirationSeconds"}, kDefaultLife);
  std::int64_t life = usual;
  for (const json::object* map : {pod.annotations, annotations}) {
    const std::string_view asked = map == nullptr || key.empty() ? std::string_view() : textAt(*map, {key});
    const std::optional<std::int64_t> seconds = parseGoInteger(asked);
    if (limits != nullptr && !asked.empty()) {
      const std::int64_t min = integerAt(*limits, {"min"}), max = integerAt(*limits, {"max"});
      if (!seconds || *seconds < min || *seconds > max)  // Azure's words
        return Error{Reason::Invalid, "token expiration " + std::string(asked.substr(0, 64)) + " not valid. Expected value to be between " +
                                          std::to_string(min) + " and " + std::to_string(max)};
    }
    if (!seconds) continue;
    life = std::max(*seconds, kMinExpiration);
    break;
  }
  return life == usual ? life - std::min(jitter, integerAt(spec, {"jitterSeconds"})) : life;
}

// "STEM-" and what Azure's webhook makes of the pod's name, which may not be known yet.
std::string hashedName(const std::string& stem, const PodView& pod) {
  const std::string name = pod.name.empty() ? std::string(pod.generateName) + " (prefix)" : std::string(pod.name);
  return stem + "-" + hexLower(sha256(name)).substr(0, 30);
}

std::vector<std::string> skippedContainers(const json::object& spec, const PodView& pod) {
  std::vector<std::string> names;
  const std::string_view key = textAt(spec, {"skipContainersAnnotation"});
  if (key.empty() || pod.annotations == nullptr) return names;
  std::string_view list = textAt(*pod.annotations, {key});
  while (!list.empty()) {
    const std::size_t end = std::min(list.find_first_of(",;"), list.size());
    std::string_view name = list.substr(0, end);
    name.remove_prefix(std::min(name.find_first_not_of(' '), name.size()));
    names.emplace_back(name.substr(0, name.find_last_not_of(' ') + 1));
    list.remove_prefix(std::min(end + 1, list.size()));
  }
  return names;
}

}  // namespace

Result<TokenInjection> TokenInjection::read(const json::object& object) {
  TokenInjection injection;
  injection.name_ = textAt(object, {"metadata", "name"});
  const json::object* spec = objectAt(object, {"spec"});
  if (spec == nullptr) return Error{Reason::Invalid, "a TokenInjection without spec"};
  for (const InjectionProfile& profile : kInjectionProfiles)
    if (profile.name == textAt(*spec, {"profile"})) injection.spec_ = json::parse(profile.spec).as_object();
  for (const json::key_value_pair& each : *spec) injection.spec_[each.key()] = each.value();
  const json::object* match = objectAt(injection.spec_, {"match"});
  static const json::object none;
  if (match == nullptr) match = &none;
  if (textAt(injection.spec_, {"volumeName"}).empty() || textAt(injection.spec_, {"mountPath"}).empty())
    return Error{Reason::Invalid, "spec.volumeName and spec.mountPath are needed without a profile"};
  injection.accountAnnotation_ = textAt(*match, {"serviceAccountAnnotation"});
  if (const json::object* selector = objectAt(*match, {"podSelector"})) {
    Result<api::LabelSelector> parsed = api::LabelSelector::fromObject(selector);
    if (!parsed) return parsed.error();
    injection.podSelector_ = *std::move(parsed);
  }
  if (const json::array* accounts = arrayAt(*match, {"serviceAccounts"}))
    for (const json::value& each : *accounts)
      if (each.is_string()) injection.accounts_.emplace(each.get_string());
  if (injection.accountAnnotation_.empty() && !injection.podSelector_ && injection.accounts_.empty())
    return Error{Reason::Invalid, "spec.match says of no pod that it is meant", "name service accounts, an annotation or labels"};
  return injection;
}

bool TokenInjection::mayMean(std::string_view ns, std::string_view serviceAccount, const json::object* annotations) const {
  if (!accountAnnotation_.empty() && (annotations == nullptr || textAt(*annotations, {accountAnnotation_}).empty())) return false;
  return accounts_.empty() || accounts_.contains(accountKey(ns, serviceAccount)) || accounts_.contains(accountKey("*", serviceAccount));
}

bool TokenInjection::matches(std::string_view ns, const PodView& pod, const json::object* annotations) const {
  return mayMean(ns, pod.serviceAccount, annotations) && (!podSelector_ || podSelector_->matchesLabels(pod.labels));
}

Result<std::optional<Injection>> TokenInjection::injectionFor(std::string_view ns, const PodView& pod, const json::object* annotations,
                                                              std::int64_t jitter) const {
  if (!matches(ns, pod, annotations)) return std::optional<Injection>();
  Injection injection;
  injection.volume = textAt(spec_, {"volumeName"});
  if (booleanAt(spec_, {"hashVolumeName"})) {
    injection.volumeStem = injection.volume + "-";
    injection.volume = hashedName(injection.volume, pod);
  }
  injection.mountPath = textAt(spec_, {"mountPath"});
  injection.tokenPath = textAt(spec_, {"tokenPath"});
  if (injection.tokenPath.empty()) injection.tokenPath = "token";
  const std::string file = joinPath(injection.mountPath, injection.tokenPath);
  const Context context{ns, pod.serviceAccount, annotations, pod.windows ? windowsPath(file) : file,
                        pod.windows ? windowsPath(injection.mountPath) : injection.mountPath};
  const std::optional<std::string> audience = context.expand(textAt(spec_, {"audience"}));
  if (!audience) return std::optional<Injection>();  // better no token than one for somebody else
  injection.audience = *audience;
  const Result<std::int64_t> life = lifeOf(spec_, pod, annotations, jitter);
  if (!life) return life.error();
  injection.expirationSeconds = *life;
  injection.environment = environmentOf(spec_, context);
  injection.replaceExisting = booleanAt(spec_, {"replaceExisting"});
  injection.files = filesOf(spec_, context);
  if (const json::object* labels = objectAt(spec_, {"podLabels"}))
    for (const json::key_value_pair& each : *labels)
      if (each.value().is_string()) injection.labels.push_back({std::string(each.key()), std::string(each.value().get_string())});
  injection.skipContainers = skippedContainers(spec_, pod);
  return std::optional(std::move(injection));
}

}  // namespace podpass::irsa
