#include "server/status.h"

#include "base/text.h"
#include "http/conditional.h"

namespace podpass::server {
namespace {

struct Row {
  Reason reason;
  int code;
  std::string_view name;
};
constexpr Row kRows[] = {{Reason::Internal, 500, "InternalError"},
                         {Reason::BadRequest, 400, "BadRequest"},
                         {Reason::Unauthorized, 401, "Unauthorized"},
                         {Reason::Forbidden, 403, "Forbidden"},
                         {Reason::NotFound, 404, "NotFound"},
                         {Reason::MethodNotAllowed, 405, "MethodNotAllowed"},
                         {Reason::NotAcceptable, 406, "NotAcceptable"},
                         {Reason::UnsupportedMediaType, 415, "UnsupportedMediaType"},
                         {Reason::AlreadyExists, 409, "AlreadyExists"},
                         {Reason::Conflict, 409, "Conflict"},
                         {Reason::Expired, 410, "Expired"},
                         {Reason::RequestTooLarge, 413, "RequestEntityTooLarge"},
                         {Reason::Invalid, 422, "Invalid"},
                         {Reason::TooManyRequests, 429, "TooManyRequests"},
                         {Reason::ServerTimeout, 500, "ServerTimeout"},
                         {Reason::Timeout, 504, "Timeout"},
                         {Reason::Unavailable, 503, "ServiceUnavailable"}};

const Row& rowOf(Reason reason) {
  for (const Row& row : kRows)
    if (row.reason == reason) return row;
  return kRows[0];
}

Subject about(const api::Kind& kind, std::string_view name) {
  return Subject{std::string(kind.group), std::string(kind.plural), std::string(name), {}};
}

}  // namespace

Reason reasonOf(int httpCode) {
  for (const Row& row : kRows)
    if (row.code == httpCode) return row.reason;
  return Reason::Internal;
}

json::object statusOf(const Error& error, const std::optional<Wording>& wording) {
  const Row& row = rowOf(error.reason);
  json::object status{{"kind", "Status"}, {"apiVersion", "v1"}, {"metadata", json::object()}, {"status", "Failure"}};
  // 401 tells nothing but the code: which check failed is for the log
  status["message"] = error.reason == Reason::Unauthorized && !wording ? "Unauthorized" : error.sentence;
  const int code = wording ? wording->code : row.code;
  const std::string_view reason = wording ? std::string_view(wording->reason) : row.name;
  if (!reason.empty()) status["reason"] = reason;
  json::object details;
  const auto add = [&](const char* name, const std::string& value) {
    if (!value.empty()) details[name] = value;
  };
  add("name", error.about.name);
  add("group", error.about.group);
  add("kind", error.about.kind);
  add("uid", error.about.uid);
  json::array causes;
  for (const Cause& cause : error.causes) {
    json::object entry;
    if (!cause.reason.empty()) entry["reason"] = cause.reason;
    entry["message"] = cause.message;
    if (!cause.field.empty()) entry["field"] = cause.field;
    causes.push_back(std::move(entry));
  }
  if (!causes.empty()) details["causes"] = std::move(causes);
  if (error.retryAfterSeconds > 0) details["retryAfterSeconds"] = error.retryAfterSeconds;
  if (!details.empty()) status["details"] = std::move(details);
  status["code"] = code;
  return status;
}

http::Response jsonResponse(int code, std::string text) {
  http::Response response;
  response.status = code;
  response.headers.add("Content-Type", "application/json");
  response.body = std::make_shared<const std::string>(std::move(text));
  return response;
}

http::Response cacheable(const http::Request& request, std::string body, std::string type) {
  std::string tag = http::entityTag(body);
  http::Response response;
  if (http::holdsCurrent(request.headers, tag)) {
    response.status = 304;
  } else {
    response.headers.add("Content-Type", std::move(type));
    response.body = std::make_shared<const std::string>(std::move(body));
  }
  response.headers.add("ETag", std::move(tag));
  return response;
}

http::Response textResponse(int code, std::string text) {
  http::Response response;
  response.status = code;
  response.headers.add("Content-Type", "text/plain; charset=utf-8");
  response.headers.add("X-Content-Type-Options", "nosniff");
  response.body = std::make_shared<const std::string>(std::move(text));
  return response;
}

http::Response failure(const Error& error, const std::optional<Wording>& wording) {
  http::Response response =
      jsonResponse(wording ? wording->code : rowOf(error.reason).code, json::serialize(statusOf(error, wording)) + "\n");
  if (error.retryAfterSeconds > 0) response.headers.add("Retry-After", std::to_string(error.retryAfterSeconds));
  return response;
}

Error notFound(const api::Kind& kind, std::string_view name) {
  return Error{
      .reason = Reason::NotFound, .sentence = kind.qualifiedPlural() + " " + quoted(name) + " not found", .about = about(kind, name)};
}

Error alreadyExists(const api::Kind& kind, std::string_view name) {
  return Error{.reason = Reason::AlreadyExists,
               .sentence = kind.qualifiedPlural() + " " + quoted(name) + " already exists",
               .about = about(kind, name)};
}

Error conflict(const api::Kind& kind, std::string_view name, std::string_view why) {
  return Error{.reason = Reason::Conflict,
               .sentence = "Operation cannot be fulfilled on " + kind.qualifiedPlural() + " " + quoted(name) + ": " + std::string(why),
               .about = about(kind, name)};
}

Error staleObject(const api::Kind& kind, std::string_view name) {
  return conflict(kind, name, "the object has been modified; please apply your changes to the latest version and try again");
}

Error forbidden(const api::Kind& kind, std::string_view name, std::string_view why) {
  const std::string named = name.empty() ? std::string() : " " + quoted(name);
  return Error{.reason = Reason::Forbidden,
               .sentence = kind.qualifiedPlural() + named + " is forbidden: " + std::string(why),
               .about = about(kind, name)};
}

Error noSuchResource() { return Error{Reason::NotFound, "the server could not find the requested resource"}; }
Error methodNotAllowed() { return Error{Reason::MethodNotAllowed, "the server does not allow this method on the requested resource"}; }

Error internalError(std::string why) {
  Error error{Reason::Internal, "Internal error occurred: " + why};
  error.causes.push_back({"", std::move(why), ""});
  return error;
}

}  // namespace podpass::server
