#pragma once

#include "base/clock.h"
#include "irsa/doctor_trust.h"

// The second half of doctor's way: from a token to the role.
namespace podpass::irsa {

// Where such tokens come from: what a mend has to change.
struct TokenSource {
  std::string subject = {};  // whose it must be; empty: anybody's
  std::string podUid = {};   // the pod that it must be bound to; empty: any
  Mend another = {};         // how to get a new one
  std::function<Mend(const std::string& audience)> forAudience;
  RoleMend forRole;
};

struct TokenCase {
  std::string role;  // ARN
  const IamView& iam;
  TokenSource source;
  std::string issuerCa;  // PEM, for an issuer that no provider registers; empty: the system's
  const Clock& clock;
};

// Adds the checks claims, time, issuer, clock, discovery, jwks, kid, signature, provider, audience, role and trust-policy.
// Fetches the documents of the issuer that the token names, as STS would; blocking, half a minute at most.
void examineToken(const std::string& token, const TokenCase& about, Diagnosis& diagnosis);
// The same checks as skipped, from `first` on.
void skipTokenChecks(std::string_view first, const std::string& why, Diagnosis& diagnosis);

}  // namespace podpass::irsa
