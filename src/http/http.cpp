#include "http/http.h"

#include <ctime>
#include <exception>

#include "base/log.h"
#include "http/message.h"

namespace podpass::http {
namespace {

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

int hexValue(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (lower(c) >= 'a' && lower(c) <= 'f') return lower(c) - 'a' + 10;
  return -1;
}

// Calls `each` with the decoded pairs of a query. As Go's url.ParseQuery does, a pair with a malformed escape is left out.
template <class Each>
void forEachParameter(std::string_view query, Each each) {
  while (!query.empty()) {
    const std::size_t end = query.find('&');
    const std::string_view pair = query.substr(0, end);
    query.remove_prefix(end == std::string_view::npos ? query.size() : end + 1);
    if (pair.empty()) continue;
    const std::size_t equals = pair.find('=');
    std::optional<std::string> name = percentDecoded(pair.substr(0, equals), true);
    std::optional<std::string> value = percentDecoded(equals == std::string_view::npos ? "" : pair.substr(equals + 1), true);
    if (name && value && !each(*name, *std::move(value))) return;
  }
}

}  // namespace

bool equalIgnoringCase(std::string_view a, std::string_view b) {
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(), [](char x, char y) { return lower(x) == lower(y); });
}

std::optional<std::string> percentDecoded(std::string_view text, bool plusIsSpace) {
  if (text.find_first_of("%+") == std::string_view::npos) return std::string(text);
  std::string decoded;
  decoded.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '+' && plusIsSpace) {
      decoded += ' ';
    } else if (text[i] == '%') {
      const int high = i + 2 < text.size() ? hexValue(text[i + 1]) : -1;
      const int low = i + 2 < text.size() ? hexValue(text[i + 2]) : -1;
      if (high < 0 || low < 0) return std::nullopt;
      decoded += static_cast<char>(high * 16 + low);
      i += 2;
    } else {
      decoded += text[i];
    }
  }
  return decoded;
}

std::string_view Headers::find(std::string_view name) const {
  for (const Header& header : all_)
    if (equalIgnoringCase(header.name, name)) return header.value;
  return {};
}

bool Headers::has(std::string_view name) const {
  return std::any_of(all_.begin(), all_.end(), [name](const Header& header) { return equalIgnoringCase(header.name, name); });
}

std::vector<std::string_view> Headers::findAll(std::string_view name) const {
  std::vector<std::string_view> found;
  for (const Header& header : all_)
    if (equalIgnoringCase(header.name, name)) found.push_back(header.value);
  return found;
}

std::optional<std::string> Request::parameter(std::string_view name) const {
  std::optional<std::string> found;
  forEachParameter(query, [&](const std::string& candidate, std::string value) {
    if (candidate != name) return true;
    found = std::move(value);
    return false;
  });
  return found;
}

std::vector<std::string> Request::parameters(std::string_view name) const {
  std::vector<std::string> found;
  forEachParameter(query, [&](const std::string& candidate, std::string value) {
    if (candidate == name) found.push_back(std::move(value));
    return true;
  });
  return found;
}

bool setTarget(Request& request, std::string_view target) {
  if (request.method == "CONNECT") {  // the authority form (RFC 9112 §3.2.3); whoever is no proxy finds no such path
    request.path = request.target = std::string(target);
    return target.find(':') != std::string_view::npos;
  }
  for (std::string_view scheme : {"http://", "https://"}) {  // the absolute form, as sent to proxies (RFC 9112 §3.2.2)
    if (!target.starts_with(scheme)) continue;
    target.remove_prefix(scheme.size());
    const std::size_t path = target.find_first_of("/?");
    target = path == std::string_view::npos ? std::string_view("/") : target.substr(path);
  }
  if (target.empty() || (target.front() != '/' && target != "*")) return false;
  const std::size_t question = target.find('?');
  std::optional<std::string> path = percentDecoded(target.substr(0, question), false);
  if (!path) return false;
  request.path = *std::move(path);
  request.query = question == std::string_view::npos ? "" : std::string(target.substr(question + 1));
  request.target = std::string(target);
  return true;
}

std::string_view reasonPhrase(int status) {
  static constexpr std::pair<int, std::string_view> kPhrases[] = {
      {100, "Continue"},
      {101, "Switching Protocols"},
      {200, "OK"},
      {201, "Created"},
      {202, "Accepted"},
      {204, "No Content"},
      {206, "Partial Content"},
      {301, "Moved Permanently"},
      {302, "Found"},
      {303, "See Other"},
      {304, "Not Modified"},
      {307, "Temporary Redirect"},
      {308, "Permanent Redirect"},
      {400, "Bad Request"},
      {401, "Unauthorized"},
      {403, "Forbidden"},
      {404, "Not Found"},
      {405, "Method Not Allowed"},
      {406, "Not Acceptable"},
      {408, "Request Timeout"},
      {409, "Conflict"},
      {410, "Gone"},
      {411, "Length Required"},
      {412, "Precondition Failed"},
      {413, "Request Entity Too Large"},
      {415, "Unsupported Media Type"},
      {416, "Requested Range Not Satisfiable"},
      {417, "Expectation Failed"},
      {422, "Unprocessable Entity"},
      {426, "Upgrade Required"},
      {429, "Too Many Requests"},
      {431, "Request Header Fields Too Large"},
      {500, "Internal Server Error"},
      {501, "Not Implemented"},
      {502, "Bad Gateway"},
      {503, "Service Unavailable"},
      {504, "Gateway Timeout"},
      {505, "HTTP Version Not Supported"},
  };
  for (const auto& [code, phrase] : kPhrases)
    if (code == status) return phrase;
  return "Unknown";
}

std::string httpDate(std::chrono::system_clock::time_point time) {
  const std::time_t seconds = std::chrono::system_clock::to_time_t(time);
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  char buffer[40];
  return {buffer, std::strftime(buffer, sizeof buffer, "%a, %d %b %Y %H:%M:%S GMT", &parts)};
}

std::string_view dateOf(const Response& response) {
  if (const std::string_view own = response.headers.find("Date"); !own.empty()) return own;
  thread_local std::time_t made = 0;
  thread_local std::string text;
  const std::time_t now = std::time(nullptr);
  if (now != made) text = httpDate(std::chrono::system_clock::from_time_t(now));
  made = now;
  return text;
}

bool isFraming(std::string_view name) {
  for (std::string_view framing :
       {"connection", "content-length", "date", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"})
    if (equalIgnoringCase(name, framing)) return true;
  return false;
}

bool hasBody(int status) { return status >= 200 && status != 204 && status != 304; }

void appendHeaderSafe(std::string& out, std::string_view value) {
  const std::size_t from = out.size();
  out += value;
  for (std::size_t i = from; i < out.size(); ++i)
    if (const char c = out[i]; (static_cast<unsigned char>(c) < 0x20 && c != '\t') || c == 0x7f) out[i] = ' ';
}

std::string headerSafe(std::string_view value) {
  std::string safe;
  appendHeaderSafe(safe, value);
  return safe;
}

Response plainText(int status, std::string text) {
  Response response;
  response.status = status;
  response.headers.add("Content-Type", "text/plain; charset=utf-8");
  response.body = std::make_shared<const std::string>(std::move(text));
  return response;
}

asio::awaitable<Response> answer(const Handler& handler, std::shared_ptr<const Request> request) {
  std::string problem;
  try {
    Response response = co_await handler(request);
    co_return response;
  } catch (const std::exception& thrown) {
    problem = thrown.what();
  } catch (...) {
    problem = "not a std::exception";
  }
  log::error("request handler failed", {{"verb", request->method}, {"path", request->path}, {"err", problem}});
  co_return plainText(500, "Internal Server Error\n");
}

asio::awaitable<bool> streamed(const Response& response, BodyWriter& writer) {
  std::string problem;
  try {
    co_await response.stream(writer);
    co_return true;
  } catch (const std::exception& thrown) {
    problem = thrown.what();
  } catch (...) {
    problem = "not a std::exception";
  }
  log::error("streamed answer failed", {{"err", problem}});
  co_return false;
}

}  // namespace podpass::http
