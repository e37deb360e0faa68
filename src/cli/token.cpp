#include <CLI/CLI.hpp>
#include <cstdio>

#include "api/codec.h"
#include "base/clock.h"
#include "base/file.h"
#include "cli/verbs.h"
#include "http/client.h"
#include "token/inspect.h"

namespace podpass::cli {
namespace {

struct InspectOptions {
  std::string file = "-";
  std::string jwks, issuerCa, audience, output = "text";
  bool online = false;
};

// The issuer's keys by discovery, as any relying party finds them.
Result<std::vector<jose::Key>> discover(const std::string& token, const std::string& caFile) {
  Result<jose::UnverifiedJws> jws = jose::parseCompactJws(token);
  if (!jws) return jws.error();
  const std::string issuer(textAt(jws->payload, {"iss"}));
  http::FetchOptions options;
  if (!caFile.empty()) {
    Result<std::string> pem = readFile(caFile);
    if (!pem) return pem.error();
    options.caPem = *std::move(pem);
  }
  Result<http::Fetched> document = http::fetch(issuer + "/.well-known/openid-configuration", options);
  if (!document) return document.error();
  if (document->status != 200)
    return Error{Reason::Unavailable, "the issuer answers " + std::to_string(document->status) + " to discovery"};
  Result<json::object> parsed = jose::parseStrictObject(document->body);
  if (!parsed) return parsed.error();
  if (textAt(*parsed, {"issuer"}) != issuer)
    return Error{Reason::Unauthorized, "the discovery document is for another issuer: " + std::string(textAt(*parsed, {"issuer"}))};
  Result<http::Fetched> keys = http::fetch(std::string(textAt(*parsed, {"jwks_uri"})), options);
  if (!keys) return keys.error();
  return jose::parseJwks(keys->body);
}

int inspect(const InspectOptions& options) {
  Result<std::string> token = readToken(options.file);
  if (!token) return refuse(token.error());
  std::optional<std::vector<jose::Key>> keys;
  if (!options.jwks.empty()) {
    Result<std::string> text = readFile(options.jwks);
    if (!text) return refuse(text.error());
    Result<std::vector<jose::Key>> parsed = jose::parseJwks(*text);
    if (!parsed) return refuse(parsed.error());
    keys = *std::move(parsed);
  } else if (options.online) {
    Result<std::vector<jose::Key>> found = discover(*token, options.issuerCa);
    if (!found) return refuse(found.error());
    keys = *std::move(found);
  }
  const token::Inspection seen = token::inspect(*token, SystemClock().now(), {keys ? &*keys : nullptr, options.audience});
  if (options.output == "json")
    std::printf("%s\n", json::serialize(seen.report).c_str());
  else if (options.output == "yaml")
    std::fputs(api::toYaml(seen.report).c_str(), stdout);
  else
    std::fputs(seen.text.c_str(), stdout);
  return seen.failedCheck.empty() ? kYes : kNo;
}

void addInspect(CLI::App& token, Chosen& chosen) {
  auto options = std::make_shared<InspectOptions>();
  CLI::App* inspecting = token.add_subcommand(
      "inspect", "decode a token: who, for whom, bound to what, what is left of its life; exit status 1 when a check fails");
  inspecting->add_option("file", options->file, "file with the token; - reads standard input")->capture_default_str();
  inspecting->add_option("--jwks", options->jwks, "verify the signature with the keys in this JWKS file");
  inspecting->add_flag("--online", options->online, "verify the signature with the keys that the token's issuer publishes");
  inspecting->add_option("--issuer-ca", options->issuerCa, "CA certificate of the issuer, for --online");
  inspecting->add_option("--audience", options->audience, "the audience that the token must be for");
  inspecting->add_option("-o,--output", options->output, "text, json or yaml")
      ->check(CLI::IsMember({"text", "json", "yaml"}))
      ->capture_default_str();
  inspecting->callback([options, &chosen] { chosen = [options] { return inspect(*options); }; });
}

}  // namespace

void addToken(CLI::App& app, Chosen& chosen) {
  CLI::App* token = app.add_subcommand("token", "make, check and look at tokens");
  token->require_subcommand(1);
  addTokenCreate(*token, chosen);
  addTokenVerify(*token, chosen);
  addInspect(*token, chosen);
}

}  // namespace podpass::cli
