#include "cli/up.h"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <boost/asio/post.hpp>
#include <boost/asio/thread_pool.hpp>
#include <cstdio>
#include <future>

#include "auth/authenticator.h"
#include "auth/authorizer.h"
#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "cli/stop_signal.h"
#include "cli/sts.h"
#include "cli/verbs.h"
#include "controllers/controllers.h"
#include "crypto/certificate.h"
#include "http/http.h"
#include "irsa/webhook_role.h"
#include "node/agent.h"
#include "node/containerd.h"
#include "server/api_server.h"
#include "server/local_client.h"
#include "server/webhook_admission.h"
#include "token/issuer.h"
#include "token/key_ring.h"
#include "token/verifier.h"

namespace podpass::cli {
namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;

constexpr std::size_t kHistory = 10'000;                                // changes kept for watches
constexpr const char* kApiAudience = "https://kubernetes.default.svc";  // what tokens say unless asked otherwise

std::string kubeconfig(const std::string& url, const std::string& caPem, const crypto::IssuedCertificate& admin) {
  return "apiVersion: v1\nkind: Config\nclusters:\n- name: podpass\n  cluster:\n    server: " + url +
         "\n    certificate-authority-data: " + base64Encode(caPem) +
         "\ncontexts:\n- name: podpass\n  context:\n    cluster: podpass\n    user: admin\ncurrent-context: podpass\nusers:\n- name: "
         "admin\n  user:\n"
         "    client-certificate-data: " +
         base64Encode(admin.certificatePem) + "\n    client-key-data: " + base64Encode(admin.keyPem.reveal()) + "\n";
}

// What a start makes sure of: the default namespaces, roles and bindings.
Result<void> bootstrap(api::Client& client, const UpOptions& options) {
  const auto ensure = [&](json::object object) -> Result<void> {
    const api::Kind* kind = api::findKindByName(textAt(object, {"apiVersion"}), textAt(object, {"kind"}));
    if (kind == nullptr) return Error{Reason::Internal, "no kind " + std::string(textAt(object, {"kind"}))};
    const std::string ns(textAt(object, {"metadata", "namespace"}));
    Result<DocumentPtr> made = client.create(*kind, ns, std::move(object));
    if (!made && made.error().reason != Reason::AlreadyExists) return made.error();
    return {};
  };
  for (const char* name : {"default", "kube-system", "kube-public", "kube-node-lease"}) {
    json::object object{{"apiVersion", "v1"}, {"kind", "Namespace"}, {"metadata", json::object{{"name", name}}}};
    if (Result<void> made = ensure(std::move(object)); !made) return made;
  }
  std::vector<json::object> rules = auth::bootstrapRoles();
  std::ranges::move(auth::bootstrapBindings(options.anonymousIssuer), std::back_inserter(rules));
  // Many at once share a commit, and a commit waits for the disk.
  std::vector<Result<void>> made(rules.size());
  http::asio::thread_pool hands(8);
  for (std::size_t i = 0; i < rules.size(); ++i)
    http::asio::post(hands, [&ensure, &rule = rules[i], &done = made[i]] { done = ensure(std::move(rule)); });
  hands.join();
  for (const Result<void>& each : made)
    if (!each) return each;
  return {};
}

// Where pods reach the API server: an address on loopback would be their own, so the gateway of their bridge serves it, too.
struct PodSide {
  std::string host;
  unsigned short port = 0;
  std::unique_ptr<http::Server> listener = nullptr;  // null: the main one listens there, or there is no bridge of ours
};

PodSide serveForPods(const UpOptions& options, const node::ContainerdPlaces& places, http::ServerOptions serving,
                     const http::Handler& handler) {
  const unsigned short port = serving.port;
  if (Result<void> made = node::makeBridge(places); !made) {
    log::warn("pods cannot reach the API server", {{"err", log::chain(made.error())}});
    return {serving.bind, port};
  }
  if (options.bind == "0.0.0.0") return {places.gateway, port};
  serving.bind = places.gateway;
  serving.threads = 1;
  Result<void> started;
  for (const unsigned short wanted : {port, static_cast<unsigned short>(0)}) {  // the same port when nobody has it on all addresses
    serving.port = wanted;
    std::unique_ptr<http::Server> listener = http::makeServer(serving, handler);
    started = listener->start();
    if (started) return {places.gateway, listener->port(), std::move(listener)};
  }
  log::warn("pods cannot reach the API server", {{"err", log::chain(started.error())}});
  return {options.bind, port};
}

// The pod identity webhook, installed as an ordinary admission webhook, as in Amazon EKS.
Result<std::unique_ptr<irsa::WebhookRole>> startWebhook(const UpOptions& options, const std::string& host, const http::TlsFiles& tls,
                                                        const std::string& caPem, api::Client& client, const Clock& clock) {
  irsa::WebhookRoleOptions role;
  role.listeners.bind = host;
  role.listeners.port = static_cast<unsigned short>(options.webhookPort);
  role.listeners.metricsPort = -1;
  role.listeners.threads = 1;
  role.listeners.tls = {.certificate = tls.certificate, .key = tls.key, .clientCa = {}};
  role.configMapNamespace = "kube-system";
  auto webhook = std::make_unique<irsa::WebhookRole>(std::move(role), client, clock);
  if (Result<void> started = webhook->start(); !started) return started.error();
  if (Result<void> installed = irsa::installConfiguration(client, webhook->url(), caPem); !installed) return installed.error();
  return webhook;
}

std::string readyText(const fs::path& directory, const std::string& url) {
  const std::string config = (directory / "admin.kubeconfig").string();
  return "podpass is ready at " + url + "\n  kubeconfig: " + config + "\n  try:        kubectl --kubeconfig " + config +
         " get serviceaccounts\n  stop:       Ctrl-C (or kill -TERM " + std::to_string(::getpid()) + ")\n";
}

}  // namespace

Result<void> up(const UpOptions& options) {
  const StopSignal stop;
  const SystemClock clock;
  const fs::path directory = fs::absolute(options.dataDir);
  if (Result<void> made = makeDirectories(directory, 0700); !made) return made;
  Result<token::SigningKeys::Settings> keySettings = options.keys.settings();
  if (!keySettings) return keySettings.error();
  Result<std::unique_ptr<token::KeyEncryption>> encryption = options.keys.openKeyEncryption(directory);
  if (!encryption) return encryption.error();
  Result<std::unique_ptr<Store>> store = openSqliteStore((directory / "store").string(), kHistory, (*encryption)->atRest());
  if (!store) return store.error();
  token::SigningKeys signingKeys(**store, **encryption, clock, *keySettings);
  const Snapshot<token::KeyRing>& ring = signingKeys.ring();
  // Beside the rest, because to find the primes of a first RSA key takes 0.1 s and more; after the store, whose lock keeps the directory
  // ours.
  std::future<Result<void>> keysToCome = std::async(std::launch::async, [&] { return options.keys.open(signingKeys, directory); });
  Result<crypto::Authority> authority = crypto::Authority::openOrMake(directory, "podpass-ca", clock.now());
  if (!authority) return authority.error();
  if (Result<void> opened = keysToCome.get(); !opened) return opened;
  if (Result<void> started = signingKeys.start(); !started) return started;

  crypto::CertificateRequest serving{.commonName = "podpass", .forServer = true};
  serving.dnsNames = {"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"};
  serving.addresses = {"127.0.0.1", "::1"};
  if (options.bind != "127.0.0.1" && options.bind != "::1" && options.bind != "0.0.0.0" && options.bind != "::")
    serving.addresses.push_back(options.bind);
  const bool withNode = options.node == "auto" && ::geteuid() == 0, ownContainerd = withNode && options.containerd.empty();
  const node::ContainerdPlaces places(directory / "node");
  if (ownContainerd) serving.addresses.push_back(places.gateway);
  Result<crypto::IssuedCertificate> certificate = authority->issue(serving, clock.now());
  if (!certificate) return certificate.error();
  if (Result<void> written = writeFileAtomically(directory / "server.key", certificate->keyPem.reveal(), 0600); !written) return written;
  if (Result<void> written = writeFileAtomically(directory / "server.crt", certificate->certificatePem, 0644); !written) return written;

  // The port may be chosen by the system, and the issuer names it: listen first, serve when everything below is made.
  std::promise<server::ApiServer*> ready;
  std::shared_future<server::ApiServer*> api = ready.get_future().share();
  http::Handler handler = [api](std::shared_ptr<const http::Request> request) -> http::asio::awaitable<http::Response> {
    return api.get()->handle(std::move(request));
  };
  const http::TlsFiles tls{(directory / "server.crt").string(), (directory / "server.key").string(), (directory / "ca.crt").string()};
  http::ServerOptions listening{.bind = options.bind, .port = options.port, .tls = tls, .limits = {}};
  const std::unique_ptr<http::Server> listener = http::makeServer(listening, handler);
  if (Result<void> started = listener->start(); !started) return started;
  const std::string host = options.bind == "0.0.0.0" || options.bind == "::" ? "127.0.0.1" : options.bind;
  const std::string address = (host.find(':') != std::string::npos ? "[" + host + "]" : host) + ":" + std::to_string(listener->port());
  const std::string url = "https://" + address;
  const Result<std::vector<std::string>> issuers = options.keys.acceptedIssuers(url);
  if (!issuers) return issuers.error();
  const std::string& issuerUrl = issuers->front();

  server::Registry registry(**store, clock);
  const server::Admission admission(registry);
  registry.setAdmission(&admission);
  http::Client webhookClient;
  server::WebhookAdmission webhooks(**store, registry, webhookClient);
  const token::BoundObjects objects = [&registry](std::string_view plural, const std::string& ns,
                                                  const std::string& name) -> Result<DocumentPtr> {
    return registry.read(*api::findKind("", "v1", plural), ns, name);
  };
  const token::Issuer issuer(issuerUrl, ring,
                             [&](const jose::Key& key, std::int64_t expires) { return signingKeys.keepUntil(key, expires); });
  token::Verifier verifier(*issuers, {kApiAudience}, ring, objects, clock);
  boost::asio::thread_pool oidcPool(1);
  Result<std::unique_ptr<auth::Oidc>> oidc = options.oidc.open(oidcPool, clock);
  if (!oidc) return oidc.error();
  const auth::Authenticator authenticator(verifier, true, oidc->get());
  const auth::Authorizer authorizer(registry);
  std::unique_ptr<server::AuditLog> audit;
  if (!options.auditLog.empty()) {
    Result<std::unique_ptr<server::AuditLog>> opened = server::AuditLog::open(options.auditLog);
    if (!opened) return opened.error();
    audit = *std::move(opened);
  }
  server::ApiServer apiServer({.serverAddress = address,
                               .jwksUri = options.keys.jwksUri.empty() ? url + "/openid/v1/jwks" : options.keys.jwksUri,
                               .maxTokenLife = std::chrono::seconds(options.maxTokenSeconds),
                               .extendTokens = options.extendTokens,
                               .jwksMaxAge = keySettings->cacheLife,
                               .audit = audit.get()},
                              registry, admission, authenticator, authorizer, issuer, verifier, ring, clock);
  ready.set_value(&apiServer);

  server::LocalClient client({.name = "system:podpass", .groups = {"system:masters"}}, registry, apiServer, authorizer);
  if (Result<void> made = bootstrap(client, options); !made) return made;
  registry.setWebhooks(&webhooks);  // not before: a webhook that is away must not keep us from starting
  controllers::Options control;
  control.rootCaPem = authority->certificatePem();
  control.legacyTokenSecrets = options.legacyTokenSecrets == "auto";
  control.account = options.sts.account;
  control.legacyTokenPeriod = std::chrono::hours(options.legacyTokenHours);
  control.signLegacy = [&issuer](const token::LegacyClaims& claims) { return issuer.issueLegacy(claims); };
  controllers::Controllers controllers(client, clock, std::move(control));
  if (Result<void> started = controllers.start(); !started) return started;
  verifier.onLegacyUse([&controllers](const std::string& ns, const std::string& secret) { controllers.legacyTokenUsed(ns, secret); });

  Result<crypto::IssuedCertificate> admin =
      authority->issue({.commonName = "podpass-admin", .organizations = {"system:masters"}}, clock.now());
  if (!admin) return admin.error();
  if (Result<void> written =
          writeFileAtomically(directory / "admin.kubeconfig", kubeconfig(url, authority->certificatePem(), *admin), 0600);
      !written)
    return written;
  json::object endpoints{{"apiserver", url}, {"issuer", issuerUrl}, {"metrics", url + "/metrics"}};
  std::unique_ptr<irsa::WebhookRole> webhook;
  if (options.webhookPort >= 0) {
    Result<std::unique_ptr<irsa::WebhookRole>> started = startWebhook(options, host, tls, authority->certificatePem(), client, clock);
    if (!started) return started.error();
    webhook = *std::move(started);
    endpoints["webhook"] = webhook->url();
  }
  if (Result<void> registered = registerOwnIssuer(client, issuerUrl, issuerUrl == url ? authority->certificatePem() : ""); !registered)
    return registered;
  StsFlags stsFlags = options.sts;
  stsFlags.bind = options.bind;
  if (ownContainerd) stsFlags.moreAddresses = {places.gateway};
  Result<irsa::StsOptions> stsOptions = stsFiles(directory, *authority, stsFlags, clock.now());
  if (!stsOptions) return stsOptions.error();
  irsa::StsServer sts(client, clock, *std::move(stsOptions));
  if (Result<void> started = sts.start(); !started) return started;
  if (Result<void> written = writeFileAtomically(directory / "aws-credentials", sts.administratorFile(), 0600); !written) return written;
  endpoints["sts"] = sts.url();
  if (!sts.proxyUrl().empty()) endpoints["stsProxy"] = sts.proxyUrl();

  server::LocalClient nodeClient({.name = "system:node:" + options.nodeName, .groups = {"system:nodes", "system:authenticated"}}, registry,
                                 apiServer, authorizer);
  std::unique_ptr<node::Agent> agent;
  PodSide podSide{host, listener->port()};
  if (options.node == "auto" && !withNode) {
    std::fprintf(stderr, "podpass: running containers needs root, so no node is registered; everything else works (--node off says so)\n");
  } else if (withNode) {
    listening.port = listener->port();
    if (ownContainerd) podSide = serveForPods(options, places, listening, handler);
    if (podSide.listener) {
      const Result<std::string> there = sts.serveAlsoOn(podSide.host);
      if (there)
        endpoints["stsForPods"] = *there;
      else
        log::warn("pods cannot reach the STS", {{"err", log::chain(there.error())}});
    }
    agent = node::makeAgent({options.nodeName, directory / "node", options.containerd, podSide.host, std::to_string(podSide.port)},
                            nodeClient, clock);
    if (Result<void> started = agent->start(); !started) {
      log::warn("node agent not started", {{"err", log::chain(started.error())}});
      agent = nullptr;
    } else {
      apiServer.setNodeAccess(agent.get());
    }
  }
  if (Result<void> written = writeFileAtomically(directory / "endpoints.json", json::serialize(endpoints) + "\n", 0644); !written)
    return written;
  std::fputs(readyText(directory, url).c_str(), stdout);
  std::fflush(stdout);
  stop.wait();

  log::info("stopping");
  apiServer.beginShutdown();
  if (agent) agent->stop();
  if (webhook) webhook->stop(2s);
  sts.stop();
  controllers.stop();
  signingKeys.stop();
  listener->stop(2s);
  if (podSide.listener) podSide.listener->stop(2s);
  apiServer.setNodeAccess(nullptr);
  return {};
}

void addUp(CLI::App& app, Chosen& chosen) {
  auto options = std::make_shared<UpOptions>();
  auto level = std::make_shared<std::string>("info");
  CLI::App* up = app.add_subcommand("up", "run everything in one process until it is told to stop");
  up->add_option("--data-dir", options->dataDir, "where keys, certificates, objects and the kubeconfig are kept")->required();
  up->add_option("--bind", options->bind, "address to listen on")->capture_default_str();
  up->add_option("--port", options->port, "port to listen on; 0 picks a free one")->capture_default_str();
  up->add_option("--node", options->node, "register this machine as a node and run pods: auto or off")
      ->check(CLI::IsMember({"auto", "off"}))
      ->capture_default_str();
  up->add_option("--node-name", options->nodeName, "name of the node")->capture_default_str();
  up->add_option("--containerd", options->containerd, "socket of a containerd to use; default: a private one is started");
  up->add_option("--legacy-token-secrets", options->legacyTokenSecrets,
                 "auto: a token Secret for each service account; manual: only for annotated Secrets")
      ->check(CLI::IsMember({"auto", "manual"}))
      ->capture_default_str();
  up->add_option("--service-account-max-token-expiration", options->maxTokenSeconds, "longest life of a token in seconds; 0: no limit")
      ->capture_default_str();
  up->add_option("--service-account-extend-token-expiration", options->extendTokens,
                 "one year for the injected tokens, with a warning after 3607 s")
      ->capture_default_str();
  up->add_flag("--anonymous-issuer-discovery,!--no-anonymous-issuer-discovery", options->anonymousIssuer,
               "let anybody read the discovery document and the public keys, as STS and every relying party must")
      ->capture_default_str();
  up->add_option("--webhook-port", options->webhookPort, "port of the pod identity webhook; 0 picks a free one, -1 leaves it out")
      ->capture_default_str();
  up->add_option("--sts-port", options->sts.port, "port of the STS; 0 picks a free one")->capture_default_str();
  up->add_flag("--sts-plain-http", options->sts.plainHttp, "STS without TLS, on loopback only");
  up->add_option("--sts-connect-proxy", options->sts.connectProxy,
                 "HOST:PORT of a CONNECT proxy that leads AWS's STS host names to this STS, for clients without an endpoint setting");
  up->add_option("--account-id", options->sts.account, "AWS account of the roles and providers: 12 digits")->capture_default_str();
  options->keys.addTo(*up);
  options->oidc.addTo(*up);
  up->add_option("--audit-log-path", options->auditLog,
                 "file to which each request is written as a line of JSON; default: none is written");
  up->add_option_function<std::string>(
      "--legacy-service-account-token-clean-up-period",
      [options](const std::string& text) {
        const std::size_t end = text.find_first_not_of("0123456789");
        if (end == 0 || end == std::string::npos || text.substr(end) != "h" || text.size() > 7)
          throw CLI::ValidationError("a number of hours such as 8760h is expected, not " + text);
        options->legacyTokenHours = std::stoll(text);
      },
      "token Secrets that nobody used for so long are marked invalid, and deleted after as long again; default: 8760h");
  up->add_option("--log-level", *level, "debug, info, warn or error")
      ->check(CLI::IsMember({"debug", "info", "warn", "error"}))
      ->capture_default_str();
  up->callback([options, level, &chosen] {
    chosen = [options, level] {
      setLogLevel(*level);
      const Result<void> done = cli::up(*options);
      return done ? kYes : refuse(done.error());
    };
  });
}

}  // namespace podpass::cli
