#include "cli/command_line.h"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <iostream>

#include "api/codec.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "cli/up.h"
#include "http/http.h"
#include "token/inspect.h"

namespace podpass::cli {
namespace {

constexpr int kYes = 0, kNo = 1, kUsage = 2;

int refuse(const Error& error) {
  std::fprintf(stderr, "error: %s\n", log::chain(error).c_str());
  if (!error.fix.empty()) std::fprintf(stderr, "  fix: %s\n", error.fix.c_str());
  return kNo;
}

struct InspectOptions {
  std::string file = "-";
  std::string jwks, issuerCa, audience, output = "text";
  bool online = false;
};

// A token comes from a file or standard input, never from argv, which every user of the machine can read.
Result<std::string> readToken(const std::string& file) {
  std::string text;
  if (file == "-") {
    text.assign(std::istreambuf_iterator<char>(std::cin), {});
  } else {
    Result<std::string> read = readFile(file, 1u << 20);
    if (!read) return read.error();
    text = *std::move(read);
  }
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r' || text.back() == ' ')) text.pop_back();
  if (text.empty()) return Error{Reason::BadRequest, "there is no token to inspect", "give a file, or pipe the token in"};
  return text;
}

// The issuer's keys by discovery, as any relying party finds them.
Result<std::vector<jose::Key>> discover(const std::string& token, const std::string& caFile) {
  Result<jose::UnverifiedJws> jws = jose::parseCompactJws(token);
  if (!jws) return jws.error();
  const std::string issuer(textAt(jws->payload, {"iss"}));
  http::FetchOptions options;
  options.caFile = caFile;
  Result<http::Fetched> document = http::fetch(issuer + "/.well-known/openid-configuration", options);
  if (!document) return document.error();
  if (document->status != 200) return Error{Reason::Unavailable, "the issuer answers " + std::to_string(document->status) + " to discovery"};
  Result<json::object> parsed = jose::parseStrictObject(document->body);
  if (!parsed) return parsed.error();
  if (textAt(*parsed, {"issuer"}) != issuer) return Error{Reason::Unauthorized, "the discovery document is for another issuer: " + std::string(textAt(*parsed, {"issuer"}))};
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
  if (options.output == "json") std::printf("%s\n", json::serialize(seen.report).c_str());
  else if (options.output == "yaml") std::fputs(api::toYaml(seen.report).c_str(), stdout);
  else std::fputs(seen.text.c_str(), stdout);
  return seen.failedCheck.empty() ? kYes : kNo;
}

constexpr const char* kCompletion = R"(_podpass() {
  local current="${COMP_WORDS[COMP_CWORD]}" words
  case "${COMP_WORDS[1]} ${COMP_WORDS[2]}" in
    "up "*) words="--data-dir --bind --port --issuer --node --node-name --containerd --legacy-token-secrets --anonymous-issuer-discovery --service-account-max-token-expiration --service-account-extend-token-expiration --log-level --help" ;;
    "token inspect") words="--jwks --online --issuer-ca --audience -o --help" ;;
    "token "*) words="inspect" ;;
    "completion "*) words="bash" ;;
    *) words="up token completion version --help" ;;
  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}
complete -o default -F _podpass podpass
)";

void addUp(CLI::App& app, UpOptions& options, std::string& level) {
  CLI::App* up = app.add_subcommand("up", "run everything in one process until it is told to stop");
  up->add_option("--data-dir", options.dataDir, "where keys, certificates, objects and the kubeconfig are kept")->required();
  up->add_option("--bind", options.bind, "address to listen on")->capture_default_str();
  up->add_option("--port", options.port, "port to listen on; 0 picks a free one")->capture_default_str();
  up->add_option("--issuer", options.issuer, "issuer URL written into tokens; default: the API server's own URL");
  up->add_option("--node", options.node, "register this machine as a node and run pods: auto or off")->check(CLI::IsMember({"auto", "off"}))->capture_default_str();
  up->add_option("--node-name", options.nodeName, "name of the node")->capture_default_str();
  up->add_option("--containerd", options.containerd, "socket of a containerd to use; default: a private one is started");
  up->add_option("--legacy-token-secrets", options.legacyTokenSecrets, "auto: a token Secret for each service account; manual: only for annotated Secrets")
      ->check(CLI::IsMember({"auto", "manual"}))
      ->capture_default_str();
  up->add_option("--service-account-max-token-expiration", options.maxTokenSeconds, "longest life of a token in seconds; 0: no limit")->capture_default_str();
  up->add_option("--service-account-extend-token-expiration", options.extendTokens, "one year for the injected tokens, with a warning after 3607 s")
      ->capture_default_str();
  up->add_flag("--anonymous-issuer-discovery", options.anonymousIssuer, "let anybody read the discovery document and the public keys");
  up->add_option("--log-level", level, "debug, info, warn or error")->check(CLI::IsMember({"debug", "info", "warn", "error"}))->capture_default_str();
}

}  // namespace

int run(int count, char** words) {
  CLI::App app{"podpass: Kubernetes workload identity as one program", "podpass"};
  app.require_subcommand(1);
  app.set_version_flag("--version", "podpass 0.1.0");
  UpOptions upOptions;
  std::string level = "info";
  addUp(app, upOptions, level);
  InspectOptions inspectOptions;
  CLI::App* token = app.add_subcommand("token", "look at tokens");
  token->require_subcommand(1);
  CLI::App* inspecting = token->add_subcommand("inspect", "decode a token: who, for whom, bound to what, what is left of its life; exit status 1 when a check fails");
  inspecting->add_option("file", inspectOptions.file, "file with the token; - reads standard input")->capture_default_str();
  inspecting->add_option("--jwks", inspectOptions.jwks, "verify the signature with the keys in this JWKS file");
  inspecting->add_flag("--online", inspectOptions.online, "verify the signature with the keys that the token's issuer publishes");
  inspecting->add_option("--issuer-ca", inspectOptions.issuerCa, "CA certificate of the issuer, for --online");
  inspecting->add_option("--audience", inspectOptions.audience, "the audience that the token must be for");
  inspecting->add_option("-o,--output", inspectOptions.output, "text, json or yaml")->check(CLI::IsMember({"text", "json", "yaml"}))->capture_default_str();
  std::string shell = "bash";
  CLI::App* completion = app.add_subcommand("completion", "print shell completion: source <(podpass completion bash)");
  completion->add_option("shell", shell)->check(CLI::IsMember({"bash"}))->capture_default_str();
  CLI::App* version = app.add_subcommand("version", "print the version");
  try {
    app.parse(count, words);
  } catch (const CLI::ParseError& problem) {
    return app.exit(problem) == 0 ? kYes : kUsage;
  }
  if (completion->parsed()) {
    std::fputs(kCompletion, stdout);
    return kYes;
  }
  if (version->parsed()) {
    std::puts("podpass 0.1.0");
    return kYes;
  }
  if (inspecting->parsed()) return inspect(inspectOptions);
  log::setLevel(level == "debug" ? log::Level::Debug : level == "warn" ? log::Level::Warn : level == "error" ? log::Level::Error : log::Level::Info);
  if (Result<void> done = up(upOptions); !done) return refuse(done.error());
  return kYes;
}

}  // namespace podpass::cli
