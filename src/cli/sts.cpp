#include "cli/sts.h"

#include "api/iam_names.h"
#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "irsa/connect_proxy.h"

namespace podpass::cli {
namespace {

constexpr const char* kOwnProvider = "podpass";  // the OIDCProvider of this podpass's own issuer

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
  Result<crypto::IssuedCertificate> certificate = authority.issue(serving, now);
  if (!certificate) return certificate.error();
  const std::filesystem::path key = directory / "sts-server.key", chain = directory / "sts-server.crt";
  if (Result<void> written = writeFileAtomically(key, certificate->keyPem.reveal(), 0600); !written) return written.error();
  if (Result<void> written = writeFileAtomically(chain, certificate->certificatePem, 0644); !written) return written.error();
  return irsa::StsOptions{.bind = flags.bind,
                          .port = flags.port,
                          .tls = {chain.string(), key.string(), {}},
                          .plainHttp = flags.plainHttp,
                          .account = flags.account,
                          .keyFile = directory / "sts.key",
                          .connectProxy = flags.connectProxy};
}

Result<void> registerOwnIssuer(api::Client& client, const std::string& issuer, const std::string& caPem) {
  const api::Kind& kind = *api::findKind("iam.podpass.dev", "v1", "oidcproviders");
  json::object spec{{"url", issuer}, {"clientIDs", json::array{"sts.amazonaws.com"}}};
  if (!caPem.empty()) spec["caBundle"] = base64Encode(caPem);
  Result<DocumentPtr> held = client.get(kind, {"", kOwnProvider});
  if (!held && held.error().reason != Reason::NotFound) return held.error();
  if (held && textAt((*held)->value, {"spec", "url"}) == issuer &&
      textAt((*held)->value, {"spec", "caBundle"}) == textAt(spec, {"caBundle"}))
    return {};
  if (held)  // the issuer has moved: a provider's url cannot change
    if (Result<void> removed = client.remove(kind, {"", kOwnProvider}); !removed) return removed;
  json::object object{{"apiVersion", kind.apiVersion()},
                      {"kind", kind.kind},
                      {"metadata", json::object{{"name", kOwnProvider}}},
                      {"spec", std::move(spec)}};
  Result<DocumentPtr> made = client.create(kind, "", std::move(object));
  if (!made && made.error().reason != Reason::AlreadyExists) return made.error();
  return {};
}

}  // namespace podpass::cli
