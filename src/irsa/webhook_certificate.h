#pragma once

#include <optional>

#include "base/clock.h"
#include "base/document.h"
#include "http/http.h"

// The certificate that a webhook makes for itself, as the Secret that all replicas share holds it: tls.crt and tls.key are served, ca.crt
// is whom API servers must trust. Its renewal takes three steps, so that every replica is believed all the time, whichever step it knows
// of:
//   announced  next.crt and next.key are there, ca.crt holds both authorities; the old certificate is served
//   switched   the new one is served; ca.crt still holds both
//   settled    ca.crt holds the new authority alone
// Annotations below identity.podpass.dev/ say when a step is due; a Secret without them is somebody else's (cert-manager's), and is used as
// it is. An authority lives in memory until it has issued its one certificate. Pure; nothing here writes anywhere.
namespace podpass::irsa {

struct WebhookCertificate {
  http::TlsFiles tls;  // in memory
  std::string caPem;
  std::optional<WallTime> renewAfter = {};  // nullopt: somebody else renews it
};

// How long API servers get to learn of a new authority before a certificate of it is served, and replicas to learn of the new certificate
// before the old authority is forgotten. The first is several looks at the Secret; the second costs nothing.
constexpr std::chrono::minutes kAnnouncement{2};
constexpr std::chrono::hours kFarewell{24};

// nullopt: the Secret holds no usable certificate.
std::optional<WebhookCertificate> certificateIn(const json::object& secret);
// A Secret's `data` and annotations for a new certificate with these names, or for one that is being served already.
Result<json::object> newSecret(const std::vector<std::string>& names, WallTime now);
json::object secretOf(const WebhookCertificate& certificate);
// Takes the next step if one is due: "announced", "switched" or "settled", "" when it is not. `trusted`: API servers have been told of
// everything in ca.crt; while they have not, the announcement begins anew. The first of `names` is the certificate's subject.
Result<std::string> renew(json::object& secret, const std::vector<std::string>& names, bool trusted, WallTime now);

}  // namespace podpass::irsa
