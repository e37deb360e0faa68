#include "http/url.h"

#include <boost/url/parse.hpp>
#include <boost/url/url_view.hpp>

#include "base/text.h"

namespace podpass::http {

Result<Url> parseUrl(const std::string& text) {
  const auto parsed = boost::urls::parse_uri(text);
  if (!parsed) return Error{Reason::BadRequest, "not a URL: " + quoted(text)};
  const boost::urls::url_view& view = *parsed;
  Url url;
  url.secure = view.scheme_id() == boost::urls::scheme::https;
  if (!url.secure && view.scheme_id() != boost::urls::scheme::http)
    return Error{Reason::BadRequest, "only http:// and https:// can be fetched, not " + quoted(text)};
  if (view.has_userinfo()) return Error{Reason::BadRequest, "a URL with a user name in it cannot be fetched"};
  if (view.encoded_host().empty()) return Error{Reason::BadRequest, "the URL has no host: " + quoted(text)};
  url.host = view.host_address();
  url.port = view.has_port() && !view.port().empty() ? std::string(view.port()) : (url.secure ? "443" : "80");
  // Boost.URL takes what is no digit of the port for the path
  const bool pathBegins = view.encoded_path().empty() || view.encoded_path().starts_with('/');
  if (!pathBegins || url.port.size() > 5 || std::stoul(url.port) > 65535) return Error{Reason::BadRequest, "no such port: " + quoted(text)};
  url.authority = std::string(view.encoded_host_and_port());
  url.target = std::string(view.encoded_path().empty() ? "/" : view.encoded_path());
  if (view.has_query()) url.target += "?" + std::string(view.encoded_query());
  return url;
}

}  // namespace podpass::http
