#include "irsa/doctor_pod.h"

#include "api/codec.h"
#include "base/file.h"
#include "base/text.h"
#include "cli/access_flags.h"
#include "cli/doctor_print.h"
#include "cli/iam_flags.h"
#include "cli/verbs.h"
#include "client/remote_client.h"

namespace podpass::cli {
namespace {

struct Options {
  std::string name, ns, file, container, output = "text", sts;
  std::string prefix = "eks.amazonaws.com", webhookNamespace = "kube-system", webhookConfiguration = "pod-identity-webhook";
  std::string clusterName = "podpass", region = "us-east-1";
  IamFlags iam;
  client::AccessChoice access;
};

bool says(const std::string& text, std::string_view words) { return text.find(words) != std::string::npos; }

// cat, as the program in the container would open it. An image without cat cannot be looked into.
irsa::FileRead readInContainer(client::RemoteClient& client, const api::ObjectName& pod, const std::string& container,
                               const std::string& path) {
  using Outcome = irsa::FileRead::Outcome;
  const Result<client::Executed> done = client.exec(pod, container, {"cat", "--", path});
  if (!done && done.error().reason == Reason::Forbidden)
    return {Outcome::Unknown, {}, "you may not exec into the pod: " + done.error().sentence};
  if (!done && (says(done.error().sentence, "executable file not found") || says(done.error().sentence, "no such file or directory")))
    return {Outcome::Unknown, {}, "the image has no cat to read it with"};
  if (!done) return {Outcome::Unknown, {}, done.error().sentence};
  if (done->exitCode == 0) return {Outcome::Read, std::string(done->out.reveal()), {}};
  const std::string said = done->err.substr(0, 500);
  if (says(said, "No such file")) return {Outcome::Missing, {}, "there is no such file: " + quoted(said)};
  if (says(said, "ermission denied")) return {Outcome::Denied, {}, "the container's user may not read it: " + quoted(said)};
  return {Outcome::Unknown, {}, "cat ended with status " + std::to_string(done->exitCode) + ": " + quoted(said)};
}

Result<json::object> readManifest(const std::string& file) {
  Result<std::string> text = readFile(file, 4u << 20);
  if (!text) return text.error();
  Result<json::value> parsed = api::parseYaml(*text);
  if (!parsed) return Error{parsed.error().reason, file + ": " + parsed.error().sentence};
  if (!parsed->is_object() || textAt(parsed->get_object(), {"kind"}) != "Pod")
    return Error{Reason::BadRequest, file + " is not the manifest of a Pod",
                 "take the pod's template out of its Deployment, with kind: Pod"};
  return std::move(parsed->get_object());
}

int examine(const Options& options) {
  Result<client::Access> access = client::findAccess(options.access);
  if (!access) return refuse(access.error());
  irsa::PodCase about{options.ns.empty() ? access->ns : options.ns, options.name};
  if (!options.file.empty()) {
    Result<json::object> manifest = readManifest(options.file);
    if (!manifest) return refuse(manifest.error());
    about.manifest = *std::move(manifest);
    about.manifestFile = options.file;
    about.pod = textAt(*about.manifest, {"metadata", "name"});
    const std::string_view ns = textAt(*about.manifest, {"metadata", "namespace"});
    if (options.ns.empty() && !ns.empty()) about.ns = ns;
  }
  about.container = options.container;
  about.settings.annotationPrefix = options.prefix;
  about.webhookNamespace = options.webhookNamespace;
  about.webhookConfiguration = options.webhookConfiguration;
  about.cluster = {options.clusterName, options.region, {}};
  about.sts = options.sts;
  client::RemoteClient client(*std::move(access), true);
  about.readFile = [&](const std::string& container, const std::string& path) {
    return readInContainer(client, {about.ns, about.pod}, container, path);
  };
  about.iam = [&](const std::string& role) { return iamView(options.iam, role, client); };
  about.issuerCa = [&](const std::string& issuer) { return issuerCa(options.iam, issuer, client.access().server, client.access().caPem); };
  const SystemClock clock;
  const Result<irsa::Diagnosis> diagnosis = irsa::examinePod(client, about, clock);
  return diagnosis ? say(*diagnosis, options.output) : refuse(diagnosis.error());
}

}  // namespace

void addDoctorPod(Command doctor) {
  auto options = std::make_shared<Options>();
  const Command verb = doctor.command(
      "pod",
      "why a pod does not get its role: annotation, webhook, environment, mount, token, issuer, keys, provider, audience, trust policy; "
      "exit status 1, the first broken link and its mend when something is broken");
  Option name = verb.option("name", options->name, "the pod");
  Option file = verb.option("-f,--filename", options->file, "instead of a pod, a manifest: what would become of it").excludes(name);
  name.excludes(file);
  verb.option("-n,--namespace", options->ns, "its namespace; default: the context's");
  verb.option("-c,--container", options->container, "look at this container only; default: at all");
  options->iam.addTo(verb);
  verb.option("--sts", options->sts, "URL of podpass's STS as pods reach it, for the mend of a pod that is not told where it is");
  verb.option("--annotation-prefix", options->prefix, "the webhook's").showDefault();
  verb.option("--webhook-namespace", options->webhookNamespace, "where the webhook's ConfigMap is").showDefault();
  verb.option("--webhook-configuration", options->webhookConfiguration, "its MutatingWebhookConfiguration").showDefault();
  verb.option("--cluster-name", options->clusterName, "the EKS cluster, as session tags of EKS Pod Identity name it").showDefault();
  verb.option("--region", options->region, "the cluster's region, for the same").showDefault();
  addOutput(verb, options->output);
  addAccessFlags(verb, options->access);
  verb.runs([options] { return examine(*options); },
            [options] { return options->name.empty() && options->file.empty() ? "a pod's name, or -f FILE is required" : ""; });
}

}  // namespace podpass::cli
