#include "cli/sts.h"

#include <algorithm>
#include <cstdio>

#include "api/iam_names.h"
#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "cli/stop_signal.h"
#include "cli/verbs.h"
#include "client/remote_client.h"
#include "irsa/connect_proxy.h"

namespace podpass::cli {
namespace {

constexpr const char* kOwnProvider = "podpass";  // the OIDCProvider of this podpass's own issuer

const api::Kind& providerKind() { return *api::findKind("iam.podpass.dev", "v1", "oidcproviders"); }

struct StsVerb {
  StsFlags flags = {.port = 7443};
  std::string dataDir, level = "info";
  client::AccessChoice access;
};

Result<void> serveSts(const StsVerb& verb) {
  const StopSignal stop;
  const SystemClock clock;
  const std::filesystem::path directory = std::filesystem::absolute(verb.dataDir);
  if (Result<void> made = makeDirectories(directory, 0700); !made) return made;
  Result<crypto::Authority> authority = crypto::Authority::openOrMake(directory, "podpass-ca", clock.now());
  if (!authority) return authority.error();
  Result<client::Access> access = client::findAccess(verb.access);
  if (!access) return access.error();
  client::RemoteClient client(*std::move(access));
  Result<irsa::StsOptions> options = stsFiles(directory, *authority, verb.flags, clock.now());
  if (!options) return options.error();
  irsa::StsServer sts(client, clock, *std::move(options));
  if (Result<void> started = sts.start(); !started) return started;
  if (Result<void> written = writeFileAtomically(directory / "aws-credentials", sts.administratorFile(), 0600); !written) return written;
  std::printf("podpass sts is ready at %s\n  CA:    %s\n", sts.url().c_str(), (directory / "ca.crt").c_str());
  if (!sts.proxyUrl().empty()) std::printf("  proxy: %s\n", sts.proxyUrl().c_str());
  std::fflush(stdout);
  stop.wait();
  sts.stop();
  return {};
}

}  // namespace

Result<irsa::StsOptions> stsFiles(const std::filesystem::path& directory, const crypto::Authority& authority, const StsFlags& flags,
                                  WallTime now) {
  if (!api::isAccount(flags.account)) return Error{Reason::BadRequest, "the account id is " + quoted(flags.account), "give 12 digits"};
  crypto::CertificateRequest serving{.commonName = "podpass-sts", .forServer = true};
  serving.dnsNames = irsa::stsHostNames();
  serving.dnsNames.emplace_back("localhost");
  serving.addresses = {"127.0.0.1", "::1"};
  if (flags.bind != "127.0.0.1" && flags.bind != "::1" && flags.bind != "0.0.0.0" && flags.bind != "::")
    serving.addresses.push_back(flags.bind);
  serving.addresses.insert(serving.addresses.end(), flags.moreAddresses.begin(), flags.moreAddresses.end());
  Result<crypto::IssuedCertificate> certificate = authority.issue(serving, now);
  if (!certificate) return certificate.error();
  const std::filesystem::path key = directory / "sts-server.key", chain = directory / "sts-server.crt";
  if (Result<void> written = writeFileAtomically(key, certificate->keyPem.reveal(), 0600); !written) return written.error();
  if (Result<void> written = writeFileAtomically(chain, certificate->certificatePem, 0644); !written) return written.error();
  Result<http::AddressRules> rules = flags.relying.rules();
  if (!rules) return rules.error();
  return irsa::StsOptions{.bind = flags.bind,
                          .port = flags.port,
                          .tls = {chain.string(), key.string(), {}},
                          .plainHttp = flags.plainHttp,
                          .account = flags.account,
                          .keyFile = directory / "sts.key",
                          .connectProxy = flags.connectProxy,
                          .rules = *std::move(rules),
                          .skew = std::chrono::seconds(flags.relying.skewSeconds)};
}

namespace {

// What is at `name` has this url and CA afterwards.
Result<void> registerIssuer(api::Client& client, const std::string& name, const std::string& issuer, const std::string& caPem) {
  const api::Kind& kind = providerKind();
  json::object spec{{"url", issuer}, {"clientIDs", json::array{"sts.amazonaws.com"}}};
  if (!caPem.empty()) spec["caBundle"] = base64Encode(caPem);
  Result<DocumentPtr> held = client.get(kind, {"", name});
  if (!held && held.error().reason != Reason::NotFound) return held.error();
  if (held && textAt((*held)->value, {"spec", "url"}) == issuer &&
      textAt((*held)->value, {"spec", "caBundle"}) == textAt(spec, {"caBundle"}))
    return {};
  if (held)  // the issuer has moved: a provider's url cannot change
    if (Result<void> removed = client.remove(kind, {"", name}); !removed) return removed;
  json::object object{
      {"apiVersion", kind.apiVersion()}, {"kind", kind.kind}, {"metadata", json::object{{"name", name}}}, {"spec", std::move(spec)}};
  Result<DocumentPtr> made = client.create(kind, "", std::move(object));
  if (!made && made.error().reason != Reason::AlreadyExists) return made.error();
  return {};
}

Result<bool> hasProvider(api::Client& client, const std::string& issuer, const std::string& besides) {
  const Result<api::Listing> providers = client.list(providerKind(), "", {});
  if (!providers) return providers.error();
  return std::any_of(providers->items.begin(), providers->items.end(), [&](const DocumentPtr& each) {
    return textAt(each->value, {"spec", "url"}) == issuer && textAt(each->value, {"metadata", "name"}) != besides;
  });
}

}  // namespace

Result<void> registerOwnIssuers(api::Client& client, const std::vector<std::string>& issuers, const std::set<std::string>& ownUrls,
                                const std::string& caPem) {
  for (const std::string& issuer : issuers) {
    const bool signs = issuer == issuers.front(),
               isOwn = std::ranges::any_of(ownUrls, [&](const std::string&own) { return (issuer + "/").starts_with(own + "/"); });
    const std::string name = signs ? kOwnProvider : kOwnProvider + ("-" + hexLower(sha256(issuer)).substr(0, 8));
    const Result<bool> another = signs ? Result<bool>(false) : hasProvider(client, issuer, name);
    if (!another) return another.error();
    if (*another) continue;
    if (Result<void> done = registerIssuer(client, name, issuer, isOwn ? caPem : ""); !done) return done;
  }
  return {};
}

void addSts(Command app) {
  auto verb = std::make_shared<StsVerb>();
  const Command sts = app.command("sts", "AWS's Security Token Service: exchange tokens of registered issuers for session credentials");
  sts.option("--data-dir", verb->dataDir, "where the CA, the certificate and sts.key are kept; several STS share ca.* and sts.key")
      .required();
  sts.option("--bind", verb->flags.bind, "address to listen on").showDefault();
  sts.option("--port", verb->flags.port, "port to listen on; 0 picks a free one").showDefault();
  sts.flag("--plain-http", verb->flags.plainHttp, "no TLS, on loopback only");
  sts.option("--account-id", verb->flags.account, "AWS account of the roles and providers: 12 digits").showDefault();
  sts.option("--connect-proxy", verb->flags.connectProxy,
             "HOST:PORT of a CONNECT proxy that leads AWS's STS host names here, for clients without an endpoint setting");
  sts.option("--kubeconfig", verb->access.kubeconfig, "the API server that has the Roles and OIDCProviders; default: as kubectl");
  sts.option("--context", verb->access.context, "context of the kubeconfig");
  verb->flags.relying.addTo(sts);
  addLogLevel(sts, verb->level);
  sts.runs([verb] {
    setLogLevel(verb->level);
    const Result<void> done = serveSts(*verb);
    return done ? kYes : refuse(done.error());
  });
}

}  // namespace podpass::cli
