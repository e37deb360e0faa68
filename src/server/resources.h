#pragma once

#include <atomic>

#include "api/node_access.h"
#include "server/representation.h"
#include "server/request_info.h"
#include "server/reviews.h"
#include "server/token_request.h"

namespace podpass::server {

// The verbs on the kinds and their subresources: decodes bodies and options, lets the registry do it, shows the result as the client asked
// (spec api.md §3, §4). Authentication and authorization lie behind the caller. Thread-safe; everything it refers to outlives it.
class Resources {
 public:
  Resources(Registry& registry, const auth::Authorizer& authorizer, TokenRequests& tokenRequests, Reviews& reviews, const Clock& clock,
            const std::atomic<bool>& stopping, const std::atomic<api::NodeAccess*>& nodeAccess, asio::thread_pool& waiters)
      : registry_(registry),
        authorizer_(authorizer),
        tokenRequests_(tokenRequests),
        reviews_(reviews),
        clock_(clock),
        stopping_(stopping),
        nodeAccess_(nodeAccess),
        waiters_(waiters) {}
  asio::awaitable<http::Response> answer(const http::Request& request, const RequestInfo& info, Context& context);

 private:
  asio::awaitable<http::Response> patch(const http::Request& request, const RequestInfo& info, Context& context, const Representation& as);
  asio::awaitable<http::Response> remove(const http::Request& request, const RequestInfo& info, Context& context, const Representation& as);
  asio::awaitable<http::Response> removeCollection(const http::Request& request, const RequestInfo& info, Context& context,
                                                   const Representation& as);
  asio::awaitable<http::Response> subresource(const http::Request& request, const RequestInfo& info, Context& context,
                                              const Representation& as);
  Result<void> escalation(const Context& context, const api::Kind& kind, const json::object& object) const;

  Registry& registry_;
  const auth::Authorizer& authorizer_;
  TokenRequests& tokenRequests_;
  Reviews& reviews_;
  const Clock& clock_;
  const std::atomic<bool>& stopping_;
  const std::atomic<api::NodeAccess*>& nodeAccess_;
  asio::thread_pool& waiters_;  // for what blocks or takes long: calls to the node, kinds that are computed
};

}  // namespace podpass::server
