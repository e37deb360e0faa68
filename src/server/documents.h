#pragma once

#include <atomic>
#include <functional>
#include <string>

#include "http/http.h"
#include "server/request_info.h"
#include "server/served_issuers.h"
#include "store/store.h"
#include "token/key_ring.h"
#include "token/revocations.h"

namespace podpass::server {

// What is served beside the kinds: health, version, discovery, OpenAPI and the issuer's documents (spec api.md §1, tokens.md §5).
// Thread-safe; everything it refers to outlives it.
class Documents {
 public:
  using JwksMaxAge = std::function<std::chrono::seconds()>;
  // `serverAddress` is told in GET /api, `jwksUri` in the issuers' discovery documents; relying parties may keep
  // both kinds of issuer documents for what `jwksMaxAge` says, and the one of the revocations for seconds. `issuers`: those whose tokens
  // are accepted, the first signs. `revocations` null: it is not served.
  Documents(std::string serverAddress, std::string jwksUri, JwksMaxAge jwksMaxAge, const Store& store,
            const std::vector<std::string>& issuers, const Snapshot<token::KeyRing>& ring, const token::Revocations* revocations,
            const std::atomic<bool>& stopping)
      : serverAddress_(std::move(serverAddress)),
        jwksUri_(std::move(jwksUri)),
        jwksMaxAge_(std::move(jwksMaxAge)),
        store_(store),
        issuers_(issuers),
        ring_(ring),
        revocations_(revocations),
        stopping_(stopping) {}
  // A path below an issuer's own is that of its discovery document at the root to whoever decides who may read it.
  [[nodiscard]] bool describesIssuer(const http::Request& request) const { return issuers_.describes(request.path); }
  // 404 for a path that is not served, 405 for anything but GET and HEAD.
  [[nodiscard]] http::Response answer(const http::Request& request, const RequestInfo& info) const;

 private:
  [[nodiscard]] http::Response health(const http::Request& request, const RequestInfo& info) const;
  [[nodiscard]] http::Response revocations() const;
  [[nodiscard]] http::Response jwks() const;
  [[nodiscard]] http::Response openidConfiguration(const http::Request& request) const;
  [[nodiscard]] http::Response discovery(const http::Request& request, const std::string& path) const;

  std::string serverAddress_, jwksUri_;
  JwksMaxAge jwksMaxAge_;
  const Store& store_;
  const ServedIssuers issuers_;
  const Snapshot<token::KeyRing>& ring_;
  const token::Revocations* revocations_;
  const std::atomic<bool>& stopping_;
};

}  // namespace podpass::server
