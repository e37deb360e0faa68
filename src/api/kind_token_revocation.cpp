#include "api/causes.h"
#include "api/codec.h"
#include "api/fields.h"
#include "api/kinds.h"

// Ends service account tokens before their time: one, or all that an account, a pod or a node had until a moment.
namespace podpass::api {
namespace {

constexpr std::array<std::string_view, 4> kSubjects{"jti", "serviceAccount", "pod", "node"};

void oneSubject(const json::object& object, Causes& causes) {
  const json::object* spec = objectAt(object, {"spec"});
  if (spec == nullptr) return;  // required, and told so
  const auto named = std::count_if(kSubjects.begin(), kSubjects.end(), [&](std::string_view subject) {
    const json::value* value = spec->if_contains(subject);
    return value != nullptr && *value != "";
  });
  if (named == 0) causes.push_back(requiredValue("spec", "one of jti, serviceAccount, pod and node must be given"));
  if (named > 1) causes.push_back(forbiddenField("spec", "only one of jti, serviceAccount, pod and node may be given"));
}

// To widen or to move a revocation is another one; to take it back is to delete it.
void onlyReasonChanges(const json::object& now, const json::object& before, Causes& causes) {
  const auto withoutReason = [](const json::object& object) {
    const json::object* spec = objectAt(object, {"spec"});
    json::object rest = spec != nullptr ? *spec : json::object();
    rest.erase("reason");
    return rest;
  };
  if (withoutReason(now) != withoutReason(before)) causes.push_back(forbiddenField("spec", "only the reason may be changed"));
}

json::value subjectOf(const json::object& object, WallTime) {
  const auto named = [&](const char* kind, std::initializer_list<std::string_view> ns, std::initializer_list<std::string_view> name) {
    const std::string_view inNs = textAt(object, ns);
    return json::value(std::string(kind) + " " + std::string(inNs) + (inNs.empty() ? "" : "/") + std::string(textAt(object, name)));
  };
  if (objectAt(object, {"spec", "serviceAccount"}))
    return named("serviceaccount", {"spec", "serviceAccount", "namespace"}, {"spec", "serviceAccount", "name"});
  if (objectAt(object, {"spec", "pod"})) return named("pod", {"spec", "pod", "namespace"}, {"spec", "pod", "name"});
  if (objectAt(object, {"spec", "node"})) return named("node", {}, {"spec", "node", "name"});
  return named("token", {}, {"spec", "jti"});
}

json::value issuedBeforeOf(const json::object& object, WallTime) {
  const std::string_view given = textAt(object, {"spec", "issuedBefore"});
  return json::value(given.empty() ? textAt(object, {"metadata", "creationTimestamp"}) : given);
}

Field namespaced(std::string_view name, std::uint32_t number, std::string_view doc, Fields more = {}) {
  Fields fields{required(checked(labelProblem, text("namespace", 1))), required(checked(subdomainProblem, text("name", 2)))};
  return object(name, number, joined(std::move(fields), std::move(more)), doc);
}

}  // namespace

const Kind& tokenRevocationKind() {
  static const Kind kind{
      .group = "identity.podpass.dev",
      .version = "v1",
      .kind = "TokenRevocation",
      .plural = "tokenrevocations",
      .singular = "tokenrevocation",
      .hasStatus = true,
      .hasGeneration = true,
      .doc =
          "TokenRevocation ends service account tokens before their time, at once and on every server. It goes away by itself when none of "
          "them could be alive any more.",
      .definition = "dev.podpass.identity.v1.TokenRevocation",
      .fields = {required(object(
                     "spec", 2,
                     {text("jti", 1, "One token, by its credential id: the claim jti, or JTI=… among a user's extras."),
                      namespaced("serviceAccount", 2, "All tokens of a service account, legacy ones of its Secrets too."),
                      namespaced("pod", 3, "All tokens that are bound to a pod.",
                                 {text("uid", 3, "Only this pod; empty: every pod that had the name.")}),
                      object("node", 4, {required(checked(subdomainProblem, text("name", 1)))},
                             "All tokens that are bound to a node, or to a pod that ran there."),
                      time("issuedBefore", 5, "Tokens issued later are good; to the second, inclusive. Empty: when this was created."),
                      text("reason", 6, "For people. Relying parties do not see it.")},
                     "Which tokens.")),
                 object("status", 3, {time("expires", 1, "No token that it covers is valid after this; empty: not known.")},
                        "How long it is needed.")},
      .columns = {{.name = "Tokens-Of", .doc = "Whose tokens.", .cell = subjectOf},
                  {.name = "Issued-Before", .doc = "Later ones are good.", .cell = issuedBeforeOf},
                  textColumn("Expires", {"status", "expires"}, "<unknown>"),
                  textColumn("Reason", {"spec", "reason"}),
                  ageColumn()},
      // No /status: whoever could write `expires` could end a revocation.
      .validate = oneSubject,
      .validateUpdate = onlyReasonChanges};
  return kind;
}

}  // namespace podpass::api
