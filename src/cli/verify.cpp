#include <cstdio>

#include "base/file.h"
#include "cli/relying_flags.h"
#include "cli/stop_signal.h"
#include "cli/verbs.h"
#include "token/http_verifier.h"

namespace podpass::cli {
namespace {

struct Options {
  std::string listen = "127.0.0.1:8443", certificate, key, issuerCa, level = "info";
  std::vector<std::string> issuers, audiences, subjects;
  RelyingFlags relying;
  bool plainLoopback = false;
};

Result<std::vector<token::TrustedIssuer>> issuersOf(const Options& options) {
  std::string ca;
  if (!options.issuerCa.empty()) {
    Result<std::string> pem = readFile(options.issuerCa);
    if (!pem) return pem.error();
    ca = *std::move(pem);
  }
  std::vector<token::TrustedIssuer> issuers;
  for (const std::string& url : options.issuers) {
    token::TrustedIssuer issuer;
    issuer.url = url;
    issuer.audiences = options.audiences;
    issuer.skew = std::chrono::seconds(options.relying.skewSeconds);
    issuer.caPem = ca;
    issuer.plainLoopback = options.plainLoopback;
    issuers.push_back(std::move(issuer));
  }
  return issuers;
}

int serve(const Options& options) {
  const StopSignal stop;
  Result<std::vector<token::TrustedIssuer>> issuers = issuersOf(options);
  if (!issuers) return refuse(issuers.error());
  const std::size_t colon = options.listen.rfind(':');
  std::string host = options.listen.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  const SystemClock clock;
  boost::asio::thread_pool pool(2);
  const Result<http::AddressRules> rules = options.relying.rules();
  if (!rules) return refuse(rules.error());
  token::RelyingParty party(pool, clock, *rules);
  if (Result<void> trusted = party.trust(*std::move(issuers)); !trusted) return refuse(trusted.error());
  http::ServerOptions listener;
  listener.bind = host;
  listener.port = static_cast<unsigned short>(std::strtoul(options.listen.c_str() + colon + 1, nullptr, 10));
  if (!options.certificate.empty()) listener.tls = http::TlsFiles{options.certificate, options.key, ""};
  const std::unique_ptr<http::Server> server = http::makeServer(listener, token::httpVerifier(party, options.subjects));
  if (Result<void> started = server->start(); !started) return refuse(started.error());
  std::printf("podpass verifies tokens at %s://%s:%u/verify\n", listener.tls ? "https" : "http", options.listen.substr(0, colon).c_str(),
              server->port());
  std::fflush(stdout);
  stop.wait();
  server->stop(std::chrono::seconds(2));
  party.stop();
  pool.join();  // what it still does answers to the server's loops
  return kYes;
}

std::string addressProblem(const std::string& text) {
  const std::size_t colon = text.rfind(':');
  char* end = nullptr;
  const unsigned long port = colon == std::string::npos ? 65536 : std::strtoul(text.c_str() + colon + 1, &end, 10);
  return port > 65535 || colon == 0 || end == text.c_str() + colon + 1 || *end != '\0' ? "not ADDRESS:PORT: " + text : "";
}

}  // namespace

void addVerify(Command app) {
  auto options = std::make_shared<Options>();
  const Command verb =
      app.command("verify", "serve /verify: tells Envoy (ext_authz) or nginx (auth_request) whether a request's token is good");
  verb.option("--listen", options->listen, "ADDRESS:PORT; port 0 picks a free one").check(addressProblem, "ADDRESS:PORT").showDefault();
  verb.option("--issuer", options->issuers, "URL of an issuer whose tokens are good; may be repeated").required();
  verb.option("--audience", options->audiences, "a token must be for one of these; may be repeated").required();
  verb.option("--allow-subject", options->subjects,
              "whose good tokens are let through, others get 403; a * at the end stands for any rest; may be repeated; default: all");
  verb.option("--issuer-ca", options->issuerCa, "CA certificate of the issuers; default: the system's");
  options->relying.addTo(verb);
  verb.flag("--allow-plain-loopback", options->plainLoopback, "issuers on this machine may be fetched over http");
  Option certificate = verb.option("--tls-cert-file", options->certificate, "serve over TLS with this certificate");
  Option key = verb.option("--tls-private-key-file", options->key, "and this key").needs(certificate);
  certificate.needs(key);
  addLogLevel(verb, options->level);
  verb.runs([options] {
    setLogLevel(options->level);
    return serve(*options);
  });
}

}  // namespace podpass::cli
