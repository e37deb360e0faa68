#include "server/documents.h"

#include "api/discovery.h"
#include "api/version.h"
#include "base/text.h"
#include "server/representation.h"
#include "server/status.h"

namespace podpass::server {
namespace {

http::Response document(std::shared_ptr<const std::string> body, std::string type) {
  http::Response response;
  response.headers.add("Content-Type", std::move(type));
  response.body = std::move(body);
  return response;
}

std::string versionDocument() {
  return json::serialize(json::object{{"major", api::kMajor},
                                      {"minor", api::kMinor},
                                      {"gitVersion", api::kGitVersion},
                                      {"gitCommit", ""},
                                      {"gitTreeState", "clean"},
                                      {"buildDate", "1970-01-01T00:00:00Z"},
                                      {"goVersion", "none"},
                                      {"compiler", "g++"},
                                      {"platform", "linux/amd64"}});
}

http::Response openApi(const http::Request& request, const std::string& path) {
  if (path == "/openapi/v2") {
    const bool protobuf = request.headers.find("accept").find("proto-openapi") != std::string_view::npos;
    // the media type that clients ask for has an '@' that they cannot parse themselves
    return protobuf ? document(api::openApiV2Protobuf(), "application/com.github.proto-openapi.spec.v2.v1.0+protobuf")
                    : document(api::openApiV2Json(), "application/json");
  }
  if (path == "/openapi/v3") return document(api::openApiV3Root(), "application/json");
  Result<std::shared_ptr<const std::string>> found = api::openApiV3(path.substr(std::string_view("/openapi/v3/").size()));
  if (!found) return textResponse(404, "404 page not found\n");
  http::Response response = document(*std::move(found), "application/json");
  if (request.parameter("hash")) response.headers.add("Cache-Control", "public, immutable, max-age=31536000");
  return response;
}

}  // namespace

http::Response Documents::health(const http::Request& request, const RequestInfo& info) const {
  const std::string probe = info.path.substr(1, info.path.find('/', 1) - 1);
  std::vector<std::pair<std::string, bool>> checks{{"ping", true}, {"log", true}, {"etcd", static_cast<bool>(store_.healthy())}};
  if (probe == "readyz") checks.emplace_back("shutdown", !stopping_.load());
  const std::vector<std::string> excluded = request.parameters("exclude");
  const std::size_t slash = info.path.find('/', 1);
  if (slash != std::string::npos && slash + 1 < info.path.size()) {
    for (const auto& [name, good] : checks)
      if (name == info.path.substr(slash + 1))
        return good ? textResponse(200, "ok") : textResponse(500, "internal server error: " + name + " failed: reason withheld\n");
    return textResponse(404, "404 page not found\n");
  }
  bool all = true;
  std::string lines;
  for (const auto& [name, good] : checks) {
    const bool left = std::find(excluded.begin(), excluded.end(), name) != excluded.end();
    if (left)
      lines += "[+]" + name + " excluded: ok\n";
    else
      lines += good ? "[+]" + name + " ok\n" : "[-]" + name + " failed: reason withheld\n";
    all = all && (good || left);
  }
  lines += probe + (all ? " check passed\n" : " check failed\n");
  if (!all) return textResponse(500, lines);
  return textResponse(200, request.parameter("verbose") ? lines : "ok");
}

http::Response Documents::discovery(const http::Request& request, const std::string& path) const {
  Result<Representation> as = negotiate(request);
  if (!as) return failure(as.error());
  const bool root = path == "/api" || path == "/apis";
  if (root && as->form == Representation::Form::Discovery) {
    http::Response response = cacheable(request, api::aggregatedDiscovery(path == "/api", as->discoveryVersion),
                                        "application/json;g=apidiscovery.k8s.io;v=" + as->discoveryVersion + ";as=APIGroupDiscoveryList");
    response.headers.add("Vary", "Accept");
    return response;
  }
  if (path == "/api") return jsonResponse(200, api::legacyVersions(serverAddress_));
  if (path == "/apis") return jsonResponse(200, api::groupList());
  if (path == "/api/v1") {
    Result<std::string> list = api::resourceList("", "v1");
    return list ? jsonResponse(200, *std::move(list)) : textResponse(404, "404 page not found\n");
  }
  if (path.starts_with("/apis/")) {
    const std::string rest = path.substr(6);
    const std::size_t slash = rest.find('/');
    Result<std::string> found =
        slash == std::string::npos ? api::groupDocument(rest) : api::resourceList(rest.substr(0, slash), rest.substr(slash + 1));
    if (found) return jsonResponse(200, *std::move(found));
  }
  return textResponse(404, "404 page not found\n");
}

http::Response Documents::answer(const http::Request& request, const RequestInfo& info) const {
  std::string path = info.path;
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  const bool reads = request.method == "GET" || request.method == "HEAD";
  const auto under = [&](std::string_view root) { return path == root || path.starts_with(std::string(root) + "/"); };
  const bool known = under("/healthz") || under("/livez") || under("/readyz") || path == "/version" || under("/api") || under("/apis") ||
                     under("/openapi");
  if (!known) return textResponse(404, "404 page not found\n");
  if (!reads) return failure(methodNotAllowed());
  if (under("/healthz") || under("/livez") || under("/readyz")) {
    RequestInfo clean = info;
    clean.path = path;
    return health(request, clean);
  }
  if (path == "/version") return jsonResponse(200, versionDocument());
  if (under("/openapi")) return openApi(request, path);
  return discovery(request, path);
}

}  // namespace podpass::server
