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

std::string durationProblem(const std::string& text) {
  const Result<std::chrono::seconds> life = parseDuration(text);
  return life ? std::string() : life.error().sentence;
}

}  // namespace

void addTokenCreate(Command token) {
  auto options = std::make_shared<Options>();
  const Command verb = token.command("create", "ask the API server for a token of a service account, and print it");
  verb.option("name", options->name, "the service account").required();
  verb.option("-n,--namespace", options->ns, "its namespace; default: the context's");
  verb.option("--audience", options->audiences, "whom the token is for; may be repeated; default: the API server");
  verb.option("--duration", options->duration, "how long it shall live, as 10m or 1h30m; the server may decide otherwise")
      .check(durationProblem, "DURATION");
  Option kind = verb.option("--bound-object-kind", options->boundKind, "it dies with this object: Pod, Secret or Node")
                    .oneOf({"Pod", "Secret", "Node"});
  Option name = verb.option("--bound-object-name", options->boundName, "name of that object").needs(kind);
  kind.needs(name);
  verb.option("--bound-object-uid", options->boundUid, "uid of that object").needs(kind);
  addOutput(verb, options->output);
  addAccessFlags(verb, options->access);
  verb.runs([options] { return create(*options); });
}

}  // namespace podpass::cli
