#include "server/local_client.h"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/use_future.hpp>

#include "base/text.h"
#include "server/request_info.h"
#include "server/status.h"

namespace podpass::server {
namespace {

class Watch final : public api::Watching {
 public:
  explicit Watch(std::unique_ptr<Subscription> subscription) : subscription_(std::move(subscription)) {}

 private:
  std::unique_ptr<Subscription> subscription_;
};

struct Selection {
  api::LabelSelector labels;
  api::FieldSelector fields;
  [[nodiscard]] bool holds(const DocumentPtr& document) const {
    return document && labels.matches(document->value) && fields.matches(document->value);
  }
};

Result<Selection> parse(const api::Kind& kind, const api::Selectors& selectors) {
  Result<api::LabelSelector> labels = api::LabelSelector::parse(selectors.labels);
  if (!labels) return labels.error();
  Result<api::FieldSelector> fields = api::FieldSelector::parse(kind, selectors.fields);
  if (!fields) return fields.error();
  return Selection{*std::move(labels), *std::move(fields)};
}

template <class T>
asio::awaitable<void> keep(asio::awaitable<T> work, T& result) {
  result = co_await std::move(work);
}

// Blocks. One kind of coroutine is spawned, whatever `work` gives: each costs two seconds of compiling.
template <class T>
T resultOf(const asio::any_io_executor& executor, asio::awaitable<T> work) {
  T result;
  asio::co_spawn(executor, keep(std::move(work), result), asio::use_future).get();
  return result;
}

}  // namespace

LocalClient::~LocalClient() { pool_.join(); }

Result<void> LocalClient::authorize(const api::Kind& kind, std::string_view verb, const api::ObjectName& name, std::string_view subresource,
                                    const std::string& fields) const {
  auth::Attributes asked{.user = user_, .verb = std::string(verb)};
  asked.group = kind.group;
  asked.version = kind.version;
  asked.resource = kind.plural;
  asked.subresource = subresource;
  asked.ns = name.ns;
  asked.name = name.name.empty() ? selectedName(fields) : name.name;
  asked.fieldSelector = fields;
  const auth::Decision decision = authorizer_.authorize(asked);
  if (decision.allowed) return {};
  return forbidden(
      kind, name.name,
      "User " + quoted(user_.name) + " cannot " + std::string(verb) + " it" + (decision.reason.empty() ? "" : ": " + decision.reason));
}

Result<DocumentPtr> LocalClient::get(const api::Kind& kind, const api::ObjectName& name) {
  if (Result<void> allowed = authorize(kind, "get", name, ""); !allowed) return allowed.error();
  return registry_.read(kind, name.ns, name.name);
}

Result<api::Listing> LocalClient::list(const api::Kind& kind, const std::string& ns, const api::Selectors& selectors) {
  if (Result<void> allowed = authorize(kind, "list", {ns, ""}, "", selectors.fields); !allowed) return allowed.error();
  Result<Selection> selection = parse(kind, selectors);
  if (!selection) return selection.error();
  Result<ListPage> page = registry_.list(kind, ListOptions{ns, selection->labels, selection->fields, 0, "", 0});
  if (!page) return page.error();
  return api::Listing{std::move(page->items), page->revision};
}

Result<DocumentPtr> LocalClient::create(const api::Kind& kind, const std::string& ns, json::object object) {
  if (Result<void> allowed = authorize(kind, "create", {ns, ""}, ""); !allowed) return allowed.error();
  Context context{.user = user_};
  return resultOf(pool_.get_executor(), registry_.create(context, kind, ns, std::move(object)));
}

Result<DocumentPtr> LocalClient::update(const api::Kind& kind, const api::ObjectName& name, json::object object) {
  return updateSubresource(kind, name, "", std::move(object));
}

Result<DocumentPtr> LocalClient::updateStatus(const api::Kind& kind, const api::ObjectName& name, json::object object) {
  return updateSubresource(kind, name, "status", std::move(object));
}

Result<DocumentPtr> LocalClient::updateSubresource(const api::Kind& kind, const api::ObjectName& name, std::string_view subresource,
                                                   json::object object) {
  if (Result<void> allowed = authorize(kind, "update", name, subresource); !allowed) return allowed.error();
  Context context{.user = user_};
  return resultOf(pool_.get_executor(), registry_.update(context, kind, name, std::move(object), std::string(subresource)));
}

Result<DocumentPtr> LocalClient::mergePatch(const api::Kind& kind, const api::ObjectName& name, json::object patch,
                                            std::string_view subresource) {
  if (Result<void> allowed = authorize(kind, "patch", name, subresource); !allowed) return allowed.error();
  Context context{.user = user_};
  return resultOf(pool_.get_executor(),
                  registry_.patch(context, kind, name, PatchType::Merge, json::value(std::move(patch)), std::string(subresource)));
}

Result<void> LocalClient::remove(const api::Kind& kind, const api::ObjectName& name, const api::DeleteOptions& options) {
  if (Result<void> allowed = authorize(kind, "delete", name, ""); !allowed) return allowed.error();
  Context context{.user = user_};
  Result<Deleted> done = resultOf(pool_.get_executor(), registry_.remove(context, kind, name, options));
  if (!done) return done.error();
  return {};
}

Result<void> LocalClient::removeAll(const api::Kind& kind, const std::string& ns, const api::DeleteOptions& options) {
  if (Result<void> allowed = authorize(kind, "deletecollection", {ns, ""}, ""); !allowed) return allowed.error();
  Context context{.user = user_};
  ListOptions all;
  all.ns = ns;
  asio::awaitable<Result<ListPage>> work = registry_.removeAll(context, kind, std::move(all), options);
  const Result<ListPage> done = resultOf(asio::make_strand(pool_.get_executor()), std::move(work));
  if (!done) return done.error();
  return {};
}

Result<json::object> LocalClient::createSubresource(const api::Kind& kind, const api::ObjectName& name, std::string_view subresource,
                                                    json::object body) {
  if (Result<void> allowed = authorize(kind, "create", name, subresource); !allowed) return allowed.error();
  Context context{.user = user_};
  if (subresource == "token") return resultOf(pool_.get_executor(), server_.requestToken(context, name.ns, name.name, std::move(body)));
  if (subresource != "binding") return noSuchResource();
  Result<void> bound = resultOf(pool_.get_executor(), registry_.bind(context, name, std::string(textAt(body, {"target", "name"}))));
  if (!bound) return bound.error();
  return json::object{{"kind", "Status"}, {"status", "Success"}};
}

Result<std::unique_ptr<api::Watching>> LocalClient::watch(const api::Kind& kind, const std::string& ns, const api::Selectors& selectors,
                                                          std::uint64_t since, std::function<void(const api::WatchEvent&)> changed) {
  if (Result<void> allowed = authorize(kind, "watch", {ns, ""}, "", selectors.fields); !allowed) return allowed.error();
  Result<Selection> selection = parse(kind, selectors);
  if (!selection) return selection.error();
  Listener listener = [selection = *std::move(selection), changed = std::move(changed)](const Change& change) {
    using Type = api::WatchEvent::Type;
    const bool was = selection.holds(change.previous);
    const bool is = change.type != Change::Type::Deleted && selection.holds(change.entry.document);
    if (is)
      changed({was ? Type::Modified : Type::Added, change.entry.document});
    else if (was)
      changed({Type::Deleted, change.entry.document});
  };
  auto subscription = registry_.store().watch(Registry::prefixOf(kind, ns), since, std::move(listener));
  if (!subscription) return subscription.error();
  return std::unique_ptr<api::Watching>(std::make_unique<Watch>(*std::move(subscription)));
}

}  // namespace podpass::server
