#include "controllers/legacy_token_cleaner.h"

#include <algorithm>

#include "base/log.h"
#include "base/text.h"
#include "controllers/object.h"

namespace podpass::controllers {
namespace {

constexpr const char* kNamespace = "kube-system";
constexpr const char* kName = "kube-apiserver-legacy-service-account-token-tracking";
constexpr std::string_view kType = "kubernetes.io/service-account-token";
constexpr const char* kLastUsed = "kubernetes.io/legacy-token-last-used";
constexpr const char* kInvalidSince = "kubernetes.io/legacy-token-invalid-since";
constexpr const char* kAccount = "kubernetes.io/service-account.name";
constexpr std::chrono::hours kDay{24};

std::string dateOf(WallTime time) { return rfc3339(time).substr(0, 10); }
Result<WallTime> parseDate(std::string_view date) {
  if (date.size() != 10) return Error{Reason::BadRequest, "not a date: " + quoted(date.substr(0, 64))};
  return parseRfc3339(std::string(date) + "T00:00:00Z");
}
std::string_view labelOf(const json::object& object, std::string_view label) { return textAt(object, {"metadata", "labels", label}); }

bool lists(const json::object& account, std::string_view secret) {
  const json::array* listed = arrayAt(account, {"secrets"});
  return listed != nullptr && std::any_of(listed->begin(), listed->end(), [&](const json::value& each) {
           return each.is_object() && textAt(each.get_object(), {"name"}) == secret;
         });
}

bool mounts(const json::object& pod, std::string_view secret) {
  const json::array* volumes = arrayAt(pod, {"spec", "volumes"});
  return volumes != nullptr && std::any_of(volumes->begin(), volumes->end(), [&](const json::value& each) {
           return each.is_object() && textAt(each.get_object(), {"secret", "secretName"}) == secret;
         });
}

}  // namespace

LegacyTokenCleaner::LegacyTokenCleaner(api::Client& client, const Clock& clock, Informers& informers, std::chrono::hours period)
    : client_(client),
      clock_(clock),
      secrets_(informers.of("", "secrets")),
      accounts_(informers.of("", "serviceaccounts")),
      pods_(informers.of("", "pods")),
      configMaps_(informers.of("", "configmaps")),
      period_(period),
      loop_("legacy-token-cleaner", clock, [this](const std::string& task) { return visit(task); }) {
  const auto home = [this](const json::object& object) {
    if (nameOf(object) == kName && namespaceOf(object) == kNamespace) loop_.queue().add("track");
  };
  configMaps_.onChange([home](const api::Kind&, const DocumentPtr& before, const DocumentPtr& now) { home((now ? now : before)->value); });
  informers.of("", "namespaces").onChange([this](const api::Kind&, const DocumentPtr&, const DocumentPtr& now) {
    if (now && nameOf(now->value) == kNamespace) loop_.queue().add("track");
  });
  loop_.queue().add("clean");
}

Result<void> LegacyTokenCleaner::visit(const std::string& task) {
  if (task == "track") return track();
  if (task != "clean") return noteUse(nameFromKey(task.substr(task.find(' ') + 1)));
  Result<void> cleaned = clean();
  if (cleaned) loop_.queue().addAfter(kDay, task);
  return cleaned;
}

Result<void> LegacyTokenCleaner::track() {
  const DocumentPtr held = configMaps_.get(kNamespace, kName);
  if (held && parseDate(textAt(held->value, {"data", "since"}))) return {};
  json::object data{{"since", dateOf(clock_.now())}};
  Result<DocumentPtr> done;
  if (held) {
    json::object patch{{"metadata", json::object{{"uid", uidOf(held->value)}}}, {"data", std::move(data)}};
    done = client_.mergePatch(coreKind("configmaps"), {kNamespace, kName}, std::move(patch));
  } else {
    json::object object{
        {"apiVersion", "v1"}, {"kind", "ConfigMap"}, {"metadata", json::object{{"name", kName}, {"namespace", kNamespace}}}};
    object["data"] = std::move(data);
    done = client_.create(coreKind("configmaps"), kNamespace, std::move(object));
  }
  // AlreadyExists, or no namespace yet: an event will bring us back
  if (done || done.error().reason == Reason::AlreadyExists || done.error().reason == Reason::NotFound || namespaceEnds(done.error()))
    return {};
  return done.error();
}

Result<void> LegacyTokenCleaner::noteUse(const api::ObjectName& name) {
  const DocumentPtr secret = secrets_.get(name.ns, name.name);
  const std::string today = dateOf(clock_.now());
  if (!secret || labelOf(secret->value, kLastUsed) == today) return {};
  json::object metadata{{"uid", uidOf(secret->value)}, {"labels", json::object{{kLastUsed, today}}}};
  Result<DocumentPtr> done = client_.mergePatch(coreKind("secrets"), name, json::object{{"metadata", std::move(metadata)}});
  if (done || isRace(done.error())) return {};
  return done.error();
}

Result<void> LegacyTokenCleaner::clean() {
  const DocumentPtr tracking = configMaps_.get(kNamespace, kName);
  const Result<WallTime> since = parseDate(tracking ? textAt(tracking->value, {"data", "since"}) : "");
  const WallTime now = clock_.now();
  if (!since || now < *since + kDay + period_) return {};
  const std::string before = dateOf(now - period_);
  Result<void> all;
  for (const DocumentPtr& secret : secrets_.list())
    if (isCandidate(secret->value, before))
      if (Result<void> done = cleanOne(secret->value, before); !done && !isRace(done.error())) all = done;
  return all;
}

bool LegacyTokenCleaner::isCandidate(const json::object& secret, const std::string& before) const {
  const std::string ns = namespaceOf(secret), name = nameOf(secret);
  if (textAt(secret, {"type"}) != kType || isEnding(secret)) return false;
  const Result<WallTime> created = parseRfc3339(textAt(secret, {"metadata", "creationTimestamp"}));
  if (!created || *created >= clock_.now() - period_) return false;
  const std::string_view used = labelOf(secret, kLastUsed);
  if (!used.empty() && (!parseDate(used) || used >= before)) return false;
  const DocumentPtr account = accounts_.get(ns, std::string(textAt(secret, {"metadata", "annotations", kAccount})));
  if (!account || !lists(account->value, name)) return false;
  const std::vector<DocumentPtr> pods = pods_.list(ns);
  return std::none_of(pods.begin(), pods.end(), [&](const DocumentPtr& pod) { return mounts(pod->value, name); });
}

Result<void> LegacyTokenCleaner::cleanOne(const json::object& secret, const std::string& before) {
  const api::ObjectName name{namespaceOf(secret), nameOf(secret)};
  const std::string_view invalidSince = labelOf(secret, kInvalidSince);
  if (!parseDate(invalidSince)) {
    json::object metadata{{"uid", uidOf(secret)}, {"labels", json::object{{kInvalidSince, dateOf(clock_.now())}}}};
    Result<DocumentPtr> marked = client_.mergePatch(coreKind("secrets"), name, json::object{{"metadata", std::move(metadata)}});
    if (!marked) return marked.error();
    log::info("legacy token marked invalid",
              {{"ns", name.ns}, {"name", name.name}, {"last_used", std::string(labelOf(secret, kLastUsed))}});
    return {};
  }
  if (invalidSince >= before) return {};
  // the version that was judged: a use since then has changed the label
  Result<void> removed =
      client_.remove(coreKind("secrets"), name, {.resourceVersion = std::string(textAt(secret, {"metadata", "resourceVersion"}))});
  if (removed) log::info("unused legacy token deleted", {{"ns", name.ns}, {"name", name.name}});
  return removed;
}

}  // namespace podpass::controllers
