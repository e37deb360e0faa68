#include "token/issuer_documents.h"

#include <algorithm>
#include <charconv>

#include "base/text.h"
#include "http/url.h"

namespace podpass::token {
namespace {

Error bad(std::string sentence) { return Error{Reason::Unavailable, std::move(sentence)}; }

bool isLoopback(const std::string& host) {
  boost::system::error_code failed;
  const auto address = boost::asio::ip::make_address(host, failed);
  return failed ? host == "localhost" : address.is_loopback();
}

Result<void> checkUrl(const std::string& url, const char* what, bool plainLoopback) {
  const auto problem = [&](const std::string& why) { return Error{Reason::BadRequest, std::string(what) + " " + quoted(url) + " " + why}; };
  Result<http::Url> parsed = http::parseUrl(url);
  if (!parsed) return problem("cannot be used: " + parsed.error().sentence);
  if (!parsed->secure && !(plainLoopback && isLoopback(parsed->host))) return problem("must use https");
  return {};
}

Result<json::object> documentIn(const http::Fetched& fetched, const std::string& what) {
  if (fetched.status / 100 == 3)
    return bad(what + " is answered with a redirect (" + std::to_string(fetched.status) + " to " +
               quoted(fetched.headers.find("Location").substr(0, 200)) + "), and redirects are not followed");
  if (fetched.status != 200) return bad(what + " is answered with status " + std::to_string(fetched.status));
  const std::string_view type = fetched.headers.find("Content-Type");
  if (type.starts_with("text/html")) return bad(what + " is an HTML page, not JSON");
  Result<json::object> parsed = jose::parseStrictObject(fetched.body);
  if (!parsed) return bad(what + " is " + parsed.error().sentence);
  return parsed;
}

}  // namespace

bool mayBeAnIssuer(const boost::asio::ip::address& address) {
  namespace ip = boost::asio::ip;
  if (address.is_v6() && address.to_v6().is_v4_mapped()) return mayBeAnIssuer(ip::make_address_v4(ip::v4_mapped, address.to_v6()));
  if (address.is_v6()) return !address.to_v6().is_link_local() && address.to_string() != "fd00:ec2::254";
  return (address.to_v4().to_uint() >> 16) != 0xA9FE;  // 169.254.0.0/16
}

Result<void> checkIssuerUrl(const std::string& url, bool plainLoopback) {
  if (url.find('?') != std::string::npos || url.find('#') != std::string::npos)
    return Error{Reason::BadRequest, "the issuer URL " + quoted(url) + " may have neither a query nor a fragment"};
  return checkUrl(url, "the issuer URL", plainLoopback);
}

std::string discoveryUrl(const std::string& issuer) {
  return issuer + (issuer.ends_with('/') ? "" : "/") + ".well-known/openid-configuration";
}

Result<std::string> jwksUriOf(const http::Fetched& document, const TrustedIssuer& issuer) {
  Result<json::object> parsed = documentIn(document, "the discovery document");
  if (!parsed) return parsed.error();
  const std::string_view named = textAt(*parsed, {"issuer"});
  if (named != issuer.url)
    return bad("the discovery document is for the issuer " + quoted(named.substr(0, 300)) + ", expected " + quoted(issuer.url));
  std::string uri(textAt(*parsed, {"jwks_uri"}));
  if (uri.empty()) return bad("the discovery document has no jwks_uri");
  if (Result<void> usable = checkUrl(uri, "the jwks_uri", issuer.plainLoopback); !usable) return bad(usable.error().sentence);
  return uri;
}

Result<std::vector<jose::Key>> keysOf(const http::Fetched& jwks) {
  Result<json::object> parsed = documentIn(jwks, "the JWKS");
  if (!parsed) return parsed.error();
  const json::array* all = arrayAt(*parsed, {"keys"});
  if (all != nullptr && all->size() > kMaxIssuerKeys)
    return bad("the JWKS has " + std::to_string(all->size()) + " keys, " + std::to_string(kMaxIssuerKeys) + " are accepted");
  Result<std::vector<jose::Key>> keys = jose::parseJwks(jwks.body);
  if (!keys) return bad(keys.error().sentence);
  return keys;
}

std::chrono::seconds cacheLife(const http::Headers& headers) {
  using namespace std::chrono_literals;
  std::string control(headers.find("Cache-Control"));
  std::transform(control.begin(), control.end(), control.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  const std::size_t at = control.find("max-age=");
  if (control.find("no-store") != std::string::npos || control.find("no-cache") != std::string::npos) return 60s;
  if (at == std::string::npos) return 300s;
  std::int64_t seconds = 0;
  const auto [end, failed] = std::from_chars(control.data() + at + 8, control.data() + control.size(), seconds);
  if (failed == std::errc::result_out_of_range) return 3600s;
  return std::clamp(std::chrono::seconds(seconds), std::chrono::seconds(60), std::chrono::seconds(3600));
}

}  // namespace podpass::token
