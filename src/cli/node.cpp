#include <unistd.h>

#include <cstdio>

#include "base/clock.h"
#include "base/file.h"
#include "cli/stop_signal.h"
#include "cli/verbs.h"
#include "client/kubeconfig.h"
#include "client/remote_client.h"
#include "http/url.h"
#include "node/agent.h"

namespace podpass::cli {
namespace {

struct NodeFlags {
  client::AccessChoice access;
  std::string dataDir;
  std::string nodeName, containerd, logLevel = "info";
};

std::string hostName() {
  char name[256] = {};
  ::gethostname(name, sizeof(name) - 1);
  return name;
}

// Containers are told the server's address as the kubeconfig has it.
Result<void> runNode(const NodeFlags& flags) {
  if (::geteuid() != 0) return Error{Reason::Forbidden, "running containers needs root", "run podpass node as root"};
  const StopSignal stop;
  const SystemClock clock;
  Result<client::Access> access = client::findAccess(flags.access);
  if (!access) return access.error();
  const Result<http::Url> server = http::parseUrl(access->server);
  if (!server) return server.error();
  const std::filesystem::path directory = std::filesystem::absolute(flags.dataDir);
  if (Result<void> made = makeDirectories(directory, 0700); !made) return made;
  const std::string url = access->server;
  client::RemoteClient client(*std::move(access));
  const std::unique_ptr<node::Agent> agent =
      node::makeAgent({flags.nodeName, directory / "node", flags.containerd, server->host, server->port}, client, clock);
  if (Result<void> started = agent->start(); !started) return started;
  std::printf("podpass node is ready: %s serves %s\n", flags.nodeName.c_str(), url.c_str());
  std::fflush(stdout);
  stop.wait();
  agent->stop();
  return {};
}

}  // namespace

void addNode(Command app) {
  auto flags = std::make_shared<NodeFlags>();
  flags->nodeName = hostName();
  const Command node = app.command("node", "the node agent alone: runs the pods that an API server elsewhere binds to this machine");
  node.option("--data-dir", flags->dataDir, "where volumes, logs and the private containerd are kept").required();
  node.option("--kubeconfig", flags->access.kubeconfig, "how to reach the API server; default: as kubectl finds it");
  node.option("--context", flags->access.context, "context of the kubeconfig");
  node.option("--node-name", flags->nodeName, "name of the node; the credentials must be allowed to act as system:node:NAME does")
      .showDefault();
  node.option("--containerd", flags->containerd, "socket of a containerd to use; default: a private one is started");
  addLogLevel(node, flags->logLevel);
  node.runs([flags] {
    setLogLevel(flags->logLevel);
    const Result<void> done = runNode(*flags);
    return done ? kYes : refuse(done.error());
  });
}

}  // namespace podpass::cli
