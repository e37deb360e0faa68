#include "server/registry.h"

#include <boost/asio/async_result.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "base/text.h"
#include "server/status.h"
#include "server/stored_object.h"

// Reading, and what all who write share; they are in registry_create.cpp, registry_update.cpp, registry_remove.cpp and registry_bind.cpp.
namespace podpass::server {
namespace {

constexpr std::string_view kRoot = "/registry/";

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

}  // namespace podpass::server
