#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"
#include "cli/key_flags.h"
#include "cli/oidc_flags.h"
#include "cli/sts.h"

namespace podpass::cli {

struct UpOptions {
  std::string dataDir;
  std::string bind = "127.0.0.1";
  unsigned short port = 6443;
  std::string node = "auto";  // auto, off
  std::string nodeName = "podpass";
  std::string containerd = {};              // socket of an existing containerd
  std::string legacyTokenSecrets = "auto";  // auto, manual
  std::int64_t maxTokenSeconds = 0;
  bool extendTokens = true;
  bool anonymousIssuer = true;           // let anybody read the issuer documents
  int webhookPort = 0;                   // of the pod identity webhook; 0: a free one, negative: no webhook
  std::string auditLog = {};             // file; empty: no audit log
  std::int64_t legacyTokenHours = 8760;  // unused for so long, a legacy token is marked invalid, and later deleted
  StsFlags sts = {};                     // its bind is this one's
  KeyFlags keys = {};
  OidcFlags oidc = {};
};

// Everything in one process, until SIGTERM or SIGINT. Prints where the kubeconfig is, a first command to try and how to stop.
Result<void> up(const UpOptions& options);

}  // namespace podpass::cli
