#include "irsa/webhook_server.h"

#include "base/file.h"
#include "base/file_watch.h"
#include "base/log.h"
#include "base/text.h"

namespace podpass::irsa {
namespace {

// Of the certificate and the key; "" while one of them is missing, half-way through a replacement.
std::string fingerprint(const http::TlsFiles& tls) {
  const Result<std::string> certificate = readFile(tls.certificate), key = readFile(tls.key);
  return certificate && key ? sha256(*certificate + "\n" + *key) : std::string();
}

std::string portText(unsigned short port) { return ":" + std::to_string(port); }

}  // namespace

// Destroyed from the last to the first: the watches end before what they change.
struct WebhookServer::Parts {
  WebhookListeners listeners;
  WebhookSources& sources;
  Webhook webhook;
  std::unique_ptr<http::Server> secure, metrics;
  std::string shownTls;         // fingerprint of the files in use
  std::string credentialsText;  // as last read
  bool credentialsRead = false;
  std::unique_ptr<FileWatch> tlsWatch, credentialsWatch;

  void reloadTls();
  void reloadCredentials();
};

void WebhookServer::Parts::reloadTls() {
  const std::string now = fingerprint(listeners.tls);
  if (now.empty() || now == shownTls) return;
  const Result<void> used = secure->useTls(listeners.tls);
  if (!used) return log::warn("the new certificate cannot be used; the old one is kept", {{"err", log::chain(used.error())}});
  log::info("certificate reloaded");
  shownTls = now;
}

void WebhookServer::Parts::reloadCredentials() {
  const Result<std::string> text = readFile(listeners.credentialsFile);
  if (!text && text.error().reason != Reason::NotFound) return log::warn("failed processing files", {{"err", log::chain(text.error())}});
  const std::string now = text ? *text : std::string();
  if (credentialsRead && now == credentialsText) return;
  credentialsRead = true;
  credentialsText = now;
  if (now.empty()) {
    log::info("Container credentials config file is empty, clearing cache");
    return sources.credentials.store(std::make_shared<const CredentialsAccounts>());
  }
  Result<CredentialsAccounts> accounts = parseCredentialsFile(now);
  if (!accounts)  // the old set stays; whoever mends the file causes the next event
    return log::error("failed processing files",
                      {{"err", "error Unmarshalling container credentials config file: " + accounts.error().sentence}});
  log::info("Successfully loaded container credentials config file");
  sources.credentials.store(std::make_shared<const CredentialsAccounts>(*std::move(accounts)));
}

WebhookServer::WebhookServer(WebhookListeners listeners, WebhookOptions options, WebhookSources& sources, LiveReads::Read read)
    : parts_(new Parts{.listeners = std::move(listeners),
                       .sources = sources,
                       .webhook{std::move(options), sources, std::move(read)},
                       .secure = {},
                       .metrics = {},
                       .shownTls = {},
                       .credentialsText = {},
                       .tlsWatch = {},
                       .credentialsWatch = {}}) {}

WebhookServer::~WebhookServer() { stop(std::chrono::milliseconds(0)); }

Result<void> WebhookServer::start(const http::TlsFiles& tls) {
  Parts& parts = *parts_;
  parts.listeners.tls = tls;
  Webhook& webhook = parts.webhook;
  parts.shownTls = fingerprint(parts.listeners.tls);
  http::Handler secure = [&webhook](std::shared_ptr<const http::Request> request) { return webhook.serve(std::move(request)); };
  parts.secure = http::makeServer({.bind = parts.listeners.bind,
                                   .port = parts.listeners.port,
                                   .tls = parts.listeners.tls,
                                   .threads = parts.listeners.threads,
                                   .limits = {}},
                                  http::wrapped(parts.listeners.around, secure));
  if (Result<void> started = parts.secure->start(); !started) return started;
  log::info("Listening on " + portText(port()));
  if (parts.listeners.metricsPort >= 0) {
    http::Handler metrics = [&webhook](std::shared_ptr<const http::Request> request) { return webhook.serveMetrics(std::move(request)); };
    parts.metrics = http::makeServer({.bind = parts.listeners.bind,
                                      .port = static_cast<unsigned short>(parts.listeners.metricsPort),
                                      .tls = {},
                                      .threads = 1,
                                      .limits = {}},
                                     metrics);
    if (Result<void> started = parts.metrics->start(); !started) return started;
    log::info("Listening on " + portText(metricsPort()) + " for metrics");
  }
  if (parts.listeners.tls.certificatePem.empty())
    parts.tlsWatch = std::make_unique<FileWatch>(
        std::vector<std::filesystem::path>{parts.listeners.tls.certificate, parts.listeners.tls.key}, [&parts] { parts.reloadTls(); });
  if (!parts.listeners.credentialsFile.empty()) {
    log::info("Watching container credentials config file " + parts.listeners.credentialsFile);
    parts.reloadCredentials();  // before the first pod asks
    parts.credentialsWatch = std::make_unique<FileWatch>(std::vector<std::filesystem::path>{parts.listeners.credentialsFile},
                                                         [&parts] { parts.reloadCredentials(); });
  }
  return {};
}

void WebhookServer::stop(std::chrono::milliseconds grace) {
  Parts& parts = *parts_;
  parts.tlsWatch.reset();
  parts.credentialsWatch.reset();
  if (parts.secure) parts.secure->stop(grace);
  if (parts.metrics) parts.metrics->stop(grace);
  parts.webhook.stop();
}

unsigned short WebhookServer::port() const { return parts_->secure->port(); }
unsigned short WebhookServer::metricsPort() const { return parts_->metrics->port(); }
Webhook& WebhookServer::webhook() { return parts_->webhook; }
Result<void> WebhookServer::useTls(const http::TlsFiles& tls) { return parts_->secure->useTls(tls); }

}  // namespace podpass::irsa
