#pragma once

#include <memory>
#include <string>
#include <vector>

#include "auth/oidc.h"
#include "cli/relying_flags.h"

namespace podpass::cli {

// kube-apiserver's --oidc-* flags, by their names.
struct OidcFlags {
  auth::OidcOptions options = {};
  std::string caFile = {};
  std::vector<std::string> requiredClaims = {};  // NAME=VALUE

  void addTo(Command verb);
  // Null when no issuer is given. BadRequest: flags that make no sense together.
  [[nodiscard]] Result<std::unique_ptr<auth::Oidc>> open(const RelyingFlags& relying, boost::asio::thread_pool& pool,
                                                         const Clock& clock) const;
};

}  // namespace podpass::cli
