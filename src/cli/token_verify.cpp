#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <cstdio>

#include "api/kinds.h"
#include "base/file.h"
#include "base/text.h"
#include "cli/access_flags.h"
#include "cli/relying_flags.h"
#include "cli/verbs.h"
#include "client/remote_client.h"
#include "token/issuer_documents.h"
#include "token/relying_party.h"

namespace podpass::cli {
namespace {

struct Options {
  client::AccessChoice access;
  std::string file = "-", jwks, issuer, issuerCa, output = "text";
  std::vector<std::string> audiences;
  RelyingFlags relying;
};

// What a token proves, whoever checked it.
struct Proof {
  std::string user, checkedBy;
  std::vector<std::string> audiences;
  std::string expires;
};

Proof proofOf(const token::VerifiedToken& verified, std::string checkedBy) {
  return {verified.subject, std::move(checkedBy), verified.audiences, rfc3339(WallTime(std::chrono::seconds(verified.expires)))};
}

token::TrustedIssuer issuerFor(const Options& options) {
  token::TrustedIssuer issuer;
  issuer.url = options.issuer;
  issuer.audiences = options.audiences;
  issuer.skew = std::chrono::seconds(options.relying.skewSeconds);
  issuer.algorithms.emplace_back("EdDSA");
  return issuer;
}

Result<Proof> verifyOffline(const std::string& compact, const Options& options) {
  Result<std::string> text = readFile(options.jwks);
  if (!text) return text.error();
  Result<std::vector<jose::Key>> keys = jose::parseJwks(*text);
  if (!keys) return keys.error();
  Result<token::PresentedToken> presented = token::parseToken(compact);
  if (!presented) return presented.error();
  token::TrustedIssuer issuer = issuerFor(options);
  if (issuer.url.empty()) issuer.url = presented->issuer;  // whose keys these are, is for the user to know
  if (Result<void> good = token::checkClaims(*presented, issuer, SystemClock().now()); !good) return good.error();
  Result<token::VerifiedToken> verified = token::checkSignature(*std::move(presented), *keys);
  if (!verified) return verified.error();
  return proofOf(*verified, options.jwks);
}

Result<Proof> verifyByDiscovery(const std::string& compact, const Options& options) {
  token::TrustedIssuer issuer = issuerFor(options);
  issuer.plainLoopback = true;
  if (!options.issuerCa.empty()) {
    Result<std::string> pem = readFile(options.issuerCa);
    if (!pem) return pem.error();
    issuer.caPem = *std::move(pem);
  }
  const SystemClock clock;
  boost::asio::thread_pool pool(1);
  const Result<http::AddressRules> rules = options.relying.rules();
  if (!rules) return rules.error();
  token::RelyingParty party(pool, clock, *rules);
  if (Result<void> trusted = party.trust({issuer}); !trusted) return trusted.error();
  Result<token::VerifiedToken> verified;
  boost::asio::io_context here(1);
  boost::asio::co_spawn(here, party.verify(compact),
                        [&verified](std::exception_ptr, Result<token::VerifiedToken> got) { verified = std::move(got); });
  here.run();
  if (!verified) return verified.error();
  return proofOf(*verified, options.issuer);
}

// The API server knows more: that the pod, the secret and the service account still exist.
Result<Proof> verifyByReview(const std::string& compact, const Options& options) {
  Result<client::Access> access = client::findAccess(options.access);
  if (!access) return access.error();
  const std::string server = access->server;
  json::array audiences(options.audiences.begin(), options.audiences.end());
  json::object review{{"spec", json::object{{"token", compact}, {"audiences", std::move(audiences)}}}};
  client::RemoteClient remote(*std::move(access));
  Result<DocumentPtr> reviewed = remote.create(api::tokenReviewKind(), "", std::move(review));
  if (!reviewed) return reviewed.error();
  const json::object& answer = (*reviewed)->value;
  if (booleanAt(answer, {"status", "authenticated"})) {
    Proof proof{std::string(textAt(answer, {"status", "user", "username"})), "a TokenReview by " + server, {}, ""};
    if (const json::array* granted = arrayAt(answer, {"status", "audiences"}))
      for (const json::value& one : *granted)
        if (one.is_string()) proof.audiences.emplace_back(one.get_string());
    if (Result<token::PresentedToken> presented = token::parseToken(compact))
      proof.expires = rfc3339(WallTime(std::chrono::seconds(presented->expires)));
    return proof;
  }
  // The server says it in one sentence; what can be seen from here names the check.
  if (Result<token::PresentedToken> presented = token::parseToken(compact)) {
    token::TrustedIssuer issuer = issuerFor(options);
    issuer.url = presented->issuer;
    if (Result<void> seen = token::checkClaims(*presented, issuer, SystemClock().now()); !seen) return seen.error();
  }
  const std::string why(textAt(answer, {"status", "error"}));
  return token::refusal({"token review", "authenticated", why},
                        "the API server " + server + " refuses the token: " + (why.empty() ? "it gives no reason" : why));
}

std::string listed(const std::vector<std::string>& all) {
  std::string text;
  for (const std::string& one : all) text += (text.empty() ? "" : ", ") + one;
  return text;
}

int say(const Proof& proof, const std::string& output) {
  if (output == "text") {
    std::printf("the token is good: %s\n  audiences: %s\n  expires:   %s\n  checked:   against %s\n", proof.user.c_str(),
                listed(proof.audiences).c_str(), proof.expires.c_str(), proof.checkedBy.c_str());
    return kYes;
  }
  json::array audiences(proof.audiences.begin(), proof.audiences.end());
  print({{"valid", true},
         {"user", proof.user},
         {"audiences", std::move(audiences)},
         {"expires", proof.expires},
         {"checkedBy", proof.checkedBy}},
        output);
  return kYes;
}

int sayWhyNot(const Error& error, const std::string& output) {
  const std::optional<token::Refusal> refused = token::refusalOf(error);
  if (output != "text") {
    const token::Refusal what = refused.value_or(token::Refusal{});
    print({{"valid", false},
           {"failedCheck", what.check},
           {"expected", what.expected},
           {"found", what.found},
           {"message", error.sentence},
           {"fix", error.fix}},
          output);
    return kNo;
  }
  std::fprintf(stderr, "error: %s\n", error.sentence.c_str());
  if (refused)
    std::fprintf(stderr, "  check: %s, expected %s, found %s\n", refused->check.c_str(), refused->expected.c_str(), refused->found.c_str());
  if (!error.fix.empty()) std::fprintf(stderr, "  fix: %s\n", error.fix.c_str());
  return kNo;
}

int verify(const Options& options) {
  Result<std::string> compact = readToken(options.file);
  if (!compact) return refuse(compact.error());
  const Result<Proof> proof = !options.jwks.empty()     ? verifyOffline(*compact, options)
                              : !options.issuer.empty() ? verifyByDiscovery(*compact, options)
                                                        : verifyByReview(*compact, options);
  return proof ? say(*proof, options.output) : sayWhyNot(proof.error(), options.output);
}

}  // namespace

void addTokenVerify(Command token) {
  auto options = std::make_shared<Options>();
  const Command verb =
      token.command("verify",
                    "is this token good? Offline with --jwks, by the issuer's own documents with --issuer, else by a TokenReview; exit "
                    "status 1 and the check that failed when not");
  verb.option("file", options->file, "file with the token; - reads standard input").check(tokenFileProblem).showDefault();
  verb.option("--jwks", options->jwks, "the issuer's keys, in this file; nothing is fetched");
  verb.option("--issuer", options->issuer, "the issuer that the token must be of; without --jwks its keys are fetched");
  verb.option("--issuer-ca", options->issuerCa, "CA certificate of the issuer; default: the system's");
  verb.option("--audience", options->audiences, "the token must be for one of these; may be repeated");
  options->relying.addTo(verb);
  addOutput(verb, options->output);
  addAccessFlags(verb, options->access);
  verb.runs([options] { return verify(*options); });
}

}  // namespace podpass::cli
