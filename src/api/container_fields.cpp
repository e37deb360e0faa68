#include "api/codec.h"
#include "api/fields.h"

namespace podpass::api {
namespace {

Fields actions() {
  return {object("exec", 1, {texts("command", 1, "The command line to execute inside the container; no shell.")}, "A command to execute."),
          object("httpGet", 2,
                 {byDefault(R"("/")", text("path", 1)), intOrString("port", 2), text("host", 3),
                  byDefault(R"("HTTP")", oneOf({"HTTP", "HTTPS"}, text("scheme", 4))),
                  list("httpHeaders", 5, {required(text("name", 1)), text("value", 2)})},
                 "An HTTP GET request to perform."),
          object("tcpSocket", 3, {intOrString("port", 1), text("host", 2)}, "A connection to a TCP port.")};
}

Field probe(std::string_view name, std::uint32_t number, std::string_view doc) {
  Fields handler = joined(actions(), {object("grpc", 4, {integer("port", 1), text("service", 2)}, "A GRPC HealthCheckRequest.")});
  return object(name, number,
                joined(embedded(1, std::move(handler)),
                       {atLeast(0, count("initialDelaySeconds", 2, "Seconds after the start before probes are initiated.")),
                        byDefault("1", atLeast(0, count("timeoutSeconds", 3, "Seconds after which the probe times out."))),
                        byDefault("10", atLeast(0, count("periodSeconds", 4, "How often, in seconds, to perform the probe."))),
                        byDefault("1", atLeast(0, count("successThreshold", 5, "Consecutive successes to be considered successful."))),
                        byDefault("3", atLeast(0, count("failureThreshold", 6, "Consecutive failures to be considered failed."))),
                        atLeast(1, integer("terminationGracePeriodSeconds", 7, "Seconds the pod needs to terminate upon probe failure."))}),
                doc);
}

Field lifecycleHook(std::string_view name, std::uint32_t number, std::string_view doc) {
  return object(name, number, joined(actions(), {object("sleep", 4, {integer("seconds", 1)}, "A duration to sleep.")}), doc);
}

Fields keySelector() {
  return joined(embedded(1, localObjectReference()),
                {required(text("key", 2, "The key to select.")), boolean("optional", 3, "Whether the object or its key must be defined.")});
}

Fields sourceReference() { return joined(embedded(1, {required(text("name", 1))}), {boolean("optional", 2)}); }

Fields environmentVariable() {
  return {required(checked(environmentNameProblem, text("name", 1, "Name of the environment variable."))),
          text("value", 2, "$(VAR_NAME) is expanded using the variables defined before."),
          object("valueFrom", 3,
                 {atomic(object("fieldRef", 1, {byDefault(R"("v1")", text("apiVersion", 1)), required(text("fieldPath", 2))},
                                "Selects a field of the pod.")),
                  atomic(object("resourceFieldRef", 2, {text("containerName", 1), required(text("resource", 2)), quantity("divisor", 3)},
                                "Selects a resource of the container.")),
                  atomic(object("configMapKeyRef", 3, keySelector(), "Selects a key of a ConfigMap.")),
                  atomic(object("secretKeyRef", 4, keySelector(), "Selects a key of a secret in the pod's namespace.")),
                  atomic(object("fileKeyRef", 5, {text("volumeName", 1), text("path", 2), text("key", 3), boolean("optional", 4)},
                                "Selects a key of an env file in a volume."))},
                 "Source for the variable's value. Cannot be used if value is not empty.")};
}

Fields port() {
  return {checked(labelProblem, text("name", 1, "A unique name that services can refer to.")),
          between(0, 65535, count("hostPort", 2, "Number of port to expose on the host.")),
          required(between(1, 65535, count("containerPort", 3, "Number of port to expose on the pod's IP address."))),
          byDefault(R"("TCP")", oneOf({"SCTP", "TCP", "UDP"}, text("protocol", 4, "UDP, TCP or SCTP."))),
          text("hostIP", 5, "What host IP to bind the external port to.")};
}

Fields volumeMount() {
  return {required(text("name", 1, "This must match the name of a volume.")),
          flag("readOnly", 2, "Mounted read-only if true."),
          oneOf({"Disabled", "Enabled", "IfPossible"}, text("recursiveReadOnly", 7, "Whether read-only mounts are so recursively.")),
          required(text("mountPath", 3, "Path within the container at which the volume should be mounted.")),
          checked(relativePathProblem, text("subPath", 4, "Path within the volume from which it should be mounted.")),
          oneOf({"Bidirectional", "HostToContainer", "None"}, text("mountPropagation", 5)),
          checked(relativePathProblem, text("subPathExpr", 6, "subPath with environment variables."))};
}

Fields securityContext() {
  return {object("capabilities", 1, {texts("add", 1), texts("drop", 2)}, "The capabilities to add or drop."),
          boolean("privileged", 2, "Run container in privileged mode."),
          object("seLinuxOptions", 3, {text("user", 1), text("role", 2), text("type", 3), text("level", 4)}),
          object("windowsOptions", 10,
                 {text("gmsaCredentialSpecName", 1), text("gmsaCredentialSpec", 2), text("runAsUserName", 3), boolean("hostProcess", 4)}),
          atLeast(0, integer("runAsUser", 4, "The UID to run the entrypoint of the container process.")),
          atLeast(0, integer("runAsGroup", 8, "The GID to run the entrypoint of the container process.")),
          boolean("runAsNonRoot", 5, "The container must run as a non-root user."),
          boolean("readOnlyRootFilesystem", 6, "Whether this container has a read-only root filesystem."),
          boolean("allowPrivilegeEscalation", 7, "Whether a process can gain more privileges than its parent."),
          oneOf({"Default", "Unmasked"}, text("procMount", 9)),
          object("seccompProfile", 11,
                 {required(oneOf({"Localhost", "RuntimeDefault", "Unconfined"}, text("type", 1))), text("localhostProfile", 2)}),
          object("appArmorProfile", 12,
                 {required(oneOf({"Localhost", "RuntimeDefault", "Unconfined"}, text("type", 1))), text("localhostProfile", 2)})};
}

Fields whatRuns() {
  return {
      required(checked(labelProblem, text("name", 1, "Name of the container, unique in the pod."))),
      required(text("image", 2, "Container image name.")),
      texts("command", 3, "Entrypoint array; no shell. The image's ENTRYPOINT is used if this is not provided."),
      texts("args", 4, "Arguments to the entrypoint. The image's CMD is used if this is not provided."),
      text("workingDir", 5, "Container's working directory."),
      keyedBy({"containerPort", "protocol"}, mergedBy("containerPort", list("ports", 6, port(), "Ports to expose from the container."))),
      list("envFrom", 19,
           {checked(environmentNameProblem, text("prefix", 1, "Prepended to each key.")), object("configMapRef", 2, sourceReference()),
            object("secretRef", 3, sourceReference())},
           "Sources to populate environment variables in the container."),
      mergedBy("name", list("env", 7, environmentVariable(), "Environment variables to set in the container."))};
}

Fields whatItHas() {
  return {byDefault("{}", object("resources", 8,
                                 {map("limits", 1, Type::Quantity, "The maximum amount of compute resources allowed."),
                                  map("requests", 2, Type::Quantity, "The minimum amount of compute resources required."),
                                  mergedBy("name", list("claims", 3, {required(text("name", 1)), text("request", 2)}))},
                                 "Compute resources required by this container.")),
          list("resizePolicy", 23, {required(text("resourceName", 1)), required(text("restartPolicy", 2))}),
          oneOf({"Always", "Never", "OnFailure"}, text("restartPolicy", 24, "Always makes an init container a sidecar.")),
          list("restartPolicyRules", 25,
               {text("action", 1), object("exitCodes", 2,
                                          {text("operator", 1),
                                           [] {
                                             Field values = texts("values", 2);
                                             values.element = Type::Integer;
                                             return values;
                                           }()})}),
          mergedBy("mountPath", list("volumeMounts", 9, volumeMount(), "Pod volumes to mount into the container's filesystem.")),
          mergedBy("devicePath", list("volumeDevices", 21, {required(text("name", 1)), required(text("devicePath", 2))})),
          probe("livenessProbe", 10, "Periodic probe of container liveness; the container is restarted if it fails."),
          probe("readinessProbe", 11, "Periodic probe of container service readiness."),
          probe("startupProbe", 22, "Until this one succeeds no other probes are executed."),
          object("lifecycle", 12,
                 {lifecycleHook("postStart", 1, "Called immediately after a container is created."),
                  lifecycleHook("preStop", 2, "Called immediately before a container is terminated."), text("stopSignal", 3)},
                 "Actions in response to container lifecycle events."),
          byDefault(R"("/dev/termination-log")", text("terminationMessagePath", 13, "The file with the container's final message.")),
          byDefault(R"("File")", oneOf({"FallbackToLogsOnError", "File"}, text("terminationMessagePolicy", 20))),
          oneOf({"Always", "IfNotPresent", "Never"}, text("imagePullPolicy", 14, "Always, Never or IfNotPresent.")),
          object("securityContext", 15, securityContext(), "The security options the container should be run with."),
          flag("stdin", 16, "Whether this container should allocate a buffer for stdin."),
          flag("stdinOnce", 17, "Whether stdin is closed after the first attach."),
          flag("tty", 18, "Whether this container should allocate a TTY for itself.")};
}

}  // namespace

const Fields& container() {
  static const Fields fields = joined(whatRuns(), whatItHas());
  return fields;
}

}  // namespace podpass::api
