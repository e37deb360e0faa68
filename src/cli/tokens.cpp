#include <cstdio>

#include "api/kinds.h"
#include "api/selector.h"
#include "cli/access_flags.h"
#include "cli/table_text.h"
#include "cli/verbs.h"
#include "client/remote_client.h"

// `podpass tokens`: the tokens that a server has issued, and how to end them.
namespace podpass::cli {
namespace {

struct RevokeOptions {
  client::AccessChoice access;
  std::string jti, serviceAccount, pod, node, reason;
};

// NAMESPACE/NAME as an object; nullopt when it is not that.
std::optional<json::object> namespaced(const std::string& text) {
  const std::size_t slash = text.find('/');
  if (slash == std::string::npos || slash == 0 || slash + 1 == text.size() || text.find('/', slash + 1) != std::string::npos)
    return std::nullopt;
  return json::object{{"namespace", text.substr(0, slash)}, {"name", text.substr(slash + 1)}};
}

std::string namespacedProblem(const std::string& text) {
  return namespaced(text) ? std::string() : "expected NAMESPACE/NAME, found " + text;
}

json::object specOf(const RevokeOptions& options) {
  json::object spec;
  if (!options.jti.empty()) spec["jti"] = options.jti.starts_with("JTI=") ? options.jti.substr(4) : options.jti;
  if (!options.serviceAccount.empty()) spec["serviceAccount"] = *namespaced(options.serviceAccount);
  if (!options.pod.empty()) spec["pod"] = *namespaced(options.pod);
  if (!options.node.empty()) spec["node"] = json::object{{"name", options.node}};
  if (!options.reason.empty()) spec["reason"] = options.reason;
  return spec;
}

std::string whatBreaks(const RevokeOptions& options, const std::string& name) {
  std::string account;
  if (!options.jti.empty())
    account = "the token " + options.jti + " is refused from now on\n";
  else if (!options.serviceAccount.empty())
    account = "every token that service account " + options.serviceAccount + " has is refused from now on, those in its Secrets too\n";
  else if (!options.pod.empty())
    account = "every token that is bound to pod " + options.pod + " is refused from now on\n";
  else
    account = "every token that is bound to node " + options.node + " or to a pod there is refused from now on\n";
  account += "  - by the API server and TokenReview at once, on every server\n";
  account += "  - by relying parties that look at /openid/v1/revocations within seconds; by others when the token expires\n";
  if (options.jti.empty()) {
    account += "  - tokens issued later are good; pods get one when theirs is due (80 % of its life): restart what cannot wait\n";
    if (!options.serviceAccount.empty()) account += "  - delete the token Secrets of the account, and make new ones under other names\n";
  } else {
    account += "  - if a pod has it mounted, it gets another when that is due (80 % of its life): restart what cannot wait\n";
  }
  return account + "take it back with: kubectl delete tokenrevocation " + name + "\n";
}

int revoke(const RevokeOptions& options) {
  Result<client::Access> access = client::findAccess(options.access);
  if (!access) return refuse(access.error());
  client::RemoteClient server(*std::move(access));
  json::object metadata{{"generateName", "revocation-"}};
  json::object object{
      {"apiVersion", "identity.podpass.dev/v1"}, {"kind", "TokenRevocation"}, {"metadata", std::move(metadata)}, {"spec", specOf(options)}};
  const Result<DocumentPtr> made = server.create(api::tokenRevocationKind(), "", std::move(object));
  if (!made) return refuse(made.error());
  std::fputs(whatBreaks(options, std::string(textAt((*made)->value, {"metadata", "name"}))).c_str(), stdout);
  return kYes;
}

void addRevoke(Command tokens) {
  auto options = std::make_shared<RevokeOptions>();
  const Command verb = tokens.command("revoke", "end tokens before their time, and say what breaks");
  const Command which = verb.exactlyOne("which");
  which.option("jti", options->jti, "one token: its credential id, as in the claim jti");
  which.option("--service-account", options->serviceAccount, "all tokens of a service account").check(namespacedProblem, "NAMESPACE/NAME");
  which.option("--pod", options->pod, "all tokens that are bound to a pod").check(namespacedProblem, "NAMESPACE/NAME");
  which.option("--node", options->node, "all tokens that are bound to a node, or to a pod there");
  verb.option("--reason", options->reason, "why; whoever may read TokenRevocations sees it");
  addAccessFlags(verb, options->access);
  verb.runs([options] { return revoke(*options); });
}

struct ListOptions {
  client::AccessChoice access;
  std::string ns, output = "table";
  // By the field that is asked for.
  std::map<std::string, std::string> fields;
};

std::string selectorOf(const std::map<std::string, std::string>& fields) {
  std::string selector;
  for (const auto& [field, value] : fields) selector += (selector.empty() ? "" : ",") + field + "=" + api::escapedFieldValue(value);
  return selector;
}

int list(const ListOptions& options) {
  Result<client::Access> access = client::findAccess(options.access);
  if (!access) return refuse(access.error());
  client::RemoteClient server(*std::move(access));
  const api::Kind& kind = api::issuedTokenKind();
  const Result<api::Listing> listing = server.list(kind, options.ns, {.fields = selectorOf(options.fields)});
  if (!listing) return refuse(listing.error());
  if (options.output == "table") {
    std::fputs(tableText(kind, listing->items, SystemClock().now()).c_str(), stdout);
    return kYes;
  }
  json::array items;
  for (const DocumentPtr& item : listing->items) items.push_back(item->value);
  print({{"apiVersion", "v1"}, {"kind", "List"}, {"items", std::move(items)}}, options.output);
  return kYes;
}

void addList(Command tokens) {
  auto options = std::make_shared<ListOptions>();
  const Command verb = tokens.command("list", "live tokens: of whom, for whom, bound to what, until when; never the tokens themselves");
  verb.option("-n,--namespace", options->ns, "only of this namespace");
  const std::tuple<const char*, const char*, const char*> selections[] = {
      {"--service-account", "spec.serviceAccountName", "only of service accounts with this name"},
      {"--audience", "spec.audiences", "only those that are for this audience"},
      {"--node", "spec.nodeName", "only of pods on this node, or bound to it"},
      {"--kid", "spec.keyID", "only those that this key signed"},
      {"--issuer", "spec.issuer", "only those of this issuer"}};
  for (const auto& [flag, field, doc] : selections)
    verb.option(
        flag, [options, name = std::string(field)](const std::string& value) { return options->fields[name] = value, std::string(); }, doc);
  addOutput(verb, options->output);
  addAccessFlags(verb, options->access);
  verb.runs([options] { return list(*options); });
}

}  // namespace

void addTokens(Command app) {
  const Command tokens = app.command("tokens", "the tokens that the server has issued: look at them, end them");
  addList(tokens);
  addRevoke(tokens);
}

}  // namespace podpass::cli
