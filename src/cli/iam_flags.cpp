#include "cli/iam_flags.h"

#include "api/codec.h"
#include "base/file.h"

namespace podpass::cli {

void IamFlags::addTo(Command verb) {
  verb.option("--trust-policy", trustPolicy,
              "the role's trust policy in a file, as AWS's JSON or the output of `aws iam get-role`; default: the Roles of the cluster");
  verb.option("--provider-url", providerUrl, "the url of the OIDC provider registered at AWS; default: the OIDCProviders of the cluster");
  verb.option("--client-id", clientIds, "an audience that this provider takes; may be repeated; default: sts.amazonaws.com");
  verb.option("--thumbprint", thumbprints, "a thumbprint of this provider; may be repeated");
  verb.option("--issuer-ca", issuerCa, "CA certificate of the tokens' issuer; default: the provider's, the API server's, or the system's");
}

Result<irsa::IamView> iamViewOfFiles(const IamFlags& flags, const std::string& role) {
  irsa::IamView view;
  view.aws = true;
  view.account = irsa::accountOfRole(role);
  view.providers =
      Error{Reason::NotFound, "the provider was not told", "give --provider-url, and --client-id for each audience that it takes"};
  view.roles = Error{Reason::NotFound, "the role's trust policy was not told", "give --trust-policy with the output of `aws iam get-role`"};
  if (!flags.trustPolicy.empty()) {
    const Result<std::string> text = readFile(flags.trustPolicy, 1u << 20);
    if (!text) return text.error();
    const Result<json::value> document = api::parseJson(*text);
    if (!document) return Error{document.error().reason, flags.trustPolicy + " is no JSON: " + document.error().sentence};
    const Result<DocumentPtr> object = irsa::roleObject(role, *document);
    if (!object) return object.error();
    view.account = irsa::accountOfRole(textAt((*object)->value, {"status", "arn"}));
    view.roles = std::vector<irsa::Role>{irsa::roleOf(*object, view.account)};
  }
  if (!flags.providerUrl.empty()) {
    const std::vector<std::string> standard = {"sts.amazonaws.com"};
    view.providers = std::vector<DocumentPtr>{
        irsa::providerObject(flags.providerUrl, flags.clientIds.empty() ? standard : flags.clientIds, flags.thumbprints)};
  }
  return view;
}

Result<irsa::IamView> iamView(const IamFlags& flags, const std::string& role, api::Client& client) {
  return flags.given() ? iamViewOfFiles(flags, role) : irsa::readIam(client);
}

Result<std::string> issuerCa(const IamFlags& flags, const std::string& issuer, const std::string& server, const std::string& serverCa) {
  if (!flags.issuerCa.empty()) return readFile(flags.issuerCa, 1u << 20);
  return !server.empty() && (issuer == server || issuer.starts_with(server + "/")) ? serverCa : std::string();
}

}  // namespace podpass::cli
