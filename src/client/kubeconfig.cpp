#include "client/kubeconfig.h"

#include <cstdlib>

#include "api/codec.h"
#include "base/document.h"
#include "base/file.h"
#include "base/text.h"

namespace podpass::client {
namespace {

namespace fs = std::filesystem;

constexpr const char* kServiceAccount = "/var/run/secrets/kubernetes.io/serviceaccount";
constexpr const char* kHowToGive = "give --kubeconfig FILE or set KUBECONFIG; `podpass up --data-dir DIR` writes DIR/admin.kubeconfig";

Error unusable(std::string sentence, std::string fix = {}) { return Error{Reason::BadRequest, std::move(sentence), std::move(fix)}; }

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

// One entry of clusters, contexts or users, and the file that it stands in: relative paths start there.
struct Entry {
  json::object value;
  fs::path file;
};

// Several files read as one: the first that names something decides.
class Merged {
 public:
  Result<void> add(const fs::path& file) {
    Result<std::string> text = readFile(file, 4u << 20);
    if (!text) return text.error();
    Result<json::value> parsed = api::parseYaml(*text);
    if (!parsed) return unusable("the kubeconfig " + file.string() + " cannot be read: " + parsed.error().sentence);
    if (!parsed->is_object()) return unusable("the kubeconfig " + file.string() + " is not a YAML map");
    const json::object& config = parsed->get_object();
    for (const char* list : {"clusters", "contexts", "users"})
      if (const json::array* entries = arrayAt(config, {list}))
        for (const json::value& entry : *entries) {
          if (!entry.is_object()) continue;
          const std::string singular(list, std::char_traits<char>::length(list) - 1);
          const json::object* value = objectAt(entry.get_object(), {singular});
          entries_[list].emplace(textAt(entry.get_object(), {"name"}), Entry{value == nullptr ? json::object() : *value, file});
        }
    if (currentContext_.empty()) currentContext_ = textAt(config, {"current-context"});
    files_ += (files_.empty() ? "" : ":") + file.string();
    return {};
  }
  [[nodiscard]] bool empty() const { return files_.empty(); }
  [[nodiscard]] const std::string& files() const { return files_; }
  [[nodiscard]] const std::string& currentContext() const { return currentContext_; }

  [[nodiscard]] const std::map<std::string, Entry, std::less<>>& clusters() { return entries_["clusters"]; }

  Result<Entry> find(const std::string& list, const std::string& name) {
    const auto found = entries_[list].find(name);
    if (found != entries_[list].end()) return found->second;
    std::string known;
    for (const auto& [each, entry] : entries_[list]) known += (known.empty() ? "" : ", ") + quoted(each);
    const std::string singular = list.substr(0, list.size() - 1);
    return unusable("the kubeconfig " + files_ + " has no " + singular + " " + quoted(name), known.empty() ? "" : "it has " + known);
  }

 private:
  std::map<std::string, std::map<std::string, Entry, std::less<>>> entries_;
  std::string currentContext_;
  std::string files_;
};

fs::path besides(const Entry& entry, std::string_view path) { return fs::absolute(entry.file).parent_path() / path; }

// `name`-data (base64) or `name` (a path): the bytes, "" when neither is there.
Result<std::string> bytesOf(const Entry& entry, const std::string& name) {
  const std::string_view inlined = textAt(entry.value, {name + "-data"}), path = textAt(entry.value, {name});
  if (!inlined.empty()) {
    Result<std::string> bytes = base64Decode(inlined);
    if (!bytes) return unusable(name + "-data in the kubeconfig " + entry.file.string() + " is not base64");
    return bytes;
  }
  if (path.empty()) return std::string();
  Result<std::string> bytes = readFile(besides(entry, path));
  if (!bytes) return unusable("the " + name + " of the kubeconfig " + entry.file.string() + " cannot be read: " + bytes.error().sentence);
  return bytes;
}

Result<void> takeCluster(const Entry& cluster, Access& access) {
  access.server = textAt(cluster.value, {"server"});
  while (access.server.ends_with('/')) access.server.pop_back();
  if (access.server.empty()) return unusable("a cluster in the kubeconfig " + cluster.file.string() + " has no server");
  if (!textAt(cluster.value, {"proxy-url"}).empty())
    return unusable("a cluster in the kubeconfig " + cluster.file.string() +
                    " has a proxy-url, and podpass speaks to API servers directly");
  access.insecure = booleanAt(cluster.value, {"insecure-skip-tls-verify"});
  access.serverName = textAt(cluster.value, {"tls-server-name"});
  Result<std::string> ca = bytesOf(cluster, "certificate-authority");
  if (!ca) return ca.error();
  access.caPem = *std::move(ca);
  return {};
}

void takeExec(const json::object& exec, const Entry& user, Access& access) {
  access.exec.command = textAt(exec, {"command"});
  if (access.exec.command.find('/') != std::string::npos) access.exec.command = besides(user, access.exec.command).string();
  access.exec.apiVersion = textAt(exec, {"apiVersion"});
  if (const json::array* arguments = arrayAt(exec, {"args"}))
    for (const json::value& each : *arguments)
      if (each.is_string()) access.exec.arguments.emplace_back(each.get_string());
  if (const json::array* variables = arrayAt(exec, {"env"}))
    for (const json::value& each : *variables)
      if (each.is_object())
        access.exec.environment.push_back(std::string(textAt(each.get_object(), {"name"})) + "=" +
                                          std::string(textAt(each.get_object(), {"value"})));
}

Result<void> takeUser(const Entry& user, Access& access) {
  Result<std::string> certificate = bytesOf(user, "client-certificate");
  if (!certificate) return certificate.error();
  Result<std::string> key = bytesOf(user, "client-key");
  if (!key) return key.error();
  access.clientCertificatePem = *std::move(certificate);
  access.clientKeyPem = Secret(*key);
  if (const std::string_view file = textAt(user.value, {"tokenFile"}); !file.empty())
    access.tokenFile = besides(user, file);
  else
    access.token = Secret(textAt(user.value, {"token"}));
  for (const char* other : {"auth-provider", "username"})
    if (user.value.contains(other))
      return unusable("a user in the kubeconfig " + user.file.string() + " logs in with " + other + ", which API servers no longer know",
                      "use a client certificate, a token, a tokenFile or an exec plugin");
  if (const json::object* exec = objectAt(user.value, {"exec"})) takeExec(*exec, user, access);
  return {};
}

Result<Access> accessIn(Merged& config, const std::string& chosen) {
  const std::string& name = chosen.empty() ? config.currentContext() : chosen;
  if (name.empty()) return unusable("the kubeconfig " + config.files() + " has no current-context", "give --context NAME");
  Result<Entry> context = config.find("contexts", name);
  if (!context) return context.error();
  Access access;
  access.origin = "context " + quoted(name) + " of " + config.files();
  if (const std::string_view ns = textAt(context->value, {"namespace"}); !ns.empty()) access.ns = ns;
  Result<Entry> cluster = config.find("clusters", std::string(textAt(context->value, {"cluster"})));
  if (!cluster) return cluster.error();
  if (Result<void> taken = takeCluster(*cluster, access); !taken) return taken.error();
  const std::string_view userName = textAt(context->value, {"user"});
  if (userName.empty()) return access;  // anonymous
  Result<Entry> user = config.find("users", std::string(userName));
  if (!user) return user.error();
  if (Result<void> taken = takeUser(*user, access); !taken) return taken.error();
  return access;
}

std::vector<fs::path> filesToRead(const AccessChoice& choice) {
  if (!choice.kubeconfig.empty()) return {choice.kubeconfig};
  std::vector<fs::path> files;
  const std::string list = environment("KUBECONFIG");
  for (std::size_t at = 0; at < list.size();) {
    const std::size_t end = std::min(list.find(':', at), list.size());
    if (end > at) files.emplace_back(list.substr(at, end - at));
    at = end + 1;
  }
  if (files.empty() && !environment("HOME").empty()) files.push_back(fs::path(environment("HOME")) / ".kube" / "config");
  return files;
}

}  // namespace

Result<Access> podAccess(const std::string& host, const std::string& port, const fs::path& directory) {
  Access access;
  access.server = "https://" + (host.find(':') != std::string::npos ? "[" + host + "]" : host) + ":" + port;
  access.origin = "the pod's service account";
  access.tokenFile = directory / "token";
  Result<std::string> ca = readFile(directory / "ca.crt");
  if (!ca) return unusable("the pod's certificate authority cannot be read: " + ca.error().sentence);
  access.caPem = *std::move(ca);
  if (Result<std::string> ns = readFile(directory / "namespace"); ns && !ns->empty()) access.ns = *std::move(ns);
  return access;
}

Result<Access> findAccess(const AccessChoice& choice) {
  Merged config;
  for (const fs::path& file : filesToRead(choice)) {
    Result<void> added = config.add(file);
    if (added) continue;
    if (added.error().reason != Reason::NotFound) return added.error();
    if (!choice.kubeconfig.empty()) return unusable("the kubeconfig " + file.string() + " does not exist", kHowToGive);
  }
  if (!config.empty()) return accessIn(config, choice.context);
  const std::string host = environment("KUBERNETES_SERVICE_HOST"), port = environment("KUBERNETES_SERVICE_PORT");
  if (!host.empty() && !port.empty()) return podAccess(host, port, kServiceAccount);
  return unusable("no API server is known: there is neither a kubeconfig nor a pod's service account", kHowToGive);
}

std::optional<std::string> authorityFor(const AccessChoice& choice, const std::string& server) {
  Merged config;
  for (const fs::path& file : filesToRead(choice)) static_cast<void>(config.add(file));  // what cannot be read knows no server
  for (const auto& [name, cluster] : config.clusters()) {
    Access access;
    if (takeCluster(cluster, access) && access.server == server && !access.insecure && access.serverName.empty()) return access.caPem;
  }
  return std::nullopt;
}

}  // namespace podpass::client
