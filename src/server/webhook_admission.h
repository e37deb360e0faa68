#pragma once

#include <map>
#include <mutex>
#include <set>
#include <string>

#include "base/snapshot.h"
#include "http/client.h"
#include "server/admission_review.h"
#include "server/context.h"
#include "store/store.h"

namespace podpass::server {

namespace asio = boost::asio;

// MutatingAdmissionWebhook and ValidatingAdmissionWebhook (spec api.md §11.1): asks the webhooks that are configured for a request.
// The configurations are compiled when they change and read as a snapshot. What a webhook does wrong costs its own timeout and its own
// failure policy. Webhook configurations and reviews are never sent to webhooks. Thread-safe; what it refers to outlives it.
class WebhookAdmission {
 public:
  // `store` holds the configurations that `objects` reads.
  WebhookAdmission(Store& store, const auth::ObjectReader& objects, http::Client& client);

  // There are no Endpoints: `clientConfig.service` NS/NAME is served at "127.0.0.1:8443". Its certificate must be for NAME.NS.svc.
  void registerService(const std::string& ns, const std::string& name, std::string authority);

  // The passes of one request over the mutating webhooks: when one changed the object, those before it that asked for it see it again.
  struct Mutation {
    std::shared_ptr<const WebhookSet> set;
    int round = 0;
    bool changed = false;                  // by any webhook: the plugins run again, and then the second round
    std::set<const Webhook*> called = {};  // reinvocable, and not yet due
    std::set<const Webhook*> due = {};     // to be asked in the second round
    json::object last = {};                // what the webhooks left behind
  };
  [[nodiscard]] Mutation begin() const;

  // False: no webhook's rules name the request, so that nothing need be awaited.
  [[nodiscard]] bool mutates(const AdmissionRequest& request) const;
  [[nodiscard]] bool validates(const AdmissionRequest& request) const;

  // One by one; patches are applied to `object` (null for DELETE). Their warnings, annotations and wording go into the context.
  asio::awaitable<Result<void>> mutate(Context& context, const AdmissionRequest& request, json::object* object, const json::object* before,
                                       Mutation& mutation) const;
  // All at once; the first refusal in order wins.
  asio::awaitable<Result<void>> validate(Context& context, const AdmissionRequest& request, Admitted admitted) const;

 private:
  asio::awaitable<Result<Verdict>> call(const Webhook& webhook, bool mutates, std::string uid, std::string review) const;
  asio::awaitable<Result<Verdict>> ask(const Webhook& webhook, bool mutates, const Context& context, const AdmissionRequest& request,
                                       Admitted admitted) const;
  Result<bool> selects(const Webhook& webhook, const AdmissionRequest& request, const Admitted& admitted) const;

  const auth::ObjectReader& objects_;
  http::Client& client_;
  mutable std::mutex mutex_;
  std::map<std::string, std::string> services_;  // "ns/name" → authority
  Snapshot<WebhookSet> webhooks_;
  std::vector<std::unique_ptr<Subscription>> subscriptions_;  // last: they end first
};

}  // namespace podpass::server
