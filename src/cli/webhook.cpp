#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <optional>

#include "base/log.h"
#include "cli/stop_signal.h"
#include "cli/verbs.h"
#include "client/kubeconfig.h"
#include "client/remote_client.h"
#include "irsa/instance_identity.h"
#include "irsa/webhook_role.h"

// The flags are those of the Amazon EKS pod identity webhook, by name and meaning (spec irsa.md §1.1), and a few of our own.
namespace podpass::cli {
namespace {

using namespace std::chrono_literals;

constexpr std::chrono::minutes kLongestDelay{10};

struct WebhookFlags {
  irsa::WebhookRoleOptions role;
  std::string kubeconfig, kubeApi;
  std::string tlsKey = "/etc/webhook/certs/tls.key", tlsCertificate = "/etc/webhook/certs/tls.crt";
  std::string ciphers, minimumVersion;
  bool inCluster = true, watchConfigMap = false;
  irsa::WebhookRegistration registration;
  std::string gracePeriod = "0", resyncPeriod = "1m0s", scanInterval = "5m", shutdownDelay = "5s";
  std::string onUnknown = "deny";
  int verbosity = 0;
  std::string logLevel = "info";
  bool ignoredSwitch = false;
  std::string ignored;
};

// Go's durations: "1m30s", "100ms", "0".
std::optional<std::chrono::milliseconds> parseDuration(std::string_view text) {
  if (text == "0") return 0ms;
  constexpr std::pair<std::string_view, double> kUnits[] = {{"ns", 1e-6}, {"us", 1e-3}, {"ms", 1}, {"s", 1e3}, {"m", 6e4}, {"h", 3.6e6}};
  double total = 0;
  if (text.empty()) return std::nullopt;
  while (!text.empty()) {
    double number = 0;
    const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), number, std::chars_format::fixed);
    if (failed != std::errc() || number < 0) return std::nullopt;
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
    const std::string_view unit = text.substr(0, text.find_first_of("0123456789."));
    const auto found = std::find_if(std::begin(kUnits), std::end(kUnits), [unit](const auto& each) { return each.first == unit; });
    if (found == std::end(kUnits)) return std::nullopt;
    total += number * found->second;
    text.remove_prefix(unit.size());
  }
  if (total > 1e12) return std::nullopt;
  return std::chrono::milliseconds(static_cast<std::int64_t>(total));
}

std::vector<std::string> parseList(std::string_view text) {
  std::vector<std::string> parts;
  while (!text.empty()) {
    std::string_view part = text.substr(0, text.find(','));
    text.remove_prefix(std::min(part.size() + 1, text.size()));
    while (part.starts_with(' ')) part.remove_prefix(1);
    while (part.ends_with(' ')) part.remove_suffix(1);
    if (!part.empty()) parts.emplace_back(part);
  }
  return parts;
}

// "VersionTLS12" → "1.2"
std::string tlsVersion(std::string version) {
  constexpr std::string_view kGo = "VersionTLS1";
  return version.starts_with(kGo) && version.size() == kGo.size() + 1 ? "1." + version.substr(kGo.size()) : version;
}

// Where AWS's SDKs are told of another one, too.
std::string instanceMetadata() {
  const char* told = std::getenv("AWS_EC2_METADATA_SERVICE_ENDPOINT");
  return told != nullptr && *told != 0 ? told : irsa::kInstanceMetadata;
}

Result<client::Access> accessOf(const WebhookFlags& flags) {
  Result<client::Access> access = client::findAccess({flags.kubeconfig, ""});
  if (!access && (flags.kubeApi.empty() || !flags.kubeconfig.empty())) return access;
  client::Access found = access ? *std::move(access) : client::Access{};
  if (!flags.kubeApi.empty()) found.server = flags.kubeApi;
  return found;
}

// What the words of the flags mean; BadRequest in the words of the original.
Result<irsa::WebhookRoleOptions> optionsOf(const WebhookFlags& flags) {
  irsa::WebhookRoleOptions role = flags.role;
  role.listeners.tls.certificate = flags.tlsCertificate;
  role.listeners.tls.key = flags.tlsKey;
  role.listeners.tls.ciphers = parseList(flags.ciphers);
  role.listeners.tls.minimumVersion = tlsVersion(flags.minimumVersion);
  if (const Result<void> known = http::checkCiphers(role.listeners.tls.ciphers); !known)
    return Error{Reason::BadRequest, "invalid tls-cipher-suites: " + known.error().sentence};
  const std::string& version = role.listeners.tls.minimumVersion;
  if (!version.empty() && version != "1.0" && version != "1.1" && version != "1.2" && version != "1.3")
    return Error{Reason::BadRequest, "Invalid value for tls-min-version unsupported version " + flags.minimumVersion};
  const std::optional<std::chrono::milliseconds> grace = parseDuration(flags.gracePeriod), scan = parseDuration(flags.scanInterval);
  if (!grace) return Error{Reason::BadRequest, "invalid duration for --service-account-lookup-grace-period: " + flags.gracePeriod};
  const std::optional<std::chrono::milliseconds> delay = parseDuration(flags.shutdownDelay);
  if (!delay || *delay > kLongestDelay)
    return Error{Reason::BadRequest, "invalid duration for --shutdown-delay: " + flags.shutdownDelay, "0 to 10m"};
  if (!scan) return Error{Reason::BadRequest, "invalid duration for --scan-interval: " + flags.scanInterval};
  if (*grace > 0ms) role.webhook.patience = *grace;
  role.scanEvery = std::chrono::duration_cast<std::chrono::seconds>(*scan);
  role.webhook.denyUnknown = flags.onUnknown == "deny";
  if (flags.watchConfigMap) role.configMapNamespace = flags.registration.ns;
  if (flags.inCluster) role.registration = flags.registration;
  irsa::AwsSettings& aws = role.webhook.aws;
  if (!aws.region.empty()) aws.partition = irsa::partitionOf(aws.region);
  if (aws.composeRoleArn && aws.accountId.empty())
    if (Result<void> asked = irsa::askInstance(aws, instanceMetadata()); !asked) return asked.error();
  return role;
}

Result<void> serveWebhook(const WebhookFlags& flags) {
  const StopSignal stop;
  const SystemClock clock;
  Result<irsa::WebhookRoleOptions> options = optionsOf(flags);
  if (!options) return options.error();
  Result<client::Access> access = accessOf(flags);
  if (!access) return access.error();
  client::RemoteClient cluster(*std::move(access));
  irsa::WebhookRole webhook(*std::move(options), cluster, clock);
  if (Result<void> started = webhook.start(); !started) return started;
  stop.wait();
  log::info("draining", {{"for", flags.shutdownDelay}});
  webhook.drain();
  if (stop.within(*parseDuration(flags.shutdownDelay))) log::info("told to stop twice");
  log::info("stopping");
  webhook.stop(10s);
  return {};
}

// klog's, which say nothing here.
void addIgnored(Command webhook, WebhookFlags& flags) {
  for (const char* name :
       {"--add_dir_header", "--alsologtostderr", "--logtostderr", "--one_output", "--skip_headers", "--skip_log_headers"})
    webhook.flag(name, flags.ignoredSwitch, "").hidden();
  for (const char* name : {"--log_backtrace_at", "--log_dir", "--log_file", "--log_file_max_size", "--stderrthreshold", "--vmodule"})
    webhook.option(name, flags.ignored, "").hidden();
}

void addOwn(Command webhook, WebhookFlags& flags) {
  webhook.option("--bind", flags.role.listeners.bind, "address to listen on").showDefault();
  webhook.option("--account-id", flags.role.webhook.aws.accountId, "AWS account for --compose-role-arn; default: the EC2 instance's");
  webhook.option("--on-unknown", flags.onUnknown, "what becomes of a pod whose service account cannot be read: deny or admit")
      .oneOf({"deny", "admit"})
      .showDefault();
  webhook.flag("--warnings", flags.role.webhook.warn, "say in an admission warning what was done (default true)");
  webhook
      .option("--webhook-configuration", flags.registration.configuration,
              "MutatingWebhookConfiguration whose caBundle is kept, with --in-cluster")
      .showDefault();
  webhook.option("--scan-interval", flags.scanInterval, "how often to look for pods that were admitted without their identity; 0: never")
      .showDefault();
  webhook
      .option("--shutdown-delay", flags.shutdownDelay,
              "how long to go on serving, though not ready, after SIGTERM; a second signal ends it")
      .showDefault();
  webhook.flag("--evict-unmutated", flags.role.evictUnmutated, "evict such pods when a controller will replace them");
  webhook.option("--evict-limit", flags.role.evictLimit, "how many to evict after one look; one of each controller at most").showDefault();
  addLogLevel(webhook, flags.logLevel);
}

void addOriginal(Command webhook, WebhookFlags& flags) {
  irsa::AwsSettings& aws = flags.role.webhook.aws;
  webhook.option("--port", flags.role.listeners.port, "port of the HTTPS listener").showDefault();
  webhook.option("--metrics-port", flags.role.listeners.metricsPort, "port of the plain listener with /metrics").showDefault();
  webhook.option("--kubeconfig", flags.kubeconfig,
                 "how to reach the API server; default: as kubectl finds it, or the pod's service account");
  webhook.option("--kube-api", flags.kubeApi, "URL of the API server, in place of the kubeconfig's");
  webhook.option("--tls-key", flags.tlsKey, "private key file, with --in-cluster=false; read again when it changes").showDefault();
  webhook.option("--tls-cert", flags.tlsCertificate, "certificate file, with --in-cluster=false").showDefault();
  webhook.option("--tls-cipher-suites", flags.ciphers, "IANA names, between commas; for TLS 1.2 and older");
  webhook.option("--tls-min-version", flags.minimumVersion, "1.0 to 1.3, or VersionTLS10 to VersionTLS13; default 1.2");
  webhook.flag("--in-cluster", flags.inCluster, "make the certificate and keep it in --tls-secret (default true)");
  webhook.option("--service-name", flags.registration.service, "Service in front of the webhook: names in the certificate").showDefault();
  webhook.option("--namespace", flags.registration.ns, "namespace of the webhook, its Secret and its ConfigMap").showDefault();
  webhook.option("--tls-secret", flags.registration.secret, "Secret with the certificate").showDefault();
  webhook.option("--annotation-prefix", aws.annotationPrefix, "prefix of the annotations").showDefault();
  webhook.option("--token-audience", aws.audience, "default audience of tokens").showDefault();
  webhook.option("--token-mount-path", aws.mountPath, "where tokens are mounted").showDefault();
  webhook.option("--token-expiration", aws.expirationSeconds, "default life of tokens in seconds, at least 600").showDefault();
  webhook.option("--aws-default-region", aws.region, "AWS_DEFAULT_REGION and AWS_REGION of the containers");
  webhook.flag("--sts-regional-endpoint", aws.regionalSts, "AWS_STS_REGIONAL_ENDPOINTS=regional unless an annotation says otherwise");
  webhook.flag("--watch-config-map", flags.watchConfigMap, "also read the ConfigMap pod-identity-webhook");
  webhook.flag("--compose-role-arn", aws.composeRoleArn, "complete bare role names to ARNs");
  webhook.option("--watch-container-credentials-config", flags.role.listeners.credentialsFile,
                 "file with the accounts that use container credentials");
  webhook.option("--container-credentials-audience", aws.containerCredentialsAudience, "audience of their tokens").showDefault();
  webhook.option("--container-credentials-token-mount-path", aws.containerCredentialsMountPath, "where they are mounted").showDefault();
  webhook.option("--container-credentials-token-volume-name", aws.containerCredentialsVolume, "name of their volume").showDefault();
  webhook.option("--container-credentials-token-path", aws.containerCredentialsTokenPath, "their file in the mount").showDefault();
  webhook.option("--container-credentials-full-uri", aws.containerCredentialsFullUri, "where the credentials are fetched").showDefault();
  webhook
      .option("--service-account-lookup-grace-period", flags.gracePeriod,
              "how long a pod may wait for a service account that is not known yet; 0: 1s")
      .showDefault();
  webhook.option("--resync-period", flags.resyncPeriod, "accepted; watches need no resync").showDefault();
  webhook.flag("--enable-debugging-handlers", flags.role.webhook.debugHandlers, "serve /debug/alpha/…");
  webhook.option("-v,--v", flags.verbosity, "log verbosity; 3 and more: debug");
}

}  // namespace

void addWebhook(Command app) {
  auto flags = std::make_shared<WebhookFlags>();
  const Command webhook = app.command("webhook", "the pod identity webhook: gives pods their tokens when they are created");
  addOriginal(webhook, *flags);
  addOwn(webhook, *flags);
  addIgnored(webhook, *flags);
  webhook.version("v0.1.0");
  webhook.runs([flags] {
    setLogLevel(flags->verbosity >= 3 ? "debug" : flags->logLevel);
    const Result<void> done = serveWebhook(*flags);
    return done ? kYes : refuse(done.error());
  });
}

}  // namespace podpass::cli
