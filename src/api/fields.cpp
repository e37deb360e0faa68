#include "api/fields.h"

#include "api/codec.h"

namespace podpass::api {
namespace {

Field make(Type type, std::string_view name, std::uint32_t number, std::string_view doc) {
  Field field;
  field.name = name;
  field.number = number;
  field.type = type;
  field.doc = doc;
  return field;
}

}  // namespace

Field text(std::string_view name, std::uint32_t number, std::string_view doc) { return make(Type::String, name, number, doc); }
Field texts(std::string_view name, std::uint32_t number, std::string_view doc) { return make(Type::List, name, number, doc); }
Field integer(std::string_view name, std::uint32_t number, std::string_view doc) { return make(Type::Integer, name, number, doc); }
Field boolean(std::string_view name, std::uint32_t number, std::string_view doc) { return make(Type::Boolean, name, number, doc); }
Field bytes(std::string_view name, std::uint32_t number, std::string_view doc) { return make(Type::Bytes, name, number, doc); }
Field time(std::string_view name, std::uint32_t number, std::string_view doc) { return make(Type::Time, name, number, doc); }
Field microTime(std::string_view name, std::uint32_t number, std::string_view doc) { return make(Type::MicroTime, name, number, doc); }
Field quantity(std::string_view name, std::uint32_t number, std::string_view doc) { return make(Type::Quantity, name, number, doc); }
Field intOrString(std::string_view name, std::uint32_t number, std::string_view doc) { return make(Type::IntOrString, name, number, doc); }
Field anything(std::string_view name, std::uint32_t number, std::string_view doc) { return make(Type::Any, name, number, doc); }
Field textOrObject(std::string_view name, std::uint32_t number, std::string_view doc) {
  Field field = make(Type::Any, name, number, doc);
  field.orText = true;
  return field;
}

Field object(std::string_view name, std::uint32_t number, Fields of, std::string_view doc) {
  Field field = make(Type::Object, name, number, doc);
  field.of = std::move(of);
  return field;
}

Field list(std::string_view name, std::uint32_t number, Fields of, std::string_view doc) {
  Field field = make(Type::List, name, number, doc);
  field.of = std::move(of);
  return field;
}

Field map(std::string_view name, std::uint32_t number, Type element, std::string_view doc) {
  Field field = make(Type::Map, name, number, doc);
  field.element = element;
  return field;
}

Field count(std::string_view name, std::uint32_t number, std::string_view doc) {
  Field field = integer(name, number, doc);
  field.zeroIsAbsent = true;
  return field;
}

Field flag(std::string_view name, std::uint32_t number, std::string_view doc) {
  Field field = boolean(name, number, doc);
  field.zeroIsAbsent = true;
  return field;
}

Field required(Field field) {
  field.required = true;
  return field;
}

Field evenEmpty(Field field) {
  field.evenEmpty = true;
  return field;
}

Field byDefault(std::string_view jsonText, Field field) {
  field.byDefault = jsonText;
  return field;
}

Field oneOf(std::vector<std::string_view> values, Field field) {
  field.oneOf = std::move(values);
  return field;
}

Field between(std::int64_t low, std::int64_t high, Field field) {
  field.range = Range{low, high};
  return field;
}

Field atLeast(std::int64_t low, Field field) { return between(low, std::numeric_limits<std::int64_t>::max(), std::move(field)); }

Field mergedBy(std::string_view key, Field field) {
  field.mergeKey = key;
  return field;
}

Field keyedBy(std::vector<std::string_view> keys, Field field) {
  field.mapKeys = std::move(keys);
  return field;
}

Field asSet(Field field) {
  field.setMerge = true;
  return field;
}

Field atomic(Field field) {
  field.atomic = true;
  return field;
}

Field checked(std::string_view (*problem)(std::string_view), Field field) {
  field.problem = problem;
  return field;
}

Fields embedded(std::uint32_t number, Fields fields) {
  for (Field& field : fields) field.within = number;
  return fields;
}

Fields joined(Fields first, Fields second) {
  first.insert(first.end(), std::make_move_iterator(second.begin()), std::make_move_iterator(second.end()));
  return first;
}

const Fields& objectReference() {
  static const Fields fields{text("apiVersion", 5, "API version of the referent."),
                             text("kind", 1, "Kind of the referent."),
                             text("name", 3, "Name of the referent."),
                             text("namespace", 2, "Namespace of the referent."),
                             text("uid", 4, "UID of the referent."),
                             text("resourceVersion", 6, "Specific resourceVersion to which this reference is made, if any."),
                             text("fieldPath", 7, "A part of the referent, such as spec.containers{name}.")};
  return fields;
}

const Fields& localObjectReference() {
  static const Fields fields{text("name", 1, "Name of the referent.")};
  return fields;
}

const Fields& labelSelector() {
  static const Fields fields{
      map("matchLabels", 1, Type::String, "Labels that must have these values."),
      list("matchExpressions", 2,
           {required(text("key", 1, "The label key that the selector applies to.")),
            required(oneOf({"In", "NotIn", "Exists", "DoesNotExist"}, text("operator", 2, "In, NotIn, Exists or DoesNotExist."))),
            texts("values", 3, "Non-empty for In and NotIn, empty for Exists and DoesNotExist.")},
           "Requirements that must all hold.")};
  return fields;
}

const Fields& condition() {
  static const Fields fields{required(text("type", 1, "Type of condition in CamelCase.")),
                             required(text("status", 2, "True, False or Unknown.")),
                             count("observedGeneration", 3, "The metadata.generation that the condition was set upon."),
                             time("lastTransitionTime", 4, "Last time the condition changed from one status to another."),
                             evenEmpty(text("reason", 5, "Programmatic identifier of the reason for the last transition.")),
                             evenEmpty(text("message", 6, "Details about the transition for people."))};
  return fields;
}

const Fields& userInfo() {
  static const Fields fields{text("username", 1, "The name that uniquely identifies this user among all active users."),
                             text("uid", 2, "A unique value that identifies this user across time."),
                             texts("groups", 3, "The names of groups this user is a part of."),
                             map("extra", 4, Type::List, "Any additional information provided by the authenticator.")};
  return fields;
}

const std::vector<Field>& metadataFields() {
  static const Fields fields{
      text("name", 1, "Unique within a namespace. Cannot be updated."),
      text("generateName", 2, "Prefix for a name that the server makes unique, used when name is missing."),
      text("namespace", 3, "The space within which the name must be unique. Cannot be updated."),
      text("selfLink", 4, "Deprecated; not populated any more."),
      text("uid", 5, "Unique in time and space. Populated by the system."),
      text("resourceVersion", 6, "Opaque version of this object for optimistic concurrency and watches. Populated by the system."),
      count("generation", 7, "A sequence number of the desired state. Populated by the system."),
      time("creationTimestamp", 8, "The server time when this object was created. Populated by the system."),
      time("deletionTimestamp", 9, "When this resource will be deleted. Populated by the system when a deletion is requested."),
      integer("deletionGracePeriodSeconds", 10, "Seconds allowed to terminate gracefully. Read-only."),
      map("labels", 11, Type::String, "Keys and values to organise and select objects by."),
      map("annotations", 12, Type::String, "Unstructured keys and values that tools store and retrieve."),
      mergedBy("uid", list("ownerReferences", 13,
                           {text("apiVersion", 5, "API version of the referent."), text("kind", 1, "Kind of the referent."),
                            text("name", 3, "Name of the referent."), text("uid", 4, "UID of the referent."),
                            boolean("controller", 6, "True: this reference points to the managing controller."),
                            boolean("blockOwnerDeletion", 7, "True: a foreground deletion of the owner waits for this object.")},
                           "Objects depended on by this one; when all are gone this one is garbage collected.")),
      asSet(texts("finalizers", 14, "Must be empty before the object is deleted from the registry.")),
      list("managedFields", 17,
           {text("manager", 1, "Who manages these fields."), text("operation", 2, "Apply or Update."),
            text("apiVersion", 3, "Version of the resource that this field set applies to."),
            time("time", 4, "When this entry was last changed."), text("fieldsType", 6, "FieldsV1."),
            anything("fieldsV1", 7, "The set of fields."), text("subresource", 8, "The subresource used to change the fields.")},
           "Which manager set which field.")};
  return fields;
}

std::string_view environmentNameProblem(std::string_view name) {
  const bool printable = std::all_of(name.begin(), name.end(), [](char c) { return c > ' ' - 1 && c < 0x7f && c != '='; });
  return printable ? std::string_view{}
                   : "a valid environment variable name must consist only of printable ASCII characters other than '='";
}

std::string_view fileModeProblem(std::string_view decimal) {
  const bool small = decimal.size() <= 3 && !decimal.starts_with('-') && std::atoi(std::string(decimal).c_str()) <= 0777;
  return small ? std::string_view{} : "must be a number between 0 and 0777 (octal), both inclusive";
}

std::string_view tokenLifetimeProblem(std::string_view seconds) {
  const std::int64_t value = std::strtoll(std::string(seconds).c_str(), nullptr, 10);
  if (value < 600) return "may not specify a duration less than 10 minutes";
  if (value > std::int64_t{1} << 32) return "may not specify a duration larger than 2^32 seconds";
  return {};
}

}  // namespace podpass::api
