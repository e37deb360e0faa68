#include "api/fields.h"
#include "api/kinds.h"
#include "base/text.h"

// The live tokens of service accounts as objects: who has one, for whom, bound to what, until when. Never the token.
namespace podpass::api {
namespace {

json::value audiencesOf(const json::object& object, WallTime) {
  std::string all;
  if (const json::array* audiences = arrayAt(object, {"spec", "audiences"}))
    for (const json::value& each : *audiences)
      if (each.is_string()) all += (all.empty() ? "" : ",") + std::string(each.get_string());
  return json::value(all);
}

json::value boundOf(const json::object& object, WallTime) {
  const json::object* bound = objectAt(object, {"spec", "boundObjectRef"});
  if (bound == nullptr) return json::value("<none>");
  std::string kind(textAt(*bound, {"kind"}));
  for (char& c : kind) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return json::value(kind + "/" + std::string(textAt(*bound, {"name"})));
}

json::value expiresIn(const json::object& object, WallTime now) {
  const Result<WallTime> end = parseRfc3339(textAt(object, {"spec", "expirationTimestamp"}));
  return end ? json::value(humanDuration(std::chrono::ceil<std::chrono::seconds>(*end - now))) : json::value("<unknown>");
}

json::value usedAgo(const json::object& object, WallTime now) {
  const std::string_view last = textAt(object, {"status", "lastUsedTime"});
  return json::value(last.empty() ? "<never>" : ageOf(last, now));
}

Column issued() {
  Column column = ageColumn();
  column.name = "Issued";
  column.doc = "Time since it was issued.";
  return column;
}

}  // namespace

const Kind& issuedTokenKind() {
  static const Kind kind{
      .group = "identity.podpass.dev",
      .version = "v1",
      .kind = "IssuedToken",
      .plural = "issuedtokens",
      .singular = "issuedtoken",
      .namespaced = true,
      .isComputed = true,
      .doc =
          "IssuedToken is a live token of a service account, by its credential id (the claim jti): for whom, bound to what, asked for by "
          "whom, until when. It never holds the token. The server writes them; to delete one revokes the token.",
      .definition = "dev.podpass.identity.v1.IssuedToken",
      .fields = {object("spec", 2,
                        {text("subject", 1, "The claim sub."), text("serviceAccountName", 2), text("serviceAccountUID", 3),
                         texts("audiences", 4, "For whom it is."),
                         object("boundObjectRef", 5, objectReference(), "It dies with this Pod, Secret or Node."),
                         text("nodeName", 6, "Where the pod ran when it was issued, or the node that it is bound to."),
                         text("requestedBy", 7, "The user who asked for it."), text("issuer", 8, "The claim iss."),
                         text("keyID", 9, "The key that signed it."), time("expirationTimestamp", 10, "When it expires.")},
                        "What was issued."),
                 object("status", 3,
                        {time("lastUsedTime", 1, "When this server saw it in use: as a credential, or in a TokenReview; to five minutes.")},
                        "What was seen of it since.")},
      .columns = {textColumn("Subject", {"spec", "serviceAccountName"}),
                  {.name = "Audiences", .doc = "For whom it is.", .cell = audiencesOf},
                  {.name = "Bound", .doc = "What it dies with.", .cell = boundOf},
                  textColumn("Node", {"spec", "nodeName"}, "<none>"),
                  issued(),
                  {.name = "Expires", .doc = "Time until it expires.", .cell = expiresIn},
                  {.name = "Last-Used", .priority = 1, .doc = "Time since this server saw it.", .cell = usedAgo},
                  textColumn("Requested-By", {"spec", "requestedBy"}, "", 1),
                  textColumn("Key", {"spec", "keyID"}, "", 1),
                  textColumn("Issuer", {"spec", "issuer"}, "", 1)},
      .verbs = {"delete", "get", "list"},
      .selectableFields = {"spec.subject", "spec.serviceAccountName", "spec.audiences", "spec.boundObjectRef.kind",
                           "spec.boundObjectRef.name", "spec.boundObjectRef.uid", "spec.nodeName", "spec.requestedBy", "spec.issuer",
                           "spec.keyID"}};
  return kind;
}

}  // namespace podpass::api
