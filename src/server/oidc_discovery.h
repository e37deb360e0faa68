#pragma once

#include <functional>
#include <string>

#include "http/http.h"
#include "server/served_issuers.h"
#include "token/key_ring.h"
#include "token/revocations.h"

namespace podpass::server {

// What relying parties verify tokens with: a discovery document for each accepted issuer, the keys, and podpass's revocations (OpenID
// Connect Discovery §4, RFC 7517; spec tokens.md §5). Pages in browsers may read them as well (Fetch §3.2), and whoever holds one asks for
// it with If-None-Match. Thread-safe; everything it refers to outlives it.
class OidcDiscovery {
 public:
  using MaxAge = std::function<std::chrono::seconds()>;
  // `issuers`: the first signs. Relying parties may keep documents and keys for what `maxAge` says, and revocations for seconds.
  // `revocations` null: they are not served.
  OidcDiscovery(const std::vector<std::string>& issuers, std::string jwksUri, MaxAge maxAge, const Snapshot<token::KeyRing>& ring,
                const token::Revocations* revocations)
      : issuers_(issuers), jwksUri_(std::move(jwksUri)), maxAge_(std::move(maxAge)), ring_(ring), revocations_(revocations) {}

  enum class Document { None, Configuration, Jwks, Revocations };
  // Which of them is at the path, whatever is to be done with it.
  [[nodiscard]] Document at(const http::Request& request) const;
  // The path that stands for it where it is decided who may read it: one below an issuer's own is the root's.
  [[nodiscard]] static std::string_view pathOf(Document document);
  // GET, HEAD, OPTIONS; 405 for other methods. Not for None.
  [[nodiscard]] http::Response answer(Document document, const http::Request& request) const;

 private:
  [[nodiscard]] http::Response read(Document document, const http::Request& request) const;

  const ServedIssuers issuers_;
  const std::string jwksUri_;
  const MaxAge maxAge_;
  const Snapshot<token::KeyRing>& ring_;
  const token::Revocations* const revocations_;
};

}  // namespace podpass::server
