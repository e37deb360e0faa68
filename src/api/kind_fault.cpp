#include <algorithm>

#include "api/causes.h"
#include "api/codec.h"
#include "api/fields.h"
#include "api/kinds.h"

// What a podpass that was started with --faults lets go wrong, for rehearsals.
namespace podpass::api {
namespace {

// Which members of the spec mean something for a fault of that type.
bool takes(std::string_view type, std::string_view member) {
  const bool down = type.ends_with("Down");
  if (member == "skewSeconds" || member == "component") return type == "ClockSkew";
  if (member == "answer") return down;
  return down || type == "STSThrottling";  // percent, times
}

void validateFault(const json::object& fault, Causes& causes) {
  const json::object* spec = objectAt(fault, {"spec"});
  if (spec == nullptr) return;  // required, and told so
  const std::string_view type = textAt(*spec, {"type"});
  for (const std::string_view member : {"skewSeconds", "component", "answer", "percent", "times"})
    if (spec->contains(member) && !takes(type, member))
      causes.push_back(forbiddenField(under("spec", member), "a fault of this type does not have it"));
  if (type == "ClockSkew" && integerAt(*spec, {"skewSeconds"}) == 0)
    causes.push_back(requiredValue("spec.skewSeconds", "how far the clock is off"));
}

// What has begun cannot become another fault half-way.
void isKept(const json::object& now, const json::object& before, Causes& causes) {
  const json::object *next = objectAt(now, {"spec"}), *last = objectAt(before, {"spec"});
  if (next != nullptr && last != nullptr && *next != *last)
    causes.push_back(forbiddenField("spec", "a fault does not change: delete it and create another"));
}

json::value activeOf(const json::object& object, WallTime) {
  const json::array* conditions = arrayAt(object, {"status", "conditions"});
  if (conditions != nullptr)
    for (const json::value& each : *conditions)
      if (each.is_object() && textAt(each.get_object(), {"type"}) == "Active") return json::value(textAt(each.get_object(), {"status"}));
  return json::value("Unknown");
}

}  // namespace

const Kind& faultKind() {
  static const Kind kind{
      .group = "identity.podpass.dev",
      .version = "v1",
      .kind = "Fault",
      .plural = "faults",
      .singular = "fault",
      .hasStatus = true,
      .hasGeneration = true,
      .doc =
          "Fault lets something go wrong, as it does in production, for as long as it exists. It is in force when its creation is answered "
          "and over when its deletion is. Served only by a podpass that was started with --faults.",
      .definition = "dev.podpass.identity.v1.Fault",
      .fields =
          {required(object(
               "spec", 2,
               {required(oneOf({"TokensExpired", "ClockSkew", "IssuerDown", "JWKSStale", "KeyRevoked", "WebhookDown", "STSDown",
                                "STSThrottling", "CredentialsDown"},
                               text("type", 1,
                                    "TokensExpired: all tokens and sessions that were issued until now have expired. ClockSkew: the clock "
                                    "of a component is off. IssuerDown: discovery document and JWKS cannot be had. JWKSStale: the JWKS "
                                    "holds no key that signs. KeyRevoked: the signing key is revoked, which stays so. WebhookDown: the pod "
                                    "identity webhook does not answer. STSDown, STSThrottling: STS does not, or says Throttling. "
                                    "CredentialsDown: the endpoint for container credentials does not."))),
                integer("skewSeconds", 2, "Of ClockSkew: how far the clock is ahead, or behind when it is negative."),
                oneOf({"STS", "APIServer"}, text("component", 3, "Of ClockSkew: whose clock; STS when empty.")),
                oneOf({"ConnectionClosed", "Unavailable", "InternalError", "Slow", "HTMLPage"},
                      text("answer", 4,
                           "Of what is down: the connection ends without an answer (when empty), 503, 500, nothing for half a minute, or "
                           "the HTML page of a proxy.")),
                between(1, 100, integer("percent", 5, "So many requests of a hundred, evenly spread; all when not given.")),
                atLeast(1, integer("times", 6, "The fault is over after so many requests; never when not given."))},
               "What goes wrong.")),
           object("status", 3,
                  {keyedBy({"type"}, list("conditions", 1, condition(), "Active is True while the fault is in force.")),
                   count("requests", 2, "How many requests it answered.")},
                  "Whether it is in force.")},
      .columns = {textColumn("Type", {"spec", "type"}),
                  {.name = "Active", .doc = "Whether it is in force.", .cell = activeOf},
                  {.name = "Requests",
                   .type = "integer",
                   .doc = "How many it answered.",
                   .cell =
                       [](const json::object& object, WallTime) {
                         return json::value(integerAt(object, {"status", "requests"}));
                       }},
                  ageColumn()},
      .subresources = {statusSubresource()},
      .validate = validateFault,
      .validateUpdate = isKept};
  return kind;
}

}  // namespace podpass::api
