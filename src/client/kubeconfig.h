#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "base/result.h"
#include "base/secret.h"

// Where an API server is and who asks it, as kubectl finds out (k8s.io/client-go/tools/clientcmd).
namespace podpass::client {

// An exec credential plugin (client.authentication.k8s.io): a program that prints a token.
struct ExecPlugin {
  std::string command;
  std::vector<std::string> arguments;
  std::vector<std::string> environment;  // NAME=value, beside our own
  std::string apiVersion;
  [[nodiscard]] bool empty() const { return command.empty(); }
};

struct Access {
  std::string server;          // https://host:port, may have a path; no slash at the end
  std::string ns = "default";  // the context's
  std::string origin;          // for people: `context "a" of /home/b/.kube/config`, "the pod's service account"

  std::string caPem;       // empty: the system's roots
  std::string serverName;  // tls-server-name; empty: the host
  bool insecure = false;

  std::string clientCertificatePem;
  Secret clientKeyPem;
  Secret token;
  std::filesystem::path tokenFile;  // instead of token; read again and again, as it is rotated
  ExecPlugin exec;                  // instead of token
};

struct AccessChoice {
  std::string kubeconfig;  // --kubeconfig; empty: KUBECONFIG (a list, merged), ~/.kube/config, or inside a pod its service account
  std::string context;     // --context; empty: current-context
};

// BadRequest: nothing was found, or what was found cannot be used; the sentence names the file and the entry.
Result<Access> findAccess(const AccessChoice& choice);

// Who is believed to be `server` by the kubeconfig that findAccess would read, whatever its context: the PEM of the cluster's authority, ""
// for the system's roots. nullopt: no cluster has this server, or one only without verifying it.
std::optional<std::string> authorityFor(const AccessChoice& choice, const std::string& server);

// A pod's own: token, ca.crt and namespace in `directory`.
Result<Access> podAccess(const std::string& host, const std::string& port, const std::filesystem::path& directory);

}  // namespace podpass::client
