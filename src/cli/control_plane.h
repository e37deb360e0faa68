#pragma once

#include <boost/asio/thread_pool.hpp>
#include <filesystem>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "auth/authenticator.h"
#include "auth/authorizer.h"
#include "cli/key_flags.h"
#include "cli/last_run.h"
#include "cli/oidc_flags.h"
#include "controllers/controllers.h"
#include "crypto/certificate.h"
#include "http/http.h"
#include "server/api_server.h"
#include "server/audit.h"
#include "server/live_tokens.h"
#include "server/local_client.h"
#include "server/webhook_admission.h"
#include "token/external_signer.h"
#include "token/inventory.h"
#include "token/issuer.h"
#include "token/verifier.h"

// The API server with all that it stands on and that works for it: what `podpass up` and `podpass apiserver` have in common.
namespace podpass::cli {

struct ControlPlaneFlags {
  std::string dataDir;
  std::string bind = "127.0.0.1";
  unsigned short port = 6443;               // 0: the last run's, when it is free, or any free one
  int issuerPort = -1;                      // of a listener for the discovery documents alone; 0 as with `port`; -1: there is none
  std::string issuerBind = {};              // its address; empty: `bind`
  std::string legacyTokenSecrets = "auto";  // auto, manual
  std::int64_t maxTokenSeconds = 0;
  bool extendTokens = true;
  std::vector<std::string> apiAudiences = {"https://kubernetes.default.svc"};
  bool anonymousIssuer = true;                  // let anybody read the issuer documents
  std::string auditLog = {};                    // file; empty: no audit log
  std::int64_t legacyTokenHours = 8760;         // unused for so long, a legacy token is marked invalid, and later deleted
  std::string account = "000000000000";         // AWS account of roles and providers
  std::vector<std::string> moreNames = {};      // DNS names in the serving certificate, besides those of a cluster
  std::vector<std::string> moreAddresses = {};  // the same for addresses, besides loopback and `bind`
  KeyFlags keys = {};
  OidcFlags oidc = {};
  RelyingFlags relying = {};  // of OIDC, and of an STS beside it

  void addTo(Command verb);
};

// For rehearsals: what stands between the control plane and the world.
struct ControlPlaneSeams {
  const Clock* tokens = nullptr;  // by which tokens are issued and judged; null: the clock of everything else
  http::Wrap around = {};
};

// Everything is below the data directory: store, keys, certificates, admin.kubeconfig. One thread starts and stops it.
class ControlPlane {
 public:
  ControlPlane(ControlPlaneFlags flags, const Clock& clock, ControlPlaneSeams seams = {});
  ~ControlPlane();
  ControlPlane(const ControlPlane&) = delete;
  ControlPlane& operator=(const ControlPlane&) = delete;

  // Listens, and serves when it returns; the admin's kubeconfig is written. What was started when it fails is stopped by the destructor.
  Result<void> start();
  // The requests that run get two seconds.
  void stop();
  // From now on /readyz says no, and watches end.
  void beginShutdown() { apiServer_->beginShutdown(); }

  [[nodiscard]] const std::filesystem::path& directory() const { return directory_; }
  [[nodiscard]] const std::string& host() const { return host_; }  // where it can be reached from this machine
  [[nodiscard]] unsigned short port() const { return listener_->port(); }
  [[nodiscard]] const std::string& url() const { return url_; }
  [[nodiscard]] const std::string& discoveryUrl() const { return discoveryUrl_; }     // where anybody may read the documents, else url()
  [[nodiscard]] const std::vector<std::string>& issuers() const { return issuers_; }  // the first signs
  [[nodiscard]] const crypto::Authority& authority() const { return *authority_; }
  [[nodiscard]] const http::TlsFiles& tls() const { return tls_; }
  [[nodiscard]] api::Client& client() { return *client_; }  // with all rights
  [[nodiscard]] Store& store() { return *store_; }
  // A client with the rights of `user`; the control plane outlives it.
  [[nodiscard]] std::unique_ptr<api::Client> clientOf(auth::User user);
  [[nodiscard]] const token::Verifier& verifier() const { return *verifier_; }
  void setNodeAccess(api::NodeAccess* access) { apiServer_->setNodeAccess(access); }
  // The same API on one more address, until stop(); port 0: a free one. Gives the port.
  [[nodiscard]] Result<unsigned short> serveAlsoOn(const std::string& bind, unsigned short port);
  // Where users find it: what has been written besides, such as `webhook` and `sts`, is in `more`.
  Result<void> writeEndpoints(json::object more) const;
  // For people, once everything runs: where, with which kubeconfig, what to try, how to stop.
  [[nodiscard]] std::string readyText() const;

 private:
  Result<void> openStore();
  Result<void> connectSigner();
  Result<void> listen();
  Result<void> makeCertificate();
  Result<void> listenForDiscovery(const http::Handler& handler, unsigned short lastPort);
  Result<void> nameIssuers(const LastRun& last);
  Result<void> assemble();
  Result<void> bootstrap();
  Result<void> serve();
  Result<void> startControllers();
  Result<void> writeKubeconfig();

  const ControlPlaneFlags flags_;
  const Clock& clock_;
  const Clock& tokenClock_;
  const http::Wrap around_;
  const std::filesystem::path directory_;
  bool serving_ = false, stopped_ = false;
  // In the order of the start: each stands on those above it.
  std::unique_ptr<token::KeyEncryption> encryption_;
  std::unique_ptr<Store> store_;
  std::unique_ptr<token::SigningKeys> signingKeys_;
  std::unique_ptr<token::ExternalSigner> externalSigner_;  // null: signingKeys_ sign
  std::future<Result<void>> keysToCome_;                   // waits for them when it is destroyed
  std::chrono::seconds jwksMaxAge_{0};
  std::optional<crypto::Authority> authority_;
  http::TlsFiles tls_;
  std::promise<server::ApiServer*> ready_;
  http::Handler handler_;
  // Above the API server, whose pools answer to their loops.
  std::unique_ptr<http::Server> listener_;
  std::unique_ptr<http::Server> discoveryListener_;            // null: none was asked for
  std::vector<std::unique_ptr<http::Server>> otherListeners_;  // of serveAlsoOn()
  std::string host_, url_, discoveryUrl_;
  std::vector<std::string> issuers_;
  std::unique_ptr<server::Registry> registry_;
  std::unique_ptr<server::Admission> admission_;
  std::unique_ptr<http::Client> webhookClient_;
  std::unique_ptr<server::WebhookAdmission> webhooks_;
  std::unique_ptr<token::Inventory> inventory_;
  std::unique_ptr<token::Issuer> issuer_;
  std::unique_ptr<token::Revocations> revocations_;
  std::unique_ptr<server::LiveTokens> liveTokens_;
  std::unique_ptr<token::Verifier> verifier_;
  std::unique_ptr<boost::asio::thread_pool> oidcPool_;
  std::unique_ptr<auth::Oidc> oidc_;
  std::unique_ptr<auth::Authenticator> authenticator_;
  std::unique_ptr<auth::Authorizer> authorizer_;
  std::unique_ptr<server::AuditLog> audit_;
  std::unique_ptr<server::ApiServer> apiServer_;
  std::unique_ptr<api::Client> client_;
  std::unique_ptr<controllers::Controllers> controllers_;
};

}  // namespace podpass::cli
