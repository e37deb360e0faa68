#include "server/api_server.h"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "api/codec.h"
#include "api/discovery.h"
#include "base/log.h"
#include "base/text.h"
#include "server/representation.h"
#include "server/request_info.h"
#include "server/status.h"
#include "server/streaming.h"
#include "server/watch.h"

namespace podpass::server {
namespace {

constexpr std::int64_t kMinTokenSeconds = 600;
constexpr std::int64_t kMaxTokenSeconds = std::int64_t{1} << 32;
constexpr std::int64_t kExtendableSeconds = 3607;  // what admission asks for in kube-api-access volumes
constexpr std::int64_t kExtendedSeconds = 31'536'000;
constexpr std::size_t kBodyLimit = 3u << 20;

const api::Kind& core(std::string_view plural) { return *api::findKind("", "v1", plural); }

// Runs `work` on the pool and comes back on the caller's own executor.
template <class Work>
asio::awaitable<std::invoke_result_t<Work&>> offload(asio::thread_pool& pool, Work work) {
  auto job = [work = std::move(work)]() mutable -> asio::awaitable<std::invoke_result_t<Work&>> { co_return work(); };
  co_return co_await asio::co_spawn(pool, std::move(job), asio::use_awaitable);
}

http::Response text(int code, std::string body) {
  http::Response response;
  response.status = code;
  response.headers.add("Content-Type", "text/plain; charset=utf-8");
  response.headers.add("X-Content-Type-Options", "nosniff");
  response.body = std::make_shared<const std::string>(std::move(body));
  return response;
}

http::Response document(std::shared_ptr<const std::string> body, std::string type) {
  http::Response response;
  response.headers.add("Content-Type", std::move(type));
  response.body = std::move(body);
  return response;
}

// A cacheable document: ETag, and 304 with neither body nor Content-Type (one there poisons kubectl's discovery cache).
http::Response cacheable(const http::Request& request, std::string body, std::string type) {
  std::string tag = "\"" + hexLower(sha256(body)) + "\"";
  std::transform(tag.begin(), tag.end(), tag.begin(), [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  http::Response response;
  if (request.headers.find("if-none-match") == tag) response.status = 304;
  else response = document(std::make_shared<const std::string>(std::move(body)), std::move(type));
  response.headers.add("ETag", tag);
  response.headers.add("Vary", "Accept");
  return response;
}

std::string warningHeader(std::string_view warning) {
  std::string escaped;
  for (char c : warning.substr(0, 256)) {
    if (c == '"' || c == '\\') escaped += '\\';
    if (static_cast<unsigned char>(c) >= 0x20) escaped += c;
  }
  return "299 - \"" + escaped + "\"";
}

std::string versionDocument() {
  return json::serialize(json::object{{"major", "1"}, {"minor", "32"}, {"gitVersion", "v1.32.0+podpass"}, {"gitCommit", ""}, {"gitTreeState", "clean"},
                                      {"buildDate", "1970-01-01T00:00:00Z"}, {"goVersion", "none"}, {"compiler", "g++"}, {"platform", "linux/amd64"}});
}

Result<std::uint64_t> number(std::string_view name, const std::string& value) {
  if (value.empty()) return std::uint64_t{0};
  const bool digits = value.find_first_not_of("0123456789") == std::string::npos && value.size() < 19;
  if (!digits) return Error{Reason::BadRequest, "strconv.ParseInt: parsing " + quoted(value.substr(0, 64)) + ": invalid syntax (" + std::string(name) + ")"};
  return static_cast<std::uint64_t>(std::stoull(value));
}

Error invalidOptions(const char* kind, const std::string& field, const std::string& message, const char* reason = "FieldValueForbidden") {
  Error error{.reason = Reason::Invalid, .sentence = std::string(kind) + ".meta.k8s.io \"\" is invalid: " + field + ": " + message};
  error.causes.push_back({field, message, reason});
  error.about = {"meta.k8s.io", kind, "", ""};
  return error;
}

json::object createdStatus() {
  return json::object{{"kind", "Status"}, {"apiVersion", "v1"}, {"metadata", json::object()}, {"status", "Success"}, {"code", 201}};
}

bool isMutation(std::string_view verb) { return verb != "get" && verb != "list" && verb != "watch"; }

}  // namespace

struct ApiServer::Parts {
  ApiServerOptions settings;
  Registry& registry;
  const Admission& admission;
  const auth::Authenticator& authenticator;
  const auth::Authorizer& authorizer;
  const token::Issuer& issuer;
  const token::Verifier& verifier;
  const Snapshot<token::KeyRing>& ring;
  const Clock& clock;
  asio::thread_pool signers{std::max(1u, std::thread::hardware_concurrency())};
  asio::thread_pool waiters{16};  // blocking calls to the node: logs, exec URLs
  std::atomic<bool> stopping = false;
  std::atomic<api::NodeAccess*> nodeAccess = nullptr;

  // ---- documents beside the kinds

  http::Response health(const http::Request& request, const RequestInfo& info) const {
    const std::string probe = info.path.substr(1, info.path.find('/', 1) - 1);
    std::vector<std::pair<std::string, bool>> checks{{"ping", true}, {"log", true}, {"etcd", static_cast<bool>(registry.store().healthy())}};
    if (probe == "readyz") checks.emplace_back("shutdown", !stopping.load());
    const std::vector<std::string> excluded = request.parameters("exclude");
    const std::size_t slash = info.path.find('/', 1);
    if (slash != std::string::npos && slash + 1 < info.path.size()) {
      for (const auto& [name, good] : checks)
        if (name == info.path.substr(slash + 1)) return good ? text(200, "ok") : text(500, "internal server error: " + name + " failed: reason withheld\n");
      return text(404, "404 page not found\n");
    }
    bool all = true;
    std::string lines;
    for (const auto& [name, good] : checks) {
      const bool left = std::find(excluded.begin(), excluded.end(), name) != excluded.end();
      if (left) lines += "[+]" + name + " excluded: ok\n";
      else lines += good ? "[+]" + name + " ok\n" : "[-]" + name + " failed: reason withheld\n";
      all = all && (good || left);
    }
    lines += probe + (all ? " check passed\n" : " check failed\n");
    if (!all) return text(500, lines);
    return text(200, request.parameter("verbose") ? lines : "ok");
  }

  http::Response issuerDocument(const RequestInfo& info) const {
    const std::shared_ptr<const token::KeyRing> keys = ring.load();
    const bool isKeys = info.path.starts_with("/openid/v1/jwks");
    http::Response response = document(
        std::make_shared<const std::string>(isKeys ? token::jwks(*keys) : token::openidConfiguration(issuer.url(), settings.jwksUri, *keys)),
        isKeys ? "application/jwk-set+json" : "application/json");
    response.headers.add("Cache-Control", "public, max-age=3600");
    return response;
  }

  http::Response discovery(const http::Request& request, const std::string& path) const {
    Result<Representation> as = negotiate(request);
    if (!as) return failure(as.error());
    const bool root = path == "/api" || path == "/apis";
    if (root && as->form == Representation::Form::Discovery)
      return cacheable(request, api::aggregatedDiscovery(path == "/api", as->discoveryVersion),
                       "application/json;g=apidiscovery.k8s.io;v=" + as->discoveryVersion + ";as=APIGroupDiscoveryList");
    if (path == "/api") return jsonResponse(200, api::legacyVersions(settings.serverAddress));
    if (path == "/apis") return jsonResponse(200, api::groupList());
    if (path == "/api/v1") {
      Result<std::string> list = api::resourceList("", "v1");
      return list ? jsonResponse(200, *std::move(list)) : text(404, "404 page not found\n");
    }
    if (path.starts_with("/apis/")) {
      const std::string rest = path.substr(6);
      const std::size_t slash = rest.find('/');
      Result<std::string> found = slash == std::string::npos ? api::groupDocument(rest) : api::resourceList(rest.substr(0, slash), rest.substr(slash + 1));
      if (found) return jsonResponse(200, *std::move(found));
    }
    return text(404, "404 page not found\n");
  }

  http::Response openApi(const http::Request& request, const std::string& path) const {
    if (path == "/openapi/v2") {
      const bool protobuf = request.headers.find("accept").find("proto-openapi") != std::string_view::npos;
      // the media type that clients ask for has an '@' that they cannot parse themselves
      return protobuf ? document(api::openApiV2Protobuf(), "application/com.github.proto-openapi.spec.v2.v1.0+protobuf")
                      : document(api::openApiV2Json(), "application/json");
    }
    if (path == "/openapi/v3") return document(api::openApiV3Root(), "application/json");
    Result<std::shared_ptr<const std::string>> found = api::openApiV3(path.substr(std::string_view("/openapi/v3/").size()));
    if (!found) return text(404, "404 page not found\n");
    http::Response response = document(*std::move(found), "application/json");
    if (request.parameter("hash")) response.headers.add("Cache-Control", "public, immutable, max-age=31536000");
    return response;
  }

  http::Response nonResource(const http::Request& request, const RequestInfo& info) const {
    std::string path = info.path;
    while (path.size() > 1 && path.back() == '/') path.pop_back();
    const bool reads = request.method == "GET" || request.method == "HEAD";
    const auto under = [&](std::string_view root) { return path == root || path.starts_with(std::string(root) + "/"); };
    const bool known = under("/healthz") || under("/livez") || under("/readyz") || path == "/version" || path == "/.well-known/openid-configuration" ||
                       path == "/openid/v1/jwks" || under("/api") || under("/apis") || under("/openapi");
    if (!known) return text(404, "404 page not found\n");
    if (!reads) return failure(methodNotAllowed());
    if (under("/healthz") || under("/livez") || under("/readyz")) {
      RequestInfo clean = info;
      clean.path = path;
      return health(request, clean);
    }
    if (path == "/version") return jsonResponse(200, versionDocument());
    if (under("/openid") || under("/.well-known")) return issuerDocument(info);
    if (under("/openapi")) return openApi(request, path);
    return discovery(request, path);
  }

  // ---- resources

  Result<void> commonOptions(const http::Request& request, const std::string& verb, Context& context) const {
    if (!isMutation(verb)) return {};
    const char* kind = verb == "create" ? "CreateOptions" : verb == "update" ? "UpdateOptions" : verb == "patch" ? "PatchOptions" : "DeleteOptions";
    for (const std::string& value : request.parameters("dryRun")) {
      if (value == "All") context.dryRun = true;
      else if (!value.empty())
        return invalidOptions(kind, "dryRun", "Unsupported value: []string{" + quoted(value) + "}: supported values: \"All\"", "FieldValueNotSupported");
    }
    const std::string validation = request.parameter("fieldValidation").value_or("");
    if (validation == "Strict" || validation == "Warn" || validation == "Ignore") context.fieldValidation = validation;
    else if (!validation.empty())
      return invalidOptions(kind, "fieldValidation",
                            "Unsupported value: " + quoted(validation) + ": supported values: \"\", \"Ignore\", \"Strict\", \"Warn\"", "FieldValueNotSupported");
    if (request.parameter("fieldManager").value_or("").size() > 128)
      return invalidOptions(kind, "fieldManager", "Too long: may not be more than 128 bytes", "FieldValueTooLong");
    return {};
  }

  Result<ListOptions> listOptions(const http::Request& request, const RequestInfo& info) const {
    ListOptions list;
    list.ns = info.ns;
    Result<api::LabelSelector> labels = api::LabelSelector::parse(request.parameter("labelSelector").value_or(""));
    if (!labels) return labels.error();
    Result<api::FieldSelector> fields = api::FieldSelector::parse(*info.kind, request.parameter("fieldSelector").value_or(""));
    if (!fields) return fields.error();
    list.labels = *std::move(labels);
    list.fields = *std::move(fields);
    const std::string limit = request.parameter("limit").value_or("");
    if (!limit.starts_with('-')) {  // negative: no limit
      Result<std::uint64_t> count = number("limit", limit);
      if (!count) return count.error();
      list.limit = *count;
    }
    list.continueToken = request.parameter("continue").value_or("");
    const std::string revision = request.parameter("resourceVersion").value_or(""), match = request.parameter("resourceVersionMatch").value_or("");
    Result<std::uint64_t> at = number("resourceVersion", revision);
    if (!at) return at.error();
    if (!list.continueToken.empty()) {
      if (*at != 0) return Error{Reason::BadRequest, "specifying resource version is not allowed when using continue"};
      if (!match.empty())
        return invalidOptions("ListOptions", "resourceVersionMatch", "Forbidden: resourceVersionMatch is forbidden when continue is provided");
    } else if (!match.empty() && revision.empty() && info.verb == "list") {
      return invalidOptions("ListOptions", "resourceVersionMatch", "Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided");
    } else if (!match.empty() && match != "Exact" && match != "NotOlderThan") {
      return invalidOptions("ListOptions", "resourceVersionMatch",
                            "Unsupported value: " + quoted(match) + ": supported values: \"Exact\", \"NotOlderThan\", \"\"", "FieldValueNotSupported");
    } else if (match == "Exact" && *at == 0) {
      return invalidOptions("ListOptions", "resourceVersionMatch", "Forbidden: resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"");
    }
    if (*at > registry.store().revision() && info.verb == "list") {
      const std::string why = "Too large resource version: " + revision + ", current: " + std::to_string(registry.store().revision());
      Error error{.reason = Reason::Timeout, .sentence = "Timeout: " + why, .retryAfterSeconds = 1};
      error.causes.push_back({"", "Too large resource version", "ResourceVersionTooLarge"});
      return error;
    }
    if (match == "Exact" || (*at != 0 && match.empty() && list.limit != 0)) list.atRevision = *at;
    return list;
  }

  asio::awaitable<http::Response> startWatch(const http::Request& request, const RequestInfo& info, const Representation& as) {
    Result<ListOptions> list = listOptions(request, info);
    if (!list) co_return failure(list.error());
    WatchOptions options{list->ns, list->labels, list->fields, std::nullopt};
    if (!info.name.empty()) {
      Result<api::FieldSelector> one = api::FieldSelector::parse(*info.kind, "metadata.name=" + info.name);
      if (!one) co_return failure(one.error());
      options.fields = *std::move(one);
    }
    const std::string revision = request.parameter("resourceVersion").value_or("");
    options.sendInitialEvents = parseBool(request.parameter("sendInitialEvents").value_or("")).value_or(false);
    if (options.sendInitialEvents && request.parameter("resourceVersionMatch").value_or("") != "NotOlderThan")
      co_return failure(invalidOptions("ListOptions", "resourceVersionMatch",
                                       "Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"));
    if (!revision.empty() && revision != "0" && !options.sendInitialEvents) options.since = *number("resourceVersion", revision);
    options.bookmarks = parseBool(request.parameter("allowWatchBookmarks").value_or("")).value_or(false);
    Result<std::uint64_t> seconds = number("timeoutSeconds", request.parameter("timeoutSeconds").value_or(""));
    if (!seconds) co_return failure(seconds.error());
    // jitter: watchers that started together must not come back together
    const auto spread = static_cast<std::int64_t>(clock.steady().time_since_epoch().count() / 1000 % 1800);
    options.timeout = std::chrono::seconds(*seconds != 0 ? static_cast<std::int64_t>(*seconds) : 1800 + spread);
    co_return co_await watch(registry, *info.kind, std::move(options), as, clock, stopping);
  }

  Result<json::object> body(const http::Request& request, const api::Kind& kind, Context& context) const {
    Result<api::Decoded> decoded = api::decode(kind, request.headers.find("content-type"), request.body);
    if (!decoded) return decoded.error();
    if (Result<void> fine = reportProblems(context, kind, decoded->problems); !fine) return fine.error();
    return std::move(decoded->object);
  }

  Result<api::DeleteOptions> deleteOptions(const http::Request& request, Context& context) const {
    api::DeleteOptions options;
    json::object given;
    if (!request.body.empty()) {
      const api::Kind* kind = api::findBodyKind("meta.k8s.io", "v1", "DeleteOptions");
      if (kind == nullptr) kind = api::findBodyKind("", "v1", "DeleteOptions");
      Result<json::value> parsed = request.headers.find("content-type").find("yaml") != std::string_view::npos ? api::parseYaml(request.body)
                                                                                                               : api::parseJson(request.body);
      if (request.headers.find("content-type").find("protobuf") != std::string_view::npos && kind != nullptr) {
        Result<api::Decoded> decoded = api::decode(*kind, request.headers.find("content-type"), request.body);
        if (!decoded) return decoded.error();
        parsed = json::value(decoded->object);
      }
      if (!parsed) return parsed.error();
      if (!parsed->is_object()) return Error{Reason::BadRequest, "the delete options are not an object"};
      given = parsed->get_object();
    }
    if (const json::value* grace = given.if_contains("gracePeriodSeconds"); grace != nullptr && grace->is_int64()) options.gracePeriodSeconds = grace->get_int64();
    else if (const auto query = request.parameter("gracePeriodSeconds")) {
      Result<std::uint64_t> seconds = number("gracePeriodSeconds", *query);
      if (!seconds) return seconds.error();
      options.gracePeriodSeconds = static_cast<std::int64_t>(*seconds);
    }
    options.uid = textAt(given, {"preconditions", "uid"});
    options.resourceVersion = textAt(given, {"preconditions", "resourceVersion"});
    options.propagationPolicy = textAt(given, {"propagationPolicy"});
    if (options.propagationPolicy.empty()) options.propagationPolicy = request.parameter("propagationPolicy").value_or("");
    const std::string& policy = options.propagationPolicy;
    if (!policy.empty() && policy != "Background" && policy != "Foreground" && policy != "Orphan")
      return invalidOptions("DeleteOptions", "propagationPolicy",
                            "Unsupported value: " + quoted(policy) + ": supported values: \"Foreground\", \"Background\", \"Orphan\", \"nil\"", "FieldValueNotSupported");
    if (const json::value* orphan = given.if_contains("orphanDependents"); orphan != nullptr && orphan->is_bool()) {
      if (!policy.empty())
        return invalidOptions("DeleteOptions", "propagationPolicy",
                              "Invalid value: " + quoted(policy) + ": orphanDependents and deletionPropagation cannot be both set", "FieldValueInvalid");
      options.propagationPolicy = orphan->get_bool() ? "Orphan" : "Background";
    }
    if (const json::array* dry = arrayAt(given, {"dryRun"}))
      for (const json::value& each : *dry) {
        if (each != "All") return invalidOptions("DeleteOptions", "dryRun", "Unsupported value: " + json::serialize(each) + ": supported values: \"All\"", "FieldValueNotSupported");
        context.dryRun = true;
      }
    return options;
  }

  Result<PatchType> patchType(std::string_view contentType) const {
    const std::string_view type = contentType.substr(0, contentType.find(';'));
    if (type == "application/json-patch+json") return PatchType::Json;
    if (type == "application/merge-patch+json") return PatchType::Merge;
    if (type == "application/strategic-merge-patch+json") return PatchType::StrategicMerge;
    return Error{Reason::UnsupportedMediaType,
                 "the body of the request was in an unknown format - accepted media types include: application/json-patch+json, "
                 "application/merge-patch+json, application/strategic-merge-patch+json"};
  }

  asio::awaitable<http::Response> patch(const http::Request& request, const RequestInfo& info, Context& context, const Representation& as) {
    const std::string_view contentType = request.headers.find("content-type");
    Result<PatchType> type = patchType(contentType);
    if (!type) co_return failure(type.error());
    if (request.parameter("force")) co_return failure(invalidOptions("PatchOptions", "force", "Forbidden: may not be specified for non-apply patch"));
    Result<json::value> parsed = api::parseJson(request.body);
    if (!parsed) co_return failure(parsed.error());
    api::ObjectName name{info.ns, info.name};
    Result<DocumentPtr> done = co_await registry.patch(context, *info.kind, std::move(name), *type, *std::move(parsed), info.subresource);
    if (!done) co_return failure(done.error());
    co_return objectResponse(200, *info.kind, *done, as, clock.now());
  }

  asio::awaitable<http::Response> remove(const http::Request& request, const RequestInfo& info, Context& context, const Representation& as) {
    Result<api::DeleteOptions> options = deleteOptions(request, context);
    if (!options) co_return failure(options.error());
    api::ObjectName name{info.ns, info.name};
    Result<Deleted> done = co_await registry.remove(context, *info.kind, std::move(name), *std::move(options));
    if (!done) co_return failure(done.error());
    const bool showsObject = !done->gone || (info.kind->group.empty() && info.kind->plural == "pods");
    if (showsObject) co_return objectResponse(200, *info.kind, done->object, as, clock.now());
    json::object details{{"name", info.name}};
    if (!info.kind->group.empty()) details["group"] = info.kind->group;
    details["kind"] = info.kind->plural;
    details["uid"] = textAt(done->object->value, {"metadata", "uid"});
    co_return valueResponse(200, json::object{{"kind", "Status"}, {"apiVersion", "v1"}, {"metadata", json::object()}, {"status", "Success"}, {"details", std::move(details)}}, as);
  }

  asio::awaitable<http::Response> removeCollection(const http::Request& request, const RequestInfo& info, Context& context, const Representation& as) {
    Result<api::DeleteOptions> options = deleteOptions(request, context);
    if (!options) co_return failure(options.error());
    Result<ListOptions> selection = listOptions(request, info);
    if (!selection) co_return failure(selection.error());
    Result<ListPage> page = registry.list(*info.kind, *selection);
    if (!page) co_return failure(page.error());
    for (const DocumentPtr& item : page->items) {
      api::ObjectName name{std::string(textAt(item->value, {"metadata", "namespace"})), std::string(textAt(item->value, {"metadata", "name"}))};
      Result<Deleted> done = co_await registry.remove(context, *info.kind, std::move(name), *options);
      if (!done && done.error().reason != Reason::NotFound) co_return failure(done.error());
    }
    co_return listResponse(*info.kind, *page, as, clock.now());
  }

  // Writes of roles and bindings may not give away rights that the writer lacks.
  Result<void> escalation(const Context& context, const api::Kind& kind, const json::object& object) const {
    if (kind.group != "rbac.authorization.k8s.io") return {};
    return auth::checkEscalation(authorizer, registry, context.user, kind, object);
  }

  asio::awaitable<http::Response> resource(const http::Request& request, const RequestInfo& info, Context& context) {
    if (info.kind == nullptr) co_return api::servesGroupVersion(info.group, info.version) ? failure(noSuchResource()) : text(404, "404 page not found\n");
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
    if (kind.isVirtual) co_return co_await review(request, info, context, as);
    if (!info.subresource.empty() && info.subresource != "status" && info.subresource != "finalize") co_return co_await subresource(request, info, context, as);

    const bool item = !info.name.empty();
    if (!kind.allows(info.verb) || info.verb.empty()) co_return failure(methodNotAllowed());
    if (kind.namespaced && info.ns.empty() && info.verb != "list" && info.verb != "watch") co_return failure(methodNotAllowed());
    if (info.verb == "watch") co_return co_await startWatch(request, info, as);
    if (info.verb == "get") {
      Result<DocumentPtr> found = registry.read(kind, info.ns, info.name);
      if (!found) co_return failure(found.error());
      co_return objectResponse(200, kind, *found, as, clock.now());
    }
    if (info.verb == "list") {
      Result<ListOptions> options = listOptions(request, info);
      if (!options) co_return failure(options.error());
      Result<ListPage> page = registry.list(kind, *options);
      if (!page) co_return failure(page.error());
      co_return listResponse(kind, *page, as, clock.now());
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
      done = co_await registry.create(context, kind, info.ns, *std::move(object));
    } else {
      const std::string named(textAt(*object, {"metadata", "name"}));
      if (named.empty()) co_return failure(api::invalid(kind, "", {{"metadata.name", "Required value: name must be provided", "FieldValueRequired"}}));
      api::ObjectName name{info.ns, info.name};
      done = co_await registry.update(context, kind, std::move(name), *std::move(object), info.subresource);
    }
    if (!done) co_return failure(done.error());
    co_return objectResponse(info.verb == "create" ? 201 : 200, kind, *done, as, clock.now());
  }

  // ---- subresources and reviews

  asio::awaitable<Result<json::object>> requestToken(Context& context, std::string ns, std::string account, json::object asked) {
    const api::Kind& accounts = core("serviceaccounts");
    const api::Kind& kind = *api::findBodyKind("authentication.k8s.io", "v1", "TokenRequest");
    const auto mismatch = [&](const char* field, std::string_view given, const char* what) {
      return api::invalid(kind, account, {{field, "Invalid value: " + quoted(given) + ": must match the service account " + what + " if specified"}});
    };
    const std::string_view named = textAt(asked, {"metadata", "name"}), inNs = textAt(asked, {"metadata", "namespace"}), uid = textAt(asked, {"metadata", "uid"});
    if (!named.empty() && named != account) co_return mismatch("metadata.name", named, "name");
    if (!inNs.empty() && inNs != ns) co_return mismatch("metadata.namespace", inNs, "namespace");
    const DocumentPtr found = registry.get(accounts, ns, account);
    if (!found) co_return notFound(accounts, account);
    const std::string accountUid(textAt(found->value, {"metadata", "uid"}));
    if (!uid.empty() && uid != accountUid)
      co_return Error{.reason = Reason::Conflict,
                      .sentence = "Operation cannot be fulfilled on TokenRequest.authentication.k8s.io " + quoted(account) +
                                  ": the UID in the token request (" + std::string(uid) + ") does not match the UID of the service account (" + accountUid + ")",
                      .about = {"authentication.k8s.io", "TokenRequest", account, ""}};

    json::object& spec = makeObjectAt(asked, {"spec"});
    std::vector<std::string> audiences;
    if (const json::array* list = arrayAt(spec, {"audiences"}))
      for (const json::value& each : *list)
        if (each.is_string()) audiences.emplace_back(each.get_string());
    const bool defaulted = audiences.empty();
    if (defaulted) audiences = verifier.apiAudiences();
    std::int64_t seconds = integerAt(spec, {"expirationSeconds"}, 3600);
    const auto badLife = [&](const char* why) {
      return api::invalid(kind, "", {{"spec.expirationSeconds", "Invalid value: " + std::to_string(seconds) + ": may not specify a duration " + why}});
    };
    if (seconds < kMinTokenSeconds) co_return badLife("less than 10 minutes");
    if (seconds > kMaxTokenSeconds) co_return badLife("larger than 2^32 seconds");
    if (Result<void> admitted = admission.tokenRequest(context.user, ns, account, asked); !admitted) co_return admitted.error();

    token::BoundClaims claims{.ns = ns, .serviceAccount = {account, accountUid}, .audiences = audiences};
    if (Result<void> bound = bind(ns, account, spec, claims); !bound) co_return bound.error();
    if (settings.maxTokenLife.count() > 0 && seconds > settings.maxTokenLife.count()) {
      context.warnings.push_back("requested expiration of " + std::to_string(seconds) + " seconds shortened to " +
                                 std::to_string(settings.maxTokenLife.count()) + " seconds");
      seconds = settings.maxTokenLife.count();
    }
    const WallTime now = clock.now();
    claims.issuedAt = std::chrono::floor<std::chrono::seconds>(now.time_since_epoch()).count();
    claims.expires = claims.issuedAt + seconds;
    const std::vector<std::string>& own = verifier.apiAudiences();
    const bool forUs = std::all_of(audiences.begin(), audiences.end(), [&](const std::string& each) { return std::find(own.begin(), own.end(), each) != own.end(); });
    if (settings.extendTokens && !claims.pod.empty() && seconds == kExtendableSeconds && forUs) {
      claims.warnAfter = claims.issuedAt + seconds;
      claims.expires = claims.issuedAt + kExtendedSeconds;
    }
    claims.jti = randomUuid();
    auto sign = [this, claims] { return issuer.issue(claims); };
    Result<Secret> token = co_await offload(signers, std::move(sign));
    if (!token) co_return Error{Reason::Internal, "Internal error occurred: failed to generate token: " + token.error().sentence};

    const json::value* ref = spec.if_contains("boundObjectRef");
    json::object answer{{"kind", "TokenRequest"}, {"apiVersion", "authentication.k8s.io/v1"}};
    answer["metadata"] = json::object{{"name", account}, {"namespace", ns}, {"uid", accountUid}, {"creationTimestamp", rfc3339(now)}};
    answer["spec"] = json::object{{"audiences", json::array(audiences.begin(), audiences.end())},
                                  {"expirationSeconds", seconds},
                                  {"boundObjectRef", ref != nullptr ? *ref : json::value()}};
    answer["status"] = json::object{{"token", token->reveal()}, {"expirationTimestamp", rfc3339(now + std::chrono::seconds(seconds))}};
    co_return answer;
  }

  // Finds what the token shall be bound to and writes it into the claims (spec tokens.md §2.5).
  Result<void> bind(const std::string& ns, const std::string& account, const json::object& spec, token::BoundClaims& claims) const {
    const json::object* ref = objectAt(spec, {"boundObjectRef"});
    if (ref == nullptr || ref->empty()) return {};
    const std::string kindName(textAt(*ref, {"kind"})), version(textAt(*ref, {"apiVersion"})), name(textAt(*ref, {"name"})), uid(textAt(*ref, {"uid"}));
    const bool isCore = version == "v1";
    struct Bindable {
      const char* kind;
      const char* plural;
      token::ObjectRef token::BoundClaims::* claim;
    };
    constexpr Bindable kBindable[] = {{"Pod", "pods", &token::BoundClaims::pod}, {"Secret", "secrets", &token::BoundClaims::secret}, {"Node", "nodes", &token::BoundClaims::node}};
    for (const Bindable& each : kBindable) {
      if (!isCore || kindName != each.kind) continue;
      const api::Kind& kind = core(each.plural);
      const DocumentPtr found = registry.get(kind, ns, name);
      if (!found) return notFound(kind, name);
      const std::string live(textAt(found->value, {"metadata", "uid"}));
      if (kindName == "Pod" && textAt(found->value, {"spec", "serviceAccountName"}) != account)
        return Error{Reason::BadRequest, "cannot bind token for serviceaccount " + quoted(account) + " to pod running with different serviceaccount name."};
      if (!uid.empty() && uid != live)
        return Error{.reason = Reason::Conflict,
                     .sentence = "Operation cannot be fulfilled on " + kindName + " " + quoted(name) + ": the UID in the bound object reference (" + uid +
                                 ") does not match the UID in record. The object might have been deleted and then recreated",
                     .about = {"", kindName, name, ""}};
      claims.*each.claim = {name, live};
      const std::string node(kindName == "Pod" ? textAt(found->value, {"spec", "nodeName"}) : "");
      if (!node.empty()) {
        const DocumentPtr host = registry.get(core("nodes"), "", node);
        claims.node = {node, host ? std::string(textAt(host->value, {"metadata", "uid"})) : std::string()};
      }
      return {};
    }
    const std::size_t slash = version.find('/');
    const std::string group = slash == std::string::npos ? "" : version.substr(0, slash);
    const std::string onlyVersion = slash == std::string::npos ? version : version.substr(slash + 1);
    return Error{Reason::BadRequest, "cannot bind token to object of type " + group + "/" + onlyVersion + ", Kind=" + kindName};
  }

  asio::awaitable<http::Response> subresource(const http::Request& request, const RequestInfo& info, Context& context, const Representation& as) {
    const std::string& sub = info.subresource;
    if (sub == "exec" || sub == "attach" || sub == "portforward" || sub == "log") {
      DocumentPtr pod = registry.get(*info.kind, info.ns, info.name);
      if (!pod) co_return failure(notFound(*info.kind, info.name));
      if (sub == "log" ? info.verb != "get" : info.verb != "get" && info.verb != "create") co_return failure(methodNotAllowed());
      co_return co_await stream(request, sub, std::move(pod), nodeAccess.load(), waiters);
    }
    if (info.verb != "create") co_return failure(methodNotAllowed());
    if (sub == "token") {
      const api::Kind& kind = *api::findBodyKind("authentication.k8s.io", "v1", "TokenRequest");
      Result<json::object> asked = body(request, kind, context);
      if (!asked) co_return failure(asked.error());
      Result<json::object> answer = co_await requestToken(context, info.ns, info.name, *std::move(asked));
      co_return answer ? valueResponse(201, *answer, as) : failure(answer.error());
    }
    if (sub == "binding") {
      const api::Kind* kind = api::findBodyKind("", "v1", "Binding");
      if (kind == nullptr) co_return failure(noSuchResource());
      Result<json::object> binding = body(request, *kind, context);
      if (!binding) co_return failure(binding.error());
      api::ObjectName pod{info.ns, info.name};
      std::string node(textAt(*binding, {"target", "name"}));
      Result<void> done = co_await registry.bind(context, std::move(pod), std::move(node));
      if (!done) co_return failure(done.error());
      co_return valueResponse(201, createdStatus(), as);
    }
    if (sub == "eviction") {
      Result<api::DeleteOptions> options = api::DeleteOptions{};
      api::ObjectName pod{info.ns, info.name};
      Result<Deleted> done = co_await registry.remove(context, *info.kind, std::move(pod), *options);
      if (!done) co_return failure(done.error());
      co_return valueResponse(201, createdStatus(), as);
    }
    co_return failure(noSuchResource());
  }

  auth::Attributes attributesIn(const json::object& spec, auth::User user) const {
    auth::Attributes attributes{.user = std::move(user)};
    const json::object* of = objectAt(spec, {"resourceAttributes"});
    attributes.resourceRequest = of != nullptr;
    if (of == nullptr) {
      attributes.verb = textAt(spec, {"nonResourceAttributes", "verb"});
      attributes.path = textAt(spec, {"nonResourceAttributes", "path"});
      return attributes;
    }
    attributes.verb = textAt(*of, {"verb"});
    attributes.group = textAt(*of, {"group"});
    attributes.version = textAt(*of, {"version"});
    attributes.resource = textAt(*of, {"resource"});
    attributes.subresource = textAt(*of, {"subresource"});
    attributes.ns = textAt(*of, {"namespace"});
    attributes.name = textAt(*of, {"name"});
    return attributes;
  }

  json::object accessStatus(const auth::Attributes& attributes) const {
    const auth::Decision decision = authorizer.authorize(attributes);
    json::object status{{"allowed", decision.allowed}};
    if (!decision.reason.empty()) status["reason"] = decision.reason;
    return status;
  }

  static std::vector<std::string> texts(const json::array* list) {
    std::vector<std::string> out;
    if (list != nullptr)
      for (const json::value& each : *list)
        if (each.is_string()) out.emplace_back(each.get_string());
    return out;
  }

  json::object tokenReview(const json::object& spec) const {
    const std::vector<std::string> audiences = texts(arrayAt(spec, {"audiences"}));
    Result<token::Identity> identity = verifier.verify(textAt(spec, {"token"}), audiences);
    if (!identity) {
      json::object status{{"user", json::object()}, {"error", log::chain(identity.error())}};
      return status;
    }
    auth::User user{identity->username, identity->uid, identity->groups, identity->extra};
    user.groups.emplace_back("system:authenticated");
    return json::object{{"authenticated", true}, {"user", auth::toJson(user)}, {"audiences", json::array(identity->audiences.begin(), identity->audiences.end())}};
  }

  asio::awaitable<http::Response> review(const http::Request& request, const RequestInfo& info, Context& context, const Representation& as) {
    if (info.verb != "create" || !info.name.empty()) co_return failure(methodNotAllowed());
    Result<json::object> object = body(request, *info.kind, context);
    if (!object) co_return failure(object.error());
    const json::object spec = makeObjectAt(*object, {"spec"});
    const std::string_view kind = info.kind->kind;
    json::object& out = *object;
    makeObjectAt(out, {"metadata"})["creationTimestamp"] = nullptr;
    if (kind == "TokenReview") {
      if (textAt(spec, {"token"}).empty()) co_return failure(Error{Reason::BadRequest, "token is required for TokenReview in authentication"});
      auto work = [this, spec] { return tokenReview(spec); };
      out["status"] = co_await offload(signers, std::move(work));
    } else if (kind == "SelfSubjectReview") {
      out.erase("spec");
      out["metadata"] = json::object{{"creationTimestamp", rfc3339(clock.now())}};
      out["status"] = json::object{{"userInfo", auth::toJson(context.user)}};
    } else if (kind == "SelfSubjectAccessReview") {
      out["status"] = accessStatus(attributesIn(spec, context.user));
    } else if (kind == "SelfSubjectRulesReview") {
      out["status"] = authorizer.rulesFor(context.user, std::string(textAt(spec, {"namespace"})));
    } else {
      auth::User user{.name = std::string(textAt(spec, {"user"})), .uid = std::string(textAt(spec, {"uid"})), .groups = texts(arrayAt(spec, {"groups"}))};
      if (user.name.empty() && user.groups.empty())
        co_return failure(api::invalid(*info.kind, "", {{"spec.user", "Invalid value: \"\": at least one of user or group must be specified"}}));
      out["status"] = accessStatus(attributesIn(spec, std::move(user)));
    }
    co_return valueResponse(201, out, as);
  }

  // ---- the pipeline

  // Impersonate-* headers (kubectl --as): the caller needs the right to impersonate each part.
  Result<void> impersonate(const http::Request& request, auth::User& user) const {
    const std::string as(request.headers.find("impersonate-user"));
    const std::vector<std::string_view> groups = request.headers.findAll("impersonate-group");
    if (as.empty() && groups.empty()) return {};
    if (as.empty()) return Error{Reason::BadRequest, "requested impersonation of groups without impersonating a user"};
    const auto may = [&](const std::string& resource, const std::string& ns, const std::string& name) -> Result<void> {
      auth::Attributes attributes{.user = user, .verb = "impersonate"};
      attributes.resource = resource;
      attributes.ns = ns;
      attributes.name = name;
      if (authorizer.authorize(attributes).allowed) return {};
      return Error{.reason = Reason::Forbidden,
                   .sentence = resource + " " + quoted(name) + " is forbidden: User " + quoted(user.name) + " cannot impersonate resource " + quoted(resource) +
                               " in API group \"\"" + (ns.empty() ? " at the cluster scope" : " in the namespace " + quoted(ns)),
                   .about = {"", resource, name, ""}};
    };
    auth::User next{.name = as};
    constexpr std::string_view kAccount = "system:serviceaccount:";
    if (as.starts_with(kAccount)) {
      const std::string rest = as.substr(kAccount.size());
      const std::size_t colon = rest.find(':');
      if (colon == std::string::npos) return Error{Reason::BadRequest, "not a service account: " + quoted(as)};
      if (Result<void> allowed = may("serviceaccounts", rest.substr(0, colon), rest.substr(colon + 1)); !allowed) return allowed;
      if (groups.empty()) next.groups = {"system:serviceaccounts", "system:serviceaccounts:" + rest.substr(0, colon)};
    } else if (Result<void> allowed = may("users", "", as); !allowed) {
      return allowed;
    }
    for (std::string_view group : groups) {
      if (Result<void> allowed = may("groups", "", std::string(group)); !allowed) return allowed;
      next.groups.emplace_back(group);
    }
    if (as != "system:anonymous") next.groups.emplace_back("system:authenticated");
    user = std::move(next);
    return {};
  }

  Error denied(const RequestInfo& info, const auth::User& user, const std::string& reason) const {
    const std::string tail = reason.empty() ? "" : ": " + reason;
    if (!info.isResource)
      return Error{Reason::Forbidden, "forbidden: User " + quoted(user.name) + " cannot " + info.verb + " path " + quoted(info.path) + tail};
    const std::string where = info.ns.empty() || (info.kind != nullptr && !info.kind->namespaced) ? " at the cluster scope" : " in the namespace " + quoted(info.ns);
    const std::string resource = info.subresource.empty() ? info.resource : info.resource + "/" + info.subresource;
    const std::string qualified = info.group.empty() ? info.resource : info.resource + "." + info.group;
    return Error{.reason = Reason::Forbidden,
                 .sentence = qualified + (info.name.empty() ? "" : " " + quoted(info.name)) + " is forbidden: User " + quoted(user.name) + " cannot " + info.verb +
                             " resource " + quoted(resource) + " in API group " + quoted(info.group) + where + tail,
                 .about = {info.group, info.resource, info.name, ""}};
  }

  asio::awaitable<http::Response> serve(const http::Request& request) {
    Result<auth::Authenticated> who = authenticator.authenticate(request);
    if (!who) {
      log::info("request refused", {{"path", request.path}, {"err", log::chain(who.error())}});
      co_return failure(who.error());
    }
    Context context{.user = std::move(who->user)};
    context.warnings = std::move(who->warnings);
    if (Result<void> allowed = impersonate(request, context.user); !allowed) co_return failure(allowed.error());
    RequestInfo info = parseRequest(request);
    if (info.isResource && info.resource.empty()) info.isResource = false;  // /apis/GROUP/VERSION itself
    const auth::Decision decision = authorizer.authorize(attributesOf(info, request, context.user));
    if (!decision.allowed) co_return failure(denied(info, context.user, decision.reason));
    if (!info.isResource) co_return nonResource(request, info);
    http::Response response = co_await resource(request, info, context);
    for (const std::string& warning : context.warnings) response.headers.add("Warning", warningHeader(warning));
    co_return response;
  }
};

ApiServer::ApiServer(ApiServerOptions options, Registry& registry, const Admission& admission, const auth::Authenticator& authenticator,
                     const auth::Authorizer& authorizer, const token::Issuer& issuer, const token::Verifier& verifier,
                     const Snapshot<token::KeyRing>& ring, const Clock& clock)
    : parts_(new Parts{std::move(options), registry, admission, authenticator, authorizer, issuer, verifier, ring, clock}) {}

ApiServer::~ApiServer() {
  parts_->signers.join();
  parts_->waiters.join();
}

void ApiServer::setNodeAccess(api::NodeAccess* access) { parts_->nodeAccess.store(access); }
void ApiServer::beginShutdown() { parts_->stopping.store(true); }

asio::awaitable<Result<json::object>> ApiServer::requestToken(Context& context, std::string ns, std::string account, json::object request) {
  Result<json::object> answer = co_await parts_->requestToken(context, std::move(ns), std::move(account), std::move(request));
  co_return answer;
}

asio::awaitable<http::Response> ApiServer::handle(std::shared_ptr<const http::Request> request) {
  http::Response response = co_await parts_->serve(*request);
  if (!response.headers.has("cache-control")) response.headers.add("Cache-Control", "no-cache, private");
  const std::string_view audit = request->headers.find("audit-id");
  response.headers.add("Audit-Id", audit.empty() || audit.size() > 64 ? randomUuid() : std::string(audit));
  if (!response.stream && !response.takeOver) compress(*request, response);
  co_return response;
}

}  // namespace podpass::server
