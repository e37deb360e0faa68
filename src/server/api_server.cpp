#include "server/api_server.h"

#include "base/log.h"
#include "base/text.h"
#include "server/access.h"
#include "server/documents.h"
#include "server/representation.h"
#include "server/resources.h"
#include "server/status.h"

namespace podpass::server {
namespace {

std::string warningHeader(std::string_view warning) {
  std::string escaped;
  for (char c : warning.substr(0, 256)) {
    if (c == '"' || c == '\\') escaped += '\\';
    if (static_cast<unsigned char>(c) >= 0x20) escaped += c;
  }
  return "299 - \"" + escaped + "\"";
}

}  // namespace

struct ApiServer::Parts {
  Parts(ApiServerOptions options, Registry& registry, const Admission& admission, const auth::Authenticator& authn,
        const auth::Authorizer& authz, const token::Issuer& issuer, const token::Verifier& verifier, const Snapshot<token::KeyRing>& ring,
        const Clock& clock)
      : authenticator(authn),
        authorizer(authz),
        documents(std::move(options.serverAddress), std::move(options.jwksUri), options.jwksMaxAge, registry.store(), issuer, ring,
                  stopping),
        tokenRequests({options.maxTokenLife, options.extendTokens}, registry, admission, issuer, verifier, clock, signers),
        reviews(verifier, authn.oidc(), authz, clock, signers),
        resources(registry, authz, tokenRequests, reviews, clock, stopping, nodeAccess, waiters) {}

  const auth::Authenticator& authenticator;
  const auth::Authorizer& authorizer;
  asio::thread_pool signers{std::max(1u, std::thread::hardware_concurrency())};
  asio::thread_pool waiters{16};
  std::atomic<bool> stopping = false;
  std::atomic<api::NodeAccess*> nodeAccess = nullptr;
  Documents documents;
  TokenRequests tokenRequests;
  Reviews reviews;
  Resources resources;

  asio::awaitable<http::Response> serve(const http::Request& request) {
    Result<auth::Authenticated> who = co_await authenticator.identify(request);
    if (!who) {
      log::info("request refused", {{"path", request.path}, {"err", log::chain(who.error())}});
      co_return failure(who.error());
    }
    Context context{.user = std::move(who->user)};
    context.warnings = std::move(who->warnings);
    if (Result<void> allowed = impersonate(authorizer, request, context.user); !allowed) co_return failure(allowed.error());
    RequestInfo info = parseRequest(request);
    if (info.isResource && info.resource.empty()) info.isResource = false;  // /apis/GROUP/VERSION itself
    const auth::Decision decision = authorizer.authorize(attributesOf(info, request, context.user));
    if (!decision.allowed) co_return failure(denied(info, context.user, decision.reason));
    if (!info.isResource) co_return documents.answer(request, info);
    http::Response response = co_await resources.answer(request, info, context);
    for (const std::string& warning : context.warnings) response.headers.add("Warning", warningHeader(warning));
    co_return response;
  }
};

ApiServer::ApiServer(ApiServerOptions options, Registry& registry, const Admission& admission, const auth::Authenticator& authenticator,
                     const auth::Authorizer& authorizer, const token::Issuer& issuer, const token::Verifier& verifier,
                     const Snapshot<token::KeyRing>& ring, const Clock& clock)
    : parts_(new Parts(std::move(options), registry, admission, authenticator, authorizer, issuer, verifier, ring, clock)) {}

ApiServer::~ApiServer() {
  parts_->signers.join();
  parts_->waiters.join();
}

void ApiServer::setNodeAccess(api::NodeAccess* access) { parts_->nodeAccess.store(access); }
void ApiServer::beginShutdown() { parts_->stopping.store(true); }

asio::awaitable<Result<json::object>> ApiServer::requestToken(Context& context, std::string ns, std::string account, json::object request) {
  Result<json::object> answer = co_await parts_->tokenRequests.answer(context, std::move(ns), std::move(account), std::move(request));
  co_return answer;
}

asio::awaitable<http::Response> ApiServer::handle(std::shared_ptr<const http::Request> request) {
  http::Response response = co_await parts_->serve(*request);
  if (!response.headers.has("cache-control")) response.headers.add("Cache-Control", "no-cache, private");
  const std::string_view audit = request->headers.find("audit-id");
  response.headers.add("Audit-Id", audit.empty() || audit.size() > 64 ? randomUuid() : std::string(audit));
  if (!response.stream && !response.takeOver) compress(*request, response);
  co_return response;
}

}  // namespace podpass::server
