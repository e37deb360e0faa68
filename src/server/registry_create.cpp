#include "api/codec.h"
#include "api/field_ownership.h"
#include "base/text.h"
#include "server/new_object.h"
#include "server/registry.h"
#include "server/status.h"
#include "server/stored_object.h"

namespace podpass::server {
namespace {

constexpr int kNameTries = 8;
constexpr std::size_t kNameBase = 58;  // so much of generateName is kept

}  // namespace

asio::awaitable<Result<DocumentPtr>> Registry::create(Context& context, const api::Kind& kind, std::string ns, json::object object,
                                                      bool applied) {
  json::object& sent = makeObjectAt(object, {"metadata"});
  const std::string given(textAt(object, {"metadata", "namespace"}));
  if (kind.namespaced && !given.empty() && given != ns)
    co_return Error{Reason::BadRequest, "the namespace of the provided object does not match the namespace sent on the request"};
  if (!metaText(object, "resourceVersion").empty() && metaText(object, "resourceVersion") != "0")
    co_return Error{Reason::BadRequest, "resourceVersion should not be set on objects to be created"};
  if (!kind.namespaced) sent.erase("namespace");

  const api::Owners appliers = applied ? api::ownersOf(object) : api::Owners{};
  const std::string generate(metaText(object, "generateName"));
  const bool generated = metaText(object, "name").empty() && !generate.empty();
  for (int attempt = 1;; ++attempt) {
    json::object next = object;
    if (generated) makeObjectAt(next, {"metadata"})["name"] = generate.substr(0, kNameBase) + randomSuffix();
    const std::string name(metaText(next, "name"));
    if (kind.hasStatus && !isNode(kind)) next.erase("status");  // a kubelet registers its node with one; all others get theirs from us
    stamp(kind, next, ns, clock_.now());
    api::applyDefaults(kind, next);
    if (isPod(kind)) startPod(next);
    const AdmissionRequest request{context.user, kind, "CREATE", ns, name};
    Result<void> admitted = co_await mutate(context, request, &next, nullptr);
    if (!admitted) co_return admitted.error();
    api::applyDefaults(kind, next);
    if (std::vector<Cause> causes = api::validate(kind, next); !causes.empty()) co_return api::invalid(kind, name, std::move(causes));
    admitted = co_await validate(context, request, &next, nullptr);
    if (!admitted) co_return admitted.error();
    if (context.guard)
      if (Result<void> allowed = context.guard(next, true); !allowed) co_return allowed.error();
    if (applied) {
      api::setOwners(next, appliers);
    } else {
      json::object bare;  // what the server made is no one's
      if (const json::value* status = next.if_contains("status"); status != nullptr && kind.hasStatus) bare["status"] = *status;
      api::recordWrite(kind, bare, next, nullptr, {context.manager, "", clock_.now()});
    }
    next = ordered(kind, std::move(next));
    const std::string key = keyOf(kind, kind.namespaced ? ns : "", name);
    if (context.dryRun) {
      if (store_.get(key)) co_return alreadyExists(kind, name);
      co_return unstored(std::move(next));
    }
    Mutation mutation{key, std::move(next), 0};
    Result<Entry> entry = co_await commit(std::move(mutation));
    if (entry) co_return std::move(entry->document);
    if (entry.error().reason != Reason::AlreadyExists) co_return entry.error();
    if (!generated) co_return alreadyExists(kind, name);
    if (attempt < kNameTries) continue;
    Error taken = alreadyExists(kind, name);
    taken.sentence += ", the server was not able to generate a unique name for the object";
    co_return taken;
  }
}

asio::awaitable<Result<DocumentPtr>> Registry::createApplied(Context& context, const api::Kind& kind, const api::ObjectName& name,
                                                             const json::value& config) {
  Result<json::object> made = api::apply(kind, {}, config, {context.manager, "", clock_.now()}, context.force);
  if (!made) co_return made.error();
  if (!metaText(*made, "uid").empty() || !metaText(*made, "resourceVersion").empty()) co_return notFound(kind, name.name);
  json::value& given = makeObjectAt(*made, {"metadata"})["name"];
  if (given.is_string() && std::string_view(given.get_string()) != name.name)
    co_return Error{Reason::BadRequest, "the name of the object (" + std::string(given.get_string()) +
                                            ") does not match the name on the URL (" + name.name + ")"};
  given = name.name;
  Result<DocumentPtr> done = co_await create(context, kind, name.ns, *std::move(made), true);
  co_return done;
}

}  // namespace podpass::server
