#pragma once

#include <string>

#include "api/client.h"

// What every loop asks of an object's metadata, and the events that loops write.
namespace podpass::controllers {

inline std::string nameOf(const json::object& object) { return std::string(textAt(object, {"metadata", "name"})); }
inline std::string namespaceOf(const json::object& object) { return std::string(textAt(object, {"metadata", "namespace"})); }
inline std::string uidOf(const json::object& object) { return std::string(textAt(object, {"metadata", "uid"})); }
inline bool isEnding(const json::object& object) { return !textAt(object, {"metadata", "deletionTimestamp"}).empty(); }
bool hasFinalizer(const json::object& object, std::string_view finalizer);

const api::Kind& coreKind(std::string_view plural);

// "ns/name" and back, for queues.
std::string keyOf(const json::object& object);
api::ObjectName nameFromKey(const std::string& key);

// The reason was refused because its namespace is ending or gone: nothing to do any more.
bool namespaceEnds(const Error& error);

struct EventText {
  std::string_view type;  // Normal, Warning
  std::string_view reason;
  std::string message;
  std::string_view component;
};
// Writes a core/v1 Event about `object`. Best effort: an event that is refused is only logged.
void writeEvent(api::Client& client, WallTime now, const api::Kind& kind, const json::object& object, const EventText& text);

}  // namespace podpass::controllers
