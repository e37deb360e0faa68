#include "server/resources.h"

#include "api/codec.h"
#include "base/offload.h"
#include "base/text.h"
#include "server/access.h"
#include "server/representation.h"
#include "server/request_options.h"
#include "server/status.h"
#include "server/streaming.h"
#include "server/watch.h"

namespace podpass::server {
namespace {

constexpr std::size_t kBodyLimit = 3u << 20;

json::object createdStatus() {
  return json::object{{"kind", "Status"}, {"apiVersion", "v1"}, {"metadata", json::object()}, {"status", "Success"}, {"code", 201}};
}

// What webhooks see of an exec, attach or port-forward.
json::object connectOptions(const http::Request& request, const std::string& subresource) {
  if (subresource == "portforward") return {{"kind", "PodPortForwardOptions"}, {"apiVersion", "v1"}};
  json::object options{{"kind", subresource == "exec" ? "PodExecOptions" : "PodAttachOptions"}, {"apiVersion", "v1"}};
  for (const char* flag : {"stdin", "stdout", "stderr", "tty"})
    if (parseBool(request.parameter(flag).value_or("")).value_or(false)) options[flag] = true;
  if (const auto container = request.parameter("container")) options["container"] = *container;
  const std::vector<std::string> command = request.parameters("command");
  if (!command.empty()) options["command"] = json::array(command.begin(), command.end());
  return options;
}

Result<json::object> body(const http::Request& request, const api::Kind& kind, Context& context) {
  Result<api::Decoded> decoded = api::decode(kind, request.headers.find("content-type"), request.body);
  if (!decoded) return decoded.error();
  if (Result<void> fine = reportProblems(context, kind, decoded->problems); !fine) return fine.error();
  return std::move(decoded->object);
}

// As Kubernetes answers for resources that have no watch.
Error watchNotSupported(const api::Kind& kind) {
  return Error{.reason = Reason::MethodNotAllowed,
               .sentence = "watch is not supported on resources of kind " + quoted(kind.qualifiedPlural()),
               .about = {std::string(kind.group), std::string(kind.plural), {}, {}}};
}

}  // namespace

asio::awaitable<http::Response> Resources::patch(const http::Request& request, const RequestInfo& info, Context& context,
                                                 const Representation& as) {
  const std::string_view contentType = request.headers.find("content-type");
  Result<PatchType> type = patchType(contentType);
  if (!type) co_return failure(type.error());
  const bool isApply = *type == PatchType::Apply;
  const std::optional<std::string> force = request.parameter("force");
  if (force && !isApply) co_return failure(invalidOptions("PatchOptions", "force", "Forbidden: may not be specified for non-apply patch"));
  if (isApply && context.fieldManager.empty())
    co_return failure(invalidOptions("PatchOptions", "fieldManager", "Required value: is required for apply patch", "FieldValueRequired"));
  context.force = parseBool(force.value_or("")).value_or(false);
  Result<json::value> parsed = isApply ? api::parseYaml(request.body) : api::parseJson(request.body);
  if (!parsed) co_return failure(parsed.error());
  bool isNew = false;
  context.guard = [&](const json::object& next, bool made) -> Result<void> {
    isNew = made;
    if (made) {  // patching does not include creating
      RequestInfo create = info;
      create.verb = "create";
      const auth::Decision decision = authorizer_.authorize(attributesOf(create, request, context.user));
      if (!decision.allowed) return denied(create, context.user, decision.reason);
    }
    return escalation(context, *info.kind, next);
  };
  api::ObjectName name{info.ns, info.name};
  Result<DocumentPtr> done = co_await registry_.patch(context, *info.kind, std::move(name), *type, *std::move(parsed), info.subresource);
  if (!done) co_return failure(done.error(), context.wording);
  co_return objectResponse(isNew ? 201 : 200, *info.kind, *done, as, clock_.now());
}

asio::awaitable<http::Response> Resources::remove(const http::Request& request, const RequestInfo& info, Context& context,
                                                  const Representation& as) {
  Result<api::DeleteOptions> options = deleteOptions(request, context);
  if (!options) co_return failure(options.error());
  api::ObjectName name{info.ns, info.name};
  Result<Deleted> done = co_await registry_.remove(context, *info.kind, std::move(name), *std::move(options));
  if (!done) co_return failure(done.error(), context.wording);
  const bool showsObject = !done->gone || (info.kind->group.empty() && info.kind->plural == "pods");
  if (showsObject) co_return objectResponse(200, *info.kind, done->object, as, clock_.now());
  json::object details{{"name", info.name}};
  if (!info.kind->group.empty()) details["group"] = info.kind->group;
  details["kind"] = info.kind->plural;
  details["uid"] = textAt(done->object->value, {"metadata", "uid"});
  co_return valueResponse(
      200,
      json::object{
          {"kind", "Status"}, {"apiVersion", "v1"}, {"metadata", json::object()}, {"status", "Success"}, {"details", std::move(details)}},
      as);
}

asio::awaitable<http::Response> Resources::removeCollection(const http::Request& request, const RequestInfo& info, Context& context,
                                                            const Representation& as) {
  Result<api::DeleteOptions> options = deleteOptions(request, context);
  if (!options) co_return failure(options.error());
  Result<ListOptions> selection = listOptions(request, info, registry_.store().revision());
  if (!selection) co_return failure(selection.error());
  Result<ListPage> page = co_await registry_.removeAll(context, *info.kind, *std::move(selection), *std::move(options));
  if (!page) co_return failure(page.error(), context.wording);
  co_return listResponse(*info.kind, *page, as, clock_.now());
}

// Writes of roles and bindings may not give away rights that the writer lacks.
Result<void> Resources::escalation(const Context& context, const api::Kind& kind, const json::object& object) const {
  if (kind.group != "rbac.authorization.k8s.io") return {};
  return auth::checkEscalation(authorizer_, registry_, context.user, kind, object);
}

asio::awaitable<http::Response> Resources::answer(const http::Request& request, const RequestInfo& info, Context& context) {
  if (info.kind == nullptr)
    co_return api::servesGroupVersion(info.group, info.version) ? failure(noSuchResource()) : textResponse(404, "404 page not found\n");
  Result<Representation> negotiated = negotiate(request);
  if (!negotiated) co_return failure(negotiated.error());
  const Representation as = *negotiated;
  const api::Kind& kind = *info.kind;
  const bool known = info.subresource.empty() || std::any_of(kind.subresources.begin(), kind.subresources.end(),
                                                             [&](const api::Subresource& sub) { return sub.name == info.subresource; });
  if (!known) co_return failure(noSuchResource());
  if (Result<void> options = commonOptions(request, info.verb, context); !options) co_return failure(options.error());
  if (request.bodyTooLarge || request.body.size() > kBodyLimit)
    co_return failure(Error{Reason::RequestTooLarge, "Request entity too large: limit is 3145728"});
  if (kind.isVirtual) {
    if (info.verb != "create" || !info.name.empty()) co_return failure(methodNotAllowed());
    Result<json::object> asked = body(request, kind, context);
    if (!asked) co_return failure(asked.error());
    Result<json::object> reviewed = co_await reviews_.answer(context, kind, info.ns, *std::move(asked));
    co_return reviewed ? valueResponse(201, *reviewed, as) : failure(reviewed.error());
  }
  if (!info.subresource.empty() && info.subresource != "status" && info.subresource != "finalize")
    co_return co_await subresource(request, info, context, as);

  const bool item = !info.name.empty();
  if (info.verb == "watch" && !kind.allows("watch")) co_return failure(watchNotSupported(kind));
  if (!kind.allows(info.verb) || info.verb.empty()) co_return failure(methodNotAllowed());
  if (kind.namespaced && info.ns.empty() && info.verb != "list" && info.verb != "watch") co_return failure(methodNotAllowed());
  if (info.verb == "watch") {
    Result<WatchOptions> options = watchOptions(request, info, registry_.store().revision(), clock_.steady());
    if (!options) co_return failure(options.error());
    co_return co_await watch(registry_, kind, *std::move(options), as, clock_, stopping_);
  }
  if (info.verb == "get") {
    auto read = [this, &kind, &info] { return registry_.read(kind, info.ns, info.name); };
    Result<DocumentPtr> found;
    if (registry_.isSlow(kind))
      found = co_await offload(waiters_, std::move(read));
    else
      found = read();
    if (!found) co_return failure(found.error());
    co_return objectResponse(200, kind, *found, as, clock_.now());
  }
  if (info.verb == "list") {
    Result<ListOptions> options = listOptions(request, info, registry_.store().revision());
    if (!options) co_return failure(options.error());
    auto list = [this, &kind, &options] { return registry_.list(kind, *options); };
    Result<ListPage> page;
    if (registry_.isSlow(kind))
      page = co_await offload(waiters_, std::move(list));
    else
      page = list();
    if (!page) co_return failure(page.error());
    std::ranges::move(page->warnings, std::back_inserter(context.warnings));
    co_return listResponse(kind, *page, as, clock_.now());
  }
  if (info.verb == "patch" && item) co_return co_await patch(request, info, context, as);
  if (info.verb == "delete") co_return co_await remove(request, info, context, as);
  if (info.verb == "deletecollection") co_return co_await removeCollection(request, info, context, as);
  if ((info.verb == "create" && item) || (info.verb == "update" && !item) || info.verb == "patch") co_return failure(methodNotAllowed());

  Result<json::object> object = body(request, kind, context);
  if (!object) co_return failure(object.error());
  if (Result<void> allowed = escalation(context, kind, *object); !allowed) co_return failure(allowed.error());
  Result<DocumentPtr> done;
  if (info.verb == "create") {
    done = co_await registry_.create(context, kind, info.ns, *std::move(object));
  } else {
    const std::string named(textAt(*object, {"metadata", "name"}));
    if (named.empty())
      co_return failure(api::invalid(kind, "", {{"metadata.name", "Required value: name must be provided", "FieldValueRequired"}}));
    api::ObjectName name{info.ns, info.name};
    done = co_await registry_.update(context, kind, std::move(name), *std::move(object), info.subresource);
  }
  if (!done) co_return failure(done.error(), context.wording);
  co_return objectResponse(info.verb == "create" ? 201 : 200, kind, *done, as, clock_.now());
}

asio::awaitable<http::Response> Resources::subresource(const http::Request& request, const RequestInfo& info, Context& context,
                                                       const Representation& as) {
  const std::string& sub = info.subresource;
  const auto admission = [&](const char* operation, const api::Kind* of) {
    return AdmissionRequest{context.user, *info.kind, operation, info.ns, info.name, sub, of};
  };
  if (sub == "exec" || sub == "attach" || sub == "portforward" || sub == "log") {
    DocumentPtr pod = registry_.get(*info.kind, info.ns, info.name);
    if (!pod) co_return failure(notFound(*info.kind, info.name));
    if (sub == "log" ? info.verb != "get" : info.verb != "get" && info.verb != "create") co_return failure(methodNotAllowed());
    if (sub != "log") {
      json::object options = connectOptions(request, sub);
      Result<void> admitted = co_await registry_.admitBody(context, admission("CONNECT", nullptr), options);
      if (!admitted) co_return failure(admitted.error(), context.wording);
    }
    co_return co_await stream(request, sub, std::move(pod), nodeAccess_.load(), waiters_);
  }
  if (info.verb != "create") co_return failure(methodNotAllowed());
  if (sub == "token") {
    const api::Kind& kind = *api::findBodyKind("authentication.k8s.io", "v1", "TokenRequest");
    Result<json::object> asked = body(request, kind, context);
    if (!asked) co_return failure(asked.error());
    if (Result<void> fine = tokenRequests_.prepare(context.user, info.ns, info.name, *asked); !fine)
      co_return failure(fine.error(), context.wording);
    Result<void> admitted = co_await registry_.admitBody(context, admission("CREATE", &kind), *asked);
    if (!admitted) co_return failure(admitted.error(), context.wording);
    Result<json::object> answer = co_await tokenRequests_.answer(context, info.ns, info.name, *std::move(asked));
    co_return answer ? valueResponse(201, *answer, as) : failure(answer.error(), context.wording);
  }
  if (sub == "binding") {
    const api::Kind* kind = api::findBodyKind("", "v1", "Binding");
    if (kind == nullptr) co_return failure(noSuchResource());
    Result<json::object> binding = body(request, *kind, context);
    if (!binding) co_return failure(binding.error());
    Result<void> admitted = co_await registry_.admitBody(context, admission("CREATE", kind), *binding);
    if (!admitted) co_return failure(admitted.error(), context.wording);
    api::ObjectName pod{info.ns, info.name};
    std::string node(textAt(*binding, {"target", "name"}));
    Result<void> done = co_await registry_.bind(context, std::move(pod), std::move(node));
    if (!done) co_return failure(done.error(), context.wording);
    co_return valueResponse(201, createdStatus(), as);
  }
  if (sub == "eviction") {
    const api::Kind& kind = *api::findBodyKind("policy", "v1", "Eviction");
    Result<json::object> eviction = body(request, kind, context);
    if (!eviction) co_return failure(eviction.error());
    if (const std::string_view name = textAt(*eviction, {"metadata", "name"}); !name.empty() && name != info.name)
      co_return failure(Error{Reason::BadRequest, "name in URL does not match name in Eviction object"});
    Result<void> admitted = co_await registry_.admitBody(context, admission("CREATE", &kind), *eviction);
    if (!admitted) co_return failure(admitted.error(), context.wording);
    static const json::object none;
    const json::object* given = objectAt(*eviction, {"deleteOptions"});
    Result<api::DeleteOptions> options = deleteOptions(given != nullptr ? *given : none, request, context);
    if (!options) co_return failure(options.error());
    api::ObjectName pod{info.ns, info.name};
    Result<Deleted> done = co_await registry_.remove(context, *info.kind, std::move(pod), *options);
    if (!done) co_return failure(done.error(), context.wording);
    co_return valueResponse(201, createdStatus(), as);
  }
  co_return failure(noSuchResource());
}

}  // namespace podpass::server
