#include "cli/control_plane.h"

#include <unistd.h>

#include <algorithm>
#include <boost/asio/ip/address.hpp>
#include <boost/asio/post.hpp>
#include <charconv>

#include "api/kinds.h"
#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "server/issued_tokens.h"
#include "server/token_issuers.h"

namespace podpass::cli {
namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;

constexpr const char* kDiscovery = "issuerDocuments";  // in endpoints.json
constexpr http::Limits kDiscoveryLimits{
    .body = 1u << 10, .header = 16u << 10, .connections = 512, .headerTime = 10s, .idle = 60s};  // anybody may come
constexpr std::size_t kHistory = 10'000;                                                         // changes kept for watches

std::string kubeconfig(const std::string& url, const std::string& caPem, const crypto::IssuedCertificate& admin) {
  return "apiVersion: v1\nkind: Config\nclusters:\n- name: podpass\n  cluster:\n    server: " + url +
         "\n    certificate-authority-data: " + base64Encode(caPem) +
         "\ncontexts:\n- name: podpass\n  context:\n    cluster: podpass\n    user: admin\ncurrent-context: podpass\nusers:\n- name: "
         "admin\n  user:\n"
         "    client-certificate-data: " +
         base64Encode(admin.certificatePem) + "\n    client-key-data: " + base64Encode(admin.keyPem.reveal()) + "\n";
}

// As kube-apiserver takes it, and in seconds; 0: no limit. What is wrong with it, or "".
std::string takeMaxTokenLife(const std::string& text, std::int64_t& seconds) {
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), seconds);
  if (failed != std::errc() || end != text.data() + text.size()) {
    const Result<std::chrono::seconds> duration = parseDuration(text);
    if (!duration) return duration.error().sentence + ": " + duration.error().fix;
    seconds = duration->count();
  }
  if (seconds != 0 && (seconds < 3600 || seconds > std::int64_t{1} << 32))
    return "the service-account-max-token-expiration must be between 1 hour and 2^32 seconds";
  return {};
}

bool isEverywhere(const std::string& bind) { return bind == "0.0.0.0" || bind == "::"; }

// Where this machine reaches what listens there.
std::string hostOf(const std::string& bind) { return isEverywhere(bind) ? "127.0.0.1" : bind; }

std::string urlOf(const std::string& host, unsigned short port) {
  return "https://" + (host.find(':') != std::string::npos ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

// On the port of the options; for 0 on the last run's (0: none is known), when it is free.
Result<std::unique_ptr<http::Server>> listenOn(const http::ServerOptions& options, unsigned short lastPort, const http::Handler& handler) {
  Result<void> started = Error{};
  std::unique_ptr<http::Server> listener;
  for (const unsigned short port : {options.port == 0 ? lastPort : options.port, options.port}) {
    if (started) break;
    http::ServerOptions there = options;
    there.port = port;
    listener = http::makeServer(std::move(there), handler);
    started = listener->start();
  }
  if (!started) return started.error();
  return listener;
}

// A request waits for the server below; null: it failed to start.
http::Handler waitingFor(const std::shared_future<server::ApiServer*>& api, bool discoversOnly) {
  return [api, discoversOnly](std::shared_ptr<const http::Request> request) -> http::asio::awaitable<http::Response> {
    server::ApiServer* const server = api.get();
    http::Response response;
    if (server == nullptr)
      response.status = 503;
    else if (discoversOnly)
      response = server->discover(*request);
    else
      response = co_await server->handle(std::move(request));
    co_return response;
  };
}

}  // namespace

ControlPlane::ControlPlane(ControlPlaneFlags flags, const Clock& clock, ControlPlaneSeams seams)
    : flags_(std::move(flags)),
      clock_(clock),
      tokenClock_(seams.tokens != nullptr ? *seams.tokens : clock),
      around_(std::move(seams.around)),
      directory_(fs::absolute(flags_.dataDir)) {}

ControlPlane::~ControlPlane() {
  if (!serving_) ready_.set_value(nullptr);  // a request may wait for it, and the listener for the request
  stop();
}

Result<void> ControlPlane::start() {
  if (flags_.issuerPort < 0 && !flags_.issuerBind.empty())
    return Error{Reason::BadRequest, "--issuer-bind " + flags_.issuerBind + " is the address of a listener that nobody asked for",
                 "give --issuer-port as well"};
  if (Result<void> made = makeDirectories(directory_, 0700); !made) return made;
  for (const auto step : {&ControlPlane::openStore, &ControlPlane::listen, &ControlPlane::assemble, &ControlPlane::bootstrap,
                          &ControlPlane::serve, &ControlPlane::startControllers, &ControlPlane::writeKubeconfig})
    if (Result<void> done = (this->*step)(); !done) return done;
  return {};
}

Result<void> ControlPlane::openStore() {
  Result<token::SigningKeys::Settings> settings = flags_.keys.settings();
  if (!settings) return settings.error();
  jwksMaxAge_ = settings->cacheLife;
  Result<std::unique_ptr<token::KeyEncryption>> encryption = flags_.keys.openKeyEncryption(directory_);
  if (!encryption) return encryption.error();
  encryption_ = *std::move(encryption);
  Result<std::unique_ptr<Store>> store = openSqliteStore((directory_ / "store").string(), kHistory, encryption_->atRest());
  if (!store) return store.error();
  store_ = *std::move(store);
  signingKeys_ = std::make_unique<token::SigningKeys>(*store_, *encryption_, clock_, *settings);
  // Beside what needs no key, because to find the primes of a first RSA key takes 0.1 s and more; after the store, whose lock keeps the
  // directory ours.
  if (!flags_.keys.signingEndpoint.empty())
    if (Result<void> connected = connectSigner(); !connected) return connected;
  keysToCome_ = std::async(std::launch::async, [this] { return flags_.keys.open(*signingKeys_, directory_); });
  Result<crypto::Authority> authority = crypto::Authority::openOrMake(directory_, "podpass-ca", clock_.now());
  if (!authority) return authority.error();
  authority_ = *std::move(authority);
  return {};
}

Result<void> ControlPlane::connectSigner() {
  Result<std::unique_ptr<token::ExternalSigner>> signer = token::ExternalSigner::connect(flags_.keys.signingEndpoint);
  if (!signer) return signer.error();
  externalSigner_ = *std::move(signer);
  const std::int64_t longest = externalSigner_->maxTokenLife().count();
  if (flags_.maxTokenSeconds > longest)
    return Error{Reason::BadRequest,
                 "service-account-max-token-expiration cannot be set longer than the token expiration supported by "
                 "service-account-signing-endpoint: " +
                     std::to_string(flags_.maxTokenSeconds) + " > " + std::to_string(longest),
                 "leave the flag out, or give at most the signer's"};
  return {};
}

Result<void> ControlPlane::makeCertificate() {
  crypto::CertificateRequest serving{.commonName = "podpass", .forServer = true};
  serving.dnsNames = {"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"};
  serving.addresses = {"127.0.0.1", "::1"};
  for (const std::string& bind : {flags_.bind, flags_.issuerBind.empty() ? flags_.bind : flags_.issuerBind}) {
    boost::system::error_code failed;
    boost::asio::ip::make_address(bind, failed);
    if (failed)
      return Error{Reason::BadRequest, "the address to listen on is not an IP address: " + bind, "give one such as 127.0.0.1 or 0.0.0.0"};
    if (!isEverywhere(bind) && std::ranges::find(serving.addresses, bind) == serving.addresses.end()) serving.addresses.push_back(bind);
  }
  serving.dnsNames.insert(serving.dnsNames.end(), flags_.moreNames.begin(), flags_.moreNames.end());
  serving.addresses.insert(serving.addresses.end(), flags_.moreAddresses.begin(), flags_.moreAddresses.end());
  Result<crypto::IssuedCertificate> certificate = authority_->issue(serving, clock_.now());
  if (!certificate) return certificate.error();
  tls_ = {(directory_ / "server.crt").string(), (directory_ / "server.key").string(), (directory_ / "ca.crt").string()};
  if (Result<void> written = writeFileAtomically(tls_.key, certificate->keyPem.reveal(), 0600); !written) return written;
  return writeFileAtomically(tls_.certificate, certificate->certificatePem, 0644);
}

// The port may be chosen by the system, and the issuer names it: listen first, serve when everything below is made.
Result<void> ControlPlane::listen() {
  if (Result<void> made = makeCertificate(); !made) return made;
  const std::shared_future<server::ApiServer*> api = ready_.get_future().share();
  handler_ = http::wrapped(around_, waitingFor(api, false));
  const LastRun last(directory_);
  Result<std::unique_ptr<http::Server>> listener =
      listenOn({.bind = flags_.bind, .port = flags_.port, .tls = tls_, .limits = {}}, last.port("apiserver"), handler_);
  if (!listener) return listener.error();
  listener_ = *std::move(listener);
  host_ = hostOf(flags_.bind);
  discoveryUrl_ = url_ = urlOf(host_, listener_->port());
  if (flags_.issuerPort >= 0)
    if (Result<void> listens = listenForDiscovery(http::wrapped(around_, waitingFor(api, true)), last.port(kDiscovery)); !listens)
      return listens;
  return nameIssuers(last);
}

// Asks nobody who they are, not even for a client certificate.
Result<void> ControlPlane::listenForDiscovery(const http::Handler& handler, unsigned short lastPort) {
  const std::string& bind = flags_.issuerBind.empty() ? flags_.bind : flags_.issuerBind;
  http::ServerOptions options{.bind = bind,
                              .port = static_cast<unsigned short>(flags_.issuerPort),
                              .tls = http::TlsFiles{tls_.certificate, tls_.key, {}},
                              .threads = 1,
                              .limits = kDiscoveryLimits};
  Result<std::unique_ptr<http::Server>> listener = listenOn(options, lastPort, handler);
  if (!listener) return listener.error();
  discoveryListener_ = *std::move(listener);
  discoveryUrl_ = urlOf(hostOf(bind), discoveryListener_->port());
  return {};
}

Result<void> ControlPlane::nameIssuers(const LastRun& last) {
  Result<std::vector<std::string>> issuers = flags_.keys.acceptedIssuers(discoveryUrl_);
  if (!issuers) return issuers.error();
  issuers_ = *std::move(issuers);
  const std::string before = last.url("issuer");
  const bool wasOwn = !before.empty() && (before == last.url("apiserver") || before == last.url(kDiscovery));
  if (flags_.keys.issuers.empty() && wasOwn && before != issuers_.front()) {
    log::warn("issuer's own URL differs from the last run's, tokens of that one stay good until the next start",
              {{"issuer", issuers_.front()}, {"was", before}});
    issuers_.push_back(before);
  }
  return {};
}

Result<void> ControlPlane::assemble() {
  registry_ = std::make_unique<server::Registry>(*store_, clock_);
  admission_ = std::make_unique<server::Admission>(*registry_);
  registry_->setAdmission(admission_.get());
  webhookClient_ = std::make_unique<http::Client>();
  webhooks_ = std::make_unique<server::WebhookAdmission>(*store_, *registry_, *webhookClient_);
  const token::BoundObjects objects = [this](std::string_view plural, const std::string& ns,
                                             const std::string& name) -> Result<DocumentPtr> {
    return registry_->read(*api::findKind("", "v1", plural), ns, name);
  };
  token::ExternalSigner* const external = externalSigner_.get();
  const Snapshot<token::KeyRing>& ring = external != nullptr ? external->ring() : signingKeys_->ring();
  inventory_ = std::make_unique<token::Inventory>(directory_ / "issued-tokens", clock_, [this] { return signingKeys_->tokensUntil(); });
  const token::KeepKey keep = [this](const jose::Key& key, std::int64_t expires) { return signingKeys_->keepUntil(key, expires); };
  const token::SignPayload sign = [external](const std::string& payload) { return external->sign(payload); };
  issuer_ = external != nullptr ? std::make_unique<token::Issuer>(issuers_.front(), sign, inventory_.get())
                                : std::make_unique<token::Issuer>(issuers_.front(), ring, keep, inventory_.get());
  revocations_ = std::make_unique<token::Revocations>(*store_, clock_, [this] { return signingKeys_->tokensUntil(); });
  if (Result<void> started = revocations_->start(); !started) return started;
  verifier_ = std::make_unique<token::Verifier>(issuers_, flags_.apiAudiences, ring, objects, tokenClock_, revocations_.get());
  if (external != nullptr) verifier_->onUnknownKey([external](const std::string& kid) { return external->fetchFor(kid); });
  verifier_->onUse([this](std::string_view jti) { inventory_->used(jti); });
  liveTokens_ = std::make_unique<server::LiveTokens>(*inventory_, ring, *revocations_, clock_);
  registry_->setComputed(api::issuedTokenKind(), server::issuedTokens(*registry_, *liveTokens_));
  registry_->setComputed(api::tokenIssuerKind(), server::tokenIssuers(*registry_, *liveTokens_, issuers_));
  registry_->setSupplement(api::signingKeyKind(), server::livesOfKeys(*liveTokens_));
  oidcPool_ = std::make_unique<boost::asio::thread_pool>(1);
  Result<std::unique_ptr<auth::Oidc>> oidc = flags_.oidc.open(flags_.relying, *oidcPool_, clock_);
  if (!oidc) return oidc.error();
  oidc_ = *std::move(oidc);
  authenticator_ = std::make_unique<auth::Authenticator>(*verifier_, true, oidc_.get());
  authorizer_ = std::make_unique<auth::Authorizer>(*registry_);
  if (!flags_.auditLog.empty()) {
    Result<std::unique_ptr<server::AuditLog>> opened = server::AuditLog::open(flags_.auditLog);
    if (!opened) return opened.error();
    audit_ = *std::move(opened);
  }
  server::ApiServerOptions options{.serverAddress = url_.substr(std::string_view("https://").size()),
                                   .jwksUri = flags_.keys.jwksUri.empty() ? discoveryUrl_ + "/openid/v1/jwks" : flags_.keys.jwksUri,
                                   .issuers = issuers_,
                                   .maxTokenLife = std::chrono::seconds(flags_.maxTokenSeconds),
                                   .extendTokens = flags_.extendTokens,
                                   .jwksMaxAge = [life = jwksMaxAge_] { return life; },
                                   .signsElsewhere = signingKeys_->token() != nullptr || external != nullptr,
                                   .audit = audit_.get(),
                                   .inventory = inventory_.get()};
  if (external != nullptr) {
    if (flags_.maxTokenSeconds == 0) options.maxTokenLife = external->maxTokenLife();
    options.extendedLife = std::min(options.extendedLife, external->maxTokenLife());
    options.jwksMaxAge = [external] { return external->untilRefresh(); };
    options.moreMetrics = [external] { return external->metrics(); };
  }
  apiServer_ = std::make_unique<server::ApiServer>(std::move(options), *registry_, *admission_, *authenticator_, *authorizer_, *issuer_,
                                                   *verifier_, ring, tokenClock_);
  client_ = clientOf({.name = "system:podpass", .groups = {"system:masters"}});
  return {};
}

// What a start makes sure of: the default namespaces, roles and bindings.
Result<void> ControlPlane::bootstrap() {
  const auto ensure = [this](json::object object) -> Result<void> {
    const api::Kind* kind = api::findKindByName(textAt(object, {"apiVersion"}), textAt(object, {"kind"}));
    if (kind == nullptr) return Error{Reason::Internal, "no kind " + std::string(textAt(object, {"kind"}))};
    const std::string ns(textAt(object, {"metadata", "namespace"}));
    Result<DocumentPtr> made = client_->create(*kind, ns, std::move(object));
    if (!made && made.error().reason != Reason::AlreadyExists) return made.error();
    return {};
  };
  for (const char* name : {"default", "kube-system", "kube-public", "kube-node-lease"}) {
    json::object object{{"apiVersion", "v1"}, {"kind", "Namespace"}, {"metadata", json::object{{"name", name}}}};
    if (Result<void> made = ensure(std::move(object)); !made) return made;
  }
  std::vector<json::object> rules = auth::bootstrapRoles();
  std::ranges::move(auth::bootstrapBindings(flags_.anonymousIssuer), std::back_inserter(rules));
  // Many at once share a commit, and a commit waits for the disk.
  std::vector<Result<void>> made(rules.size());
  boost::asio::thread_pool hands(8);
  for (std::size_t i = 0; i < rules.size(); ++i)
    boost::asio::post(hands, [&ensure, &rule = rules[i], &done = made[i]] { done = ensure(std::move(rule)); });
  hands.join();
  for (const Result<void>& each : made)
    if (!each) return each;
  return {};
}

Result<void> ControlPlane::serve() {
  if (Result<void> opened = keysToCome_.get(); !opened) return opened;
  if (const Result<void> read = inventory_->start(); !read)  // tokens are issued all the same
    log::error("inventory of tokens kept in memory only", {{"err", log::chain(read.error())}});
  if (Result<void> started = signingKeys_->start(); !started) return started;
  if (externalSigner_) externalSigner_->start();
  registry_->setWebhooks(webhooks_.get());  // not before: a webhook that is away must not keep us from starting
  ready_.set_value(apiServer_.get());
  serving_ = true;
  return {};
}

Result<void> ControlPlane::startControllers() {
  controllers::Options control;
  control.rootCaPem = authority_->certificatePem();
  control.legacyTokenSecrets = flags_.legacyTokenSecrets == "auto";
  control.account = flags_.account;
  control.legacyTokenPeriod = std::chrono::hours(flags_.legacyTokenHours);
  // As with kube-apiserver, an external signer makes no tokens that never expire.
  if (!externalSigner_) control.signLegacy = [this](const token::LegacyClaims& claims) { return issuer_->issueLegacy(claims); };
  controllers_ = std::make_unique<controllers::Controllers>(*client_, clock_, std::move(control));
  if (Result<void> started = controllers_->start(); !started) return started;
  verifier_->onLegacyUse([this](const std::string& ns, const std::string& secret) { controllers_->legacyTokenUsed(ns, secret); });
  return {};
}

Result<void> ControlPlane::writeKubeconfig() {
  Result<crypto::IssuedCertificate> admin =
      authority_->issue({.commonName = "podpass-admin", .organizations = {"system:masters"}}, clock_.now());
  if (!admin) return admin.error();
  return writeFileAtomically(directory_ / "admin.kubeconfig", kubeconfig(url_, authority_->certificatePem(), *admin), 0600);
}

void ControlPlane::stop() {
  if (std::exchange(stopped_, true)) return;
  if (apiServer_) beginShutdown();
  if (controllers_) controllers_->stop();
  if (signingKeys_) signingKeys_->stop();
  if (externalSigner_) externalSigner_->stop();
  for (const std::unique_ptr<http::Server>& each : otherListeners_) each->stop(2s);
  if (discoveryListener_) discoveryListener_->stop(2s);
  if (listener_) listener_->stop(2s);
  if (inventory_) inventory_->stop();
}

std::unique_ptr<api::Client> ControlPlane::clientOf(auth::User user) {
  return std::make_unique<server::LocalClient>(std::move(user), *registry_, *apiServer_, *authorizer_);
}

Result<unsigned short> ControlPlane::serveAlsoOn(const std::string& bind, unsigned short port) {
  std::unique_ptr<http::Server> listener =
      http::makeServer({.bind = bind, .port = port, .tls = tls_, .threads = 1, .limits = {}}, handler_);
  if (Result<void> started = listener->start(); !started) return started.error();
  otherListeners_.push_back(std::move(listener));
  return otherListeners_.back()->port();
}

Result<void> ControlPlane::writeEndpoints(json::object more) const {
  json::object endpoints{{"apiserver", url_}, {"issuer", issuers_.front()}, {"metrics", url_ + "/metrics"}};
  if (discoveryListener_) endpoints[kDiscovery] = discoveryUrl_;
  for (auto& [name, url] : more) endpoints[name] = std::move(url);
  return writeFileAtomically(directory_ / "endpoints.json", json::serialize(endpoints) + "\n", 0644);
}

std::string ControlPlane::readyText() const {
  const std::string config = (directory_ / "admin.kubeconfig").string();
  const std::string documents = discoveryListener_ ? "\n  issuer:     " + discoveryUrl_ + "/.well-known/openid-configuration" : "";
  return "podpass is ready at " + url_ + "\n  kubeconfig: " + config + documents + "\n  try:        kubectl --kubeconfig " + config +
         " get serviceaccounts\n  stop:       Ctrl-C (or kill -TERM " + std::to_string(::getpid()) + ")\n";
}

void ControlPlaneFlags::addTo(Command verb) {
  verb.option("--data-dir", dataDir, "where keys, certificates, objects and the kubeconfig are kept").required();
  verb.option("--bind", bind, "address to listen on").showDefault();
  verb.option("--port", port, "port to listen on; 0 picks a free one").showDefault();
  verb.option("--issuer-port", issuerPort,
              "port of one more listener, for discovery documents and keys alone, to anybody: the issuer's own URL is there then; 0 picks "
              "a free one; default: none")
      .between(0, 65535);
  verb.option("--issuer-bind", issuerBind, "address that --issuer-port is on; default: that of --bind");
  verb.option("--legacy-token-secrets", legacyTokenSecrets,
              "auto: a token Secret for each service account; manual: only for annotated Secrets")
      .oneOf({"auto", "manual"})
      .showDefault();
  verb.option("--api-audiences", apiAudiences,
              "audiences of the API server, with commas: of tokens that are asked for without one, and accepted here; default: "
              "https://kubernetes.default.svc (kube-apiserver's default is its issuer)")
      .splitAt(',')
      .check([](const std::string& audience) { return audience.empty() ? "an audience should not be an empty string" : ""; });
  verb.option(
      "--service-account-lookup",
      [](bool looksUp) {
        return looksUp ? "" : "tokens of deleted Secrets and service accounts are refused here always: leave the flag out";
      },
      "true, as kube-apiserver's: tokens of Secrets must be those that the Secrets hold");
  verb.option(
      "--service-account-max-token-expiration", [this](const std::string& text) { return takeMaxTokenLife(text, maxTokenSeconds); },
      "longest life of a token, from 1h to 2^32 seconds: seconds, or a duration such as 24h; default: no limit");
  verb.option("--service-account-extend-token-expiration", extendTokens, "one year for the injected tokens, with a warning after 3607 s")
      .showDefault();
  verb.flag("--anonymous-issuer-discovery,!--no-anonymous-issuer-discovery", anonymousIssuer,
            "let anybody read the discovery document and the public keys, as STS and every relying party must")
      .showDefault();
  verb.option("--account-id", account, "AWS account of the roles and providers: 12 digits").showDefault();
  keys.addTo(verb);
  oidc.addTo(verb);
  relying.addTo(verb);
  verb.option("--audit-log-path", auditLog, "file to which each request is written as a line of JSON; default: none is written");
  verb.option(
      "--legacy-service-account-token-clean-up-period",
      [this](const std::string& text) {
        const std::size_t end = text.find_first_not_of("0123456789");
        if (end == 0 || end == std::string::npos || text.substr(end) != "h" || text.size() > 7)
          return "a number of hours such as 8760h is expected, not " + text;
        legacyTokenHours = std::stoll(text);
        return std::string();
      },
      "token Secrets that nobody used for so long are marked invalid, and deleted after as long again; default: 8760h");
}

}  // namespace podpass::cli
