#pragma once

#include <atomic>
#include <boost/asio/awaitable.hpp>

#include "api/client.h"
#include "api/selector.h"
#include "auth/authorizer.h"
#include "auth/user.h"
#include "server/admission.h"
#include "server/context.h"
#include "store/store.h"

// What Kubernetes calls the generic registry: create, read, update, patch and delete for every kind, over the store, with the rules that
// are the same for all (metadata, preconditions, finalizers, grace, dry run). Per-kind rules come from the kind's table and from admission.
namespace podpass::server {

namespace asio = boost::asio;

class WebhookAdmission;

struct ListOptions {
  std::string ns;  // "" = all namespaces, or cluster-scoped
  api::LabelSelector labels;
  api::FieldSelector fields;
  std::size_t limit = 0;
  std::string continueToken;
  std::uint64_t atRevision = 0;  // exactly this; 0 = now
};

struct ListPage {
  std::vector<DocumentPtr> items;
  std::uint64_t revision = 0;
  std::string continueToken;
  std::optional<std::uint64_t> remaining;
  std::vector<std::string> warnings = {};  // for the client
};

struct Deleted {
  DocumentPtr object;  // the last state, or the object that is now being deleted
  bool gone = false;   // removed from the store
};

// Where the objects of a kind come from that is made when somebody asks (api::Kind::isComputed). Thread-safe; `list` and `get` may take
// milliseconds, so no event loop calls them. Documents begin with kind and apiVersion.
struct Computed {
  std::function<Result<ListPage>(const ListOptions& options)> list;
  std::function<DocumentPtr(const std::string& ns, const std::string& name)> get;                     // null: there is none
  std::function<asio::awaitable<Result<void>>(Context& context, std::string name)> remove = nullptr;  // for kinds that allow it
};

enum class PatchType { Json, Merge, StrategicMerge, Apply };

// Thread-safe. Coroutines resume on their caller's executor.
class Registry final : public auth::ObjectReader {
 public:
  Registry(Store& store, const Clock& clock);

  // Admission reads objects, so it is made after the registry.
  void setAdmission(const Admission* admission) { admission_ = admission; }
  // Null: no webhooks are called. May be set while requests are served, once.
  void setWebhooks(const WebhookAdmission* webhooks) { webhooks_.store(webhooks); }

  // Adds to objects that are read or listed what is not stored of them. Takes milliseconds, as Computed does.
  using Supplement = std::function<void(std::vector<json::object*> objects)>;
  // Both before anything is served.
  void setSupplement(const api::Kind& kind, Supplement supplement) { supplements_[&kind] = std::move(supplement); }
  void setComputed(const api::Kind& kind, Computed objects) { computed_[&kind] = std::move(objects); }

  // Whether read and list take milliseconds.
  [[nodiscard]] bool isSlow(const api::Kind& kind) const { return kind.isComputed || supplements_.contains(&kind); }
  [[nodiscard]] Result<DocumentPtr> read(const api::Kind& kind, const std::string& ns, const std::string& name) const;
  [[nodiscard]] Result<ListPage> list(const api::Kind& kind, const ListOptions& options) const;

  // `applied`: the object's managedFields are those of a server-side apply, not the client's.
  asio::awaitable<Result<DocumentPtr>> create(Context& context, const api::Kind& kind, std::string ns, json::object object,
                                              bool applied = false);
  asio::awaitable<Result<DocumentPtr>> update(Context& context, const api::Kind& kind, api::ObjectName name, json::object object,
                                              std::string subresource);
  asio::awaitable<Result<DocumentPtr>> patch(Context& context, const api::Kind& kind, api::ObjectName name, PatchType type,
                                             json::value patch, std::string subresource);  // Apply makes an object that is missing
  asio::awaitable<Result<Deleted>> remove(Context& context, const api::Kind& kind, api::ObjectName name, api::DeleteOptions options);
  // Removes what is selected, 64 objects at a time, so that they share the store's group commits, and gives what was selected. Goes on past
  // what is refused; the first refusal is the error then. The caller's executor runs one thing at a time: all share the context.
  asio::awaitable<Result<ListPage>> removeAll(Context& context, const api::Kind& kind, ListOptions selection, api::DeleteOptions options);
  // Binds a pod to a node (POST …/binding).
  asio::awaitable<Result<void>> bind(Context& context, api::ObjectName pod, std::string node);

  // Lets the webhooks see what is written to a subresource that stores nothing of it (TokenRequest, Binding, PodExecOptions).
  asio::awaitable<Result<void>> admitBody(Context& context, AdmissionRequest request, json::object& body);

  // auth::ObjectReader
  [[nodiscard]] DocumentPtr get(const api::Kind& kind, const std::string& ns, const std::string& name) const override;
  [[nodiscard]] std::vector<DocumentPtr> list(const api::Kind& kind, const std::string& ns) const override;
  [[nodiscard]] std::uint64_t version(const api::Kind& kind) const override;

  [[nodiscard]] Store& store() { return store_; }
  [[nodiscard]] const Store& store() const { return store_; }
  static std::string prefixOf(const api::Kind& kind, const std::string& ns);

 private:
  [[nodiscard]] const Computed* computed(const api::Kind& kind) const;
  void supplement(const api::Kind& kind, std::span<DocumentPtr> documents) const;
  asio::awaitable<Result<Deleted>> removeComputed(Context& context, const api::Kind& kind, api::ObjectName name,
                                                  api::DeleteOptions options);
  using Change = std::function<Result<json::object>(const json::object& current)>;
  asio::awaitable<Result<DocumentPtr>> modify(Context& context, const api::Kind& kind, api::ObjectName name, Change change,
                                              std::string subresource, bool applied = false);
  asio::awaitable<Result<json::object>> prepareUpdate(Context& context, const api::Kind& kind, const json::object& before,
                                                      json::object next, std::string subresource, bool applied);
  // The mutating and the validating half of admission: plugins, then webhooks. `object` is null for DELETE, `before` for CREATE.
  asio::awaitable<Result<void>> mutate(Context& context, const AdmissionRequest& request, json::object* object, const json::object* before);
  asio::awaitable<Result<void>> validate(Context& context, const AdmissionRequest& request, const json::object* object,
                                         const json::object* before);
  asio::awaitable<Result<DocumentPtr>> createApplied(Context& context, const api::Kind& kind, const api::ObjectName& name,
                                                     const json::value& config);
  asio::awaitable<Result<Entry>> commit(Mutation mutation);

  Store& store_;
  const Clock& clock_;
  const Admission* admission_ = nullptr;
  std::atomic<const WebhookAdmission*> webhooks_ = nullptr;
  std::map<const api::Kind*, Computed> computed_;
  std::map<const api::Kind*, Supplement> supplements_;
  std::map<std::string, std::atomic<std::uint64_t>, std::less<>> versions_;  // by qualified plural: the revision of the last change
  std::unique_ptr<Subscription> subscription_;                               // last: it writes versions_
};

// Unknown and duplicate fields as fieldValidation asks: an error (Strict), warnings (Warn) or nothing.
Result<void> reportProblems(Context& context, const api::Kind& kind, const std::vector<std::string>& problems);

}  // namespace podpass::server
