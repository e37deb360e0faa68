#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/document.h"
#include "base/result.h"

// What a pod is given so that it can prove who it is: a projected token, where it is mounted, and the environment that tells an SDK about
// it. Whatever the cloud, a profile turns a service account into an Injection, and this is the one place that makes a patch of it.
namespace podpass::irsa {

struct Variable {
  std::string name;
  std::string value;  // may be empty
};

// Variables that come together or not at all: a container that has one of `names` keeps its own.
struct VariableGroup {
  std::vector<std::string> names;
  std::vector<Variable> variables;  // may be fewer than the names, or none
};

// A file beside the token. Its text travels in an annotation of the pod, because a webhook cannot make a ConfigMap in time.
struct InjectedFile {
  std::string path;  // below the mount path
  std::string text;
  std::string annotation;
};

struct Injection {
  std::string volume;           // name of the volume and of the mounts
  std::string volumeStem = {};  // what `volume` begins with whatever the pod is called; empty: it is the whole name
  std::string mountPath;        // Unix form, on Windows too
  std::string tokenPath;        // below mountPath
  std::string audience;         // empty: the API server's own
  std::int64_t expirationSeconds = 0;
  std::vector<VariableGroup> environment;  // appended in this order
  // A container that has a name of every group is left wholly alone, without even a mount.
  bool leaveComplete = false;
  bool replaceExisting = false;  // a volume or mount of that name is replaced, else kept
  std::vector<InjectedFile> files;
  std::vector<Variable> labels;  // added to the pod
  std::vector<std::string> skipContainers;
};

// The parts of a Pod that decide, as views into its DOM; null where there are none.
struct PodView {
  std::string_view name;
  std::string_view generateName;
  std::string_view serviceAccount;
  const json::object* labels = nullptr;
  const json::object* annotations = nullptr;
  const json::array* volumes = nullptr;  // null is not the same as an empty list
  const json::array* containers = nullptr;
  const json::array* initContainers = nullptr;
  bool windows = false;      // its node selector asks for Windows
  bool hostNetwork = false;  // it shares its node's network
};

// BadRequest, with the sentence of Go's decoder, when a part has the wrong type.
Result<PodView> viewPod(const json::object& pod);

struct PodPatch {
  // The operations of RFC 6902 as compact JSON: labels and annotations, volumes, then always all containers, and all init containers if
  // there are any. Ephemeral containers are never touched: they come by another request.
  std::string json;
  bool adds = false;  // anything that was not there
};
PodPatch podPatch(const PodView& pod, std::span<const Injection> injections);

// Whether the pod has the volume, or one that was named after a name that the pod did not have yet.
bool hasVolume(const PodView& pod, const Injection& injection);
// Whether some container would use it: it did not ask to be left alone, and has no variables of its own in place of those that lead into
// the volume.
bool isWanted(const PodView& pod, const Injection& injection);

// "C:" and backslashes, for the environment of a Windows container.
std::string windowsPath(std::string_view path);
// `path` below `directory`, cleaned as Go's filepath.Join does.
std::string joinPath(std::string_view directory, std::string_view path);

}  // namespace podpass::irsa
