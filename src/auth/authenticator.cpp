#include "auth/authenticator.h"

#include <algorithm>

#include "auth/oidc.h"
#include "base/secret.h"
#include "base/text.h"

namespace podpass::auth {
namespace {

constexpr std::string_view kAuthenticated = "system:authenticated";
constexpr std::string_view kProtocolPrefix = "base64url.bearer.authorization.k8s.io.";
constexpr std::string_view kWhite = " \t\r\n";

bool sameWord(std::string_view a, std::string_view b) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; };
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [&](char x, char y) { return lower(x) == lower(y); });
}

std::string_view trimmed(std::string_view text) {
  const std::size_t first = text.find_first_not_of(kWhite);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kWhite) - first + 1);
}

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  for (;;) {
    const std::size_t end = text.find(separator);
    parts.push_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

// The second word of `Authorization: Bearer TOKEN`; "" for another scheme, which counts as no credential, as in Kubernetes.
std::string_view bearerIn(std::string_view header) {
  const std::vector<std::string_view> words = split(trimmed(header), ' ');
  return words.size() >= 2 && sameWord(words[0], "bearer") ? words[1] : std::string_view();
}

bool wantsWebSocket(const http::Headers& headers) {
  if (!sameWord(trimmed(headers.find("Upgrade")), "websocket")) return false;
  for (std::string_view header : headers.findAll("Connection"))
    for (std::string_view word : split(header, ','))
      if (sameWord(trimmed(word), "upgrade")) return true;
  return false;
}

// Browsers cannot set Authorization on a WebSocket: they offer the token as a subprotocol. Empty: none was offered.
Result<Secret> tokenInSubprotocols(const http::Headers& headers) {
  std::optional<std::string_view> encoded;
  bool others = false;
  for (std::string_view header : headers.findAll("Sec-WebSocket-Protocol")) {
    for (std::string_view word : split(header, ',')) {
      word = trimmed(word);
      if (!word.starts_with(kProtocolPrefix)) {
        others = true;
        continue;
      }
      if (encoded) return Error{Reason::Unauthorized, "multiple base64.bearer.authorization tokens specified"};
      encoded = word.substr(kProtocolPrefix.size());
    }
  }
  if (!encoded || encoded->empty()) return Secret();
  // the answer must name a subprotocol, and it must not be the one with the token in it
  if (!others) return Error{Reason::Unauthorized, "missing additional subprotocol"};
  Result<std::string> decoded = base64UrlDecode(*encoded);
  if (!decoded) return Error{Reason::Unauthorized, "invalid bearer token"};
  Secret token(*decoded);
  OPENSSL_cleanse(decoded->data(), decoded->size());
  return token;
}

// Empty: none was presented.
Result<Secret> tokenIn(const http::Request& request) {
  Secret token(bearerIn(request.headers.find("Authorization")));
  if (!token.empty() || !wantsWebSocket(request.headers)) return token;
  return tokenInSubprotocols(request.headers);
}

Authenticated authenticated(User user, std::vector<std::string> warnings = {}) {
  if (!user.in(kAuthenticated)) user.groups.emplace_back(kAuthenticated);
  return {std::move(user), std::move(warnings)};
}

User userOf(const http::PeerCertificate& certificate) {
  User user{.name = certificate.commonName, .groups = certificate.organizations};
  user.extra["authentication.kubernetes.io/credential-id"] = {"X509SHA256=" + certificate.sha256Hex};
  return user;
}

}  // namespace

Result<Authenticated> Authenticator::authenticate(const http::Request& request) const {
  if (request.peer && !request.peer->commonName.empty()) return authenticated(userOf(*request.peer));

  Result<Secret> presented = tokenIn(request);
  if (!presented) return presented.error();
  const Secret& token = *presented;
  if (!token.empty()) {
    Result<token::Identity> identity = verifier_.verify(token.reveal(), {});
    if (!identity) return identity.error();
    User user{identity->username, identity->uid, std::move(identity->groups), std::move(identity->extra)};
    Authenticated proven = authenticated(std::move(user), std::move(identity->warnings));
    proven.annotations = std::move(identity->annotations);
    return proven;
  }

  if (!anonymous_) return Error{Reason::Unauthorized, "no credentials were given, and anonymous requests are not allowed"};
  return Authenticated{User{.name = "system:anonymous", .groups = {"system:unauthenticated"}}};
}

http::asio::awaitable<Result<Authenticated>> Authenticator::identify(const http::Request& request) const {
  Result<Authenticated> who = authenticate(request);
  if (who || oidc_ == nullptr) co_return who;
  const Result<Secret> token = tokenIn(request);
  if (!token || token->empty()) co_return who;
  std::optional<Result<User>> foreign = co_await oidc_->authenticate(std::string(token->reveal()));
  if (!foreign) co_return who;
  if (!*foreign) co_return foreign->error();
  co_return authenticated(**std::move(foreign));
}

}  // namespace podpass::auth
