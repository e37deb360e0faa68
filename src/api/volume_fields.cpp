#include "api/codec.h"
#include "api/fields.h"

// The volumes of a pod. Sources stand in the order in which validation looks at them, for its messages.
namespace podpass::api {
namespace {

Field mode(std::uint32_t number, std::string_view name = "mode") {
  return checked(fileModeProblem, integer(name, number, "Mode bits of the files, octal in YAML, decimal in JSON (0 to 0777)."));
}

Field defaultMode(std::uint32_t number) { return byDefault("420", mode(number, "defaultMode")); }

Field items(std::uint32_t number) {
  return list("items", number,
              {required(text("key", 1, "The key to project.")),
               required(checked(relativePathProblem, text("path", 2, "The relative path of the file to map the key to."))), mode(3)},
              "Keys and the files they become; if given, other keys do not appear.");
}

Field downwardItems() {
  return list("items", 1,
              {required(checked(relativePathProblem, text("path", 1, "The relative path name of the file to be created."))),
               atomic(object("fieldRef", 2,
                             {byDefault(R"("v1")", text("apiVersion", 1)), required(text("fieldPath", 2, "Path of the field to select."))},
                             "Selects a field of the pod: annotations, labels, name, uid or namespace.")),
               atomic(object("resourceFieldRef", 3, {text("containerName", 1), required(text("resource", 2)), quantity("divisor", 3)},
                             "Selects a resource of the container.")),
               mode(4)},
              "Files with pieces of the pod's description.");
}

// {name, …} of a ConfigMap or Secret: protobuf keeps the name in an embedded LocalObjectReference.
Fields named(Fields rest) { return joined(embedded(1, localObjectReference()), std::move(rest)); }

Fields tokenProjection() {
  return {text("audience", 1, "Who the token is for; empty means the API server."),
          byDefault("3600", checked(tokenLifetimeProblem, integer("expirationSeconds", 2,
                                                                  "The requested duration of validity of the token; "
                                                                  "it is renewed before it expires."))),
          text("path", 3, "The path relative to the mount point of the file to project the token into.")};
}

Fields trustBundleProjection() {
  return {text("name", 1, "Select a single ClusterTrustBundle by name."),
          text("signerName", 2, "Select all ClusterTrustBundles of this signer."),
          atomic(object("labelSelector", 3, labelSelector(), "Select among those of the signer.")),
          boolean("optional", 5, "Whether the volume waits for the bundle."),
          required(checked(relativePathProblem, text("path", 4, "Relative path from the volume root to write the bundle.")))};
}

Fields certificateProjection() {
  return {
      required(text("signerName", 1, "Kubelet's generated CSRs will be addressed to this signer.")),
      required(oneOf({"ECDSAP256", "ECDSAP384", "ECDSAP521", "ED25519", "RSA3072", "RSA4096"}, text("keyType", 2, "The type of keypair."))),
      byDefault("86400", between(3600, 7862400, integer("maxExpirationSeconds", 3, "The maximum lifetime of the certificate."))),
      text("credentialBundlePath", 4, "File for the private key and the certificate chain together."),
      text("keyPath", 5, "File for the private key."),
      text("certificateChainPath", 6, "File for the certificate chain."),
      map("userAnnotations", 7, Type::String, "Information passed on to the signer.")};
}

Field projected() {
  return object("projected", 26,
                {list("sources", 1,
                      {object("secret", 1, named({items(2), boolean("optional", 4)}), "A secret's data to project."),
                       object("downwardAPI", 2, {downwardItems()}, "Pieces of the pod's description to project."),
                       object("configMap", 3, named({items(2), boolean("optional", 4)}), "A config map's data to project."),
                       object("serviceAccountToken", 4, tokenProjection(), "A bound token, renewed on disk before it expires."),
                       object("clusterTrustBundle", 5, trustBundleProjection(), "Trust anchors to project."),
                       object("podCertificate", 6, certificateProjection(), "A certificate for the pod to project.")},
                      "The list of volume projections. Each entry sets one of them."),
                 defaultMode(2)},
                "Items for all in one resources secrets, configmaps, downward API and tokens.");
}

// A volume type with a name for the message that it is one.
Field oldSource(std::string_view name, std::uint32_t number, Fields of) {
  return object(name, number, std::move(of), "A volume type podpass does not mount.");
}

Fields diskSource(std::string_view idName) {
  return {required(text(idName, 1)), text("fsType", 2), count("partition", 3), flag("readOnly", 4)};
}

Field secretReference(std::uint32_t number) { return atomic(object("secretRef", number, localObjectReference())); }

Fields claimSpec() {
  return {texts("accessModes", 1),
          object("resources", 2, {map("limits", 1, Type::Quantity), map("requests", 2, Type::Quantity)}),
          text("volumeName", 3),
          atomic(object("selector", 4, labelSelector())),
          text("storageClassName", 5),
          text("volumeMode", 6),
          atomic(object("dataSource", 7, {text("apiGroup", 1), text("kind", 2), text("name", 3)})),
          object("dataSourceRef", 8, {text("apiGroup", 1), text("kind", 2), text("name", 3), text("namespace", 4)}),
          text("volumeAttributesClassName", 9)};
}

Fields nodeSources() {
  return {
      object("emptyDir", 2, {text("medium", 1, "\"\" or Memory."), quantity("sizeLimit", 2)},
             "A temporary directory that shares a pod's lifetime."),
      object("hostPath", 1,
             {required(text("path", 1)),
              oneOf({"BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"}, text("type", 2))},
             "A file or directory on the host machine that is directly exposed to the container."),
      oldSource("gitRepo", 5, {required(text("repository", 1)), text("revision", 2), text("directory", 3)}),
      oldSource("gcePersistentDisk", 3, diskSource("pdName")),
      oldSource("awsElasticBlockStore", 4, diskSource("volumeID")),
      object(
          "secret", 6,
          {required(text("secretName", 1, "Name of the secret in the pod's namespace.")), items(2), defaultMode(3), boolean("optional", 4)},
          "A secret that should populate this volume."),
      oldSource("nfs", 7, {required(text("server", 1)), required(text("path", 2)), flag("readOnly", 3)})};
}

Fields networkSources() {
  return {
      oldSource(
          "iscsi", 8,
          {text("targetPortal", 1), text("iqn", 2), integer("lun", 3), text("iscsiInterface", 4), text("fsType", 5), flag("readOnly", 6),
           texts("portals", 7), flag("chapAuthDiscovery", 8), secretReference(10), flag("chapAuthSession", 11), text("initiatorName", 12)}),
      oldSource("glusterfs", 9, {text("endpoints", 1), text("path", 2), flag("readOnly", 3)}),
      oldSource("persistentVolumeClaim", 10, {required(text("claimName", 1)), flag("readOnly", 2)}),
      oldSource("rbd", 11,
                {texts("monitors", 1), text("image", 2), text("fsType", 3), text("pool", 4), text("user", 5), text("keyring", 6),
                 secretReference(7), flag("readOnly", 8)}),
      oldSource("flexVolume", 12,
                {required(text("driver", 1)), text("fsType", 2), secretReference(3), flag("readOnly", 4), map("options", 5)}),
      oldSource("cinder", 13, {text("volumeID", 1), text("fsType", 2), flag("readOnly", 3), secretReference(4)}),
      oldSource("cephfs", 14,
                {texts("monitors", 1), text("path", 2), text("user", 3), text("secretFile", 4), secretReference(5), flag("readOnly", 6)}),
      oldSource("flocker", 15, {text("datasetName", 1), text("datasetUUID", 2)}),
      object("downwardAPI", 16, {downwardItems(), defaultMode(2)}, "Downward API about the pod that should populate this volume."),
      oldSource("fc", 17, {texts("targetWWNs", 1), integer("lun", 2), text("fsType", 3), flag("readOnly", 4), texts("wwids", 5)}),
      oldSource("azureFile", 18, {text("secretName", 1), text("shareName", 2), flag("readOnly", 3)})};
}

Fields otherSources() {
  return {
      object("configMap", 19, named({items(2), defaultMode(3), boolean("optional", 4)}), "A config map that should populate this volume."),
      oldSource("vsphereVolume", 20, {text("volumePath", 1), text("fsType", 2), text("storagePolicyName", 3), text("storagePolicyID", 4)}),
      oldSource("quobyte", 21,
                {text("registry", 1), text("volume", 2), flag("readOnly", 3), text("user", 4), text("group", 5), text("tenant", 6)}),
      oldSource(
          "azureDisk", 22,
          {text("diskName", 1), text("diskURI", 2), text("cachingMode", 3), text("fsType", 4), boolean("readOnly", 5), text("kind", 6)}),
      oldSource("photonPersistentDisk", 23, {text("pdID", 1), text("fsType", 2)}),
      oldSource("portworxVolume", 24, {text("volumeID", 1), text("fsType", 2), flag("readOnly", 3)}),
      oldSource("scaleIO", 25,
                {text("gateway", 1), text("system", 2), secretReference(3), flag("sslEnabled", 4), text("protectionDomain", 5),
                 text("storagePool", 6), text("storageMode", 7), text("volumeName", 8), text("fsType", 9), flag("readOnly", 10)}),
      projected(),
      oldSource("storageos", 27,
                {text("volumeName", 1), text("volumeNamespace", 2), text("fsType", 3), flag("readOnly", 4), secretReference(5)}),
      oldSource("csi", 28,
                {required(text("driver", 1)), boolean("readOnly", 2), text("fsType", 3), map("volumeAttributes", 4),
                 atomic(object("nodePublishSecretRef", 5, localObjectReference()))}),
      oldSource("ephemeral", 29,
                {object("volumeClaimTemplate", 1, {object("metadata", 1, metadataFields()), object("spec", 2, claimSpec())})}),
      oldSource("image", 30, {text("reference", 1), text("pullPolicy", 2)})};
}

}  // namespace

const Fields& volume() {
  static const Fields fields = joined({required(checked(labelProblem, text("name", 1, "Name of the volume, unique within the pod.")))},
                                      embedded(2, joined(nodeSources(), joined(networkSources(), otherSources()))));
  return fields;
}

}  // namespace podpass::api
