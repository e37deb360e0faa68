#include "irsa/admission_review.h"

#include "api/json_reader.h"
#include "base/text.h"
#include "irsa/container_json.h"

namespace podpass::irsa {
namespace {

constexpr std::string_view kBadContent = "bad content";

std::string cannotUnmarshal(const json::value& value, std::string_view into) {
  return "json: cannot unmarshal " + std::string(goKind(value)) + " into Go " + std::string(into);
}

// The DOM in `memory`; on a syntax error what Go says of it, which a slower reader knows.
Result<json::value> parseInto(json::storage_ptr memory, std::string_view text) {
  json::parse_options options;
  options.max_depth = api::kDeepest;
  unsigned char temporary[4096];
  json::parser parser({}, options, temporary, sizeof temporary);
  parser.reset(std::move(memory));
  boost::system::error_code failed;
  parser.write(text.data(), text.size(), failed);
  if (!failed) return parser.release();
  if (Result<api::Read> read = api::readJson(text); !read) return read.error();
  return Error{Reason::BadRequest, failed.message()};
}

}  // namespace

AdmissionReview::AdmissionReview(std::string_view body) : document_(json::storage_ptr(&memory_)) { read(body); }

void AdmissionReview::read(std::string_view body) {
  if (body.empty()) {
    problem_ = kBadContent;
    return;
  }
  Result<json::value> parsed = parseInto(&memory_, body);
  if (!parsed) {
    problem_ = "couldn't get version/kind; json parse error: " + parsed.error().sentence;
    return;
  }
  document_ = *std::move(parsed);
  problem_ = kBadContent;
  if (document_.is_null()) return;
  if (!document_.is_object()) {
    problem_ = "couldn't get version/kind; json parse error: " + cannotUnmarshal(document_, "value of type v1.AdmissionReview");
    return;
  }
  const json::object& review = document_.get_object();
  kind_ = textAt(review, {"kind"});
  apiVersion_ = textAt(review, {"apiVersion"});
  const json::value* request = review.if_contains("request");
  if (request == nullptr || request->is_null()) return;
  if (!request->is_object()) {
    problem_ = cannotUnmarshal(*request, "struct field AdmissionReview.request of type v1.AdmissionRequest");
    return;
  }
  uid_ = textAt(request->get_object(), {"uid"});
  operation_ = textAt(request->get_object(), {"operation"});
  ns_ = textAt(request->get_object(), {"namespace"});
  const json::value* object = request->get_object().if_contains("object");
  if (object == nullptr || object->is_null()) {
    problem_ = "unexpected end of JSON input";
  } else if (!object->is_object()) {
    problem_ = cannotUnmarshal(*object, "value of type v1.Pod");
  } else {
    object_ = &object->get_object();
    Result<PodView> pod = viewPod(*object_);
    problem_ = pod ? std::string() : pod.error().sentence;
    if (pod) pod_ = *pod;
  }
}

std::string AdmissionReview::begin(std::size_t more) const {
  std::string out;
  out.reserve(256 + more);
  out = "{";
  if (!kind_.empty()) {
    out += "\"kind\":";
    appendText(out, kind_);
    out += ',';
  }
  if (!apiVersion_.empty()) {
    out += "\"apiVersion\":";
    appendText(out, apiVersion_);
    out += ',';
  }
  out += R"("response":{"uid":)";
  appendText(out, uid_);
  return out;
}

std::string AdmissionReview::allowed(std::string_view patch, std::span<const std::string> warnings) const {
  std::size_t said = 0;
  for (const std::string& warning : warnings) said += warning.size() + 16;
  std::string out = begin(patch.size() * 4 / 3 + said);
  out += R"(,"allowed":true)";
  if (!patch.empty()) {
    out += R"(,"patch":")";
    out += base64Encode(patch);
    out += R"(","patchType":"JSONPatch")";
  }
  if (!warnings.empty()) {
    out += R"(,"warnings":[)";
    for (const std::string& warning : warnings) {
      if (&warning != &warnings.front()) out += ',';
      appendText(out, warning);
    }
    out += ']';
  }
  out += "}}";
  return out;
}

std::string AdmissionReview::denied(std::string_view message) const {
  std::string out = begin(message.size());
  out += R"(,"allowed":false,"status":{"metadata":{},"message":)";
  appendText(out, message);
  out += "}}}";
  return out;
}

}  // namespace podpass::irsa
