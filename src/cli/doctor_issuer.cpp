#include <cstdio>

#include "base/file.h"
#include "cli/relying_flags.h"
#include "cli/verbs.h"
#include "token/issuer_report.h"

namespace podpass::cli {
namespace {

struct IssuerOptions {
  std::string url, caFile, output = "text";
  RelyingFlags relying;
};

int examine(const IssuerOptions& options) {
  std::string ca;
  if (!options.caFile.empty()) {
    Result<std::string> pem = readFile(options.caFile);
    if (!pem) return refuse(pem.error());
    ca = *std::move(pem);
  }
  const Result<http::AddressRules> rules = options.relying.rules();
  if (!rules) return refuse(rules.error());
  const token::IssuerReport report = token::examineIssuer(*rules, options.url, ca);
  if (options.output == "text")
    std::fputs(report.text().c_str(), stdout);
  else
    print(report.toJson(), options.output);
  return report.good() ? kYes : kNo;
}

}  // namespace

void addDoctorIssuer(Command doctor) {
  auto options = std::make_shared<IssuerOptions>();
  const Command verb =
      doctor.command("issuer", "look at an OIDC issuer as relying parties do: what AWS, GCP, Azure and Vault will refuse, and why");
  verb.option("url", options->url, "the issuer, as tokens name it").required();
  verb.option("--issuer-ca", options->caFile, "CA certificate of the issuer; default: the system's");
  options->relying.addFetchTo(verb);
  addOutput(verb, options->output);
  verb.runs([options] { return examine(*options); });
}

}  // namespace podpass::cli
