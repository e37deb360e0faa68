#pragma once

#include <string>

#include "base/result.h"

namespace podpass::http {

// An absolute http:// or https:// URL, taken apart for those who fetch it (RFC 3986). The fragment is dropped.
struct Url {
  bool secure = false;    // https
  std::string host;       // without the brackets of IPv6
  std::string port;       // decimal; the scheme's own when the URL has none
  std::string authority;  // host[:port] as written, for the Host header and for people
  std::string target;     // path and query, still encoded; "/" at least
};

// BadRequest: another scheme, no host, or a user name in it.
Result<Url> parseUrl(const std::string& text);

}  // namespace podpass::http
