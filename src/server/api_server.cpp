#include "server/api_server.h"

#include "base/log.h"
#include "base/text.h"
#include "server/access.h"
#include "server/documents.h"
#include "server/metrics.h"
#include "server/oidc_discovery.h"
#include "server/representation.h"
#include "server/resources.h"
#include "server/status.h"

namespace podpass::server {
namespace {

constexpr std::size_t kWarningBytes = 4096;  // all of them; clients limit their headers
constexpr std::size_t kWarningLength = 256;
constexpr std::size_t kRemoteSigners = 16;  // threads that wait for signatures which are made elsewhere

std::string warningHeader(std::string_view warning) {
  std::string escaped;
  for (char c : warning) {
    if (c == '"' || c == '\\') escaped += '\\';
    if (static_cast<unsigned char>(c) >= 0x20) escaped += c;
  }
  return "299 - \"" + escaped + "\"";
}

// Each once. When they are too many, long ones are cut, and what then does not fit is left out.
void addWarnings(http::Response& response, const std::vector<std::string>& warnings) {
  std::size_t all = 0, used = 0;
  std::set<std::string_view> seen;
  for (const std::string& warning : warnings) all += warning.size();
  for (std::string_view warning : warnings) {
    if (!seen.insert(warning).second) continue;
    if (all > kWarningBytes && warning.size() > kWarningLength) {
      std::size_t cut = kWarningLength;
      while (cut > 0 && (static_cast<unsigned char>(warning[cut]) & 0xC0) == 0x80) --cut;  // not inside a character
      warning = warning.substr(0, cut);
    }
    if (used + warning.size() > kWarningBytes) return;
    used += warning.size();
    response.headers.add("Warning", warningHeader(warning));
  }
}

// What a request for `path` in the place of the request's own asks for.
RequestInfo standingFor(std::string_view path, const http::Request& request) {
  http::Request standing;
  standing.method = request.method;
  standing.path = path;
  return parseRequest(standing);
}

// What is known of a request once it is answered.
struct Exchange {
  RequestInfo info;
  Context context;
  bool authenticated = false;
  std::optional<auth::User> impersonator = {};
};

}  // namespace

struct ApiServer::Parts {
  Parts(ApiServerOptions options, Registry& registry, const Admission& admission, const auth::Authenticator& authn,
        const auth::Authorizer& authz, const token::Issuer& issuer, const token::Verifier& tokens, const Snapshot<token::KeyRing>& ring,
        const Clock& time)
      : clock(time),
        store(registry.store()),
        verifier(tokens),
        audit(options.audit),
        moreMetrics(std::move(options.moreMetrics)),
        inventory(options.inventory),
        authenticator(authn),
        authorizer(authz),
        documents(std::move(options.serverAddress), registry.store(), stopping),
        discovery(options.issuers.empty() ? std::vector{issuer.url()} : options.issuers, std::move(options.jwksUri),
                  std::move(options.jwksMaxAge), ring, tokens.revocations()),
        remoteSigners(options.signsElsewhere ? std::make_unique<asio::thread_pool>(kRemoteSigners) : nullptr),
        tokenRequests({options.maxTokenLife, options.extendTokens, options.extendedLife}, registry, admission, issuer, tokens, time,
                      remoteSigners ? *remoteSigners : signers),
        reviews(tokens, authn.oidc(), authz, time, signers),
        resources(registry, authz, tokenRequests, reviews, time, stopping, nodeAccess, waiters) {}

  const Clock& clock;
  const Store& store;
  const token::Verifier& verifier;
  AuditLog* const audit;
  const std::function<std::string()> moreMetrics;
  const token::Inventory* const inventory;
  const auth::Authenticator& authenticator;
  const auth::Authorizer& authorizer;
  asio::thread_pool signers{std::max(1u, std::thread::hardware_concurrency())};
  asio::thread_pool waiters{16};
  std::atomic<bool> stopping = false;
  std::atomic<api::NodeAccess*> nodeAccess = nullptr;
  Metrics metrics;
  Documents documents;
  OidcDiscovery discovery;
  std::unique_ptr<asio::thread_pool> remoteSigners;  // a slow token or signer must not hold up who verifies
  TokenRequests tokenRequests;
  Reviews reviews;
  Resources resources;

  asio::awaitable<http::Response> serve(const http::Request& request, Exchange& exchange) {
    const OidcDiscovery::Document document = discovery.at(request);
    const bool isDocument = document != OidcDiscovery::Document::None;
    exchange.info = isDocument ? standingFor(OidcDiscovery::pathOf(document), request) : parseRequest(request);
    RequestInfo& info = exchange.info;
    if (info.isResource && info.resource.empty()) info.isResource = false;  // /apis/GROUP/VERSION itself
    const SteadyTime asking = clock.steady();
    Result<auth::Authenticated> who = co_await authenticator.identify(request);
    const auto took = std::chrono::duration_cast<std::chrono::nanoseconds>(clock.steady() - asking);
    if (!who) {
      log::info("request refused", {{"path", request.path}, {"err", log::chain(who.error())}});
      metrics.countAuthentication(who.error().reason == Reason::Unauthorized ? Metrics::Attempt::Failure : Metrics::Attempt::Error, took,
                                  "");
      if (who.error().about.kind == "secrets")
        exchange.context.annotations["authentication.k8s.io/legacy-token-invalidated"] = who.error().about.name;
      Error unknown = who.error();
      unknown.about = {};
      co_return failure(unknown);
    }
    metrics.countAuthentication(Metrics::Attempt::Success, took, who->user.name);
    exchange.authenticated = true;
    Context& context = exchange.context;
    context.user = std::move(who->user);
    context.warnings = std::move(who->warnings);
    context.annotations = std::move(who->annotations);
    if (request.headers.has("impersonate-user") || request.headers.has("impersonate-group")) {
      auth::User asked = context.user;
      if (Result<void> allowed = impersonate(authorizer, request, asked); !allowed) co_return failure(allowed.error());
      exchange.impersonator = std::exchange(context.user, std::move(asked));
    }
    auth::Attributes asked = attributesOf(info, request, std::move(context.user));  // lent: copying all it holds is felt
    if (isDocument) asked.verb = "get";  // who may read it may ask for its headers, and what else may be done: nothing
    const auth::Decision decision = authorizer.authorize(asked);
    context.user = std::move(asked.user);
    if (audit != nullptr) {
      context.annotations["authorization.k8s.io/decision"] = decision.allowed ? "allow" : "forbid";
      context.annotations["authorization.k8s.io/reason"] = decision.reason;
    }
    if (!decision.allowed) co_return failure(denied(info, context.user, decision.reason));
    if (isDocument) co_return discovery.answer(document, request);
    if (info.isResource) co_return co_await resources.answer(request, info, context);
    if (info.path != "/metrics") co_return documents.answer(request, info);
    if (request.method != "GET" && request.method != "HEAD") co_return failure(methodNotAllowed());
    http::Response response =
        textResponse(200, metrics.text(verifier.uses(), store, audit != nullptr ? audit->dropped() : 0, inventory) + moreMetrics());
    co_return response;
  }

  // A stream counts as running until the last copy of its coroutine's function is gone.
  void holdStream(http::Response& response, const RequestInfo& info) {
    if (!response.stream) return;
    response.stream = [inner = std::move(response.stream), running = metrics.longRunning(info)](http::BodyWriter& out) {
      return inner(out);
    };
  }

  void writeAudit(const http::Request& request, const http::Response& response, Exchange& exchange, const std::string& id,
                  WallTime received) {
    AuditEvent event{
        .id = id, .request = &request, .info = &exchange.info, .response = &response, .received = received, .answered = clock.now()};
    if (exchange.authenticated) event.user = exchange.impersonator ? &*exchange.impersonator : &exchange.context.user;
    if (exchange.impersonator) event.impersonated = exchange.context.user;
    event.annotations = std::move(exchange.context.annotations);
    audit->write(toJson(event));
  }
};

ApiServer::ApiServer(ApiServerOptions options, Registry& registry, const Admission& admission, const auth::Authenticator& authenticator,
                     const auth::Authorizer& authorizer, const token::Issuer& issuer, const token::Verifier& verifier,
                     const Snapshot<token::KeyRing>& ring, const Clock& clock)
    : parts_(new Parts(std::move(options), registry, admission, authenticator, authorizer, issuer, verifier, ring, clock)) {}

ApiServer::~ApiServer() {
  if (parts_->remoteSigners) parts_->remoteSigners->join();
  parts_->signers.join();
  parts_->waiters.join();
}

void ApiServer::setNodeAccess(api::NodeAccess* access) { parts_->nodeAccess.store(access); }
void ApiServer::beginShutdown() { parts_->stopping.store(true); }

asio::awaitable<Result<json::object>> ApiServer::requestToken(Context& context, std::string ns, std::string account, json::object request) {
  if (Result<void> fine = parts_->tokenRequests.prepare(context.user, ns, account, request); !fine) co_return fine.error();
  Result<json::object> answer = co_await parts_->tokenRequests.answer(context, std::move(ns), std::move(account), std::move(request));
  co_return answer;
}

http::Response ApiServer::discover(const http::Request& request) {
  const SteadyTime started = parts_->clock.steady();
  const OidcDiscovery::Document document = parts_->discovery.at(request);
  const bool published = document == OidcDiscovery::Document::Configuration || document == OidcDiscovery::Document::Jwks;
  const bool asksHealth = request.path == "/healthz";
  const RequestInfo info = standingFor(published ? OidcDiscovery::pathOf(document) : asksHealth ? "/healthz" : "/", request);
  http::Response response = published    ? parts_->discovery.answer(document, request)
                            : asksHealth ? parts_->documents.answer(request, info)
                                         : failure(noSuchResource());
  if (!response.headers.has("cache-control")) response.headers.add("Cache-Control", "no-cache, private");
  parts_->metrics.count(info, response.status, parts_->clock.steady() - started, false);
  return response;
}

asio::awaitable<http::Response> ApiServer::handle(std::shared_ptr<const http::Request> request) {
  const SteadyTime started = parts_->clock.steady();
  const WallTime received = parts_->audit != nullptr ? parts_->clock.now() : WallTime();
  Exchange exchange;
  http::Response response = co_await parts_->serve(*request, exchange);
  addWarnings(response, exchange.context.warnings);
  if (!response.headers.has("cache-control")) response.headers.add("Cache-Control", "no-cache, private");
  const std::string_view given = request->headers.find("audit-id");
  std::string id = given.empty() || given.size() > 64 ? randomUuid() : std::string(given);
  const bool streams = response.stream || response.takeOver;
  parts_->metrics.count(exchange.info, response.status, parts_->clock.steady() - started, streams);
  parts_->holdStream(response, exchange.info);
  if (parts_->audit != nullptr) parts_->writeAudit(*request, response, exchange, id, received);
  response.headers.add("Audit-Id", std::move(id));
  if (!streams) compress(*request, response);
  co_return response;
}

}  // namespace podpass::server
