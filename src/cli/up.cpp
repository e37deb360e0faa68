#include "cli/up.h"

#include <unistd.h>

#include <cstdio>

#include "base/file.h"
#include "base/log.h"
#include "cli/last_run.h"
#include "cli/stop_signal.h"
#include "cli/verbs.h"
#include "faults/faults.h"
#include "irsa/webhook_role.h"
#include "node/agent.h"
#include "node/containerd.h"

namespace podpass::cli {
namespace {

using namespace std::chrono_literals;

http::Wrap aroundBy(faults::Faults* rehearsal, faults::Place place) {
  return rehearsal != nullptr ? rehearsal->around(place) : http::Wrap();
}

// Faults stand before everything that they are around, and must not follow a store, or call an STS, that is gone.
struct EndOfRehearsal {
  faults::Faults* rehearsal;
  ~EndOfRehearsal() {
    if (rehearsal != nullptr) rehearsal->stop();
  }
};

// Where pods reach the API server: an address on loopback would be their own, so the gateway of their bridge serves it, too.
struct PodSide {
  std::string host;
  unsigned short port = 0;
  bool isApart = false;  // no listener of the users' is there
};

PodSide serveForPods(ControlPlane& control, const std::string& bind, const node::ContainerdPlaces& places) {
  const unsigned short port = control.port();
  Result<void> possible = node::makeBridge(places);
  if (possible && bind == "0.0.0.0") return {places.gateway, port};
  for (const unsigned short wanted : {port, static_cast<unsigned short>(0)}) {  // the same port when nobody has it on all addresses
    if (!possible) break;
    const Result<unsigned short> served = control.serveAlsoOn(places.gateway, wanted);
    if (served) return {places.gateway, *served, true};
    if (wanted == 0) possible = served.error();
  }
  log::warn("pods cannot reach the API server", {{"err", log::chain(possible.error())}});
  return {control.host(), port};
}

// The pod identity webhook, installed as an ordinary admission webhook, as in Amazon EKS.
Result<std::unique_ptr<irsa::WebhookRole>> startWebhook(ControlPlane& control, int port, http::Wrap around, const Clock& clock) {
  irsa::WebhookRoleOptions role;
  role.listeners.around = std::move(around);
  role.listeners.bind = control.host();
  role.listeners.port = static_cast<unsigned short>(port);
  role.listeners.metricsPort = -1;
  role.listeners.threads = 1;
  role.listeners.tls = {.certificate = control.tls().certificate, .key = control.tls().key, .clientCa = {}};
  role.configMapNamespace = "kube-system";
  role.webhook.credentialsNeedPodNetwork = true;
  auto webhook = std::make_unique<irsa::WebhookRole>(std::move(role), control.client(), clock);
  if (Result<void> started = webhook->start(); !started) return started.error();
  Result<void> installed = irsa::installConfiguration(control.client(), webhook->url(), control.authority().certificatePem());
  if (!installed) return installed.error();
  return webhook;
}

// STS, with this podpass's own issuer registered.
Result<std::unique_ptr<irsa::StsServer>> startSts(ControlPlane& control, StsFlags flags, faults::Faults* rehearsal, const Clock& clock) {
  Result<void> registered = registerOwnIssuers(control.client(), control.issuers(), {control.url(), control.discoveryUrl()},
                                               control.authority().certificatePem());
  if (!registered) return registered.error();
  Result<irsa::StsOptions> options = stsFiles(control.directory(), control.authority(), flags, clock.now());
  if (!options) return options.error();
  options->around = aroundBy(rehearsal, faults::Place::STS);
  options->aroundContainers = aroundBy(rehearsal, faults::Place::ContainerCredentials);
  const Clock& time = rehearsal != nullptr ? rehearsal->clock(faults::Place::STS) : clock;
  std::unique_ptr<irsa::StsServer> sts;
  Result<void> started = Error{};
  for (const unsigned short port : {flags.port == 0 ? LastRun(control.directory()).port("sts") : flags.port, flags.port}) {
    if (started) break;
    options->port = port;
    sts = std::make_unique<irsa::StsServer>(control.client(), time, *options);
    started = sts->start();
  }
  if (!started) return started.error();
  Result<void> written = writeFileAtomically(control.directory() / "aws-credentials", sts->administratorFile(), 0600);
  if (!written) return written.error();
  return sts;
}

// For EKS Pod Identity's credentials: whose token it is.
irsa::ContainerCredentialsOptions judgedBy(const token::Verifier& verifier) {
  irsa::ContainerCredentialsOptions serving;
  serving.verify = [&verifier](std::string_view token) {
    const std::string audience = irsa::kPodAudience;
    return verifier.verify(token, std::span(&audience, 1));
  };
  return serving;
}

}  // namespace

Result<void> up(const UpOptions& options) {
  const StopSignal stop;
  const SystemClock clock;
  const bool withNode = options.node == "auto" && ::geteuid() == 0, ownContainerd = withNode && options.containerd.empty();
  if (options.node == "auto" && !withNode)
    std::fprintf(stderr, "podpass: running containers needs root, so no node is registered; everything else works (--node off says so)\n");
  const node::ContainerdPlaces places(std::filesystem::absolute(options.control.dataDir) / "node");
  ControlPlaneFlags flags = options.control;
  StsFlags stsFlags = options.sts;
  stsFlags.bind = flags.bind;
  stsFlags.account = flags.account;
  stsFlags.relying = flags.relying;
  if (ownContainerd) flags.moreAddresses = stsFlags.moreAddresses = {places.gateway};

  const std::unique_ptr<faults::Faults> rehearsal = options.serveFaults ? std::make_unique<faults::Faults>(clock) : nullptr;
  ControlPlane control(flags, clock,
                       {.tokens = rehearsal ? &rehearsal->clock(faults::Place::APIServer) : nullptr,
                        .around = aroundBy(rehearsal.get(), faults::Place::APIServer)});
  if (Result<void> started = control.start(); !started) return started;
  json::object endpoints;
  std::unique_ptr<irsa::WebhookRole> webhook;
  if (options.webhookPort >= 0) {
    Result<std::unique_ptr<irsa::WebhookRole>> started =
        startWebhook(control, options.webhookPort, aroundBy(rehearsal.get(), faults::Place::Webhook), clock);
    if (!started) return started.error();
    webhook = *std::move(started);
    endpoints["webhook"] = webhook->url();
  }
  Result<std::unique_ptr<irsa::StsServer>> sts = startSts(control, stsFlags, rehearsal.get(), clock);
  if (!sts) return sts.error();
  const EndOfRehearsal ending{rehearsal.get()};
  endpoints["sts"] = (*sts)->url();
  if (!(*sts)->proxyUrl().empty()) endpoints["stsProxy"] = (*sts)->proxyUrl();

  const std::unique_ptr<api::Client> nodeClient =
      control.clientOf({.name = "system:node:" + options.nodeName, .groups = {"system:nodes", "system:authenticated"}});
  std::unique_ptr<node::Agent> agent;
  PodSide podSide{control.host(), control.port()};
  if (ownContainerd) podSide = serveForPods(control, flags.bind, places);
  if (podSide.isApart) {
    const Result<irsa::StsServer::Urls> there = (*sts)->serveAlsoOn(podSide.host);
    if (!there) log::warn("pods cannot reach the STS", {{"err", log::chain(there.error())}});
    if (there) endpoints["stsForPods"] = there->sts;
    if (there && !there->proxy.empty()) endpoints["stsProxyForPods"] = there->proxy;
  }
  if (!options.containers.empty()) {
    const Result<std::string> there = (*sts)->serveContainers(judgedBy(control.verifier()), options.containers);
    if (!there) return there.error();
    endpoints["containerCredentials"] = *there;
  }
  if (withNode) {
    node::AgentOptions wanted{.nodeName = options.nodeName,
                              .directory = control.directory() / "node",
                              .containerdSocket = options.containerd,
                              .apiHost = podSide.host,
                              .apiPort = std::to_string(podSide.port)};
    if (podSide.host == places.gateway) {
      const Result<unsigned short> there = (*sts)->serveContainersOfBridge(judgedBy(control.verifier()), places.gateway);
      if (!there) log::warn("pods cannot reach 169.254.170.23", {{"err", log::chain(there.error())}});
      if (there) wanted.credentialsPort = *there;
      if (there) endpoints["containerCredentialsForPods"] = "http://" + std::string(irsa::kPodCredentialsAddress) + "/v1/credentials";
    }
    agent = node::makeAgent(std::move(wanted), *nodeClient, clock);
    if (Result<void> started = agent->start(); !started) {
      log::warn("node agent not started", {{"err", log::chain(started.error())}});
      agent = nullptr;
    }
    control.setNodeAccess(agent.get());
  }
  if (rehearsal) {
    if (Result<void> put = faults::putFaults(control.client(), options.faults); !put) return put;
    Result<void> started = rehearsal->start(control.store(), control.client(), [&server = **sts] { server.forgetKeys(); });
    if (!started) return started;
  }
  if (Result<void> written = control.writeEndpoints(std::move(endpoints)); !written) return written;
  std::fputs(control.readyText().c_str(), stdout);
  std::fflush(stdout);
  stop.wait();

  log::info("stopping");
  if (rehearsal) rehearsal->stop();
  control.beginShutdown();
  if (agent) agent->stop();
  if (webhook) webhook->stop(2s);
  (*sts)->stop();
  control.stop();
  control.setNodeAccess(nullptr);
  return {};
}

namespace {

// Takes what --fault says; what is wrong with it, or "".
std::string beginWith(const std::vector<std::string>& words, UpOptions& options) {
  options.serveFaults = options.serveFaults || !words.empty();
  for (const std::string& word : words) {
    Result<json::object> fault = faults::faultOf(word);
    if (!fault) return fault.error().sentence + ": " + fault.error().fix;
    options.faults.push_back(*std::move(fault));
  }
  return {};
}

}  // namespace

void addUp(Command app) {
  auto options = std::make_shared<UpOptions>();
  auto level = std::make_shared<std::string>("info");
  auto faults = std::make_shared<std::vector<std::string>>();
  const Command up = app.command("up", "run everything in one process until it is told to stop");
  options->control.addTo(up);
  up.option("--node", options->node, "register this machine as a node and run pods: auto or off").oneOf({"auto", "off"}).showDefault();
  up.option("--node-name", options->nodeName, "name of the node").showDefault();
  up.option("--containerd", options->containerd, "socket of a containerd to use; default: a private one is started");
  up.option("--webhook-port", options->webhookPort, "port of the pod identity webhook; 0 picks a free one, -1 leaves it out").showDefault();
  up.option("--sts-port", options->sts.port, "port of the STS; 0 picks a free one").showDefault();
  up.flag("--sts-plain-http", options->sts.plainHttp, "STS without TLS, on loopback only");
  up.option("--sts-connect-proxy", options->sts.connectProxy,
            "HOST:PORT of a CONNECT proxy that leads AWS's STS host names to this STS, for clients without an endpoint setting");
  up.option("--container-credentials", options->containers,
            "ADDRESS:PORT, on loopback, where EKS Pod Identity's credentials are served besides 169.254.170.23 in the pods; default: none");
  up.flag("--faults", options->serveFaults, "for rehearsals: serve the kind Fault, by which whoever may create one lets things go wrong");
  up.option(
      "--fault", *faults,
      "TYPE[=VALUE]: begin with this Fault, such as TokensExpired, ClockSkew=SECONDS, STSThrottling=PERCENT or WebhookDown=Unavailable; "
      "implies --faults; may be repeated");
  addLogLevel(up, *level);
  const auto run = [options, level] {
    setLogLevel(*level);
    if (options->serveFaults) api::serveFaults();
    const Result<void> done = cli::up(*options);
    return done ? kYes : refuse(done.error());
  };
  up.runs(run, [options, faults] { return beginWith(*faults, *options); });
}

}  // namespace podpass::cli
