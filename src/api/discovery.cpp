#include "api/discovery.h"

namespace podpass::api {
namespace {

template <class Strings>
json::array texts(const Strings& strings) {
  json::array array;
  for (const std::string_view text : strings) array.push_back(json::value(text));
  return array;
}

std::vector<std::string_view> sorted(std::vector<std::string_view> verbs) {
  std::sort(verbs.begin(), verbs.end());
  return verbs;
}

Error notFound() { return Error{Reason::NotFound, "the server could not find the requested resource"}; }

// In order of first appearance: the first version of a group is the preferred one.
std::vector<std::string_view> groupsOf(const Kinds& kinds) {
  std::vector<std::string_view> groups;
  for (const Kind* kind : kinds)
    if (!kind->group.empty() && std::find(groups.begin(), groups.end(), kind->group) == groups.end()) groups.push_back(kind->group);
  return groups;
}

std::vector<std::string_view> versionsOf(const Kinds& kinds, std::string_view group) {
  std::vector<std::string_view> versions;
  for (const Kind* kind : kinds)
    if (kind->group == group && std::find(versions.begin(), versions.end(), kind->version) == versions.end())
      versions.push_back(kind->version);
  return versions;
}

void describeGroup(const Kinds& kinds, std::string_view group, json::object& document) {
  document["name"] = group;
  json::array versions;
  for (const std::string_view version : versionsOf(kinds, group)) {
    json::object entry{{"groupVersion", std::string(group) + "/" + std::string(version)}, {"version", version}};
    versions.push_back(std::move(entry));
  }
  json::value preferred = versions.front();
  document["versions"] = std::move(versions);
  document["preferredVersion"] = std::move(preferred);
}

// ---- APIResourceList

void addNames(json::object& entry, const Kind& kind) {
  if (!kind.shortNames.empty()) entry["shortNames"] = texts(kind.shortNames);
  if (!kind.categories.empty()) entry["categories"] = texts(kind.categories);
}

json::object resource(const Kind& kind) {
  json::object entry{{"name", kind.plural}, {"singularName", kind.singular}, {"namespaced", kind.namespaced}, {"kind", kind.kind}};
  entry["verbs"] = texts(verbsOf(kind));
  addNames(entry, kind);
  return entry;
}

json::object resource(const Kind& kind, const Subresource& sub) {
  json::object entry{
      {"name", std::string(kind.plural) + "/" + std::string(sub.name)}, {"singularName", ""}, {"namespaced", kind.namespaced}};
  // Said only where the body is of another group version than the list.
  if (!sub.group.empty()) entry["group"] = sub.group;
  if (!sub.group.empty() && !sub.version.empty()) entry["version"] = sub.version;
  entry["kind"] = sub.kind.empty() ? kind.kind : sub.kind;
  entry["verbs"] = texts(sorted(sub.verbs));
  return entry;
}

// ---- APIGroupDiscoveryList

json::object responseKind(std::string_view group, std::string_view version, std::string_view kind) {
  return {{"group", group}, {"version", version}, {"kind", kind}};
}

json::object discovered(const Kind& kind) {
  json::object entry{{"resource", kind.plural}};
  entry["responseKind"] = responseKind(kind.group, kind.version, kind.kind);
  entry["scope"] = kind.namespaced ? "Namespaced" : "Cluster";
  entry["singularResource"] = kind.singular;
  entry["verbs"] = texts(verbsOf(kind));
  addNames(entry, kind);
  json::array subresources;
  for (const Subresource& sub : kind.subresources) {
    json::object part{{"subresource", sub.name}};
    const bool foreign = !sub.group.empty();
    part["responseKind"] = responseKind(foreign ? sub.group : kind.group, foreign && !sub.version.empty() ? sub.version : kind.version,
                                        sub.kind.empty() ? kind.kind : sub.kind);
    part["verbs"] = texts(sorted(sub.verbs));
    subresources.push_back(std::move(part));
  }
  if (!subresources.empty()) entry["subresources"] = std::move(subresources);
  return entry;
}

json::object discoveredGroup(const Kinds& kinds, std::string_view group) {
  json::object metadata;
  if (!group.empty()) metadata["name"] = group;
  metadata["creationTimestamp"] = nullptr;
  json::array versions;
  for (const std::string_view version : versionsOf(kinds, group)) {
    json::array resources;
    for (const Kind* kind : kinds)
      if (kind->group == group && kind->version == version) resources.push_back(discovered(*kind));
    json::object entry{{"version", version}, {"freshness", "Current"}};
    entry["resources"] = std::move(resources);
    versions.push_back(std::move(entry));
  }
  json::object item;
  item["metadata"] = std::move(metadata);
  item["versions"] = std::move(versions);
  return item;
}

// One text per key, made when first asked for. Keys come from the kinds, never from requests.
class Texts {
 public:
  template <class Make>
  std::string get(const std::string& key, Make make) {
    std::lock_guard lock(mutex_);
    auto found = texts_.find(key);
    if (found == texts_.end()) found = texts_.emplace(key, make()).first;
    return found->second;
  }

 private:
  std::mutex mutex_;
  std::map<std::string, std::string> texts_;
};

Texts& cache() {
  static Texts texts;
  return texts;
}

}  // namespace

std::vector<std::string_view> verbsOf(const Kind& kind) {
  if (!kind.verbs.empty()) return sorted(kind.verbs);
  if (kind.isVirtual) return {"create"};
  return {"create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"};
}

std::string legacyVersions(std::string_view serverAddress) {
  json::object address{{"clientCIDR", "0.0.0.0/0"}, {"serverAddress", serverAddress}};
  json::object document{{"kind", "APIVersions"}};
  document["versions"] = json::array{"v1"};
  json::array addresses;
  addresses.push_back(std::move(address));
  document["serverAddressByClientCIDRs"] = std::move(addresses);
  return json::serialize(document);
}

std::string groupList(const Kinds& kinds) {
  json::array groups;
  for (const std::string_view group : groupsOf(kinds)) {
    json::object entry;
    describeGroup(kinds, group, entry);
    groups.push_back(std::move(entry));
  }
  json::object document{{"kind", "APIGroupList"}, {"apiVersion", "v1"}};
  document["groups"] = std::move(groups);
  return json::serialize(document);
}

Result<std::string> groupDocument(const Kinds& kinds, std::string_view group) {
  if (group.empty() || versionsOf(kinds, group).empty()) return notFound();
  json::object document{{"kind", "APIGroup"}, {"apiVersion", "v1"}};
  describeGroup(kinds, group, document);
  return json::serialize(document);
}

Result<std::string> resourceList(const Kinds& kinds, std::string_view group, std::string_view version) {
  json::array resources;
  std::string apiVersion;
  for (const Kind* kind : kinds) {
    if (kind->group != group || kind->version != version) continue;
    apiVersion = kind->apiVersion();
    resources.push_back(resource(*kind));
    for (const Subresource& sub : kind->subresources) resources.push_back(resource(*kind, sub));
  }
  if (resources.empty()) return notFound();
  json::object document{{"kind", "APIResourceList"}, {"apiVersion", "v1"}, {"groupVersion", apiVersion}};
  document["resources"] = std::move(resources);
  return json::serialize(document);
}

std::string aggregatedDiscovery(const Kinds& kinds, bool core, std::string_view version) {
  json::array items;
  if (core) {
    items.push_back(discoveredGroup(kinds, ""));
  } else {
    for (const std::string_view group : groupsOf(kinds)) items.push_back(discoveredGroup(kinds, group));
  }
  json::object document{{"kind", "APIGroupDiscoveryList"}, {"apiVersion", "apidiscovery.k8s.io/" + std::string(version)}};
  document["metadata"] = json::object();
  document["items"] = std::move(items);
  return json::serialize(document);
}

std::string groupList() {
  return cache().get("groups", [] { return groupList(allKinds()); });
}

Result<std::string> groupDocument(std::string_view group) {
  const Kinds& kinds = allKinds();
  if (group.empty() || versionsOf(kinds, group).empty()) return notFound();
  return cache().get("group " + std::string(group), [&] { return *groupDocument(kinds, group); });
}

Result<std::string> resourceList(std::string_view group, std::string_view version) {
  const std::vector<std::string_view> versions = versionsOf(allKinds(), group);
  if (std::find(versions.begin(), versions.end(), version) == versions.end()) return notFound();
  const std::string key = "resources " + std::string(group) + "/" + std::string(version);
  return cache().get(key, [&] { return *resourceList(allKinds(), group, version); });
}

std::string aggregatedDiscovery(bool core, std::string_view version) {
  const std::string_view known = version == "v2beta1" ? "v2beta1" : "v2";
  const std::string key = std::string("aggregated ") + (core ? "core " : "groups ") + std::string(known);
  return cache().get(key, [&] { return aggregatedDiscovery(allKinds(), core, known); });
}

}  // namespace podpass::api
