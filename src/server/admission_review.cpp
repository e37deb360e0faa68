#include "server/admission_review.h"

#include "api/codec.h"
#include "base/text.h"
#include "server/status.h"

namespace podpass::server {
namespace {

constexpr int kLeastDenial = 400;
constexpr int kMostDenial = 599;

std::pair<std::string, std::string> splitApiVersion(std::string_view apiVersion) {
  const std::size_t slash = apiVersion.find('/');
  if (slash == std::string_view::npos) return {"", std::string(apiVersion)};
  return {std::string(apiVersion.substr(0, slash)), std::string(apiVersion.substr(slash + 1))};
}

json::object kindOf(const AdmissionRequest& request, const Admitted& admitted) {
  const json::object* any = admitted.object != nullptr ? admitted.object : admitted.before;
  if (any == nullptr) return {{"group", request.kind.group}, {"version", request.kind.version}, {"kind", request.kind.kind}};
  auto [group, version] = splitApiVersion(textAt(*any, {"apiVersion"}));
  return {{"group", group}, {"version", version}, {"kind", textAt(*any, {"kind"})}};
}

json::object optionsOf(const Context& context, const std::string& operation) {
  std::string kind = context.optionsKind;
  if (kind.empty()) kind = operation == "CREATE" ? "CreateOptions" : operation == "DELETE" ? "DeleteOptions" : "UpdateOptions";
  json::object options{{"kind", kind}, {"apiVersion", "meta.k8s.io/v1"}};
  if (context.dryRun) options["dryRun"] = json::array{"All"};
  if (!context.fieldManager.empty()) options["fieldManager"] = context.fieldManager;
  return options;
}

std::string gvk(std::string_view apiVersion, std::string_view kind) {
  auto [group, version] = splitApiVersion(apiVersion);
  return group + "/" + version + ", Kind=" + std::string(kind);
}

Error invalidAnswer(const std::string& why) { return Error{Reason::Internal, "received invalid webhook response: " + why}; }

void deny(const Webhook& webhook, const json::object& response, Verdict& verdict) {
  const std::string message(textAt(response, {"status", "message"})), reason(textAt(response, {"status", "reason"}));
  const std::int64_t code = integerAt(response, {"status", "code"});
  const std::string start = "admission webhook " + quoted(webhook.name) + " denied the request";
  verdict.wording = {static_cast<int>(code < kLeastDenial || code > kMostDenial ? kLeastDenial : code), reason};
  verdict.denial = {.reason = reasonOf(verdict.wording.code), .sentence = start + " without explanation"};
  if (!message.empty())
    verdict.denial.sentence = start + ": " + message;
  else if (!reason.empty())
    verdict.denial.sentence = start + ": " + reason;
}

// v1 wants patch and patchType together; v1beta1 lets the type be guessed.
Result<std::string> patchIn(const Webhook& webhook, const json::object& response) {
  const std::string_view encoded = textAt(response, {"patch"});
  const json::value* type = response.if_contains("patchType");
  const bool typed = type != nullptr && type->is_string();
  if (webhook.reviewVersion == "v1") {
    if (!encoded.empty() && !typed) return invalidAnswer("webhook returned response.patch but not response.patchType");
    if (encoded.empty() && typed) return invalidAnswer("webhook returned response.patchType but not response.patch");
  }
  if (encoded.empty()) return std::string();
  if (typed && type->get_string() != "JSONPatch")
    return Error{Reason::Internal, "unsupported patch type " + quoted(std::string_view(type->get_string()))};
  Result<std::string> patch = base64Decode(encoded);
  if (!patch) return invalidAnswer("response.patch is not base64");
  return patch;
}

}  // namespace

std::string admissionReview(const Webhook& webhook, const Context& context, const AdmissionRequest& request, const Admitted& admitted,
                            const std::string& uid) {
  const json::object kind = kindOf(request, admitted);
  const json::object resource{{"group", request.kind.group}, {"version", request.kind.version}, {"resource", request.kind.plural}};
  json::object head{{"uid", uid}, {"kind", kind}, {"resource", resource}};
  if (!request.subresource.empty()) head["subResource"] = request.subresource;
  head["requestKind"] = kind;
  head["requestResource"] = resource;
  if (!request.subresource.empty()) head["requestSubResource"] = request.subresource;
  if (!request.name.empty()) head["name"] = request.name;
  if (!namespaceOf(request).empty()) head["namespace"] = namespaceOf(request);
  head["operation"] = request.operation;
  head["userInfo"] = auth::toJson(context.user);
  // the objects are large: printed once each, and not copied into the envelope before
  std::string text =
      R"({"kind":"AdmissionReview","apiVersion":"admission.k8s.io/)" + webhook.reviewVersion + R"(","request":)" + json::serialize(head);
  text.pop_back();
  text += ",\"object\":" + (admitted.object != nullptr ? json::serialize(*admitted.object) : "null");
  text += ",\"oldObject\":" + (admitted.before != nullptr ? json::serialize(*admitted.before) : "null");
  text += context.dryRun ? ",\"dryRun\":true" : ",\"dryRun\":false";
  text += ",\"options\":" + json::serialize(optionsOf(context, request.operation)) + "}}";
  return text;
}

Result<Verdict> readVerdict(const Webhook& webhook, bool mutates, const std::string& uid, std::string_view body) {
  Result<json::value> parsed = api::parseJson(body);
  if (!parsed)
    return Error{Reason::Internal, "failed to call webhook: couldn't get version/kind; json parse error: " + parsed.error().sentence};
  if (!parsed->is_object())
    return Error{Reason::Internal, "failed to call webhook: couldn't get version/kind; json parse error: not an object"};
  const json::object& review = parsed->get_object();
  const json::object* response = objectAt(review, {"response"});
  if (response == nullptr) return invalidAnswer("webhook response was absent");
  if (webhook.reviewVersion == "v1") {
    if (textAt(*response, {"uid"}) != uid)
      return invalidAnswer("expected response.uid=" + quoted(uid) + ", got " + quoted(textAt(*response, {"uid"}).substr(0, 256)));
    const std::string expected = gvk("admission.k8s.io/v1", "AdmissionReview"),
                      got = gvk(textAt(review, {"apiVersion"}), textAt(review, {"kind"}));
    if (got != expected) return invalidAnswer("expected webhook response of " + expected + ", got " + got.substr(0, 256));
  }
  Verdict verdict{.allowed = booleanAt(*response, {"allowed"})};
  if (mutates) {
    Result<std::string> patch = patchIn(webhook, *response);
    if (!patch) return patch.error();
    verdict.patch = *std::move(patch);
  }
  if (!verdict.allowed) deny(webhook, *response, verdict);
  if (const json::object* annotations = objectAt(*response, {"auditAnnotations"}))
    for (const auto& [key, value] : *annotations)
      if (value.is_string()) verdict.annotations.emplace(key, value.get_string());
  if (const json::array* warnings = arrayAt(*response, {"warnings"}))
    for (const json::value& each : *warnings)
      if (each.is_string()) verdict.warnings.emplace_back(each.get_string());
  return verdict;
}

}  // namespace podpass::server
