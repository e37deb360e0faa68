#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "api/client.h"
#include "base/clock.h"
#include "http/address_rules.h"
#include "http/http.h"
#include "irsa/container_credentials.h"

namespace podpass::irsa {

struct StsOptions {
  std::string bind = "127.0.0.1";
  unsigned short port = 0;  // 0: a free one
  http::TlsFiles tls;       // a certificate for this host and, for the proxy, for stsHostNames()
  bool plainHttp = false;   // on loopback only
  std::string account = "000000000000";
  std::filesystem::path keyFile;  // CredentialKeys
  std::string connectProxy = {};  // "127.0.0.1:8888"; empty: none
  http::Wrap around = {};         // STS
  http::Wrap aroundContainers = {};
  http::AddressRules rules = {};  // from where the documents of providers' issuers may be fetched
  std::chrono::seconds skew{0};   // how far the issuers' clocks may be off
};

// STS and all that it stands on: directory, relying party, credentials, refusal log, the servers. start() once; stop() ends what runs.
// The client has the rights to read Roles and OIDCProviders and to write Events; it and the clock outlive this object.
class StsServer {
 public:
  StsServer(api::Client& client, const Clock& clock, StsOptions options);
  ~StsServer();
  StsServer(const StsServer&) = delete;
  StsServer& operator=(const StsServer&) = delete;
  Result<void> start();
  // Listens there, too, and so does the proxy when there is one; with the same ports when they are free.
  struct Urls {
    std::string sts, proxy;  // proxy: "" without one
  };
  Result<Urls> serveAlsoOn(const std::string& bind);
  // Credentials for containers on "ADDRESS:PORT" over plain HTTP. Gives the URL. options.hosts is set here. A link-local or a loopback
  // address only: who can reach it needs only a token.
  Result<std::string> serveContainers(ContainerCredentialsOptions options, const std::string& address);
  // The same for the pods of a bridge, on a free port of its gateway, which is given. They call 169.254.170.23, and only that name is
  // taken.
  Result<unsigned short> serveContainersOfBridge(ContainerCredentialsOptions options, const std::string& gateway);
  // As RelyingParty::forget.
  void forgetKeys();
  void stop();
  [[nodiscard]] std::string url() const;       // after start()
  [[nodiscard]] std::string proxyUrl() const;  // "" without a proxy
  // The account's administrator, in the form of AWS's shared credentials file.
  [[nodiscard]] std::string administratorFile() const;

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace podpass::irsa
