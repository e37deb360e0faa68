#include "base/text.h"
#include "cli/access_flags.h"
#include "cli/doctor_print.h"
#include "cli/iam_flags.h"
#include "cli/verbs.h"
#include "client/remote_client.h"
#include "irsa/mend.h"

namespace podpass::cli {
namespace {

struct Options {
  std::string file, role, output = "text";
  IamFlags iam;
  client::AccessChoice access;
};

// What gives a token like this one, for `audience`, into the file that was looked at.
std::string tokenCommand(const token::PresentedToken& token, const std::string& audience, const std::string& file) {
  constexpr std::string_view kPrefix = "system:serviceaccount:";
  const std::size_t colon = token.subject.find(':', kPrefix.size());
  if (!token.subject.starts_with(kPrefix) || colon == std::string::npos) return {};
  const std::string ns = token.subject.substr(kPrefix.size(), colon - kPrefix.size());
  return "podpass token create -n " + irsa::shellQuoted(ns) + " " + irsa::shellQuoted(token.subject.substr(colon + 1)) + " --audience " +
         irsa::shellQuoted(audience) + " | tr -d '\\n'" + (file == "-" ? "" : " >" + irsa::shellQuoted(file));
}

irsa::TokenSource sourceOf(const std::string& compact, const Options& options) {
  irsa::TokenSource source;
  source.another = {"get a new token from its issuer", {}};
  if (const Result<token::PresentedToken> token = token::parseToken(compact)) {
    source.another.command = tokenCommand(*token, token->audiences.front(), options.file);
    source.forAudience = [token = *token, file = options.file](const std::string& audience) {
      return irsa::Mend{"ask for a token for " + quoted(audience) + ", or let the provider take this one's audience, too",
                        tokenCommand(token, audience, file)};
    };
  }
  source.forRole = [&options](const std::string& arn) {
    return irsa::Mend{"ask for the role by its own name",
                      "podpass doctor token " + irsa::shellQuoted(options.file) + " --role " + irsa::shellQuoted(arn)};
  };
  return source;
}

int examine(const Options& options) {
  const Result<std::string> compact = readToken(options.file);
  if (!compact) return refuse(compact.error());
  irsa::Diagnosis diagnosis{"token", options.role};
  std::string issuer;
  if (const Result<token::PresentedToken> token = token::parseToken(*compact)) {
    diagnosis.subject = "token of " + token->subject;
    issuer = token->issuer;
  }
  std::string server, serverCa;
  Result<irsa::IamView> iam;
  if (options.iam.given()) {  // no cluster is asked
    iam = iamViewOfFiles(options.iam, options.role);
  } else {
    Result<client::Access> access = client::findAccess(options.access);
    if (!access) return refuse(access.error());
    server = access->server;
    serverCa = access->caPem;
    client::RemoteClient client(*std::move(access));
    iam = irsa::readIam(client);
    if (!iam->providers && iam->providers.error().reason != Reason::Forbidden && iam->providers.error().reason != Reason::NotFound)
      return refuse(iam->providers.error());
  }
  if (!iam) return refuse(iam.error());
  const Result<std::string> ca = issuerCa(options.iam, issuer, server, serverCa);
  if (!ca) return refuse(ca.error());
  const SystemClock clock;
  const irsa::TokenCase about{options.role, *iam, sourceOf(*compact, options), *ca, clock};
  irsa::examineRoleArn(options.role, *iam, about.source.forRole, diagnosis);
  irsa::examineToken(*compact, about, diagnosis);
  irsa::concludeIdentity(diagnosis);
  return say(diagnosis, options.output);
}

}  // namespace

void addDoctorToken(Command doctor) {
  auto options = std::make_shared<Options>();
  const Command verb = doctor.command(
      "token",
      "whether STS would give a role for this token: its claims, the issuer's documents, key, provider, audience and trust policy; "
      "exit status 1 and the first broken link when not");
  verb.option("file", options->file, "file with the token; - reads standard input").required();
  verb.option("--role", options->role, "ARN of the role that is asked for").required();
  options->iam.addTo(verb);
  addOutput(verb, options->output);
  addAccessFlags(verb, options->access);
  verb.runs([options] { return examine(*options); });
}

}  // namespace podpass::cli
