#include <CLI/CLI.hpp>
#include <cstdio>

#include "api/kinds.h"
#include "cli/access_flags.h"
#include "cli/key_flags.h"
#include "cli/verbs.h"
#include "client/remote_client.h"

namespace podpass::cli {
namespace {

struct Options {
  client::AccessChoice access;
  std::string name, ns, duration, boundKind, boundName, boundUid, output = "token";
  std::vector<std::string> audiences;
};

int create(const Options& options) {
  Result<client::Access> access = client::findAccess(options.access);
  if (!access) return refuse(access.error());
  const std::string ns = options.ns.empty() ? access->ns : options.ns;
  json::object spec;
  json::array audiences(options.audiences.begin(), options.audiences.end());
  if (!audiences.empty()) spec["audiences"] = std::move(audiences);
  if (!options.duration.empty()) spec["expirationSeconds"] = parseDuration(options.duration)->count();
  if (!options.boundKind.empty())
    spec["boundObjectRef"] =
        json::object{{"apiVersion", "v1"}, {"kind", options.boundKind}, {"name", options.boundName}, {"uid", options.boundUid}};
  json::object request{{"apiVersion", "authentication.k8s.io/v1"}, {"kind", "TokenRequest"}, {"spec", std::move(spec)}};
  client::RemoteClient server(*std::move(access));
  Result<json::object> made = server.createSubresource(api::serviceAccountKind(), {ns, options.name}, "token", std::move(request));
  if (!made) return refuse(made.error());
  if (options.output == "token")
    std::printf("%s\n", std::string(textAt(*made, {"status", "token"})).c_str());
  else
    print(*made, options.output);
  return kYes;
}

}  // namespace

void addTokenCreate(CLI::App& token, Chosen& chosen) {
  auto options = std::make_shared<Options>();
  CLI::App* verb = token.add_subcommand("create", "ask the API server for a token of a service account, and print it");
  verb->add_option("name", options->name, "the service account")->required();
  verb->add_option("-n,--namespace", options->ns, "its namespace; default: the context's");
  verb->add_option("--audience", options->audiences, "whom the token is for; may be repeated; default: the API server")
      ->allow_extra_args(false);  // or it takes the name for one more
  verb->add_option("--duration", options->duration, "how long it shall live, as 10m or 1h30m; the server may decide otherwise")
      ->check(CLI::Validator(
          [](const std::string& text) {
            const Result<std::chrono::seconds> life = parseDuration(text);
            return life ? std::string() : life.error().sentence;
          },
          "DURATION"));
  CLI::Option* kind = verb->add_option("--bound-object-kind", options->boundKind, "it dies with this object: Pod, Secret or Node")
                          ->check(CLI::IsMember({"Pod", "Secret", "Node"}));
  CLI::Option* name = verb->add_option("--bound-object-name", options->boundName, "name of that object")->needs(kind);
  kind->needs(name);
  verb->add_option("--bound-object-uid", options->boundUid, "uid of that object")->needs(kind);
  verb->add_option("-o,--output", options->output, "token, json or yaml")
      ->check(CLI::IsMember({"token", "json", "yaml"}))
      ->capture_default_str();
  addAccessFlags(*verb, options->access);
  verb->callback([options, &chosen] { chosen = [options] { return create(*options); }; });
}

}  // namespace podpass::cli
