#include "irsa/injection.h"

#include <algorithm>
#include <optional>

#include "irsa/container_json.h"

namespace podpass::irsa {
namespace {

// Reads members of the types that Go's structs have. The first that is of another type is remembered, and reads as absent from then on.
class Reader {
 public:
  const json::object* object(const json::object* parent, std::string_view member, std::string_view path, std::string_view type) {
    const json::value* value = find(parent, member);
    return value != nullptr && fits(value->is_object(), *value, path, type) ? value->if_object() : nullptr;
  }
  const json::object* texts(const json::object* parent, std::string_view member, std::string_view path) {
    const json::object* map = object(parent, member, path, "map[string]string");
    if (map != nullptr)
      for (const json::key_value_pair& each : *map) fits(each.value().is_string() || each.value().is_null(), each.value(), path, "string");
    return map;
  }
  const json::array* list(const json::object* parent, std::string_view member, std::string_view path, std::string_view type) {
    const json::value* value = find(parent, member);
    if (value == nullptr || !fits(value->is_array(), *value, path, "[]" + std::string(type))) return nullptr;
    for (const json::value& each : value->get_array()) fits(each.is_object() || each.is_null(), each, path, type);
    return value->if_array();
  }
  const json::array* containers(const json::object* parent, std::string_view member, const std::string& path) {
    const json::array* found = list(parent, member, path, "v1.Container");
    const std::string env = path + ".env", mounts = path + ".volumeMounts";
    if (found != nullptr)
      for (const json::value& each : *found) {
        list(each.if_object(), "env", env, "v1.EnvVar");
        list(each.if_object(), "volumeMounts", mounts, "v1.VolumeMount");
      }
    return found;
  }
  std::string_view text(const json::object* parent, std::string_view member, std::string_view path) {
    const json::value* value = find(parent, member);
    return value != nullptr && fits(value->is_string(), *value, path, "string") ? std::string_view(value->get_string())
                                                                                : std::string_view();
  }
  [[nodiscard]] const std::optional<Error>& wrong() const { return wrong_; }

 private:
  static const json::value* find(const json::object* parent, std::string_view member) {
    const json::value* value = parent != nullptr ? parent->if_contains(member) : nullptr;
    return value != nullptr && !value->is_null() ? value : nullptr;
  }
  bool fits(bool right, const json::value& value, std::string_view path, std::string_view type) {
    if (!right && !wrong_)
      wrong_ = Error{Reason::BadRequest, "json: cannot unmarshal " + std::string(goKind(value)) + " into Go struct field Pod." +
                                             std::string(path) + " of type " + std::string(type)};
    return right;
  }
  std::optional<Error> wrong_;
};

bool selectsWindows(const json::object* nodeSelector) {
  return nodeSelector != nullptr &&
         (textAt(*nodeSelector, {"kubernetes.io/os"}) == "windows" || textAt(*nodeSelector, {"beta.kubernetes.io/os"}) == "windows");
}

bool named(const json::value& element, std::string_view name) {
  const json::object* object = element.if_object();
  return object != nullptr && textAt(*object, {"name"}) == name;
}

const json::value* findNamed(const json::array* list, std::string_view name) {
  if (list == nullptr) return nullptr;
  for (const json::value& each : *list)
    if (named(each, name)) return &each;
  return nullptr;
}

bool hasOneOf(const json::array* env, const std::vector<std::string>& names) {
  return env != nullptr &&
         std::any_of(names.begin(), names.end(), [env](const std::string& name) { return findNamed(env, name) != nullptr; });
}

void appendMember(std::string& out, std::string_view key, std::string_view text) {
  out += out.back() == '{' ? "\"" : ",\"";
  out += key;
  out += "\":";
  appendText(out, text);
}

void appendVariables(std::string& out, const std::vector<Variable>& variables) {
  for (const Variable& variable : variables) {
    if (!out.empty()) out += ',';
    out += '{';
    appendMember(out, "name", variable.name);
    if (!variable.value.empty()) appendMember(out, "value", variable.value);
    out += '}';
  }
}

void appendMount(std::string& out, const Injection& injection) {
  if (!out.empty()) out += ',';
  out += '{';
  appendMember(out, "name", injection.volume);
  out += R"(,"readOnly":true)";
  appendMember(out, "mountPath", injection.mountPath);
  out += '}';
}

// What one container gets.
struct Additions {
  std::string env, mounts;                 // JSON elements, separated by commas
  std::vector<std::string_view> names;     // of the variables in env
  std::vector<std::string_view> replaced;  // mounts to be taken out
};

bool settled(const VariableGroup& group, const json::array* existing, const Additions& additions) {
  return hasOneOf(existing, group.names) || std::any_of(group.names.begin(), group.names.end(), [&additions](const std::string& name) {
           return std::find(additions.names.begin(), additions.names.end(), name) != additions.names.end();
         });
}

bool isSkipped(const json::object& container, const Injection& injection) {
  return std::find(injection.skipContainers.begin(), injection.skipContainers.end(), textAt(container, {"name"})) !=
         injection.skipContainers.end();
}

// It has names of its own in place of those whose values lead into the volume.
bool helpsItself(const json::object& container, const Injection& injection) {
  const std::string unixPath = injection.mountPath, windows = windowsPath(injection.mountPath);
  const auto leads = [&](const Variable& variable) { return variable.value.starts_with(unixPath) || variable.value.starts_with(windows); };
  return std::any_of(injection.environment.begin(), injection.environment.end(), [&](const VariableGroup& group) {
    return std::any_of(group.variables.begin(), group.variables.end(), leads) && hasOneOf(arrayAt(container, {"env"}), group.names);
  });
}

void collect(const json::object& container, const Injection& injection, Additions& additions) {
  if (isSkipped(container, injection)) return;
  const json::array* existing = arrayAt(container, {"env"});
  const auto complete = [existing](const VariableGroup& group) { return hasOneOf(existing, group.names); };
  if (injection.leaveComplete && std::all_of(injection.environment.begin(), injection.environment.end(), complete)) return;
  for (const VariableGroup& group : injection.environment) {
    if (settled(group, existing, additions)) continue;
    appendVariables(additions.env, group.variables);
    for (const Variable& variable : group.variables) additions.names.push_back(variable.name);
  }
  const bool mounted = findNamed(arrayAt(container, {"volumeMounts"}), injection.volume) != nullptr;
  if (mounted && !injection.replaceExisting) return;
  if (mounted) additions.replaced.push_back(injection.volume);
  appendMount(additions.mounts, injection);
}

bool appendInjected(std::string& out, const json::object& container, std::span<const Injection> injections) {
  Additions additions;
  additions.env.reserve(512);
  additions.mounts.reserve(256);
  for (const Injection& injection : injections) collect(container, injection, additions);
  const bool adds = !additions.env.empty() || !additions.mounts.empty();
  const Appended appended{additions.env, additions.mounts};
  if (additions.replaced.empty()) {
    appendContainer(out, container, appended);
    return adds;
  }
  json::object without(container);
  json::array& list = without.at("volumeMounts").as_array();
  for (const std::string_view name : additions.replaced)
    list.erase(std::remove_if(list.begin(), list.end(), [name](const json::value& mount) { return named(mount, name); }), list.end());
  appendContainer(out, without, appended);
  return adds;
}

bool appendContainers(std::string& out, const json::array* containers, std::span<const Injection> injections) {
  static const json::object none;
  bool adds = false;
  out += '[';
  if (containers != nullptr)
    for (const json::value& each : *containers) {
      if (&each != containers->begin()) out += ',';
      adds |= appendInjected(out, each.is_object() ? each.get_object() : none, injections);
    }
  out += ']';
  return adds;
}

// Opens one operation; the caller appends the value and '}'.
void beginOperation(std::string& out, std::string_view op, std::string_view path) {
  out += out.empty() ? "[" : ",";
  out += '{';
  appendMember(out, "op", op);
  appendMember(out, "path", path);
  out += ",\"value\":";
}

std::string pointerToken(std::string_view key) {  // RFC 6901 §3
  std::string token;
  for (const char c : key) {
    if (c == '~')
      token += "~0";
    else if (c == '/')
      token += "~1";
    else
      token += c;
  }
  return token;
}

// Adds to metadata.labels or .annotations, which a first addition has to make.
void addMetadata(std::string& out, std::string_view map, bool& exists, std::string_view key, std::string_view text) {
  const std::string base = "/metadata/" + std::string(map);
  beginOperation(out, "add", exists ? base + "/" + pointerToken(key) : base);
  if (exists) {
    appendText(out, text);
  } else {
    out += '{';
    appendText(out, key);
    out += ':';
    appendText(out, text);
    out += '}';
  }
  out += '}';
  exists = true;
}

void appendVolume(std::string& out, const Injection& injection) {
  out += '{';
  appendMember(out, "name", injection.volume);
  out += R"(,"projected":{"sources":[{"serviceAccountToken":{)";
  if (!injection.audience.empty()) appendMember(out, "audience", injection.audience);
  out += out.back() == '{' ? "" : ",";
  out += "\"expirationSeconds\":" + std::to_string(injection.expirationSeconds);
  appendMember(out, "path", injection.tokenPath);
  out += "}}";
  if (!injection.files.empty()) {
    out += R"(,{"downwardAPI":{"items":[)";
    for (const InjectedFile& file : injection.files) {
      if (&file != &injection.files.front()) out += ',';
      out += '{';
      appendMember(out, "path", file.path);
      out += R"(,"fieldRef":{)";
      appendMember(out, "fieldPath", "metadata.annotations['" + file.annotation + "']");
      out += "}}";
    }
    out += "]}}";
  }
  out += "]}}";
}

void addVolume(std::string& out, const PodView& pod, bool& listExists, const Injection& injection) {
  const json::value* existing = findNamed(pod.volumes, injection.volume);
  if (existing != nullptr && !injection.replaceExisting) return;
  if (existing != nullptr) {
    beginOperation(out, "replace", "/spec/volumes/" + std::to_string(existing - pod.volumes->begin()));
    appendVolume(out, injection);
    out += '}';
    return;
  }
  beginOperation(out, "add", listExists ? "/spec/volumes/0" : "/spec/volumes");
  out += listExists ? "" : "[";
  appendVolume(out, injection);
  out += listExists ? "}" : "]}";
  listExists = true;
}

}  // namespace

Result<PodView> viewPod(const json::object& pod) {
  Reader reader;
  PodView view;
  const json::object* metadata = reader.object(&pod, "metadata", "metadata", "v1.ObjectMeta");
  const json::object* spec = reader.object(&pod, "spec", "spec", "v1.PodSpec");
  view.name = reader.text(metadata, "name", "metadata.name");
  view.generateName = reader.text(metadata, "generateName", "metadata.generateName");
  view.serviceAccount = reader.text(spec, "serviceAccountName", "spec.serviceAccountName");
  view.labels = reader.texts(metadata, "labels", "metadata.labels");
  view.annotations = reader.texts(metadata, "annotations", "metadata.annotations");
  view.volumes = reader.list(spec, "volumes", "spec.volumes", "v1.Volume");
  view.containers = reader.containers(spec, "containers", "spec.containers");
  view.initContainers = reader.containers(spec, "initContainers", "spec.initContainers");
  view.windows = selectsWindows(reader.texts(spec, "nodeSelector", "spec.nodeSelector"));
  view.hostNetwork = spec != nullptr && booleanAt(*spec, {"hostNetwork"});
  if (reader.wrong()) return *reader.wrong();
  return view;
}

PodPatch podPatch(const PodView& pod, std::span<const Injection> injections) {
  std::string out;
  out.reserve(4096);
  bool haveLabels = pod.labels != nullptr && !pod.labels->empty(),
       haveAnnotations = pod.annotations != nullptr && !pod.annotations->empty();
  for (const Injection& injection : injections) {
    for (const Variable& label : injection.labels) addMetadata(out, "labels", haveLabels, label.name, label.value);
    for (const InjectedFile& file : injection.files) addMetadata(out, "annotations", haveAnnotations, file.annotation, file.text);
  }
  bool haveVolumes = pod.volumes != nullptr;
  const auto replaces = [&pod](const Injection& injection) {
    return injection.replaceExisting && findNamed(pod.volumes, injection.volume) != nullptr;
  };
  for (const Injection& injection : injections)  // replacements first: additions in front would move them
    if (replaces(injection)) addVolume(out, pod, haveVolumes, injection);
  for (const Injection& injection : injections)
    if (!replaces(injection)) addVolume(out, pod, haveVolumes, injection);
  bool adds = !out.empty();
  beginOperation(out, "add", "/spec/containers");
  adds |= appendContainers(out, pod.containers, injections);
  out += '}';
  if (pod.initContainers != nullptr && !pod.initContainers->empty()) {
    beginOperation(out, "add", "/spec/initContainers");
    adds |= appendContainers(out, pod.initContainers, injections);
    out += '}';
  }
  out += ']';
  return {std::move(out), adds};
}

bool hasVolume(const PodView& pod, const Injection& injection) {
  return pod.volumes != nullptr && std::any_of(pod.volumes->begin(), pod.volumes->end(), [&injection](const json::value& volume) {
           const std::string_view name = volume.is_object() ? textAt(volume.get_object(), {"name"}) : std::string_view();
           return injection.volumeStem.empty() ? name == injection.volume : name.starts_with(injection.volumeStem);
         });
}

bool isWanted(const PodView& pod, const Injection& injection) {
  const auto wants = [&injection](const json::value& container) {
    const json::object* object = container.if_object();
    return object != nullptr && !isSkipped(*object, injection) && !helpsItself(*object, injection);
  };
  const auto anyWants = [&wants](const json::array* containers) {
    return containers != nullptr && std::any_of(containers->begin(), containers->end(), wants);
  };
  return anyWants(pod.containers) || anyWants(pod.initContainers);
}

std::string windowsPath(std::string_view path) {
  std::string windows = "C:" + std::string(path);
  std::replace(windows.begin(), windows.end(), '/', '\\');
  return windows;
}

std::string joinPath(std::string_view directory, std::string_view path) {
  const bool rooted = directory.empty() ? path.starts_with('/') : directory.starts_with('/');
  std::string both;
  both.reserve(directory.size() + 1 + path.size());
  both.append(directory).append(1, '/').append(path);
  std::vector<std::string_view> parts;
  parts.reserve(16);
  for (std::size_t from = 0; from <= both.size();) {
    const std::size_t end = std::min(both.find('/', from), both.size());
    const std::string_view part(both.data() + from, end - from);
    from = end + 1;
    if (part.empty() || part == ".") continue;
    if (part != "..")
      parts.push_back(part);
    else if (!parts.empty() && parts.back() != "..")
      parts.pop_back();
    else if (!rooted)
      parts.push_back(part);
  }
  std::string joined;
  joined.reserve(both.size() + 1);
  if (rooted) joined = "/";
  for (const std::string_view part : parts) {
    if (!joined.empty() && joined.back() != '/') joined += '/';
    joined += part;
  }
  return joined.empty() ? "." : joined;
}

}  // namespace podpass::irsa
