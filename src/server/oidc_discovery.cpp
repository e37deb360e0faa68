#include "server/oidc_discovery.h"

#include "http/conditional.h"
#include "server/status.h"

namespace podpass::server {
namespace {

constexpr const char* kMethods = "GET, HEAD, OPTIONS";
constexpr const char* kRevocationsLife = "public, max-age=10";
constexpr const char* kPreflightLife = "86400";  // seconds; browsers cut it to their own limits

std::string_view withoutSlashes(std::string_view path) {
  while (path.size() > 1 && path.ends_with('/')) path.remove_suffix(1);
  return path;
}

}  // namespace

std::string_view OidcDiscovery::pathOf(Document document) {
  switch (document) {
    case Document::Configuration:
      return "/.well-known/openid-configuration";
    case Document::Jwks:
      return "/openid/v1/jwks";
    case Document::Revocations:
      return "/openid/v1/revocations";
    case Document::None:
      break;
  }
  return {};
}

OidcDiscovery::Document OidcDiscovery::at(const http::Request& request) const {
  const std::string_view path = withoutSlashes(request.path);
  for (const Document each : {Document::Configuration, Document::Jwks, Document::Revocations})
    if (path == pathOf(each)) return each;
  return issuers_.describes(path) ? Document::Configuration : Document::None;
}

http::Response OidcDiscovery::answer(Document document, const http::Request& request) const {
  if (document == Document::Revocations && revocations_ == nullptr) return textResponse(404, "404 page not found\n");
  const bool reads = request.method == "GET" || request.method == "HEAD", asks = request.method == "OPTIONS";
  http::Response response;
  response.status = 204;
  if (!asks) response = reads ? read(document, request) : failure(methodNotAllowed());
  // Whoever may read them at all needs no cookie and no certificate of a browser's user for it, and gets none used.
  response.headers.add("Access-Control-Allow-Origin", "*");
  if (reads) return response;
  response.headers.add("Allow", kMethods);
  if (!asks) return response;
  response.headers.add("Access-Control-Allow-Methods", kMethods);
  response.headers.add("Access-Control-Max-Age", kPreflightLife);
  return response;
}

http::Response OidcDiscovery::read(Document document, const http::Request& request) const {
  std::string body, type = document == Document::Jwks ? "application/jwk-set+json" : "application/json";
  if (document == Document::Configuration)
    body = token::openidConfiguration(issuers_.at(withoutSlashes(request.path), request.headers.find("host")), jwksUri_, *ring_.load());
  if (document == Document::Jwks) body = token::jwks(*ring_.load());
  if (document == Document::Revocations) body = *revocations_->document(issuers_.signing());
  http::Response response = cacheable(request, std::move(body), std::move(type));
  response.headers.add("Cache-Control", document == Document::Revocations ? std::string(kRevocationsLife)
                                                                          : "public, max-age=" + std::to_string(maxAge_().count()));
  return response;
}

}  // namespace podpass::server
