#include "server/registry.h"

#include <boost/asio/async_result.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "api/codec.h"
#include "api/field_ownership.h"
#include "api/patch.h"
#include "base/gather.h"
#include "base/text.h"
#include "server/status.h"
#include "server/webhook_admission.h"

namespace podpass::server {
namespace {

constexpr std::string_view kRoot = "/registry/";
// Who says no resourceVersion never loses: each round one of those who write an object at once has its turn, and the others read it again,
// as kube-apiserver's storage does. Beyond this many there is no hope in it.
constexpr int kTries = 64;
constexpr int kNameTries = 8;
constexpr std::size_t kRemovalsAtOnce = 64;
constexpr std::size_t kNameBase = 58;

std::string keyOf(const api::Kind& kind, const std::string& ns, const std::string& name) { return Registry::prefixOf(kind, ns) + name; }

// apiVersion and kind first, metadata next: the order in which everyone prints, and which the list writer relies on.
json::object ordered(const api::Kind& kind, json::object object) {
  json::object out{{"kind", kind.kind}, {"apiVersion", kind.apiVersion()}, {"metadata", object["metadata"]}};
  for (auto& [name, value] : object)
    if (!out.contains(name)) out[name] = std::move(value);
  return out;
}

DocumentPtr unstored(json::object object) {
  auto document = std::make_shared<Document>();
  document->text = json::serialize(object);
  document->value = std::move(object);
  return document;
}

std::string_view metaText(const json::object& object, std::string_view member) { return textAt(object, {"metadata", member}); }

void keep(const json::object& before, json::object& meta, std::string_view member) {
  const json::object* old = objectAt(before, {"metadata"});
  const json::value* value = old != nullptr ? old->if_contains(member) : nullptr;
  if (value != nullptr)
    meta[member] = *value;
  else
    meta.erase(member);
}

bool sameBesideRevision(json::object a, json::object b) {
  makeObjectAt(a, {"metadata"}).erase("resourceVersion");
  makeObjectAt(b, {"metadata"}).erase("resourceVersion");
  return a == b;
}

bool hasFinalizers(const json::object& object) {
  const json::array* finalizers = arrayAt(object, {"metadata", "finalizers"});
  const json::array* ofSpec = metaText(object, "name").empty() ? nullptr : arrayAt(object, {"spec", "finalizers"});
  return (finalizers != nullptr && !finalizers->empty()) ||
         (ofSpec != nullptr && !ofSpec->empty() && textAt(object, {"kind"}) == "Namespace");
}

bool isPod(const api::Kind& kind) { return kind.group.empty() && kind.plural == "pods"; }
bool isNode(const api::Kind& kind) { return kind.group.empty() && kind.plural == "nodes"; }
bool isNamespace(const api::Kind& kind) { return kind.group.empty() && kind.plural == "namespaces"; }

// What only the server says of a new object.
void stamp(const api::Kind& kind, json::object& object, const std::string& ns, WallTime now) {
  json::object& meta = makeObjectAt(object, {"metadata"});
  for (const char* servers :
       {"resourceVersion", "selfLink", "deletionTimestamp", "deletionGracePeriodSeconds", "managedFields", "generation"})
    meta.erase(servers);
  if (kind.namespaced) meta["namespace"] = ns;
  meta["uid"] = randomUuid();
  meta["creationTimestamp"] = rfc3339(now);
  if (kind.hasGeneration) meta["generation"] = 1;
  if (isNamespace(kind)) {
    json::value& finalizers = makeObjectAt(object, {"spec"})["finalizers"];
    if (!finalizers.is_array()) finalizers.emplace_array();
    json::array& names = finalizers.get_array();
    if (std::find(names.begin(), names.end(), json::value("kubernetes")) == names.end()) names.emplace_back("kubernetes");
    const json::string name(textAt(object, {"metadata", "name"}));  // a copy: new members move the old ones
    makeObjectAt(object, {"metadata", "labels"})["kubernetes.io/metadata.name"] = name;
    object["status"] = json::object{{"phase", "Active"}};
  }
}

bool isBestEffort(const json::object& pod, bool& guaranteed) {
  bool any = false;
  guaranteed = true;
  for (const char* group : {"initContainers", "containers"}) {
    const json::array* containers = arrayAt(pod, {"spec", group});
    if (containers == nullptr) continue;
    for (const json::value& each : *containers) {
      if (!each.is_object()) continue;
      const json::object* limits = objectAt(each.get_object(), {"resources", "limits"});
      const json::object* requests = objectAt(each.get_object(), {"resources", "requests"});
      if ((limits != nullptr && !limits->empty()) || (requests != nullptr && !requests->empty())) any = true;
      for (const char* resource : {"cpu", "memory"})
        if (limits == nullptr || !limits->contains(resource) ||
            (requests != nullptr && requests->contains(resource) && requests->at(resource) != limits->at(resource)))
          guaranteed = false;
    }
  }
  return !any;
}

void startPod(json::object& pod) {
  bool guaranteed = false;
  const bool bestEffort = isBestEffort(pod, guaranteed);
  pod["status"] = json::object{{"phase", "Pending"}, {"qosClass", bestEffort ? "BestEffort" : guaranteed ? "Guaranteed" : "Burstable"}};
}

// The grace that a deletion gets (spec api.md §2.2); 0 for everything but bound, unfinished pods.
std::int64_t graceFor(const api::Kind& kind, const json::object& object, const api::DeleteOptions& options) {
  if (!isPod(kind)) return 0;
  const std::string_view phase = textAt(object, {"status", "phase"});
  if (textAt(object, {"spec", "nodeName"}).empty() || phase == "Succeeded" || phase == "Failed") return 0;
  const std::int64_t asked = options.gracePeriodSeconds.value_or(integerAt(object, {"spec", "terminationGracePeriodSeconds"}, 30));
  return asked < 0 ? 1 : asked;
}

// Replaces the finalizers that stand for the propagation policy.
void setPropagation(json::object& meta, std::string_view policy) {
  json::array finalizers = meta.contains("finalizers") && meta["finalizers"].is_array() ? meta["finalizers"].get_array() : json::array();
  if (!policy.empty())
    for (auto it = finalizers.begin(); it != finalizers.end();)
      it = (*it == "orphan" || *it == "foregroundDeletion") ? finalizers.erase(it) : it + 1;
  if (policy == "Orphan") finalizers.push_back("orphan");
  if (policy == "Foreground") finalizers.push_back("foregroundDeletion");
  if (finalizers.empty())
    meta.erase("finalizers");
  else
    meta["finalizers"] = std::move(finalizers);
}

Result<void> preconditions(const api::Kind& kind, const json::object& object, const std::string& name, const api::DeleteOptions& options) {
  const std::string_view uid = metaText(object, "uid");
  if (!options.uid.empty() && options.uid != uid)
    return conflict(kind, name,
                    "the UID in the precondition (" + options.uid + ") does not match the UID in record (" + std::string(uid) +
                        "). The object might have been deleted and then recreated");
  const std::string_view revision = metaText(object, "resourceVersion");
  if (!options.resourceVersion.empty() && options.resourceVersion != revision)
    return conflict(kind, name,
                    "the ResourceVersion in the precondition (" + options.resourceVersion +
                        ") does not match the ResourceVersion in record (" + std::string(revision) +
                        "). The object might have been modified");
  return {};
}

constexpr const char* kServersMetadata[] = {
    "name",       "namespace",    "uid",      "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds",
    "generation", "generateName", "selfLink", "resourceVersion"};

// Webhooks change what users may change, no more.
void keepServersOwn(const AdmissionRequest& request, const json::object& own, json::object& object) {
  for (const char* member : kServersMetadata) keep(own, makeObjectAt(object, {"metadata"}), member);
  if (!request.kind.hasStatus || request.subresource == "status") return;
  if (own.contains("status"))
    object["status"] = own.at("status");
  else
    object.erase("status");
}

std::string continueToken(const std::string& key, std::uint64_t revision) {
  return base64UrlEncode(json::serialize(json::object{{"v", "meta.k8s.io/v1"}, {"rv", revision}, {"start", key}}));
}

Error badContinue(const std::string& why) { return Error{Reason::BadRequest, "invalid continue token: continue key is not valid: " + why}; }

}  // namespace

Result<void> reportProblems(Context& context, const api::Kind& kind, const std::vector<std::string>& problems) {
  if (problems.empty() || context.fieldValidation == "Ignore") return {};
  if (context.fieldValidation == "Strict") {
    std::string all;
    for (const std::string& problem : problems) all += (all.empty() ? "" : ", ") + problem;
    return Error{Reason::BadRequest, std::string(kind.kind) + " in version " + quoted(kind.version) + " cannot be handled as a " +
                                         std::string(kind.kind) + ": strict decoding error: " + all};
  }
  context.warnings.insert(context.warnings.end(), problems.begin(), problems.end());
  return {};
}

Registry::Registry(Store& store, const Clock& clock) : store_(store), clock_(clock) {
  for (const api::Kind* kind : api::allKinds()) versions_[kind->qualifiedPlural()] = 0;
  // listeners run after the change can be read and before it is acknowledged: who saw an answer sees its version
  Listener note = [this](const podpass::Change& change) {
    std::string_view resource = std::string_view(change.entry.key).substr(kRoot.size());
    const auto found = versions_.find(resource.substr(0, resource.find('/')));
    if (found != versions_.end()) found->second.store(change.entry.document->revision, std::memory_order_release);
  };
  if (auto listening = store.watch(std::string(kRoot), store.revision(), std::move(note)))
    subscription_ = *std::move(listening);
  else
    versions_.clear();  // each version is the store's then
}

std::string Registry::prefixOf(const api::Kind& kind, const std::string& ns) {
  return std::string(kRoot) + kind.qualifiedPlural() + "/" + (ns.empty() ? "" : ns + "/");
}

DocumentPtr Registry::get(const api::Kind& kind, const std::string& ns, const std::string& name) const {
  return store_.get(keyOf(kind, kind.namespaced ? ns : "", name));
}

std::vector<DocumentPtr> Registry::list(const api::Kind& kind, const std::string& ns) const {
  std::vector<DocumentPtr> all;
  if (Result<Page> page = store_.range(prefixOf(kind, ns), "", 0, 0))
    for (Entry& entry : page->entries) all.push_back(std::move(entry.document));
  return all;
}

std::uint64_t Registry::version(const api::Kind& kind) const {
  const auto found = versions_.find(kind.qualifiedPlural());
  return found == versions_.end() ? store_.revision() : found->second.load(std::memory_order_acquire);
}

const Computed* Registry::computed(const api::Kind& kind) const {
  const auto found = kind.isComputed ? computed_.find(&kind) : computed_.end();
  return found == computed_.end() ? nullptr : &found->second;
}

void Registry::supplement(const api::Kind& kind, std::span<DocumentPtr> documents) const {
  const auto found = supplements_.find(&kind);
  if (found == supplements_.end()) return;
  std::vector<std::shared_ptr<Document>> copies;
  std::vector<json::object*> objects;
  for (const DocumentPtr& document : documents) {
    copies.push_back(std::make_shared<Document>(*document));
    objects.push_back(&copies.back()->value);
  }
  found->second(std::move(objects));
  for (std::size_t i = 0; i < copies.size(); ++i) {
    copies[i]->text = json::serialize(copies[i]->value);
    documents[i] = std::move(copies[i]);
  }
}

Result<DocumentPtr> Registry::read(const api::Kind& kind, const std::string& ns, const std::string& name) const {
  const Computed* made = computed(kind);
  DocumentPtr found = made != nullptr ? made->get(ns, name) : get(kind, ns, name);
  if (!found) return notFound(kind, name);
  supplement(kind, {&found, 1});
  return found;
}

Result<ListPage> Registry::list(const api::Kind& kind, const ListOptions& options) const {
  if (const Computed* made = computed(kind)) return made->list(options);
  const std::string prefix = prefixOf(kind, options.ns);
  std::string after;
  std::uint64_t at = options.atRevision;
  if (!options.continueToken.empty()) {
    Result<std::string> text = base64UrlDecode(options.continueToken);
    if (!text) return badContinue(text.error().sentence);
    json::error_code failed;
    const json::value token = json::parse(*text, failed);
    if (failed || !token.is_object() || textAt(token.get_object(), {"start"}).empty()) return badContinue("it was not made by this server");
    after = prefix + std::string(textAt(token.get_object(), {"start"}));
    const std::int64_t revision = integerAt(token.get_object(), {"rv"});
    at = revision < 0 ? 0 : static_cast<std::uint64_t>(revision);
  }
  ListPage page;
  const bool selects = !options.labels.everything() || !options.fields.everything();
  for (;;) {
    // with a selector a page may need more entries than it shows: read on from the last key until it is full
    Result<Page> range = store_.range(prefix, after, options.limit, at);
    if (!range) {
      if (range.error().reason != Reason::Expired || options.continueToken.empty()) return range.error();
      return Error{Reason::Expired,
                   "The provided continue parameter is too old to display a consistent list result. You must start a new list without the "
                   "continue parameter."};
    }
    page.revision = range->revision;
    for (std::size_t i = 0; i < range->entries.size(); ++i) {
      Entry& entry = range->entries[i];
      if (selects && !(options.labels.matches(entry.document->value) && options.fields.matches(entry.document->value))) continue;
      page.items.push_back(entry.document);
      if (options.limit != 0 && page.items.size() == options.limit && (range->more || i + 1 < range->entries.size())) {
        page.continueToken = continueToken(entry.key.substr(prefix.size()), range->revision);
        if (!selects) page.remaining = range->remaining;
        supplement(kind, page.items);
        return page;
      }
    }
    if (!range->more || range->entries.empty()) {
      supplement(kind, page.items);
      return page;
    }
    after = range->entries.back().key;
    at = range->revision;
  }
}

asio::awaitable<Result<Entry>> Registry::commit(Mutation mutation) {
  auto start = [this](auto handler, Mutation what) {
    auto shared = std::make_shared<decltype(handler)>(std::move(handler));
    auto executor = asio::get_associated_executor(*shared);
    store_.commit(std::move(what), [shared, executor](Result<Entry> result) {
      auto finish = [shared, result = std::move(result)]() mutable { (*shared)(std::move(result)); };
      asio::post(executor, std::move(finish));
    });
  };
  Result<Entry> committed =
      co_await asio::async_initiate<const asio::use_awaitable_t<>, void(Result<Entry>)>(start, asio::use_awaitable, std::move(mutation));
  co_return committed;
}

asio::awaitable<Result<DocumentPtr>> Registry::create(Context& context, const api::Kind& kind, std::string ns, json::object object,
                                                      bool applied) {
  json::object& sent = makeObjectAt(object, {"metadata"});
  const std::string given(textAt(object, {"metadata", "namespace"}));
  if (kind.namespaced && !given.empty() && given != ns)
    co_return Error{Reason::BadRequest, "the namespace of the provided object does not match the namespace sent on the request"};
  if (!metaText(object, "resourceVersion").empty() && metaText(object, "resourceVersion") != "0")
    co_return Error{Reason::BadRequest, "resourceVersion should not be set on objects to be created"};
  if (!kind.namespaced) sent.erase("namespace");

  const api::Owners appliers = applied ? api::ownersOf(object) : api::Owners{};
  const std::string generate(metaText(object, "generateName"));
  const bool generated = metaText(object, "name").empty() && !generate.empty();
  for (int attempt = 1;; ++attempt) {
    json::object next = object;
    if (generated) makeObjectAt(next, {"metadata"})["name"] = generate.substr(0, kNameBase) + randomSuffix();
    const std::string name(metaText(next, "name"));
    if (kind.hasStatus && !isNode(kind)) next.erase("status");  // a kubelet registers its node with one; all others get theirs from us
    stamp(kind, next, ns, clock_.now());
    api::applyDefaults(kind, next);
    if (isPod(kind)) startPod(next);
    const AdmissionRequest request{context.user, kind, "CREATE", ns, name};
    Result<void> admitted = co_await mutate(context, request, &next, nullptr);
    if (!admitted) co_return admitted.error();
    api::applyDefaults(kind, next);
    if (std::vector<Cause> causes = api::validate(kind, next); !causes.empty()) co_return api::invalid(kind, name, std::move(causes));
    admitted = co_await validate(context, request, &next, nullptr);
    if (!admitted) co_return admitted.error();
    if (context.guard)
      if (Result<void> allowed = context.guard(next, true); !allowed) co_return allowed.error();
    if (applied) {
      api::setOwners(next, appliers);
    } else {
      json::object bare;  // what the server made is no one's
      if (const json::value* status = next.if_contains("status"); status != nullptr && kind.hasStatus) bare["status"] = *status;
      api::recordWrite(kind, bare, next, nullptr, {context.manager, "", clock_.now()});
    }
    next = ordered(kind, std::move(next));
    const std::string key = keyOf(kind, kind.namespaced ? ns : "", name);
    if (context.dryRun) {
      if (store_.get(key)) co_return alreadyExists(kind, name);
      co_return unstored(std::move(next));
    }
    Mutation mutation{key, std::move(next), 0};
    Result<Entry> entry = co_await commit(std::move(mutation));
    if (entry) co_return std::move(entry->document);
    if (entry.error().reason != Reason::AlreadyExists) co_return entry.error();
    if (!generated) co_return alreadyExists(kind, name);
    if (attempt < kNameTries) continue;
    Error taken = alreadyExists(kind, name);
    taken.sentence += ", the server was not able to generate a unique name for the object";
    co_return taken;
  }
}

asio::awaitable<Result<void>> Registry::mutate(Context& context, const AdmissionRequest& request, json::object* object,
                                               const json::object* before) {
  const WebhookAdmission* webhooks = webhooks_.load();
  if (admission_ != nullptr && object != nullptr)
    if (Result<void> admitted = admission_->mutate(request, *object); !admitted) co_return admitted;
  if (webhooks == nullptr || !webhooks->mutates(request)) co_return Result<void>();
  WebhookAdmission::Mutation mutation = webhooks->begin();
  const json::object own = object != nullptr ? *object : json::object();
  Result<void> admitted = co_await webhooks->mutate(context, request, object, before, mutation);
  if (admitted && mutation.changed) {
    // what a webhook added may need what the plugins give: a new container its token
    if (admission_ != nullptr) admitted = admission_->mutate(request, *object);
    if (admitted) admitted = co_await webhooks->mutate(context, request, object, before, mutation);
    keepServersOwn(request, own, *object);
  }
  co_return admitted;
}

asio::awaitable<Result<void>> Registry::validate(Context& context, const AdmissionRequest& request, const json::object* object,
                                                 const json::object* before) {
  const WebhookAdmission* webhooks = webhooks_.load();
  if (admission_ != nullptr)
    if (Result<void> admitted = admission_->validate(request, object, before); !admitted) co_return admitted;
  if (webhooks == nullptr || !webhooks->validates(request)) co_return Result<void>();
  const Admitted what{object, before};
  Result<void> admitted = co_await webhooks->validate(context, request, what);
  co_return admitted;
}

asio::awaitable<Result<void>> Registry::admitBody(Context& context, AdmissionRequest request, json::object& body) {
  const WebhookAdmission* webhooks = webhooks_.load();
  if (webhooks == nullptr) co_return Result<void>();
  if (webhooks->mutates(request)) {
    WebhookAdmission::Mutation mutation = webhooks->begin();
    Result<void> admitted = co_await webhooks->mutate(context, request, &body, nullptr, mutation);
    if (admitted && mutation.changed) admitted = co_await webhooks->mutate(context, request, &body, nullptr, mutation);
    if (!admitted) co_return admitted;
  }
  if (!webhooks->validates(request)) co_return Result<void>();
  const Admitted what{&body, nullptr};
  Result<void> admitted = co_await webhooks->validate(context, request, what);
  co_return admitted;
}

asio::awaitable<Result<json::object>> Registry::prepareUpdate(Context& context, const api::Kind& kind, const json::object& before,
                                                              json::object next, std::string subresource, bool applied) {
  const std::string name(metaText(before, "name"));
  json::value managed;
  if (const json::object* sent = objectAt(next, {"metadata"}))
    if (const json::value* entries = sent->if_contains("managedFields")) managed = *entries;
  const std::string sentUid(metaText(next, "uid")), sentName(metaText(next, "name")), sentNs(metaText(next, "namespace"));
  if (!sentName.empty() && sentName != name)
    co_return Error{Reason::BadRequest, "the name of the object (" + sentName + ") does not match the name on the URL (" + name + ")"};
  if (!sentNs.empty() && kind.namespaced && sentNs != metaText(before, "namespace"))
    co_return Error{Reason::BadRequest, "the namespace of the provided object does not match the namespace sent on the request"};
  if (!sentUid.empty() && sentUid != metaText(before, "uid"))
    co_return conflict(
        kind, name,
        "Precondition failed: UID in precondition: " + sentUid + ", UID in object meta: " + std::string(metaText(before, "uid")));

  if (subresource == "status") {
    json::object whole = before;
    if (next.contains("status"))
      whole["status"] = std::move(next["status"]);
    else
      whole.erase("status");
    next = std::move(whole);
  } else if (subresource == "finalize") {
    json::object whole = before;
    const json::value* finalizers = objectAt(next, {"spec"}) != nullptr ? objectAt(next, {"spec"})->if_contains("finalizers") : nullptr;
    makeObjectAt(whole, {"spec"})["finalizers"] = finalizers != nullptr ? *finalizers : json::value(json::array());
    next = std::move(whole);
  } else if (kind.hasStatus) {
    if (before.contains("status"))
      next["status"] = before.at("status");
    else
      next.erase("status");
  }
  if (isNamespace(kind) && subresource.empty() && before.contains("spec")) next["spec"] = before.at("spec");  // only /finalize changes it
  json::object& meta = makeObjectAt(next, {"metadata"});
  for (const char* member : kServersMetadata) keep(before, meta, member);
  keep(before, meta, "managedFields");

  api::applyDefaults(kind, next);
  const AdmissionRequest request{context.user, kind, "UPDATE", std::string(metaText(before, "namespace")), name, subresource};
  Result<void> admitted = co_await mutate(context, request, &next, &before);
  if (!admitted) co_return admitted.error();
  std::vector<Cause> causes = api::validate(kind, next);
  std::vector<Cause> changes = api::validateUpdate(kind, next, before);
  causes.insert(causes.end(), changes.begin(), changes.end());
  if (!causes.empty()) co_return api::invalid(kind, name, std::move(causes));
  admitted = co_await validate(context, request, &next, &before);
  if (!admitted) co_return admitted.error();
  if (context.guard)
    if (Result<void> allowed = context.guard(next, false); !allowed) co_return allowed.error();
  if (applied)
    makeObjectAt(next, {"metadata"})["managedFields"] = std::move(managed);
  else
    api::recordWrite(kind, before, next, managed, {context.manager, subresource, clock_.now()});
  if (kind.hasGeneration && next.if_contains("spec") != nullptr && (!before.contains("spec") || next.at("spec") != before.at("spec")))
    makeObjectAt(next, {"metadata"})["generation"] = integerAt(before, {"metadata", "generation"}) + 1;
  co_return ordered(kind, std::move(next));
}

asio::awaitable<Result<DocumentPtr>> Registry::modify(Context& context, const api::Kind& kind, api::ObjectName name, Change change,
                                                      std::string subresource, bool applied) {
  const std::string key = keyOf(kind, kind.namespaced ? name.ns : "", name.name);
  for (int attempt = 1;; ++attempt) {
    const DocumentPtr current = store_.get(key);
    if (!current) co_return notFound(kind, name.name);
    Result<json::object> changed = change(current->value);
    if (!changed) co_return changed.error();
    const std::string wanted(metaText(*changed, "resourceVersion"));
    const std::string held = std::to_string(current->revision);
    if (!wanted.empty() && wanted.find_first_not_of("0123456789") != std::string::npos)
      co_return api::invalid(kind, name.name,
                             {{"metadata.resourceVersion", "Invalid value: " + quoted(wanted) + ": must be a decimal number"}});
    const bool conditional = !wanted.empty() && wanted != "0";
    if (conditional && wanted != held) co_return staleObject(kind, name.name);
    Result<json::object> next = co_await prepareUpdate(context, kind, current->value, *std::move(changed), subresource, applied);
    if (!next) co_return next.error();
    const bool going = !metaText(*next, "deletionTimestamp").empty() && !hasFinalizers(*next) &&
                       integerAt(*next, {"metadata", "deletionGracePeriodSeconds"}) == 0;
    if (!going && sameBesideRevision(*next, current->value)) co_return current;
    if (context.dryRun) co_return unstored(*std::move(next));
    DocumentPtr last = going ? unstored(*next) : nullptr;
    Mutation mutation{key, std::nullopt, current->revision};
    if (!going) mutation.value = *std::move(next);
    Result<Entry> entry = co_await commit(std::move(mutation));
    if (entry) co_return going ? last : entry->document;
    if (entry.error().reason == Reason::NotFound) co_return notFound(kind, name.name);
    if (entry.error().reason != Reason::Conflict) co_return entry.error();
    if (conditional || attempt >= kTries) co_return staleObject(kind, name.name);
  }
}

asio::awaitable<Result<DocumentPtr>> Registry::update(Context& context, const api::Kind& kind, api::ObjectName name, json::object object,
                                                      std::string subresource) {
  Change change = [object = std::move(object)](const json::object&) -> Result<json::object> { return object; };
  Result<DocumentPtr> done = co_await modify(context, kind, std::move(name), std::move(change), std::move(subresource));
  co_return done;
}

asio::awaitable<Result<DocumentPtr>> Registry::createApplied(Context& context, const api::Kind& kind, const api::ObjectName& name,
                                                             const json::value& config) {
  Result<json::object> made = api::apply(kind, {}, config, {context.manager, "", clock_.now()}, context.force);
  if (!made) co_return made.error();
  if (!metaText(*made, "uid").empty() || !metaText(*made, "resourceVersion").empty()) co_return notFound(kind, name.name);
  json::value& given = makeObjectAt(*made, {"metadata"})["name"];
  if (given.is_string() && std::string_view(given.get_string()) != name.name)
    co_return Error{Reason::BadRequest, "the name of the object (" + std::string(given.get_string()) +
                                            ") does not match the name on the URL (" + name.name + ")"};
  given = name.name;
  Result<DocumentPtr> done = co_await create(context, kind, name.ns, *std::move(made), true);
  co_return done;
}

asio::awaitable<Result<DocumentPtr>> Registry::patch(Context& context, const api::Kind& kind, api::ObjectName name, PatchType type,
                                                     json::value patch, std::string subresource) {
  if (type == PatchType::Apply) {
    if (subresource.empty() && !get(kind, name.ns, name.name)) {
      Result<DocumentPtr> made = co_await createApplied(context, kind, name, patch);
      if (made || made.error().reason != Reason::AlreadyExists) co_return made;  // made meanwhile: apply to it
    }
    Change change = [this, &context, &kind, subresource, patch](const json::object& current) -> Result<json::object> {
      json::object before = current;
      makeObjectAt(before, {"metadata"}).erase("resourceVersion");
      return api::apply(kind, before, patch, {context.manager, subresource, clock_.now()}, context.force);
    };
    Result<DocumentPtr> done = co_await modify(context, kind, std::move(name), std::move(change), subresource, true);
    co_return done;
  }
  bool reported = false;
  Change change = [&context, &kind, type, patch = std::move(patch), reported](const json::object& current) mutable -> Result<json::object> {
    json::object before = current;
    // the patch's own resourceVersion is a precondition; the current one is not
    makeObjectAt(before, {"metadata"}).erase("resourceVersion");
    Result<json::object> patched = type == PatchType::Json    ? api::applyJsonPatch(current, patch)
                                   : type == PatchType::Merge ? api::applyMergePatch(before, patch)
                                                              : api::applyStrategicMergePatch(kind, before, patch);
    if (!patched) return patched.error();
    Result<api::Decoded> clean = api::conform(kind, *std::move(patched));
    if (!clean) return clean.error();
    if (!reported) {
      if (Result<void> fine = reportProblems(context, kind, clean->problems); !fine) return fine.error();
      reported = true;
    }
    if (type == PatchType::Json && metaText(clean->object, "resourceVersion") == metaText(current, "resourceVersion"))
      makeObjectAt(clean->object, {"metadata"}).erase("resourceVersion");
    return std::move(clean->object);
  };
  Result<DocumentPtr> done = co_await modify(context, kind, std::move(name), std::move(change), std::move(subresource));
  co_return done;
}

asio::awaitable<Result<Deleted>> Registry::removeComputed(Context& context, const api::Kind& kind, api::ObjectName name,
                                                          api::DeleteOptions options) {
  const Computed* made = computed(kind);
  const DocumentPtr current = made != nullptr ? made->get(name.ns, name.name) : nullptr;
  if (!current || !made->remove) co_return notFound(kind, name.name);
  if (Result<void> met = preconditions(kind, current->value, name.name, options); !met) co_return met.error();
  const Result<void> done = co_await made->remove(context, name.name);
  if (!done) co_return done.error();
  co_return Deleted{current, true};
}

asio::awaitable<Result<Deleted>> Registry::remove(Context& context, const api::Kind& kind, api::ObjectName name,
                                                  api::DeleteOptions options) {
  if (kind.isComputed) co_return co_await removeComputed(context, kind, std::move(name), std::move(options));
  const std::string key = keyOf(kind, kind.namespaced ? name.ns : "", name.name);
  for (int attempt = 1;; ++attempt) {
    const DocumentPtr current = store_.get(key);
    if (!current) co_return notFound(kind, name.name);
    const AdmissionRequest request{context.user, kind, "DELETE", name.ns, name.name};
    Result<void> admitted = co_await mutate(context, request, nullptr, &current->value);
    if (admitted) admitted = co_await validate(context, request, nullptr, &current->value);
    if (!admitted) co_return admitted.error();
    if (Result<void> met = preconditions(kind, current->value, name.name, options); !met) co_return met.error();

    json::object next = current->value;
    json::object& meta = makeObjectAt(next, {"metadata"});
    setPropagation(meta, options.propagationPolicy);
    const std::int64_t grace = graceFor(kind, next, options);
    const bool already = !metaText(next, "deletionTimestamp").empty();
    if (!already || grace < integerAt(next, {"metadata", "deletionGracePeriodSeconds"})) {
      meta["deletionTimestamp"] = rfc3339(clock_.now() + std::chrono::seconds(grace));
      meta["deletionGracePeriodSeconds"] = grace;
    }
    if (isNamespace(kind)) makeObjectAt(next, {"status"})["phase"] = "Terminating";
    const bool gone = integerAt(next, {"metadata", "deletionGracePeriodSeconds"}) == 0 && !hasFinalizers(next);
    if (context.dryRun) co_return Deleted{unstored(std::move(next)), gone};
    if (!gone && next == current->value) co_return Deleted{current, false};
    Mutation mutation{key, std::nullopt, current->revision};
    if (!gone) mutation.value = next;
    Result<Entry> entry = co_await commit(std::move(mutation));
    if (entry) co_return Deleted{gone ? unstored(std::move(next)) : entry->document, gone};
    if (entry.error().reason == Reason::NotFound) co_return notFound(kind, name.name);
    if (entry.error().reason != Reason::Conflict) co_return entry.error();
    if (attempt >= kTries) co_return staleObject(kind, name.name);
  }
}

namespace {

struct Refusal {
  Error error;
  std::optional<Wording> wording;
};

// A deletecollection under way; its workers share it.
struct Sweep {
  Registry& registry;
  Context& context;
  const api::Kind& kind;
  const api::DeleteOptions& options;
  const std::vector<DocumentPtr>& items;
  std::size_t next = 0;

  // Removes one after the other until nothing is left; the first refusal.
  asio::awaitable<std::optional<Refusal>> work() {
    std::optional<Refusal> refused;
    while (next < items.size()) {
      const json::object& item = items[next++]->value;
      api::ObjectName name{std::string(metaText(item, "namespace")), std::string(metaText(item, "name"))};
      Result<Deleted> done = co_await registry.remove(context, kind, std::move(name), options);
      std::optional<Wording> wording = std::exchange(context.wording, std::nullopt);  // before another worker sets it
      if (!done && done.error().reason != Reason::NotFound && !refused) refused = Refusal{done.error(), std::move(wording)};
    }
    co_return refused;
  }
};

}  // namespace

asio::awaitable<Result<ListPage>> Registry::removeAll(Context& context, const api::Kind& kind, ListOptions selection,
                                                      api::DeleteOptions options) {
  Result<ListPage> page = list(kind, selection);
  if (!page) co_return page;
  Sweep sweep{*this, context, kind, options, page->items};
  std::vector<asio::awaitable<std::optional<Refusal>>> workers;
  for (std::size_t i = 0; i < std::min(page->items.size(), kRemovalsAtOnce); ++i) workers.push_back(sweep.work());
  std::vector<std::optional<Refusal>> ends = co_await gather(std::move(workers));
  for (std::optional<Refusal>& refused : ends) {
    if (!refused) continue;
    context.wording = std::move(refused->wording);
    co_return std::move(refused->error);
  }
  co_return page;
}

asio::awaitable<Result<void>> Registry::bind(Context& context, api::ObjectName pod, std::string node) {
  const api::Kind& kind = *api::findKind("", "v1", "pods");
  const std::string key = keyOf(kind, pod.ns, pod.name);
  for (int attempt = 1;; ++attempt) {
    const DocumentPtr current = store_.get(key);
    if (!current) co_return notFound(kind, pod.name);
    const std::string bound(textAt(current->value, {"spec", "nodeName"}));
    const auto refuse = [&](const std::string& why) {
      return Error{.reason = Reason::Conflict,
                   .sentence = "Operation cannot be fulfilled on pods/binding " + quoted(pod.name) + ": " + why,
                   .about = {"", "pods/binding", pod.name, ""}};
    };
    if (!metaText(current->value, "deletionTimestamp").empty())
      co_return refuse("pod " + pod.name + " is being deleted, cannot be assigned to a host");
    if (!bound.empty()) co_return refuse("pod " + pod.name + " is already assigned to node " + quoted(bound));
    json::object next = current->value;
    makeObjectAt(next, {"spec"})["nodeName"] = node;
    json::array& conditions = [&]() -> json::array& {
      json::value& value = makeObjectAt(next, {"status"})["conditions"];
      return value.is_array() ? value.get_array() : value.emplace_array();
    }();
    for (auto it = conditions.begin(); it != conditions.end();)
      it = it->is_object() && textAt(it->get_object(), {"type"}) == "PodScheduled" ? conditions.erase(it) : it + 1;
    conditions.push_back(json::object{{"type", "PodScheduled"}, {"status", "True"}, {"lastTransitionTime", rfc3339(clock_.now())}});
    if (context.dryRun) co_return Result<void>();
    Mutation mutation{key, std::move(next), current->revision};
    Result<Entry> entry = co_await commit(std::move(mutation));
    if (entry) co_return Result<void>();
    if (entry.error().reason != Reason::Conflict || attempt >= kTries) co_return entry.error();
  }
}

}  // namespace podpass::server
