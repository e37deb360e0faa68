#include "token/revocations.h"

#include <algorithm>
#include <future>

#include "base/log.h"
#include "base/text.h"

namespace podpass::token {
namespace {

using namespace std::chrono_literals;

constexpr std::string_view kPrefix = "/registry/tokenrevocations.identity.podpass.dev/";
constexpr auto kSweepEvery = 10s;
// A token gets its time of issue before its key promises to stay, and another server's clock may be ahead.
constexpr auto kOnTheWay = 30s;
constexpr auto kAfterExpiry = 120s;  // verifiers have a leeway of a minute

std::int64_t secondsOf(WallTime time) { return std::chrono::floor<std::chrono::seconds>(time.time_since_epoch()).count(); }

std::optional<WallTime> timeAt(const json::object& object, std::initializer_list<std::string_view> path) {
  const Result<WallTime> time = parseRfc3339(textAt(object, path));
  return time ? std::optional(*time) : std::nullopt;
}

// Kubernetes' names hold no slash, so the parts cannot run into each other.
std::string accountKey(std::string_view ns, std::string_view name) { return "sa/" + std::string(ns) + "/" + std::string(name); }
std::string podKey(std::string_view ns, std::string_view name, std::string_view uid) {
  return "pod/" + std::string(ns) + "/" + std::string(name) + "/" + std::string(uid);
}
std::string nodeKey(std::string_view name) { return "node/" + std::string(name); }
std::string jtiKey(std::string_view jti) { return "jti/" + std::string(jti); }

std::string subjectIn(const json::object& spec) {
  if (objectAt(spec, {"serviceAccount"}) != nullptr)
    return accountKey(textAt(spec, {"serviceAccount", "namespace"}), textAt(spec, {"serviceAccount", "name"}));
  if (objectAt(spec, {"pod"}) != nullptr)
    return podKey(textAt(spec, {"pod", "namespace"}), textAt(spec, {"pod", "name"}), textAt(spec, {"pod", "uid"}));
  if (objectAt(spec, {"node"}) != nullptr) return nodeKey(textAt(spec, {"node", "name"}));
  return jtiKey(textAt(spec, {"jti"}));
}

WallTime issuedBefore(const json::object& object) {
  const std::optional<WallTime> given = timeAt(object, {"spec", "issuedBefore"});
  return given ? *given : timeAt(object, {"metadata", "creationTimestamp"}).value_or(WallTime{});
}

// An entry of the document: claims as tokens have them, but no word of why.
json::object entryOf(const json::object& object, const json::object& spec, std::int64_t issuedBefore) {
  json::object entry;
  if (objectAt(spec, {"serviceAccount"}) != nullptr)
    entry["sub"] = "system:serviceaccount:" + std::string(textAt(spec, {"serviceAccount", "namespace"})) + ":" +
                   std::string(textAt(spec, {"serviceAccount", "name"}));
  else if (const json::object* pod = objectAt(spec, {"pod"}); pod != nullptr)
    entry["pod"] = *pod;
  else if (const json::object* node = objectAt(spec, {"node"}); node != nullptr)
    entry["node"] = *node;
  else
    entry["jti"] = textAt(spec, {"jti"});
  if (!entry.contains("jti")) entry["issuedBefore"] = issuedBefore;
  if (const std::optional<WallTime> expires = timeAt(object, {"status", "expires"})) entry["expires"] = secondsOf(*expires);
  return entry;
}

// Legacy tokens do not expire: while a Secret of that time stands, the account's revocation is needed.
bool coversLegacyToken(const Store& store, const json::object& revocation) {
  const std::string ns(textAt(revocation, {"spec", "serviceAccount", "namespace"}));
  if (ns.empty()) return false;
  const Result<Page> secrets = store.range("/registry/secrets/" + ns + "/", "", 0, 0);
  if (!secrets) return true;
  return std::any_of(secrets->entries.begin(), secrets->entries.end(), [&](const Entry& entry) {
    const json::object& secret = entry.document->value;
    return textAt(secret, {"type"}) == "kubernetes.io/service-account-token" &&
           textAt(secret, {"metadata", "annotations", "kubernetes.io/service-account.name"}) ==
               textAt(revocation, {"spec", "serviceAccount", "name"}) &&
           timeAt(secret, {"metadata", "creationTimestamp"}).value_or(WallTime{}) <= issuedBefore(revocation);
  });
}

Result<void> commit(Store& store, Mutation mutation) {
  std::promise<Result<void>> promise;
  store.commit(std::move(mutation), [&promise](Result<Entry> done) { promise.set_value(done ? Result<void>() : done.error()); });
  return promise.get_future().get();
}

}  // namespace

Revocations::Revocations(Store& store, const Clock& clock, TokensUntil tokensUntil)
    : store_(store), clock_(clock), tokensUntil_(std::move(tokensUntil)) {}

Revocations::~Revocations() { stop(); }

Result<void> Revocations::start() {
  const Result<Page> page = store_.range(std::string(kPrefix), "", 0, 0);
  if (!page) return page.error();
  for (const Entry& entry : page->entries) put(entry.document->value);
  Result<std::unique_ptr<Subscription>> subscription =
      store_.watch(std::string(kPrefix), page->revision, [this](const Change& change) { apply(change); });
  if (!subscription) return subscription.error();
  subscription_ = *std::move(subscription);
  thread_ = std::thread([this] { run(); });
  return {};
}

void Revocations::stop() {
  {
    const std::lock_guard lock(stopping_);
    stop_ = true;
    wake_.notify_all();
  }
  if (thread_.joinable()) thread_.join();
  subscription_ = nullptr;
}

void Revocations::apply(const Change& change) {
  const json::object& object = change.entry.document->value;
  if (change.type != Change::Type::Deleted) return put(object);
  const std::lock_guard lock(mutex_);
  drop(std::string(textAt(object, {"metadata", "name"})));
}

void Revocations::put(const json::object& object) {
  const json::object* spec = objectAt(object, {"spec"});
  if (spec == nullptr) return;
  const std::string name(textAt(object, {"metadata", "name"}));
  const std::string subject = subjectIn(*spec);
  Revocation revocation{name, secondsOf(issuedBefore(object)), {}};
  revocation.shown = entryOf(object, *spec, revocation.issuedBefore);
  const std::lock_guard lock(mutex_);  // once for both: there is no moment without it
  drop(name);
  std::vector<Revocation>& same = bySubject_[subject];
  const auto place =
      std::find_if(same.begin(), same.end(), [&](const Revocation& other) { return other.issuedBefore < revocation.issuedBefore; });
  same.insert(place, std::move(revocation));
  subjectOf_[name] = subject;
  document_ = nullptr;
  count_.store(subjectOf_.size());
}

void Revocations::drop(const std::string& name) {
  const auto known = subjectOf_.find(name);
  if (known == subjectOf_.end()) return;
  const auto same = bySubject_.find(known->second);
  std::erase_if(same->second, [&](const Revocation& revocation) { return revocation.name == name; });
  if (same->second.empty()) bySubject_.erase(same);
  subjectOf_.erase(known);
  document_ = nullptr;
  count_.store(subjectOf_.size());
}

Result<void> Revocations::check(const Revocable& token) const {
  if (count_.load() == 0) return {};
  const std::pair<bool, std::string> subjects[] = {{!token.jti.empty(), jtiKey(token.jti)},
                                                   {true, accountKey(token.ns, token.account)},
                                                   {!token.pod.empty(), podKey(token.ns, token.pod, token.podUid)},
                                                   {!token.pod.empty(), podKey(token.ns, token.pod, "")},
                                                   {!token.node.empty(), nodeKey(token.node)}};
  const std::shared_lock lock(mutex_);
  for (const auto& [has, subject] : subjects) {
    const auto found = has ? bySubject_.find(subject) : bySubject_.end();
    if (found == bySubject_.end()) continue;
    const Revocation& latest = found->second.front();
    // The id is of one token, whatever its issuer's clock said.
    if (!subject.starts_with("jti/") && token.issuedAt > latest.issuedBefore) continue;
    return Error{Reason::Unauthorized, "service account token has been revoked (TokenRevocation " + quoted(latest.name) + ")"};
  }
  return {};
}

std::shared_ptr<const std::string> Revocations::document(std::string_view issuer) const {
  const std::lock_guard lock(mutex_);
  if (document_) return document_;
  std::map<std::string_view, const json::object*> entries;  // by name, so that equal sets give equal bytes
  for (const auto& [subject, same] : bySubject_)
    for (const Revocation& revocation : same) entries[revocation.name] = &revocation.shown;
  json::array list;
  for (const auto& [name, entry] : entries) list.push_back(*entry);
  const json::object whole{{"issuer", issuer}, {"revocations", std::move(list)}};
  document_ = std::make_shared<const std::string>(json::serialize(whole));
  return document_;
}

Result<std::size_t> Revocations::sweep() {
  const Result<Page> page = store_.range(std::string(kPrefix), "", 0, 0);
  if (!page) return page.error();
  std::size_t removed = 0;
  const WallTime now = clock_.now();
  for (const Entry& entry : page->entries) {
    json::object object = entry.document->value;
    const std::optional<WallTime> expires = timeAt(object, {"status", "expires"});
    if (!expires) {
      if (now <= issuedBefore(object) + kOnTheWay) continue;
      const std::optional<WallTime> until = tokensUntil_();
      if (!until) continue;
      makeObjectAt(object, {"status"})["expires"] = rfc3339(std::max(*until, now) + kAfterExpiry);
      (void)commit(store_, {entry.key, std::move(object), entry.document->revision});  // who changed it meanwhile is seen next time
    } else if (*expires < now && !coversLegacyToken(store_, object)) {
      const Result<void> gone = commit(store_, {entry.key, std::nullopt, entry.document->revision});
      if (!gone) continue;
      log::info("token revocation expired", {{"name", std::string(textAt(object, {"metadata", "name"}))}});
      ++removed;
    }
  }
  return removed;
}

void Revocations::run() {
  std::unique_lock lock(stopping_);
  while (!wake_.wait_for(lock, kSweepEvery, [this] { return stop_; })) {
    lock.unlock();
    if (const Result<std::size_t> done = sweep(); !done) log::error("token revocations not swept", {{"err", log::chain(done.error())}});
    lock.lock();
  }
}

}  // namespace podpass::token
