#include "base/log.h"
#include "base/text.h"
#include "node/pod_config.h"
#include "node/pod_worker.h"
#include "node/pull_secrets.h"

// PodWorker's part that sees to images.
namespace podpass::node {

using namespace std::chrono_literals;

bool registryUnreachable(std::string_view text) {
  constexpr std::string_view kSigns[] = {"no such host", "network is unreachable", "no route to host", "server misbehaving",
                                         "Temporary failure in name resolution"};
  if (std::any_of(std::begin(kSigns), std::end(kSigns), [&](std::string_view sign) { return text.find(sign) != text.npos; })) return true;
  return text.find("dial tcp: lookup ") != text.npos;  // the name service itself refused or was silent
}

Result<Image> PodWorker::ensureImage(const json::object& pod, const json::object& spec) {
  const std::string name(textAt(spec, {"name"})), wanted(textAt(spec, {"image"}));
  const std::string policy(textAt(spec, {"imagePullPolicy"}));
  const auto refuse = [&](const char* reason, const char* event, const std::string& message) {
    waiting_[name] = {reason, message};
    node_.events.warning(pod, name, event, message);
    return Error{Reason::Unavailable, message};
  };
  const Result<std::string> reference = imageReference(wanted);
  if (!reference) return refuse("InvalidImageName", "InspectFailed", reference.error().sentence);
  Result<Image> present = node_.runtime.image(*reference);
  if (!present && present.error().reason != Reason::NotFound)
    return refuse("ImageInspectError", "InspectFailed", "Failed to inspect image " + quoted(wanted) + ": " + present.error().sentence);
  if (present && policy != "Always") {
    node_.events.normal(pod, name, "Pulled", "Container image " + quoted(wanted) + " already present on machine");
    return present;
  }
  if (policy == "Never")
    return refuse("ErrImageNeverPull", "ErrImageNeverPull",
                  "Container image " + quoted(wanted) + " is not present with pull policy of Never");
  return pullImage(pod, spec, *reference);
}

Result<Image> PodWorker::pullImage(const json::object& pod, const json::object& spec, const std::string& reference) {
  const std::string name(textAt(spec, {"name"})), wanted(textAt(spec, {"image"}));
  BackOff& backOff = pulls_[reference];
  if (const SteadyTime now = node_.clock.steady(); now < backOff.until) {
    waiting_[name] = {"ImagePullBackOff", "Back-off pulling image " + quoted(wanted) + ": ErrImagePull: " + backOff.last};
    node_.events.normal(pod, name, "BackOff", "Back-off pulling image " + quoted(wanted));
    node_.events.warning(pod, name, "Failed", "Error: ImagePullBackOff");
    retryIn(std::chrono::duration_cast<std::chrono::milliseconds>(backOff.until - now) + 10ms);
    return Error{Reason::Unavailable, "Back-off pulling image " + quoted(wanted)};
  }
  node_.events.normal(pod, name, "Pulling", "Pulling image " + quoted(wanted));
  const SteadyTime begun = node_.clock.steady();
  Result<std::string> pulled;
  {
    std::lock_guard turn(node_.pulling);
    pulled = pullWithSecrets(pod, reference);
  }
  if (pulled) {
    pulls_.erase(reference);
    const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(node_.clock.steady() - begun);
    node_.events.normal(pod, name, "Pulled", "Successfully pulled image " + quoted(wanted) + " in " + std::to_string(took.count()) + "ms");
    return node_.runtime.image(reference);
  }
  if (registryUnreachable(pulled.error().sentence)) {  // unlike kubelet: a machine without network still runs what it has
    Result<Image> present = node_.runtime.image(reference);
    if (present) {
      node_.events.warning(
          pod, name, "RegistryUnreachable",
          "No registry can be reached, using the image " + quoted(wanted) + " that is present on this machine: " + pulled.error().sentence);
      return present;
    }
  }
  backOff.failures = std::min(backOff.failures + 1, 6);
  backOff.until = node_.clock.steady() + crashDelay(backOff.failures);
  backOff.last = pulled.error().sentence;
  retryIn(std::chrono::duration_cast<std::chrono::milliseconds>(crashDelay(backOff.failures)));
  waiting_[name] = {"ErrImagePull", pulled.error().sentence};
  node_.events.warning(pod, name, "Failed", "Failed to pull image " + quoted(wanted) + ": " + pulled.error().sentence);
  node_.events.warning(pod, name, "Failed", "Error: ErrImagePull");
  return pulled.error();
}

// With each of the pod's credentials that are for this registry until one is good, else as nobody.
Result<std::string> PodWorker::pullWithSecrets(const json::object& pod, const std::string& reference) {
  for (const Registry& registry : credentialsFor(pullSecrets(pod), reference))
    if (Result<std::string> pulled = node_.runtime.pull(reference, &registry); pulled) return pulled;
  return node_.runtime.pull(reference, nullptr);
}

// The contents of the pod's imagePullSecrets; what is missing is told and skipped.
std::vector<Secret> PodWorker::pullSecrets(const json::object& pod) {
  std::vector<Secret> configs;
  const json::array* names = arrayAt(pod, {"spec", "imagePullSecrets"});
  if (names == nullptr) return configs;
  std::string missing;
  for (const json::value& each : *names) {
    const std::string name(each.is_object() ? textAt(each.get_object(), {"name"}) : "");
    const Result<DocumentPtr> secret = node_.client.get(*api::findKind("", "v1", "secrets"), {ns_, name});
    if (!secret) {
      missing += (missing.empty() ? "" : ", ") + name;
      continue;
    }
    for (const char* key : {".dockerconfigjson", ".dockercfg"})
      if (const Result<std::string> config = base64Decode(textAt((*secret)->value, {"data", key})); config && !config->empty())
        configs.emplace_back(*config);
  }
  if (!missing.empty())
    node_.events.warning(pod, "", "FailedToRetrieveImagePullSecret",
                         "Unable to retrieve some image pull secrets (" + missing + "); attempting to pull the image may not succeed.");
  return configs;
}

}  // namespace podpass::node
