#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/document.h"

// The kinds as data: one table per kind from which decoding, strict checking, defaults, validation, patching, tables, protobuf,
// OpenAPI and discovery are all derived. No kind has a decoder, no walker names a kind.
namespace podpass::api {

enum class Type {
  Object,  // `of` are its fields
  List,    // of objects with the fields `of`, or of scalars of type `element`
  Map,     // string → `element` (String, Bytes, Quantity), or string → object with fields `of`
  String,
  Integer,  // int32/int64
  Boolean,
  Bytes,        // base64 in JSON
  Time,         // RFC 3339 seconds; protobuf {1 seconds, 2 nanos}
  MicroTime,    // RFC 3339 with six decimals
  Quantity,     // "100m"; JSON numbers are accepted; protobuf {1 string}
  IntOrString,  // protobuf {1 type, 2 int, 3 string}
  Any,          // free JSON (RawExtension, fieldsV1)
};

struct Range {
  std::int64_t low;
  std::int64_t high;
};

struct Field {
  std::string_view name;
  std::uint32_t number = 0;  // in Kubernetes' generated.proto
  Type type = Type::String;
  std::string_view doc = {};
  std::vector<Field> of = {};
  Type element = Type::String;               // List in a Map: lists of strings (UserInfo.extra)
  std::string_view byDefault = {};           // JSON text; applied when the field is missing or null
  bool required = false;                     // "Required value" when missing or empty
  std::vector<std::string_view> oneOf = {};  // the supported values, in the order messages list them
  std::optional<Range> range = {};
  std::string_view mergeKey = {};              // strategic merge: lists merged by this member ("" = replaced)
  std::vector<std::string_view> mapKeys = {};  // server-side apply tells elements apart by these; empty: by mergeKey
  bool setMerge = false;                       // strategic merge of a list of scalars (finalizers)
  bool retainKeys = false;                     // volumes
  bool orText = false;                         // Any: a string is as good as an object, and OpenAPI gives it no type
  bool atomic = false;                         // replaced as a whole by server-side apply, whatever a strategic merge does
  // What is wrong with the text, "" when it is good (the message after `Invalid value: "x": `). Integers come as decimal text, of
  // maps the keys, of lists each element.
  std::string_view (*problem)(std::string_view) = nullptr;
  std::uint32_t within = 0;   // protobuf: number of the embedded message that holds it (VolumeSource in Volume); 0: none
  bool zeroIsAbsent = false;  // 0 and false mean the same as missing (a value, no pointer, in Kubernetes' Go); "", [] do unless:
  bool evenEmpty = false;     // "" is written, as a string that has no `omitempty` in Kubernetes' Go: clients require it

  // The members that tell the elements of a list apart; none: it is a set or a whole.
  [[nodiscard]] std::vector<std::string_view> listKeys() const;
};

struct Column {
  std::string_view name;
  std::string_view type = "string";  // string, integer, date
  std::string_view format = {};
  int priority = 0;
  std::string_view doc = {};
  std::function<json::value(const json::object& object, WallTime now)> cell;
};

struct Subresource {
  std::string_view name;        // "status", "token", "log", "exec", …
  std::string_view kind;        // kind of its body: "TokenRequest"; "" = the parent's
  std::string_view group = {};  // of that kind when it differs: "authentication.k8s.io"
  std::string_view version = {};
  std::vector<std::string_view> verbs;
};

struct Kind {
  std::string_view group;  // "" for core
  std::string_view version;
  std::string_view kind;
  std::string_view plural;
  std::string_view singular;
  std::vector<std::string_view> shortNames = {};
  std::vector<std::string_view> categories = {};
  bool namespaced = false;
  bool hasStatus = false;      // status is a subresource: written only through /status
  bool hasGeneration = false;  // metadata.generation counts changes of spec
  bool manyOrBusy = false;     // pods, events, leases, nodes: who set which field is recorded from the first server-side apply on
  bool isVirtual = false;      // create only, nothing stored (TokenReview, …)
  bool isComputed = false;     // made when somebody asks, and not stored
  bool anyVersion = false;     // a body that clients send under several group versions (DeleteOptions, Eviction)
  std::string_view doc = {};
  std::string_view definition = {};  // OpenAPI definition name: "io.k8s.api.core.v1.Pod"
  std::vector<Field> fields = {};    // beside apiVersion, kind, metadata(1)
  std::vector<Column> columns = {};  // after Name, unless it is one of them; empty: Name, Created At
  std::vector<Subresource> subresources = {};
  std::vector<std::string_view> verbs = {};             // empty: all eight (only create when isVirtual)
  std::vector<std::string_view> selectableFields = {};  // field selectors beside metadata.name and metadata.namespace
  std::string_view unknownSelector = {};                // message form, spec api.md §5; "" = the generic one
  // Rules that no table can say. Append causes; paths from the root ("spec.containers").
  std::function<void(const json::object& object, std::vector<Cause>& causes)> validate = nullptr;
  std::function<void(const json::object& now, const json::object& before, std::vector<Cause>& causes)> validateUpdate = nullptr;
  // Defaults that no table can say; runs after the table's.
  std::function<void(json::object& object)> defaults = nullptr;
  // Checks metadata.name ("" = good). nullptr: RFC 1123 subdomain.
  std::string_view (*nameProblem)(std::string_view) = nullptr;

  [[nodiscard]] std::string apiVersion() const {
    return group.empty() ? std::string(version) : std::string(group) + "/" + std::string(version);
  }
  [[nodiscard]] std::string qualifiedPlural() const {  // "leases.coordination.k8s.io"
    return group.empty() ? std::string(plural) : std::string(plural) + "." + std::string(group);
  }
  [[nodiscard]] bool allows(std::string_view verb) const;
};

// Serves the kind Fault among the others. Before the first look at the kinds only: a podpass that was not asked to fail has no such kind.
void serveFaults();
// All kinds, core first, in the order that discovery shows. The pointers live as long as the process.
const std::vector<const Kind*>& allKinds();
const Kind* findKind(std::string_view group, std::string_view version, std::string_view plural);
const Kind* findKindByName(std::string_view apiVersion, std::string_view kind);
bool servesGroupVersion(std::string_view group, std::string_view version);
// The kinds that are only the body of a subresource (TokenRequest, Binding, Eviction, DeleteOptions): decoded like the others.
const Kind* findBodyKind(std::string_view group, std::string_view version, std::string_view kind);
// The fields of metadata (ObjectMeta).
const std::vector<Field>& metadataFields();

// name → nullptr-able lookups used by the walkers
const Field* findField(const std::vector<Field>& fields, std::string_view name);

}  // namespace podpass::api
