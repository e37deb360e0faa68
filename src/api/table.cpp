#include "api/table.h"

namespace podpass::api {
namespace {

constexpr std::string_view kNameDoc =
    "Name must be unique within a namespace. Is required when creating resources, although some resources may allow a client to "
    "request the generation of an appropriate name automatically. Name is primarily intended for creation idempotence and "
    "configuration definition. Cannot be updated.";
constexpr std::string_view kCreatedDoc =
    "CreationTimestamp is a timestamp representing the server time when this object was created. It is represented in RFC3339 form "
    "and is in UTC.";

json::object definition(std::string_view name, std::string_view type, std::string_view format, std::string_view doc, int priority) {
  return {{"name", name}, {"type", type}, {"format", format}, {"description", doc}, {"priority", priority}};
}

json::value createdAt(const json::object& object) {
  const std::string_view created = textAt(object, {"metadata", "creationTimestamp"});
  return created.empty() ? json::value(nullptr) : json::value(created);
}

// An object whose work is over says so in its row.
std::optional<json::array> completion(const Kind& kind, const json::object& object) {
  const std::string_view phase = textAt(object, {"status", "phase"});
  if (phase != "Succeeded" && phase != "Failed") return std::nullopt;
  const std::string subject = "The " + std::string(kind.singular);
  json::object condition{{"type", "Completed"}, {"status", "True"}, {"reason", phase}};
  condition["message"] = subject + (phase == "Failed" ? " failed." : " has completed successfully.");
  json::array conditions;
  conditions.push_back(std::move(condition));
  return conditions;
}

// A kind that has its name among its own columns (Event, at the end of the wide ones) does not begin with it.
bool beginsWithName(const Kind& kind) {
  return std::none_of(kind.columns.begin(), kind.columns.end(), [](const Column& column) { return column.name == "Name"; });
}

}  // namespace

json::array tableColumns(const Kind& kind) {
  json::array columns;
  if (beginsWithName(kind)) columns.push_back(definition("Name", "string", "name", kNameDoc, 0));
  if (kind.columns.empty()) columns.push_back(definition("Created At", "date", "", kCreatedDoc, 0));
  for (const Column& column : kind.columns)
    columns.push_back(definition(column.name, column.type, column.format, column.doc, column.priority));
  return columns;
}

json::object tableRow(const Kind& kind, const json::object& object, IncludeObject include, WallTime now) {
  json::array cells;
  if (beginsWithName(kind)) cells.push_back(json::value(textAt(object, {"metadata", "name"})));
  if (kind.columns.empty()) cells.push_back(createdAt(object));
  for (const Column& column : kind.columns) cells.push_back(column.cell ? column.cell(object, now) : json::value(nullptr));
  json::object row;
  row["cells"] = std::move(cells);
  if (std::optional<json::array> conditions = completion(kind, object)) row["conditions"] = *std::move(conditions);
  switch (include) {
    case IncludeObject::None:
      row["object"] = nullptr;
      break;
    case IncludeObject::Metadata:
      row["object"] = partialMetadata(object);
      break;
    case IncludeObject::Object: {
      json::object whole{{"kind", kind.kind}, {"apiVersion", kind.apiVersion()}};
      for (const auto& [name, value] : object)
        if (name != "kind" && name != "apiVersion") whole[name] = value;
      row["object"] = std::move(whole);
      break;
    }
  }
  return row;
}

json::object partialMetadata(const json::object& object) {
  json::object partial{{"kind", "PartialObjectMetadata"}, {"apiVersion", "meta.k8s.io/v1"}};
  const json::object* metadata = objectAt(object, {"metadata"});
  partial["metadata"] = metadata == nullptr ? json::object() : *metadata;
  return partial;
}

}  // namespace podpass::api
