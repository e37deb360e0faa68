#pragma once

#include <memory>

#include "irsa/webhook.h"

// The webhook on its two listeners, with its certificate and the container-credentials file kept current.
namespace podpass::irsa {

struct WebhookListeners {
  std::string bind = "0.0.0.0";
  unsigned short port = 443;
  int metricsPort = 9999;            // negative: no metrics listener
  http::TlsFiles tls;                // files are watched, and read again when they change
  std::string credentialsFile = {};  // --watch-container-credentials-config; empty: off
  unsigned threads = 0;              // 0: one per core
  http::Wrap around = {};
};

class WebhookServer {
 public:
  WebhookServer(WebhookListeners listeners, WebhookOptions options, WebhookSources& sources, LiveReads::Read read);
  ~WebhookServer();
  WebhookServer(const WebhookServer&) = delete;
  WebhookServer& operator=(const WebhookServer&) = delete;

  // The files of `tls` are watched, and read again when they change.
  Result<void> start(const http::TlsFiles& tls);
  void stop(std::chrono::milliseconds grace);
  [[nodiscard]] unsigned short port() const;
  [[nodiscard]] unsigned short metricsPort() const;
  [[nodiscard]] Webhook& webhook();
  // A certificate that did not come from files.
  Result<void> useTls(const http::TlsFiles& tls);

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace podpass::irsa
