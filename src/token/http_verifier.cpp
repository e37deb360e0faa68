#include "token/http_verifier.h"

#include <algorithm>

#include "base/text.h"

namespace podpass::token {
namespace {

std::string_view bearerIn(std::string_view header) {
  constexpr std::string_view kScheme = "bearer ";
  if (header.size() < kScheme.size()) return {};
  for (std::size_t i = 0; i < kScheme.size(); ++i)
    if ((header[i] | 0x20) != kScheme[i]) return {};
  header.remove_prefix(kScheme.size());
  while (header.starts_with(' ')) header.remove_prefix(1);
  return header;
}

// RFC 6750 §3: printable ASCII without " and backslash.
std::string describable(const std::string& sentence) {
  std::string text;
  for (const char c : sentence) text += c == '"' || c == '\\' ? '\'' : c >= 0x20 && c < 0x7f ? c : '?';
  return text;
}

http::Response answer(int status, const json::object& body) {
  http::Response response;
  response.status = status;
  response.headers.add("Content-Type", "application/json");
  response.headers.add("Cache-Control", "no-store");
  response.body = std::make_shared<const std::string>(json::serialize(body) + "\n");
  return response;
}

http::Response refused(const Error& error) {
  const Refusal what = refusalOf(error).value_or(Refusal{});
  const bool unknown = error.reason == Reason::Unavailable, forbidden = error.reason == Reason::Forbidden;
  json::object body{{"valid", forbidden},  {"failedCheck", what.check}, {"expected", what.expected},
                    {"found", what.found}, {"message", error.sentence}, {"fix", error.fix}};
  http::Response response = answer(unknown ? 503 : forbidden ? 403 : 401, body);
  if (unknown) return response;
  response.headers.add("WWW-Authenticate", std::string("Bearer realm=\"podpass\", error=\"") +
                                               (forbidden ? "insufficient_scope" : "invalid_token") + "\", error_description=\"" +
                                               describable(error.sentence) + "\"");
  return response;
}

bool matches(std::string_view subject, std::string_view pattern) {
  return pattern.ends_with('*') ? subject.starts_with(pattern.substr(0, pattern.size() - 1)) : subject == pattern;
}

Result<void> mayEnter(const VerifiedToken& token, const std::vector<std::string>& subjects) {
  if (subjects.empty() || std::ranges::any_of(subjects, [&](const std::string& each) { return matches(token.subject, each); })) return {};
  std::string expected;
  for (const std::string& each : subjects) expected += (expected.empty() ? "" : ", ") + quoted(each);
  return refusal({"subject", expected, quoted(token.subject)},
                 "the token is good, and its subject " + quoted(token.subject) + " is none of those that are let through",
                 "let it through with --allow-subject, or use another service account", Reason::Forbidden);
}

http::Response accepted(const VerifiedToken& token) {
  std::string audiences;
  for (const std::string& audience : token.audiences) audiences += (audiences.empty() ? "" : ",") + audience;
  const json::object& claims = token.claims;
  http::Response response = answer(200, {{"valid", true}, {"issuer", token.issuer}, {"subject", token.subject}});
  const auto add = [&](const char* name, std::string_view value) {
    response.headers.add(std::string("X-Podpass-") + name, std::string(value));
  };
  add("Issuer", token.issuer);
  add("Subject", token.subject);
  add("Audience", audiences);
  add("Key-Id", token.kid);
  add("Expires", rfc3339(WallTime(std::chrono::seconds(token.expires))));
  add("Namespace", textAt(claims, {"kubernetes.io", "namespace"}));
  add("Service-Account", textAt(claims, {"kubernetes.io", "serviceaccount", "name"}));
  add("Pod", textAt(claims, {"kubernetes.io", "pod", "name"}));
  return response;
}

http::asio::awaitable<http::Response> handle(RelyingParty& party, const std::vector<std::string>& subjects,
                                             std::shared_ptr<const http::Request> request) {
  if (request->path == "/healthz") co_return answer(200, {{"status", "ok"}});
  if (request->path != "/verify" && !request->path.starts_with("/verify/")) co_return answer(404, {{"message", "ask /verify"}});
  const std::vector<std::string_view> headers = request->headers.findAll("Authorization");
  const std::string token(headers.size() == 1 ? bearerIn(headers.front()) : std::string_view());
  if (token.empty()) {
    http::Response response = answer(401, {{"valid", false}, {"failedCheck", "form"}, {"message", "the request has no bearer token"}});
    response.headers.add("WWW-Authenticate", "Bearer realm=\"podpass\"");
    co_return response;
  }
  const Result<VerifiedToken> verified = co_await party.verify(token);
  if (!verified) co_return refused(verified.error());
  const Result<void> allowed = mayEnter(*verified, subjects);
  co_return allowed ? accepted(*verified) : refused(allowed.error());
}

}  // namespace

http::Handler httpVerifier(RelyingParty& party, std::vector<std::string> subjects) {
  return [&party, all = std::make_shared<const std::vector<std::string>>(std::move(subjects))](
             std::shared_ptr<const http::Request> request) { return handle(party, *all, std::move(request)); };
}

}  // namespace podpass::token
