#pragma once

#include <string>
#include <string_view>

#include "http/http.h"

// What HTTP/1.1 and HTTP/2 have in common once the framing is off.
namespace podpass::http {

[[nodiscard]] bool equalIgnoringCase(std::string_view a, std::string_view b);

// Percent-decoded; nullopt when an escape is malformed. `plusIsSpace` in query strings only.
std::optional<std::string> percentDecoded(std::string_view text, bool plusIsSpace);

// Fills target, path and query from what the client sent ("/a%20b?c=d", "*", "http://host/a"). False: it is none of these.
[[nodiscard]] bool setTarget(Request& request, std::string_view target);

[[nodiscard]] std::string_view reasonPhrase(int status);

// A time as in RFC 9110 §5.6.7.
std::string httpDate(std::chrono::system_clock::time_point time);
// What the response says as its Date, else the current time, remade once a second.
std::string_view dateOf(const Response& response);

// Headers that describe the connection or the framing: the server writes its own.
[[nodiscard]] bool isFraming(std::string_view name);

// True when a body may follow these headers (not for 1xx, 204, 304).
[[nodiscard]] bool hasBody(int status);

// `value` without line breaks and other control characters: nothing that a handler copies into a header can add a header.
std::string headerSafe(std::string_view value);
void appendHeaderSafe(std::string& out, std::string_view value);

Response plainText(int status, std::string text);

// What the handler answers; 500 when it throws.
asio::awaitable<Response> answer(const Handler& handler, std::shared_ptr<const Request> request);

// Runs the stream of `response`; false when it threw, and the answer must not look complete.
asio::awaitable<bool> streamed(const Response& response, BodyWriter& writer);

}  // namespace podpass::http
