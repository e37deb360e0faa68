#include "server/request_options.h"

#include "api/codec.h"
#include "api/json_reader.h"
#include "base/text.h"

namespace podpass::server {
namespace {

Result<std::uint64_t> number(std::string_view name, const std::string& value) {
  if (value.empty()) return std::uint64_t{0};
  const bool digits = value.find_first_not_of("0123456789") == std::string::npos && value.size() < 19;
  if (!digits)
    return Error{Reason::BadRequest,
                 "strconv.ParseInt: parsing " + quoted(value.substr(0, 64)) + ": invalid syntax (" + std::string(name) + ")"};
  return static_cast<std::uint64_t>(std::stoull(value));
}

}  // namespace

Error invalidOptions(const char* kind, const std::string& field, const std::string& message, const char* reason) {
  Error error{.reason = Reason::Invalid, .sentence = std::string(kind) + ".meta.k8s.io \"\" is invalid: " + field + ": " + message};
  error.causes.push_back({field, message, reason});
  error.about = {"meta.k8s.io", kind, "", ""};
  return error;
}

Result<void> commonOptions(const http::Request& request, const std::string& verb, Context& context) {
  if (verb == "get" || verb == "list" || verb == "watch") return {};
  const char* kind = verb == "create"   ? "CreateOptions"
                     : verb == "update" ? "UpdateOptions"
                     : verb == "patch"  ? "PatchOptions"
                                        : "DeleteOptions";
  context.optionsKind = kind;
  context.fieldManager = request.parameter("fieldManager").value_or("");
  for (const std::string& value : request.parameters("dryRun")) {
    if (value == "All")
      context.dryRun = true;
    else if (!value.empty())
      return invalidOptions(kind, "dryRun", "Unsupported value: []string{" + quoted(value) + "}: supported values: \"All\"",
                            "FieldValueNotSupported");
  }
  const std::string validation = request.parameter("fieldValidation").value_or("");
  if (validation == "Strict" || validation == "Warn" || validation == "Ignore")
    context.fieldValidation = validation;
  else if (!validation.empty())
    return invalidOptions(kind, "fieldValidation",
                          "Unsupported value: " + quoted(validation) + ": supported values: \"\", \"Ignore\", \"Strict\", \"Warn\"",
                          "FieldValueNotSupported");
  const std::string_view agent = request.headers.find("user-agent");
  context.manager =
      context.fieldManager.empty() ? std::string(agent.substr(0, std::min<std::size_t>(agent.find('/'), 128))) : context.fieldManager;
  if (!api::isUtf8(context.manager)) context.manager = "unknown";
  if (context.fieldManager.size() > 128)
    return invalidOptions(kind, "fieldManager", "Too long: may not be more than 128 bytes", "FieldValueTooLong");
  return {};
}

Result<ListOptions> listOptions(const http::Request& request, const RequestInfo& info, std::uint64_t currentRevision) {
  ListOptions list;
  list.ns = info.ns;
  Result<api::LabelSelector> labels = api::LabelSelector::parse(request.parameter("labelSelector").value_or(""));
  if (!labels) return labels.error();
  Result<api::FieldSelector> fields = api::FieldSelector::parse(*info.kind, request.parameter("fieldSelector").value_or(""));
  if (!fields) return fields.error();
  list.labels = *std::move(labels);
  list.fields = *std::move(fields);
  const std::string limit = request.parameter("limit").value_or("");
  if (!limit.starts_with('-')) {  // negative: no limit
    Result<std::uint64_t> count = number("limit", limit);
    if (!count) return count.error();
    list.limit = *count;
  }
  list.continueToken = request.parameter("continue").value_or("");
  const std::string revision = request.parameter("resourceVersion").value_or(""),
                    match = request.parameter("resourceVersionMatch").value_or("");
  Result<std::uint64_t> at = number("resourceVersion", revision);
  if (!at) return at.error();
  if (!list.continueToken.empty()) {
    if (*at != 0) return Error{Reason::BadRequest, "specifying resource version is not allowed when using continue"};
    if (!match.empty())
      return invalidOptions("ListOptions", "resourceVersionMatch",
                            "Forbidden: resourceVersionMatch is forbidden when continue is provided");
  } else if (!match.empty() && revision.empty() && info.verb == "list") {
    return invalidOptions("ListOptions", "resourceVersionMatch",
                          "Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided");
  } else if (!match.empty() && match != "Exact" && match != "NotOlderThan") {
    return invalidOptions("ListOptions", "resourceVersionMatch",
                          "Unsupported value: " + quoted(match) + ": supported values: \"Exact\", \"NotOlderThan\", \"\"",
                          "FieldValueNotSupported");
  } else if (match == "Exact" && *at == 0) {
    return invalidOptions("ListOptions", "resourceVersionMatch",
                          "Forbidden: resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"");
  }
  if (*at > currentRevision && info.verb == "list") {
    const std::string why = "Too large resource version: " + revision + ", current: " + std::to_string(currentRevision);
    Error error{.reason = Reason::Timeout, .sentence = "Timeout: " + why, .retryAfterSeconds = 1};
    error.causes.push_back({"", "Too large resource version", "ResourceVersionTooLarge"});
    return error;
  }
  if (match == "Exact" || (*at != 0 && match.empty() && list.limit != 0)) list.atRevision = *at;
  return list;
}

Result<api::DeleteOptions> deleteOptions(const http::Request& request, Context& context) {
  if (request.body.empty()) return deleteOptions(json::object(), request, context);
  const api::Kind& kind = *api::findBodyKind("meta.k8s.io", "v1", "DeleteOptions");
  const Result<api::Decoded> decoded = api::decode(kind, request.headers.find("content-type"), request.body);
  if (!decoded) return decoded.error();
  return deleteOptions(decoded->object, request, context);
}

Result<api::DeleteOptions> deleteOptions(const json::object& given, const http::Request& request, Context& context) {
  api::DeleteOptions options;
  if (const json::value* grace = given.if_contains("gracePeriodSeconds"); grace != nullptr && grace->is_int64())
    options.gracePeriodSeconds = grace->get_int64();
  else if (const auto query = request.parameter("gracePeriodSeconds")) {
    Result<std::uint64_t> seconds = number("gracePeriodSeconds", *query);
    if (!seconds) return seconds.error();
    options.gracePeriodSeconds = static_cast<std::int64_t>(*seconds);
  }
  options.uid = textAt(given, {"preconditions", "uid"});
  options.resourceVersion = textAt(given, {"preconditions", "resourceVersion"});
  options.propagationPolicy = textAt(given, {"propagationPolicy"});
  if (options.propagationPolicy.empty()) options.propagationPolicy = request.parameter("propagationPolicy").value_or("");
  const std::string& policy = options.propagationPolicy;
  if (!policy.empty() && policy != "Background" && policy != "Foreground" && policy != "Orphan")
    return invalidOptions(
        "DeleteOptions", "propagationPolicy",
        "Unsupported value: " + quoted(policy) + ": supported values: \"Foreground\", \"Background\", \"Orphan\", \"nil\"",
        "FieldValueNotSupported");
  if (const json::value* orphan = given.if_contains("orphanDependents"); orphan != nullptr && orphan->is_bool()) {
    if (!policy.empty())
      return invalidOptions("DeleteOptions", "propagationPolicy",
                            "Invalid value: " + quoted(policy) + ": orphanDependents and deletionPropagation cannot be both set",
                            "FieldValueInvalid");
    options.propagationPolicy = orphan->get_bool() ? "Orphan" : "Background";
  }
  if (const json::array* dry = arrayAt(given, {"dryRun"}))
    for (const json::value& each : *dry) {
      if (each != "All")
        return invalidOptions("DeleteOptions", "dryRun",
                              "Unsupported value: []string{" + json::serialize(each) + "}: supported values: \"All\"",
                              "FieldValueNotSupported");
      context.dryRun = true;
    }
  return options;
}

Result<PatchType> patchType(std::string_view contentType) {
  const std::string_view type = contentType.substr(0, contentType.find(';'));
  if (type == "application/json-patch+json") return PatchType::Json;
  if (type == "application/merge-patch+json") return PatchType::Merge;
  if (type == "application/strategic-merge-patch+json") return PatchType::StrategicMerge;
  if (type == "application/apply-patch+yaml") return PatchType::Apply;
  return Error{Reason::UnsupportedMediaType,
               "the body of the request was in an unknown format - accepted media types include: application/json-patch+json, "
               "application/merge-patch+json, application/strategic-merge-patch+json, application/apply-patch+yaml"};
}

Result<WatchOptions> watchOptions(const http::Request& request, const RequestInfo& info, std::uint64_t currentRevision, SteadyTime now) {
  Result<ListOptions> list = listOptions(request, info, currentRevision);
  if (!list) return list.error();
  WatchOptions options{list->ns, list->labels, list->fields, std::nullopt};
  if (!info.name.empty()) {
    Result<api::FieldSelector> one = api::FieldSelector::parse(*info.kind, "metadata.name=" + info.name);
    if (!one) return one.error();
    options.fields = *std::move(one);
  }
  const std::string revision = request.parameter("resourceVersion").value_or("");
  options.sendInitialEvents = parseBool(request.parameter("sendInitialEvents").value_or("")).value_or(false);
  if (options.sendInitialEvents && request.parameter("resourceVersionMatch").value_or("") != "NotOlderThan")
    return invalidOptions("ListOptions", "resourceVersionMatch",
                          "Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan");
  if (!revision.empty() && revision != "0" && !options.sendInitialEvents) options.since = *number("resourceVersion", revision);
  options.bookmarks = parseBool(request.parameter("allowWatchBookmarks").value_or("")).value_or(false);
  Result<std::uint64_t> seconds = number("timeoutSeconds", request.parameter("timeoutSeconds").value_or(""));
  if (!seconds) return seconds.error();
  // jitter: watchers that started together must not come back together
  const auto spread = static_cast<std::int64_t>(now.time_since_epoch().count() / 1000 % 1800);
  options.timeout = std::chrono::seconds(*seconds != 0 ? static_cast<std::int64_t>(*seconds) : 1800 + spread);
  return options;
}

}  // namespace podpass::server
