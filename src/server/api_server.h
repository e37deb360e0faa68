#pragma once

#include <boost/asio/thread_pool.hpp>
#include <memory>
#include <string>

#include "api/node_access.h"
#include "auth/authenticator.h"
#include "auth/authorizer.h"
#include "http/http.h"
#include "server/audit.h"
#include "server/registry.h"
#include "token/inventory.h"
#include "token/issuer.h"
#include "token/verifier.h"

// The request pipeline: authentication, authorization, admission, registry; and the documents beside the kinds.
namespace podpass::server {

struct ApiServerOptions {
  std::string serverAddress;              // "127.0.0.1:6443", told in GET /api
  std::string jwksUri;                    // in the discovery documents
  std::vector<std::string> issuers = {};  // whose discovery documents are served, the first at the root; empty: the one that signs
  std::chrono::seconds maxTokenLife{0};   // --service-account-max-token-expiration; 0: no limit
  bool extendTokens = true;               // --service-account-extend-token-expiration
  std::chrono::seconds extendedLife{31'536'000};
  // How long relying parties may keep the issuers' documents from now on.
  std::function<std::chrono::seconds()> jwksMaxAge = [] { return std::chrono::seconds(3600); };
  std::function<std::string()> moreMetrics = [] { return std::string(); };  // in Prometheus' text format
  bool signsElsewhere = false;                                              // tokens: a signature is waited for, not computed
  AuditLog* audit = nullptr;                                                // outlives the server; null: nothing is written
  const token::Inventory* inventory = nullptr;                              // for metrics; outlives the server
};

// Everything it refers to outlives it. handle() is called on the connections' event loops and is thread-safe.
class ApiServer {
 public:
  ApiServer(ApiServerOptions options, Registry& registry, const Admission& admission, const auth::Authenticator& authenticator,
            const auth::Authorizer& authorizer, const token::Issuer& issuer, const token::Verifier& verifier,
            const Snapshot<token::KeyRing>& ring, const Clock& clock);
  ~ApiServer();
  ApiServer(const ApiServer&) = delete;
  ApiServer& operator=(const ApiServer&) = delete;

  asio::awaitable<http::Response> handle(std::shared_ptr<const http::Request> request);
  // To anybody, on a listener of their own: the issuers' discovery documents, the keys and /healthz; 404 for everything else.
  [[nodiscard]] http::Response discover(const http::Request& request);
  // The node's side of exec, attach, port-forward and logs; null until the node agent runs.
  void setNodeAccess(api::NodeAccess* access);
  // From now on /readyz answers 500 and watches end.
  void beginShutdown();
  // POST …/serviceaccounts/NAME/token, for callers in this process too.
  asio::awaitable<Result<json::object>> requestToken(Context& context, std::string ns, std::string account, json::object request);

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace podpass::server
