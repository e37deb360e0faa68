#include "api/causes.h"
#include "api/fields.h"
#include "api/kinds.h"

namespace podpass::api {
namespace {

std::string_view trimmed(std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r\n") - first + 1);
}

std::string_view firstSeen(const json::object& event) {
  const std::string_view first = textAt(event, {"firstTimestamp"});
  return first.empty() ? textAt(event, {"eventTime"}) : first;
}

std::string_view lastSeen(const json::object& event) {
  if (const std::string_view observed = textAt(event, {"series", "lastObservedTime"}); !observed.empty()) return observed;
  const std::string_view last = textAt(event, {"lastTimestamp"});
  return last.empty() ? firstSeen(event) : last;
}

json::value subjectCell(const json::object& event, WallTime) {
  std::string kind(textAt(event, {"involvedObject", "kind"}));
  std::transform(kind.begin(), kind.end(), kind.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  const std::string_view name = textAt(event, {"involvedObject", "name"});
  return json::value(name.empty() ? kind : kind + "/" + std::string(name));
}

json::value sourceCell(const json::object& event, WallTime) {
  std::string source(textAt(event, {"source", "component"}));
  if (source.empty()) source = textAt(event, {"reportingComponent"});
  const std::string_view host = textAt(event, {"source", "host"});
  return json::value(host.empty() ? source : source + ", " + std::string(host));
}

json::value countCell(const json::object& event, WallTime) {
  const std::int64_t series = integerAt(event, {"series", "count"});
  return json::value(std::max<std::int64_t>(1, series > 0 ? series : integerAt(event, {"count"})));
}

std::vector<Column> eventColumns() {
  return {{.name = "Last Seen", .cell = [](const json::object& event, WallTime now) { return json::value(ageOf(lastSeen(event), now)); }},
          textColumn("Type", {"type"}),
          textColumn("Reason", {"reason"}),
          {.name = "Object", .cell = subjectCell},
          textColumn("Subobject", {"involvedObject", "fieldPath"}, {}, 1),
          {.name = "Source", .priority = 1, .cell = sourceCell},
          {.name = "Message", .cell = [](const json::object& event, WallTime) { return json::value(trimmed(textAt(event, {"message"}))); }},
          {.name = "First Seen",
           .priority = 1,
           .cell = [](const json::object& event, WallTime now) { return json::value(ageOf(firstSeen(event), now)); }},
          {.name = "Count", .priority = 1, .cell = countCell},
          textColumn("Name", {"metadata", "name"}, {}, 1)};
}

// An event lives beside its object; those of cluster-scoped objects live in `default`.
void validateEvent(const json::object& event, Causes& causes) {
  const std::string_view involved = textAt(event, {"involvedObject", "namespace"}), own = textAt(event, {"metadata", "namespace"});
  const bool fits = involved.empty() ? own.empty() || own == "default" || own == "kube-system" : involved == own;
  if (!fits) causes.push_back(invalidText("involvedObject.namespace", involved, "does not match event.namespace"));
}

Fields eventFields() {
  return {atomic(object("involvedObject", 2, objectReference(), "The object that this event is about.")),
          text("reason", 3, "A short, machine understandable reason for the transition into the object's current status."),
          text("message", 4, "A description of the status of this operation for people."),
          object("source", 5, {text("component", 1), text("host", 2)}, "The component reporting this event."),
          time("firstTimestamp", 6, "When the event was first recorded."),
          time("lastTimestamp", 7, "When the most recent occurrence was recorded."),
          count("count", 8, "The number of times this event has occurred."),
          text("type", 9, "Normal or Warning."),
          microTime("eventTime", 10, "When this event was first observed."),
          object("series", 11, {count("count", 1), microTime("lastObservedTime", 2)}, "The series that this event represents, if any."),
          text("action", 12, "What action was taken or failed regarding the object."),
          atomic(object("related", 13, objectReference(), "Optional secondary object for more complex actions.")),
          text("reportingComponent", 14, "Name of the controller that emitted this event."),
          text("reportingInstance", 15, "ID of the controller instance.")};
}

}  // namespace

const Kind& eventKind() {
  static const Kind kind{.group = "",
                         .version = "v1",
                         .kind = "Event",
                         .plural = "events",
                         .singular = "event",
                         .shortNames = {"ev"},
                         .namespaced = true,
                         .manyOrBusy = true,
                         .doc = "Event is a report of an event somewhere in the cluster.",
                         .definition = "io.k8s.api.core.v1.Event",
                         .fields = eventFields(),
                         .columns = eventColumns(),
                         .selectableFields = {"involvedObject.kind", "involvedObject.namespace", "involvedObject.name",
                                              "involvedObject.uid", "involvedObject.apiVersion", "involvedObject.resourceVersion",
                                              "involvedObject.fieldPath", "reason", "reportingComponent", "source", "type"},
                         .validate = validateEvent};
  return kind;
}

}  // namespace podpass::api
