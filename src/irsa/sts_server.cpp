#include "irsa/sts_server.h"

#include <boost/asio/ip/address.hpp>
#include <boost/asio/thread_pool.hpp>
#include <charconv>

#include "irsa/connect_proxy.h"
#include "irsa/sts_service.h"

namespace podpass::irsa {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t kMostBody = 64u << 10;

bool isLoopback(const std::string& bind) {
  boost::system::error_code failed;
  const auto address = boost::asio::ip::make_address(bind, failed);
  return !failed && address.is_loopback();
}

bool isLinkLocal(const std::string& bind) {
  boost::system::error_code failed;
  const auto address = boost::asio::ip::make_address(bind, failed);
  return !failed && address.is_v4() && (address.to_v4().to_uint() >> 16) == 0xA9FE;  // 169.254.0.0/16
}

std::string urlOf(std::string_view scheme, const std::string& bind, unsigned short port) {
  const std::string host = bind == "0.0.0.0" || bind == "::" ? "127.0.0.1" : bind.find(':') != std::string::npos ? "[" + bind + "]" : bind;
  return std::string(scheme) + "://" + host + ":" + std::to_string(port);
}

// "127.0.0.1:8888", "[::1]:8888"
Result<std::pair<std::string, unsigned short>> readAddress(const std::string& text) {
  const std::size_t colon = text.rfind(':');
  std::string host = text.substr(0, colon);
  if (host.starts_with("[") && host.ends_with("]")) host = host.substr(1, host.size() - 2);
  unsigned short port = 0;
  const char* const first = text.data() + (colon == std::string::npos ? text.size() : colon + 1);
  const auto [end, failed] = std::from_chars(first, text.data() + text.size(), port);
  if (failed != std::errc() || end != text.data() + text.size() || host.empty())
    return Error{Reason::BadRequest, "the address to listen on is " + text, "write it as 127.0.0.1:PORT"};
  return std::pair{host, port};
}

}  // namespace

struct StsServer::Parts {
  Parts(api::Client& reached, const Clock& clock, StsOptions given)
      : client(reached),
        options(std::move(given)),
        relyingParty(pool, clock, options.rules),
        directory(reached, relyingParty, options.account, options.skew),
        refusals(reached, clock),
        time(clock) {}

  std::unique_ptr<http::Server> serve(const std::string& bind, unsigned short port, bool tls, http::Handler handler) const {
    http::ServerOptions serving{.bind = bind, .port = port, .tls = std::nullopt, .limits = {}};
    if (tls) serving.tls = options.tls;
    serving.limits.body = kMostBody;
    return http::makeServer(std::move(serving), std::move(handler));
  }

  Result<unsigned short> serveContainers(ContainerCredentialsOptions wanted, const std::string& bind, unsigned short port) {
    auto credentials = std::make_unique<ContainerCredentials>(client, keys, directory, refusals, time, std::move(wanted));
    http::ServerOptions serving{.bind = bind, .port = port, .tls = std::nullopt, .threads = 1, .limits = {}};
    serving.limits.body = kMostBody;
    auto listener = http::makeServer(
        std::move(serving),
        http::wrapped(options.aroundContainers, [serves = credentials.get()](std::shared_ptr<const http::Request> request) {
          return serves->handle(std::move(request));
        }));
    if (Result<void> started = listener->start(); !started) return started.error();
    containers.push_back(std::move(credentials));
    containerServers.push_back(std::move(listener));
    return containerServers.back()->port();
  }

  [[nodiscard]] http::Handler handler(bool secure) const {
    return http::wrapped(options.around, [serving = service.get(), secure](std::shared_ptr<const http::Request> request) {
      Arrival arrival{.secure = secure};
      return serving->handle(std::move(request), std::move(arrival));
    });
  }
  // Behind the proxies: who asks is who opened the tunnel.
  [[nodiscard]] http::Handler tunnelled() const {
    return http::wrapped(options.around, [this, serving = service.get()](std::shared_ptr<const http::Request> request) {
      Arrival arrival{.remote = tunnels.clientOf(request->remote), .secure = true};
      return serving->handle(std::move(request), std::move(arrival));
    });
  }

  api::Client& client;
  StsOptions options;
  boost::asio::thread_pool pool;
  token::RelyingParty relyingParty;
  StsDirectory directory;
  StsRefusalLog refusals;
  const Clock& time;
  std::shared_ptr<const CredentialKeys> keys;
  std::unique_ptr<StsService> service;
  Tunnels tunnels;
  std::vector<std::unique_ptr<ContainerCredentials>> containers;
  std::vector<std::unique_ptr<http::Server>> containerServers;
  std::unique_ptr<http::Server> server, second, proxy, secondProxy;
  std::unique_ptr<http::Server> tlsServer;  // behind the proxies, because `server` may speak plain HTTP
  std::string proxyHost;
};

StsServer::StsServer(api::Client& client, const Clock& clock, StsOptions options)
    : parts_(std::make_unique<Parts>(client, clock, std::move(options))) {}

StsServer::~StsServer() { stop(); }

Result<void> StsServer::start() {
  Parts& parts = *parts_;
  if (parts.options.plainHttp && !isLoopback(parts.options.bind))
    return Error{Reason::BadRequest, "STS must not hand out credentials over plain HTTP on " + parts.options.bind,
                 "bind it to 127.0.0.1, or leave TLS on"};
  Result<std::shared_ptr<const CredentialKeys>> keys = CredentialKeys::openOrMake(parts.options.keyFile);
  if (!keys) return keys.error();
  parts.keys = *keys;
  if (Result<void> started = parts.directory.start(); !started) return started;
  parts.refusals.start();
  parts.service = std::make_unique<StsService>(parts.keys, parts.directory, parts.relyingParty, parts.refusals, parts.time);
  const bool secure = !parts.options.plainHttp;
  parts.server = parts.serve(parts.options.bind, parts.options.port, secure, parts.handler(secure));
  if (Result<void> started = parts.server->start(); !started) return started;
  if (parts.options.connectProxy.empty()) return {};
  Result<std::pair<std::string, unsigned short>> address = readAddress(parts.options.connectProxy);
  if (!address) return address.error();
  parts.tlsServer = parts.serve("127.0.0.1", 0, true, parts.tunnelled());
  if (Result<void> started = parts.tlsServer->start(); !started) return started;
  parts.proxyHost = address->first;
  parts.proxy = parts.serve(address->first, address->second, false, connectProxy(parts.tlsServer->port(), parts.tunnels));
  return parts.proxy->start();
}

Result<StsServer::Urls> StsServer::serveAlsoOn(const std::string& bind) {
  Parts& parts = *parts_;
  const auto listen = [&](std::unique_ptr<http::Server>& server, unsigned short wanted, bool tls, const http::Handler& handler) {
    Result<void> started;
    for (const unsigned short port : {wanted, static_cast<unsigned short>(0)}) {
      server = parts.serve(bind, port, tls, handler);
      started = server->start();
      if (started) break;
      server = nullptr;
    }
    return started;
  };
  if (Result<void> started = listen(parts.second, parts.server->port(), true, parts.handler(true)); !started) return started.error();
  Urls urls{.sts = urlOf("https", bind, parts.second->port()), .proxy = {}};
  if (!parts.proxy) return urls;
  const http::Handler handler = connectProxy(parts.tlsServer->port(), parts.tunnels);
  if (Result<void> started = listen(parts.secondProxy, parts.proxy->port(), false, handler); !started) return started.error();
  urls.proxy = urlOf("http", bind, parts.secondProxy->port());
  return urls;
}

Result<std::string> StsServer::serveContainers(ContainerCredentialsOptions options, const std::string& address) {
  const Result<std::pair<std::string, unsigned short>> where = readAddress(address);
  if (!where) return where.error();
  const auto& [host, port] = *where;
  if (!isLoopback(host) && !isLinkLocal(host))
    return Error{Reason::BadRequest, "credentials of pods must not be served over plain HTTP on " + host,
                 "use " + std::string(kPodCredentialsAddress) + " or a loopback address"};
  options.hosts = {host};
  if (isLoopback(host)) options.hosts.emplace_back("localhost");
  const Result<unsigned short> served = parts_->serveContainers(std::move(options), host, port);
  if (!served) return served.error();
  return urlOf("http", host, *served) + "/v1/credentials";
}

Result<unsigned short> StsServer::serveContainersOfBridge(ContainerCredentialsOptions options, const std::string& gateway) {
  options.hosts = {kPodCredentialsAddress};
  return parts_->serveContainers(std::move(options), gateway, 0);
}

void StsServer::forgetKeys() { parts_->relyingParty.forget(); }

void StsServer::stop() {
  for (const std::unique_ptr<http::Server>& server : parts_->containerServers) server->stop(1s);
  for (const std::unique_ptr<http::Server>* server :
       {&parts_->secondProxy, &parts_->proxy, &parts_->tlsServer, &parts_->second, &parts_->server})
    if (*server) (*server)->stop(1s);
  parts_->relyingParty.stop();
  parts_->pool.join();  // what it still does answers to the servers' loops
  for (const std::unique_ptr<ContainerCredentials>& each : parts_->containers) each->stop();
  parts_->directory.stop();
  parts_->refusals.stop();
}

std::string StsServer::url() const {
  return urlOf(parts_->options.plainHttp ? "http" : "https", parts_->options.bind, parts_->server->port());
}

std::string StsServer::proxyUrl() const { return parts_->proxy ? urlOf("http", parts_->proxyHost, parts_->proxy->port()) : ""; }

std::string StsServer::administratorFile() const {
  const Credentials administrator = parts_->keys->administrator(parts_->options.account);
  return "[default]\naws_access_key_id = " + administrator.accessKeyId +
         "\naws_secret_access_key = " + std::string(administrator.secretAccessKey.reveal()) + "\n";
}

}  // namespace podpass::irsa
