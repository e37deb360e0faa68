#pragma once

#include <string>
#include <string_view>

#include "api/kind.h"
#include "base/document.h"

// What those who write objects for the registry say about them. For the registry's own .cpp files.
namespace podpass::server {

// Who says no resourceVersion never loses: each round one of those who write an object at once has its turn, and the others read it again,
// as kube-apiserver's storage does. Beyond this many there is no hope in it.
constexpr int kTries = 64;

inline bool isPod(const api::Kind& kind) { return kind.group.empty() && kind.plural == "pods"; }
inline bool isNode(const api::Kind& kind) { return kind.group.empty() && kind.plural == "nodes"; }
inline bool isNamespace(const api::Kind& kind) { return kind.group.empty() && kind.plural == "namespaces"; }

// metadata's text; "" when there is none.
std::string_view metaText(const json::object& object, std::string_view member);

// Of metadata, what clients and webhooks do not change.
constexpr const char* kServersMetadata[] = {
    "name",       "namespace",    "uid",      "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds",
    "generation", "generateName", "selfLink", "resourceVersion"};

// Makes a member of `meta` what it is in `before`'s metadata, or removes it.
void keep(const json::object& before, json::object& meta, std::string_view member);

// Its deletion waits for somebody: metadata.finalizers, and a Namespace's spec.finalizers.
bool hasFinalizers(const json::object& object);

// Where it lies in the store; `ns` is "" for kinds without.
std::string keyOf(const api::Kind& kind, const std::string& ns, const std::string& name);

// apiVersion and kind first, metadata next: the order in which everyone prints, and which the list writer relies on.
json::object ordered(const api::Kind& kind, json::object object);

// A document as the store would give it, without a revision: for dry runs and what is gone.
DocumentPtr unstored(json::object object);

}  // namespace podpass::server
