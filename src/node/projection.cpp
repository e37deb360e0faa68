#include "node/projection.h"

#include <set>

#include "base/text.h"

namespace podpass::node {
namespace {

constexpr const char* kVolumeKinds[] = {"projected", "secret", "configMap", "downwardAPI"};

// One source with what it needs to know of the volume and pod around it.
struct Around {
  api::Client& client;
  TokenSource& tokens;
  const Allocatable& allocatable;
  const json::object& pod;
  unsigned defaultMode;
};

std::string namespaceOf(const json::object& pod) { return std::string(textAt(pod, {"metadata", "namespace"})); }

Result<unsigned> modeAt(const json::object& item, unsigned fallback) {
  const std::int64_t mode = integerAt(item, {"mode"}, fallback);
  if (mode < 0 || mode > 0777)
    return Error{Reason::BadRequest, "mode " + std::to_string(mode) + " must be a number between 0 and 0777 (octal), both inclusive"};
  return static_cast<unsigned>(mode);
}

// A secret and a configMap differ in words and encoding only.
struct ObjectSource {
  std::string_view plural, nameMember, noun, missingKey;
};
constexpr ObjectSource kSecret{"secrets", "name", "secret", "references non-existent secret key: "};
constexpr ObjectSource kSecretVolume{"secrets", "secretName", "secret", "references non-existent secret key: "};
constexpr ObjectSource kConfigMap{"configmaps", "name", "configmap", "configmap references non-existent config key: "};

Result<std::map<std::string, Secret>> contentsOf(const json::object& object, bool encoded) {
  std::map<std::string, Secret> contents;
  for (const std::string_view member : {"data", "binaryData"}) {
    const json::object* entries = objectAt(object, {member});
    if (entries == nullptr || (encoded && member == "binaryData")) continue;
    for (const auto& [key, value] : *entries) {
      if (!value.is_string()) continue;
      const bool plain = !encoded && member == "data";
      Result<std::string> bytes = plain ? Result<std::string>(std::string(value.get_string())) : base64Decode(value.get_string());
      if (!bytes) return Error{Reason::BadRequest, "the value of key " + std::string(key) + " is not base64"};
      contents.insert_or_assign(std::string(key), Secret(*bytes));
    }
  }
  return contents;
}

Result<Payload> fromObject(const Around& around, const json::object& source, const ObjectSource& shape) {
  const std::string name(textAt(source, {shape.nameMember}));
  const bool optional = booleanAt(source, {"optional"});
  const api::Kind* kind = api::findKind("", "v1", shape.plural);
  if (kind == nullptr) return Error{Reason::Internal, "the kind " + std::string(shape.plural) + " is not known"};
  Result<DocumentPtr> object = around.client.get(*kind, {namespaceOf(around.pod), name});
  if (!object) {
    // only a missing object may be optional: Forbidden or an outage says nothing about it
    if (object.error().reason != Reason::NotFound) return object.error();
    if (optional) return Payload();
    return Error{Reason::NotFound, std::string(shape.noun) + " \"" + name + "\" not found"};
  }
  Result<std::map<std::string, Secret>> contents = contentsOf((*object)->value, shape.plural == "secrets");
  if (!contents) return contents.error();

  Payload files;
  const json::array* items = arrayAt(source, {"items"});
  if (items == nullptr || items->empty()) {
    for (auto& [key, bytes] : *contents) files[key] = PayloadFile{std::move(bytes), around.defaultMode};
    return files;
  }
  for (const json::value& item : *items) {
    if (!item.is_object()) continue;
    const std::string key(textAt(item.get_object(), {"key"}));
    const auto found = contents->find(key);
    if (found == contents->end()) {
      if (optional) continue;
      return Error{Reason::NotFound, std::string(shape.missingKey) + key};
    }
    const Result<unsigned> mode = modeAt(item.get_object(), around.defaultMode);
    if (!mode) return mode.error();
    files[std::string(textAt(item.get_object(), {"path"}))] = PayloadFile{found->second, *mode};
  }
  return files;
}

Result<std::string> downwardValue(const Around& around, const json::object& item) {
  const json::object* field = objectAt(item, {"fieldRef"});
  if (field == nullptr) {
    const json::object* resource = objectAt(item, {"resourceFieldRef"});
    if (resource == nullptr) return Error{Reason::BadRequest, "downwardAPI item has neither fieldRef nor resourceFieldRef"};
    return resourceValue(around.pod, *resource, "", around.allocatable);
  }
  const std::string_view path = textAt(*field, {"fieldPath"});
  // files show only what belongs to the object itself: addresses and the node are for the environment
  if (!path.starts_with("metadata.")) return Error{Reason::BadRequest, "unsupported fieldPath: " + std::string(path)};
  return fieldValue(around.pod, path, {});
}

Result<Payload> fromDownwardApi(const Around& around, const json::object& source) {
  Payload files;
  std::vector<Error> failures;
  const json::array* items = arrayAt(source, {"items"});
  if (items == nullptr) return files;
  for (const json::value& item : *items) {
    if (!item.is_object()) continue;
    const Result<std::string> value = downwardValue(around, item.get_object());
    const Result<unsigned> mode = modeAt(item.get_object(), around.defaultMode);
    if (!value) failures.push_back(value.error());
    if (!mode) failures.push_back(mode.error());
    if (value && mode) files[std::string(textAt(item.get_object(), {"path"}))] = PayloadFile{Secret(*value), *mode};
  }
  if (!failures.empty()) return aggregate(failures);
  return files;
}

// `failing`: the token is good, but will not be for long.
Result<Payload> fromToken(const Around& around, const json::object& source, std::optional<Error>& failing) {
  TokenKey key;
  key.ns = namespaceOf(around.pod);
  key.serviceAccount = std::string(textAt(around.pod, {"spec", "serviceAccountName"}));
  if (key.serviceAccount.empty()) key.serviceAccount = "default";
  key.pod = std::string(textAt(around.pod, {"metadata", "name"}));
  key.podUid = std::string(textAt(around.pod, {"metadata", "uid"}));
  key.audience = std::string(textAt(source, {"audience"}));
  key.expirationSeconds = integerAt(source, {"expirationSeconds"}, 3600);
  Result<ServedToken> token = around.tokens.get(key);
  if (!token) return token.error();
  failing = std::move(token->failing);

  PayloadFile file{std::move(token->text), around.defaultMode};
  file.owner = uniformUser(around.pod);
  // the token is for this pod's users alone, whatever mode the volume has; fsGroup adds the group's bit when it is published
  if (file.owner || fsGroup(around.pod)) file.mode = 0600;
  Payload files;
  files[std::string(textAt(source, {"path"}))] = std::move(file);
  return files;
}

Result<Payload> fromSource(const Around& around, const json::object& source, std::optional<Error>& failing) {
  if (const json::object* secret = objectAt(source, {"secret"})) return fromObject(around, *secret, kSecret);
  if (const json::object* configMap = objectAt(source, {"configMap"})) return fromObject(around, *configMap, kConfigMap);
  if (const json::object* downward = objectAt(source, {"downwardAPI"})) return fromDownwardApi(around, *downward);
  if (const json::object* token = objectAt(source, {"serviceAccountToken"})) return fromToken(around, *token, failing);
  for (const char* unserved : {"clusterTrustBundle", "podCertificate"})
    if (source.contains(unserved))
      return Error{Reason::BadRequest, std::string("projected volume source ") + unserved + " is not supported by this node agent",
                   "use secret, configMap, downwardAPI or serviceAccountToken sources"};
  return Payload();
}

// The volume as sources: all but a projected one have exactly one, themselves.
std::vector<Result<Payload>> readSources(const Around& around, const json::object& volume, std::vector<std::optional<Error>>& failing) {
  std::vector<Result<Payload>> given;
  const auto add = [&](Result<Payload> payload) {
    given.push_back(std::move(payload));
    failing.resize(given.size());
  };
  if (const json::object* secret = objectAt(volume, {"secret"})) add(fromObject(around, *secret, kSecretVolume));
  if (const json::object* configMap = objectAt(volume, {"configMap"})) add(fromObject(around, *configMap, kConfigMap));
  if (const json::object* downward = objectAt(volume, {"downwardAPI"})) add(fromDownwardApi(around, *downward));
  const json::array* sources = arrayAt(volume, {"projected", "sources"});
  if (sources == nullptr) return given;
  for (const json::value& source : *sources) {
    std::optional<Error> soon;
    add(source.is_object() ? fromSource(around, source.get_object(), soon) : Payload());
    failing.back() = std::move(soon);
  }
  return given;
}

std::optional<std::int64_t> runAsUser(const json::object& holder) {
  const std::int64_t user = integerAt(holder, {"securityContext", "runAsUser"}, -1);
  return user >= 0 ? std::optional(user) : std::nullopt;
}

void addReference(std::set<std::string>& names, const std::string& ns, std::string_view plural, const json::object* source,
                  std::string_view nameMember) {
  if (source == nullptr) return;
  if (const std::string_view name = textAt(*source, {nameMember}); !name.empty())
    names.insert(std::string(plural) + "/" + ns + "/" + std::string(name));
}

}  // namespace

Projector::Projector(api::Client& client, TokenSource& tokens, Allocatable allocatable)
    : client_(client), tokens_(tokens), allocatable_(allocatable) {}

Projection Projector::collect(const json::object& pod, const json::object& volume, LastGood& lastGood) {
  Projection projection;
  std::int64_t defaultMode = -1;
  for (const char* kind : kVolumeKinds) defaultMode = std::max(defaultMode, integerAt(volume, {kind, "defaultMode"}, -1));
  if (defaultMode < 0 || defaultMode > 0777) {
    projection.incomplete = true;
    projection.failures.push_back({Reason::BadRequest, "No defaultMode used, not even the default value for it"});
    return projection;
  }
  const Around around{client_, tokens_, allocatable_, pod, static_cast<unsigned>(defaultMode)};
  std::vector<std::optional<Error>> failing;
  std::vector<Result<Payload>> given = readSources(around, volume, failing);
  lastGood.resize(given.size());
  for (std::size_t i = 0; i < given.size(); ++i) {
    if (given[i]) lastGood[i] = *std::move(given[i]);
    if (!given[i]) projection.failures.push_back(given[i].error());
    if (failing[i]) projection.failures.push_back(*failing[i]);
    if (!lastGood[i]) {
      projection.incomplete = true;
      continue;
    }
    for (const auto& [path, file] : *lastGood[i]) {
      // cleaned here, so that `a` and `./a` are one file and the later source wins; the writer reports what cannot be cleaned
      const Result<std::string> clean = cleanPayloadPath(path);
      projection.files.insert_or_assign(clean ? *clean : path, file);
    }
  }
  return projection;
}

bool isProjection(const json::object& volume) {
  for (const char* kind : kVolumeKinds)
    if (objectAt(volume, {kind}) != nullptr) return true;
  return false;
}

std::optional<uid_t> uniformUser(const json::object& pod) {
  const json::object* spec = objectAt(pod, {"spec"});
  if (spec == nullptr) return std::nullopt;
  const std::optional<std::int64_t> ofPod = runAsUser(*spec);
  std::optional<std::int64_t> shared;
  for (const std::string_view list : {"initContainers", "containers"}) {
    const json::array* containers = arrayAt(*spec, {list});
    if (containers == nullptr) continue;
    for (const json::value& container : *containers) {
      if (!container.is_object()) continue;
      const std::optional<std::int64_t> own = runAsUser(container.get_object());
      const std::optional<std::int64_t> effective = own ? own : ofPod;
      if (!effective || (shared && *shared != *effective)) return std::nullopt;
      shared = effective;
    }
  }
  return shared ? std::optional(static_cast<uid_t>(*shared)) : std::nullopt;
}

std::optional<gid_t> fsGroup(const json::object& pod) {
  const std::int64_t group = integerAt(pod, {"spec", "securityContext", "fsGroup"}, -1);
  return group >= 0 ? std::optional(static_cast<gid_t>(group)) : std::nullopt;
}

std::vector<std::string> projectedObjects(const json::object& pod) {
  std::set<std::string> names;
  const std::string ns = namespaceOf(pod);
  const json::array* volumes = arrayAt(pod, {"spec", "volumes"});
  if (volumes == nullptr) return {};
  for (const json::value& volume : *volumes) {
    if (!volume.is_object()) continue;
    addReference(names, ns, "secrets", objectAt(volume.get_object(), {"secret"}), "secretName");
    addReference(names, ns, "configmaps", objectAt(volume.get_object(), {"configMap"}), "name");
    const json::array* sources = arrayAt(volume.get_object(), {"projected", "sources"});
    if (sources == nullptr) continue;
    for (const json::value& source : *sources) {
      if (!source.is_object()) continue;
      addReference(names, ns, "secrets", objectAt(source.get_object(), {"secret"}), "name");
      addReference(names, ns, "configmaps", objectAt(source.get_object(), {"configMap"}), "name");
    }
  }
  return {names.begin(), names.end()};
}

Error aggregate(const std::vector<Error>& errors) {
  if (errors.size() == 1) return errors.front();
  Error all = errors.front();
  all.sentence.clear();
  std::set<std::string> seen;  // an aggregate names each thing once
  for (const Error& error : errors)
    if (seen.insert(error.sentence).second) all.sentence += (all.sentence.empty() ? "" : ", ") + error.sentence;
  if (seen.size() > 1) all.sentence = "[" + all.sentence + "]";
  return all;
}

}  // namespace podpass::node
