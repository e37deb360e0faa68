#include "controllers/object.h"

#include <algorithm>

#include "base/log.h"
#include "base/text.h"

namespace podpass::controllers {

bool hasFinalizer(const json::object& object, std::string_view finalizer) {
  const json::array* finalizers = arrayAt(object, {"metadata", "finalizers"});
  if (finalizers == nullptr) return false;
  return std::any_of(finalizers->begin(), finalizers->end(),
                     [&](const json::value& each) { return each.is_string() && each.get_string() == finalizer; });
}

const api::Kind& coreKind(std::string_view plural) { return *api::findKind("", "v1", plural); }

std::string keyOf(const json::object& object) { return namespaceOf(object) + "/" + nameOf(object); }

api::ObjectName nameFromKey(const std::string& key) {
  const std::size_t slash = key.find('/');
  return slash == std::string::npos ? api::ObjectName{"", key} : api::ObjectName{key.substr(0, slash), key.substr(slash + 1)};
}

bool namespaceEnds(const Error& error) {
  const auto says = [](const Cause& cause) { return cause.reason == "NamespaceTerminating"; };
  if (error.reason == Reason::Forbidden) return std::any_of(error.causes.begin(), error.causes.end(), says);
  return error.reason == Reason::NotFound && error.about.kind == "namespaces";
}

void writeEvent(api::Client& client, WallTime now, const api::Kind& kind, const json::object& object, const EventText& text) {
  const std::string ns = namespaceOf(object).empty() ? "default" : namespaceOf(object);
  json::object about{{"kind", kind.kind}, {"name", nameOf(object)}, {"uid", uidOf(object)}, {"apiVersion", kind.apiVersion()}};
  if (!namespaceOf(object).empty()) about["namespace"] = namespaceOf(object);
  about["resourceVersion"] = textAt(object, {"metadata", "resourceVersion"});
  json::object metadata{{"name", nameOf(object) + "." + hexLower(randomBytes(8))}, {"namespace", ns}};
  const std::string time = rfc3339(now);
  json::object event{{"apiVersion", "v1"}, {"kind", "Event"}, {"metadata", std::move(metadata)}, {"involvedObject", std::move(about)}};
  event["reason"] = text.reason;
  event["message"] = text.message;
  event["source"] = json::object{{"component", text.component}};
  event["firstTimestamp"] = time;
  event["lastTimestamp"] = time;
  event["count"] = 1;
  event["type"] = text.type;
  event["reportingComponent"] = text.component;
  event["reportingInstance"] = "";
  const Result<DocumentPtr> written = client.create(coreKind("events"), ns, std::move(event));
  if (!written) log::debug("event was refused", {{"ns", ns}, {"name", nameOf(object)}, {"err", log::chain(written.error())}});
}

}  // namespace podpass::controllers
