#include "controllers/token_secret.h"

#include <algorithm>

#include "base/text.h"
#include "controllers/object.h"
#include "token/moved_token.h"

namespace podpass::controllers {
namespace {

constexpr std::string_view kType = "kubernetes.io/service-account-token";
constexpr std::string_view kNameAnnotation = "kubernetes.io/service-account.name";
constexpr std::string_view kUidAnnotation = "kubernetes.io/service-account.uid";
constexpr int kDropTries = 10;

bool isTokenSecret(const json::object& secret) { return textAt(secret, {"type"}) == kType; }
std::string accountOf(const json::object& secret) { return std::string(textAt(secret, {"metadata", "annotations", kNameAnnotation})); }
std::string accountUidOf(const json::object& secret) { return std::string(textAt(secret, {"metadata", "annotations", kUidAnnotation})); }

bool belongsTo(const json::object& secret, const json::object& account) {
  const std::string uid = accountUidOf(secret);
  return isTokenSecret(secret) && accountOf(secret) == nameOf(account) && (uid.empty() || uid == uidOf(account));
}

std::vector<std::string> listedSecrets(const json::object& account) {
  std::vector<std::string> names;
  if (const json::array* listed = arrayAt(account, {"secrets"}))
    for (const json::value& each : *listed)
      if (const json::object* reference = each.if_object()) names.emplace_back(textAt(*reference, {"name"}));
  return names;
}

// Tasks are words: "account NS/NAME", "gone NS/NAME", "secret NS/NAME", "reference NS/ACCOUNT SECRET".
std::string referenceTask(const json::object& secret) {
  return "reference " + namespaceOf(secret) + "/" + accountOf(secret) + " " + nameOf(secret);
}

}  // namespace

TokenSecret::TokenSecret(api::Client& client, const Clock& clock, Informers& informers, TokenSecretOptions options)
    : client_(client),
      accounts_(informers.of("", "serviceaccounts")),
      secrets_(informers.of("", "secrets")),
      options_(std::move(options)),
      loop_("token-secret", clock, [this](const std::string& task) { return visit(task); }) {
  accounts_.onChange([this](const api::Kind&, const DocumentPtr& before, const DocumentPtr& now) {
    if (now) loop_.queue().add("account " + keyOf(now->value));
    // not left to the visit of the account: by then another of its name may be there
    if (before && (!now || uidOf(now->value) != uidOf(before->value))) loop_.queue().add("gone " + keyOf(before->value));
  });
  secrets_.onChange([this](const api::Kind&, const DocumentPtr& before, const DocumentPtr& now) {
    if (now && isTokenSecret(now->value)) loop_.queue().add("secret " + keyOf(now->value));
    if (!now && isTokenSecret(before->value)) loop_.queue().add(referenceTask(before->value));
  });
}

Result<void> TokenSecret::visit(const std::string& task) {
  const std::size_t blank = task.find(' '), second = task.find(' ', blank + 1);
  const std::string what = task.substr(0, blank);
  const api::ObjectName name = nameFromKey(task.substr(blank + 1, second == std::string::npos ? second : second - blank - 1));
  if (what == "account") return visitAccount(name);
  if (what == "gone") return removeOwnerless(name);
  if (what == "secret") return visitSecret(name);
  return dropReference(name, task.substr(second + 1));
}

Result<void> TokenSecret::visitAccount(const api::ObjectName& name) {
  const Result<DocumentPtr> account = client_.get(coreKind("serviceaccounts"), name);
  if (!account) return account.error().reason == Reason::NotFound ? Result<void>() : Result<void>(account.error());
  if (!options_.makeSecrets || !options_.sign || isEnding((*account)->value)) return {};
  const Result<bool> has = hasTokenSecret((*account)->value);
  if (!has) return has.error();
  return *has ? Result<void>() : makeSecretFor((*account)->value);
}

// Asks the server, as the informer may not show yet what this loop has just made.
Result<bool> TokenSecret::hasTokenSecret(const json::object& account) {
  for (const std::string& name : listedSecrets(account)) {
    const Result<DocumentPtr> secret = client_.get(coreKind("secrets"), {namespaceOf(account), name});
    if (secret && belongsTo((*secret)->value, account)) return true;
    if (!secret && secret.error().reason != Reason::NotFound) return secret.error();
  }
  return false;
}

Result<void> TokenSecret::makeSecretFor(const json::object& account) {
  const std::string ns = namespaceOf(account), name = nameOf(account) + "-token-" + randomSuffix();
  json::object metadata{{"name", name}, {"namespace", ns}};
  json::object secret{{"apiVersion", "v1"}, {"kind", "Secret"}, {"metadata", std::move(metadata)}, {"type", kType}};
  if (const Result<bool> filled = fill(secret, account); !filled) return filled.error();
  const Result<DocumentPtr> made = client_.create(coreKind("secrets"), ns, std::move(secret));
  if (!made) return namespaceEnds(made.error()) ? Result<void>() : Result<void>(made.error());

  json::object next = account;  // with its resourceVersion: whoever changed it since wins
  json::value& listed = next["secrets"];
  if (!listed.is_array()) listed.emplace_array();
  listed.get_array().push_back(json::object{{"name", name}});
  const Result<DocumentPtr> updated = client_.update(coreKind("serviceaccounts"), {ns, nameOf(account)}, std::move(next));
  if (updated) return {};
  const Result<void> removed = client_.remove(coreKind("secrets"), {ns, name}, {.uid = uidOf((*made)->value)});
  if (!removed && !isRace(removed.error())) return removed.error();
  // the change that beat us is an event of its own, and brings us back
  return isRace(updated.error()) ? Result<void>() : Result<void>(updated.error());
}

// Those that name the account, but not the one that has its name now.
Result<void> TokenSecret::removeOwnerless(const api::ObjectName& account) {
  for (const DocumentPtr& secret : secrets_.list(account.ns)) {
    if (!isTokenSecret(secret->value) || accountOf(secret->value) != account.name) continue;
    if (Result<void> gone = visitSecret({account.ns, nameOf(secret->value)}); !gone) return gone;
  }
  return {};
}

Result<void> TokenSecret::visitSecret(const api::ObjectName& name) {
  const Result<DocumentPtr> secret = client_.get(coreKind("secrets"), name);
  if (!secret) return secret.error().reason == Reason::NotFound ? Result<void>() : Result<void>(secret.error());
  const json::object& held = (*secret)->value;
  if (!isTokenSecret(held) || accountOf(held).empty() || isEnding(held)) return {};
  const Result<DocumentPtr> account = client_.get(coreKind("serviceaccounts"), {name.ns, accountOf(held)});
  if (!account && account.error().reason != Reason::NotFound) return account.error();
  if (!account || !belongsTo(held, (*account)->value)) {
    const Result<void> removed = client_.remove(coreKind("secrets"), name, {.uid = uidOf(held)});
    return removed || isRace(removed.error()) ? Result<void>() : removed;
  }
  json::object next = held;
  const Result<bool> changed = fill(next, (*account)->value);
  if (!changed) return changed.error();
  if (!*changed) return {};
  const Result<DocumentPtr> updated = client_.update(coreKind("secrets"), name, std::move(next));
  if (updated || isRace(updated.error())) return {};
  return updated.error();
}

// Adds what is missing; a token that somebody changed is left alone, an emptied one is made anew. True when something was.
Result<bool> TokenSecret::fill(json::object& secret, const json::object& account) {
  bool changed = false;
  const auto set = [&](json::object& where, std::string_view key, const std::string& value) {
    if (textAt(where, {key}) == value) return;
    where[key] = value;
    changed = true;
  };
  json::object& data = makeObjectAt(secret, {"data"});
  if (!options_.rootCaPem.empty()) set(data, "ca.crt", base64Encode(options_.rootCaPem));
  if (textAt(data, {"namespace"}).empty()) set(data, "namespace", base64Encode(namespaceOf(account)));
  if (textAt(data, {"token"}).empty() && options_.sign) {
    const Result<Secret> token = options_.sign({namespaceOf(account), nameOf(secret), {nameOf(account), uidOf(account)}});
    if (!token) return token.error();
    set(data, "token", base64Encode(token->reveal()));
    makeObjectAt(secret, {"metadata", "annotations"}).erase(token::kMovedFrom);  // the emptied one's predecessors end with it
  }
  json::object& annotations = makeObjectAt(secret, {"metadata", "annotations"});
  set(annotations, kNameAnnotation, nameOf(account));
  set(annotations, kUidAnnotation, uidOf(account));
  return changed;
}

Result<void> TokenSecret::dropReference(const api::ObjectName& account, const std::string& secret) {
  for (int attempt = 1;; ++attempt) {
    const Result<DocumentPtr> again = client_.get(coreKind("secrets"), {account.ns, secret});
    if (again) return {};  // made anew under its old name
    const Result<DocumentPtr> found = client_.get(coreKind("serviceaccounts"), account);
    if (!found) return found.error().reason == Reason::NotFound ? Result<void>() : Result<void>(found.error());
    const json::array* listed = arrayAt((*found)->value, {"secrets"});
    json::array rest;
    for (const json::value& each : listed != nullptr ? *listed : json::array())
      if (!each.is_object() || textAt(each.get_object(), {"name"}) != secret) rest.push_back(each);
    if (listed == nullptr || rest.size() == listed->size()) return {};
    json::object next = (*found)->value;
    if (rest.empty())
      next.erase("secrets");
    else
      next["secrets"] = std::move(rest);
    const Result<DocumentPtr> updated = client_.update(coreKind("serviceaccounts"), account, std::move(next));
    if (updated || updated.error().reason == Reason::NotFound) return {};
    if (updated.error().reason != Reason::Conflict || attempt == kDropTries) return updated.error();
  }
}

}  // namespace podpass::controllers
