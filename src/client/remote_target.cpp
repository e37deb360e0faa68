#include "client/remote_target.h"

#include <charconv>

namespace podpass::client {
namespace {

struct Meaning {
  std::string_view name;  // metav1.StatusReason
  int code;
  Reason reason;
};
constexpr Meaning kMeanings[] = {{"BadRequest", 400, Reason::BadRequest},
                                 {"Unauthorized", 401, Reason::Unauthorized},
                                 {"Forbidden", 403, Reason::Forbidden},
                                 {"NotFound", 404, Reason::NotFound},
                                 {"MethodNotAllowed", 405, Reason::MethodNotAllowed},
                                 {"NotAcceptable", 406, Reason::NotAcceptable},
                                 {"Conflict", 409, Reason::Conflict},
                                 {"AlreadyExists", 409, Reason::AlreadyExists},
                                 {"Expired", 410, Reason::Expired},
                                 {"Gone", 410, Reason::Expired},
                                 {"RequestEntityTooLarge", 413, Reason::RequestTooLarge},
                                 {"UnsupportedMediaType", 415, Reason::UnsupportedMediaType},
                                 {"Invalid", 422, Reason::Invalid},
                                 {"TooManyRequests", 429, Reason::TooManyRequests},
                                 {"ServerTimeout", 500, Reason::ServerTimeout},
                                 {"InternalError", 500, Reason::Internal},
                                 {"ServiceUnavailable", 503, Reason::Unavailable},
                                 {"Timeout", 504, Reason::Timeout}};

Reason reasonOf(std::string_view name, int code) {
  for (const Meaning& meaning : kMeanings)
    if (meaning.name == name) return meaning.reason;
  for (const Meaning& meaning : kMeanings)
    if (meaning.code == code) return meaning.reason;
  return code >= 500 ? Reason::Unavailable : Reason::BadRequest;
}

}  // namespace

std::string urlEscaped(std::string_view text) {
  static constexpr char kHex[] = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (std::isalnum(byte) != 0 || c == '-' || c == '.' || c == '_' || c == '~' || c == ':')
      out += c;
    else
      out += {'%', kHex[byte >> 4], kHex[byte & 15]};
  }
  return out;
}

std::string targetOf(const api::Kind& kind, const api::ObjectName& object, std::string_view subresource) {
  std::string target = kind.group.empty() ? "/api/" : "/apis/" + std::string(kind.group) + "/";
  target += kind.version;
  if (kind.namespaced && !object.ns.empty()) target += "/namespaces/" + urlEscaped(object.ns);
  target += "/" + std::string(kind.plural);
  if (!object.name.empty()) target += "/" + urlEscaped(object.name);
  if (!subresource.empty()) target += "/" + std::string(subresource);
  return target;
}

std::string queryOf(const api::Selectors& selectors) {
  std::string query;
  if (!selectors.labels.empty()) query += "labelSelector=" + urlEscaped(selectors.labels);
  if (!selectors.fields.empty()) query += std::string(query.empty() ? "" : "&") + "fieldSelector=" + urlEscaped(selectors.fields);
  return query;
}

Error errorOf(const json::object& status, int httpStatus) {
  const int code = static_cast<int>(integerAt(status, {"code"}, httpStatus));
  Error error{reasonOf(textAt(status, {"reason"}), code), std::string(textAt(status, {"message"}))};
  error.about = {std::string(textAt(status, {"details", "group"})), std::string(textAt(status, {"details", "kind"})),
                 std::string(textAt(status, {"details", "name"})), std::string(textAt(status, {"details", "uid"}))};
  error.retryAfterSeconds = static_cast<int>(integerAt(status, {"details", "retryAfterSeconds"}));
  if (const json::array* causes = arrayAt(status, {"details", "causes"}))
    for (const json::value& cause : *causes)
      if (const json::object* one = cause.if_object())
        error.causes.push_back(
            {std::string(textAt(*one, {"field"})), std::string(textAt(*one, {"message"})), std::string(textAt(*one, {"reason"}))});
  return error;
}

Result<json::object> objectIn(const http::Fetched& fetched, const std::string& where) {
  boost::system::error_code failed;
  json::value parsed = json::parse(fetched.body, failed);
  const bool good = fetched.status / 100 == 2;
  if (failed || !parsed.is_object()) {
    const std::string answer = where + " answers with status " + std::to_string(fetched.status);
    if (good) return Error{Reason::Unavailable, answer + " and something that is no JSON object", "is this the address of an API server?"};
    return Error{reasonOf("", fetched.status), answer + (fetched.body.empty() ? "" : ": " + fetched.body.substr(0, 200))};
  }
  if (!good) return errorOf(parsed.get_object(), fetched.status);
  return std::move(parsed.get_object());
}

DocumentPtr documentOf(json::object object, bool withOwners) {
  if (json::value* metadata = object.if_contains("metadata"); metadata != nullptr && metadata->is_object() && !withOwners)
    metadata->get_object().erase("managedFields");
  auto document = std::make_shared<Document>();
  const std::string_view version = textAt(object, {"metadata", "resourceVersion"});
  std::from_chars(version.data(), version.data() + version.size(), document->revision);
  document->text = json::serialize(object);
  document->value = std::move(object);
  return document;
}

}  // namespace podpass::client
