#include <cstdio>

#include "api/codec.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "cli/verbs.h"
#include "client/kubeconfig.h"
#include "http/client.h"
#include "http/url.h"
#include "token/inspect.h"

namespace podpass::cli {
namespace {

struct InspectOptions {
  client::AccessChoice access;
  std::string file = "-";
  std::string jwks, issuerCa, audience, output = "text";
  bool online = false, offline = false;
};

// With which keys the signature is checked, or why it is not.
struct Keys {
  std::optional<std::vector<jose::Key>> keys;
  std::string note;
};

bool isLoopback(const std::string& host) { return host == "localhost" || host == "::1" || host.starts_with("127."); }

// The issuer's keys by discovery, as any relying party finds them.
Result<std::vector<jose::Key>> discover(const std::string& issuer, http::FetchOptions options) {
  const Result<http::Url> url = http::parseUrl(issuer);
  if (!url)
    return Error{Reason::BadRequest, "the token's issuer is not a URL, so its keys cannot be asked for",
                 "take them from its cluster: kubectl get --raw /openid/v1/jwks > jwks.json, and give --jwks jwks.json"};
  if (!url->secure && !isLoopback(url->host))
    return Error{Reason::BadRequest, "the token's issuer is plain http, so anybody on the way could give their own keys", "give --jwks"};
  Result<http::Fetched> document = http::fetch(issuer + "/.well-known/openid-configuration", options);
  if (!document) return document.error();
  if (document->status != 200)
    return Error{Reason::Unavailable, "the issuer answers " + std::to_string(document->status) + " to discovery"};
  Result<json::object> parsed = jose::parseStrictObject(document->body);
  if (!parsed) return parsed.error();
  if (textAt(*parsed, {"issuer"}) != issuer) return Error{Reason::Unauthorized, "the discovery document is for another issuer"};
  const std::string jwksUri(textAt(*parsed, {"jwks_uri"}));
  if (url->secure && !jwksUri.starts_with("https://")) return Error{Reason::BadRequest, "the issuer's jwks_uri is not https"};
  Result<http::Fetched> keys = http::fetch(jwksUri, options);
  if (!keys) return keys.error();
  if (keys->status != 200) return Error{Reason::Unavailable, "the issuer answers " + std::to_string(keys->status) + " to its jwks_uri"};
  return jose::parseJwks(keys->body);
}

Result<Keys> keysOf(const std::string& token, const InspectOptions& options) {
  if (!options.jwks.empty()) {
    Result<std::string> text = readFile(options.jwks);
    if (!text) return text.error();
    Result<std::vector<jose::Key>> parsed = jose::parseJwks(*text);
    if (!parsed) return parsed.error();
    return Keys{*std::move(parsed), "keys of " + options.jwks};
  }
  const Result<jose::UnverifiedJws> jws = jose::parseCompactJws(token);
  if (!jws) return Keys{};  // the inspection says why
  const std::string issuer(textAt(jws->payload, {"iss"}));
  // Whoever wrote the token named the issuer. Unasked, only a server that the user trusts already is asked.
  const std::optional<std::string> own = client::authorityFor(options.access, issuer);
  if (options.offline || (!own && !options.online))
    return Keys{std::nullopt, "--online asks the issuer for its keys, --jwks FILE takes them from a file"};
  http::FetchOptions fetching;
  if (!options.online) fetching.timeout = std::chrono::seconds(3);
  if (!options.issuerCa.empty()) {
    Result<std::string> pem = readFile(options.issuerCa);
    if (!pem) return pem.error();
    fetching.caPem = *std::move(pem);
  } else if (own) {
    fetching.caPem = *own;
  }
  Result<std::vector<jose::Key>> found = discover(issuer, std::move(fetching));
  if (found) return Keys{*std::move(found), own ? "keys of the issuer, which the kubeconfig knows" : "keys of the issuer"};
  if (options.online) return found.error();
  return Keys{std::nullopt, "the issuer was asked for its keys in vain: " + log::chain(found.error())};
}

int inspect(const InspectOptions& options) {
  Result<std::string> token = readToken(options.file);
  if (!token) return refuse(token.error());
  const Result<Keys> with = keysOf(*token, options);
  if (!with) return refuse(with.error());
  const token::Inspection seen =
      token::inspect(*token, SystemClock().now(), {with->keys ? &*with->keys : nullptr, with->note, options.audience});
  if (options.output == "json")
    std::printf("%s\n", json::serialize(seen.report).c_str());
  else if (options.output == "yaml")
    std::fputs(api::toYaml(seen.report).c_str(), stdout);
  else
    std::fputs(seen.text.c_str(), stdout);
  return seen.failedCheck.empty() ? kYes : kNo;
}

void addInspect(Command token) {
  auto options = std::make_shared<InspectOptions>();
  const Command inspecting =
      token.command("inspect", "decode a token: who, for whom, bound to what, what is left of its life; exit status 1 when a check fails");
  inspecting.option("file", options->file, "file with the token; - reads standard input").check(tokenFileProblem).showDefault();
  Option jwks = inspecting.option("--jwks", options->jwks, "verify the signature with the keys in this JWKS file");
  Option online = inspecting.flag("--online", options->online,
                                  "verify the signature with the keys that the token's issuer publishes; without it, only an issuer "
                                  "that is a server in the kubeconfig is asked");
  inspecting.flag("--offline", options->offline, "ask nobody").excludes(online);
  inspecting.option("--issuer-ca", options->issuerCa,
                    "CA certificate of the issuer; default: that of the server in the kubeconfig, else the system's");
  jwks.excludes(online);
  inspecting.option("--audience", options->audience, "the audience that the token must be for");
  addOutput(inspecting, options->output);
  inspecting.option("--kubeconfig", options->access.kubeconfig, "whose servers are known issuers; default: $KUBECONFIG or ~/.kube/config");
  inspecting.runs([options] { return inspect(*options); });
}

}  // namespace

void addToken(Command app) {
  const Command token = app.command("token", "make, check and look at tokens");
  addTokenCreate(token);
  addTokenVerify(token);
  addInspect(token);
}

}  // namespace podpass::cli
