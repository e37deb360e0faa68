#include "cli/doctor_request.h"

#include <cstdio>

#include "api/codec.h"
#include "base/log.h"
#include "base/text.h"
#include "cli/verbs.h"
#include "client/remote_client.h"
#include "irsa/sts_refusal_log.h"

namespace podpass::cli {
namespace {

std::string listed(const json::object& object, std::string_view member) {
  const json::value* value = object.if_contains(member);
  if (value == nullptr || value->is_null()) return "nothing";
  if (value->is_string()) return quoted(std::string_view(value->get_string()));
  std::string text;
  if (const json::array* all = value->if_array())
    for (const json::value& each : *all)
      text += (text.empty() ? "" : " or ") + (each.is_string() ? quoted(std::string_view(each.get_string())) : json::serialize(each));
  return text.empty() ? "nothing" : text;
}

std::string compared(std::string_view what, const json::object& test) {
  const std::string mark = booleanAt(test, {"holds"}) ? "  ok    " : "  FAIL  ";
  std::string line = mark + std::string(what) + ": expected " + listed(test, "expected") + ", found " + listed(test, "found") + "\n";
  if (const std::string_view note = textAt(test, {"note"}); !note.empty()) line += "        note: " + std::string(note) + "\n";
  return line;
}

std::string shownStatement(const json::object& statement) {
  std::string text = "statement " + std::to_string(integerAt(statement, {"index"}));
  if (const std::string_view sid = textAt(statement, {"sid"}); !sid.empty()) text += " (" + std::string(sid) + ")";
  text += ", " + std::string(textAt(statement, {"effect"})) + (booleanAt(statement, {"matches"}) ? ": matches\n" : ": does not match\n");
  for (const std::string_view part : {"action", "principal"})
    if (const json::object* test = objectAt(statement, {part})) text += compared(part, *test);
  if (const json::array* conditions = arrayAt(statement, {"conditions"}))
    for (const json::value& each : *conditions)
      if (const json::object* test = each.if_object())
        text += compared(std::string(textAt(*test, {"operator"})) + " " + std::string(textAt(*test, {"key"})), *test);
  return text;
}

struct RequestOptions {
  std::string id, output = "text";
  client::AccessChoice access;
};

int doctorRequest(const RequestOptions& options) {
  Result<client::Access> access = client::findAccess(options.access);
  if (!access) return refuse(access.error());
  client::RemoteClient client(*std::move(access));
  const std::string name = std::string(irsa::kRefusalEventPrefix) + options.id;
  const Result<DocumentPtr> event = client.get(*api::findKind("", "v1", "events"), {"default", name});
  if (!event && event.error().reason == Reason::NotFound)
    return refuse({Reason::NotFound, "no refused STS request " + options.id + " is known",
                   "compare the request id; only the newest refusals are kept, older ones stand in the STS's log"});
  if (!event) return refuse(event.error());
  const Result<json::value> parsed = api::parseJson(textAt((*event)->value, {"metadata", "annotations", irsa::kVerdictAnnotation}));
  if (!parsed || !parsed->is_object()) return refuse({Reason::Internal, "the event " + name + " holds no verdict"});
  const json::object& verdict = parsed->get_object();
  if (options.output == "json")
    std::printf("%s\n", json::serialize(verdict).c_str());
  else if (options.output == "yaml")
    std::fputs(api::toYaml(*parsed).c_str(), stdout);
  else
    std::fputs(shownVerdict(verdict).c_str(), stdout);
  return kNo;
}

}  // namespace

std::string shownStatements(const json::object& trustPolicy) {
  std::string text;
  if (const json::array* statements = arrayAt(trustPolicy, {"statements"}))
    for (const json::value& each : *statements)
      if (each.is_object()) text += shownStatement(each.get_object());
  return text;
}

std::string shownVerdict(const json::object& verdict) {
  const auto line = [&](std::string_view title, std::string_view member) {
    const std::string_view text = textAt(verdict, {member});
    return text.empty() ? std::string() : std::string(title) + std::string(text) + "\n";
  };
  std::string text = line("request:  ", "request") + line("time:     ", "time") + line("action:   ", "action") +
                     line("role:     ", "role") + line("caller:   ", "caller");
  text += "answered: " + std::string(textAt(verdict, {"code"})) + ": " + std::string(textAt(verdict, {"message"})) + "\n" +
          line("broken:   ", "check");
  if (const json::object* policy = objectAt(verdict, {"trustPolicy"})) text += shownStatements(*policy);
  return text + line("why:      ", "reason") + line("fix:      ", "fix");
}

void addDoctorRequest(Command doctor) {
  auto options = std::make_shared<RequestOptions>();
  const Command request = doctor.command("request", "why STS refused a request: every statement and condition, expected and found");
  request.option("id", options->id, "the request id that the client printed, and the STS's log").required();
  request.option("--kubeconfig", options->access.kubeconfig, "how to reach the API server; default: as kubectl");
  request.option("--context", options->access.context, "context of the kubeconfig");
  addOutput(request, options->output);
  request.runs([options] { return doctorRequest(*options); });
}

}  // namespace podpass::cli
