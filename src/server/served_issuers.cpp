#include "server/served_issuers.h"

#include <algorithm>

#include "http/message.h"
#include "http/url.h"
#include "token/issuer_documents.h"

namespace podpass::server {
namespace {

constexpr std::string_view kAtRoot = "/.well-known/openid-configuration";

std::string lower(std::string_view text) {
  std::string all(text);
  std::transform(all.begin(), all.end(), all.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return all;
}

// Clients leave out the port that the scheme has.
std::string withoutDefaultPort(std::string host, bool secure) {
  const std::string_view port = secure ? ":443" : ":80";
  if (host.ends_with(port)) host.resize(host.size() - port.size());
  return host;
}

}  // namespace

ServedIssuers::ServedIssuers(const std::vector<std::string>& urls) {
  for (const std::string& url : urls) {
    Served served{url, "", std::string(kAtRoot)};
    http::Request asked;  // reads the path as those of requests are read
    asked.method = "GET";
    const Result<http::Url> parsed = http::parseUrl(token::discoveryUrl(url));
    if (parsed && http::setTarget(asked, parsed->target)) {
      served.host = withoutDefaultPort(lower(parsed->authority), parsed->secure);
      served.path = asked.path;
    }  // else it is no URL, as tokens of others may say; the root has it when it signs
    all_.push_back(std::move(served));
  }
}

bool ServedIssuers::describes(std::string_view path) const {
  return path == kAtRoot || std::any_of(all_.begin(), all_.end(), [&](const Served& each) { return each.path == path; });
}

const std::string& ServedIssuers::at(std::string_view path, std::string_view host) const {
  const std::string asked = withoutDefaultPort(lower(host), true);
  for (const Served& each : all_)
    if (each.path == path && each.host == asked) return each.url;
  if (path == kAtRoot) return signing();
  return std::find_if(all_.begin(), all_.end(), [&](const Served& each) { return each.path == path; })->url;
}

}  // namespace podpass::server
